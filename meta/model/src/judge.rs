//! Compares an answer with what has to be answered, and learns from it what was left open: numbers
//! of inodes, times, cookies, random parts of layouts.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;

use engine_types::InodeId;
use meta_protocol::{Answer, Attr, Entry, LayoutTold};
use meta_schema::FileType;
use meta_schema::fallocate::{FallocatePlan, RangeWork};

use crate::acl::{Acl, Parsed};
use crate::expect::Expect;
use crate::moment::{Blocks, When};
use crate::op::file::Work;
use crate::op::list::Page;
use crate::run::Run;
use crate::world::{Kind, Node, NodeId, World};

/// `what` differs.
fn differs(what: &str, expected: impl Debug, found: impl Debug) -> String {
    format!("{what}: expected {expected:?}, found {found:?}")
}

/// An error unless both are equal.
fn same<T: Debug + PartialEq>(what: &str, expected: T, found: T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(differs(what, expected, found)) }
}

impl Run<'_> {
    /// Whether `answer` is what `expect` asks for.
    pub(crate) fn judge(&mut self, expect: &Expect, answer: &Answer) -> Result<(), String> {
        let (world, when) = (&mut *self.world, self.when);
        match (expect, answer) {
            (Expect::Done, Answer::Done) => Ok(()),
            (Expect::Attr(node), Answer::Attr(attr)) => world.see(*node, attr, when),
            (Expect::Attrs(nodes), Answer::Attrs(attrs)) => {
                same("attributes", nodes.len(), attrs.len())?;
                for (node, attr) in nodes.iter().zip(attrs) {
                    world.see_item(*node, attr.as_ref(), when)?;
                }
                Ok(())
            }
            (Expect::Walked { node, parent }, Answer::Walked { parent: above, attr }) => {
                world.see(*node, attr, when)?;
                world.see_ino(*parent, *above).map_err(|why| format!("parent: {why}"))
            }
            (Expect::Opened { node, created }, Answer::Opened { attr, created: found }) => {
                same("created", *created, *found)?;
                world.see(*node, attr, when)
            }
            (Expect::Target(expected), Answer::Target(found)) => same("target", expected, found),
            (Expect::Bytes(expected), Answer::Value(found)) => same("value", expected, found),
            (Expect::Acl(expected), Answer::Value(found)) => see_acl(expected, found),
            (Expect::XattrNames(expected), Answer::Names(found)) => see_names(expected, found),
            (Expect::Page(page), Answer::Entries { entries, end }) => {
                self.see_page(*page, entries, *end)
            }
            (Expect::Appended { node, offset }, Answer::Appended { offset: found, attr }) => {
                same("offset", *offset, *found)?;
                world.see(*node, attr, when)
            }
            (
                Expect::Fallocated { node, work, start, needed, end },
                Answer::Fallocated { attr, plan },
            ) => {
                see_plan(*work, (*start, *needed, *end), plan)?;
                same("length of the plan", attr.size, plan.length)?;
                world.see(*node, attr, when)
            }
            (Expect::Layout(node), Answer::Layout(told)) => world.see_told(*node, told),
            (Expect::Conflict { node, against }, Answer::Conflict { lock }) => {
                world.judge_conflict(*node, against, lock.as_ref())
            }
            (Expect::Lock(expect), Answer::Lock(told)) => world.judge_lock(*expect, *told),
            (Expect::Pruned, Answer::Pruned { .. }) | (Expect::Space, Answer::Space(_)) => Ok(()),
            _ => Err(differs("kind of answer", expect, answer)),
        }
    }

    /// A page: names and cookies, then what each entry says.
    fn see_page(&mut self, page: Page, entries: &[Entry], end: bool) -> Result<(), String> {
        let found: Vec<(&[u8], u64)> =
            entries.iter().map(|entry| (entry.name.as_slice(), entry.cookie)).collect();
        self.world.read_page(page, &found, end)?;
        for entry in entries {
            let name = entry.name.escape_ascii();
            let node = self.world.child(page.dir, &entry.name).expect("judged by `read_page`");
            let kind = self.world.node(node).file_type();
            let judged = same("type", kind, entry.kind)
                .and_then(|()| self.world.see_ino(node, entry.ino))
                .and_then(|()| same("attributes are told", page.shows, entry.attr.is_some()))
                .and_then(|()| match &entry.attr {
                    Some(attr) => self.world.see(node, attr, self.when),
                    None => Ok(()),
                });
            judged.map_err(|why| format!("entry \"{name}\": {why}"))?;
        }
        // A reader of a directory may mark its atime.
        let when = self.when;
        self.world.node_mut(page.dir).atime.may_mark(when);
        Ok(())
    }
}

impl World {
    /// The number of an inode was told (E460).
    pub(crate) fn see_ino(&mut self, id: NodeId, ino: InodeId) -> Result<(), String> {
        let ino = ino.get();
        if let Some(known) = self.node(id).ino {
            return same("inode", known, ino);
        }
        if let Some(other) = self.inos.get(&ino) {
            return Err(format!("inode {ino}: it is new, and the number was {other:?}'s"));
        }
        self.inos.insert(ino, id);
        self.node_mut(id).ino = Some(ino);
        Ok(())
    }

    /// One of a batch.
    fn see_item(
        &mut self,
        node: Option<NodeId>,
        attr: Option<&Attr>,
        when: When,
    ) -> Result<(), String> {
        match (node, attr) {
            (Some(_), Some(attr)) if self.doomed.contains(&attr.ino.get()) => Ok(()),
            (Some(node), Some(attr)) => self.see(node, attr, when),
            (Some(node), None) if 0 < self.links(node) => {
                Err(differs("item", self.node(node).ino, "nothing"))
            }
            (None, Some(attr)) if !self.doomed.contains(&attr.ino.get()) => {
                Err(differs("item", "nothing", attr.ino))
            }
            _ => Ok(()),
        }
    }

    /// The attributes of an inode were told.
    pub(crate) fn see(&mut self, id: NodeId, attr: &Attr, when: When) -> Result<(), String> {
        self.see_ino(id, attr.ino)?;
        let links = self.links(id);
        let node = self.node_mut(id);
        let judged = node.see_links(links, attr.nlink, when).and_then(|()| node.see(attr));
        judged.map_err(|why| format!("inode {}: {why}", attr.ino))
    }

    /// A layout was told.
    fn see_told(&mut self, id: NodeId, told: &LayoutTold) -> Result<(), String> {
        let root_layout = self.root_layout;
        match (&mut self.node_mut(id).kind, told) {
            (Kind::Directory(directory), LayoutTold::Directory(found)) => {
                same("layout", directory.layout.unwrap_or(root_layout), *found)
            }
            (Kind::File(file), LayoutTold::File(found)) => file.see_layout(found),
            (kind, told) => Err(differs("layout", kind, told)),
        }
    }
}

impl crate::world::File {
    fn see_layout(&mut self, found: &meta_schema::Layout) -> Result<(), String> {
        same("layout", self.layout, found.template())?;
        let known = *self.seen_layout.get_or_insert(*found);
        same("layout", known, *found)
    }
}

impl Node {
    /// What it is, as stat says it.
    pub(crate) const fn file_type(&self) -> FileType {
        match self.kind {
            Kind::File(_) => FileType::Regular,
            Kind::Directory(_) => FileType::Directory,
            Kind::Symlink(_) => FileType::Symlink,
            Kind::Special(kind, _) => kind,
        }
    }

    /// Links that were lost with a tree may still be counted.
    fn see_links(&mut self, links: u32, found: u32, when: When) -> Result<(), String> {
        let most = links + self.late;
        if found < links || most < found {
            return Err(differs("nlink", links..=most, found));
        }
        if 0 < self.late {
            self.may_mark_status(When { earliest: i64::MIN, ..when });
            self.late = found - links;
        }
        Ok(())
    }

    fn see(&mut self, attr: &Attr) -> Result<(), String> {
        same("type", self.file_type(), attr.kind)?;
        let mode = attr.mode.bits();
        if (self.mode ^ mode) & !self.open_bits != 0 {
            return Err(differs("mode", format_args!("{:04o}", self.mode), attr.mode));
        }
        (self.mode, self.open_bits) = (mode, 0);
        same("has_acl", self.acl.is_some(), attr.has_acl)?;
        same("uid", self.uid, attr.uid.get())?;
        same("gid", self.gid, attr.gid.get())?;
        let times = [
            ("atime", &mut self.atime, attr.atime),
            ("mtime", &mut self.mtime, attr.mtime),
            ("ctime", &mut self.ctime, attr.ctime),
            ("btime", &mut self.btime, attr.btime),
        ];
        for (what, time, found) in times {
            let possible = *time;
            if !time.see(found.nanos()) {
                return Err(differs(what, possible, found.nanos()));
            }
        }
        let change = self.change;
        let is_stale = change.has_risen() || change.seen() != attr.change;
        if !self.change.see(attr.change) {
            return Err(differs("change", change.least().., attr.change));
        }
        self.see_kind(attr, is_stale)
    }

    /// What only its type has.
    fn see_kind(&mut self, attr: &Attr, is_stale: bool) -> Result<(), String> {
        let rdev = if let Kind::Special(_, rdev) = self.kind { rdev } else { 0 };
        same("rdev", rdev, attr.rdev)?;
        match &mut self.kind {
            Kind::Symlink(target) => same("size", target.len() as u64, attr.size)?,
            Kind::Directory(_) => {}
            Kind::Special(..) => same("size", 0, attr.size)?,
            Kind::File(file) => {
                same("size", file.length, attr.size)?;
                let epoch = file.epoch;
                if !file.epoch.see(attr.truncate_epoch.get().into()) {
                    return Err(differs("truncate epoch", epoch.least().., attr.truncate_epoch));
                }
                let Some(layout) = &attr.layout else {
                    return Err(differs("layout", file.layout, "nothing"));
                };
                file.see_layout(layout)?;
                let possible = match self.blocks {
                    Blocks::Said(blocks) if !is_stale => attr.blocks == Some(blocks),
                    Blocks::Said(blocks) | Blocks::May(blocks) => {
                        attr.blocks.is_none_or(|found| found == blocks)
                    }
                    Blocks::Unknown => attr.blocks.is_none(),
                };
                let is_empty = file.length == 0 && attr.blocks == Some(0);
                if !possible && !is_empty {
                    return Err(differs("blocks", self.blocks, attr.blocks));
                }
            }
        }
        Ok(())
    }
}

/// A list has the expected entries.
fn see_acl(expected: &Acl, found: &[u8]) -> Result<(), String> {
    match Acl::parse(found) {
        Parsed::List(found) => same("ACL", expected.clone().sorted(), found.sorted()),
        other => Err(differs("ACL", expected, other)),
    }
}

/// Names, each with a NUL behind it; those of lists may lack.
fn see_names(expected: &[Vec<u8>], found: &[u8]) -> Result<(), String> {
    if found.last().is_some_and(|last| *last != 0) {
        return Err(differs("last byte of the names", 0, found.last()));
    }
    let found: Vec<&[u8]> =
        found.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    for name in &found {
        let text = name.escape_ascii();
        if !expected.iter().any(|other| other == name) {
            return Err(format!("name \"{text}\" is not there"));
        }
        if found.iter().filter(|other| *other == name).count() != 1 {
            return Err(format!("name \"{text}\" is there twice"));
        }
    }
    let lost =
        expected.iter().find(|name| !name.starts_with(b"system.") && !found.contains(&&name[..]));
    lost.map_or(Ok(()), |name| Err(format!("name \"{}\" is missing", name.escape_ascii())))
}

/// The work covers what has to be done, and nothing that must not be.
fn see_plan(
    work: Work,
    (start, needed, end): (u64, u64, u64),
    found: &FallocatePlan,
) -> Result<(), String> {
    let expected = match work {
        Work::Allocate => RangeWork::Allocate,
        Work::Punch => RangeWork::Punch,
        Work::Zero => RangeWork::Zero,
    };
    if needed <= start && found.work == RangeWork::Nothing {
        return Ok(());
    }
    same("work", expected, found.work)?;
    same("start", start, found.start)?;
    if found.end < needed || end < found.end {
        return Err(differs("end", needed..=end, found.end));
    }
    Ok(())
}
