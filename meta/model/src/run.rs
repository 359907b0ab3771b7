//! What all operations share: the caller, the errors that are possible, permissions, names.
//!
//! POSIX 2.3: "If more than one error occurs in processing a function call, any one of the
//! possible errors may be returned, as the order of detection is undefined." So an operation
//! collects all errors that hold, and a refusal is right if it names one of them. One order is
//! kept, as it is a matter of safety: who may not search a directory learns nothing of its names.

use alloc::collections::BTreeSet;
use core::fmt;

use meta_schema::Errno;

use crate::acl::Acl;
use crate::moment::When;
use crate::who::Who;
use crate::world::{Kind, Node, NodeId, ROOT, World};

pub(crate) const READ: u16 = 4;
pub(crate) const WRITE: u16 = 2;
pub(crate) const SEARCH: u16 = 1;

pub(crate) const SETUID: u16 = 0o4000;
pub(crate) const SETGID: u16 = 0o2000;
pub(crate) const STICKY: u16 = 0o1000;

/// Longest name in bytes.
const NAME_MAX: usize = 255;

/// Errors of which each is right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Errors(BTreeSet<Errno>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut word = "";
        for errno in &self.0 {
            write!(f, "{word}{}", errno.name())?;
            word = " or ";
        }
        Ok(())
    }
}

impl Errors {
    /// One error.
    pub(crate) fn one(errno: Errno) -> Self {
        Self(BTreeSet::from([errno]))
    }

    /// Any of them.
    pub(crate) fn any(errnos: &[Errno]) -> Self {
        Self(errnos.iter().copied().collect())
    }

    /// Adds an error that holds.
    pub(crate) fn when(&mut self, holds: bool, errno: Errno) {
        if holds {
            self.0.insert(errno);
        }
    }

    /// Adds errors that hold.
    pub(crate) fn join(&mut self, result: Result<(), Self>) {
        if let Err(errors) = result {
            self.0.extend(errors.0);
        }
    }

    pub(crate) fn contains(&self, errno: Errno) -> bool {
        self.0.contains(&errno)
    }

    /// One of them.
    #[cfg(test)]
    pub(crate) fn first(&self) -> Errno {
        *self.0.first().expect("an error")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Success if none holds.
    pub(crate) fn check(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// The mode that a creator asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) mode: u16,
    /// Bits it does not want, unless the directory has a default list.
    pub(crate) umask: u16,
}

/// One operation of one caller on a world.
pub(crate) struct Run<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) who: Who<'a>,
    pub(crate) session: u64,
    pub(crate) when: When,
    /// Errors that are right although the operation may succeed too.
    pub(crate) allowed: Errors,
}

impl Run<'_> {
    /// The inode with number `ino`.
    pub(crate) fn find(&self, ino: u64) -> Result<NodeId, Errors> {
        self.world
            .inos
            .get(&ino)
            .copied()
            .filter(|id| self.world.nodes.contains_key(id))
            .ok_or_else(|| Errors::any(&[Errno::ENOENT, Errno::ESTALE]))
    }

    /// Whether the caller has all `rights` (of READ, WRITE, SEARCH) to `id`.
    pub(crate) fn may(&self, id: NodeId, rights: u16) -> bool {
        let node = self.world.node(id);
        if self.who.is_root() {
            // To execute a file somebody has to be allowed to.
            return rights & SEARCH == 0 || node.is_directory() || node.mode & 0o111 != 0;
        }
        let classes = Acl::of_mode(node.mode);
        node.acl.as_ref().unwrap_or(&classes).grants(&self.who, node.uid, node.gid, rights)
    }

    /// EACCES without `rights`.
    pub(crate) fn need(&self, id: NodeId, rights: u16) -> Result<(), Errors> {
        if self.may(id, rights) { Ok(()) } else { Err(Errors::one(Errno::EACCES)) }
    }

    /// Whether the caller is the owner, or root.
    pub(crate) fn owns(&self, id: NodeId) -> bool {
        self.who.is_root() || self.who.uid == self.world.node(id).uid
    }

    /// The directory with number `ino`, in which the caller looks for `name`.
    pub(crate) fn directory(&self, ino: u64, name: &[u8]) -> Result<NodeId, Errors> {
        let mut errors = Errors::default();
        errors.join(check_name(name));
        let dir = match self.find(ino) {
            Err(gone) => {
                errors.join(Err(gone));
                return Err(errors);
            }
            Ok(dir) => dir,
        };
        if self.world.node(dir).is_directory() {
            errors.join(self.need(dir, SEARCH));
        } else {
            errors.when(true, Errno::ENOTDIR);
        }
        errors.check().map(|()| dir)
    }

    /// Directory and what has the name `name` in it.
    pub(crate) fn entry(&self, ino: u64, name: &[u8]) -> Result<(NodeId, NodeId), Errors> {
        let dir = self.directory(ino, name)?;
        match self.world.child(dir, name) {
            Some(child) => Ok((dir, child)),
            None => Err(Errors::one(Errno::ENOENT)),
        }
    }

    /// Whether a name may be put into `dir`, or taken from it.
    pub(crate) fn may_change(&self, dir: NodeId) -> Result<(), Errors> {
        let mut errors = Errors::default();
        errors.join(self.need(dir, WRITE | SEARCH));
        errors.when(self.is_removed(dir), Errno::ENOENT);
        errors.when(self.is_removed(dir), Errno::ESTALE);
        errors.check()
    }

    /// Whether the entry `child` may be taken from `dir`: in a directory with the sticky bit only
    /// by the owner of either (XBD 4.3: EPERM or EACCES).
    pub(crate) fn may_take(&self, dir: NodeId, child: NodeId) -> Result<(), Errors> {
        let mut errors = Errors::default();
        errors.join(self.may_change(dir));
        if self.world.node(dir).mode & STICKY != 0 && !self.owns(dir) && !self.owns(child) {
            errors.join(Err(Errors::any(&[Errno::EPERM, Errno::EACCES])));
        }
        errors.check()
    }

    /// Whether the directory has lost its name.
    pub(crate) fn is_removed(&self, dir: NodeId) -> bool {
        dir != ROOT && self.world.names(dir).is_empty()
    }

    /// Entries of `dir` changed.
    pub(crate) fn mark_entries(&mut self, dir: NodeId) {
        let when = self.when;
        self.world.node_mut(dir).mark_content(when);
    }

    /// Attributes of `id` changed.
    pub(crate) fn mark_status(&mut self, id: NodeId) {
        let when = self.when;
        self.world.node_mut(id).mark_status(when);
    }

    /// Somebody without privileges wrote a file, or it was given away: programs in it no longer
    /// run with the rights of its owner.
    ///
    /// POSIX: a write clears both bits of a regular file unless the writer has privileges; with
    /// them, and for files that nobody may execute, it is left to the system.
    pub(crate) fn clear_setid(&mut self, id: NodeId) {
        let root = self.who.is_root();
        let node = self.world.node_mut(id);
        if node.is_directory() {
            return;
        }
        let bits = node.mode & (SETUID | SETGID);
        if !root && matches!(node.kind, Kind::File(_)) && node.mode & 0o111 != 0 {
            // Set-group-id without group execution means mandatory locking on some systems.
            let keeps = if node.mode & 0o010 == 0 { SETGID } else { 0 };
            node.mode &= !(bits & !keeps);
            node.open_bits = node.open_bits & !bits | bits & keeps;
        } else {
            node.open_bits |= bits;
        }
    }

    /// A new inode of the caller in `dir`: owner, group, mode and lists.
    pub(crate) fn make(&mut self, dir: NodeId, name: &[u8], kind: Kind, asked: Asked) -> NodeId {
        let above = self.world.node(dir);
        let is_directory = matches!(kind, Kind::Directory(_));
        let is_symlink = matches!(kind, Kind::Symlink(_));
        let mut mode = asked.mode & 0o7777;
        let mut gid = self.who.gid;
        if above.mode & SETGID != 0 {
            gid = above.gid;
            if is_directory {
                mode |= SETGID;
            }
        }
        let member = self.who.is_root() || self.who.in_group(gid);
        if !is_directory && !member && mode & SETGID != 0 && mode & 0o010 != 0 {
            mode &= !SETGID;
        }
        let defaults = above.default_acl.clone().filter(|_| !is_symlink);
        if defaults.is_none() {
            mode &= !(asked.umask & 0o777);
        }
        let mut node = Node::new(kind, mode, (self.who.uid, gid), self.when);
        if let Some(defaults) = defaults {
            let (acl, mode) = defaults.inherited(mode);
            node.mode = mode;
            node.acl = Some(acl).filter(|acl| !acl.is_mode());
            node.default_acl = Some(defaults).filter(|_| is_directory);
        }
        let id = self.world.add(node);
        self.world.enter(dir, name, id);
        self.mark_entries(dir);
        id
    }
}

/// Names are bytes: 1 to 255, no "/" and no NUL; "." and ".." are no entries, and the errors for
/// them differ from call to call and system to system.
pub(crate) fn check_name(name: &[u8]) -> Result<(), Errors> {
    if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
        return Err(Errors::any(&[Errno::EINVAL, Errno::ENOENT]));
    }
    if NAME_MAX < name.len() {
        return Err(Errors::one(Errno::ENAMETOOLONG));
    }
    if name == b"." || name == b".." {
        return Err(Errors::any(&[
            Errno::EINVAL,
            Errno::EEXIST,
            Errno::ENOTEMPTY,
            Errno::EBUSY,
            Errno::EISDIR,
            Errno::EPERM,
        ]));
    }
    Ok(())
}
