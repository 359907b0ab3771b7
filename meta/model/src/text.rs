//! The model for people: what stands around a divergence.

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

use meta_protocol::Request;

use crate::dispatch;
use crate::world::{Kind, NodeId, ROOT, World};

impl World {
    /// One line for an inode.
    fn line(&self, id: NodeId) -> String {
        let node = self.node(id);
        let (mode, open) = (node.mode, node.open_bits);
        let ino = node.ino.map_or_else(|| "?".into(), |ino| format!("{ino}"));
        let what = match &node.kind {
            Kind::File(file) => format!("file of {} bytes", file.length),
            Kind::Directory(directory) => format!("directory of {}", directory.entries.len()),
            Kind::Symlink(target) => format!("-> \"{}\"", target.escape_ascii()),
            Kind::Special(kind, rdev) => format!("{kind} {rdev}"),
        };
        let mut line = format!(
            "{ino}: {what}, {mode:04o} of {}:{}, {} links, times {:?} {:?} {:?}, {:?}",
            node.uid,
            node.gid,
            self.links(id),
            node.atime,
            node.mtime,
            node.ctime,
            node.change,
        );
        let mut more = |holds: bool, text: String| {
            if holds {
                line.push_str(", ");
                line.push_str(&text);
            }
        };
        more(open != 0, format!("open bits {open:04o}"));
        more(node.acl.is_some(), format!("{:?}", node.acl));
        more(node.default_acl.is_some(), format!("default {:?}", node.default_acl));
        more(!node.xattrs.is_empty(), format!("{} attributes", node.xattrs.len()));
        more(!node.writers.is_empty(), format!("written by {:?}", node.writers));
        more(!node.holders.is_empty(), format!("kept by {:?}", node.holders));
        line
    }

    /// What stands around the inodes that `request` names: they, their names and entries.
    pub(crate) fn describe(&self, request: &Request) -> String {
        let mut text = String::new();
        for ino in dispatch::inodes(&request.operation) {
            let Some(id) = self.inos.get(&ino.get()).filter(|id| self.nodes.contains_key(id))
            else {
                write_line(&mut text, 4, &format!("{ino}: not there"));
                continue;
            };
            write_line(&mut text, 4, &self.line(*id));
            for (dir, name) in self.names(*id) {
                let above = self.node(dir).ino.map_or(0, |ino| ino);
                write_line(&mut text, 6, &format!("is \"{}\" in {above}", name.escape_ascii()));
            }
            for (name, entry) in self.entries(*id).into_iter().flatten() {
                let line = self.line(entry.node);
                write_line(&mut text, 6, &format!("\"{}\" {line}", name.escape_ascii()));
            }
        }
        text
    }

    /// The whole tree.
    pub(crate) fn tree(&self) -> String {
        let mut text = String::new();
        self.branch(&mut text, ROOT, "/", 0);
        text
    }

    fn branch(&self, text: &mut String, id: NodeId, name: &str, depth: usize) {
        write_line(text, 2 * depth, &format!("{name} {}", self.line(id)));
        for (name, entry) in self.entries(id).into_iter().flatten() {
            self.branch(text, entry.node, &format!("{}", name.escape_ascii()), depth + 1);
        }
    }
}

fn write_line(text: &mut String, indent: usize, line: &str) {
    writeln!(text, "{:indent$}{line}", "").expect("a string takes text");
}
