//! Extended attributes (xattr(7)), and access lists as two of them (acl(5)).

use alloc::vec::Vec;

use meta_schema::Errno;

use crate::acl::{Acl, Parsed};
use crate::expect::Expect;
use crate::run::{Errors, READ, Run, SETGID, STICKY, WRITE};
use crate::world::{Kind, NodeId};

/// Longest value in bytes (XATTR_SIZE_MAX of Linux).
const VALUE_MAX: usize = 65536;
/// Longest name in bytes (XATTR_NAME_MAX of Linux).
const NAME_MAX: usize = 255;

/// Who may do what with names of one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    User,
    Trusted,
    Security,
    AccessList,
    DefaultList,
    /// No prefix that is kept.
    Other,
}

fn class(name: &[u8]) -> Class {
    let behind = |prefix: &[u8]| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
    match name {
        b"system.posix_acl_access" => Class::AccessList,
        b"system.posix_acl_default" => Class::DefaultList,
        _ if behind(b"user.") => Class::User,
        _ if behind(b"trusted.") => Class::Trusted,
        _ if behind(b"security.") => Class::Security,
        _ => Class::Other,
    }
}

/// EOPNOTSUPP for names nobody keeps, ERANGE for those too long; EINVAL for what is no name.
fn check_name(name: &[u8]) -> Result<(), Errors> {
    let mut errors = Errors::default();
    errors.when(NAME_MAX < name.len() || name.is_empty(), Errno::ERANGE);
    errors.when(name.contains(&0) || NAME_MAX < name.len() || name.is_empty(), Errno::EINVAL);
    if class(name) == Class::Other {
        errors.when(true, Errno::EOPNOTSUPP);
        errors.when(true, Errno::EINVAL);
    }
    errors.check()
}

/// setxattr()'s flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct XattrFlags {
    pub(crate) create: bool,
    pub(crate) replace: bool,
}

impl Run<'_> {
    /// The inode, and whether the name can be one.
    fn named(&self, ino: u64, name: &[u8]) -> Result<NodeId, Errors> {
        let found = self.find(ino);
        let mut errors = Errors::default();
        errors.join(check_name(name));
        errors.join(found.clone().map(|_| ()));
        errors.check().and(found)
    }

    pub(crate) fn get_xattr(&mut self, ino: u64, name: &[u8]) -> Result<Expect, Errors> {
        let id = self.named(ino, name)?;
        let nothing = Errors::one(Errno::ENODATA);
        let node = self.world.node(id);
        match class(name) {
            Class::User => {
                if !node.has_user_xattrs() {
                    return Err(nothing);
                }
                self.need(id, READ)?;
            }
            Class::Trusted if !self.who.is_root() => return Err(nothing),
            Class::AccessList if node.is_symlink() => {
                return Err(Errors::any(&[Errno::ENODATA, Errno::EOPNOTSUPP]));
            }
            Class::AccessList => {
                return node.acl.clone().map(Expect::Acl).ok_or(nothing);
            }
            Class::DefaultList => {
                if node.is_directory() {
                    return node.default_acl.clone().map(Expect::Acl).ok_or(nothing);
                }
                return Err(Errors::any(&[Errno::ENODATA, Errno::EOPNOTSUPP, Errno::EACCES]));
            }
            _ => {}
        }
        let value = self.world.node(id).xattrs.get(name);
        value.cloned().map(Expect::Bytes).ok_or(nothing)
    }

    /// Names that the caller may know; whether those of the lists are among them is left open.
    pub(crate) fn list_xattr(&mut self, ino: u64) -> Result<Expect, Errors> {
        let id = self.find(ino)?;
        let node = self.world.node(id);
        let mut names: Vec<Vec<u8>> = node
            .xattrs
            .keys()
            .filter(|name| class(name) != Class::Trusted || self.who.is_root())
            .cloned()
            .collect();
        if node.acl.is_some() {
            names.push(b"system.posix_acl_access".to_vec());
        }
        if node.default_acl.is_some() {
            names.push(b"system.posix_acl_default".to_vec());
        }
        Ok(Expect::XattrNames(names))
    }

    /// Whether the caller may change the attribute.
    fn may_set(&self, id: NodeId, name: &[u8]) -> Result<(), Errors> {
        check_name(name)?;
        let node = self.world.node(id);
        let mut errors = Errors::default();
        match class(name) {
            Class::User => {
                errors.when(!node.has_user_xattrs(), Errno::EPERM);
                let sticky = node.is_directory() && node.mode & STICKY != 0;
                errors.when(sticky && !self.owns(id), Errno::EPERM);
                errors.join(self.need(id, WRITE));
            }
            Class::Trusted | Class::Security => errors.when(!self.who.is_root(), Errno::EPERM),
            Class::AccessList | Class::DefaultList => {
                errors.when(node.is_symlink(), Errno::EOPNOTSUPP);
                errors.when(!self.owns(id), Errno::EPERM);
            }
            Class::Other => {}
        }
        errors.check()
    }

    pub(crate) fn set_xattr(
        &mut self,
        ino: u64,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
    ) -> Result<Expect, Errors> {
        let id = self.named(ino, name)?;
        let mut errors = Errors::default();
        errors.when(flags.create && flags.replace, Errno::EINVAL);
        errors.when(VALUE_MAX < value.len(), Errno::E2BIG);
        errors.join(self.may_set(id, name));
        match class(name) {
            Class::AccessList => return self.set_access_list(id, value, errors),
            Class::DefaultList => return self.set_default_list(id, value, errors),
            _ => {}
        }
        let there = self.world.node(id).xattrs.contains_key(name);
        errors.when(flags.create && there, Errno::EEXIST);
        errors.when(flags.replace && !there, Errno::ENODATA);
        errors.check()?;
        self.world.node_mut(id).xattrs.insert(name.to_vec(), value.to_vec());
        self.mark_status(id);
        Ok(Expect::Done)
    }

    pub(crate) fn remove_xattr(&mut self, ino: u64, name: &[u8]) -> Result<Expect, Errors> {
        let id = self.named(ino, name)?;
        let mut errors = Errors::default();
        errors.join(self.may_set(id, name));
        let node = self.world.node(id);
        match class(name) {
            Class::AccessList | Class::DefaultList => {
                let is_access = class(name) == Class::AccessList;
                let there = if is_access { node.acl.is_some() } else { node.default_acl.is_some() };
                if !there {
                    // Linux' own file systems succeed, others answer as for other attributes.
                    self.allowed.when(true, Errno::ENODATA);
                }
                errors.check()?;
                self.put_list(id, is_access, None);
            }
            _ => {
                errors.when(!node.xattrs.contains_key(name), Errno::ENODATA);
                errors.check()?;
                self.world.node_mut(id).xattrs.remove(name);
                self.mark_status(id);
            }
        }
        Ok(Expect::Done)
    }

    /// Access lists change the mode too.
    fn set_access_list(
        &mut self,
        id: NodeId,
        value: &[u8],
        errors: Errors,
    ) -> Result<Expect, Errors> {
        let list = self.parsed(value, errors)?;
        self.put_list(id, true, list);
        Ok(Expect::Done)
    }

    /// Only directories have a default list.
    fn set_default_list(
        &mut self,
        id: NodeId,
        value: &[u8],
        mut errors: Errors,
    ) -> Result<Expect, Errors> {
        let node = self.world.node(id);
        if !node.is_directory() {
            if Acl::parse(value) == Parsed::Nothing {
                self.allowed.when(true, Errno::EACCES);
                self.allowed.when(true, Errno::EOPNOTSUPP);
            } else {
                errors.join(Err(Errors::any(&[Errno::EACCES, Errno::EOPNOTSUPP, Errno::EINVAL])));
            }
        }
        let list = self.parsed(value, errors)?;
        self.put_list(id, false, list);
        Ok(Expect::Done)
    }

    fn parsed(&mut self, value: &[u8], mut errors: Errors) -> Result<Option<Acl>, Errors> {
        // Linux ignores the flags for lists: they come no farther than its system call.
        // Linux takes no bytes for no list, which no document says.
        self.allowed.when(value.is_empty(), Errno::EINVAL);
        match Acl::parse(value) {
            Parsed::Nothing => errors.check().map(|()| None),
            Parsed::List(list) => errors.check().map(|()| Some(list)),
            Parsed::Bad => {
                errors.when(true, Errno::EINVAL);
                Err(errors)
            }
            Parsed::Version => {
                errors.when(true, Errno::EOPNOTSUPP);
                errors.when(true, Errno::EINVAL);
                Err(errors)
            }
        }
    }

    /// Keeps, or removes, a list.
    fn put_list(&mut self, id: NodeId, is_access: bool, list: Option<Acl>) {
        let node = self.world.node(id);
        let there = if is_access { node.acl.is_some() } else { node.default_acl.is_some() };
        if list.is_none() && !there {
            // What is not there is removed: whether that is a change is left open.
            let when = self.when;
            self.world.node_mut(id).may_mark_status(when);
            return;
        }
        self.mark_status(id);
        let (uid_is_root, gid) = (self.who.is_root(), self.world.node(id).gid);
        let member = uid_is_root || self.who.in_group(gid);
        let node = self.world.node_mut(id);
        if !is_access {
            node.default_acl = list;
            return;
        }
        match list {
            Some(list) => {
                node.mode = node.mode & 0o7000 | list.mode();
                if !member {
                    // As chmod by somebody outside the group.
                    node.mode &= !SETGID;
                    node.open_bits &= !SETGID;
                }
                node.acl = Some(list).filter(|list| !list.is_mode());
            }
            None => node.acl = None,
        }
    }
}

impl crate::world::Node {
    /// xattr(7): the user may keep attributes at files and directories only.
    const fn has_user_xattrs(&self) -> bool {
        matches!(self.kind, Kind::File(_) | Kind::Directory(_))
    }
}
