//! Operations on inodes: attributes, open files, locks.

use alloc::vec::Vec;

use engine_types::InodeId;
use meta_protocol::op::{self, Hint, LockAsk, LockWait};
use meta_protocol::{AttrChange, OpenMode, Operation as O, TimeChange};
use meta_schema::fallocate::FallocateMode;
use meta_schema::xattr::XattrSet;
use meta_schema::{AccessMask, Gid, LockFamily, LockKind, LockRange, Timestamp, Uid};

use super::Scene;
use crate::acl::Acl;
use crate::step::{EPOCH_BEFORE, EPOCH_KNOWN, EPOCH_LATER};

/// Lengths, with those at limits.
const LENGTHS: [u64; 8] = [0, 1, 100, 4096, 1 << 20, (1 << 20) + 1, i64::MAX as u64, u64::MAX];
/// Names of attributes.
const XATTRS: [&[u8]; 8] = [
    b"user.a",
    b"user.b",
    b"trusted.a",
    b"security.a",
    b"user.",
    b"other.a",
    b"system.posix_acl_access",
    b"system.posix_acl_default",
];

impl Scene {
    pub(super) fn attribute_operation(&mut self) -> O {
        let ino = self.any();
        match self.rng.below(20) {
            0..9 => op::SetAttr { ino, change: self.change() }.into(),
            9..11 => {
                let wanted = u8::try_from(self.rng.below(8)).expect("three bits");
                let wanted = AccessMask::new(wanted).expect("three bits");
                op::Access { ino, wanted }.into()
            }
            11..15 => {
                let name = self.one(&XATTRS).to_vec();
                let value = if name.starts_with(b"system.") { self.acl() } else { self.value() };
                let set = self.one(&[XattrSet::Any, XattrSet::Create, XattrSet::Replace]);
                op::SetXattr { ino, name, value, set }.into()
            }
            15..17 => {
                let ino = if self.rng.chance(700) { self.with_xattrs() } else { ino };
                op::GetXattr { ino, name: self.one(&XATTRS).to_vec() }.into()
            }
            17 => op::ListXattr { ino }.into(),
            18 => op::RemoveXattr { ino, name: self.one(&XATTRS).to_vec() }.into(),
            _ => op::Stat { ino }.into(),
        }
    }

    fn with_xattrs(&mut self) -> InodeId {
        let id = self.node(|world, id| {
            let node = world.node(id);
            !node.xattrs.is_empty() || node.acl.is_some() || node.default_acl.is_some()
        });
        self.number(id)
    }

    fn value(&mut self) -> Vec<u8> {
        let length = self.one(&[0_usize, 1, 5]);
        alloc::vec![b'v'; length]
    }

    /// Bytes of a list: some good, some empty, some bad.
    fn acl(&mut self) -> Vec<u8> {
        let mut rights = || u16::try_from(self.rng.below(8)).expect("three bits");
        let mut acl = Acl::of_mode(0);
        (acl.owner, acl.group, acl.other) = (rights(), rights(), rights());
        let (user, group, mask) = (rights(), rights(), rights());
        if self.rng.chance(700) {
            acl.mask = Some(mask);
            let uid = self.one(&[1, 2, 3]);
            acl.users.push((uid, user));
            if self.rng.chance(500) {
                acl.groups.push((30, group));
            }
        }
        match self.rng.below(12) {
            0 => Vec::new(),
            1 => alloc::vec![2, 0, 0, 0],
            2 => alloc::vec![2, 0, 0, 0, 1],
            3 => {
                acl.mask = None;
                acl.users.push((1, 7));
                acl.bytes()
            }
            _ => acl.bytes(),
        }
    }

    fn change(&mut self) -> AttrChange {
        let mut change = AttrChange::default();
        match self.rng.below(10) {
            0..4 => change.mode = Some(self.mode()),
            4..7 => {
                let (uid, gid) = (self.one(&[0, 1, 2]), self.one(&[0, 10, 20, 30]));
                change.uid = self.rng.chance(400).then_some(Uid::new(uid));
                change.gid = self.rng.chance(600).then_some(Gid::new(gid));
            }
            7 => {
                change.size = Some(self.one(&LENGTHS));
                change.by_open_handle = self.rng.chance(200);
            }
            _ => {
                let named = self.rng.below(1 << 62);
                let named = Timestamp::from_nanos(named.cast_signed());
                let old = Timestamp::from_nanos(-5);
                let times =
                    [TimeChange::Keep, TimeChange::Now, TimeChange::At(named), TimeChange::At(old)];
                (change.atime, change.mtime) = (self.one(&times), self.one(&times));
            }
        }
        change
    }

    fn hint(&mut self) -> Option<Hint> {
        if self.rng.chance(200) {
            return None;
        }
        let epochs =
            [EPOCH_KNOWN, EPOCH_KNOWN, EPOCH_KNOWN, EPOCH_KNOWN, EPOCH_BEFORE, EPOCH_LATER];
        Some(Hint {
            truncate_epoch: self.one(&epochs),
            end: self.one(&LENGTHS),
            modified: self.rng.chance(500),
            in_doubt: false,
        })
    }

    pub(super) fn file_operation(&mut self) -> O {
        let ino = self.file();
        let atime = self.rng.chance(200).then(|| Timestamp::from_nanos(1_000));
        match self.rng.below(20) {
            0..6 => {
                let write = self.rng.chance(600);
                let truncate = write && self.rng.chance(300);
                let read = self.rng.chance(700);
                op::Open { ino, mode: OpenMode { read, write, truncate, append: false } }.into()
            }
            6..9 => op::Close { ino, hint: self.hint(), atime }.into(),
            9..11 => op::Sync { ino, hint: self.hint(), atime }.into(),
            11..13 => op::Append { ino, length: self.one(&LENGTHS) }.into(),
            13..16 => {
                let mode = FallocateMode::new(self.one(&[0, 1, 2, 3, 0x10, 0x11, 0x12, 0x08]));
                let (offset, length) = (self.one(&LENGTHS), self.one(&LENGTHS));
                op::Fallocate { ino, mode, offset, length }.into()
            }
            16 => op::SetBlocks { ino, at_change: 0, bytes: self.one(&[0, 4096, 9000]) }.into(),
            17 => op::GetLayout { ino }.into(),
            18 => op::SetLayout { ino: self.any(), layout: None }.into(),
            _ => {
                let size = Some(self.one(&LENGTHS));
                let change = AttrChange { size, by_open_handle: true, ..AttrChange::default() };
                op::SetAttr { ino, change }.into()
            }
        }
    }

    pub(super) fn lock_operation(&mut self) -> O {
        let ino = self.file();
        let family = self.one(&[LockFamily::Flock, LockFamily::Posix, LockFamily::Posix]);
        let kind = self.one(&[Some(LockKind::Read), Some(LockKind::Write), None]);
        let (start, length) = (self.rng.below(4), self.rng.below(4));
        let end = if self.rng.chance(200) { LockRange::LAST } else { start + length };
        let range = LockRange::new(start, end).expect("it does not end before it starts");
        let owner = 1 + self.rng.below(2);
        let lock = LockAsk { family, owner, pid: 1, kind, range };
        match self.rng.below(20) {
            0..3 => {
                let lock = LockAsk { kind: Some(kind.unwrap_or(LockKind::Write)), ..lock };
                op::GetLock { ino, lock }.into()
            }
            3..12 => {
                let wait = self.one(&[LockWait::No, LockWait::Queue]);
                op::SetLock { ino, lock, wait }.into()
            }
            12..15 => op::SetLock { ino, lock, wait: LockWait::Ticket { ticket: 0 } }.into(),
            15..17 => op::CancelLock { ino, owner, ticket: 0 }.into(),
            _ => op::ReleaseLocks { ino, family, owner }.into(),
        }
    }
}
