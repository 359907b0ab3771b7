//! `emberfs kv check`: verifies a store that nobody serves.

use std::path::PathBuf;

use anyhow::anyhow;
use engine_runtime::Env;
use meta_kv::engine::redb::RedbOptions;
use meta_kv::{EngineSnapshot, KeyRange, KvEngine as _, RangeRead};
use serde::Serialize;

use super::{directory, key};
use crate::exit::{Exit, Failure};
use crate::output::{Colour, Output};
use crate::progress::Progress;
use crate::size::ByteSize;
use crate::table::{Cell, facts};
use crate::text;

const EXAMPLES: &str = "\
Examples:
  emberfs kv check --dir /var/lib/emberfs/kv
  emberfs kv check --dir kv --json

Verifies the checksum of every page, then reads every key of one version. The store must not be
served meanwhile. Opening it counts as a start: its version rises, its keys stay as they are.";

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Directory of the store.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,

    /// Print what was found as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What the walk counted.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Counts {
    keys: u64,
    key_bytes: u64,
    value_bytes: u64,
}

#[derive(Serialize)]
struct Report {
    dir: String,
    store: String,
    /// Nothing before the store was served for the first time after a restore.
    cluster: Option<String>,
    created: String,
    version: u64,
    starts: u64,
    restores: u64,
    file_bytes: u64,
    #[serde(flatten)]
    counts: Counts,
}

/// Runs the verb.
pub(super) fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    directory::check(&args.dir)?;
    let mut progress = Progress::new("checking");
    progress.say(env.now(), "verifying the checksum of every page");
    let options = RedbOptions { verify: true, ..RedbOptions::default() };
    let engine = directory::open(&args.dir, options)?;
    let counts = walk(env, &engine.snapshot()?, &mut progress)?;
    progress.clear();
    let identity = engine.identity();
    let report = Report {
        dir: args.dir.display().to_string(),
        store: directory::store_id(&identity).to_string(),
        cluster: directory::cluster(&args.dir)?.map(|id| id.to_string()),
        created: text::time(identity.created),
        version: engine.version(),
        starts: identity.starts,
        restores: identity.restores,
        file_bytes: directory::disk_bytes(&args.dir),
        counts,
    };
    print(out, report)?;
    Ok(Exit::Ok)
}

/// Reads every key.
fn walk<E: Env>(
    env: &E,
    snapshot: &impl EngineSnapshot,
    progress: &mut Progress,
) -> Result<Counts, Failure> {
    let mut counts = Counts::default();
    let mut last: Option<Vec<u8>> = None;
    let mut read = RangeRead::new(KeyRange::all());
    loop {
        let page = snapshot.range(&read)?;
        for (found, value) in page.entries {
            if last.as_ref().is_some_and(|last| found <= *last) {
                let shown = key::shown(&found);
                let why = anyhow!("{shown} does not follow the key before it");
                return Err(Failure::problem(why));
            }
            counts.keys += 1;
            counts.key_bytes += found.len() as u64;
            counts.value_bytes += value.len() as u64;
            last = Some(found);
        }
        progress.say(env.now(), &format!("reading: {} keys", counts.keys));
        match &last {
            Some(last) if page.more => read = read.behind(last),
            _ => return Ok(counts),
        }
    }
}

fn print(out: &mut Output, report: Report) -> Result<(), Failure> {
    if out.json {
        return Ok(out.document(&report)?);
    }
    let Counts { keys, key_bytes, value_bytes } = report.counts;
    let bytes = format!("{} of keys, {} of values", ByteSize(key_bytes), ByteSize(value_bytes));
    let cluster = report.cluster.unwrap_or_else(|| "not yet served".to_owned());
    let rows = [
        ("dir", report.dir.into()),
        ("store", report.store.into()),
        ("cluster", cluster.into()),
        ("created", report.created.into()),
        ("version", report.version.into()),
        ("starts", report.starts.into()),
        ("restores", report.restores.into()),
        ("file", ByteSize(report.file_bytes).into()),
        ("keys", keys.into()),
        ("bytes", bytes.into()),
        ("result", Cell::coloured("no problem found", Colour::Green)),
    ];
    Ok(facts(out, &rows)?)
}
