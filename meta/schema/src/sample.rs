//! Random values of every type, for tests.

use alloc::vec;
use alloc::vec::Vec;

use engine_types::{
    ChainTableId, ChainTableVersion, ChannelId, ChunkSize, InodeId, Rng, SessionId,
};

use crate::access::{Caller, OpenMode};
use crate::acl::{Acl, AclEntry, AclTag};
use crate::change::{AttrChange, TimeChange};
use crate::delete::{Deletion, Shrink};
use crate::dirent::Dirent;
use crate::errno::Errno;
use crate::fallocate::{FallocateMode, FallocatePlan, RangeWork};
use crate::id::{Gid, TruncateEpoch, Uid};
use crate::inode::{
    AllocatedBytes, DeviceData, DirectoryData, FileData, Inode, InodeKind, SymlinkData,
};
use crate::layout::{Layout, LayoutTemplate};
use crate::limits::STRIPE_MAX;
use crate::lock::{Lock, LockFamily, LockKind, LockOwner, LockRange, LockTable, Waiter};
use crate::mode::{AccessMask, FileType, Mode};
use crate::session::{RequestRecord, WriteSession};
use crate::slot::{HashKey, Slot};
use crate::superblock::{FsId, Superblock};
use crate::time::Timestamp;
use crate::xattr::XattrSet;

/// Values of a type to test with.
pub trait Sample: Clone {
    /// One of each kind, with random fields.
    fn every(rng: &mut Rng) -> Vec<Self>;

    /// Any.
    ///
    /// # Panics
    /// If `every` returns none.
    fn sample(rng: &mut Rng) -> Self {
        let every = Self::every(rng);
        rng.pick(&every).expect("there is one of each kind").clone()
    }
}

/// Any value of the type that is wanted.
pub fn any<T: Sample>(rng: &mut Rng) -> T {
    T::sample(rng)
}

/// Small numbers and those at the ends as often as others: carries and signs are there.
pub fn number(rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 => rng.below(4),
        1 => u64::MAX - rng.below(4),
        _ => rng.next_u64(),
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl Sample for $number {
            #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
            fn every(rng: &mut Rng) -> Vec<Self> {
                vec![number(rng) as $number]
            }
        })*
    };
}

numbers! { u8 u16 u32 }

impl Sample for u64 {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![number(rng)]
    }
}

impl Sample for u128 {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::from(number(rng)) << 64 | Self::from(number(rng))]
    }
}

impl Sample for bool {
    fn every(_: &mut Rng) -> Vec<Self> {
        vec![false, true]
    }
}

macro_rules! ids {
    ($($id:ident)*) => {
        $(impl Sample for $id {
            fn every(rng: &mut Rng) -> Vec<Self> {
                vec![Self::new(any(rng))]
            }
        })*
    };
}

ids! {
    InodeId SessionId ChannelId ChainTableId ChainTableVersion Uid Gid TruncateEpoch FsId HashKey
    FallocateMode
}

impl<T: Sample> Sample for Option<T> {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![None, Some(any(rng))]
    }
}

/// Up to four.
impl<T: Sample> Sample for Vec<T> {
    fn every(rng: &mut Rng) -> Vec<Self> {
        let count = rng.below(5);
        vec![(0..count).map(|_| any(rng)).collect()]
    }
}

impl Sample for Timestamp {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::from_nanos(number(rng).cast_signed())]
    }
}

impl Sample for Mode {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::new(any(rng))]
    }
}

impl Sample for AccessMask {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::new(any::<u8>(rng) & 7).expect("three bits")]
    }
}

impl Sample for FileType {
    fn every(_: &mut Rng) -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

impl Sample for Errno {
    fn every(_: &mut Rng) -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

impl Sample for Slot {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::new(rng.range(Self::FIRST.get()..=Self::LAST.get())).expect("in range")]
    }
}

impl Sample for ChunkSize {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::new(4096 << rng.below(15)).expect("4 KiB to 64 MiB")]
    }
}

/// How wide files are striped.
fn stripe(rng: &mut Rng) -> u32 {
    u32::try_from(rng.range(1..=STRIPE_MAX.into())).expect("at most 1,024")
}

impl Sample for LayoutTemplate {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self { chunk_size: any(rng), stripe: stripe(rng), table: any(rng) }]
    }
}

impl Sample for Layout {
    fn every(rng: &mut Rng) -> Vec<Self> {
        let template: LayoutTemplate = any(rng);
        vec![template.layout(any(rng), any(rng), any(rng))]
    }
}

impl Sample for Acl {
    fn every(rng: &mut Rng) -> Vec<Self> {
        let mut tags = vec![AclTag::Owner];
        let (users, groups) = (rng.below(3), rng.below(3));
        tags.extend((0..users).map(|_| AclTag::User(Uid::new(any::<u32>(rng) >> 1))));
        tags.push(AclTag::OwningGroup);
        tags.extend((0..groups).map(|_| AclTag::Group(Gid::new(any::<u32>(rng) >> 1))));
        if 0 < users + groups || any(rng) {
            tags.push(AclTag::Mask);
        }
        tags.push(AclTag::Other);
        let entries = tags.into_iter().map(|tag| AclEntry { tag, allowed: any(rng) });
        vec![Self::new(entries.collect()).expect("the order is right")]
    }
}

impl Sample for LockRange {
    fn every(rng: &mut Rng) -> Vec<Self> {
        let (one, other) = (number(rng) & Self::LAST, number(rng) & Self::LAST);
        vec![Self::new(one.min(other), one.max(other)).expect("in order")]
    }
}

/// Of locks of few owners on few bytes, so that some wait.
impl Sample for LockTable {
    fn every(rng: &mut Rng) -> Vec<Self> {
        let mut table = Self::new(any::<u64>(rng) >> 1);
        for _ in 0..rng.below(12) {
            let owner = LockOwner { session: SessionId::new(rng.below(3)), owner: rng.below(3) };
            let start = rng.below(20);
            let range = LockRange::new(start, start + rng.below(5)).expect("in order");
            let lock = Lock { owner, range, ..any(rng) };
            table.set(lock, any(rng)).expect("there is room");
        }
        vec![table]
    }
}

macro_rules! bare {
    ($($of:ident { $($variant:ident)* })*) => {
        $(impl Sample for $of {
            fn every(_: &mut Rng) -> Vec<Self> {
                vec![$(Self::$variant),*]
            }
        })*
    };
}

bare! {
    XattrSet { Any Create Replace }
    RangeWork { Nothing Allocate Punch Zero }
    LockFamily { Flock Posix }
    LockKind { Read Write }
}

/// Types with fields, each of which has samples.
#[macro_export]
macro_rules! samples {
    ($($of:ident { $($field:ident)* })*) => {
        $(impl $crate::sample::Sample for $of {
            #[allow(unused_variables, reason = "of a type without fields")]
            fn every(rng: &mut engine_types::Rng) -> alloc::vec::Vec<Self> {
                alloc::vec![Self { $($field: $crate::sample::any(rng)),* }]
            }
        })*
    };
}

samples! {
    AllocatedBytes { at_change bytes }
    FileData { length truncate_epoch layout allocated }
    DirectoryData { time_epoch layout acl_default }
    SymlinkData { target }
    DeviceData { rdev }
    Inode { mode uid gid nlink atime mtime ctime btime mtime_set change acl kind }
    Dirent { ino kind name }
    WriteSession { truncate_epoch opened_at hidden }
    RequestRecord { seq answer }
    Deletion { queued_at attempts length }
    Shrink { epoch new_length old_length owner }
    Superblock { format fs hash_key created root_layout }
    LockOwner { session owner }
    Lock { family owner pid kind range }
    Waiter { ticket lock }
    Caller { uid gid groups pid }
    OpenMode { read write truncate append }
    AttrChange { mode uid gid size atime mtime by_open_handle }
    FallocatePlan { work start end length }
}

impl Sample for InodeKind {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![
            Self::File(any(rng)),
            Self::Directory(any(rng)),
            Self::Symlink(any(rng)),
            Self::Fifo,
            Self::Socket,
            Self::CharDevice(any(rng)),
            Self::BlockDevice(any(rng)),
        ]
    }
}

impl Sample for TimeChange {
    fn every(rng: &mut Rng) -> Vec<Self> {
        vec![Self::Keep, Self::Now, Self::At(any(rng))]
    }
}
