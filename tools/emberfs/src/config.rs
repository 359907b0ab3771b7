//! Configuration files: what a process is told that is not on its command line.
//!
//! TOML with one section per role, plus `[cluster]`. Each section is a struct that reads itself;
//! paths are relative to the file. Flags override a file where a command has both. Nothing is
//! guessed: an unknown key, a second one or a wrong type is refused, all of them in one answer.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use serde::Serialize;

use crate::cluster::ClusterFile;
use crate::exit::{Exit, Failure};
use crate::output::{Colour, Output};
use crate::run;
use crate::size::ByteSize;
use crate::table::{Cell, facts};
pub(crate) use mgmt::{ClusterName, MgmtSection, check_addresses};
use reader::{ConfigError, Reader, Section};
pub(crate) use value::{HostPort, duration};

mod mgmt;
pub(crate) mod reader;
mod value;

/// Most bytes of a file: a person wrote it.
const FILE_BYTES_MAX: u64 = 1 << 20;

const EXAMPLES: &str = "\
Examples:
  emberfs config validate /etc/emberfs/kv.toml
  emberfs config validate kv.toml --json

A file for `emberfs kv serve` and `emberfs mgmt serve`, with --config:
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
  name = \"emberfs\"               # of the cluster, if this manager is its very first";

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
    const SECTIONS: &[&str] = &["cluster", "kv", "mgmt"];

    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = read_text(path)?;
        Self::parse(path, &text).map_err(Failure::usage)
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
        reader.finish(Self { cluster, kv, mgmt })
    }
}

/// The text of a file that a person wrote.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let data = fs::metadata(path).with_context(|| format!("cannot read {shown}"));
    let data = data.map_err(Failure::environment)?;
    if !data.is_file() || FILE_BYTES_MAX < data.len() {
        let why = anyhow::anyhow!("{shown} is no text file of at most {FILE_BYTES_MAX} bytes");
        return Err(Failure::usage(why));
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"));
    text.map_err(Failure::environment)
}

/// Runs a verb.
pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let Verb::Validate(args) = &args.verb;
    run::told(args.json, validate(args, &mut Output::standard(args.json)))
}

/// What a file says, defaults included.
#[derive(Serialize)]
struct Report {
    path: String,
    cluster: Option<ClusterReport>,
    kv: Option<KvReport>,
    mgmt: Option<MgmtReport>,
}

#[derive(Serialize)]
struct ClusterReport {
    file: String,
    id: String,
}

#[derive(Serialize)]
struct KvReport {
    dir: String,
    listen: String,
    cache: u64,
    node: u32,
}

#[derive(Serialize)]
struct MgmtReport {
    listen: String,
    /// Empty: what it listens on.
    advertise: Vec<String>,
    kv: String,
    node: u32,
    name: String,
}

impl MgmtReport {
    fn of(section: MgmtSection) -> Self {
        let MgmtSection { listen, advertise, kv, node, name } = section;
        Self {
            listen: listen.unwrap_or_else(crate::mgmt::listen_default).to_string(),
            advertise: advertise.iter().map(HostPort::to_string).collect(),
            kv: kv.unwrap_or_else(crate::kv::listen_default).to_string(),
            node: node.unwrap_or(crate::mgmt::NODE_DEFAULT),
            name: name.unwrap_or_default().to_string(),
        }
    }
}

fn validate(args: &ValidateArgs, out: &mut Output) -> Result<Exit, Failure> {
    let config = Config::read(&args.file)?;
    let path = args.file.display().to_string();
    let cluster = match config.cluster {
        None => None,
        Some(ClusterSection { file }) => {
            let id = ClusterFile::read(&file)?.id.to_string();
            Some(ClusterReport { file: file.display().to_string(), id })
        }
    };
    let kv = config.kv.map(|kv| KvReport {
        dir: kv.dir.display().to_string(),
        listen: kv.listen.unwrap_or_else(crate::kv::listen_default).to_string(),
        cache: kv.cache.unwrap_or(crate::kv::CACHE_DEFAULT).0,
        node: kv.node.unwrap_or(crate::kv::NODE_DEFAULT),
    });
    let mgmt = config.mgmt.map(MgmtReport::of);
    print(out, &Report { path, cluster, kv, mgmt })?;
    out.flush()?;
    Ok(Exit::Ok)
}

fn print(out: &mut Output, report: &Report) -> Result<(), Failure> {
    if out.json {
        return Ok(out.document(report)?);
    }
    let mut rows: Vec<(&str, Cell)> = vec![("file", report.path.as_str().into())];
    if let Some(cluster) = &report.cluster {
        rows.push(("cluster file", cluster.file.as_str().into()));
        rows.push(("cluster id", cluster.id.as_str().into()));
    }
    if let Some(kv) = &report.kv {
        rows.push(("kv dir", kv.dir.as_str().into()));
        rows.push(("kv listen", kv.listen.as_str().into()));
        rows.push(("kv cache", ByteSize(kv.cache).into()));
        rows.push(("kv node", kv.node.into()));
    }
    if let Some(mgmt) = &report.mgmt {
        let told = if mgmt.advertise.is_empty() {
            "what it listens on".to_owned()
        } else {
            mgmt.advertise.join(", ")
        };
        rows.push(("mgmt listen", mgmt.listen.as_str().into()));
        rows.push(("mgmt advertise", told.into()));
        rows.push(("mgmt kv", mgmt.kv.as_str().into()));
        rows.push(("mgmt node", mgmt.node.into()));
        rows.push(("mgmt name", mgmt.name.as_str().into()));
    }
    rows.push(("result", Cell::coloured("valid", Colour::Green)));
    Ok(facts(out, &rows)?)
}

#[cfg(test)]
mod tests;
