//! stat, access, chmod, chown, truncate and utimensat.

use meta_schema::Errno;

use crate::expect::Expect;
use crate::moment::Moment;
use crate::run::{Errors, READ, Run, SEARCH, SETGID, WRITE};
use crate::world::{Kind, NodeId};

/// Longest file in bytes.
pub(crate) const LENGTH_MAX: u64 = i64::MAX as u64;

/// A time of utimensat().
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    Keep,
    Now,
    At(i64),
}

/// Attributes to change, at once or not at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) mode: Option<u16>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) size: Option<u64>,
    pub(crate) atime: Stamp,
    pub(crate) mtime: Stamp,
    /// The caller has the file open for writing, so its mode no longer matters (ftruncate).
    pub(crate) open: bool,
}

impl Run<'_> {
    /// POSIX access(), by the credentials of the caller.
    pub(crate) fn access(&mut self, ino: u64, mask: u16) -> Result<Expect, Errors> {
        let id = self.find(ino)?;
        let mut errors = Errors::default();
        errors.when(mask & !(READ | WRITE | SEARCH) != 0, Errno::EINVAL);
        if mask & !7 == 0 && !self.world.node(id).is_symlink() {
            errors.join(self.need(id, mask));
        }
        errors.check().map(|()| Expect::Done)
    }

    pub(crate) fn setattr(&mut self, ino: u64, wish: &Wish) -> Result<Expect, Errors> {
        let id = self.find(ino)?;
        let mut errors = Errors::default();
        errors.when(wish.mode.is_some() && !self.owns(id), Errno::EPERM);
        errors.when(!self.may_chown(id, wish), Errno::EPERM);
        errors.join(self.may_resize(id, wish));
        errors.join(self.may_utimens(id, wish));
        if self.world.node(id).is_symlink() && wish.mode.is_some() {
            // Linux has no mode of symbolic links to change.
            self.allowed.when(true, Errno::EOPNOTSUPP);
        }
        errors.check()?;

        if let Some(size) = wish.size {
            self.resize(id, size);
        }
        if wish.uid.is_some() || wish.gid.is_some() {
            self.chown(id, wish);
        }
        if let Some(mode) = wish.mode {
            self.chmod(id, mode);
        }
        self.utimens(id, wish);
        Ok(Expect::Attr(id))
    }

    /// chown(2): only root gives files away; the owner may give them to a group of his.
    fn may_chown(&self, id: NodeId, wish: &Wish) -> bool {
        let node = self.world.node(id);
        let is_owner = self.who.uid == node.uid;
        let uid = wish.uid.is_none_or(|uid| is_owner && uid == node.uid);
        let gid =
            wish.gid.is_none_or(|gid| is_owner && (gid == node.gid || self.who.in_group(gid)));
        self.who.is_root() || (uid && gid)
    }

    /// truncate() and ftruncate().
    fn may_resize(&self, id: NodeId, wish: &Wish) -> Result<(), Errors> {
        let Some(size) = wish.size else { return Ok(()) };
        let mut errors = Errors::default();
        match self.world.node(id).kind {
            Kind::File(_) => {}
            Kind::Directory(_) => errors.when(true, Errno::EISDIR),
            _ => errors.when(true, Errno::EINVAL),
        }
        if !wish.open {
            errors.join(self.need(id, WRITE));
        }
        errors.when(self.world.length_max(id) < size, Errno::EFBIG);
        errors.when(LENGTH_MAX < size, Errno::EINVAL);
        errors.check()
    }

    /// utimensat(): to set both to now, write permission is enough.
    fn may_utimens(&mut self, id: NodeId, wish: &Wish) -> Result<(), Errors> {
        match (wish.atime, wish.mtime) {
            (Stamp::Keep, Stamp::Keep) => Ok(()),
            _ if self.owns(id) => Ok(()),
            (Stamp::Now, Stamp::Now) if self.may(id, WRITE) => Ok(()),
            (Stamp::Now, Stamp::Now) => Err(Errors::one(Errno::EACCES)),
            (Stamp::Keep | Stamp::Now, Stamp::Keep | Stamp::Now) if self.may(id, WRITE) => {
                // One now and one kept: POSIX asks for the owner, but what FUSE passes on does not
                // tell it from both.
                self.allowed.when(true, Errno::EPERM);
                Ok(())
            }
            _ => Err(Errors::any(&[Errno::EPERM, Errno::EACCES])),
        }
    }

    /// The file gets the length `size`.
    pub(crate) fn resize(&mut self, id: NodeId, size: u64) {
        let when = self.when;
        let Kind::File(file) = &mut self.world.node_mut(id).kind else {
            unreachable!("only files are resized");
        };
        let old = file.length;
        file.length = size;
        if size < old {
            file.epoch.rise();
        }
        let node = self.world.node_mut(id);
        if size == old {
            // POSIX marks the times if the size changes, Linux always.
            node.mtime.may_mark(when);
            node.may_mark_status(when);
            node.open_setid();
        } else {
            node.mark_content(when);
            self.clear_setid(id);
        }
    }

    fn chown(&mut self, id: NodeId, wish: &Wish) {
        self.clear_setid(id);
        self.mark_status(id);
        let node = self.world.node_mut(id);
        node.uid = wish.uid.unwrap_or(node.uid);
        node.gid = wish.gid.unwrap_or(node.gid);
    }

    fn chmod(&mut self, id: NodeId, mode: u16) {
        let gid = self.world.node(id).gid;
        let mut mode = mode & 0o7777;
        if !self.who.is_root() && !self.who.in_group(gid) {
            mode &= !SETGID;
        }
        self.mark_status(id);
        let node = self.world.node_mut(id);
        node.mode = mode;
        node.open_bits = 0;
        if let Some(acl) = &mut node.acl {
            acl.chmod(mode);
        }
    }

    fn utimens(&mut self, id: NodeId, wish: &Wish) {
        if (wish.atime, wish.mtime) == (Stamp::Keep, Stamp::Keep) {
            return;
        }
        self.mark_status(id);
        let when = self.when;
        let node = self.world.node_mut(id);
        for (time, stamp) in [(&mut node.atime, wish.atime), (&mut node.mtime, wish.mtime)] {
            match stamp {
                Stamp::Keep => {}
                Stamp::Now => time.set_now(when),
                Stamp::At(nanos) => *time = Moment::named(nanos),
            }
        }
    }
}
