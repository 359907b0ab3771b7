//! lookup, path walks (POSIX 4.16 "Pathname Resolution", path_resolution(7)), stat, readlink.

use alloc::vec::Vec;

use engine_types::InodeId;
use meta_schema::Errno;

use crate::expect::Expect;
use crate::run::{Errors, Run, SEARCH, check_name};
use crate::world::{Kind, NodeId, ROOT};

/// Symbolic links that are followed on one walk.
const LINKS_MAX: u32 = 40;
/// Longest path in bytes, without the NUL.
const PATH_MAX: usize = 4095;

/// What is still to be resolved: the next component is the last element.
type Rest = Vec<Vec<u8>>;

impl Run<'_> {
    pub(crate) fn lookup(&mut self, ino: u64, name: &[u8]) -> Result<Expect, Errors> {
        self.entry(ino, name).map(|(_, child)| Expect::Attr(child))
    }

    pub(crate) fn stat(&mut self, ino: u64) -> Result<Expect, Errors> {
        self.find(ino).map(Expect::Attr)
    }

    /// Those that are not there are nothing, and those without a name may be.
    pub(crate) fn stat_batch(&self, inos: &[InodeId]) -> Expect {
        Expect::Attrs(inos.iter().map(|ino| self.find(ino.get()).ok()).collect())
    }

    pub(crate) fn readlink(&mut self, ino: u64) -> Result<Expect, Errors> {
        let id = self.find(ino)?;
        match &self.world.node(id).kind {
            Kind::Symlink(target) => Ok(Expect::Target(target.clone())),
            _ => Err(Errors::one(Errno::EINVAL)),
        }
    }

    /// Resolves `path` from the directory `start`.
    pub(crate) fn walk(&mut self, start: u64, path: &[u8], follow: bool) -> Result<Expect, Errors> {
        // An absolute path does not begin at the start; whether that is there may be looked at.
        let found = self.find(start);
        let mut at = match &found {
            Err(gone) if path.first() == Some(&b'/') => {
                self.allowed.join(Err(gone.clone()));
                ROOT
            }
            _ => found?,
        };
        let mut errors = Errors::default();
        errors.when(path.is_empty(), Errno::ENOENT);
        errors.when(PATH_MAX < path.len(), Errno::ENAMETOOLONG);
        errors.when(path.contains(&0), Errno::EINVAL);
        errors.check()?;
        let mut rest = Rest::new();
        let mut links = 0;
        push(&mut at, &mut rest, path);
        let mut above = self.world.parent(at);
        while let Some(name) = rest.pop() {
            if name.is_empty() {
                // A slash at the end: it has to be a directory, searched or not.
                if !self.world.node(at).is_directory() {
                    return Err(Errors::one(Errno::ENOTDIR));
                }
                continue;
            }
            let (next, dir) = self.step(at, &name)?;
            above = dir;
            let Kind::Symlink(target) = &self.world.node(next).kind else {
                at = next;
                continue;
            };
            if rest.is_empty() && !follow {
                at = next;
                continue;
            }
            links += 1;
            if LINKS_MAX < links {
                return Err(Errors::one(Errno::ELOOP));
            }
            let target = target.clone();
            push(&mut at, &mut rest, &target);
            above = self.world.parent(at);
        }
        Ok(Expect::Walked { node: at, parent: above })
    }

    /// One component: what it names, and the directory above that.
    fn step(&self, dir: NodeId, name: &[u8]) -> Result<(NodeId, NodeId), Errors> {
        let mut errors = Errors::default();
        let is_dot = name == b"." || name == b"..";
        if !is_dot {
            errors.join(check_name(name));
        }
        if self.world.node(dir).is_directory() {
            errors.join(self.need(dir, SEARCH));
        } else {
            errors.when(true, Errno::ENOTDIR);
        }
        errors.check()?;
        match name {
            b"." => Ok((dir, self.world.parent(dir))),
            b".." => {
                let above = self.world.parent(dir);
                Ok((above, self.world.parent(above)))
            }
            _ => match self.world.child(dir, name) {
                Some(next) => Ok((next, dir)),
                None => Err(Errors::one(Errno::ENOENT)),
            },
        }
    }
}

/// Puts the components of `path` before the rest; an empty one stands for a slash at the end.
fn push(at: &mut NodeId, rest: &mut Rest, path: &[u8]) {
    if path.first() == Some(&b'/') {
        *at = ROOT;
    }
    if path.last() == Some(&b'/') {
        rest.push(Vec::new());
    }
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
    rest.extend(parts.rev().map(<[u8]>::to_vec));
}
