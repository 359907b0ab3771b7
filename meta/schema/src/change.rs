//! chmod, chown and utimens: who may, and what follows from them (`fs/attr.c` of Linux; chmod(2),
//! chown(2), utimensat(2)). Of writing, too: it takes privileges from a file.

use engine_types::fields::{DecodeError, Reader, Writer};

use crate::access::{self, Caller};
use crate::codec::Field;
use crate::errno::Errno;
use crate::fields;
use crate::id::{Gid, Uid};
use crate::inode::Inode;
use crate::mode::{AccessMask, FileType, Mode};
use crate::side::{self, SideTimes};
use crate::time::Timestamp;

/// What becomes of a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimeChange {
    /// It stays (`UTIME_OMIT`).
    #[default]
    Keep,
    /// The time of the change (`UTIME_NOW`).
    Now,
    /// This one.
    At(Timestamp),
}

/// What is to be changed of an inode. Nothing set changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AttrChange {
    /// chmod
    pub mode: Option<Mode>,
    /// chown
    pub uid: Option<Uid>,
    /// chown
    pub gid: Option<Gid>,
    /// truncate: the new length
    pub size: Option<u64>,
    /// utimens
    pub atime: TimeChange,
    /// utimens
    pub mtime: TimeChange,
    /// ftruncate: the file is open for writing, which was allowed when it was opened.
    pub by_open_handle: bool,
}

/// A tag, 0 to 2 in their order, and the time of `At`.
impl Field for TimeChange {
    const BYTES_MIN: usize = 1;

    fn write(&self, out: &mut Writer) {
        match self {
            Self::Keep => out.u8(0),
            Self::Now => out.u8(1),
            Self::At(time) => {
                out.u8(2);
                time.write(out);
            }
        }
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8(field)? {
            0 => Self::Keep,
            1 => Self::Now,
            2 => Self::At(Field::read(field, from)?),
            found => return Err(from.bad_number(field, found.into(), "0 to 2")),
        })
    }
}

fields! {
    AttrChange { mode, uid, gid, size, atime, mtime, by_open_handle }
}

impl AttrChange {
    /// True if nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        let Self { mode, uid, gid, size, atime, mtime, by_open_handle: _ } = self;
        mode.is_none()
            && uid.is_none()
            && gid.is_none()
            && size.is_none()
            && *atime == TimeChange::Keep
            && *mtime == TimeChange::Keep
    }
}

/// Checks that `caller` may do all of `change`. In the order of the kernel: what only the owner
/// may, then what the mode says.
///
/// # Errors
/// - EINVAL: an owner or group of all ones; a size of something that is no file
/// - EISDIR: the size of a directory
/// - EOPNOTSUPP: the mode of a symbolic link (fchmodat(2) with `AT_SYMLINK_NOFOLLOW`)
/// - EPERM: chmod and chown by others than they are for; setting a time to anything but now
/// - EACCES: truncate, or both times to now, by somebody who may not write
/// - EFBIG: beyond the largest file
pub fn check(inode: &Inode, caller: &Caller, change: &AttrChange) -> Result<(), Errno> {
    if let Some(uid) = change.uid {
        check_owner(inode, caller, uid)?;
    }
    if let Some(gid) = change.gid {
        check_group(inode, caller, gid)?;
    }
    if change.mode.is_some() {
        if inode.file_type() == FileType::Symlink {
            return Err(Errno::EOPNOTSUPP);
        }
        if !caller.owns(inode) {
            return Err(Errno::EPERM);
        }
    }
    check_times(inode, caller, change)?;
    match change.size {
        Some(size) => check_size(inode, caller, size, change.by_open_handle),
        None => Ok(()),
    }
}

/// Only root gives files away (chown(2)); the owner may name itself.
fn check_owner(inode: &Inode, caller: &Caller, uid: Uid) -> Result<(), Errno> {
    if !uid.is_valid() {
        return Err(Errno::EINVAL);
    }
    let same = caller.uid == inode.uid && uid == inode.uid;
    if same || caller.is_root() { Ok(()) } else { Err(Errno::EPERM) }
}

/// The owner chooses among its own groups (chown(2)).
fn check_group(inode: &Inode, caller: &Caller, gid: Gid) -> Result<(), Errno> {
    if !gid.is_valid() {
        return Err(Errno::EINVAL);
    }
    let own = caller.uid == inode.uid && (gid == inode.gid || caller.is_in(gid));
    if own || caller.is_root() { Ok(()) } else { Err(Errno::EPERM) }
}

/// utimensat(2), "Permissions requirements": both times to now is for whoever may write, everything
/// else for the owner.
fn check_times(inode: &Inode, caller: &Caller, change: &AttrChange) -> Result<(), Errno> {
    use TimeChange::{Keep, Now};
    match (change.atime, change.mtime) {
        (Keep, Keep) => Ok(()),
        _ if caller.owns(inode) => Ok(()),
        (Now, Now) => access::check(inode, caller, AccessMask::WRITE),
        _ => Err(Errno::EPERM),
    }
}

fn check_size(inode: &Inode, caller: &Caller, size: u64, open: bool) -> Result<(), Errno> {
    let Some(file) = inode.file() else {
        return Err(match inode.file_type() {
            FileType::Directory => Errno::EISDIR,
            _ => Errno::EINVAL,
        });
    };
    if !open {
        access::check(inode, caller, AccessMask::WRITE)?;
    }
    if file.layout.file_bytes_max() < size { Err(Errno::EFBIG) } else { Ok(()) }
}

/// Does all of `change` but the size, which [`check`] has admitted, at `now`; ctime and `change`
/// rise. `times` is the side key of a directory. For a size, the privileges go and the mtime rises,
/// and the rest is for its caller.
///
/// # Errors
/// EOVERFLOW: the mtime of the directory was set as often as can be
pub fn apply(
    inode: &mut Inode,
    caller: &Caller,
    change: &AttrChange,
    times: SideTimes,
    now: Timestamp,
) -> Result<(), Errno> {
    if change.uid.is_some() || change.gid.is_some() {
        let kept = mode_after_chown(inode, caller);
        inode.uid = change.uid.unwrap_or(inode.uid);
        inode.gid = change.gid.unwrap_or(inode.gid);
        inode.mode = kept;
    }
    if let Some(mode) = change.mode {
        set_mode(inode, caller, mode);
    }
    if change.size.is_some() {
        inode.mode = mode_after_write(inode, caller);
        inode.modified(now);
    }
    set_times(inode, change, times, now)?;
    inode.changed(now);
    Ok(())
}

fn set_times(
    inode: &mut Inode,
    change: &AttrChange,
    times: SideTimes,
    now: Timestamp,
) -> Result<(), Errno> {
    let at = |wanted| match wanted {
        TimeChange::Keep => None,
        TimeChange::Now => Some(now),
        TimeChange::At(time) => Some(time),
    };
    if let Some(atime) = at(change.atime) {
        inode.atime = atime;
    }
    let Some(mtime) = at(change.mtime) else { return Ok(()) };
    if inode.directory().is_some() {
        return if side::set_mtime(inode, times, mtime) { Ok(()) } else { Err(Errno::EOVERFLOW) };
    }
    inode.mtime = mtime;
    inode.mtime_set = change.mtime != TimeChange::Now;
    Ok(())
}

/// chmod: whoever is not in the group of the inode cannot set setgid (chmod(2)); the ACL follows
/// the mode (E405).
fn set_mode(inode: &mut Inode, caller: &Caller, mode: Mode) {
    inode.mode = without_foreign_setgid(mode, inode.gid, caller);
    if let Some(acl) = &inode.acl {
        inode.acl = Some(acl.with_mode(inode.mode));
    }
}

/// `mode` without setgid, unless `caller` is in `group` or root (`setattr_prepare`).
pub fn without_foreign_setgid(mode: Mode, group: Gid, caller: &Caller) -> Mode {
    if caller.is_in(group) || caller.is_root() { mode } else { mode.without(Mode::SETGID) }
}

/// The mode of `inode` after a chown by anybody, root included: setuid goes, and setgid where it
/// means "run as the group" (chown(2); `setattr_should_drop_sgid`). Directories keep theirs.
pub fn mode_after_chown(inode: &Inode, caller: &Caller) -> Mode {
    if inode.directory().is_some() { inode.mode } else { unprivileged(inode, caller) }
}

/// The mode of `inode` after `caller` wrote or cut it: files lose setuid and setgid as by a chown,
/// unless root does it (`setattr_should_drop_suidgid`; write(2), "Bugs" of POSIX leave it open).
pub fn mode_after_write(inode: &Inode, caller: &Caller) -> Mode {
    if inode.file().is_none() || caller.is_root() {
        return inode.mode;
    }
    unprivileged(inode, caller)
}

fn unprivileged(inode: &Inode, caller: &Caller) -> Mode {
    let mode = inode.mode.without(Mode::SETUID);
    if mode.has(Mode::GROUP_EXECUTE) {
        return mode.without(Mode::SETGID);
    }
    without_foreign_setgid(mode, inode.gid, caller)
}

#[cfg(test)]
mod tests;
