//! Who may do what: the checks of Linux' `fs/namei.c`, which POSIX.1-2017 4.5 ("File Access
//! Permissions") and path_resolution(7) describe.
//!
//! Root has every privilege, others have none.

use alloc::vec::Vec;

use crate::errno::Errno;
use crate::fields;
use crate::id::{Gid, Uid};
use crate::inode::{Inode, InodeKind};
use crate::limits::GROUPS_MAX;
use crate::mode::{AccessMask, Mode};

/// In whose name something is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Its user.
    pub uid: Uid,
    /// Its group.
    pub gid: Gid,
    /// Its supplementary groups, at most 1,024.
    pub groups: Vec<Gid>,
    /// Its process, for people.
    pub pid: u32,
}

fields! {
    Caller { uid, gid, groups: list(GROUPS_MAX), pid }
}

impl Caller {
    /// Root without further groups.
    pub const fn root() -> Self {
        Self { uid: Uid::ROOT, gid: Gid::ROOT, groups: Vec::new(), pid: 0 }
    }

    /// A user without further groups.
    pub const fn user(uid: u32, gid: u32) -> Self {
        Self { uid: Uid::new(uid), gid: Gid::new(gid), groups: Vec::new(), pid: 0 }
    }

    /// True for root, whom nothing of this binds.
    pub fn is_root(&self) -> bool {
        self.uid == Uid::ROOT
    }

    /// True for members (`in_group_p`).
    pub fn is_in(&self, group: Gid) -> bool {
        self.gid == group || self.groups.contains(&group)
    }

    /// True for the owner and root (`inode_owner_or_capable`).
    pub fn owns(&self, inode: &Inode) -> bool {
        self.uid == inode.uid || self.is_root()
    }
}

/// How a file is to be opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OpenMode {
    /// `O_RDONLY` or `O_RDWR`
    pub read: bool,
    /// `O_WRONLY` or `O_RDWR`
    pub write: bool,
    /// `O_TRUNC`
    pub truncate: bool,
    /// `O_APPEND`
    pub append: bool,
}

fields! {
    OpenMode { read, write, truncate, append }
}

/// What is to be removed or replaced, by the call that does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Victim {
    /// Anything but a directory: unlink(2), and what a rename of such a one replaces.
    NoDirectory,
    /// A directory: rmdir(2), and what a rename of one replaces.
    Directory,
}

/// True if `caller` may do all that is `wanted`.
///
/// The owner is judged by the owner's bits alone, a member of the group by those of the group (or
/// by the ACL), everybody else by those of others. Root may do all, but execute a file only if
/// anybody may (`generic_permission`).
pub fn permits(inode: &Inode, caller: &Caller, wanted: AccessMask) -> bool {
    let allowed = match &inode.acl {
        None => judged(inode, caller).has(wanted),
        Some(acl) => {
            let in_group = |gid| caller.is_in(gid);
            acl.permits(inode.uid, inode.gid, caller.uid, in_group, wanted)
        }
    };
    let executable = inode.directory().is_some() || inode.mode.bits() & 0o111 != 0;
    allowed || caller.is_root() && (executable || !wanted.has(AccessMask::EXECUTE))
}

/// What the mode alone says.
fn judged(inode: &Inode, caller: &Caller) -> AccessMask {
    if caller.uid == inode.uid {
        inode.mode.owner()
    } else if caller.is_in(inode.gid) {
        inode.mode.group()
    } else {
        inode.mode.other()
    }
}

/// Checks that `caller` may do all that is `wanted`: access(2) with the ids of the caller.
///
/// # Errors
/// EACCES
pub fn check(inode: &Inode, caller: &Caller, wanted: AccessMask) -> Result<(), Errno> {
    if permits(inode, caller, wanted) { Ok(()) } else { Err(Errno::EACCES) }
}

/// Checks that names can be looked up in `dir`.
///
/// # Errors
/// - ENOTDIR: it is no directory
/// - EACCES: the caller may not search it
pub fn check_search(dir: &Inode, caller: &Caller) -> Result<(), Errno> {
    if dir.directory().is_none() {
        return Err(Errno::ENOTDIR);
    }
    check(dir, caller, AccessMask::EXECUTE)
}

/// Checks that `caller` may create an entry in `dir` (`may_create`). EEXIST comes before it:
/// whoever may search is told that the name is taken.
///
/// # Errors
/// - ENOTDIR: it is no directory
/// - ENOENT: it was removed
/// - EACCES: the caller may not search and write it
pub fn check_create(dir: &Inode, caller: &Caller) -> Result<(), Errno> {
    if dir.directory().is_none() {
        return Err(Errno::ENOTDIR);
    }
    if dir.nlink == 0 {
        return Err(Errno::ENOENT);
    }
    check(dir, caller, AccessMask::WRITE.or(AccessMask::EXECUTE))
}

/// Checks that `caller` may remove or replace the entry of `victim` in `dir` (`may_delete`).
///
/// # Errors
/// - EACCES: the caller may not search and write `dir`
/// - EPERM: `dir` is sticky, and the caller owns neither it nor `victim`
/// - ENOTDIR, EISDIR: it is no directory, or is one, and should be the other
pub fn check_remove(
    dir: &Inode,
    victim: &Inode,
    caller: &Caller,
    expected: Victim,
) -> Result<(), Errno> {
    check(dir, caller, AccessMask::WRITE.or(AccessMask::EXECUTE))?;
    if is_sticky_for(dir, victim, caller) {
        return Err(Errno::EPERM);
    }
    match (expected, victim.directory().is_some()) {
        (Victim::Directory, false) => Err(Errno::ENOTDIR),
        (Victim::NoDirectory, true) => Err(Errno::EISDIR),
        _ => Ok(()),
    }
}

/// True if the sticky bit of `dir` keeps `caller` from removing `victim` (`check_sticky`;
/// inode(7), "sticky bit").
pub fn is_sticky_for(dir: &Inode, victim: &Inode, caller: &Caller) -> bool {
    dir.mode.has(Mode::STICKY)
        && caller.uid != victim.uid
        && caller.uid != dir.uid
        && !caller.is_root()
}

/// The inodes that a rename is about.
#[derive(Clone, Copy, Debug)]
pub struct Renamed<'a> {
    /// Directory of the old name.
    pub from: &'a Inode,
    /// What moves.
    pub moved: &'a Inode,
    /// Directory of the new name.
    pub to: &'a Inode,
    /// What has the new name, if anything.
    pub replaced: Option<&'a Inode>,
    /// True if both directories are one.
    pub same_directory: bool,
    /// `RENAME_EXCHANGE`: what has the new name gets the old one.
    pub exchange: bool,
}

/// Checks that `caller` may rename (`vfs_rename`): remove the old name, create or replace the new
/// one, and write a directory whose ".." changes.
///
/// That two names of one inode are left as they are, that a directory is not moved below itself and
/// that a replaced one has to be empty is for its caller.
///
/// # Errors
/// - ENOENT: exchange, and nothing has the new name; it comes first
/// - those of [`check_create`] and [`check_remove`]
/// - EACCES: a directory gets another parent, and the caller may not write it
pub fn check_rename(rename: &Renamed<'_>, caller: &Caller) -> Result<(), Errno> {
    let victim = |inode: &Inode| match inode.kind {
        InodeKind::Directory(_) => Victim::Directory,
        _ => Victim::NoDirectory,
    };
    if rename.exchange && rename.replaced.is_none() {
        return Err(Errno::ENOENT);
    }
    check_remove(rename.from, rename.moved, caller, victim(rename.moved))?;
    match rename.replaced {
        None => check_create(rename.to, caller)?,
        Some(replaced) => {
            let expected = if rename.exchange { victim(replaced) } else { victim(rename.moved) };
            check_remove(rename.to, replaced, caller, expected)?;
        }
    }
    if rename.same_directory {
        return Ok(());
    }
    let exchanged = rename.replaced.filter(|_| rename.exchange);
    for moved in [Some(rename.moved), exchanged].into_iter().flatten() {
        if moved.directory().is_some() {
            check(moved, caller, AccessMask::WRITE)?;
        }
    }
    Ok(())
}

/// Checks that `caller` may open (open(2), `may_open`).
///
/// # Errors
/// - ELOOP: it is a symbolic link
/// - EISDIR: a directory, for writing or truncating
/// - ENXIO: it is a socket
/// - EACCES: mode or ACL do not allow it
pub fn check_open(inode: &Inode, caller: &Caller, open: OpenMode) -> Result<(), Errno> {
    let writes = open.write || open.truncate;
    match inode.kind {
        InodeKind::Symlink(_) => return Err(Errno::ELOOP),
        InodeKind::Directory(_) if writes => return Err(Errno::EISDIR),
        InodeKind::Socket => return Err(Errno::ENXIO),
        _ => {}
    }
    let read = if open.read { AccessMask::READ } else { AccessMask::NONE };
    let write = if writes { AccessMask::WRITE } else { AccessMask::NONE };
    check(inode, caller, read.or(write))
}

/// Checks that `inode` can have another name (link(2), `vfs_link`). Whether somebody may create the
/// entry is [`check_create`], and comes first.
///
/// # Errors
/// - EPERM: it is a directory
/// - ENOENT: its last name is gone
/// - EMLINK: it has as many as it can have
pub fn check_link(inode: &Inode) -> Result<(), Errno> {
    if inode.directory().is_some() {
        return Err(Errno::EPERM);
    }
    if inode.nlink == 0 {
        return Err(Errno::ENOENT);
    }
    if crate::limits::NLINK_MAX <= inode.nlink {
        return Err(Errno::EMLINK);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
