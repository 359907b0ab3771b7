//! Times of which only bounds are known until they are seen, and counters that only rise.
//!
//! Invariants
//!   E462  a time that was seen stays as it is until something happens that marks it; a time that
//!         an event set goes back for nothing but utimens
//!   E463  a change counter never falls, and has risen when something changed since it was seen

use core::fmt;

/// Between which times (nanoseconds since 1970 by the clocks of the servers, their differences
/// included) something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// Not before.
    pub earliest: i64,
    /// Not after.
    pub latest: i64,
}

impl When {
    /// Any time: for tests that do not look at times.
    pub const EVER: Self = Self { earliest: i64::MIN, latest: i64::MAX };

    /// Exactly `nanos`.
    pub const fn at(nanos: i64) -> Self {
        Self { earliest: nanos, latest: nanos }
    }
}

/// A time of an inode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    lo: i64,
    hi: i64,
    /// Somebody named this time by utimens, so the next event may be earlier.
    named: bool,
}

impl Moment {
    /// The time of something that happens now and has no time before.
    pub(crate) const fn new(when: When) -> Self {
        Self { lo: when.earliest, hi: when.latest, named: false }
    }

    /// The time that utimens names.
    pub(crate) const fn named(nanos: i64) -> Self {
        Self { lo: nanos, hi: nanos, named: true }
    }

    /// POSIX' "mark for update": the time becomes now, or stays where an event put it if the
    /// clock of this server is behind.
    pub(crate) fn mark(&mut self, when: When) {
        let old = *self;
        *self = Self::new(when);
        if !old.named {
            self.lo = self.lo.max(old.lo);
            self.hi = self.hi.max(old.hi);
        }
    }

    /// Somebody asks for the time of the server.
    pub(crate) fn set_now(&mut self, when: When) {
        *self = Self { lo: when.earliest, hi: self.hi.max(when.latest), named: false };
    }

    /// The standard leaves open whether the time is marked.
    pub(crate) fn may_mark(&mut self, when: When) {
        let mut marked = *self;
        marked.mark(when);
        self.lo = self.lo.min(marked.lo);
        self.hi = self.hi.max(marked.hi);
    }

    /// The time may be `nanos` now.
    pub(crate) fn may_be(&mut self, nanos: i64) {
        self.lo = self.lo.min(nanos);
        self.hi = self.hi.max(nanos);
    }

    /// The time was answered: is it possible? From now on it is known.
    pub(crate) fn see(&mut self, nanos: i64) -> bool {
        if nanos < self.lo || self.hi < nanos {
            return false;
        }
        (self.lo, self.hi) = (nanos, nanos);
        true
    }

    /// A time that is possible.
    #[cfg(test)]
    pub(crate) const fn guess(self) -> i64 {
        self.lo
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lo == self.hi {
            write!(f, "{}", self.lo)
        } else {
            write!(f, "{}..={}", self.lo, self.hi)
        }
    }
}

/// The change counter of an inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// What was seen last.
    seen: u64,
    /// Something changed since.
    risen: bool,
    /// Something may have.
    doubted: bool,
}

impl Change {
    /// Something changed: what is seen next is above all that was seen before.
    pub(crate) const fn rise(&mut self) {
        self.risen = true;
    }

    /// Something may have changed.
    pub(crate) const fn may_rise(&mut self) {
        self.doubted = true;
    }

    /// What was seen last.
    pub(crate) const fn seen(self) -> u64 {
        self.seen
    }

    /// Whether something changed since, or may have.
    pub(crate) const fn has_risen(self) -> bool {
        self.risen || self.doubted
    }

    /// The smallest value that may be answered.
    pub(crate) const fn least(self) -> u64 {
        self.seen + self.risen as u64
    }

    /// The counter was answered: is it possible?
    pub(crate) const fn see(&mut self, value: u64) -> bool {
        let possible = self.least() <= value;
        *self = Self { seen: value, risen: false, doubted: false };
        possible
    }
}

/// The blocks that the chunks of a file take, as somebody said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Blocks {
    /// Nobody, since the last change.
    #[default]
    Unknown,
    /// This is so.
    Said(u64),
    /// This, if nothing had changed when it was said.
    May(u64),
}

impl Blocks {
    /// Something may have changed.
    pub(crate) const fn doubted(self) -> Self {
        match self {
            Self::Said(blocks) => Self::May(blocks),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests;
