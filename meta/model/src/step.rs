//! Operations of a history before it runs: they name inodes by the step that made them, so that a
//! list of them means the same when others are left out.
//!
//! Invariants
//!   E469  a step without those that it needs is still a request: it names inodes nobody has

use alloc::collections::BTreeMap;

use engine_types::InodeId;
use meta_protocol::op::{Hint, LockWait};
use meta_protocol::{Answer, Attr, Operation as O, Refusal, Request};
use meta_schema::TruncateEpoch;

/// Symbols of inodes: the step of number `n` makes the inode `SYMBOL + n`.
const SYMBOL: u64 = 1 << 40;
/// What no file system has given to an inode yet: symbols of steps that are not there.
const NOBODY: u64 = 1 << 55;

/// In a Readdir: from where the client's last page of the directory ended.
pub const COOKIE_ON: u64 = u64::MAX;
/// In a hint: the epoch that the client was told last.
pub const EPOCH_KNOWN: TruncateEpoch = TruncateEpoch::new(0);
/// In a hint: the one before that.
pub const EPOCH_BEFORE: TruncateEpoch = TruncateEpoch::new(1);
/// In a hint: one that will come.
pub const EPOCH_LATER: TruncateEpoch = TruncateEpoch::new(2);

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number; ascending in a list.
    pub id: u32,
    /// Who asks; its session is one more.
    pub client: u8,
    /// What, in symbols.
    pub request: Request,
}

impl Step {
    /// The symbol of the inode that this step makes.
    pub const fn symbol(&self) -> InodeId {
        symbol(self.id)
    }
}

/// The symbol of what the step `id` makes.
pub(crate) const fn symbol(id: u32) -> InodeId {
    InodeId::new(SYMBOL + id as u64)
}

/// What symbols mean in one run.
#[derive(Clone, Debug, Default)]
pub struct Binding {
    inodes: BTreeMap<InodeId, InodeId>,
    /// Where pages ended: by client and directory.
    cookies: BTreeMap<(u8, InodeId), u64>,
    /// Epochs that a client was told, of real inodes.
    epochs: BTreeMap<(u8, InodeId), TruncateEpoch>,
    /// Change counters that anybody was told.
    changes: BTreeMap<InodeId, u64>,
    /// The last ticket: by client and inode.
    tickets: BTreeMap<(u8, InodeId), u64>,
}

impl Binding {
    /// Nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    fn real(&self, ino: InodeId) -> InodeId {
        if ino.get() < SYMBOL {
            return ino;
        }
        self.inodes.get(&ino).copied().unwrap_or(InodeId::new(NOBODY + ino.get() % SYMBOL))
    }

    /// The request of `step` with what its symbols mean now.
    pub fn request(&self, step: &Step) -> Request {
        let mut request = step.request.clone();
        for ino in inodes_mut(&mut request.operation) {
            *ino = self.real(*ino);
        }
        let client = step.client;
        match &mut request.operation {
            O::Readdir(ask) if ask.cookie == COOKIE_ON => {
                ask.cookie = self.cookies.get(&(client, ask.dir)).copied().unwrap_or(0);
            }
            O::Close(ask) => self.bind_hint(client, ask.ino, ask.hint.as_mut()),
            O::Sync(ask) => self.bind_hint(client, ask.ino, ask.hint.as_mut()),
            O::SetBlocks(ask) => {
                ask.at_change = self.changes.get(&ask.ino).copied().unwrap_or(0);
            }
            O::SetLock(ask) => {
                if let LockWait::Ticket { ticket } = &mut ask.wait {
                    *ticket = self.ticket(client, ask.ino);
                }
            }
            O::CancelLock(ask) => ask.ticket = self.ticket(client, ask.ino),
            _ => {}
        }
        request
    }

    fn ticket(&self, client: u8, ino: InodeId) -> u64 {
        self.tickets.get(&(client, ino)).copied().unwrap_or(0)
    }

    fn bind_hint(&self, client: u8, ino: InodeId, hint: Option<&mut Hint>) {
        let Some(hint) = hint else { return };
        let known = self.epochs.get(&(client, ino)).map_or(0, |epoch| epoch.get());
        hint.truncate_epoch = TruncateEpoch::new(match hint.truncate_epoch {
            EPOCH_BEFORE => known.saturating_sub(1),
            EPOCH_LATER => known.saturating_add(3),
            _ => known,
        });
    }

    /// Learns what `request`, which is that of `step`, was answered.
    pub fn learn(&mut self, step: &Step, request: &Request, result: &Result<Answer, Refusal>) {
        let Ok(answer) = result else { return };
        match (&request.operation, answer) {
            (O::Create(_), Answer::Opened { attr, .. })
            | (O::Mkdir(_) | O::Mknod(_) | O::Symlink(_), Answer::Attr(attr)) => {
                self.inodes.insert(step.symbol(), attr.ino);
            }
            (O::Readdir(ask), Answer::Entries { entries, end }) => {
                let last = entries.last().filter(|_| !end).map_or(0, |entry| entry.cookie);
                self.cookies.insert((step.client, ask.dir), last);
            }
            (O::SetLock(ask), Answer::Lock(meta_protocol::LockTold::Waiting { ticket })) => {
                self.tickets.insert((step.client, ask.ino), *ticket);
            }
            _ => {}
        }
        match answer {
            Answer::Attr(attr)
            | Answer::Opened { attr, .. }
            | Answer::Fallocated { attr, .. }
            | Answer::Appended { attr, .. } => self.learn_attr(step.client, attr),
            _ => {}
        }
    }

    fn learn_attr(&mut self, client: u8, attr: &Attr) {
        self.epochs.insert((client, attr.ino), attr.truncate_epoch);
        self.changes.insert(attr.ino, attr.change);
    }
}

/// The inodes that an operation names, to replace them.
fn inodes_mut(operation: &mut O) -> alloc::vec::Vec<&mut InodeId> {
    match operation {
        O::Lookup(a) => [&mut a.parent].into(),
        O::Walk(a) => [&mut a.start].into(),
        O::Stat(a) => [&mut a.ino].into(),
        O::StatBatch(a) => a.inos.iter_mut().collect(),
        O::PruneSession(_) | O::StatFs(_) => [].into(),
        O::Access(a) => [&mut a.ino].into(),
        O::Readlink(a) => [&mut a.ino].into(),
        O::Readdir(a) => [&mut a.dir].into(),
        O::Create(a) => [&mut a.parent].into(),
        O::Open(a) => [&mut a.ino].into(),
        O::Mkdir(a) => [&mut a.parent].into(),
        O::Mknod(a) => [&mut a.parent].into(),
        O::Symlink(a) => [&mut a.parent].into(),
        O::Link(a) => [&mut a.ino, &mut a.parent].into(),
        O::Unlink(a) => [&mut a.parent].into(),
        O::Rmdir(a) => [&mut a.parent].into(),
        O::Rename(a) => [&mut a.from, &mut a.to].into(),
        O::SetAttr(a) => [&mut a.ino].into(),
        O::Fallocate(a) => [&mut a.ino].into(),
        O::GetXattr(a) => [&mut a.ino].into(),
        O::SetXattr(a) => [&mut a.ino].into(),
        O::ListXattr(a) => [&mut a.ino].into(),
        O::RemoveXattr(a) => [&mut a.ino].into(),
        O::GetLock(a) => [&mut a.ino].into(),
        O::SetLock(a) => [&mut a.ino].into(),
        O::CancelLock(a) => [&mut a.ino].into(),
        O::ReleaseLocks(a) => [&mut a.ino].into(),
        O::GetLayout(a) => [&mut a.ino].into(),
        O::SetLayout(a) => [&mut a.ino].into(),
        O::Close(a) => [&mut a.ino].into(),
        O::Sync(a) => [&mut a.ino].into(),
        O::Append(a) => [&mut a.ino].into(),
        O::SetBlocks(a) => [&mut a.ino].into(),
        O::RemoveTree(a) => [&mut a.parent].into(),
        O::FinishShrink(a) => [&mut a.ino].into(),
    }
}
