//! Both copies of the superblock beside each other.

use std::path::Path;

use engine_store::format::{CheckpointRef, Extent, StoreFlags, Superblock, SuperblockError};
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::output::{Colour, Output};
use crate::size::ByteSize;
use crate::store::device::{COPY_NAMES, Superblocks};
use crate::table::{Align, Cell, Table};
use crate::text::time;

/// As JSON.
#[derive(Serialize)]
struct Document {
    path: String,
    /// Which copy counts, 0 or 1.
    newest: Option<usize>,
    copies: [CopyView; 2],
}

#[derive(Serialize)]
#[serde(untagged)]
enum CopyView {
    Bad { error: String },
    Good(Box<View>),
}

/// Fields of a superblock. Numbers of 64 bits whose bits matter are in hexadecimal, because not
/// every reader of JSON keeps them.
#[derive(Serialize)]
struct View {
    sequence: u64,
    cluster: String,
    store: String,
    created: String,
    timeline: u32,
    mount_generation: u64,
    flags: Vec<String>,
    compat: String,
    ro_compat: String,
    incompat: String,
    size: u64,
    ring: Region,
    halves: [Region; 2],
    data_offset: u64,
    segments: u32,
    index_bytes_max: u64,
    dedup_channels: u32,
    tail_lsn: u64,
    tail_offset: u64,
    checkpoint: Option<Checkpoint>,
}

#[derive(Serialize)]
struct Region {
    offset: u64,
    len: u64,
}

#[derive(Serialize)]
struct Checkpoint {
    generation: u64,
    half: u8,
    start_lsn: u64,
    bytes: u64,
    pages: u32,
    items: u64,
}

/// Prints them. Damage of one copy is a problem, as it is for `check`.
pub(super) fn print(
    out: &mut Output,
    path: &Path,
    superblocks: &Superblocks,
) -> Result<Exit, Failure> {
    let newest = superblocks.newest.as_ref().ok().map(|(copy, _)| *copy);
    if out.json {
        let copies = superblocks.copies.each_ref().map(CopyView::from);
        let path = path.display().to_string();
        out.document(&Document { path, newest, copies })?;
    } else {
        print_table(out, superblocks, newest)?;
    }
    let whole = newest.is_some() && (0..2).all(|copy| superblocks.problem(copy).is_none());
    Ok(if whole { Exit::Ok } else { Exit::Problem })
}

fn print_table(
    out: &mut Output,
    superblocks: &Superblocks,
    newest: Option<usize>,
) -> Result<(), Failure> {
    let columns = [COPY_NAMES[0], COPY_NAMES[1]].map(|name| (name, Align::Left));
    let mut table = Table::new(&[("", Align::Left), columns[0], columns[1]]);
    let columns: Vec<_> = superblocks.copies.iter().map(column).collect();
    let status = [0, 1].map(|copy| match &superblocks.copies[copy] {
        Err(_) if superblocks.problem(copy).is_none() => "not written yet".into(),
        Err(why) => Cell::coloured(why.to_string(), Colour::Red),
        Ok(_) if newest == Some(copy) => Cell::coloured("the newest", Colour::Green),
        Ok(_) => "older".into(),
    });
    let [a, b] = status;
    table.row(out, vec!["".into(), a, b])?;
    for (index, name) in NAMES.iter().enumerate() {
        let value = |copy: usize| columns[copy].get(index).map_or("-", String::as_str).into();
        table.row(out, vec![(*name).into(), value(0), value(1)])?;
    }
    Ok(table.finish(out)?)
}

/// Names of the values of [`column()`].
const NAMES: [&str; 18] = [
    "sequence",
    "cluster",
    "store",
    "created",
    "timeline",
    "mount generation",
    "flags",
    "features",
    "size",
    "ring",
    "checkpoint half A",
    "checkpoint half B",
    "data",
    "segments",
    "index",
    "channels",
    "tail",
    "checkpoint",
];

fn column(copy: &Result<Superblock, SuperblockError>) -> Vec<String> {
    let Ok(superblock) = copy else { return Vec::new() };
    let Superblock { layout, tail, features, .. } = superblock;
    let values: [String; NAMES.len()] = [
        superblock.sequence.to_string(),
        superblock.cluster.to_string(),
        superblock.store.to_string(),
        time(superblock.created),
        superblock.timeline.get().to_string(),
        superblock.mount_gen.get().to_string(),
        flags(superblock.flags).join(" "),
        format!("{:#x} {:#x} {:#x}", features.compat, features.ro_compat, features.incompat),
        ByteSize(layout.size).to_string(),
        region(layout.ring),
        region(layout.halves[0]),
        region(layout.halves[1]),
        format!("at {}", ByteSize(layout.data_offset)),
        layout.segment_count.to_string(),
        format!("at most {}", ByteSize(layout.index_bytes_max)),
        layout.dedup_channels.to_string(),
        format!("{} at {} of the ring", tail.lsn, tail.offset),
        superblock.checkpoint.map_or_else(|| "none".to_owned(), checkpoint),
    ];
    values.into()
}

fn checkpoint(found: CheckpointRef) -> String {
    let CheckpointRef { generation, half, start, bytes, items, .. } = found;
    let half = ["A", "B"][usize::from(half)];
    let size = ByteSize(bytes);
    format!("{generation} in half {half}, {items} items, {size}, from {start}")
}

fn region(extent: Extent) -> String {
    format!("{} at {}", ByteSize(extent.len), ByteSize(extent.offset))
}

/// Names of the marks; those without a name as a number.
fn flags(flags: StoreFlags) -> Vec<String> {
    const NAMED: [(StoreFlags, &str); 3] = [
        (StoreFlags::CLEAN, "clean"),
        (StoreFlags::DAMAGED, "damaged"),
        (StoreFlags::RETIRED, "retired"),
    ];
    let named = NAMED.iter().filter(|(flag, _)| flags.has(*flag));
    let mut names: Vec<String> = named.map(|(_, name)| (*name).to_owned()).collect();
    let rest = NAMED.iter().fold(flags, |rest, (flag, _)| rest.without(*flag));
    if rest != StoreFlags::NONE {
        names.push(format!("{:#x}", rest.get()));
    }
    names
}

impl From<&Result<Superblock, SuperblockError>> for CopyView {
    fn from(copy: &Result<Superblock, SuperblockError>) -> Self {
        match copy {
            Err(why) => Self::Bad { error: why.to_string() },
            Ok(superblock) => Self::Good(Box::new(View::new(superblock))),
        }
    }
}

impl View {
    fn new(superblock: &Superblock) -> Self {
        let Superblock { layout, tail, features, .. } = superblock;
        let region = |Extent { offset, len }| Region { offset, len };
        Self {
            sequence: superblock.sequence,
            cluster: superblock.cluster.to_string(),
            store: superblock.store.to_string(),
            created: time(superblock.created),
            timeline: superblock.timeline.get(),
            mount_generation: superblock.mount_gen.get(),
            flags: flags(superblock.flags),
            compat: format!("{:#x}", features.compat),
            ro_compat: format!("{:#x}", features.ro_compat),
            incompat: format!("{:#x}", features.incompat),
            size: layout.size,
            ring: region(layout.ring),
            halves: layout.halves.map(region),
            data_offset: layout.data_offset,
            segments: layout.segment_count,
            index_bytes_max: layout.index_bytes_max,
            dedup_channels: layout.dedup_channels,
            tail_lsn: tail.lsn.get(),
            tail_offset: tail.offset,
            checkpoint: superblock.checkpoint.map(|found| Checkpoint {
                generation: found.generation,
                half: found.half,
                start_lsn: found.start.get(),
                bytes: found.bytes,
                pages: found.pages,
                items: found.items,
            }),
        }
    }
}
