//! Extended attributes: which there are, and who may use them (xattr(7); `xattr_permission` of
//! Linux' `fs/xattr.c` and `cap_inode_setxattr`).

use crate::access::{self, Caller};
use crate::acl::{Acl, AclKind};
use crate::change::without_foreign_setgid;
use crate::errno::Errno;
use crate::inode::Inode;
use crate::limits::XATTR_VALUE_BYTES_MAX;
use crate::mode::{AccessMask, FileType, Mode};
use crate::name;
use crate::numbered;

/// What the first part of a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// `user.`: files and directories only, by their permissions.
    User,
    /// `trusted.`: root only, and nobody else sees them.
    Trusted,
    /// `security.`: anybody reads, root writes.
    Security,
    /// `system.posix_acl_access`, `system.posix_acl_default`: the ACLs, which stand in the inode.
    Acl(AclKind),
}

/// What is to be done with an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum XattrUse {
    /// getxattr
    Get,
    /// setxattr, removexattr
    Change,
}

/// Whether a value may be there already (setxattr(2), flags). For ACLs it counts for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum XattrSet {
    /// Either way.
    #[default]
    Any,
    /// `XATTR_CREATE`: EEXIST if it is there.
    Create,
    /// `XATTR_REPLACE`: ENODATA if it is not.
    Replace,
}

numbered! {
    XattrSet {
        0 = Any,
        1 = Create,
        2 = Replace,
    }
}

impl XattrSet {
    /// Compares the flags with what is there.
    ///
    /// # Errors
    /// EEXIST or ENODATA, as the flags say.
    pub const fn check(self, exists: bool) -> Result<(), Errno> {
        match (self, exists) {
            (Self::Create, true) => Err(Errno::EEXIST),
            (Self::Replace, false) => Err(Errno::ENODATA),
            _ => Ok(()),
        }
    }
}

/// File capabilities: they go when a file is written or given away, as setuid does
/// (`cap_inode_killpriv`).
pub const CAPABILITY: &[u8] = b"security.capability";

/// The namespace of `name`.
///
/// # Errors
/// - ERANGE: no bytes, or more than 255
/// - EINVAL: NUL in it, or nothing behind the namespace
/// - EOPNOTSUPP: a namespace that we do not have
pub fn namespace(name: &[u8]) -> Result<Namespace, Errno> {
    name::check_xattr(name)?;
    match name {
        b"system.posix_acl_access" => return Ok(Namespace::Acl(AclKind::Access)),
        b"system.posix_acl_default" => return Ok(Namespace::Acl(AclKind::Default)),
        _ => {}
    }
    let rows: [(&[u8], Namespace); 3] = [
        (b"user.", Namespace::User),
        (b"trusted.", Namespace::Trusted),
        (b"security.", Namespace::Security),
    ];
    for (prefix, namespace) in rows {
        match name.strip_prefix(prefix) {
            None => {}
            Some([]) => return Err(Errno::EINVAL),
            Some(_) => return Ok(namespace),
        }
    }
    Err(Errno::EOPNOTSUPP)
}

/// Checks that `caller` may use attributes of `namespace` of `inode` so.
///
/// # Errors
/// - EPERM: changing what is for root or for files and directories only, or of somebody else's
///   sticky directory; changing an ACL of somebody else's inode
/// - ENODATA: reading what is for root or for files and directories only
/// - EACCES: the mode does not allow it
/// - EOPNOTSUPP: an ACL of a symbolic link
pub fn check(
    inode: &Inode,
    caller: &Caller,
    namespace: Namespace,
    used: XattrUse,
) -> Result<(), Errno> {
    let changes = used == XattrUse::Change;
    let hidden = if changes { Errno::EPERM } else { Errno::ENODATA };
    match namespace {
        Namespace::Trusted if caller.is_root() => Ok(()),
        Namespace::Trusted => Err(hidden),
        Namespace::Security if !changes || caller.is_root() => Ok(()),
        Namespace::Security => Err(Errno::EPERM),
        Namespace::Acl(_) if inode.file_type() == FileType::Symlink => Err(Errno::EOPNOTSUPP),
        Namespace::Acl(_) if !changes || caller.owns(inode) => Ok(()),
        Namespace::Acl(_) => Err(Errno::EPERM),
        Namespace::User => {
            if !matches!(inode.file_type(), FileType::Regular | FileType::Directory) {
                return Err(hidden);
            }
            let sticky = inode.directory().is_some() && inode.mode.has(Mode::STICKY);
            if sticky && changes && !caller.owns(inode) {
                return Err(Errno::EPERM);
            }
            let wanted = if changes { AccessMask::WRITE } else { AccessMask::READ };
            access::check(inode, caller, wanted)
        }
    }
}

/// Checks the size of a value (setxattr(2)).
///
/// # Errors
/// E2BIG: more than 64 KiB
pub const fn check_value(value: &[u8]) -> Result<(), Errno> {
    if XATTR_VALUE_BYTES_MAX < value.len() { Err(Errno::E2BIG) } else { Ok(()) }
}

/// True if listxattr shows `name` to `caller` (listxattr(2)): all but `trusted.` to everybody.
pub fn is_listed(name: &[u8], caller: &Caller) -> bool {
    caller.is_root() || !name.starts_with(b"trusted.")
}

/// The ACL of `inode` as value of its attribute.
///
/// # Errors
/// ENODATA: it has none
pub fn get_acl(inode: &Inode, kind: AclKind) -> Result<alloc::vec::Vec<u8>, Errno> {
    let acl = match kind {
        AclKind::Access => inode.acl.as_ref(),
        AclKind::Default => inode.directory().and_then(|dir| dir.acl_default.as_ref()),
    };
    acl.map(Acl::to_xattr).ok_or(Errno::ENODATA)
}

/// Sets an ACL from the value of its attribute, which `check` has admitted. An access ACL sets the
/// mode, too, and is not kept if the mode says all of it (`posix_acl_update_mode`, E405); one
/// without entries removes an ACL.
///
/// # Errors
/// - EINVAL, E2BIG, EOPNOTSUPP: as [`Acl::from_xattr`]
/// - EACCES: a default ACL of something that is no directory (`set_posix_acl`)
pub fn set_acl(
    inode: &mut Inode,
    caller: &Caller,
    kind: AclKind,
    value: &[u8],
) -> Result<(), Errno> {
    let acl = Acl::from_xattr(value)?;
    match (kind, inode.directory_mut()) {
        (AclKind::Default, Some(directory)) => directory.acl_default = acl,
        (AclKind::Default, None) if acl.is_some() => return Err(Errno::EACCES),
        (AclKind::Default, None) => {}
        (AclKind::Access, _) => {
            if let Some(acl) = &acl {
                inode.mode = without_foreign_setgid(acl.mode(inode.mode), inode.gid, caller);
            }
            inode.acl = acl.filter(|acl| !acl.is_minimal());
        }
    }
    Ok(())
}

/// Removes an ACL; the mode stays as it is (removexattr(2)). False if there was none: Linux takes
/// that for done.
pub fn remove_acl(inode: &mut Inode, kind: AclKind) -> bool {
    match (kind, inode.directory_mut()) {
        (AclKind::Access, _) => inode.acl.take().is_some(),
        (AclKind::Default, Some(directory)) => directory.acl_default.take().is_some(),
        (AclKind::Default, None) => false,
    }
}

#[cfg(test)]
mod tests;
