//! `emberfs kv restore`: a store made of a backup.

use std::path::PathBuf;

use engine_runtime::Env;
use serde::Serialize;

use super::directory;
use super::verify::{self, BackupReport};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::progress::Progress;

const EXAMPLES: &str = "\
Examples:
  emberfs kv restore kv-2025-11-21.backup --dir /var/lib/emberfs/kv-restored
  emberfs kv restore kv.backup --dir kv2 --json

The directory is new or empty: nothing is overwritten. An interrupted restore is repeated with the
same command. The new store has the name of the old one and a higher version: never serve both.";

/// Arguments of `restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Directory of the new store.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,

    /// Print what was restored as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report {
    dir: String,
    #[serde(flatten)]
    backup: BackupReport,
}

/// Runs the verb.
pub(super) fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let (reader, total) = verify::open(&args.file)?;
    directory::check_new(&args.dir)?;
    let mut progress = Progress::new("restoring");
    let watch = |done: meta_kv::backup::Progress| progress.at(env.now(), done.bytes, total);
    let summary = meta_kv::backup::restore(reader, &args.dir, watch)?;
    progress.clear();
    let backup = BackupReport::new(&args.file, summary);
    let dir = args.dir.display().to_string();
    if out.json {
        out.document(&Report { dir, backup })?;
        return Ok(Exit::Ok);
    }
    let serve = format!("emberfs kv serve --dir {dir} --cluster FILE");
    backup.print(out, &[("dir", dir.into()), ("serve it", serve.into())])?;
    Ok(Exit::Ok)
}
