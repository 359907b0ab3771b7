//! Random histories over a small world: few names, few directories and few users, so that
//! operations meet.
//!
//! The generator keeps a model of its own and asks it what is there; what a history does to the
//! system under test it does not see. Names at limits, wrong types and inodes that are gone come
//! now and then.

use alloc::vec::Vec;

use engine_types::{ChannelId, InodeId, Rng, SessionId};
use meta_protocol::{Caller, Operation, Request, Tag};
use meta_schema::{Gid, Uid};

use crate::expect::Expect;
use crate::model::imagine;
use crate::moment::When;
use crate::op::lock::Told;
use crate::step::{Step, symbol};
use crate::world::{NodeId, ROOT, Root, World};

mod files;
mod names;

/// Clients of a history.
const CLIENTS: u8 = 3;
/// The channel of every client.
const CHANNEL: ChannelId = ChannelId::new(1);
/// Inodes from which on the generator removes more than it creates: collisions come from small
/// worlds.
const NODES_MANY: usize = 24;

/// What histories are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Names: create, remove, rename, look up, list.
    pub names: u64,
    /// Attributes: modes, owners, times, lists.
    pub attributes: u64,
    /// Open files: lengths, sessions, layouts.
    pub files: u64,
    /// Locks.
    pub locks: u64,
}

impl Weights {
    /// Some of everything.
    pub const ALL: Self = Self { names: 50, attributes: 25, files: 18, locks: 7 };
}

/// `count` steps that `seed` determines, on the file system `root`.
pub fn generate(seed: u64, count: u32, weights: Weights, root: &Root) -> Vec<Step> {
    let rng = Rng::new(seed);
    let mut scene = Scene { rng, world: World::new(root), lost: Vec::new(), next: 0 };
    (0..count).map(|id| scene.step(id, weights)).collect()
}

/// Where the generator stands.
struct Scene {
    rng: Rng,
    /// What is there, if all went well.
    world: World,
    /// Symbols of inodes that may be gone.
    lost: Vec<InodeId>,
    next: u32,
}

impl Scene {
    fn step(&mut self, id: u32, weights: Weights) -> Step {
        self.next = id;
        let client = u8::try_from(self.rng.below(CLIENTS.into())).expect("few clients");
        let Weights { names, attributes, files, locks } = weights;
        let mut drawn = self.rng.below(names + attributes + files + locks);
        let mut is = |weight: u64| {
            let hit = drawn < weight;
            drawn = drawn.wrapping_sub(weight);
            hit
        };
        let operation = if is(names) {
            self.name_operation()
        } else if is(attributes) {
            self.attribute_operation()
        } else if is(files) {
            self.file_operation()
        } else {
            self.lock_operation()
        };
        let seq = u64::from(id) + 1;
        let tag = operation.mutates().then_some(Tag { channel: CHANNEL, seq });
        let session = SessionId::new(u64::from(client) + 1);
        let request = Request { caller: self.caller(), session, tag, operation };
        self.imagine(id, &request);
        Step { id, client, request }
    }

    /// Root, an owner, a member of its group, and somebody else.
    fn caller(&mut self) -> Caller {
        let (uid, gid, groups): (u32, u32, &[u32]) = match self.rng.below(10) {
            0..4 => (0, 0, &[]),
            4..7 => (1, 10, &[]),
            7 => (2, 20, &[10]),
            8 => (2, 20, &[10, 30]),
            _ => (3, 30, &[]),
        };
        let groups = groups.iter().copied().map(Gid::new).collect();
        Caller { uid: Uid::new(uid), gid: Gid::new(gid), groups, pid: 1 }
    }

    /// Follows what the step does, if it is done.
    fn imagine(&mut self, id: u32, request: &Request) {
        let before: Vec<NodeId> = self.world.nodes.keys().copied().collect();
        let Ok(expect) = imagine(&mut self.world, request, When::at(i64::from(id))) else { return };
        if let Expect::Attr(node) | Expect::Opened { node, .. } = expect
            && let Some(made) = self.world.nodes.get_mut(&node)
            && made.ino.is_none()
        {
            made.ino = Some(symbol(id).get());
            self.world.inos.insert(symbol(id).get(), node);
        }
        if let Expect::Lock(Told::Queued(node)) = expect {
            self.world.locks.name(node, u64::from(id));
        }
        self.world.sweep();
        let gone = before.iter().filter(|id| !self.world.nodes.contains_key(id)).count();
        if 0 < gone {
            self.lost = self.world.doomed.iter().copied().map(InodeId::new).collect();
        }
    }

    /// An inode that is there and fits, or the root.
    fn node(&mut self, fits: impl Fn(&World, NodeId) -> bool) -> NodeId {
        let all: Vec<NodeId> =
            self.world.nodes.keys().copied().filter(|id| fits(&self.world, *id)).collect();
        self.rng.pick(&all).copied().unwrap_or(ROOT)
    }

    fn number(&self, id: NodeId) -> InodeId {
        InodeId::new(self.world.node(id).ino.unwrap_or(NOT_THERE))
    }

    /// A directory, seldom something else.
    fn dir(&mut self) -> InodeId {
        if self.rng.chance(40) {
            return self.any();
        }
        let id = self.node(|world, id| world.node(id).is_directory());
        self.number(id)
    }

    /// A file, seldom something else.
    fn file(&mut self) -> InodeId {
        if self.rng.chance(40) {
            return self.any();
        }
        let id = self.node(|world, id| matches!(world.node(id).kind, crate::world::Kind::File(_)));
        self.number(id)
    }

    /// Anything that is there, seldom what was there.
    fn any(&mut self) -> InodeId {
        if self.rng.chance(50)
            && let Some(lost) = self.rng.pick(&self.lost)
        {
            return *lost;
        }
        let id = self.node(|_, _| true);
        self.number(id)
    }

    /// True when there is more than collisions need.
    fn is_full(&self) -> bool {
        NODES_MANY < self.world.nodes.len()
    }

    /// One of `items`.
    fn one<T: Clone>(&mut self, items: &[T]) -> T {
        self.rng.pick(items).expect("lists of the generator are not empty").clone()
    }
}

/// What no inode is named.
const NOT_THERE: u64 = 7;

/// For steps that `shrink` has left: simpler ones that may still fail.
pub fn simpler(step: &Step) -> Vec<Step> {
    let with = |caller: Caller, operation: Operation| {
        let request = Request { caller, operation, ..step.request.clone() };
        Step { request, ..*step }
    };
    let Request { caller, operation, .. } = &step.request;
    let mut forms = Vec::new();
    if caller.uid != Uid::ROOT {
        forms.push(with(Caller::root(), operation.clone()));
    }
    forms.extend(names::simpler(operation).into_iter().map(|o| with(caller.clone(), o)));
    forms
}

#[cfg(test)]
mod tests;
