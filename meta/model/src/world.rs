//! The namespace as plain maps.
//!
//! Nothing here is fast and nothing is kept twice: link counts are counted from the entries, the
//! parent of a directory is searched. What cannot be kept cannot be wrong.
//!
//! Invariants
//!   E460  one number is one inode: a number that was seen names the same inode for ever
//!   E461  a directory has one name, which is in another directory; the root has none

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use meta_schema::{FileType, Layout, LayoutTemplate};

use crate::acl::Acl;
use crate::lock::Locks;
use crate::moment::{Blocks, Change, Moment, When};

/// An inode in the model. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(crate) u32);

/// The root.
pub(crate) const ROOT: NodeId = NodeId(0);

/// What an inode is, with what only this type has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File(File),
    Directory(Directory),
    Symlink(Vec<u8>),
    /// A fifo, socket or device, and the device number.
    Special(FileType, u32),
}

/// A regular file without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) length: u64,
    /// Rises with every shrink.
    pub(crate) epoch: Change,
    /// What its layout has to be.
    pub(crate) layout: LayoutTemplate,
    /// What it is, with what is chosen at random, once seen.
    pub(crate) seen_layout: Option<Layout>,
}

impl File {
    /// Without bytes.
    pub(crate) fn new(layout: LayoutTemplate) -> Self {
        Self { length: 0, epoch: Change::default(), layout, seen_layout: None }
    }
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) node: NodeId,
    /// Where readdir finds it, once seen.
    pub(crate) cookie: Option<u64>,
    /// Where it is not: ranges (after, up to) that readdir walked without it.
    pub(crate) not_in: Vec<(u64, u64)>,
}

/// A directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) entries: BTreeMap<Vec<u8>, Entry>,
    /// What it gives, if not what the file system does.
    pub(crate) layout: Option<LayoutTemplate>,
}

/// An inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Twelve bits.
    pub(crate) mode: u16,
    /// Bits of `mode` that the standard leaves open until they are seen: they are set or clear.
    pub(crate) open_bits: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) acl: Option<Acl>,
    pub(crate) default_acl: Option<Acl>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) atime: Moment,
    pub(crate) mtime: Moment,
    pub(crate) ctime: Moment,
    pub(crate) btime: Moment,
    pub(crate) change: Change,
    pub(crate) blocks: Blocks,
    /// Its number, once seen.
    pub(crate) ino: Option<u64>,
    /// Sessions that keep it without a name.
    pub(crate) holders: BTreeSet<u64>,
    /// Sessions that may write it.
    pub(crate) writers: BTreeSet<u64>,
    /// Names it lost with a tree that may still be counted.
    pub(crate) late: u32,
}

impl Node {
    /// A new inode.
    pub(crate) fn new(kind: Kind, mode: u16, owner: (u32, u32), when: When) -> Self {
        let now = Moment::new(when);
        Self {
            kind,
            mode,
            open_bits: 0,
            uid: owner.0,
            gid: owner.1,
            acl: None,
            default_acl: None,
            xattrs: BTreeMap::new(),
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            change: Change::default(),
            blocks: Blocks::Unknown,
            ino: None,
            holders: BTreeSet::new(),
            writers: BTreeSet::new(),
            late: 0,
        }
    }

    pub(crate) const fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }

    pub(crate) const fn is_symlink(&self) -> bool {
        matches!(self.kind, Kind::Symlink(_))
    }

    /// The system may clear the bits of a program that was written, or keep them.
    pub(crate) const fn open_setid(&mut self) {
        self.open_bits |= self.mode & 0o6000;
    }

    /// Its content or entries change: POSIX marks mtime and ctime.
    pub(crate) fn mark_content(&mut self, when: When) {
        self.mtime.mark(when);
        self.mark_status(when);
    }

    /// Its attributes may change.
    pub(crate) fn may_mark_status(&mut self, when: When) {
        self.ctime.may_mark(when);
        self.change.may_rise();
        self.blocks = self.blocks.doubted();
    }

    /// Its attributes change: POSIX marks ctime.
    pub(crate) fn mark_status(&mut self, when: When) {
        self.ctime.mark(when);
        self.change.rise();
        self.blocks = Blocks::Unknown;
    }
}

/// An empty file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Number of the root directory.
    pub ino: u64,
    /// Its mode.
    pub mode: u16,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Layout of files whose directory has none.
    pub layout: LayoutTemplate,
}

/// All inodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    /// Numbers that were seen, of inodes that are gone too (E460).
    pub(crate) inos: BTreeMap<u64, NodeId>,
    /// Numbers of inodes that went with a tree: they may be answered until somebody removed them.
    /// Among them some that are kept open, with names in such a tree alone, and were changed since:
    /// of those nothing is known.
    pub(crate) doomed: BTreeSet<u64>,
    pub(crate) locks: Locks,
    /// Something of a doomed tree was moved or linked out of it: of what follows nothing is known.
    pub(crate) fog: bool,
    /// What a file gets whose directory says nothing.
    pub(crate) root_layout: LayoutTemplate,
    next: u32,
}

impl World {
    /// An empty root directory, that of `root`.
    pub(crate) fn new(root: &Root) -> Self {
        let kind = Kind::Directory(Directory::default());
        let mut node = Node::new(kind, root.mode, (root.uid, root.gid), When::EVER);
        node.ino = Some(root.ino);
        Self {
            nodes: BTreeMap::from([(ROOT, node)]),
            inos: BTreeMap::from([(root.ino, ROOT)]),
            doomed: BTreeSet::new(),
            locks: Locks::default(),
            fog: false,
            root_layout: root.layout,
            next: 1,
        }
    }

    /// The inode of `id`.
    ///
    /// # Panics
    /// If it is gone: ids come from entries and from `find`.
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[&id]
    }

    /// The same, to change it.
    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("ids of inodes that are there are passed")
    }

    /// The entries of a directory.
    pub(crate) fn entries(&self, id: NodeId) -> Option<&BTreeMap<Vec<u8>, Entry>> {
        match &self.node(id).kind {
            Kind::Directory(directory) => Some(&directory.entries),
            _ => None,
        }
    }

    /// What `dir` says of layouts.
    pub(crate) fn layout_in(&self, dir: NodeId) -> Option<LayoutTemplate> {
        match &self.node(dir).kind {
            Kind::Directory(directory) => directory.layout,
            _ => None,
        }
    }

    /// The longest that the file `id` can be: 2^32 - 1 chunks, and 2^63 - 1 bytes.
    pub(crate) fn length_max(&self, id: NodeId) -> u64 {
        match &self.node(id).kind {
            Kind::File(file) => {
                let chunks = u64::from(u32::MAX) * u64::from(file.layout.chunk_size.bytes());
                chunks.min(i64::MAX.cast_unsigned())
            }
            _ => i64::MAX.cast_unsigned(),
        }
    }

    /// Who has the name `name` in `dir`.
    pub(crate) fn child(&self, dir: NodeId, name: &[u8]) -> Option<NodeId> {
        self.entries(dir)?.get(name).map(|entry| entry.node)
    }

    /// Adds an inode that has no name yet.
    pub(crate) fn add(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.next);
        self.next += 1;
        self.nodes.insert(id, node);
        id
    }

    /// Gives `node` the name `name` in `dir`.
    pub(crate) fn enter(&mut self, dir: NodeId, name: &[u8], node: NodeId) {
        let entry = Entry { node, cookie: None, not_in: Vec::new() };
        let Kind::Directory(directory) = &mut self.node_mut(dir).kind else {
            unreachable!("names are entered in directories");
        };
        directory.entries.insert(name.to_vec(), entry);
    }

    /// Takes the name `name` away.
    pub(crate) fn leave(&mut self, dir: NodeId, name: &[u8]) {
        let Kind::Directory(directory) = &mut self.node_mut(dir).kind else {
            unreachable!("names are taken from directories");
        };
        directory.entries.remove(name);
    }

    /// Names of `id`: directory and name of each.
    pub(crate) fn names(&self, id: NodeId) -> Vec<(NodeId, &[u8])> {
        let mut names = Vec::new();
        for dir in self.nodes.keys() {
            for (name, entry) in self.entries(*dir).into_iter().flatten() {
                if entry.node == id {
                    names.push((*dir, name.as_slice()));
                }
            }
        }
        names
    }

    /// st_nlink: the names of a file; of a directory its name, its "." and the ".." below it.
    pub(crate) fn links(&self, id: NodeId) -> u32 {
        let names = self.names(id).len();
        let count = match self.entries(id) {
            None => names,
            Some(_) if names == 0 && id != ROOT => 0,
            Some(entries) => {
                2 + entries.values().filter(|e| self.node(e.node).is_directory()).count()
            }
        };
        u32::try_from(count).expect("a model is small")
    }

    /// The directory above; the root is above itself.
    pub(crate) fn parent(&self, id: NodeId) -> NodeId {
        self.names(id).first().map_or(ROOT, |(dir, _)| *dir)
    }

    /// Whether `id` is `above` or somewhere below it.
    pub(crate) fn is_below(&self, mut id: NodeId, above: NodeId) -> bool {
        loop {
            if id == above {
                return true;
            }
            if id == ROOT {
                return false;
            }
            id = self.parent(id);
        }
    }

    /// `top` and the directories below it.
    pub(crate) fn directories_below(&self, top: NodeId) -> BTreeSet<NodeId> {
        let below = |id: &NodeId| self.node(*id).is_directory() && self.is_below(*id, top);
        self.nodes.keys().copied().filter(below).collect()
    }

    /// `top`, which has just lost its name, and all that is below it go away, some of it later.
    pub(crate) fn doom(&mut self, top: NodeId) {
        let tree = self.directories_below(top);
        let mut lost: BTreeMap<NodeId, u32> = BTreeMap::new();
        for dir in &tree {
            for entry in self.entries(*dir).into_iter().flat_map(BTreeMap::values) {
                *lost.entry(entry.node).or_default() += 1;
            }
        }
        for dir in &tree {
            self.bury(*dir);
        }
        for (id, names) in lost {
            if !self.nodes.contains_key(&id) {
                continue;
            }
            if self.names(id).is_empty() {
                self.bury(id);
            } else {
                self.node_mut(id).late += names;
            }
        }
    }

    /// Removes an inode that may be answered for a while.
    fn bury(&mut self, id: NodeId) {
        self.locks.go(id);
        if let Some(ino) = self.nodes.remove(&id).and_then(|node| node.ino) {
            self.doomed.insert(ino);
        }
    }

    /// Drops inodes that nobody names or keeps.
    pub(crate) fn sweep(&mut self) {
        let gone: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(id, node)| {
                **id != ROOT
                    && node.holders.is_empty()
                    && node.writers.is_empty()
                    && self.names(**id).is_empty()
            })
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.bury(id);
        }
    }
}
