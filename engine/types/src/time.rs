//! Points in time, as numbers: who reads the clock (`Env`) and who computes with it are apart.
//!
//! `Instant` is the monotonic clock of one node and counts suspend (`CLOCK_BOOTTIME`, R8); it is
//! never compared across nodes. `WallTime` is for people and for file times only: no decision of
//! a protocol reads it (L2).
//!
//! Sums saturate: the largest instant is 584 years after boot and means "never".

use core::fmt;
use core::ops::{Add, AddAssign};
use core::time::Duration;

/// Nanoseconds on the monotonic clock of one node, suspend included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

/// Nanoseconds since the Unix epoch, as the operating system believes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(u64);

/// Nanoseconds of `duration`, saturating at 584 years.
const fn nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 {
        return u64::MAX;
    }
    #[expect(clippy::cast_possible_truncation, reason = "compared with u64::MAX above")]
    let nanos = nanos as u64;
    nanos
}

macro_rules! point_in_time {
    ($name:ident, $origin:literal) => {
        impl $name {
            #[doc = concat!("The point `nanos` nanoseconds after ", $origin, ".")]
            pub const fn from_nanos(nanos: u64) -> Self {
                Self(nanos)
            }

            #[doc = concat!("Nanoseconds since ", $origin, ".")]
            pub const fn nanos(self) -> u64 {
                self.0
            }

            /// Time since `earlier`, or zero if `earlier` is later.
            pub const fn saturating_since(self, earlier: Self) -> Duration {
                Duration::from_nanos(self.0.saturating_sub(earlier.0))
            }

            /// Time since `earlier`, or nothing if `earlier` is later.
            pub const fn checked_since(self, earlier: Self) -> Option<Duration> {
                match self.0.checked_sub(earlier.0) {
                    Some(nanos) => Some(Duration::from_nanos(nanos)),
                    None => None,
                }
            }

            /// The point `duration` later, or nothing past the end of the scale.
            pub const fn checked_add(self, duration: Duration) -> Option<Self> {
                match self.0.checked_add(nanos(duration)) {
                    Some(nanos) => Some(Self(nanos)),
                    None => None,
                }
            }

            /// The point `duration` later, at most the end of the scale.
            pub const fn saturating_add(self, duration: Duration) -> Self {
                Self(self.0.saturating_add(nanos(duration)))
            }

            /// The point `duration` earlier, at least the start of the scale.
            pub const fn saturating_sub(self, duration: Duration) -> Self {
                Self(self.0.saturating_sub(nanos(duration)))
            }
        }

        /// Saturates.
        impl Add<Duration> for $name {
            type Output = Self;

            fn add(self, duration: Duration) -> Self {
                self.saturating_add(duration)
            }
        }

        /// Saturates.
        impl AddAssign<Duration> for $name {
            fn add_assign(&mut self, duration: Duration) {
                *self = self.saturating_add(duration);
            }
        }

        /// Seconds with nine decimals.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
            }
        }
    };
}

point_in_time!(Instant, "the origin of this node's monotonic clock");
point_in_time!(WallTime, "the Unix epoch");

impl Instant {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);

    /// Later than every instant a clock shows.
    pub const NEVER: Self = Self(u64::MAX);
}

/// Until when an answer is of use. It bounds waiting, never work in flight (S5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Instant);

impl Deadline {
    /// No bound.
    pub const NEVER: Self = Self(Instant::NEVER);

    /// Expires at `at`.
    pub const fn at(at: Instant) -> Self {
        Self(at)
    }

    /// Expires `duration` after `now`.
    pub const fn after(now: Instant, duration: Duration) -> Self {
        Self(now.saturating_add(duration))
    }

    /// The instant at which it expires.
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// True from the instant of expiry on.
    pub fn expired(self, now: Instant) -> bool {
        self.0 <= now
    }

    /// Time left, zero once expired. `Duration::MAX` when there is no bound.
    pub fn remaining(self, now: Instant) -> Duration {
        if self == Self::NEVER { Duration::MAX } else { self.0.saturating_since(now) }
    }

    /// Microseconds left as frames carry them: 0 says "no bound", so an expired deadline and one
    /// with less than a microsecond left travel as 1, and at most 71 minutes can be said.
    pub fn to_wire_us(self, now: Instant) -> u32 {
        if self == Self::NEVER {
            return 0;
        }
        let us = self.remaining(now).as_micros();
        u32::try_from(us).unwrap_or(u32::MAX).max(1)
    }

    /// The deadline a frame that arrived at `now` names. Transit time is not known and is lost to
    /// the sender's favour: the receiver may answer late, the sender has stopped waiting by then.
    pub fn from_wire_us(us: u32, now: Instant) -> Self {
        if us == 0 { Self::NEVER } else { Self::after(now, Duration::from_micros(us.into())) }
    }

    /// The one that expires first.
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }
}

#[cfg(test)]
mod tests;
