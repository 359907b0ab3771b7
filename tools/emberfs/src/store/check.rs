//! `emberfs store check`: verifies that a store is whole, without changing it.

use std::path::{Path, PathBuf};

use engine_runtime::{Env, File as _};
use engine_shard::{ChunkStore, Damage, DamageKind, ScrubLimits};
use engine_store::format::{StoreFlags, Superblock};
use serde::Serialize;

use super::device::{self, COPY_NAMES, Superblocks, targets};
use crate::exit::{Exit, Failure};
use crate::output::{Colour, Output};
use crate::progress::Progress;
use crate::size::ByteSize;
use crate::table::{Align, Cell, Table, facts};

#[cfg(test)]
mod tests;

const EXAMPLES: &str = "\
Examples:
  emberfs store check /dev/nvme1n1             superblocks, checkpoint, journal, records: seconds
  emberfs store check /dev/nvme1n1 --deep      and every checksum: reads the whole disk
  emberfs store check store.img --deep --json

The store must not be in use. Nothing is written.";

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Block device or file that holds a store.
    #[arg(value_name = "PATH")]
    path: PathBuf,

    /// Read all data and verify every checksum.
    #[arg(long)]
    deep: bool,

    /// Print what was found as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What is said of what could not be looked at.
const UNKNOWN: &str = "unknown";

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Problem {
    /// Where: a part of the store, or a chunk.
    place: String,
    /// What.
    what: String,
}

/// What a look at everything behind the superblocks found. What could not be looked at is nothing,
/// not 0.
#[derive(Debug, Default, Serialize)]
struct Examined {
    targets: Option<u64>,
    chunks: Option<u64>,
    pendings: Option<u64>,
    data_bytes: Option<u64>,
    verified_bytes: Option<u64>,
    /// Whether the last group of the journal is without its data: the next opening drops it.
    dropped_group: Option<bool>,
    problems: Vec<Problem>,
}

/// The whole result.
#[derive(Debug, Serialize)]
struct Report {
    path: String,
    cluster: String,
    store: String,
    /// Unknown when the newer superblock may be the one that is damaged.
    closed_in_order: Option<bool>,
    deep: bool,
    #[serde(flatten)]
    found: Examined,
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let (file, superblocks) = device::open_store(env, &args.path).await?;
    let superblock = device::usable(&args.path, &superblocks)?;
    let problems = judge(&superblocks, &superblock, file.geometry().size);
    let mut found = examine(env, &args.path, args.deep, problems).await?;
    drop(file); // and its lock
    let closed = superblock.flags.has(StoreFlags::CLEAN);
    let closed = Some(closed).filter(|_| !superblocks.is_one_lost() && found.chunks.is_some());
    if (closed, found.dropped_group) == (Some(true), Some(true)) {
        let what = "its last group is without its data, but it was closed in order";
        found.add("journal", what.to_owned());
    }
    let report = Report {
        path: args.path.display().to_string(),
        cluster: superblock.cluster.to_string(),
        store: superblock.store.to_string(),
        closed_in_order: closed,
        deep: args.deep,
        found,
    };
    print(out, &report)?;
    Ok(if report.found.problems.is_empty() { Exit::Ok } else { Exit::Problem })
}

/// Loads the store and verifies what follows from its superblock; with `deep`, all data. Adds to
/// the problems that are known.
async fn examine<E: Env>(
    env: &E,
    path: &Path,
    deep: bool,
    problems: Vec<Problem>,
) -> Result<Examined, Failure> {
    let mut found = Examined { problems, ..Examined::default() };
    let (store, opened) = match device::load(env, path).await {
        Ok(loaded) => loaded,
        Err(error) => {
            let failure = Failure::from(error);
            if failure.exit != Exit::Problem {
                return Err(failure);
            }
            found.add("store", format!("cannot be loaded: {:#}", failure.error));
            return Ok(found);
        }
    };
    for clash in &opened.clashes {
        found.add(&clash.key.to_string(), clash.to_string());
    }
    let listed = opened.clashes.len() as u64;
    if listed < opened.lost {
        found.add("records", format!("{} more chunks are lost in this way", opened.lost - listed));
    }
    if opened.journal_damaged {
        found.add("journal", "a group in its middle is damaged: updates are missing".to_owned());
    }
    if let Err(why) = store.audit() {
        found.add("records", why);
    }
    let space = store.space();
    found.targets = Some(targets(&store).count() as u64);
    (found.chunks, found.data_bytes) = (Some(space.chunks), Some(space.live));
    found.pendings = Some(opened.pendings.len() as u64);
    found.dropped_group = Some(opened.dropped_group);
    if deep {
        verify(env, &store, &mut found).await?;
    }
    Ok(found)
}

/// Reads everything and compares it with its checksums.
async fn verify<E: Env>(
    env: &E,
    store: &ChunkStore<E>,
    found: &mut Examined,
) -> Result<(), Failure> {
    let mut progress = Progress::new("verifying chunks");
    let total = found.chunks.unwrap_or(0);
    let seen = store.scrub(None, ScrubLimits::default(), |seen| {
        progress.at(env.now(), seen.chunks, total);
    });
    let seen = seen.await.map_err(Failure::environment)?;
    progress.clear();
    found.verified_bytes = Some(seen.bytes);
    for Damage { key, version, block, kind } in &seen.damage {
        let what = match kind {
            DamageKind::Checksum => "is damaged",
            DamageKind::Unreadable => "cannot be read",
        };
        found.add(&key.to_string(), format!("checksum block {block} of {version} {what}"));
    }
    let listed = seen.damage.len() as u64;
    let all = seen.damaged + seen.errors;
    if listed < all {
        let what = format!("{} more checksum blocks are damaged or not readable", all - listed);
        found.add("chunks", what);
    }
    Ok(())
}

impl Examined {
    fn add(&mut self, place: &str, what: String) {
        self.problems.push(Problem { place: place.to_owned(), what });
    }
}

/// What the superblocks themselves give away.
fn judge(superblocks: &Superblocks, newest: &Superblock, size: u64) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |place: &str, what: String| {
        problems.push(Problem { place: place.to_owned(), what });
    };
    for (index, name) in COPY_NAMES.iter().enumerate() {
        if let Some(why) = superblocks.problem(index) {
            add(name, why.to_string());
        }
        let (found, expected) = match &superblocks.copies[index] {
            Ok(copy) => (copy.store, newest.store),
            Err(_) => continue,
        };
        if found != expected {
            add(name, format!("describes store {found}, expected {expected}"));
        }
    }
    if newest.flags.has(StoreFlags::DAMAGED) {
        add("store", "is marked as damaged: acknowledged updates may be missing".to_owned());
    }
    if size < newest.layout.size {
        let expected = newest.layout.size;
        add("store", format!("ends at {size} bytes, expected {expected}"));
    }
    problems
}

fn print(out: &mut Output, report: &Report) -> Result<(), Failure> {
    if out.json {
        return Ok(out.document(report)?);
    }
    let found = &report.found;
    let closed = match report.closed_in_order {
        Some(true) => "in order",
        Some(false) => "not in order",
        None => UNKNOWN,
    };
    let mut rows: Vec<(&str, Cell)> = vec![
        ("store", report.store.as_str().into()),
        ("cluster", report.cluster.as_str().into()),
        ("closed", closed.into()),
        ("targets", known(found.targets)),
        ("chunks", known(found.chunks)),
        ("pending", known(found.pendings)),
        ("data", known(found.data_bytes.map(ByteSize))),
    ];
    if found.dropped_group == Some(true) {
        // Not acknowledged, as far as anybody can tell: what a crash leaves, no damage.
        rows.push(("journal", "its last group is without its data and will be dropped".into()));
    }
    if report.deep {
        rows.push(("verified", known(found.verified_bytes.map(ByteSize))));
    }
    rows.push(("result", verdict(found.problems.len())));
    facts(out, &rows)?;
    if found.problems.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let mut table = Table::new(&[("place", Align::Left), ("problem", Align::Left)]);
    for Problem { place, what } in &found.problems {
        table.row(out, vec![place.into(), Cell::coloured(what.as_str(), Colour::Red)])?;
    }
    Ok(table.finish(out)?)
}

/// A value, or that there is none.
fn known(value: Option<impl Into<Cell>>) -> Cell {
    value.map_or_else(|| UNKNOWN.into(), Into::into)
}

fn verdict(problems: usize) -> Cell {
    match problems {
        0 => Cell::coloured("whole", Colour::Green),
        1 => Cell::coloured("1 problem", Colour::Red),
        more => Cell::coloured(format!("{more} problems"), Colour::Red),
    }
}
