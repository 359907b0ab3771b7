//! Walk: a whole path in one call.
//!
//! POSIX.1-2017 4.13, path_resolution(7): search permission of every directory on the way; ".." is
//! the parent, of the root itself; a symbolic link in the middle is followed, one at the end if
//! asked for or if a slash is behind it; an absolute target begins at the root; more than 40 links
//! are ELOOP; a slash at the end wants a directory. The service knows nothing of mounts and
//! chroots: "/" and ".." end at the root of the file system.
//!
//! Reads only, of one snapshot. Round trips: components + 1 (the inode of each directory comes with
//! the slots of the next name), and one more for each link.

use std::collections::VecDeque;

use engine_types::InodeId;
use meta_kv::{ReadMode, Transaction};
use meta_protocol::Answer;
use meta_schema::limits::SYMLINKS_FOLLOWED_MAX;
use meta_schema::name::{self, Component};
use meta_schema::{Dirent, Errno, FileType, INODE_ROOT, InodeKind, access};

use crate::ctx::Ctx;
use crate::halt::{Stop, refused};
use crate::join::both;
use crate::op::place::{place, shown};
use crate::view::View;

/// Components on the way, those of links included: what takes a second of a transaction's five.
const STEPS_MAX: usize = 8192;

/// On the way.
struct Walk {
    /// The directory that was reached.
    at: InodeId,
    /// What is still to go.
    left: VecDeque<Vec<u8>>,
    /// Links that were followed.
    links: usize,
    /// A link at the end is followed, too.
    follow: bool,
    /// The end has to be a directory.
    directory: bool,
}

/// What one step led to.
enum Step {
    /// Another directory.
    Into(InodeId),
    /// An entry, of the directory that was reached.
    To(Dirent),
}

/// What `path` names, from `start` on.
pub(crate) async fn run<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    start: InodeId,
    path: &[u8],
    follow: bool,
) -> Result<Answer, Stop> {
    name::check_path(path).map_err(|errno| refused(errno, shown(path)))?;
    let mut walk = Walk { at: start, left: VecDeque::new(), links: 0, follow, directory: false };
    walk.go_along(path, true);
    for _ in 0..STEPS_MAX {
        let Some(component) = walk.left.pop_front() else {
            return at_directory(view, walk.at).await;
        };
        let last = walk.left.is_empty();
        match step(view, ctx, walk.at, &component).await? {
            Step::Into(dir) => walk.at = dir,
            Step::To(entry) if entry.kind == FileType::Symlink && (!last || walk.follows()) => {
                walk.follow_link(view, &entry).await?;
            }
            Step::To(entry) if last => return walk.arrive(view, &entry).await,
            // What is no directory is refused with the next component.
            Step::To(entry) => walk.at = entry.ino,
        }
    }
    Err(refused(Errno::ELOOP, format_args!("{}: more than {STEPS_MAX} steps", shown(path))))
}

/// One component from `dir` on.
async fn step<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    dir: InodeId,
    component: &[u8],
) -> Result<Step, Stop> {
    let component = name::component(component);
    let up = match component.map_err(|errno| refused(errno, dir))? {
        Component::Name(name) => {
            let place = place(view, ctx, dir, name, ReadMode::Snapshot).await?;
            return Ok(Step::To(place.existing()?.1.clone()));
        }
        Component::Current => false,
        Component::Parent => true,
    };
    let parent =
        async { if up { view.parent(dir, ReadMode::Snapshot).await } else { Ok(Some(dir)) } };
    let (found, parent) = both(view.known(dir, ReadMode::Snapshot), parent).await?;
    access::check_search(&found.inode, ctx.caller).map_err(|errno| refused(errno, dir))?;
    Ok(Step::Into(parent.ok_or_else(|| refused(Errno::ESTALE, dir))?))
}

impl Walk {
    /// Puts a path in front of what is left. `whole`: it is at the end of the way.
    fn go_along(&mut self, path: &[u8], whole: bool) {
        if path.first() == Some(&b'/') {
            self.at = INODE_ROOT;
        }
        self.directory |= whole && name::wants_directory(path);
        let components: Vec<_> = name::components(path).map(<[u8]>::to_vec).collect();
        for component in components.into_iter().rev() {
            self.left.push_front(component);
        }
    }

    const fn follows(&self) -> bool {
        self.follow || self.directory
    }

    async fn follow_link<T: Transaction>(
        &mut self,
        view: &View<'_, T>,
        entry: &Dirent,
    ) -> Result<(), Stop> {
        self.links += 1;
        if SYMLINKS_FOLLOWED_MAX < self.links {
            let why =
                format_args!("{}: more than {SYMLINKS_FOLLOWED_MAX} links", shown(&entry.name));
            return Err(refused(Errno::ELOOP, why));
        }
        let link = view.child(self.at, entry, ReadMode::Snapshot).await?;
        if let InodeKind::Symlink(link) = link.inode.kind {
            let last = self.left.is_empty();
            self.go_along(&link.target, last);
        }
        Ok(())
    }

    /// The end of the way is an entry.
    async fn arrive<T: Transaction>(
        &self,
        view: &View<'_, T>,
        entry: &Dirent,
    ) -> Result<Answer, Stop> {
        if self.directory && !entry.kind.is_directory() {
            return Err(refused(Errno::ENOTDIR, shown(&entry.name)));
        }
        let found = view.child(self.at, entry, ReadMode::Snapshot).await?;
        Ok(Answer::Walked { attr: found.attr(), parent: self.at })
    }
}

/// The end of the way is the directory `dir` itself: "/", "." or "..".
async fn at_directory<T: Transaction>(view: &View<'_, T>, dir: InodeId) -> Result<Answer, Stop> {
    let reads = both(view.known(dir, ReadMode::Snapshot), view.parent(dir, ReadMode::Snapshot));
    let (found, parent) = reads.await?;
    let parent = parent.ok_or_else(|| refused(Errno::ESTALE, dir))?;
    Ok(Answer::Walked { attr: found.attr(), parent })
}
