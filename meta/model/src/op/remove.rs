//! unlink, rmdir, and the removal of whole trees.

use alloc::collections::BTreeMap;

use meta_schema::Errno;

use crate::expect::Expect;
use crate::run::{Errors, READ, Run};
use crate::world::NodeId;

impl Run<'_> {
    /// POSIX unlink(). For a directory Linux says EISDIR where POSIX says EPERM.
    pub(crate) fn unlink(&mut self, ino: u64, name: &[u8], hold: bool) -> Result<Expect, Errors> {
        let (dir, child) = self.entry(ino, name)?;
        let mut errors = Errors::default();
        errors.join(self.may_take(dir, child));
        if self.world.node(child).is_directory() {
            errors.join(Err(Errors::any(&[Errno::EPERM, Errno::EISDIR])));
        }
        errors.check()?;
        self.world.leave(dir, name);
        self.mark_entries(dir);
        self.lost_name(child, hold);
        Ok(Expect::Done)
    }

    /// POSIX rmdir().
    pub(crate) fn rmdir(&mut self, ino: u64, name: &[u8]) -> Result<Expect, Errors> {
        let (dir, child) = self.entry(ino, name)?;
        let mut errors = Errors::default();
        errors.join(self.may_take(dir, child));
        match self.world.entries(child) {
            None => errors.when(true, Errno::ENOTDIR),
            Some(entries) => {
                errors.when(!entries.is_empty(), Errno::ENOTEMPTY);
                errors.when(!entries.is_empty(), Errno::EEXIST);
            }
        }
        errors.check()?;
        self.world.leave(dir, name);
        self.mark_entries(dir);
        self.lost_name(child, false);
        Ok(Expect::Done)
    }

    /// A name of `id` was taken away: its status changes, and who holds it open keeps it.
    pub(crate) fn lost_name(&mut self, id: NodeId, hold: bool) {
        self.mark_status(id);
        if self.world.links(id) == 0 && hold && !self.world.node(id).is_directory() {
            let session = self.session;
            self.world.node_mut(id).holders.insert(session);
        }
    }

    /// Whether the caller may list `dir` and take all its entries, as `rm -r` would.
    fn may_empty(&self, dir: NodeId) -> Result<(), Errors> {
        let mut errors = Errors::default();
        for entry in self.world.entries(dir).into_iter().flat_map(BTreeMap::values) {
            errors.join(self.need(dir, READ));
            errors.join(self.may_take(dir, entry.node));
        }
        errors.check()
    }

    /// Takes the tree `name` away at once. What is in it disappears some time later: until then
    /// its numbers may still be answered, and other names of its files still count the lost ones.
    pub(crate) fn remove_tree(&mut self, ino: u64, name: &[u8]) -> Result<Expect, Errors> {
        let (dir, child) = self.entry(ino, name)?;
        let mut errors = Errors::default();
        errors.join(self.may_take(dir, child));
        errors.when(!self.world.node(child).is_directory(), Errno::ENOTDIR);
        for inner in self.world.directories_below(child) {
            errors.join(self.may_empty(inner));
        }
        errors.check()?;
        self.world.leave(dir, name);
        self.mark_entries(dir);
        self.world.doom(child);
        Ok(Expect::Done)
    }
}
