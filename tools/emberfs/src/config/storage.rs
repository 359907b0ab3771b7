//! `[storage]`: a storage node.
//!
//! A node has one shard per core. One shard alone is written without its list: `listen` and
//! `stores` of the section are its own, and it runs where the scheduler lets it.

use core::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use engine_shard::StoreConfig;
use engine_storaged::{AdmissionSettings, Settings};

use super::reader::Section;
use super::{HostPort, Label, check_addresses};
use crate::size::ByteSize;

#[cfg(test)]
mod tests;

/// Least memory of a shard: one bulk payload of 4 MiB that comes, one that goes, and what stores
/// keep beside them.
pub(crate) const POOL_MIN: ByteSize = ByteSize(16 << 20);
/// Most memory of a shard: nobody has more, so it is a unit that was mistaken.
const POOL_MAX: ByteSize = ByteSize(1 << 40);
/// Least memory for images: the most that one update may have, as `engine-shard` demands it.
const OVERLAY_MIN: ByteSize = ByteSize(512 << 10);
/// Cores have numbers of 16 bits in what shards tell each other.
const CORE_MAX: u32 = u16::MAX as u32;

/// A shard that has a core of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShardSection {
    /// The CPU that it is pinned to.
    pub(crate) core: u32,
    /// Where it listens; by default as many ports behind that of the section as there are shards
    /// before it, so that each comes back where it was.
    pub(crate) listen: HostPort,
    /// Its stores.
    pub(crate) stores: Vec<PathBuf>,
}

/// The section; what is missing has its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StorageSection {
    /// Where the only shard listens; nothing in a section with `shards`.
    pub(crate) listen: Option<HostPort>,
    /// Stores of the only shard.
    pub(crate) stores: Vec<PathBuf>,
    /// Shards with cores of their own; empty: one shard alone.
    pub(crate) shards: Vec<ShardSection>,
    /// What others are told instead of where the first shard listens.
    pub(crate) advertise: Vec<HostPort>,
    /// Some or all managers; empty: the default.
    pub(crate) managers: Vec<HostPort>,
    /// The file that keeps who the node is.
    pub(crate) identity: PathBuf,
    /// Its failure domain: what fails together has the same one.
    pub(crate) domain: Option<Label>,
    /// Memory for I/O of each shard.
    pub(crate) pool: Option<ByteSize>,
    /// Bytes a second that a shard ships to replicas that catch up; 0: as fast as they go.
    pub(crate) resync_rate: Option<ByteSize>,
    /// Bytes a second that are verified of each store; 0: none.
    pub(crate) scrub_rate: Option<ByteSize>,
    /// Turns between clients, resync and scrub.
    pub(crate) admission: AdmissionSettings,
    /// Settings of every store.
    pub(crate) store: StoreSection,
}

/// Settings of every store; what is missing has its default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoreSection {
    pub(crate) verify_small_reads: Option<bool>,
    pub(crate) overlay: Option<ByteSize>,
    pub(crate) full_permille: Option<u32>,
    pub(crate) discard: Option<bool>,
    pub(crate) always_flush: Option<bool>,
}

impl StoreSection {
    fn read(section: &Section<'_>) -> Self {
        let overlay = section.get("overlay");
        if overlay.is_some_and(|found| found < OVERLAY_MIN || POOL_MAX < found) {
            section.refuse("overlay", &format!("expected {OVERLAY_MIN} to {POOL_MAX}"));
        }
        let full_permille = section.get("full_permille");
        if let Some(found) = full_permille.filter(|found| !(1..=1000).contains(found)) {
            section.refuse("full_permille", &format!("found {found}, expected 1 to 1000"));
        }
        Self {
            verify_small_reads: section.get("verify_small_reads"),
            overlay,
            full_permille,
            discard: section.get("discard"),
            always_flush: section.get("always_flush"),
        }
    }

    /// What it comes to.
    pub(crate) fn config(&self) -> StoreConfig {
        let mut config = StoreConfig::default();
        let overlay = self.overlay.and_then(|size| usize::try_from(size.0).ok());
        config.overlay_bytes_max = overlay.unwrap_or(config.overlay_bytes_max);
        config.verify_small_reads = self.verify_small_reads.unwrap_or(config.verify_small_reads);
        config.full_permille = self.full_permille.unwrap_or(config.full_permille);
        config.discard = self.discard.unwrap_or(config.discard);
        config.always_flush = self.always_flush.unwrap_or(config.always_flush);
        config
    }
}

impl ShardSection {
    const KEYS: &[&str] = &["core", "listen", "stores"];

    /// `usual` is where it listens when nobody says.
    fn read(section: &Section<'_>, base: &Path, usual: Option<HostPort>) -> Option<Self> {
        let core = section.need::<u32>("core");
        if let Some(found) = core.filter(|core| CORE_MAX < *core) {
            section.refuse("core", &format!("found {found}, at most {CORE_MAX}"));
        }
        let listen = section.get("listen").or(usual);
        if listen.is_none() && !section.has("listen") {
            section.refuse("listen", "there is no port so far behind that of the first shard");
        }
        let stores = stores(section, base, "stores");
        Some(Self { core: core?, listen: listen?, stores: stores? })
    }
}

impl StorageSection {
    pub(super) const KEYS: &[&str] = &[
        "listen",
        "stores",
        "shards",
        "advertise",
        "managers",
        "identity",
        "domain",
        "pool",
        "resync_rate",
        "scrub_rate",
        "client_weight",
        "resync_weight",
        "scrub_weight",
        "running_max",
        "waiting_max",
        "client_waiting_max",
        "verify_small_reads",
        "overlay",
        "full_permille",
        "discard",
        "always_flush",
    ];

    pub(super) fn read(section: &Section<'_>, base: &Path) -> Option<Self> {
        let listen: Option<HostPort> = section.get("listen");
        let (own, shards) = places(section, base);
        let listen = listen.filter(|_| shards.is_empty());
        let advertise: Vec<HostPort> = section.list("advertise").unwrap_or_default();
        let first = shards.first().map(|shard| &shard.listen).or(listen.as_ref());
        if let Some(first) = first
            && let Err((key, why)) = check_addresses(first, &advertise)
        {
            let key = if section.has("shards") && key == "listen" { "shards" } else { key };
            section.refuse(key, &why);
        }
        let managers: Vec<HostPort> = section.list("managers").unwrap_or_default();
        if managers.iter().any(|manager| manager.is_unspecified() || manager.port() == 0) {
            section.refuse("managers", "nobody can connect to one of them");
        }
        let identity = section.need::<PathBuf>("identity");
        let domain = section.get("domain");
        let pool = section.get("pool");
        if let Some(Err(why)) = pool.map(check_pool) {
            section.refuse("pool", &why);
        }
        let resync_rate = section.get("resync_rate");
        let scrub_rate = section.get("scrub_rate");
        let admission = admission(section);
        let store = StoreSection::read(section);
        Some(Self {
            listen,
            stores: own?,
            shards,
            advertise,
            managers,
            identity: base.join(identity?),
            domain,
            pool,
            resync_rate,
            scrub_rate,
            admission,
            store,
        })
    }

    /// What is said of the work behind clients' backs.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        let rate = |rate: Option<ByteSize>, default| rate.map_or(default, |rate| rate.0);
        settings.resync_bytes_per_second = rate(self.resync_rate, settings.resync_bytes_per_second);
        settings.scrub_bytes_per_second = rate(self.scrub_rate, settings.scrub_bytes_per_second);
        settings.admission = self.admission;
        settings
    }
}

/// How the line before the work of a shard is; what is wrong is told, and has its default.
fn admission(section: &Section<'_>) -> AdmissionSettings {
    let number = |key: &str, range: RangeInclusive<u32>, usual: u32| {
        let found = section.get(key).unwrap_or(usual);
        if range.contains(&found) {
            return found;
        }
        let (least, most) = range.into_inner();
        section.refuse(key, &format!("found {found}, expected {least} to {most}"));
        usual
    };
    let usual = AdmissionSettings::default();
    let (weights, waiting) = (AdmissionSettings::WEIGHTS, AdmissionSettings::WAITING);
    let settings = AdmissionSettings {
        client_weight: number("client_weight", weights.clone(), usual.client_weight),
        resync_weight: number("resync_weight", weights.clone(), usual.resync_weight),
        scrub_weight: number("scrub_weight", weights, usual.scrub_weight),
        running_max: number("running_max", AdmissionSettings::RUNNING, usual.running_max),
        waiting_max: number("waiting_max", waiting.clone(), usual.waiting_max),
        client_waiting_max: number("client_waiting_max", waiting, usual.client_waiting_max),
    };
    if settings.waiting_max < settings.client_waiting_max {
        let AdmissionSettings { waiting_max: all, client_waiting_max: one, .. } = settings;
        // Whichever was written is the one to look at.
        let key = if section.has("waiting_max") { "waiting_max" } else { "client_waiting_max" };
        section.refuse(key, &format!("one client may wait with {one}, all together with {all}"));
    }
    settings
}

/// Whether a shard can work with so much memory.
pub(crate) fn check_pool(pool: ByteSize) -> Result<(), String> {
    if (POOL_MIN..=POOL_MAX).contains(&pool) {
        return Ok(());
    }
    Err(format!("found {pool}, expected {POOL_MIN} to {POOL_MAX}"))
}

/// Stores of the only shard, or all shards: one of both is written.
fn places(section: &Section<'_>, base: &Path) -> (Option<Vec<PathBuf>>, Vec<ShardSection>) {
    if !section.has("shards") {
        let own = stores(section, base, "stores");
        if let Some(Err(why)) = own.as_deref().map(check_stores) {
            section.refuse("stores", &why);
        }
        return (own, Vec::new());
    }
    let tables = section.tables("shards", ShardSection::KEYS);
    let count = tables.len();
    let all_listen = 0 < count && tables.iter().all(|table| table.has("listen"));
    for (key, own) in [("listen", all_listen), ("stores", true)] {
        if own && section.has(key) {
            section.refuse(key, "each of `shards` has its own; write one or the other");
        }
    }
    // Those that say nothing listen at one port after the other, from that of the section on.
    let first = section.get("listen").unwrap_or_else(crate::storage::listen_default);
    let each = tables.iter().enumerate();
    let read = each.map(|(index, table)| ShardSection::read(table, base, first.further(index)));
    let shards: Vec<ShardSection> = read.flatten().collect();
    // Of what is wrong by itself nothing more is said.
    if shards.len() == count
        && let Err(why) = check_shards(&shards)
    {
        section.refuse("shards", &why);
    }
    (Some(Vec::new()), shards)
}

/// Paths of stores, at least one.
fn stores(section: &Section<'_>, base: &Path, key: &str) -> Option<Vec<PathBuf>> {
    if !section.has(key) {
        section.refuse(key, "it is missing, expected paths of formatted stores in quotes");
        return None;
    }
    let found: Vec<PathBuf> = section.list(key)?;
    if found.is_empty() {
        section.refuse(key, "there is none, expected paths of formatted stores");
    }
    Some(found.iter().map(|path| base.join(path)).collect())
}

/// No path twice: a store has one owner.
pub(crate) fn check_stores(stores: &[PathBuf]) -> Result<(), String> {
    for (at, path) in stores.iter().enumerate() {
        if stores[..at].contains(path) {
            return Err(format!("{} is there twice", path.display()));
        }
    }
    Ok(())
}

/// Whether shards can stand beside each other: cores and addresses differ, and the machine is one.
fn check_shards(shards: &[ShardSection]) -> Result<(), String> {
    let Some(first) = shards.first() else { return Err("there is none".to_owned()) };
    for (at, shard) in shards.iter().enumerate() {
        let before = &shards[..at];
        if before.iter().any(|other| other.core == shard.core) {
            return Err(format!("core {} has two of them", shard.core));
        }
        let same = |other: &ShardSection| other.listen == shard.listen && shard.listen.port() != 0;
        if before.iter().any(same) {
            return Err(format!("two of them listen on {}", shard.listen));
        }
        if shard.listen.host() != first.listen.host() {
            let (first, other) = (&first.listen, &shard.listen);
            return Err(format!("all are at one host, found {first} and {other}"));
        }
    }
    let all: Vec<PathBuf> = shards.iter().flat_map(|shard| shard.stores.clone()).collect();
    check_stores(&all)
}
