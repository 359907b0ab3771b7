//! `emberfs config validate`: says what a file comes to, defaults included.

use std::path::PathBuf;

use serde::Serialize;

use super::storage::{ShardSection, StorageSection};
use super::{ClusterSection, Config, HostPort, MetaSection, MgmtSection, ValidateArgs};
use crate::cluster::ClusterFile;
use crate::exit::{Exit, Failure};
use crate::output::{Colour, Output};
use crate::size::ByteSize;
use crate::table::{Cell, facts};

/// What a file says, defaults included.
#[derive(Serialize)]
struct Report {
    path: String,
    cluster: Option<ClusterReport>,
    kv: Option<KvReport>,
    mgmt: Option<MgmtReport>,
    storage: Option<StorageReport>,
    meta: Option<MetaReport>,
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

/// A shard of a storage node.
#[derive(Serialize)]
struct ShardReport {
    /// Nothing: where the scheduler lets it run.
    core: Option<u32>,
    listen: String,
    stores: Vec<String>,
}

#[derive(Serialize)]
struct StorageReport {
    shards: Vec<ShardReport>,
    /// Empty: what it listens on.
    advertise: Vec<String>,
    managers: Vec<String>,
    identity: String,
    /// Empty: none.
    domain: String,
    pool: u64,
    /// Bytes a second; 0: as fast as it goes.
    resync_rate: u64,
    /// Bytes a second; 0: none.
    scrub_rate: u64,
    client_weight: u32,
    resync_weight: u32,
    scrub_weight: u32,
    running_max: u32,
    waiting_max: u32,
    client_waiting_max: u32,
    verify_small_reads: bool,
    overlay: u64,
    full_permille: u32,
    discard: bool,
    always_flush: bool,
}

impl StorageReport {
    fn of(section: StorageSection) -> Self {
        let (store, settings) = (section.store.config(), section.settings());
        let texts = |all: &[HostPort]| all.iter().map(HostPort::to_string).collect::<Vec<_>>();
        let mut managers = texts(&section.managers);
        if managers.is_empty() {
            managers.push(crate::mgmt::listen_default().to_string());
        }
        let shard = |core, listen: HostPort, stores: &[PathBuf]| ShardReport {
            core,
            listen: listen.to_string(),
            stores: stores.iter().map(|path| path.display().to_string()).collect(),
        };
        let shards = match &*section.shards {
            [] => {
                let listen = section.listen.unwrap_or_else(crate::storage::listen_default);
                vec![shard(None, listen, &section.stores)]
            }
            all => {
                let one =
                    |one: &ShardSection| shard(Some(one.core), one.listen.clone(), &one.stores);
                all.iter().map(one).collect()
            }
        };
        Self {
            shards,
            advertise: texts(&section.advertise),
            managers,
            identity: section.identity.display().to_string(),
            domain: section.domain.unwrap_or_default().to_string(),
            pool: section.pool.unwrap_or(crate::storage::POOL_DEFAULT).0,
            resync_rate: settings.resync_bytes_per_second,
            scrub_rate: settings.scrub_bytes_per_second,
            client_weight: settings.admission.client_weight,
            resync_weight: settings.admission.resync_weight,
            scrub_weight: settings.admission.scrub_weight,
            running_max: settings.admission.running_max,
            waiting_max: settings.admission.waiting_max,
            client_waiting_max: settings.admission.client_waiting_max,
            verify_small_reads: store.verify_small_reads,
            overlay: store.overlay_bytes_max as u64,
            full_permille: store.full_permille,
            discard: store.discard,
            always_flush: store.always_flush,
        }
    }

    fn rows(&self, rows: &mut Vec<(&str, Cell)>) {
        let told = |all: &[String], none: &str| {
            if all.is_empty() { none.to_owned() } else { all.join(", ") }
        };
        for ShardReport { core, listen, stores } in &self.shards {
            let core = core.map_or(String::new(), |core| format!(" on core {core}"));
            rows.push(("storage shard", format!("{listen}{core}: {}", stores.join(", ")).into()));
        }
        rows.push(("storage advertise", told(&self.advertise, "what it listens on").into()));
        rows.push(("storage managers", self.managers.join(", ").into()));
        rows.push(("storage identity", self.identity.as_str().into()));
        let domain = if self.domain.is_empty() { "none" } else { &self.domain };
        rows.push(("storage domain", domain.into()));
        rows.push(("storage pool", ByteSize(self.pool).into()));
        let rate = |rate: u64, none: &str| match rate {
            0 => none.to_owned(),
            rate => format!("{} a second", ByteSize(rate)),
        };
        rows.push(("storage resync rate", rate(self.resync_rate, "as fast as it goes").into()));
        rows.push(("storage scrub rate", rate(self.scrub_rate, "no scrubbing").into()));
        rows.push(("storage client weight", self.client_weight.into()));
        rows.push(("storage resync weight", self.resync_weight.into()));
        rows.push(("storage scrub weight", self.scrub_weight.into()));
        rows.push(("storage running max", self.running_max.into()));
        rows.push(("storage waiting max", self.waiting_max.into()));
        rows.push(("storage client waiting max", self.client_waiting_max.into()));
        rows.push(("storage verify small reads", self.verify_small_reads.into()));
        rows.push(("storage overlay", ByteSize(self.overlay).into()));
        rows.push(("storage full at", format!("{} of 1000", self.full_permille).into()));
        rows.push(("storage discard", self.discard.into()));
        rows.push(("storage always flush", self.always_flush.into()));
    }
}

#[derive(Serialize)]
struct MetaReport {
    listen: String,
    /// Empty: what it listens on.
    advertise: Vec<String>,
    kv: String,
    managers: Vec<String>,
    node: u32,
    requests: u32,
    chunk_size: u32,
    stripe: u32,
    /// A second; 0: as fast as it goes. The next two as well.
    remove_files: u32,
    remove_chunks: u32,
    remove_entries: u32,
}

impl MetaReport {
    fn of(section: MetaSection) -> Self {
        let settings = section.settings().unwrap_or_default(); // it was read, so it is right
        let texts = |all: &[HostPort]| all.iter().map(HostPort::to_string).collect::<Vec<_>>();
        let mut managers = texts(&section.managers);
        if managers.is_empty() {
            managers.push(crate::mgmt::listen_default().to_string());
        }
        Self {
            listen: section.listen.unwrap_or_else(crate::meta::listen_default).to_string(),
            advertise: texts(&section.advertise),
            kv: section.kv.unwrap_or_else(crate::kv::listen_default).to_string(),
            managers,
            node: section.node.unwrap_or(crate::meta::NODE_DEFAULT),
            requests: settings.requests,
            chunk_size: settings.root_layout.chunk_size.bytes(),
            stripe: settings.root_layout.stripe,
            remove_files: settings.deletion.small_per_second,
            remove_chunks: settings.deletion.large_chunks_per_second,
            remove_entries: settings.deletion.tree_entries_per_second,
        }
    }

    fn rows(&self, rows: &mut Vec<(&str, Cell)>) {
        let told = match &*self.advertise {
            [] => "what it listens on".to_owned(),
            all => all.join(", "),
        };
        let rate = |rate: u32| match rate {
            0 => "as fast as it goes".to_owned(),
            rate => format!("{rate} a second"),
        };
        rows.push(("meta listen", self.listen.as_str().into()));
        rows.push(("meta advertise", told.into()));
        rows.push(("meta kv", self.kv.as_str().into()));
        rows.push(("meta managers", self.managers.join(", ").into()));
        rows.push(("meta node", self.node.into()));
        rows.push(("meta requests", self.requests.into()));
        rows.push(("meta chunk size", ByteSize(self.chunk_size.into()).into()));
        rows.push(("meta stripe", self.stripe.into()));
        rows.push(("meta remove files", rate(self.remove_files).into()));
        rows.push(("meta remove chunks", rate(self.remove_chunks).into()));
        rows.push(("meta remove entries", rate(self.remove_entries).into()));
    }
}

pub(super) fn validate(args: &ValidateArgs, out: &mut Output) -> Result<Exit, Failure> {
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
    let storage = config.storage.map(StorageReport::of);
    let meta = config.meta.map(MetaReport::of);
    print(out, &Report { path, cluster, kv, mgmt, storage, meta })?;
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
    if let Some(storage) = &report.storage {
        storage.rows(&mut rows);
    }
    if let Some(meta) = &report.meta {
        meta.rows(&mut rows);
    }
    rows.push(("result", Cell::coloured("valid", Colour::Green)));
    Ok(facts(out, &rows)?)
}
