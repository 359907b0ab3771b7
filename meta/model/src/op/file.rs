//! Files: open with and without O_CREAT, close, sync, append, fallocate, and their layouts.
//!
//! Content is no matter of the namespace: writers tell how far they wrote (hints).

use meta_schema::{Errno, FileType, LayoutTemplate};

use crate::expect::Expect;
use crate::moment::Blocks;
use crate::op::attr::LENGTH_MAX;
use crate::run::{Asked, Errors, READ, Run, WRITE};
use crate::world::{File, Kind, NodeId};

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) truncate: bool,
}

/// What a client tells of its writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) epoch: u64,
    pub(crate) end: u64,
    pub(crate) modified: bool,
    pub(crate) in_doubt: bool,
}

/// fallocate()'s modes.
const KEEP_SIZE: u32 = 0x01;
const PUNCH_HOLE: u32 = 0x02;
const ZERO_RANGE: u32 = 0x10;

/// What has to be done with a range of chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Allocate,
    Punch,
    Zero,
}

impl Run<'_> {
    /// open() with O_CREAT.
    pub(crate) fn create(
        &mut self,
        (ino, name): (u64, &[u8]),
        asked: Asked,
        exclusive: bool,
        opening: Opening,
        layout: Option<LayoutTemplate>,
    ) -> Result<Expect, Errors> {
        let dir = self.directory(ino, name)?;
        if let Some(there) = self.world.child(dir, name) {
            if exclusive {
                let mut errors = Errors::one(Errno::EEXIST);
                errors.join(self.may_change(dir));
                return Err(errors);
            }
            if self.world.node(there).is_directory() {
                return Err(Errors::any(&[Errno::EISDIR, Errno::EEXIST]));
            }
            return self.open_node(there, opening);
        }
        self.may_change(dir)?;
        let layout = layout.or_else(|| self.world.layout_in(dir));
        let file = File::new(layout.unwrap_or(self.world.root_layout));
        let id = self.make(dir, name, Kind::File(file), asked);
        if opening.write {
            let session = self.session;
            self.world.node_mut(id).writers.insert(session);
        }
        Ok(Expect::Opened { node: id, created: true })
    }

    /// open() without O_CREAT.
    pub(crate) fn open(&mut self, ino: u64, opening: Opening) -> Result<Expect, Errors> {
        let id = self.find(ino)?;
        self.open_node(id, opening)
    }

    fn open_node(&mut self, id: NodeId, opening: Opening) -> Result<Expect, Errors> {
        let writes = opening.write || opening.truncate;
        let mut errors = Errors::default();
        match &self.world.node(id).kind {
            Kind::Symlink(_) => return Err(Errors::one(Errno::ELOOP)),
            Kind::Directory(_) => errors.when(writes, Errno::EISDIR),
            Kind::Special(FileType::Socket, _) => {
                errors.join(Err(Errors::any(&[Errno::ENXIO, Errno::EOPNOTSUPP])));
            }
            _ => {}
        }
        let read = if opening.read { READ } else { 0 };
        errors.join(self.need(id, read | if writes { WRITE } else { 0 }));
        errors.check()?;
        let (when, session) = (self.when, self.session);
        if let Kind::File(file) = &self.world.node(id).kind {
            let length = file.length;
            if opening.truncate {
                self.resize(id, 0);
            }
            if opening.truncate && length == 0 {
                // Unlike truncate(), open() marks the times always.
                self.world.node_mut(id).mark_content(when);
            }
            if opening.write {
                self.world.node_mut(id).writers.insert(session);
            }
        }
        Ok(Expect::Opened { node: id, created: false })
    }

    /// A file that this session should have open for writing. If it has not, what is told is
    /// refused or believed.
    fn written(&mut self, ino: u64, otherwise: &[Errno]) -> Result<NodeId, Errors> {
        let id = self.find(ino)?;
        if !matches!(self.world.node(id).kind, Kind::File(_)) {
            return Err(Errors::any(otherwise));
        }
        if !self.world.node(id).writers.contains(&self.session) {
            self.allowed.join(Err(Errors::any(&[Errno::EBADF, Errno::ESTALE, Errno::EINVAL])));
        }
        Ok(id)
    }

    /// What a writer tells, at close or fsync.
    pub(crate) fn told(
        &mut self,
        ino: u64,
        hint: Option<Told>,
        atime: Option<i64>,
        closes: bool,
    ) -> Result<Expect, Errors> {
        const NO_FILE: &[Errno] = &[Errno::EINVAL, Errno::EBADF, Errno::EISDIR];
        let id = self.find(ino)?;
        if matches!(self.world.node(id).kind, Kind::File(_)) {
            self.written(ino, NO_FILE)?;
            if let Some(hint) = hint {
                self.hint(id, hint)?;
            }
        } else {
            // Of what has no bytes nothing is told; to close it is no mistake.
            self.allowed.join(Err(Errors::any(NO_FILE)));
        }
        let session = self.session;
        let node = self.world.node_mut(id);
        if let Some(atime) = atime {
            node.atime.may_be(atime);
        }
        if closes {
            node.writers.remove(&session);
            node.holders.remove(&session);
        }
        Ok(Expect::Attr(id))
    }

    fn hint(&mut self, id: NodeId, hint: Told) -> Result<(), Errors> {
        let (when, limit) = (self.when, self.world.length_max(id));
        let Kind::File(file) = &mut self.world.node_mut(id).kind else {
            unreachable!("looked at by the caller");
        };
        let mut errors = Errors::default();
        errors.when(file.epoch.seen() < hint.epoch, Errno::EINVAL);
        errors.when(limit < hint.end, Errno::EFBIG);
        errors.check()?;
        let is_current = !file.epoch.has_risen() && hint.epoch == file.epoch.seen();
        let grows = is_current && file.length < hint.end;
        if grows {
            file.length = hint.end;
        }
        if grows || hint.modified {
            self.world.node_mut(id).mark_content(when);
            self.clear_setid(id);
        } else {
            self.may_write(id);
        }
        Ok(())
    }

    /// Something that may count as a write.
    fn may_write(&mut self, id: NodeId) {
        let when = self.when;
        let node = self.world.node_mut(id);
        node.mtime.may_mark(when);
        node.may_mark_status(when);
        node.open_setid();
    }

    /// Reserves `bytes` behind the end.
    pub(crate) fn append(&mut self, ino: u64, bytes: u64) -> Result<Expect, Errors> {
        let id = self.written(ino, &[Errno::EINVAL, Errno::EBADF, Errno::EISDIR])?;
        let when = self.when;
        let limit = self.world.length_max(id);
        let Kind::File(file) = &mut self.world.node_mut(id).kind else {
            unreachable!("looked at by `written`");
        };
        let offset = file.length;
        let end = offset.checked_add(bytes).filter(|end| *end <= limit);
        file.length = end.ok_or_else(|| Errors::one(Errno::EFBIG))?;
        if bytes == 0 {
            self.allowed.when(true, Errno::EINVAL);
            self.may_write(id);
        } else {
            self.world.node_mut(id).mark_content(when);
            self.clear_setid(id);
        }
        Ok(Expect::Appended { node: id, offset })
    }

    /// fallocate(2).
    pub(crate) fn fallocate(
        &mut self,
        ino: u64,
        mode: u32,
        offset: u64,
        bytes: u64,
    ) -> Result<Expect, Errors> {
        const NO_FILE: &[Errno] =
            &[Errno::EINVAL, Errno::EBADF, Errno::EISDIR, Errno::ENODEV, Errno::ESPIPE];
        let id = self.written(ino, NO_FILE)?;
        let mut errors = Errors::default();
        errors.when(bytes == 0, Errno::EINVAL);
        let punches = mode & PUNCH_HOLE != 0;
        let zeroes = mode & ZERO_RANGE != 0;
        let bad = mode & !(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE) != 0
            || (punches && (zeroes || mode & KEEP_SIZE == 0));
        errors.when(bad, Errno::EOPNOTSUPP);
        errors.when(bad && punches && zeroes, Errno::EINVAL);
        let end = offset.saturating_add(bytes);
        errors.when(self.world.length_max(id) < end, Errno::EFBIG);
        errors.when(LENGTH_MAX < offset, Errno::EINVAL);
        errors.check()?;
        let when = self.when;
        let Kind::File(file) = &mut self.world.node_mut(id).kind else {
            unreachable!("looked at by `written`");
        };
        let old = file.length;
        if mode & KEEP_SIZE == 0 {
            file.length = file.length.max(end);
        }
        let inside = (punches || zeroes) && offset < old;
        if file.length != old || inside {
            self.world.node_mut(id).mark_content(when);
            self.clear_setid(id);
        } else {
            self.may_write(id);
        }
        let work = match (punches, zeroes) {
            (true, _) => Work::Punch,
            (_, true) => Work::Zero,
            _ => Work::Allocate,
        };
        // Bytes from the old end on are no bytes yet: nothing is to be done with them.
        let needed = if work == Work::Allocate { end } else { end.min(old) };
        Ok(Expect::Fallocated { node: id, work, start: offset, needed, end })
    }

    /// What the chunks take, asked when the counter stood at `at_change`.
    pub(crate) fn set_blocks(
        &mut self,
        ino: u64,
        at_change: u64,
        bytes: u64,
    ) -> Result<Expect, Errors> {
        const NO_FILE: &[Errno] = &[Errno::EINVAL, Errno::EBADF, Errno::EISDIR];
        let id = self.find(ino)?;
        let node = self.world.node_mut(id);
        if !matches!(node.kind, Kind::File(_)) {
            return Err(Errors::any(NO_FILE));
        }
        if node.change.least() <= at_change {
            // Whether the counter stands there now is known if nothing changed since it was seen.
            let sure = !node.change.has_risen() && at_change == node.change.seen();
            let said = bytes.div_ceil(512);
            node.blocks = if sure { Blocks::Said(said) } else { Blocks::May(said) };
        }
        Ok(Expect::Done)
    }

    /// A cut is done: the namespace sees nothing of it.
    pub(crate) fn finish_shrink(&mut self, ino: u64) -> Result<Expect, Errors> {
        let id = self.find(ino)?;
        self.allowed.join(Err(Errors::any(&[Errno::EINVAL, Errno::EISDIR, Errno::EBADF])));
        Ok(Expect::Attr(id))
    }

    /// The layout of a file, or what a directory gives.
    pub(crate) fn get_layout(&mut self, ino: u64) -> Result<Expect, Errors> {
        let id = self.find(ino)?;
        match &self.world.node(id).kind {
            Kind::File(_) | Kind::Directory(_) => Ok(Expect::Layout(id)),
            _ => Err(Errors::any(&[Errno::EINVAL, Errno::EOPNOTSUPP])),
        }
    }

    /// For the owner: of a directory at any time, of a file while nobody can have written it.
    pub(crate) fn set_layout(
        &mut self,
        ino: u64,
        layout: Option<LayoutTemplate>,
    ) -> Result<Expect, Errors> {
        let id = self.find(ino)?;
        let mut errors = Errors::default();
        errors.when(!self.owns(id), Errno::EPERM);
        // Who keeps it may have it open for writing, for all that the service knows.
        self.allowed.when(!self.world.node(id).holders.is_empty(), Errno::EBUSY);
        let root_layout = self.world.root_layout;
        let node = self.world.node(id);
        let in_use = match &node.kind {
            Kind::File(file) => {
                let touched = 0 < file.length || file.epoch.has_risen() || 0 < file.epoch.seen();
                touched || !node.writers.is_empty()
            }
            Kind::Directory(_) => false,
            _ => {
                errors.join(Err(Errors::any(&[Errno::EINVAL, Errno::EOPNOTSUPP])));
                false
            }
        };
        if in_use {
            errors.join(Err(Errors::any(&[Errno::EBUSY, Errno::EINVAL, Errno::EPERM])));
        }
        errors.check()?;
        self.mark_status(id);
        match &mut self.world.node_mut(id).kind {
            Kind::File(file) => *file = File::new(layout.unwrap_or(root_layout)),
            Kind::Directory(directory) => directory.layout = layout,
            _ => unreachable!("refused above"),
        }
        Ok(Expect::Layout(id))
    }
}
