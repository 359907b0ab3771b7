//! A directory and what a name is in it: where every operation on names begins.

use engine_types::InodeId;
use meta_kv::{ReadMode, Transaction};
use meta_schema::{Dirent, Errno, Slot, access, name};

use crate::ctx::Ctx;
use crate::halt::{Stop, refused};
use crate::join::both;
use crate::loaded::Loaded;
use crate::view::{Slots, View};

/// A name in a directory that the caller may search.
pub(crate) struct Place<'n> {
    /// The directory.
    pub(crate) dir: Loaded,
    /// The name.
    pub(crate) name: &'n [u8],
    slots: Slots,
}

/// Reads directory and name: one round trip. In conflict mode the directory's own key and the
/// slots of the name conflict.
pub(crate) async fn place<'n, T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    dir: InodeId,
    name: &'n [u8],
    mode: ReadMode,
) -> Result<Place<'n>, Stop> {
    name::check(name).map_err(|errno| refused(errno, shown(name)))?;
    let (dir, slots) = both(view.known(dir, mode), view.slots(dir, name, mode)).await?;
    access::check_search(&dir.inode, ctx.caller).map_err(|errno| refused(errno, dir.ino))?;
    Ok(Place { dir, name, slots })
}

impl Place<'_> {
    /// The entry, if there is one.
    pub(crate) fn entry(&self) -> Option<&(Slot, Dirent)> {
        self.slots.found.as_ref()
    }

    /// The entry.
    pub(crate) fn existing(&self) -> Result<&(Slot, Dirent), Stop> {
        self.entry().ok_or_else(|| self.refused(Errno::ENOENT))
    }

    /// Where a new entry goes: the name is free, and the caller may create it. A taken name is told
    /// to everybody who may search, as in Linux.
    pub(crate) fn vacant(&self, ctx: &Ctx<'_>) -> Result<Slot, Stop> {
        if self.entry().is_some() {
            return Err(self.refused(Errno::EEXIST));
        }
        access::check_create(&self.dir.inode, ctx.caller).map_err(|errno| self.refused(errno))?;
        self.free()
    }

    /// A slot for a new entry of the name.
    pub(crate) fn free(&self) -> Result<Slot, Stop> {
        self.slots.free.ok_or_else(|| {
            let why = format_args!("{self:?}: eight other names have its hash; take another name");
            refused(Errno::ENOSPC, why)
        })
    }

    /// A refusal that says which name.
    pub(crate) fn refused(&self, errno: Errno) -> Stop {
        refused(errno, format_args!("{self:?}"))
    }
}

/// Directory and name, for people.
impl core::fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} in {}", shown(self.name), self.dir.ino)
    }
}

/// A name for people: quoted, bytes that cannot be printed as `\xNN`.
pub(crate) fn shown(name: &[u8]) -> String {
    let cut = &name[..name.len().min(NAME_BYTES_SHOWN)];
    let more = if cut.len() < name.len() { ".." } else { "" };
    format!("\"{}\"{more}", cut.escape_ascii())
}

/// Bytes of a name that a refusal shows: enough to find it, short enough for a line.
const NAME_BYTES_SHOWN: usize = 64;
