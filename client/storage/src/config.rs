//! What a process may set.

use core::time::Duration;
use std::ops::Range;

use engine_types::limits::PAYLOAD_BYTES_MAX;

/// Channels of one session per chain; a replica refuses more (R14).
pub const CHANNELS_MAX: u32 = 64;

/// Settings of a [`Storage`](crate::Storage). Values are the process's own, not the cluster's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageConfig {
    /// Time for an operation, unless its caller says another one. Failover takes seconds, so this
    /// is many times what a healthy cluster needs.
    pub deadline: Duration,
    /// Time for one attempt of a read or query: then another replica is asked.
    pub read_patience: Duration,
    /// Time for one attempt of an update. It passes all replicas and their devices, and nobody
    /// else can do it meanwhile.
    pub update_patience: Duration,
    /// First pause after an attempt that must not be repeated at once, with jitter; it doubles.
    pub backoff_min: Duration,
    /// Longest such pause.
    pub backoff_max: Duration,
    /// Longest wait for the routing info that a replica has spoken of. Afterwards it is asked
    /// again: it may have been wrong.
    pub routing_wait: Duration,
    /// Time for which reads avoid a replica that has failed; it doubles with every failure.
    pub avoid_min: Duration,
    /// Longest such time. One read then tries it, while the others go on avoiding it.
    pub avoid_max: Duration,
    /// A connection that was not used for so long is closed (W4); the next request makes it anew.
    pub idle_time: Duration,
    /// Requests under way to one shard; further ones wait in line.
    pub window_requests: u32,
    /// Bytes of requests under way to one shard, in both directions together.
    pub window_bytes: u32,
    /// Channels of the session that are used here. Cores of one process that share a session have
    /// ranges that do not overlap; together they stay below [`CHANNELS_MAX`].
    pub channels: Range<u32>,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            read_patience: Duration::from_secs(2),
            update_patience: Duration::from_secs(5),
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_millis(250),
            routing_wait: Duration::from_secs(1),
            avoid_min: Duration::from_secs(1),
            avoid_max: Duration::from_secs(16),
            idle_time: Duration::from_secs(300),
            window_requests: 128,
            window_bytes: 8 * PAYLOAD_BYTES_MAX,
            channels: 0..CHANNELS_MAX,
        }
    }
}

/// A setting that nothing could work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: found {found}, expected {min} to {max}")]
pub struct SettingError {
    /// The field of [`StorageConfig`].
    pub name: &'static str,
    /// Its value.
    pub found: u64,
    /// Smallest value.
    pub min: u64,
    /// Largest value.
    pub max: u64,
}

/// No time of a configuration is longer: so much is a mistake of units.
const TIME_MS_MAX: u64 = 24 * 3600 * 1000;

impl StorageConfig {
    /// Whether operations can work with these settings; for configuration that a person wrote.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn check(&self) -> Result<(), SettingError> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (from, to) = (u64::from(self.channels.start), u64::from(self.channels.end));
        let times = TIME_MS_MAX;
        let rows = [
            ("deadline", ms(self.deadline), 1, times),
            ("read_patience", ms(self.read_patience), 1, times),
            ("update_patience", ms(self.update_patience), 1, times),
            ("backoff_min", ms(self.backoff_min), 1, times),
            ("backoff_max", ms(self.backoff_max), ms(self.backoff_min), times),
            ("routing_wait", ms(self.routing_wait), 1, times),
            ("avoid_min", ms(self.avoid_min), 1, times),
            ("avoid_max", ms(self.avoid_max), ms(self.avoid_min), times),
            ("idle_time", ms(self.idle_time), 1, times),
            ("window_requests", self.window_requests.into(), 1, u32::MAX.into()),
            ("window_bytes", self.window_bytes.into(), 1, u32::MAX.into()),
            ("channels", to, from + 1, CHANNELS_MAX.into()),
        ];
        for (name, found, min, max) in rows {
            if found < min || max < found {
                return Err(SettingError { name, found, min, max });
            }
        }
        Ok(())
    }
}
