//! Says which check it is that no order of a history holds, at the place where the longest one
//! ended.

use super::search::{Entry, Item, Search, Stuck};
use super::{Change, Epoch, Saw, Stamp, T90, T91, T92, T93, T100};
use crate::history::End;

/// The check, and what was found.
pub(super) fn why(search: &Search<'_>) -> (&'static str, String) {
    let Some(stuck) = &search.best else { return (T90, "nothing can be first".to_owned()) };
    let entry = &search.entries[stuck.first];
    let (check, what) = match entry.item {
        Item::Read { saw, .. } => read(search, stuck, saw),
        Item::Made { version, len, change } => made(stuck, (version, len), change, entry.epoch()),
        Item::Doubt { .. } => unreachable!("nobody knows when it returned"),
    };
    let state = &stuck.state;
    let at = match state.version {
        0 => "there is no chunk".to_owned(),
        version => format!("the chunk is at version {version} of {} bytes", state.len()),
    };
    (check, format!("{what}: {}; {at} after {} operations", describe(entry), stuck.count))
}

fn made(
    stuck: &Stuck,
    (version, len): (u32, u32),
    change: &Change,
    epoch: Epoch,
) -> (&'static str, &'static str) {
    let now = stuck.state.version;
    if version <= now {
        return (T90, "another update has made this version");
    }
    if version == now + 1 && !stuck.state.admits(change, epoch) {
        return (T100, "its epoch is over");
    }
    if version == now + 1 && stuck.state.after(change, epoch).len() != len {
        return (T92, "the length is another one");
    }
    (T90, "nobody asked for the version before it")
}

fn read(search: &Search<'_>, stuck: &Stuck, saw: &Saw) -> (&'static str, &'static str) {
    let now = stuck.state.version;
    let own = &search.entries[stuck.first];
    for (index, writer) in writers(search, saw) {
        if ended(own).is_some_and(|at| at < writer.operation.invoked) {
            return (T91, "it shows what was not asked for yet");
        }
        let acknowledged = match writer.item {
            Item::Made { version, .. } => version,
            _ => continue,
        };
        if !stuck.placed[index] && saw.version < acknowledged {
            return (T93, "it shows an update before the version that it was acknowledged with");
        }
    }
    if saw.version == now {
        return (T92, "it shows other bytes than this version has");
    }
    if saw.version < now {
        return (T91, "it shows a version that was over");
    }
    let mut all = writers(search, saw).peekable();
    if now == 0 && all.peek().is_some() && all.all(|(index, _)| stuck.placed[index]) {
        return (T91, "it shows what was removed");
    }
    (T90, "nobody asked for the version that it shows")
}

fn writers<'s>(
    search: &'s Search<'s>,
    saw: &'s Saw,
) -> impl Iterator<Item = (usize, &'s Entry<'s>)> {
    let stamps = saw.shown.iter().map(|shown| shown.stamp);
    let known = stamps.filter_map(|stamp: Stamp| search.writes.get(&stamp).copied());
    known.map(|index| (index, &search.entries[index]))
}

fn ended(entry: &Entry<'_>) -> Option<engine_types::Instant> {
    match entry.operation.end {
        End::Returned { at, .. } => Some(at),
        _ => None,
    }
}

fn describe(entry: &Entry<'_>) -> String {
    let operation = entry.operation;
    let told = match entry.item {
        Item::Read { saw, .. } => {
            format!("version {} of {} bytes, {:016x}", saw.version, saw.len, saw.print)
        }
        Item::Made { version, len, .. } => format!("version {version} of {len} bytes"),
        Item::Doubt { .. } => "nothing".to_owned(),
    };
    let (client, invoked, call) = (operation.client, operation.invoked, operation.call);
    let at = ended(entry).map_or_else(String::new, |at| format!(" at {at}"));
    format!("client {client} asked {call:?} at {invoked}, was told {told}{at}")
}
