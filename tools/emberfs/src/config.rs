//! Configuration files: what a process is told that is not on its command line.
//!
//! TOML with one section per role, plus `[cluster]`. Each section is a struct that reads itself;
//! paths are relative to the file. Flags override a file where a command has both. Nothing is
//! guessed: an unknown key, a second one or a wrong type is refused, all of them in one answer.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Subcommand;

use crate::cluster::ClusterFile;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::run;
use crate::size::ByteSize;
pub(crate) use label::Label;
pub(crate) use meta::MetaSection;
pub(crate) use mgmt::{MgmtSection, check_addresses};
use reader::{ConfigError, Reader, Section};
pub(crate) use storage::{ShardSection, StorageSection, check_pool, check_stores};
pub(crate) use value::{HostPort, duration};

mod label;
mod meta;
mod mgmt;
pub(crate) mod reader;
mod report;
mod storage;
mod value;

/// Most bytes of a file: a person wrote it.
const FILE_BYTES_MAX: u64 = 1 << 20;

const EXAMPLES: &str = "\
Examples:
  emberfs config validate /etc/emberfs/kv.toml
  emberfs config validate kv.toml --json

A file for `emberfs kv serve`, `emberfs mgmt serve`, `emberfs storage serve` and
`emberfs meta serve`, with --config:
  [cluster]
  file = \"cluster.toml\"          # made by `emberfs cluster create`; relative to this file

  [kv]
  dir = \"/var/lib/emberfs/kv\"    # made by `emberfs kv create`
  listen = \"127.0.0.1:7100\"      # host:port; this is the default
  cache = \"256MiB\"               # memory for pages; this is the default
  node = 1                       # its number in the cluster; this is the default

  [mgmt]                         # every key has a default, which is shown here
  listen = \"127.0.0.1:7200\"      # host:port
  advertise = [\"127.0.0.1:7200\"] # what others are told instead, at most 8; needed for 0.0.0.0
  kv = \"127.0.0.1:7100\"          # where the key-value store is served
  node = 1                       # its number; each manager of a cluster has another one
  name = \"emberfs\"               # of the cluster, if this manager is its very first

  [storage]                      # stores and identity have no default
  stores = [\"/dev/nvme0n1\"]      # made by `emberfs store format`; paths relative to this file
  identity = \"/var/lib/emberfs/storage.id\" # keeps who the node is; made at the first start
  listen = \"127.0.0.1:7300\"      # host:port
  advertise = [\"127.0.0.1:7300\"] # what others are told instead, at most 8; needed for 0.0.0.0
  managers = [\"127.0.0.1:7200\"]  # some or all
  domain = \"rack-7\"              # what fails together; by default nothing does
  pool = \"128MiB\"                # memory for I/O of each shard
  resync_rate = \"512MiB\"         # a second, to replicas that catch up; \"0\": as fast as they go
  scrub_rate = \"32MiB\"           # a second and store; \"0\": nothing is verified
  client_weight = 8              # shares of a busy shard: of what clients ask,
  resync_weight = 2              # of replicas that catch up,
  scrub_weight = 1               # and of verifying
  running_max = 1024             # requests that run at once; one of a MiB counts as 17
  waiting_max = 131072           # requests that wait for their turn; more are told \"busy\"
  client_waiting_max = 10240     # of one client
  verify_small_reads = false     # true: whole checksum blocks are read for small reads
  overlay = \"256MiB\"             # memory of each store for overwrites, at most a quarter of pool
  full_permille = 980            # where writes that need space are refused
  discard = true                 # tell devices which segments are empty
  always_flush = false           # true: also where a device declares no cache

  [meta]                         # every key has a default, which is shown here
  listen = \"127.0.0.1:7400\"      # host:port
  advertise = [\"127.0.0.1:7400\"] # what others are told instead, at most 8; needed for 0.0.0.0
  kv = \"127.0.0.1:7100\"          # where the key-value store is served
  managers = [\"127.0.0.1:7200\"]  # some or all
  node = 1                       # its number; each metadata service has another one
  requests = 1024                # that are worked on at the same time
  chunk_size = \"4MiB\"            # of files, if this service makes the file system
  stripe = 16                    # chains of a file, likewise; at most those of the table
  remove_files = 2000            # small ones a second, of what was deleted; 0: as fast as it goes
  remove_chunks = 2000           # of large files, likewise
  remove_entries = 4000          # of trees, likewise

Several shards, each on a core of its own, instead of stores in [storage]; they listen at one port
after the other, from that of listen on, unless one has a listen of its own:
  shards = [
    { core = 2, stores = [\"/dev/nvme0n1\", \"/dev/nvme1n1\"] },
    { core = 3, stores = [\"/dev/nvme2n1\"] },
  ]";

/// What to do with a configuration.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a configuration file, and the cluster file it names.
    Validate(ValidateArgs),
}

/// Arguments of `validate`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct ValidateArgs {
    /// The configuration file.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print what it says as JSON.
    #[arg(long)]
    json: bool,
}

/// A configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) cluster: Option<ClusterSection>,
    pub(crate) kv: Option<KvSection>,
    pub(crate) mgmt: Option<MgmtSection>,
    pub(crate) storage: Option<StorageSection>,
    pub(crate) meta: Option<MetaSection>,
}

/// `[cluster]`: which cluster the process belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterSection {
    /// The cluster file.
    pub(crate) file: PathBuf,
}

/// `[kv]`: the embedded key-value store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KvSection {
    /// Directory of the store.
    pub(crate) dir: PathBuf,
    /// Where it listens.
    pub(crate) listen: Option<HostPort>,
    /// Memory for pages.
    pub(crate) cache: Option<ByteSize>,
    /// Its number in the cluster.
    pub(crate) node: Option<u32>,
}

impl ClusterSection {
    const KEYS: &[&str] = &["file"];

    fn read(section: &Section<'_>, base: &Path) -> Option<Self> {
        let file = section.need::<PathBuf>("file")?;
        Some(Self { file: base.join(file) })
    }
}

impl KvSection {
    const KEYS: &[&str] = &["dir", "listen", "cache", "node"];

    fn read(section: &Section<'_>, base: &Path) -> Option<Self> {
        let dir = section.need::<PathBuf>("dir");
        let listen = section.get("listen");
        let cache = section.get("cache");
        let node = section.get("node");
        Some(Self { dir: base.join(dir?), listen, cache, node })
    }
}

impl Config {
    const SECTIONS: &[&str] = &["cluster", "kv", "mgmt", "storage", "meta"];

    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let hint = "emberfs config validate --help shows a whole file";
        let text = read_text(path).map_err(|failure| failure.hint(hint))?;
        Self::parse(path, &text).map_err(|error| match ClusterFile::is_one(path, &text) {
            true => Failure::usage(anyhow!("{} is a cluster file", path.display()))
                .hint("a configuration file names it: file = \"..\" in its section [cluster]"),
            false => Failure::usage(error),
        })
    }

    /// The cluster file that it names; `path` is where it was read.
    pub(crate) fn cluster_file(&self, path: &Path) -> Result<PathBuf, Failure> {
        let file = self.cluster.as_ref().map(|section| section.file.clone());
        file.ok_or_else(|| no_section(path, "cluster"))
    }

    /// Reads `text`, the content of `path`.
    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let base = path.parent().unwrap_or(Path::new(""));
        let reader = Reader::new(path, text)?;
        let root = reader.root(Self::SECTIONS);
        let cluster = root.section("cluster", ClusterSection::KEYS);
        let cluster = cluster.and_then(|section| ClusterSection::read(&section, base));
        let kv = root.section("kv", KvSection::KEYS);
        let kv = kv.and_then(|section| KvSection::read(&section, base));
        let mgmt = root.section("mgmt", MgmtSection::KEYS);
        let mgmt = mgmt.map(|section| MgmtSection::read(&section));
        let storage = root.section("storage", StorageSection::KEYS);
        let storage = storage.and_then(|section| StorageSection::read(&section, base));
        let meta = root.section("meta", MetaSection::KEYS);
        let meta = meta.map(|section| MetaSection::read(&section));
        reader.finish(Self { cluster, kv, mgmt, storage, meta })
    }
}

/// Where a role that serves is told what it needs.
pub(crate) struct Needs<'a> {
    /// Its configuration file.
    pub(crate) file: Option<&'a Path>,
    /// The flags that say the same, for a hint.
    pub(crate) flags: &'static str,
}

impl Needs<'_> {
    /// The failure when neither section `name` nor `flag` is there.
    pub(crate) fn missing(&self, name: &str, flag: &str) -> Failure {
        let Some(file) = self.file else {
            let flags = self.flags;
            return Failure::usage(anyhow!("{flag} is missing"))
                .hint(format!("give {flags}, or --config; --help shows examples"));
        };
        let failure = no_section(file, name);
        Failure { error: anyhow!("{}, and there is no {flag}", failure.error), ..failure }
    }
}

/// The failure of a command that needs section `name` of a file.
pub(crate) fn no_section(file: &Path, name: &str) -> Failure {
    Failure::usage(anyhow!("{} has no section [{name}]", file.display()))
        .hint("emberfs config validate --help shows a whole file")
}

/// The text of a file that a person wrote.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let data = fs::metadata(path).with_context(|| format!("cannot read {shown}"));
    let data = data.map_err(Failure::environment)?;
    if !data.is_file() || FILE_BYTES_MAX < data.len() {
        let why = anyhow!("{shown} is no text file of at most {FILE_BYTES_MAX} bytes");
        return Err(Failure::usage(why));
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"));
    text.map_err(Failure::environment)
}

/// Runs a verb.
pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let Verb::Validate(args) = &args.verb;
    run::told(args.json, report::validate(args, &mut Output::standard(args.json)))
}

#[cfg(test)]
mod tests;
