//! `[meta]`: a metadata service.

use engine_types::ChunkSize;
use engine_types::limits::CHUNK_BYTES_MAX;
use meta_metad::service::REQUESTS_MAX;
use meta_metad::{DeletionSettings, Settings};
use meta_schema::limits::STRIPE_MAX;

use super::reader::Section;
use super::{HostPort, check_addresses};
use crate::size::ByteSize;

#[cfg(test)]
mod tests;

/// Smallest chunks of files.
const CHUNK_MIN: ByteSize = ByteSize(4 << 10);
/// Largest.
const CHUNK_MAX: ByteSize = ByteSize(CHUNK_BYTES_MAX as u64);

/// The section; what is missing has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetaSection {
    /// Where it listens.
    pub(crate) listen: Option<HostPort>,
    /// What others are told instead; empty: what it listens on.
    pub(crate) advertise: Vec<HostPort>,
    /// Where the key-value store is served.
    pub(crate) kv: Option<HostPort>,
    /// Some or all managers; empty: the default.
    pub(crate) managers: Vec<HostPort>,
    /// Its number, unique among metadata services.
    pub(crate) node: Option<u32>,
    /// Requests that are worked on at the same time.
    pub(crate) requests: Option<u32>,
    /// Chunks of files, if this service makes the file system.
    pub(crate) chunk_size: Option<ByteSize>,
    /// Chains of a file, if this service makes the file system.
    pub(crate) stripe: Option<u32>,
    /// Small files removed a second; 0: as fast as it goes.
    pub(crate) remove_files: Option<u32>,
    /// Chunks of large files removed a second; 0: as fast as it goes.
    pub(crate) remove_chunks: Option<u32>,
    /// Entries of trees removed a second; 0: as fast as it goes.
    pub(crate) remove_entries: Option<u32>,
}

impl MetaSection {
    pub(super) const KEYS: &[&str] = &[
        "listen",
        "advertise",
        "kv",
        "managers",
        "node",
        "requests",
        "chunk_size",
        "stripe",
        "remove_files",
        "remove_chunks",
        "remove_entries",
    ];

    pub(super) fn read(section: &Section<'_>) -> Self {
        let listen: Option<HostPort> = section.get("listen");
        let advertise: Option<Vec<HostPort>> = section.list("advertise");
        let told = advertise.as_deref().unwrap_or_default();
        // Nothing is said of addresses together while one of them is wrong by itself.
        if let Some(listen) = &listen
            && let Err((key, why)) = check_addresses(listen, told)
        {
            section.refuse(key, &why);
        }
        let read = Self {
            listen,
            advertise: advertise.unwrap_or_default(),
            kv: section.get("kv"),
            managers: section.list("managers").unwrap_or_default(),
            node: section.get("node"),
            requests: section.get("requests"),
            chunk_size: section.get("chunk_size"),
            stripe: section.get("stripe"),
            remove_files: section.get("remove_files"),
            remove_chunks: section.get("remove_chunks"),
            remove_entries: section.get("remove_entries"),
        };
        if let Err((key, why)) = read.settings() {
            section.refuse(key, &why);
        }
        read
    }

    /// What the service is told; the key that is wrong, and why.
    pub(crate) fn settings(&self) -> Result<Settings, (&'static str, String)> {
        let mut settings = Settings::default();
        let layout = &mut settings.root_layout;
        if let Some(size) = self.chunk_size {
            let chunk = u32::try_from(size.0).ok().and_then(ChunkSize::new);
            layout.chunk_size = chunk.ok_or_else(|| {
                let why = format!(
                    "found {size}, expected a power of two from {CHUNK_MIN} to {CHUNK_MAX}"
                );
                ("chunk_size", why)
            })?;
        }
        let range = |key, found: u32, max: u32| {
            let fits = (1..=max).contains(&found);
            if fits { Ok(found) } else { Err((key, format!("found {found}, expected 1 to {max}"))) }
        };
        layout.stripe = range("stripe", self.stripe.unwrap_or(layout.stripe), STRIPE_MAX)?;
        let requests = self.requests.unwrap_or(settings.requests);
        settings.requests = range("requests", requests, REQUESTS_MAX)?;
        let usual = DeletionSettings::default();
        settings.deletion = DeletionSettings {
            small_per_second: self.remove_files.unwrap_or(usual.small_per_second),
            large_chunks_per_second: self.remove_chunks.unwrap_or(usual.large_chunks_per_second),
            tree_entries_per_second: self.remove_entries.unwrap_or(usual.tree_entries_per_second),
            ..usual
        };
        Ok(settings)
    }
}
