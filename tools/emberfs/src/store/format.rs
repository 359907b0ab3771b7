//! `emberfs store format`: makes a store of a disk, a partition or a file.
//!
//! What is there already is recognised and refused with a name; only `--force` overwrites it. All
//! arguments are checked before anything is written.

use core::fmt;
use core::str::FromStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use engine_runtime::{Env, File as _, FileKind, Geometry};
use engine_shard::probe::{self, Content};
use engine_shard::{ChunkStore, CreateOptions};
use engine_store::BlockClass;
use engine_store::format::{FormatOptions, Layout, Superblock};
use engine_types::{ClusterId, ParseIdError, SECTOR_BYTES};
use serde::Serialize;

use super::device;
use crate::cluster::ClusterFile;
use crate::exit::{Exit, Failure};
use crate::output::{Output, warn};
use crate::size::ByteSize;
use crate::table::facts;

#[cfg(test)]
mod tests;

const EXAMPLES: &str = "\
Examples:
  emberfs store format /dev/nvme1n1                         a whole disk
  emberfs store format store.img --size 10GiB               a file, created sparse
  emberfs store format /dev/sdb1 --cluster cluster.toml     for a node of this cluster
  emberfs store format /dev/sdb1 --cluster 0c9fbb52-3f4e-4f0c-9d9a-5a3f3f1f7e11
  emberfs store format /dev/nvme1n1 --journal 8GiB --index 4GiB
  emberfs store format /dev/sdb1 --force                    whatever is there is lost

Sizes: K, M, G, T and KiB, MiB, GiB, TiB are powers of 1024; KB, MB, GB, TB powers of 1000.";

/// Sizes of blocks.
const CLASS_COUNT: u32 = BlockClass::MAX.get() as u32 + 1;
/// Segments with which every size of blocks can have one, and the reserve is kept.
const SEGMENTS_WANTED: u32 = CLASS_COUNT + 2;

/// Arguments of `format`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Block device or file that becomes a store.
    #[arg(value_name = "PATH|DEVICE")]
    path: PathBuf,

    /// Bytes of the store. A file is created or extended to it, sparse; a device is used whole
    /// unless this is less.
    #[arg(long, value_name = "SIZE")]
    size: Option<ByteSize>,

    /// The cluster that the store belongs to, by its id or its cluster file.
    #[arg(long, value_name = "UUID|FILE|random", default_value = "random")]
    cluster: Cluster,

    /// Bytes of the journal; by default 1/2048 of the store, 64 MiB to 8 GiB.
    #[arg(long, value_name = "SIZE")]
    journal: Option<ByteSize>,

    /// Most memory for records of chunks; by default 1/1024 of the store, 64 MiB to 4 GiB. It
    /// limits the number of chunks and cannot be changed later.
    #[arg(long, value_name = "SIZE")]
    index: Option<ByteSize>,

    /// Channels of clients whose newest request is remembered, 4096 to 4194304; by default 262144.
    /// Cannot be changed later.
    #[arg(long, value_name = "N")]
    dedup_channels: Option<u32>,

    /// Format even if something else is there. It is lost.
    #[arg(long)]
    force: bool,

    /// Print what was made as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Which cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cluster {
    /// A new one.
    Random,
    /// This one.
    Given(ClusterId),
    /// That of a cluster file.
    Of(PathBuf),
}

/// Neither `random`, nor a UUID, nor a file.
#[derive(Debug)]
struct ParseClusterError(ParseIdError);

impl fmt::Display for ParseClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; or write `random`, or name a cluster file", self.0)
    }
}

impl core::error::Error for ParseClusterError {}

impl FromStr for Cluster {
    type Err = ParseClusterError;

    fn from_str(text: &str) -> Result<Self, ParseClusterError> {
        match text {
            "random" => Ok(Self::Random),
            id => match id.parse() {
                Ok(id) => Ok(Self::Given(id)),
                Err(_) if Path::new(text).is_file() => Ok(Self::Of(text.into())),
                Err(error) => Err(ParseClusterError(error)),
            },
        }
    }
}

impl Cluster {
    fn choose<E: Env>(&self, env: &E) -> Result<ClusterId, Failure> {
        match self {
            Self::Given(cluster) => Ok(*cluster),
            Self::Of(file) => Ok(ClusterFile::read(file)?.id),
            Self::Random => {
                let mut bytes = [0; 16];
                env.random_secret(&mut bytes);
                Ok(ClusterId::new(u128::from_le_bytes(bytes)))
            }
        }
    }
}

/// What stands at the path.
#[derive(Clone, Copy, Debug)]
struct Found {
    geometry: Geometry,
    content: Content,
}

/// Everything that is decided before the first write.
struct Request<'a> {
    path: &'a Path,
    options: FormatOptions,
    cluster: ClusterId,
    force: bool,
}

/// What was made.
#[derive(Debug, Serialize)]
struct Report {
    path: String,
    cluster: String,
    store: String,
    size: u64,
    journal_bytes: u64,
    index_bytes_max: u64,
    metadata_bytes: u64,
    data_bytes: u64,
    segments: u32,
    dedup_channels: u32,
    /// What the operator may not expect of such a store.
    warning: Option<String>,
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let found = look(env, &args.path).await?;
    let options = FormatOptions {
        journal_bytes: args.journal.map(|size| size.0),
        index_bytes: args.index.map(|size| size.0),
        dedup_channels: args.dedup_channels,
        ..FormatOptions::new(size(args, found.map(|found| found.geometry))?)
    };
    Layout::plan(&options).map_err(Failure::usage)?;
    let cluster = args.cluster.choose(env)?;
    if let Some(found) = found.filter(|_| !args.force) {
        refuse_foreign(&args.path, found.content, cluster)?;
    }
    let request = Request { path: &args.path, options, cluster, force: args.force };
    let superblock = match create(env, &request).await {
        Ok(superblock) => superblock,
        Err(failure) => {
            if found.is_none() {
                remove_empty(&args.path);
            }
            return Err(failure);
        }
    };
    let report = Report::new(&args.path, &superblock);
    print(out, &report)?;
    if let Some(what) = &report.warning {
        warn(what);
    }
    Ok(Exit::Ok)
}

/// Removes what was created and did not become a store.
fn remove_empty(path: &Path) {
    if path.metadata().is_ok_and(|data| data.is_file() && data.len() == 0) {
        // The failure that brought us here says more than this one could.
        let _ = fs::remove_file(path);
    }
}

/// Writes the store. What is there is judged once more, under the lock.
async fn create<E: Env>(env: &E, request: &Request<'_>) -> Result<Superblock, Failure> {
    let Request { path, options, cluster, force } = *request;
    let FormatOptions { size, journal_bytes, index_bytes, dedup_channels } = options;
    let size = Some(size);
    let options =
        CreateOptions { cluster, size, journal_bytes, index_bytes, dedup_channels, force };
    Ok(ChunkStore::format(env, path, &options).await?)
}

/// What is there; nothing where nothing is.
async fn look<E: Env>(env: &E, path: &Path) -> Result<Option<Found>, Failure> {
    match device::open(env, path).await {
        Ok(file) => {
            let (geometry, content) = (file.geometry(), probe::look::<E>(&file).await?);
            Ok(Some(Found { geometry, content }))
        }
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Bytes that the store is to have.
fn size(args: &Args, found: Option<Geometry>) -> Result<u64, Failure> {
    let path = args.path.display();
    let asked = args.size.map(|size| size.0);
    let sector = u64::from(SECTOR_BYTES);
    if let Some(asked) = asked.filter(|asked| !asked.is_multiple_of(sector)) {
        return Err(Failure::usage(anyhow!("--size is {asked}, expected a multiple of {sector}")));
    }
    let Some(Geometry { kind, size: there, .. }) = found else {
        // Below /dev a file would take the machine's memory, and the disk was meant.
        let is_device = args.path.starts_with("/dev") && !args.path.starts_with("/dev/shm");
        return match asked {
            _ if is_device => Err(Failure::usage(anyhow!("there is no device {path}"))),
            Some(size) => Ok(size),
            None => Err(Failure::usage(anyhow!("{path} does not exist"))
                .hint("give --size to create a file")),
        };
    };
    match (kind, asked) {
        (FileKind::Regular, None) if there < sector => {
            Err(Failure::usage(anyhow!("{path} is empty")).hint("give --size to extend it"))
        }
        (_, None) => Ok(there / sector * sector),
        (FileKind::Block, Some(asked)) if there < asked => Err(Failure::usage(anyhow!(
            "--size is {asked}, {path} has {there} bytes ({})",
            ByteSize(there)
        ))),
        (FileKind::Regular, Some(asked)) if asked < there => Err(Failure::usage(anyhow!(
            "--size is {asked}, {path} has {there} bytes ({}) already and is not cut",
            ByteSize(there)
        ))),
        (_, Some(asked)) => Ok(asked),
    }
}

/// Refuses to overwrite what somebody may miss. The store's own rules let a store of the same
/// cluster pass; a person who types its name is asked to insist, because its replicas are lost.
fn refuse_foreign(path: &Path, content: Content, cluster: ClusterId) -> Result<(), Failure> {
    let own = matches!(content, Content::EmberStore { retired: false, .. });
    match content.blocks_format(cluster) {
        None if !own => Ok(()),
        foreign => {
            let why = foreign.map_or_else(
                || format!("it holds {content}, the very cluster it is formatted for"),
                |foreign| foreign.to_string(),
            );
            let failure = Failure::problem(anyhow!("{} is not formatted: {why}", path.display()));
            Err(failure.hint("--force formats it all the same; what it holds is lost"))
        }
    }
}

impl Report {
    fn new(path: &Path, superblock: &Superblock) -> Self {
        let Layout { size, ring, data_offset, segment_count, index_bytes_max, .. } =
            superblock.layout;
        let few = || {
            format!(
                "{segment_count} segments are few: each holds blocks of one size, of which there \
                 are {CLASS_COUNT}, so that some chunks may find no room while there is space; \
                 with {SEGMENTS_WANTED} segments every size has one"
            )
        };
        let data_bytes = u64::from(segment_count) * u64::from(engine_store::SEGMENT_BYTES);
        Self {
            path: path.display().to_string(),
            cluster: superblock.cluster.to_string(),
            store: superblock.store.to_string(),
            size,
            journal_bytes: ring.len,
            index_bytes_max,
            metadata_bytes: data_offset,
            data_bytes,
            segments: segment_count,
            dedup_channels: superblock.layout.dedup_channels,
            warning: (segment_count < SEGMENTS_WANTED).then(few),
        }
    }
}

fn print(out: &mut Output, report: &Report) -> Result<(), Failure> {
    if out.json {
        return Ok(out.document(report)?);
    }
    let bytes = |bytes: u64| ByteSize(bytes).into();
    let rows = [
        ("store", report.store.as_str().into()),
        ("cluster", report.cluster.as_str().into()),
        ("path", report.path.as_str().into()),
        ("size", bytes(report.size)),
        ("journal", bytes(report.journal_bytes)),
        ("index", format!("at most {}", ByteSize(report.index_bytes_max)).into()),
        ("channels", u64::from(report.dedup_channels).into()),
        ("metadata", bytes(report.metadata_bytes)),
        ("data", format!("{} in {} segments", ByteSize(report.data_bytes), report.segments).into()),
    ];
    Ok(facts(out, &rows)?)
}
