//! Attributes of an inode, as `stat` shows them and a client works with them.

use engine_types::InodeId;
use meta_schema::side::DirectoryStat;
use meta_schema::{
    FileType, Gid, Inode, Layout, Mode, SideCounts, SideTimes, Timestamp, TruncateEpoch, Uid,
    fields,
};

/// Bytes of the blocks in which `st_blocks` counts.
const BLOCK_BYTES: u64 = 512;

/// Attributes of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Its number.
    pub ino: InodeId,
    /// What it is.
    pub kind: FileType,
    /// Permissions, setuid, setgid, sticky.
    pub mode: Mode,
    /// True if an ACL says more than the mode.
    pub has_acl: bool,
    /// Owner.
    pub uid: Uid,
    /// Group.
    pub gid: Gid,
    /// Links; of a directory 2 and one per subdirectory.
    pub nlink: u32,
    /// Bytes.
    pub size: u64,
    /// Blocks of 512 bytes that its chunks take; nothing if the chains have to be asked.
    pub blocks: Option<u64>,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the contents.
    pub mtime: Timestamp,
    /// Last change of inode or contents.
    pub ctime: Timestamp,
    /// Creation.
    pub btime: Timestamp,
    /// Of a device: its number, in the kernel's form of 32 bits.
    pub rdev: u32,
    /// Raised by every change: what caches are compared by (C2).
    pub change: u64,
    /// Of a file: how often it was cut.
    pub truncate_epoch: TruncateEpoch,
    /// Of a file: where its chunks are.
    pub layout: Option<Layout>,
}

fields! {
    Attr {
        ino, kind, mode, has_acl, uid, gid, nlink, size, blocks, atime, mtime, ctime, btime, rdev,
        change, truncate_epoch, layout
    }
}

impl Attr {
    /// Of an inode; `counts` and `times` are the side keys of a directory and nothing otherwise.
    pub fn of(ino: InodeId, inode: &Inode, counts: SideCounts, times: SideTimes) -> Self {
        let (nlink, mtime, ctime, change) = if inode.directory().is_some() {
            let stat = DirectoryStat::of(inode, counts, times);
            (stat.nlink, stat.mtime, stat.ctime, stat.change)
        } else {
            (inode.nlink, inode.mtime, inode.ctime, inode.change)
        };
        let blocks = match inode.file() {
            None => Some(0),
            Some(file) => {
                let known = file.allocated.filter(|known| known.at_change == inode.change);
                let bytes = known.map(|known| known.bytes);
                // Nobody asks the chains of an empty file, though room may be kept behind its end.
                bytes.or((file.length == 0).then_some(0)).map(|bytes| bytes.div_ceil(BLOCK_BYTES))
            }
        };
        Self {
            ino,
            kind: inode.file_type(),
            mode: inode.mode,
            has_acl: inode.acl.is_some(),
            uid: inode.uid,
            gid: inode.gid,
            nlink,
            size: inode.size(),
            blocks,
            atime: inode.atime,
            mtime,
            ctime,
            btime: inode.btime,
            rdev: inode.rdev(),
            change,
            truncate_epoch: inode.file().map_or(TruncateEpoch::FIRST, |file| file.truncate_epoch),
            layout: inode.file().map(|file| file.layout),
        }
    }
}

#[cfg(test)]
mod tests;
