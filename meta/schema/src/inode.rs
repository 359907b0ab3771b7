//! Inodes: what the KV keeps of a file, directory or link under `INOD`.
//!
//! ```text
//! Inode      mode u16, uid u32, gid u32, nlink u32, atime, mtime, ctime, btime, mtime set bool,
//!            change u64, acl (option) Acl, kind row
//! kind       tag u8 (as in d_type): 8 file, 4 directory, 10 symlink, 1 fifo, 12 socket,
//!                                   2 character device, 6 block device; its fields:
//! file       length u64, truncate epoch u32, layout row, allocated (option) row
//! directory  time epoch u32, layout (option) row, default acl (option) Acl
//! symlink    target bytes
//! device     rdev u32
//! allocated  change u64, bytes u64
//! ```

use alloc::vec::Vec;

use crate::acl::Acl;
use crate::id::{Gid, TruncateEpoch, Uid};
use crate::layout::{Layout, LayoutTemplate};
use crate::limits::SYMLINK_BYTES_MAX;
use crate::mode::{FileType, Mode};
use crate::time::Timestamp;
use crate::{choices, fields, records};

/// A file, directory, link or special file. For a directory, [`crate::side`] says what of it
/// stands elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Permissions, setuid, setgid, sticky. With an ACL, its group class is the mask (E405).
    pub mode: Mode,
    /// Owner.
    pub uid: Uid,
    /// Group.
    pub gid: Gid,
    /// Links. Of a directory 2; those of its subdirectories stand in the side key. 0: no name is
    /// left, and it goes when the last session does.
    pub nlink: u32,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the contents. Of a directory: [`crate::side`].
    pub mtime: Timestamp,
    /// Last change of the inode. Of a directory: [`crate::side`].
    pub ctime: Timestamp,
    /// Creation.
    pub btime: Timestamp,
    /// True if somebody set the mtime, perhaps into the future: the next event sets it to its own
    /// time, though it be earlier (E407). Directories have time epochs for that.
    pub mtime_set: bool,
    /// Raised by every change of contents or inode (C2). Of a directory: [`crate::side`].
    pub change: u64,
    /// Who may access it beyond owner, group and others; `None` if the mode says everything.
    pub acl: Option<Acl>,
    /// What it is.
    pub kind: InodeKind,
}

/// What an inode is, with what only those have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InodeKind {
    /// A file with bytes.
    File(FileData),
    /// A directory.
    Directory(DirectoryData),
    /// A symbolic link.
    Symlink(SymlinkData),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice(DeviceData),
    /// A block device.
    BlockDevice(DeviceData),
}

/// A file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileData {
    /// Bytes, exact as of the last close, sync, append or cut (M4).
    pub length: u64,
    /// How often it was cut (M1).
    pub truncate_epoch: TruncateEpoch,
    /// Where its chunks are.
    pub layout: Layout,
    /// Bytes that its chunks hold, as somebody last asked the chains.
    pub allocated: Option<AllocatedBytes>,
}

/// Bytes of chunks, for `st_blocks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocatedBytes {
    /// `change` of the inode when the chains were asked: below it they are out of date.
    pub at_change: u64,
    /// What they said.
    pub bytes: u64,
}

/// A directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryData {
    /// Raised when somebody sets its times: which times of the side key are later (M6).
    pub time_epoch: u32,
    /// The layout of files that are created in it; `None`: that of its parent when it was made had
    /// none either, so the one of the file system.
    pub layout: Option<LayoutTemplate>,
    /// The ACL that what is created in it begins with.
    pub acl_default: Option<Acl>,
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymlinkData {
    /// Where it leads: 1 to 4,095 bytes, no NUL.
    pub target: Vec<u8>,
}

/// A device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceData {
    /// Its number in the kernel's form of 32 bits (`new_encode_dev`).
    pub rdev: u32,
}

fields! {
    Inode { mode, uid, gid, nlink, atime, mtime, ctime, btime, mtime_set, change, acl, kind }
    FileData { length, truncate_epoch, layout, allocated }
    AllocatedBytes { at_change, bytes }
    DirectoryData { time_epoch, layout, acl_default }
    SymlinkData { target: bytes(SYMLINK_BYTES_MAX) }
    DeviceData { rdev }
}

choices! {
    InodeKind, "kind" {
        8 = File(data),
        4 = Directory(data),
        10 = Symlink(data),
        1 = Fifo,
        12 = Socket,
        2 = CharDevice(data),
        6 = BlockDevice(data),
    }
}

records! {
    Inode = "inode";
}

impl Inode {
    /// A new inode at `now`, with no ACL and the links that its kind begins with.
    pub const fn new(mode: Mode, uid: Uid, gid: Gid, now: Timestamp, kind: InodeKind) -> Self {
        let nlink = if matches!(kind, InodeKind::Directory(_)) { 2 } else { 1 };
        Self {
            mode,
            uid,
            gid,
            nlink,
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            mtime_set: false,
            change: 1,
            acl: None,
            kind,
        }
    }

    /// What it is.
    pub const fn file_type(&self) -> FileType {
        match self.kind {
            InodeKind::File(_) => FileType::Regular,
            InodeKind::Directory(_) => FileType::Directory,
            InodeKind::Symlink(_) => FileType::Symlink,
            InodeKind::Fifo => FileType::Fifo,
            InodeKind::Socket => FileType::Socket,
            InodeKind::CharDevice(_) => FileType::CharDevice,
            InodeKind::BlockDevice(_) => FileType::BlockDevice,
        }
    }

    /// `st_size`: of a file its length, of a link that of its target, else 0.
    pub fn size(&self) -> u64 {
        match &self.kind {
            InodeKind::File(file) => file.length,
            InodeKind::Symlink(link) => link.target.len() as u64,
            _ => 0,
        }
    }

    /// `st_rdev`; 0 unless it is a device.
    pub const fn rdev(&self) -> u32 {
        match self.kind {
            InodeKind::CharDevice(device) | InodeKind::BlockDevice(device) => device.rdev,
            _ => 0,
        }
    }

    /// Its file, if it is one.
    pub const fn file(&self) -> Option<&FileData> {
        match &self.kind {
            InodeKind::File(file) => Some(file),
            _ => None,
        }
    }

    /// Its file, if it is one.
    pub const fn file_mut(&mut self) -> Option<&mut FileData> {
        match &mut self.kind {
            InodeKind::File(file) => Some(file),
            _ => None,
        }
    }

    /// Its directory, if it is one.
    pub const fn directory(&self) -> Option<&DirectoryData> {
        match &self.kind {
            InodeKind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// Its directory, if it is one.
    pub const fn directory_mut(&mut self) -> Option<&mut DirectoryData> {
        match &mut self.kind {
            InodeKind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// The inode was changed at `now`: ctime and `change` rise (E407). Not for directories' own
    /// events, which go to the side keys.
    pub fn changed(&mut self, now: Timestamp) {
        self.ctime = self.ctime.touched(now);
        self.change += 1;
    }

    /// The contents were changed at `now`: mtime rises, too, or becomes `now` if it was set (E407).
    pub fn modified(&mut self, now: Timestamp) {
        self.mtime = if self.mtime_set { now } else { self.mtime.touched(now) };
        self.mtime_set = false;
        self.changed(now);
    }
}

#[cfg(test)]
mod tests;
