//! Operations as root and as others: tables of cases, what conflicts, what it costs.

use engine_types::InodeId;
use meta_protocol::op as ask;
use meta_protocol::{Answer, Attr, AttrChange, OpenMode, Refusal, TimeChange};
use meta_schema::{
    AccessMask, Errno, FileType, Gid, INODE_ROOT, LayoutTemplate, Mode, Timestamp, Uid,
};

use crate::bed::{Client, with_bed};

mod attributes;
pub(crate) mod cost;
mod cost_files;
mod files;
mod names;
mod once;
mod paths;
mod races;
mod renames;
mod size;

/// Mkdir with no umask.
fn mkdir(parent: InodeId, name: &str, mode: u32) -> ask::Mkdir {
    let umask = Mode::default();
    ask::Mkdir { parent, name: name.into(), mode: Mode::new(mode), umask, layout: None }
}

/// A new file, not opened.
fn create(parent: InodeId, name: &str, mode: u32) -> ask::Create {
    let (mode, umask) = (Mode::new(mode), Mode::default());
    ask::Create {
        parent,
        name: name.into(),
        mode,
        umask,
        exclusive: true,
        open: None,
        layout: None,
    }
}

fn mknod(parent: InodeId, name: &str, mode: u32, rdev: u32) -> ask::Mknod {
    ask::Mknod { parent, name: name.into(), mode, umask: Mode::default(), rdev }
}

fn symlink(parent: InodeId, name: &str, target: &str) -> ask::Symlink {
    ask::Symlink { parent, name: name.into(), target: target.into() }
}

fn lookup(parent: InodeId, name: &str) -> ask::Lookup {
    ask::Lookup { parent, name: name.into() }
}

fn stat(ino: InodeId) -> ask::Stat {
    ask::Stat { ino }
}

fn link(ino: InodeId, parent: InodeId, name: &str) -> ask::Link {
    ask::Link { ino, parent, name: name.into() }
}

fn unlink(parent: InodeId, name: &str) -> ask::Unlink {
    ask::Unlink { parent, name: name.into(), hold: false }
}

fn rmdir(parent: InodeId, name: &str) -> ask::Rmdir {
    ask::Rmdir { parent, name: name.into() }
}

fn rename(from: InodeId, from_name: &str, to: InodeId, to_name: &str) -> ask::Rename {
    ask::Rename {
        from,
        from_name: from_name.into(),
        to,
        to_name: to_name.into(),
        no_replace: false,
        exchange: false,
        hold: false,
    }
}

fn exchange(from: InodeId, from_name: &str, to: InodeId, to_name: &str) -> ask::Rename {
    ask::Rename { exchange: true, ..rename(from, from_name, to, to_name) }
}

fn readdir(dir: InodeId, cookie: u64, limit: u32) -> ask::Readdir {
    ask::Readdir { dir, cookie, limit, plus: false }
}

fn setattr(ino: InodeId, change: AttrChange) -> ask::SetAttr {
    ask::SetAttr { ino, change }
}

fn chmod(ino: InodeId, mode: u32) -> ask::SetAttr {
    setattr(ino, AttrChange { mode: Some(Mode::new(mode)), ..AttrChange::default() })
}

fn chown(ino: InodeId, uid: u32, gid: u32) -> ask::SetAttr {
    let (uid, gid) = (Some(Uid::new(uid)), Some(Gid::new(gid)));
    setattr(ino, AttrChange { uid, gid, ..AttrChange::default() })
}

/// Names in a directory, in the order of readdir.
async fn listed(client: &Client, dir: InodeId) -> Vec<String> {
    match client.ask(readdir(dir, 0, 4096)).await.unwrap() {
        Answer::Entries { entries, end: true } => {
            entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()).collect()
        }
        other => panic!("no whole directory: {other:?}"),
    }
}

fn errno(answer: Result<Answer, Refusal>) -> Result<(), Errno> {
    answer.map(drop).map_err(|refusal| refusal.errno)
}
