//! mkdir, mknod, symlink and link; `create` is with the files.

use alloc::vec::Vec;

use meta_schema::{Errno, FileType, LayoutTemplate};

use crate::expect::Expect;
use crate::run::{Asked, Errors, Run};
use crate::world::{Directory, File, Kind};

/// Longest target of a symbolic link in bytes.
const TARGET_MAX: usize = 4095;

impl Run<'_> {
    /// A new inode under a name that is free. `errors` are those the caller found in what else it
    /// was given.
    pub(crate) fn make_new(
        &mut self,
        (ino, name): (u64, &[u8]),
        kind: Kind,
        mode: Asked,
        mut errors: Errors,
    ) -> Result<Expect, Errors> {
        let dir = match self.directory(ino, name) {
            Ok(dir) => dir,
            Err(found) => {
                errors.join(Err(found));
                return Err(errors);
            }
        };
        errors.when(self.world.child(dir, name).is_some(), Errno::EEXIST);
        errors.join(self.may_change(dir));
        errors.check()?;
        Ok(Expect::Attr(self.make(dir, name, kind, mode)))
    }

    /// POSIX mkdir(); of the bits beyond permissions Linux takes the sticky one.
    pub(crate) fn mkdir(
        &mut self,
        at: (u64, &[u8]),
        asked: Asked,
        layout: Option<LayoutTemplate>,
    ) -> Result<Expect, Errors> {
        let asked = Asked { mode: asked.mode & 0o1777, ..asked };
        let above = self.find(at.0).ok().and_then(|dir| self.world.layout_in(dir));
        let directory = Directory { layout: layout.or(above), ..Directory::default() };
        self.make_new(at, Kind::Directory(directory), asked, Errors::default())
    }

    /// POSIX mknod(): devices are for root.
    pub(crate) fn mknod(
        &mut self,
        at: (u64, &[u8]),
        asked: Asked,
        kind: Option<FileType>,
        rdev: u32,
    ) -> Result<Expect, Errors> {
        let mut errors = Errors::default();
        let layout = self.find(at.0).ok().and_then(|dir| self.world.layout_in(dir));
        let file = Kind::File(File::new(layout.unwrap_or(self.world.root_layout)));
        let kind = match kind {
            Some(FileType::Regular) => file,
            Some(kind @ (FileType::CharDevice | FileType::BlockDevice)) => {
                errors.when(!self.who.is_root(), Errno::EPERM);
                Kind::Special(kind, rdev)
            }
            Some(kind @ (FileType::Fifo | FileType::Socket)) => Kind::Special(kind, 0),
            Some(FileType::Directory | FileType::Symlink) | None => {
                errors.join(Err(Errors::any(&[Errno::EINVAL, Errno::EPERM])));
                file
            }
        };
        self.make_new(at, kind, asked, errors)
    }

    /// POSIX symlink(): its mode is 0777 and means nothing.
    pub(crate) fn symlink(&mut self, at: (u64, &[u8]), target: &[u8]) -> Result<Expect, Errors> {
        let mut errors = Errors::default();
        errors.when(target.is_empty(), Errno::ENOENT);
        errors.when(target.is_empty() || target.contains(&0), Errno::EINVAL);
        errors.when(TARGET_MAX < target.len(), Errno::ENAMETOOLONG);
        let kind = Kind::Symlink(Vec::from(target));
        self.make_new(at, kind, Asked { mode: 0o777, umask: 0 }, errors)
    }

    /// POSIX link(), of the link itself if it is a symbolic one.
    pub(crate) fn link(&mut self, ino: u64, at: (u64, &[u8])) -> Result<Expect, Errors> {
        let mut errors = Errors::default();
        let found = (self.find(ino), self.directory(at.0, at.1));
        let (Ok(file), Ok(dir)) = found else {
            errors.join(found.0.map(|_| ()));
            errors.join(found.1.map(|_| ()));
            return Err(errors);
        };
        errors.when(self.world.child(dir, at.1).is_some(), Errno::EEXIST);
        errors.join(self.may_change(dir));
        errors.when(self.world.node(file).is_directory(), Errno::EPERM);
        // What has lost its last name gets none again.
        let nameless = self.world.links(file) == 0;
        errors.when(nameless, Errno::ENOENT);
        errors.when(nameless, Errno::ESTALE);
        errors.check()?;
        self.world.enter(dir, at.1, file);
        self.mark_entries(dir);
        self.mark_status(file);
        Ok(Expect::Attr(file))
    }
}
