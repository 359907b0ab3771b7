//! What an operator may set about a store, with the reasons for the defaults.

use core::time::Duration;

use engine_store::format::limits::IMAGES_PER_PUT_MAX;
use engine_types::{ClusterId, SECTOR_BYTES};

use crate::error::StoreError;

/// Least memory for images: an update with the most images that one may have is admitted as soon as
/// all others are home.
const OVERLAY_BYTES_MIN: u64 = IMAGES_PER_PUT_MAX as u64 * SECTOR_BYTES as u64;

/// Settings of one open store. Sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Verify reads that cover a checksum block only in part: each then fetches the whole block.
    /// Off: a 4 KiB read of a 64 KiB checksum block costs 4 KiB; the scrubber covers the rest.
    pub verify_small_reads: bool,
    /// Memory for images that are not home yet, at most a quarter of the core's pool: 256 MiB are
    /// 65,536 overwrites, two seconds of a device that writes 30,000 sectors a second in place.
    pub overlay_bytes_max: usize,
    /// Image writes in flight: enough to keep a device busy beside reads.
    pub apply_inflight_max: usize,
    /// Images that wait before applying begins, so that overwrites of one sector meet in memory.
    pub apply_backlog: usize,
    /// Longest time that a commit alone waits for other entries to share its group.
    pub commit_delay: Duration,
    /// Longest time that an update waits for what only others can end: decisions about pending
    /// versions that hold the room for images, reads of blocks that were dropped. A chain decides
    /// within milliseconds; while one does not, updates are better refused than kept in memory.
    pub room_wait: Duration,
    /// Discard segments that became empty: the device learns that their bytes are nobody's, a file
    /// gives its space back to the host. Off where discards cost more than they bring.
    pub discard: bool,
    /// Share of the data area, in 1/1000, at which updates that need space are refused.
    pub full_permille: u32,
    /// An operation of the device that takes longer counts as slow; the log is told, also while it
    /// has not ended, but not of every one.
    pub slow_io: Duration,
    /// Index memory at most; nothing: what the store was formatted with.
    pub index_bytes_max: Option<u64>,
    /// Channels remembered of one session and target (R14).
    pub channels_per_session_max: u32,
    /// Flush also on a device that declares no volatile cache.
    pub always_flush: bool,
    /// Open for reading alone: nothing is written, not even the mount generation.
    pub read_only: bool,
    /// The caller holds the exclusive lock of the file or device; otherwise opening takes it, also
    /// for reading alone.
    pub locked_by_caller: bool,
    /// The cluster that it must belong to (W10); nothing: any, for who only looks.
    pub cluster: Option<ClusterId>,
}

impl StoreConfig {
    /// Memory for images, with a pool of so many bytes.
    pub(crate) fn overlay_bytes(&self, pool_bytes: usize) -> usize {
        self.overlay_bytes_max.min(pool_bytes / 4)
    }

    /// Refuses settings with which a store would wait for ever.
    pub(crate) fn check(&self, pool_bytes: usize) -> Result<(), StoreError> {
        let overlay = self.overlay_bytes(pool_bytes) as u64;
        let rows: [(&'static str, u64, u64, u64); 4] = [
            ("memory for images", overlay, OVERLAY_BYTES_MIN, u64::MAX),
            ("image writes in flight", self.apply_inflight_max as u64, 1, u64::MAX),
            ("channels per session", self.channels_per_session_max.into(), 1, u64::MAX),
            ("full share", self.full_permille.into(), 1, 1000),
        ];
        for (name, found, min, max) in rows {
            if found < min || max < found {
                return Err(StoreError::Config { name, found, min, max });
            }
        }
        Ok(())
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            verify_small_reads: false,
            overlay_bytes_max: 256 << 20,
            apply_inflight_max: 32,
            apply_backlog: 1024,
            commit_delay: Duration::from_millis(20),
            room_wait: Duration::from_secs(5),
            discard: true,
            full_permille: 980,
            slow_io: Duration::from_secs(1),
            index_bytes_max: None,
            channels_per_session_max: 64,
            always_flush: false,
            read_only: false,
            locked_by_caller: false,
            cluster: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_a_store_wait_for_ever_are_refused() {
        let pool = 64 << 20;
        let good = StoreConfig::default;
        assert!(good().check(pool).is_ok());
        let least = StoreConfig { overlay_bytes_max: 512 << 10, apply_inflight_max: 1, ..good() };
        assert!(least.check(2 << 20).is_ok());
        for (config, pool, expected) in [
            (good(), (2 << 20) - 4, "memory for images is 524287, expected at least 524288"),
            (StoreConfig { overlay_bytes_max: 520_192, ..good() }, pool, "images is 520192"),
            (StoreConfig { apply_inflight_max: 0, ..good() }, pool, "image writes in flight is 0"),
            (StoreConfig { channels_per_session_max: 0, ..good() }, pool, "channels per session"),
            (StoreConfig { full_permille: 1001, ..good() }, pool, "full share is 1001"),
            (StoreConfig { full_permille: 0, ..good() }, pool, "full share is 0"),
        ] {
            let found = config.check(pool).unwrap_err().to_string();
            assert!(found.contains(expected), "{found}, expected {expected}");
        }
    }
}
