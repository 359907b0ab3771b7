//! rename and renameat2 (POSIX rename(), rename(2)).

use meta_schema::Errno;

use crate::expect::Expect;
use crate::run::{Errors, Run, WRITE};
use crate::world::NodeId;

/// Flags of renameat2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) noreplace: bool,
    pub(crate) exchange: bool,
}

/// One side: the number of the directory, and the name.
pub(crate) type Side<'a> = (u64, &'a [u8]);

impl Run<'_> {
    pub(crate) fn rename(
        &mut self,
        from: Side<'_>,
        to: Side<'_>,
        flags: Flags,
        hold: bool,
    ) -> Result<Expect, Errors> {
        let mut errors = Errors::default();
        errors.when(flags.noreplace && flags.exchange, Errno::EINVAL);
        let sides = (self.directory(from.0, from.1), self.directory(to.0, to.1));
        let (Ok(old), Ok(new)) = sides else {
            errors.join(sides.0.map(|_| ()));
            errors.join(sides.1.map(|_| ()));
            return Err(errors);
        };
        let target = self.world.child(new, to.1);
        errors.when(flags.noreplace && target.is_some(), Errno::EEXIST);
        errors.when(flags.exchange && target.is_none(), Errno::ENOENT);
        let Some(moved) = self.world.child(old, from.1) else {
            errors.when(true, Errno::ENOENT);
            return Err(errors);
        };
        let rights = self.rename_rights((old, moved), (new, target), flags);
        if target == Some(moved) && errors.is_empty() {
            // Names of one file: nothing happens, whoever asks. A system may look at rights first.
            self.allowed.join(rights);
            return Ok(Expect::Done);
        }
        errors.join(rights);
        errors.join(self.rename_shape((old, moved), (new, target), flags));
        errors.check()?;

        self.world.leave(old, from.1);
        self.world.leave(new, to.1);
        self.world.enter(new, to.1, moved);
        if let (Some(target), true) = (target, flags.exchange) {
            self.world.enter(old, from.1, target);
            self.may_mark_status(target);
        } else if let Some(target) = target {
            self.lost_name(target, hold);
        }
        self.may_mark_status(moved);
        self.mark_entries(old);
        self.mark_entries(new);
        Ok(Expect::Done)
    }

    /// Whether the caller may take and put the names.
    fn rename_rights(
        &self,
        (old, moved): (NodeId, NodeId),
        (new, target): (NodeId, Option<NodeId>),
        flags: Flags,
    ) -> Result<(), Errors> {
        let mut errors = Errors::default();
        errors.join(self.may_take(old, moved));
        match target {
            Some(target) => errors.join(self.may_take(new, target)),
            None => errors.join(self.may_change(new)),
        }
        // A directory that gets another ".." is written.
        let mut changes_parent = |id: NodeId| {
            if old != new && self.world.node(id).is_directory() {
                errors.join(self.need(id, WRITE));
            }
        };
        changes_parent(moved);
        if let (Some(target), true) = (target, flags.exchange) {
            changes_parent(target);
        }
        errors.check()
    }

    /// Whether the types fit and the result is a tree.
    fn rename_shape(
        &self,
        (old, moved): (NodeId, NodeId),
        (new, target): (NodeId, Option<NodeId>),
        flags: Flags,
    ) -> Result<(), Errors> {
        let mut errors = Errors::default();
        // No directory goes below itself.
        errors.when(self.world.is_below(new, moved), Errno::EINVAL);
        if let Some(target) = target {
            if flags.exchange {
                errors.when(self.world.is_below(old, target), Errno::EINVAL);
                return errors.check();
            }
            let directories =
                (self.world.node(moved).is_directory(), self.world.node(target).is_directory());
            errors.when(directories == (true, false), Errno::ENOTDIR);
            errors.when(directories == (false, true), Errno::EISDIR);
            if self.world.entries(target).is_some_and(|entries| !entries.is_empty()) {
                errors.when(true, Errno::ENOTEMPTY);
                errors.when(true, Errno::EEXIST);
            }
        }
        errors.check()
    }

    /// POSIX leaves open whether the renamed inode's ctime changes.
    fn may_mark_status(&mut self, id: NodeId) {
        let when = self.when;
        let node = self.world.node_mut(id);
        node.may_mark_status(when);
    }
}
