//! Where a name stands in its directory: the hash of the name in front, a probe behind.
//!
//! ```text
//!   63        62..3                                             2..0
//!   0         upper 60 bits of SipHash-2-4 of the name, not 0   probe 0..7
//! ```
//! An entry's slot is its cookie in `readdir`, too: positive as a signed number, the same for as
//! long as the entry exists, and unique in its directory. Names of one hash take the next free
//! probe; the key of the hash is secret, so nobody can choose nine such names. Slots below 8 are no
//! entry's: cookies of "." and ".." (E406).

use core::fmt;
use core::hash::Hasher;

use siphasher::sip::SipHasher24;

/// The key of the hash, random, drawn when the file system is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey(u128);

impl HashKey {
    /// Wraps 128 random bits.
    pub const fn new(raw: u128) -> Self {
        Self(raw)
    }

    /// The raw number, for encoding.
    pub const fn get(self) -> u128 {
        self.0
    }
}

/// Not shown: who knows it can make names that collide.
impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(..)")
    }
}

/// Probes of one hash.
pub const PROBES: u8 = 8;
/// Bits of the probe.
const PROBE_BITS: u32 = PROBES.trailing_zeros();

/// Place of an entry in its directory, and its cookie: 8 to 2^63 - 1 (E406).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u64);

impl Slot {
    /// The first that an entry can have.
    pub const FIRST: Self = Self(PROBES as u64);
    /// The last that an entry can have.
    pub const LAST: Self = Self(i64::MAX.cast_unsigned());
    /// The cookie of ".".
    pub const COOKIE_SELF: u64 = 1;
    /// The cookie of "..".
    pub const COOKIE_PARENT: u64 = 2;

    /// Nothing for what no entry has.
    pub const fn new(raw: u64) -> Option<Self> {
        if Self::FIRST.0 <= raw && raw <= Self::LAST.0 { Some(Self(raw)) } else { None }
    }

    /// The slots of `name`: of the first probe, and of the others behind it.
    pub fn first_of(key: HashKey, name: &[u8]) -> Self {
        let mut hasher = SipHasher24::new_with_key(&key.0.to_le_bytes());
        hasher.write(name);
        let hash = hasher.finish() >> (PROBE_BITS + 1);
        let slot = Self(hash.max(1) << PROBE_BITS);
        assert!(Self::FIRST <= slot && slot <= Self::LAST, "E406: {slot:?}");
        slot
    }

    /// The slot of the same hash with another probe.
    ///
    /// # Panics
    /// For a probe of 8 or more.
    #[must_use]
    pub const fn probe(self, probe: u8) -> Self {
        assert!(probe < PROBES, "E406: a hash has eight slots");
        Self(self.0 & !(PROBES as u64 - 1) | probe as u64)
    }

    /// The slot behind the last of the same hash, where a range of its eight ends. As a plain
    /// number, as there may be none behind it.
    pub const fn end(self) -> u64 {
        self.probe(PROBES - 1).0 + 1
    }

    /// The raw number: the cookie of `readdir`.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The first slot that an entry behind `cookie` can have, or nothing behind the last.
    pub const fn behind(cookie: u64) -> Option<Self> {
        match cookie.checked_add(1) {
            Some(next) if next < Self::FIRST.0 => Some(Self::FIRST),
            Some(next) => Self::new(next),
            None => None,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot-{:x}.{}", self.0 >> PROBE_BITS, self.0 & (PROBES as u64 - 1))
    }
}

#[cfg(test)]
mod tests;
