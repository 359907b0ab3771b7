//! The record of the primary's lease in the KV, and what a transaction checks in it.
//!
//! ```text
//!   0  version u8 = 1, body length u32          the frame of `fields`
//!   5  node u32  incarnation u64  term u64  sequence u64  flags u8 (bit 0: released)
//!  34  primary lease u64 ns  storage lease u64 ns  lease that standbys grant u64 ns
//!  58  drift bound u32 ppm
//!  62  addresses u8, then each: length u32, bytes
//! ```
//! It holds lengths but no point in time: nobody could compare one with his own clock (L2).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use engine_types::limits::NODE_ADDRESSES_MAX;
use engine_types::{Incarnation, NodeId};

use crate::fields::{DecodeError, Reader, Writer};

/// Longest address: a host name has at most 253 characters, a port five.
pub const ADDRESS_BYTES_MAX: usize = 260;

const VERSION: u8 = 1;
const RELEASED: u8 = 1;
const RECORD: &str = "primary lease";

/// Counts takeovers: a term belongs to one holder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(u64);

impl Term {
    /// Wraps the raw number.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The raw number, for encoding.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one after it.
    ///
    /// # Panics
    /// After 2^64 takeovers.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a takeover takes milliseconds"))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "term-{}", self.0)
    }
}

/// A manager that holds or wants the lease: who it is and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The manager.
    pub node: NodeId,
    /// Its present start: a restarted manager is another holder.
    pub incarnation: Incarnation,
    /// `host:port`, the preferred one first; at most [`NODE_ADDRESSES_MAX`] of
    /// [`ADDRESS_BYTES_MAX`] bytes each.
    pub addresses: Vec<String>,
}

/// Who is primary, as the KV says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrimaryLease {
    /// The primary.
    pub holder: Contact,
    /// Raised by every takeover.
    pub term: Term,
    /// Raised by every attempt to write the record within a term (E285). It starts at a number that
    /// no other attempt of this holder to take the lease had.
    pub sequence: u64,
    /// The holder has ended itself: anybody may take at once.
    pub released: bool,
    /// D_p: how long the holder goes on after it began to write this.
    pub primary: Duration,
    /// The longest D_s of storage leases that may be in force, of this holder and of former ones.
    pub storage: Duration,
    /// D_s of the leases that standbys may grant (L5): what this holder has set, never more than
    /// `storage`. It is not `storage` itself, which a term hands on from its predecessors until
    /// their leases are over: they would never be, if standbys granted more of that length.
    pub standby: Duration,
    /// e: by how many parts per million clocks may differ, for whoever waits for the end of what
    /// stands on this record. The largest bound of this holder's term, and of former ones while
    /// their leases may be in force.
    pub drift_ppm: u32,
}

/// The stored record is not the one that a transaction stands on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseConflict {
    /// Another manager or another start of this one holds the lease.
    #[error("{found} of {holder} {incarnation} is in force, expected {expected}")]
    Superseded {
        /// Stored term.
        found: Term,
        /// Stored holder.
        holder: NodeId,
        /// Stored incarnation.
        incarnation: Incarnation,
        /// The caller's term.
        expected: Term,
    },
    /// The record is of this term but released, or not older than what is to be written.
    #[error("{term} was written by sequence {found} already, released: {released}")]
    Passed {
        /// The caller's term.
        term: Term,
        /// Stored sequence.
        found: u64,
        /// Whether the stored record is released.
        released: bool,
    },
    /// A record where none was expected, or another one.
    #[error("the lease record changed since it was observed: found {found:?}")]
    Changed {
        /// Term and sequence stored now.
        found: Option<(Term, u64)>,
    },
    /// The record has vanished.
    #[error("the lease record of {expected} is gone")]
    Gone {
        /// The caller's term.
        expected: Term,
    },
}

impl PrimaryLease {
    /// For the KV.
    ///
    /// # Panics
    /// If the addresses exceed their limits.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        out.u32(self.holder.node.get());
        out.u64(self.holder.incarnation.get());
        out.u64(self.term.get());
        out.u64(self.sequence);
        out.u8(if self.released { RELEASED } else { 0 });
        out.u64(nanos(self.primary));
        out.u64(nanos(self.storage));
        out.u64(nanos(self.standby));
        out.u32(self.drift_ppm);
        let addresses = &self.holder.addresses;
        let count = Some(addresses.len()).filter(|&count| count <= NODE_ADDRESSES_MAX);
        out.u8(count.and_then(|count| u8::try_from(count).ok()).expect("E299: few addresses"));
        for address in addresses {
            assert!(address.len() <= ADDRESS_BYTES_MAX, "E299: an address is short: {address}");
            out.text(address);
        }
        out.finish()
    }

    /// From the KV.
    ///
    /// # Errors
    /// The first field that does not fit.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(RECORD, bytes)?;
        let node = NodeId::new(reader.u32("node")?);
        let incarnation = Incarnation::new(reader.u64("incarnation")?);
        let term = Term::new(reader.u64("term")?);
        let sequence = reader.u64("sequence")?;
        let flags = reader.u8("flags")?;
        if flags & !RELEASED != 0 {
            return Err(reader.bad_number("flags", flags.into(), "0 or 1"));
        }
        let primary = Duration::from_nanos(reader.u64("primary lease")?);
        let storage = Duration::from_nanos(reader.u64("storage lease")?);
        let standby = Duration::from_nanos(reader.u64("lease of standbys")?);
        let drift_ppm = reader.u32("drift bound")?;
        let count = usize::from(reader.u8("addresses")?);
        if NODE_ADDRESSES_MAX < count {
            return Err(reader.bad_number("addresses", count as u64, "at most 8"));
        }
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            addresses.push(reader.text("address", ADDRESS_BYTES_MAX)?);
        }
        let holder = Contact { node, incarnation, addresses };
        let released = flags & RELEASED != 0;
        Ok(Self { holder, term, sequence, released, primary, storage, standby, drift_ppm })
    }

    /// Whether it is of the same tenure: one term belongs to one start of one manager.
    pub fn same_tenure(&self, other: &Self) -> bool {
        self.term == other.term
            && self.holder.node == other.holder.node
            && self.holder.incarnation == other.holder.incarnation
    }

    /// Checks, inside a transaction, that this tenure is still the stored one; the transaction then
    /// conflicts with every takeover.
    ///
    /// # Errors
    /// When it is not, or has ended.
    pub(super) fn check_tenure(&self, stored: Option<&Self>) -> Result<(), LeaseConflict> {
        let Some(stored) = stored else {
            return Err(LeaseConflict::Gone { expected: self.term });
        };
        if !self.same_tenure(stored) {
            return Err(LeaseConflict::Superseded {
                found: stored.term,
                holder: stored.holder.node,
                incarnation: stored.holder.incarnation,
                expected: self.term,
            });
        }
        if stored.released {
            return Err(self.passed_by(stored));
        }
        Ok(())
    }

    pub(super) const fn passed_by(&self, stored: &Self) -> LeaseConflict {
        let (found, released) = (stored.sequence, stored.released);
        LeaseConflict::Passed { term: self.term, found, released }
    }
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).expect("lengths of leases are bounded by minutes")
}

const _: () = assert!(NODE_ADDRESSES_MAX == 8);

#[cfg(test)]
pub(crate) mod tests;
