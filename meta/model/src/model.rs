//! The model: applies requests and judges their answers.
//!
//! Invariants
//!   E466  at least one history of what may have happened explains every answer

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use engine_types::SessionId;
use meta_protocol::{Answer, Operation, Refusal, Request};

use meta_schema::Errno;

use crate::dispatch;
use crate::expect::Expect;
use crate::history::Left;
use crate::moment::When;
use crate::run::{Errors, Run};
use crate::who::Who;
use crate::world::{Root, World};

/// Worlds that are kept in parallel after unknown results. Two unknown results of one client
/// at a time, for each of three clients, that stay unknown, are 64.
pub const WORLDS_MAX: usize = 64;

/// An answer that no world explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// What was asked.
    pub request: Request,
    /// What was answered.
    pub found: Result<Answer, Refusal>,
    /// What is wrong with it, by the first world.
    pub why: String,
    /// The world around it.
    pub around: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, found, why, around } = self;
        let Request { caller, session, tag, operation } = request;
        writeln!(f, "{why}")?;
        writeln!(f, "  asked:  {operation:?}")?;
        let (uid, gid, groups) = (caller.uid, caller.gid, &caller.groups);
        writeln!(f, "  by:     {uid} {gid} {groups:?} of {session}, {tag:?}")?;
        match found {
            Ok(answer) => writeln!(f, "  found:  {answer:?}")?,
            Err(refusal) => writeln!(f, "  found:  refused: {refusal}")?,
        }
        write!(f, "  around:\n{around}")
    }
}

impl core::error::Error for Divergence {}

/// The reference: an in-memory POSIX namespace, or several while results are unknown.
#[derive(Clone, Debug)]
pub struct Model {
    worlds: Vec<World>,
}

impl Model {
    /// Of an empty file system.
    pub fn new(root: &Root) -> Self {
        Self { worlds: Vec::from([World::new(root)]) }
    }

    /// Applies `request`, which was answered `result` between the times of `when`, and judges it.
    ///
    /// # Errors
    /// No history of what may have happened explains the result; the model is as it was.
    pub fn check(
        &mut self,
        request: &Request,
        result: &Result<Answer, Refusal>,
        when: When,
    ) -> Result<(), Box<Divergence>> {
        let mut next = Vec::new();
        let mut first = None;
        for mut world in self.worlds_now() {
            match explain(&mut world, request, result, when) {
                Ok(()) => next.push(world),
                Err(why) if first.is_none() => first = Some((why, world.describe(request))),
                Err(_) => {}
            }
        }
        if next.is_empty() {
            let (why, around) = first.expect("E466: there is always a world");
            let (request, found) = (request.clone(), result.clone());
            return Err(Box::new(Divergence { request, found, why, around }));
        }
        next.dedup();
        self.worlds = next;
        Ok(())
    }

    /// Whether the lock owner `owner` of `session` may be waiting. Threads of one process can wait
    /// for several inodes at once under one name, and no search for deadlocks that goes by names,
    /// Linux' or ours, follows more than one of these waits: histories with them are not judged.
    pub fn may_wait(&self, session: SessionId, owner: u64) -> bool {
        self.worlds.iter().any(|world| world.locks.is_waiting((session.get(), owner)))
    }

    /// `request` was sent, and nobody will ever know whether it was done.
    ///
    /// # Errors
    /// More than `WORLDS_MAX` histories are possible: the tester has to look before it goes on.
    pub fn unknown(&mut self, request: &Request, when: When) -> Result<(), TooManyWorlds> {
        let now = self.worlds_now();
        let mut worlds = now.clone();
        for world in &now {
            let mut world = world.clone();
            if imagine(&mut world, request, when).is_ok() {
                worlds.push(world);
            }
        }
        if WORLDS_MAX < worlds.len() {
            return Err(TooManyWorlds { worlds: worlds.len() });
        }
        self.worlds = worlds;
        Ok(())
    }

    /// `request` was done, and its answer was lost.
    ///
    /// # Errors
    /// It could not be done in any history; the model is as it was.
    pub fn happened(&mut self, request: &Request, when: When) -> Result<(), Box<Divergence>> {
        let mut next = Vec::new();
        let mut first = None;
        for world in &self.worlds_now() {
            let mut after = world.clone();
            if after.fog || after.is_half_removed(request) {
                let done = Ok(Answer::Done);
                next.extend(explain(&mut after, request, &done, when).map(|()| after));
                continue;
            }
            match imagine(&mut after, request, when) {
                Ok(_) => next.push(after),
                Err(errors) if first.is_none() => first = Some((errors, world.describe(request))),
                Err(_) => {}
            }
        }
        if next.is_empty() {
            let (errors, around) = first.expect("E466: there is always a world");
            let (request, found) = (request.clone(), Ok(Answer::Done));
            let why = format!("expected {errors}, it was done");
            return Err(Box::new(Divergence { request, found, why, around }));
        }
        self.worlds = next;
        Ok(())
    }

    /// All histories, each also with the locks gone that go with what is going.
    fn worlds_now(&self) -> Vec<World> {
        let mut all: Vec<World> = Vec::with_capacity(self.worlds.len());
        for world in &self.worlds {
            let mut kept = world.clone();
            kept.sweep();
            let gone = kept.locks.without_going();
            let gone = gone.map(|locks| {
                let mut world = kept.clone();
                world.locks = locks;
                world
            });
            for world in [Some(kept), gone].into_iter().flatten() {
                if !all.contains(&world) {
                    all.push(world);
                }
            }
        }
        all
    }

    /// A session that was pruned has lost what it had of an inode.
    pub fn left(&mut self, left: &Left) {
        let session = left.session.get();
        for world in &mut self.worlds {
            let known = world.inos.get(&left.ino.get()).copied();
            let Some(id) = known.filter(|id| world.nodes.contains_key(id)) else { continue };
            if left.locks {
                world.locks.release(|at, held| at == id && held.owner.0 == session);
            } else {
                let node = world.node_mut(id);
                node.writers.remove(&session);
                node.holders.remove(&session);
            }
        }
    }

    /// Histories that are possible.
    pub fn world_count(&self) -> usize {
        self.worlds.len()
    }

    /// The world of the first history.
    pub(crate) fn world(&self) -> &World {
        self.worlds.first().expect("E466: there is always a world")
    }

    /// The tree, as text.
    pub fn tree(&self) -> String {
        self.world().tree()
    }
}

/// More histories are possible than are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyWorlds {
    /// So many, at most [`WORLDS_MAX`] were expected.
    pub worlds: usize,
}

impl fmt::Display for TooManyWorlds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} histories are possible, expected {WORLDS_MAX} at most", self.worlds)
    }
}

impl core::error::Error for TooManyWorlds {}

/// Whether `world` explains the result; then it is the world behind it.
fn explain(
    world: &mut World,
    request: &Request,
    result: &Result<Answer, Refusal>,
    when: When,
) -> Result<(), String> {
    world.sweep();
    if world.fog {
        return Ok(());
    }
    if world.is_half_removed(request) {
        // Half removed: nothing can be said of it, nor of a place to which something of it went,
        // nor any more of what was done something to.
        let spreads = matches!(request.operation, Operation::Link(_) | Operation::Rename(_));
        world.fog |= spreads && result.is_ok();
        if request.operation.mutates() && result.is_ok() {
            let named = dispatch::inodes(&request.operation);
            world.doomed.extend(named.iter().map(|ino| ino.get()));
        }
        if let Ok(answer) = result {
            let mut run = Run::new(world, request, when);
            dispatch::told_of_going(&mut run, &request.operation, answer);
        }
        return Ok(());
    }
    let may_be_gone = world.is_lost_for(request);
    let before = world.clone();
    let mut run = Run::new(world, request, when);
    let outcome = dispatch::apply(&mut run, &request.operation);
    let gone = Errors::any(&[Errno::ENOENT, Errno::ESTALE]);
    let judged = match (outcome, result) {
        (Ok(expect), Ok(answer)) => return run.judge(&expect, answer),
        (_, Err(refusal)) if may_be_gone && gone.contains(refusal.errno) => Ok(()),
        (_, Err(refusal)) if run.allowed.contains(refusal.errno) => Ok(()),
        (Ok(expect), Err(refusal)) => {
            Err(format!("expected success ({expect:?}), found {}", refusal.errno.name()))
        }
        (Err(errors), Ok(answer)) => Err(format!("expected {errors}, found {answer:?}")),
        (Err(errors), Err(refusal)) if errors.contains(refusal.errno) => Ok(()),
        (Err(errors), Err(refusal)) => {
            Err(format!("expected {errors}, found {}", refusal.errno.name()))
        }
    };
    // A refusal changes nothing.
    *world = before;
    judged
}

impl World {
    /// Whether the request names something that went with a tree and is being removed, or that has
    /// no other name than those of such a tree: what it is told nobody can say.
    fn is_half_removed(&self, request: &Request) -> bool {
        dispatch::inodes(&request.operation).iter().any(|ino| {
            let node = self.inos.get(&ino.get()).and_then(|id| Some((*id, self.nodes.get(id)?)));
            let is_named_there =
                node.is_some_and(|(id, node)| 0 < node.late && self.names(id).is_empty());
            is_named_there || self.doomed.contains(&ino.get())
        })
    }

    /// Whether the request names an inode without a name that its session does not keep: whether
    /// it is still there nobody can say.
    fn is_lost_for(&self, request: &Request) -> bool {
        let session = request.session.get();
        dispatch::inodes(&request.operation).iter().any(|ino| {
            let id = self.inos.get(&ino.get()).filter(|id| self.nodes.contains_key(id));
            id.is_some_and(|id| {
                let node = self.node(*id);
                let keeps = node.holders.contains(&session) || node.writers.contains(&session);
                !keeps && self.links(*id) == 0
            })
        })
    }
}

impl<'a> Run<'a> {
    fn new(world: &'a mut World, request: &'a Request, when: When) -> Self {
        let caller = &request.caller;
        let who = Who { uid: caller.uid.get(), gid: caller.gid.get(), groups: &caller.groups };
        let session = request.session.get();
        Self { world, who, session, when, allowed: Errors::default() }
    }
}

/// Applies `operation` without an answer: for who has only the model. The error is one that holds.
pub(crate) fn imagine(world: &mut World, request: &Request, when: When) -> Result<Expect, Errors> {
    world.sweep();
    let before = world.clone();
    let outcome = dispatch::apply(&mut Run::new(world, request, when), &request.operation);
    if outcome.is_err() {
        *world = before;
    }
    outcome
}

#[cfg(test)]
mod tests;
