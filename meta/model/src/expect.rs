//! What an operation has to answer, in the model's terms.

use alloc::vec::Vec;

use crate::acl::Acl;
use crate::lock::Held;
use crate::op::file::Work;
use crate::op::list::Page;
use crate::op::lock::Told;
use crate::world::NodeId;

/// A success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// That it is done.
    Done,
    /// The attributes of an inode.
    Attr(NodeId),
    /// The same, and the directory it was found in.
    Walked { node: NodeId, parent: NodeId },
    /// The attributes of several; nothing for those that are not there.
    Attrs(Vec<Option<NodeId>>),
    /// Where a symbolic link leads.
    Target(Vec<u8>),
    /// These bytes.
    Bytes(Vec<u8>),
    /// The bytes of a list, named entries in any order.
    Acl(Acl),
    /// Names of attributes in any order; those of lists may lack.
    XattrNames(Vec<Vec<u8>>),
    /// A page of a directory.
    Page(Page),
    /// A file that is open.
    Opened { node: NodeId, created: bool },
    /// The caller's bytes begin here.
    Appended { node: NodeId, offset: u64 },
    /// What has to be done from `start` at least to `needed` and at most to `end`.
    Fallocated { node: NodeId, work: Work, start: u64, needed: u64, end: u64 },
    /// The layout of a file, or what a directory gives.
    Layout(NodeId),
    /// One of these locks, or none if there are none.
    Conflict { node: NodeId, against: Vec<Held> },
    /// What becomes of a request of a lock.
    Lock(Told),
    /// A session's things are gone.
    Pruned,
    /// The room there is: whatever it is.
    Space,
}
