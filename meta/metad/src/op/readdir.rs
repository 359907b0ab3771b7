//! Readdir: entries of a directory in the order of their slots.
//!
//! An entry's slot is its cookie. It stays the same for as long as the entry exists and no two are
//! equal, so a listing that goes on behind a cookie, on any service and after any time, returns
//! every entry that existed throughout exactly once; one that came or went meanwhile may be
//! returned or not. POSIX.1-2017 readdir() asks for that. "." and ".." are the client's (cookies 1
//! and 2); a cookie below 8 begins at the first entry.
//!
//! Read permission of the directory is needed at each call, as calls know nothing of each other.
//! Attributes come only to who may search the directory: to others a name is all that is told.
//! Reads only. Round trips: 1 (directory and page), with attributes 1 more for each 64 entries.

use engine_types::InodeId;
use meta_kv::{KeyRange, ReadMode, Transaction};
use meta_protocol::{Answer, Entry, ROOM_BYTES, op as ask};
use meta_schema::{AccessMask, Dirent, Errno, Slot, access, key};

use crate::ctx::Ctx;
use crate::halt::{Stop, refused};
use crate::join::both;
use crate::loaded::Loaded;
use crate::op::stat::load_all;
use crate::view::{View, decoded_entry, prefix};

/// A page of a directory.
pub(crate) async fn run<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    ask: &ask::Readdir,
) -> Result<Answer, Stop> {
    let ask::Readdir { dir, cookie, limit, plus } = *ask;
    let limit = limit_of(limit, plus);
    if limit == 0 {
        return Err(refused(Errno::EINVAL, "readdir of no entries"));
    }
    // One more than asked for tells whether it is the last page.
    let page = async {
        match behind(dir, cookie) {
            Some(range) => view.entries(range, limit + 1, ReadMode::Snapshot).await,
            None => Ok(Vec::new()),
        }
    };
    let (found, mut page) = both(view.known(dir, ReadMode::Snapshot), page).await?;
    if found.inode.directory().is_none() {
        return Err(refused(Errno::ENOTDIR, dir));
    }
    access::check(&found.inode, ctx.caller, AccessMask::READ)
        .map_err(|errno| refused(errno, dir))?;
    let end = page.len() <= limit;
    page.truncate(limit);
    let entries: Result<Vec<_>, Stop> =
        page.iter().map(|(key, value)| decoded_entry(key, value)).collect();
    let entries = entries?;
    let plus = plus && access::permits(&found.inode, ctx.caller, AccessMask::EXECUTE);
    let attrs = if plus { attributes(view, &entries).await? } else { vec![None; entries.len()] };
    let entries = entries.into_iter().zip(attrs).map(|((slot, entry), attr)| {
        let Dirent { ino, kind, name } = entry;
        Entry { cookie: slot.get(), ino, kind, name, attr: attr.as_ref().map(Loaded::attr) }
    });
    Ok(Answer::Entries { entries: entries.collect(), end })
}

async fn attributes<T: Transaction>(
    view: &View<'_, T>,
    entries: &[(Slot, Dirent)],
) -> Result<Vec<Option<Loaded>>, Stop> {
    let inos: Vec<InodeId> = entries.iter().map(|(_, entry)| entry.ino).collect();
    load_all(view, &inos).await
}

/// Entries of a page, so that even the longest names fit into an answer.
const ENTRIES_MAX: u32 = 3072;
/// Entries of a page with attributes: 16 batches of reads.
const PLUS_ENTRIES_MAX: u32 = 1024;
/// Bytes of an entry in an answer, beside its name, at most.
const ENTRY_BYTES: u32 = 64;
/// Bytes of attributes in an answer, at most.
const ATTR_BYTES: u32 = 256;

const NAME_BYTES: u32 = 255;
const _: () = assert!(ENTRIES_MAX * (NAME_BYTES + ENTRY_BYTES) <= ROOM_BYTES);
const _: () = assert!(PLUS_ENTRIES_MAX * (NAME_BYTES + ENTRY_BYTES + ATTR_BYTES) <= ROOM_BYTES);

/// Entries of this page: a caller that asks for more gets a shorter page.
fn limit_of(asked: u32, plus: bool) -> usize {
    let most = if plus { PLUS_ENTRIES_MAX } else { ENTRIES_MAX };
    usize::try_from(asked.min(most)).expect("some thousands")
}

/// Keys of the entries behind `cookie`.
fn behind(dir: InodeId, cookie: u64) -> Option<KeyRange> {
    let first = Slot::behind(cookie)?;
    Some(KeyRange::new(key::dirent(dir, first), prefix(&key::dirents(dir)).end))
}
