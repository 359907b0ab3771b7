//! Mkdir, mknod, symlink: new inodes without content of their own.
//!
//! mkdir(2), mknod(2), symlink(2), in the order of fs/namei.c: search permission of the directory
//! (EACCES), EEXIST, write permission (EACCES). What the new inode begins with: `create::birth`.
//! Devices are for root (EPERM); mknod makes no directories (EPERM).
//!
//! Conflict set: see `born`. Round trips: 1.

use meta_kv::{ReadMode, Transaction};
use meta_protocol::{Answer, op as ask};
use meta_schema::inode::{DeviceData, SymlinkData};
use meta_schema::{DirectoryData, Errno, FileType, InodeKind, Mode, name};

use crate::ctx::Ctx;
use crate::halt::{Stop, refused};
use crate::op::born::{Asked, born};
use crate::op::create::{file, layout};
use crate::op::place::{place, shown};
use crate::view::View;

/// Makes the directory `name`. Its layout is the caller's, or that of `parent`.
pub(crate) async fn run<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    ask: &ask::Mkdir,
) -> Result<Answer, Stop> {
    if let Some(layout) = &ask.layout {
        ctx.check_template(layout)?;
    }
    let place = place(view, ctx, ask.parent, &ask.name, ReadMode::Conflict).await?;
    let slot = place.vacant(ctx)?;
    let inherited = place.dir.inode.directory().and_then(|directory| directory.layout);
    let layout = ask.layout.or(inherited);
    let kind = InodeKind::Directory(DirectoryData { layout, ..DirectoryData::default() });
    let asked = Asked { mode: ask.mode, umask: ask.umask };
    Ok(Answer::Attr(born(view, ctx, (&place, slot), asked, kind)?.attr()))
}

/// Makes the fifo, socket, device or file `name`. No type in the mode means a file (mknod(2)).
pub(crate) async fn node<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    ask: &ask::Mknod,
) -> Result<Answer, Stop> {
    let kind = FileType::from_mode_bits(ask.mode);
    let place = place(view, ctx, ask.parent, &ask.name, ReadMode::Conflict).await?;
    let slot = place.vacant(ctx)?;
    let rdev = ask.rdev;
    let kind = match kind {
        None if ask.mode & !MODE_BITS != 0 => return Err(place.refused(Errno::EINVAL)),
        None | Some(FileType::Regular) => file(layout(view, ctx, &place, None)?),
        Some(FileType::Fifo) => InodeKind::Fifo,
        Some(FileType::Socket) => InodeKind::Socket,
        Some(FileType::CharDevice) => InodeKind::CharDevice(DeviceData { rdev }),
        Some(FileType::BlockDevice) => InodeKind::BlockDevice(DeviceData { rdev }),
        Some(FileType::Directory) => return Err(place.refused(Errno::EPERM)),
        Some(FileType::Symlink) => return Err(place.refused(Errno::EINVAL)),
    };
    let device = matches!(kind, InodeKind::CharDevice(_) | InodeKind::BlockDevice(_));
    if device && !ctx.caller.is_root() {
        return Err(refused(Errno::EPERM, format_args!("{place:?}: devices are for root")));
    }
    let asked = Asked { mode: Mode::new(ask.mode), umask: ask.umask };
    Ok(Answer::Attr(born(view, ctx, (&place, slot), asked, kind)?.attr()))
}

/// Bits of `st_mode` that say no type.
const MODE_BITS: u32 = 0o7777;

/// Makes the symbolic link `name`.
pub(crate) async fn symlink<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    ask: &ask::Symlink,
) -> Result<Answer, Stop> {
    let target = ask.target.clone();
    name::check_target(&target).map_err(|errno| refused(errno, shown(&target)))?;
    let place = place(view, ctx, ask.parent, &ask.name, ReadMode::Conflict).await?;
    let slot = place.vacant(ctx)?;
    let kind = InodeKind::Symlink(SymlinkData { target });
    Ok(Answer::Attr(born(view, ctx, (&place, slot), Asked::default(), kind)?.attr()))
}
