//! With what a new inode begins (`inode_init_owner` and `posix_acl_create` of Linux; open(2),
//! mkdir(2), mknod(2), acl(5)).

use crate::access::Caller;
use crate::acl::Acl;
use crate::change::without_foreign_setgid;
use crate::id::{Gid, Uid};
use crate::inode::{DirectoryData, Inode, InodeKind};
use crate::mode::{FileType, Mode};
use crate::time::Timestamp;

/// Owner, mode and ACLs of a new inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Birth {
    /// The caller.
    pub uid: Uid,
    /// The caller's group, or that of a setgid directory.
    pub gid: Gid,
    /// What of the mode is left.
    pub mode: Mode,
    /// From the default ACL of the directory.
    pub acl: Option<Acl>,
    /// Of a directory: the default ACL of the one it is created in.
    pub acl_default: Option<Acl>,
}

/// What `caller` creates in `dir` when it asks for `mode`, with its `umask`.
///
/// - The umask counts unless `dir` has a default ACL (acl(5)); nothing counts for links.
/// - In a setgid directory the group is that of the directory, and new directories are setgid, too.
/// - mkdir(2) takes the sticky bit, but neither setuid nor setgid.
/// - A file that the group may execute cannot be made setgid in a setgid directory by somebody who
///   is not in its group (`mode_strip_sgid`).
pub fn birth(dir: &Inode, caller: &Caller, kind: FileType, mode: Mode, umask: Mode) -> Birth {
    let inherits = dir.mode.has(Mode::SETGID);
    let gid = if inherits { dir.gid } else { caller.gid };
    let default = dir.directory().and_then(|dir| dir.acl_default.as_ref());
    let mut mode = match kind {
        FileType::Symlink => Mode::new(0o777),
        FileType::Directory => mode.without(Mode::SETUID).without(Mode::SETGID),
        // Judged by what was asked for, before the umask takes a part of it.
        _ if inherits && mode.has(Mode::SETGID.with(Mode::GROUP_EXECUTE)) => {
            without_foreign_setgid(mode, dir.gid, caller)
        }
        _ => mode,
    };
    let mut acl = None;
    match default {
        _ if kind == FileType::Symlink => {}
        None => mode = mode.without(umask.only(Mode::new(0o777))),
        Some(default) => (mode, acl) = default.inherit(mode),
    }
    if inherits && kind.is_directory() {
        mode = mode.with(Mode::SETGID);
    }
    let acl_default = default.filter(|_| kind.is_directory()).cloned();
    Birth { uid: caller.uid, gid, mode, acl, acl_default }
}

impl Birth {
    /// The inode at `now`. A directory takes the default ACL, whatever `kind` says of it.
    pub fn inode(self, now: Timestamp, kind: InodeKind) -> Inode {
        let Self { uid, gid, mode, acl, acl_default } = self;
        let kind = match kind {
            InodeKind::Directory(data) => {
                InodeKind::Directory(DirectoryData { acl_default, ..data })
            }
            kind => kind,
        };
        Inode { acl, ..Inode::new(mode, uid, gid, now, kind) }
    }
}

#[cfg(test)]
mod tests;
