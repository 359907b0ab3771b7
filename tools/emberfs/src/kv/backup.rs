//! `emberfs kv backup`: all keys of one version in a file.
//!
//! The file has its name once it is whole and durable: until then it is `FILE.partial`, which the
//! next attempt begins again, and which two attempts cannot have at the same time.

use core::cell::Cell;
use core::time::Duration;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use engine_runtime::{Env, First, first};
use meta_kv::KvEngine as _;
use meta_kv::backup::{Origin, Summary};
use meta_kv::engine::redb::RedbOptions;
use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags};
use rustix::io::Errno;

use super::connect::Connected;
use super::directory;
use super::place::{Found, Place};
use super::verify::{self, BackupReport};
use crate::cluster::sync_directory;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::progress::Progress;
use crate::size::ByteSize;

const EXAMPLES: &str = "\
Examples:
  emberfs kv backup kv-2025-11-21.backup --cluster cluster.toml          at 127.0.0.1:7100
  emberfs kv backup kv.backup --config /etc/emberfs/kv.toml --json
  emberfs kv backup kv.backup --dir kv                                   nobody serves it

It holds all keys of one version; a served store takes commits meanwhile. What came over the network
is verified before the file gets its name. Nothing is overwritten. The file holds all metadata: it
is for the eyes of its owner.";

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[group(skip)]
pub(super) struct Args {
    /// The file that is written.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    place: Place,

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
        let file = match create_new(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // Not reused: its mode, and whoever has it open, are not ours.
                drop(lock(&path)?);
                fs::remove_file(&path).map_err(|error| failed(&path, error))?;
                create_new(&path)
            }
            created => created,
        };
        let file = file.with_context(|| format!("cannot create {}", path.display()));
        let file = file.map_err(Failure::environment)?;
        lock_file(&file, &path)?;
        Ok(Self { file, path, name: name.to_path_buf(), kept: false })
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

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Opens what an earlier attempt left, unless that still writes.
fn lock(path: &Path) -> Result<File, Failure> {
    let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().write(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| failed(path, error))?;
    lock_file(&file, path)?;
    Ok(file)
}

fn lock_file(file: &File, path: &Path) -> Result<(), Failure> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => {
            let why = anyhow!("another backup writes {} now", path.display());
            Err(Failure::environment(why).hint("choose another name, or wait for it"))
        }
        Err(error) => Err(failed(path, error)),
    }
}

fn occupied(name: &Path) -> Failure {
    let why = anyhow!("{} is there already and is not overwritten", name.display());
    Failure::usage(why).hint("choose another name")
}

fn failed(path: &Path, error: impl Into<io::Error>) -> Failure {
    let error: io::Error = error.into();
    let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    let error = anyhow::Error::new(error).context(format!("cannot write {}", path.display()));
    let failure = Failure::environment(error);
    if full { failure.hint("the disk is full; nothing was left on it") } else { failure }
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let (summary, partial) = match args.place.find()? {
        Found::Dir(dir) => {
            directory::check(dir)?;
            let partial = Partial::create(&args.file)?;
            (of_directory(env, dir, &partial)?, partial)
        }
        Found::Served(served) => {
            let connected = served.connect(env).await?;
            let partial = Partial::create(&args.file)?;
            (of_served(env, &connected, &partial, served.timeout).await?, partial)
        }
    };
    partial.keep()?;
    let report = BackupReport::new(&args.file, summary);
    if out.json {
        out.document(&report)?;
    } else {
        report.print(out, &[])?;
    }
    Ok(Exit::Ok)
}

/// Writes what `told` keys and bytes are behind us.
fn watched<E: Env>(env: &E) -> impl FnMut(u64, u64) + use<E> {
    let (env, mut progress) = (env.clone(), Progress::new("backing up"));
    move |keys, bytes| {
        progress.say(env.now(), &format!("backing up: {keys} keys, {}", ByteSize(bytes)));
    }
}

fn of_directory<E: Env>(env: &E, dir: &Path, partial: &Partial) -> Result<Summary, Failure> {
    let engine = directory::open(dir, RedbOptions::default())?;
    let snapshot = engine.snapshot()?;
    let origin = Origin::new(engine.identity(), engine.version());
    let mut watch = watched(env);
    let writer = BufWriter::with_capacity(1 << 20, &partial.file);
    let watch = |done: meta_kv::backup::Progress| watch(done.keys, done.bytes);
    Ok(meta_kv::backup::backup(&snapshot, origin, writer, watch)?)
}

async fn of_served<E: Env>(
    env: &E,
    connected: &Connected<E>,
    partial: &Partial,
    timeout: Duration,
) -> Result<Summary, Failure> {
    let (mut watch, mut bytes, mut unwritten) = (watched(env), 0, None);
    let heard = Cell::new(env.now());
    let write = |piece: &[u8], keys| {
        if let Err(error) = (&partial.file).write_all(piece) {
            let kind = error.kind();
            unwritten = Some(error);
            return Err(kind.into());
        }
        heard.set(env.now());
        bytes += piece.len() as u64;
        watch(keys, bytes);
        Ok(())
    };
    let silence = async {
        while env.now() < heard.get() + timeout {
            env.sleep_until(heard.get() + timeout).await;
        }
    };
    let fetched = first(meta_kvd::backup::fetch(env, &connected.remote, write), silence).await;
    if let Some(error) = unwritten {
        return Err(failed(&partial.path, error));
    }
    let why = match fetched {
        First::Left(Ok(_)) => None,
        First::Left(Err(error)) => Some(anyhow!(error)),
        First::Right(()) => Some(anyhow!("{} was silent for {timeout:?}", connected.address)),
    };
    if let Some(why) = why {
        let why = Failure::environment(why.context("the backup broke off, and left nothing"));
        return Err(why.hint("run it again; it begins anew"));
    }
    // Its last part says that nothing is missing.
    let (reader, _) = verify::open(&partial.path)?;
    Ok(meta_kv::backup::verify(reader, |_| ())?)
}
