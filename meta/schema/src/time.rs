//! Times of inodes: nanoseconds since 1970, by the clock of the service.
//!
//! 64 bits reach from 1677 to 2262. What a caller asks for beyond is clamped, as Linux clamps to
//! the range of a file system (`timestamp_truncate`); E407.

use core::fmt;
use core::time::Duration;

use engine_types::WallTime;

/// Nanoseconds of a second.
const NANOS: i64 = 1_000_000_000;

/// A time of an inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01, 00:00 UTC.
    pub const EPOCH: Self = Self(0);
    /// The earliest, in 1677.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest, in 2262.
    pub const MAX: Self = Self(i64::MAX);

    /// Nanoseconds since 1970.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// What a clock shows, clamped (E407).
    pub fn from_wall(wall: WallTime) -> Self {
        Self(i64::try_from(wall.nanos()).unwrap_or(i64::MAX))
    }

    /// From the form of `struct timespec`, clamped (E407). `nanos` counts forward from the second
    /// and is below a thousand millions; what is above counts as further seconds.
    pub const fn from_timespec(seconds: i64, nanos: u32) -> Self {
        // In 128 bits nothing overflows: 2^63 seconds are below 2^93 nanoseconds.
        let wide = seconds as i128 * NANOS as i128 + nanos as i128;
        if wide < i64::MIN as i128 {
            return Self::MIN;
        }
        if (i64::MAX as i128) < wide {
            return Self::MAX;
        }
        #[expect(clippy::cast_possible_truncation, reason = "compared with both ends above")]
        let nanos = wide as i64;
        Self(nanos)
    }

    /// In the form of `struct timespec`: seconds, rounded down, and nanoseconds forward from them.
    pub const fn to_timespec(self) -> (i64, u32) {
        let nanos = self.0.rem_euclid(NANOS);
        #[expect(clippy::cast_possible_truncation, reason = "below a thousand millions")]
        #[expect(clippy::cast_sign_loss, reason = "a Euclidean remainder is not negative")]
        let nanos = nanos as u32;
        (self.0.div_euclid(NANOS), nanos)
    }

    /// This time after an event at `now`: the later of the two (E407).
    #[must_use]
    pub fn touched(self, now: Self) -> Self {
        self.max(now)
    }

    /// The point `duration` later, at most the end of the scale.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// Milliseconds since 1970, rounded down; 0 before: the order of queues.
    pub fn millis(self) -> u64 {
        u64::try_from(self.0 / 1_000_000).unwrap_or(0)
    }
}

/// Seconds with nine decimals.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = self.to_timespec();
        write!(f, "{seconds}s+{nanos:09}ns")
    }
}

#[cfg(test)]
mod tests;
