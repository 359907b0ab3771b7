//! What a process may set.

use core::time::Duration;

/// Channels that a client may have: as many records does its session have in the KV at most, of
/// some hundred bytes each. 1,024 keep ten services busy.
pub const CHANNELS_MAX: u32 = 1024;

/// Settings of a [`MetaClient`](crate::MetaClient). Values are the process's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaConfig {
    /// Time for a call, unless its caller says another one. A restart of the KV takes seconds, so
    /// this is many times what a healthy cluster needs.
    pub deadline: Duration,
    /// Time for one attempt: then another service is asked, or the same again.
    pub patience: Duration,
    /// Time for one attempt at what may have to wait for chains, or for others' locks.
    pub patience_long: Duration,
    /// Time for a connection.
    pub patience_connect: Duration,
    /// First pause when no service is left to be asked, with jitter; it doubles.
    pub backoff_min: Duration,
    /// Longest such pause.
    pub backoff_max: Duration,
    /// Time for which a service is avoided that has failed; it doubles with every failure.
    pub avoid_min: Duration,
    /// Longest such time.
    pub avoid_max: Duration,
    /// Requests that change something, under way at the same time; further ones wait.
    pub channels: u32,
}

impl Default for MetaConfig {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            patience: Duration::from_secs(5),
            patience_long: Duration::from_secs(20),
            patience_connect: Duration::from_secs(1),
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_millis(500),
            avoid_min: Duration::from_secs(1),
            avoid_max: Duration::from_secs(16),
            channels: 256,
        }
    }
}

/// A setting that nothing could work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: found {found}, expected {min} to {max}")]
pub struct SettingError {
    /// The field of [`MetaConfig`].
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

impl MetaConfig {
    /// Whether calls can work with these settings; for configuration that a person wrote.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn check(&self) -> Result<(), SettingError> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let times = TIME_MS_MAX;
        let rows = [
            ("deadline", ms(self.deadline), 1, times),
            ("patience", ms(self.patience), 1, times),
            ("patience_long", ms(self.patience_long), 1, times),
            ("patience_connect", ms(self.patience_connect), 1, times),
            ("backoff_min", ms(self.backoff_min), 1, times),
            ("backoff_max", ms(self.backoff_max), ms(self.backoff_min), times),
            ("avoid_min", ms(self.avoid_min), 1, times),
            ("avoid_max", ms(self.avoid_max), ms(self.avoid_min), times),
            ("channels", self.channels.into(), 1, CHANNELS_MAX.into()),
        ];
        for (name, found, min, max) in rows {
            if found < min || max < found {
                return Err(SettingError { name, found, min, max });
            }
        }
        Ok(())
    }
}
