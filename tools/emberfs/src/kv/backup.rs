//! `emberfs kv backup`: all keys of one version in a file.
//!
//! The file has its name once it is whole and durable: until then it is `FILE.partial`, which the
//! next attempt begins again, and which two attempts cannot have at the same time.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use engine_runtime::Env;
use meta_kv::KvEngine as _;
use meta_kv::backup::{Origin, Summary};
use meta_kv::engine::redb::RedbOptions;
use rustix::fs::{CWD, FlockOperation, RenameFlags};
use rustix::io::Errno;

use super::directory;
use super::verify::BackupReport;
use crate::cluster::sync_directory;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::progress::Progress;
use crate::size::ByteSize;

const EXAMPLES: &str = "\
Examples:
  emberfs kv backup kv-2025-11-21.backup --dir kv
  emberfs kv backup kv.backup --dir kv --json

The store must not be served meanwhile. The file is new: nothing is overwritten. It holds all
metadata, and is for the eyes of its owner.";

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The file that is written.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Directory of a store that nobody serves.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,

    /// Print what was written as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// A file that gets its name at the end; without that, nothing of it is left.
struct Partial {
    file: File,
    path: PathBuf,
    name: PathBuf,
    kept: bool,
}

impl Partial {
    fn create(name: &Path) -> Result<Self, Failure> {
        if fs::symlink_metadata(name).is_ok() {
            return Err(occupied(name));
        }
        let mut path = name.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.with_context(|| format!("cannot create {}", path.display()));
        let file = file.map_err(Failure::environment)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let why = anyhow!("another backup writes {} now", path.display());
                return Err(Failure::environment(why));
            }
            Err(error) => return Err(failed(&path, error)),
        }
        let partial = Self { file, path, name: name.to_path_buf(), kept: false };
        partial.file.set_len(0).map_err(|error| failed(&partial.path, error))?;
        Ok(partial)
    }

    /// Makes it durable and gives it its name.
    fn keep(mut self) -> Result<(), Failure> {
        self.file.sync_all().map_err(|error| failed(&self.path, error))?;
        match rustix::fs::renameat_with(CWD, &self.path, CWD, &self.name, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(occupied(&self.name)),
            // File systems without it: the name was free a moment ago.
            Err(Errno::INVAL | Errno::NOSYS) => {
                fs::rename(&self.path, &self.name).map_err(|error| failed(&self.name, error))?;
            }
            Err(error) => return Err(failed(&self.name, error)),
        }
        self.kept = true;
        sync_directory(&self.name).map_err(|error| failed(&self.name, error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept {
            // The failure that brought us here says more than this one could.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn occupied(name: &Path) -> Failure {
    let why = anyhow!("{} is there already and is not overwritten", name.display());
    Failure::usage(why).hint("choose another name")
}

fn failed(path: &Path, error: impl Into<std::io::Error>) -> Failure {
    let error: std::io::Error = error.into();
    let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    let error = anyhow::Error::new(error).context(format!("cannot write {}", path.display()));
    let failure = Failure::environment(error);
    if full { failure.hint("the disk is full; nothing was left on it") } else { failure }
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    directory::check(&args.dir)?;
    let partial = Partial::create(&args.file)?;
    let summary = of_directory(env, &args.dir, &partial)?;
    partial.keep()?;
    let report = BackupReport::new(&args.file, summary);
    if out.json {
        out.document(&report)?;
    } else {
        report.print(out, &[])?;
    }
    Ok(Exit::Ok)
}

fn of_directory<E: Env>(env: &E, dir: &Path, partial: &Partial) -> Result<Summary, Failure> {
    let engine = directory::open(dir, RedbOptions::default())?;
    let snapshot = engine.snapshot()?;
    let origin = Origin::new(engine.identity(), engine.version());
    let mut progress = Progress::new("backing up");
    let mut writer = BufWriter::with_capacity(1 << 20, &partial.file);
    let summary = meta_kv::backup::backup(&snapshot, origin, &mut writer, |done| {
        let (keys, bytes) = (done.keys, ByteSize(done.bytes));
        progress.say(env.now(), &format!("backing up: {keys} keys, {bytes}"));
    })?;
    writer.flush().map_err(|error| failed(&partial.path, error))?;
    Ok(summary)
}
