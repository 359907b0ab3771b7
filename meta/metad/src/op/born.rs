//! A new inode with its first name: what mkdir, mknod, symlink and create have in common.
//!
//! Conflict set of all of them: inode of the directory and the eight slots of the name. Written:
//! the entry, the new inode, sums and times of the directory, and of a new directory its parent.
//! The directory's own key is read and never written: creates of different names in one directory
//! do not conflict (E424), and a removal of the directory conflicts with all of them (M8).

use meta_kv::Transaction;
use meta_schema::create::birth;
use meta_schema::{Dirent, FileType, InodeKind, Mode, Slot};

use crate::ctx::Ctx;
use crate::halt::Stop;
use crate::loaded::Loaded;
use crate::op::place::Place;
use crate::view::View;

/// Mode and umask of a caller.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) mode: Mode,
    pub(crate) umask: Mode,
}

/// Puts a new inode of `kind` at `slot`, which [`Place::vacant`] gave. Writes only.
pub(crate) fn born<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    (place, slot): (&Place<'_>, Slot),
    asked: Asked,
    kind: InodeKind,
) -> Result<Loaded, Stop> {
    let ino = ctx.fresh();
    let file_type = file_type(&kind);
    let birth = birth(&place.dir.inode, ctx.caller, file_type, asked.mode, asked.umask);
    let inode = birth.inode(ctx.now, kind);
    let entry = Dirent { ino, kind: file_type, name: place.name.to_vec() };
    view.put_entry(place.dir.ino, slot, &entry)?;
    view.put_inode(ino, &inode)?;
    if file_type.is_directory() {
        view.put_parent(ino, place.dir.ino)?;
    }
    view.touch(&place.dir, ctx.now, i64::from(file_type.is_directory()))?;
    Ok(Loaded::plain(ino, inode))
}

const fn file_type(kind: &InodeKind) -> FileType {
    match kind {
        InodeKind::File(_) => FileType::Regular,
        InodeKind::Directory(_) => FileType::Directory,
        InodeKind::Symlink(_) => FileType::Symlink,
        InodeKind::Fifo => FileType::Fifo,
        InodeKind::Socket => FileType::Socket,
        InodeKind::CharDevice(_) => FileType::CharDevice,
        InodeKind::BlockDevice(_) => FileType::BlockDevice,
    }
}
