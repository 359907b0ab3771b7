//! `emberfs kv verify`: whether the file of a backup is whole.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use engine_runtime::Env;
use engine_types::StoreId;
use meta_kv::backup::Summary;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::output::{Colour, Output};
use crate::progress::Progress;
use crate::size::ByteSize;
use crate::table::{Cell, facts};
use crate::text;

const EXAMPLES: &str = "\
Examples:
  emberfs kv verify kv-2025-11-21.backup
  emberfs kv verify kv.backup --json

Reads all of it and compares every checksum; a file that passes can be restored.";

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print what it holds as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What a backup holds.
#[derive(Debug, Serialize)]
pub(super) struct BackupReport {
    file: String,
    store: String,
    created: String,
    version: u64,
    restores: u64,
    keys: u64,
    bytes: u64,
}

impl BackupReport {
    /// Of the backup in `file`.
    pub(super) fn new(file: &Path, Summary { origin, size }: Summary) -> Self {
        Self {
            file: file.display().to_string(),
            store: StoreId::new(origin.store).to_string(),
            created: text::time(origin.created),
            version: origin.version,
            restores: origin.restores,
            keys: size.keys,
            bytes: size.bytes,
        }
    }

    /// Prints it, then what else there is to say.
    pub(super) fn print(self, out: &mut Output, rest: &[(&str, Cell)]) -> Result<(), Failure> {
        let mut rows = vec![
            ("backup", self.file.into()),
            ("store", self.store.into()),
            ("store created", self.created.into()),
            ("version", self.version.into()),
            ("restores", self.restores.into()),
            ("keys", self.keys.into()),
            ("size", ByteSize(self.bytes).into()),
        ];
        rows.extend_from_slice(rest);
        Ok(facts(out, &rows)?)
    }
}

/// Opens a backup for reading; its length is for the progress.
pub(super) fn open(path: &Path) -> Result<(BufReader<File>, u64), Failure> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let opened = opened.with_context(|| format!("cannot read {}", path.display()));
    let (data, file) = opened.map_err(Failure::environment)?;
    if data.is_dir() {
        let why = anyhow!("{} is a directory, expected the file of a backup", path.display());
        return Err(Failure::usage(why));
    }
    Ok((BufReader::with_capacity(1 << 20, file), data.len()))
}

/// Runs the verb.
pub(super) fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let (reader, total) = open(&args.file)?;
    let mut progress = Progress::new("verifying");
    let watch = |done: meta_kv::backup::Progress| progress.at(env.now(), done.bytes, total);
    let summary = meta_kv::backup::verify(reader, watch)?;
    progress.clear();
    let report = BackupReport::new(&args.file, summary);
    if out.json {
        out.document(&report)?;
    } else {
        report.print(out, &[("result", Cell::coloured("whole", Colour::Green))])?;
    }
    Ok(Exit::Ok)
}
