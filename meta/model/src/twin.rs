//! A system that answers as the model wants: for tests of the model itself.

use alloc::vec::Vec;

use engine_types::{ChainTableId, ChainTableVersion, ChannelId, ChunkSize, InodeId, SessionId};
use meta_protocol::{
    Answer, Attr, Caller, Entry, FsSpace, LayoutTold, LockTold, Operation, Refusal, Request, Tag,
};
use meta_schema::fallocate::{FallocatePlan, RangeWork};
use meta_schema::lock::Lock;
use meta_schema::{
    Gid, LayoutTemplate, LockKind, LockOwner, LockRange, Mode, Timestamp, TruncateEpoch, Uid,
};

use crate::expect::Expect;
use crate::model::imagine;
use crate::moment::{Blocks, When};
use crate::op::file::Work;
use crate::op::list::Page;
use crate::op::lock::Told;
use crate::world::{Kind, NodeId, Root, World};

/// An empty file system.
pub(crate) const EMPTY: Root = Root {
    ino: 1,
    mode: 0o755,
    uid: 0,
    gid: 0,
    layout: LayoutTemplate {
        chunk_size: ChunkSize::new(1 << 20).expect("a power of two"),
        stripe: 4,
        table: ChainTableId::new(1),
    },
};

/// Answers.
#[derive(Clone)]
pub(crate) struct Twin {
    pub(crate) world: World,
    next_ino: u64,
    next_ticket: u64,
    next_seq: u64,
    pub(crate) now: i64,
}

impl Twin {
    pub(crate) fn new() -> Self {
        let world = World::new(&EMPTY);
        Self { world, next_ino: 1000, next_ticket: 50, next_seq: 1, now: 1000 }
    }

    /// A request of `caller` in session 1.
    pub(crate) fn request(&mut self, caller: &Caller, operation: Operation) -> Request {
        self.next_seq += 1;
        let tag = Tag { channel: ChannelId::new(1), seq: self.next_seq };
        let tag = operation.mutates().then_some(tag);
        Request { caller: caller.clone(), session: SessionId::new(1), tag, operation }
    }

    /// Between when the last request was answered.
    pub(crate) const fn when(&self) -> When {
        When { earliest: self.now, latest: self.now + 5 }
    }

    /// Answers `request`, ten nanoseconds after the last.
    pub(crate) fn answer(&mut self, request: &Request) -> Result<Answer, Refusal> {
        self.now += 10;
        let when = self.when();
        match imagine(&mut self.world, request, when) {
            Ok(expect) => Ok(self.told(&expect)),
            Err(errors) => Err(Refusal::new(errors.first(), "")),
        }
    }

    fn told(&mut self, expect: &Expect) -> Answer {
        match expect {
            Expect::Done => Answer::Done,
            Expect::Attr(node) => Answer::Attr(self.attr(*node)),
            Expect::Attrs(nodes) => {
                Answer::Attrs(nodes.iter().map(|node| node.map(|node| self.attr(node))).collect())
            }
            Expect::Walked { node, parent } => {
                Answer::Walked { parent: self.ino(*parent), attr: self.attr(*node) }
            }
            Expect::Opened { node, created } => {
                Answer::Opened { attr: self.attr(*node), created: *created }
            }
            Expect::Target(target) => Answer::Target(target.clone()),
            Expect::Bytes(bytes) => Answer::Value(bytes.clone()),
            Expect::Acl(acl) => Answer::Value(acl.bytes()),
            Expect::XattrNames(names) => {
                Answer::Names(names.iter().flat_map(|name| [name, &[0][..]].concat()).collect())
            }
            Expect::Page(page) => self.page(*page),
            Expect::Appended { node, offset } => {
                Answer::Appended { offset: *offset, attr: self.attr(*node) }
            }
            Expect::Fallocated { node, work, start, needed: _, end } => {
                let attr = self.attr(*node);
                let work = match work {
                    Work::Allocate => RangeWork::Allocate,
                    Work::Punch => RangeWork::Punch,
                    Work::Zero => RangeWork::Zero,
                };
                let plan = FallocatePlan { work, start: *start, end: *end, length: attr.size };
                Answer::Fallocated { attr, plan }
            }
            Expect::Layout(node) => Answer::Layout(self.layout(*node)),
            Expect::Conflict { against, .. } => {
                let lock = against.first().map(|held| Lock {
                    family: held.family,
                    owner: LockOwner { session: SessionId::new(held.owner.0), owner: held.owner.1 },
                    pid: 1,
                    kind: if held.write { LockKind::Write } else { LockKind::Read },
                    range: LockRange::new(held.start, held.end).unwrap(),
                });
                Answer::Conflict { lock }
            }
            Expect::Lock(told) => Answer::Lock(self.lock(*told)),
            Expect::Pruned => Answer::Pruned { more: false },
            Expect::Space => Answer::Space(FsSpace::default()),
        }
    }

    fn lock(&mut self, told: Told) -> LockTold {
        match told {
            Told::Granted | Told::Anything => LockTold::Granted,
            Told::Queued(node) => {
                self.next_ticket += 1;
                assert!(self.world.locks.name(node, self.next_ticket));
                LockTold::Waiting { ticket: self.next_ticket }
            }
            Told::Waiting(ticket) => LockTold::Waiting { ticket },
            Told::Busy => LockTold::Busy,
            Told::Cancelled => LockTold::Cancelled,
        }
    }

    fn ino(&mut self, id: NodeId) -> InodeId {
        if self.world.node(id).ino.is_none() {
            self.next_ino += 1;
            self.world.see_ino(id, InodeId::new(self.next_ino)).unwrap();
        }
        InodeId::new(self.world.node(id).ino.unwrap())
    }

    fn layout(&mut self, id: NodeId) -> LayoutTold {
        let root = self.world.root_layout;
        match &self.world.node(id).kind {
            Kind::File(file) => {
                LayoutTold::File(file.layout.layout(ChainTableVersion::new(3), 1, 2))
            }
            Kind::Directory(directory) => LayoutTold::Directory(directory.layout.unwrap_or(root)),
            _ => unreachable!("refused"),
        }
    }

    pub(crate) fn attr(&mut self, id: NodeId) -> Attr {
        let ino = self.ino(id);
        let nlink = self.world.links(id);
        let layout = match &self.world.node(id).kind {
            Kind::File(_) => match self.layout(id) {
                LayoutTold::File(layout) => Some(layout),
                LayoutTold::Directory(_) => None,
            },
            _ => None,
        };
        let node = self.world.node_mut(id);
        let (size, epoch) = match &node.kind {
            Kind::File(file) => (file.length, file.epoch.least()),
            Kind::Symlink(target) => (target.len() as u64, 0),
            _ => (0, 0),
        };
        let blocks = match (&node.kind, node.blocks) {
            (Kind::File(_), Blocks::Said(blocks)) => Some(blocks),
            (Kind::File(_), _) => None,
            _ => Some(0),
        };
        let time = |moment: crate::moment::Moment| Timestamp::from_nanos(moment.guess());
        let attr = Attr {
            ino,
            kind: node.file_type(),
            mode: Mode::new(node.mode.into()),
            has_acl: node.acl.is_some(),
            uid: Uid::new(node.uid),
            gid: Gid::new(node.gid),
            nlink,
            size,
            blocks,
            atime: time(node.atime),
            mtime: time(node.mtime),
            ctime: time(node.ctime),
            btime: time(node.btime),
            rdev: if let Kind::Special(_, rdev) = node.kind { rdev } else { 0 },
            change: node.change.least(),
            truncate_epoch: TruncateEpoch::new(u32::try_from(epoch).unwrap()),
            layout,
        };
        let when = self.when();
        self.world.see(id, &attr, when).expect("the model wants it so");
        attr
    }

    fn page(&mut self, page: Page) -> Answer {
        let shows = page.shows;
        let mut all: Vec<(u64, Vec<u8>, NodeId)> = self
            .world
            .entries(page.dir)
            .unwrap()
            .iter()
            .map(|(name, entry)| (cookie(name), name.clone(), entry.node))
            .filter(|(cookie, ..)| page.after < *cookie)
            .collect();
        all.sort();
        let end = all.len() <= page.limit as usize;
        all.truncate(page.limit as usize);
        let mut entries = Vec::new();
        for (cookie, name, node) in all {
            let kind = self.world.node(node).file_type();
            let attr = shows.then(|| self.attr(node));
            entries.push(Entry { cookie, ino: self.ino(node), kind, name, attr });
        }
        Answer::Entries { entries, end }
    }
}

/// Places of names, for ever: a hash (FNV-1a) of the 63 bits that are offered.
fn cookie(name: &[u8]) -> u64 {
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    8 + (hash >> 2)
}
