//! Writes, and what the atomic ones make of a value.

use crate::error::KvError;
use crate::key::{KeyRange, check_key};
use crate::limits::{ITEM_BYTES, KEY_BYTES_MAX, VALUE_BYTES_MAX, VERSIONSTAMP_BYTES};

/// Changes a value without reading it first, so that such writes never conflict with each other.
/// The numbers are FoundationDB's and part of the served form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum AtomicOp {
    /// Little-endian sum, wrapping, in the operand's length; a missing value counts as 0.
    Add = 2,
    /// Bitwise and; a missing value becomes the operand.
    And = 6,
    /// Bitwise or; a missing value counts as 0.
    Or = 7,
    /// Bitwise exclusive or; a missing value counts as 0.
    Xor = 8,
    /// Appends, unless the value would grow too long; then it stays as it is.
    AppendIfFits = 9,
    /// Larger of two little-endian numbers, in the operand's length; missing: the operand.
    Max = 12,
    /// Smaller of two little-endian numbers, in the operand's length; missing: the operand.
    Min = 13,
    /// Smaller by bytewise order; missing: the operand.
    ByteMin = 16,
    /// Larger by bytewise order; missing: the operand.
    ByteMax = 17,
    /// Clears the key if its value is the operand.
    CompareAndClear = 20,
}

impl AtomicOp {
    /// Every operation, in the order of codes.
    pub const ALL: [Self; 10] = [
        Self::Add,
        Self::And,
        Self::Or,
        Self::Xor,
        Self::AppendIfFits,
        Self::Max,
        Self::Min,
        Self::ByteMin,
        Self::ByteMax,
        Self::CompareAndClear,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Nothing for a number without a meaning here.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.code() == code)
    }

    /// The value after the operation; nothing when the key is clear then.
    ///
    /// Numbers are as long as the operand: a longer value is cut, a shorter one padded with zeros,
    /// as FoundationDB does since its API version 510.
    pub fn apply(self, old: Option<&[u8]>, operand: &[u8]) -> Option<Vec<u8>> {
        let Some(old) = old else {
            return match self {
                Self::CompareAndClear => None,
                _ => Some(operand.to_vec()),
            };
        };
        match self {
            Self::Add => Some(add(&resized(old, operand.len()), operand)),
            Self::And => Some(zip(old, operand, |a, b| a & b)),
            Self::Or => Some(zip(old, operand, |a, b| a | b)),
            Self::Xor => Some(zip(old, operand, |a, b| a ^ b)),
            Self::AppendIfFits if VALUE_BYTES_MAX < old.len() + operand.len() => Some(old.to_vec()),
            Self::AppendIfFits => Some([old, operand].concat()),
            Self::Max | Self::Min => {
                let padded = resized(old, operand.len());
                let larger = padded.iter().rev().cmp(operand.iter().rev()).is_gt();
                let keep = larger == (self == Self::Max);
                Some(if keep { padded } else { operand.to_vec() })
            }
            Self::ByteMin => Some(old.min(operand).to_vec()),
            Self::ByteMax => Some(old.max(operand).to_vec()),
            Self::CompareAndClear if old == operand => None,
            Self::CompareAndClear => Some(old.to_vec()),
        }
    }
}

fn resized(old: &[u8], length: usize) -> Vec<u8> {
    let mut sized = old[..old.len().min(length)].to_vec();
    sized.resize(length, 0);
    sized
}

fn zip(old: &[u8], operand: &[u8], op: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    resized(old, operand.len()).iter().zip(operand).map(|(&a, &b)| op(a, b)).collect()
}

fn add(old: &[u8], operand: &[u8]) -> Vec<u8> {
    let mut carry = false;
    let digits = old.iter().zip(operand).map(|(&a, &b)| {
        let (sum, first) = a.overflowing_add(b);
        let (sum, second) = sum.overflowing_add(u8::from(carry));
        carry = first || second;
        sum
    });
    digits.collect()
}

/// Bytes of the position of a versionstamp.
const STAMP_POSITION_BYTES: usize = 4;

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Sets a value.
    Set {
        /// The key.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
    },
    /// Clears every key of a range.
    Clear {
        /// The range.
        range: KeyRange,
    },
    /// Changes a value without reading it.
    Atomic {
        /// How.
        op: AtomicOp,
        /// The key.
        key: Vec<u8>,
        /// The other operand.
        operand: Vec<u8>,
    },
    /// Sets a key into which the versionstamp of the commit is written.
    StampedKey {
        /// The key, with room of [`VERSIONSTAMP_BYTES`] at `offset`.
        key: Vec<u8>,
        /// Where the stamp goes.
        offset: usize,
        /// The value.
        value: Vec<u8>,
    },
    /// Sets a value into which the versionstamp of the commit is written.
    StampedValue {
        /// The key.
        key: Vec<u8>,
        /// The value, with room of [`VERSIONSTAMP_BYTES`] at `offset`.
        value: Vec<u8>,
        /// Where the stamp goes.
        offset: usize,
    },
}

impl Mutation {
    /// Bytes it counts for in the size of a transaction.
    pub fn size(&self) -> usize {
        match self {
            Self::Set { key, value }
            | Self::StampedKey { key, value, .. }
            | Self::StampedValue { key, value, .. } => ITEM_BYTES + key.len() + value.len(),
            Self::Clear { range } => range.size(),
            Self::Atomic { key, operand, .. } => ITEM_BYTES + key.len() + operand.len(),
        }
    }

    /// The keys it may write, whatever the versionstamp becomes.
    pub fn written(&self) -> KeyRange {
        match self {
            Self::Set { key, .. } | Self::Atomic { key, .. } | Self::StampedValue { key, .. } => {
                KeyRange::single(key)
            }
            Self::Clear { range } => range.clone(),
            Self::StampedKey { key, offset, .. } => stamp_range(key, *offset),
        }
    }

    /// A write that a store may take.
    ///
    /// # Errors
    /// Key, value, range or position of the stamp outside the limits.
    pub fn check(&self) -> Result<(), KvError> {
        let (key, value) = match self {
            Self::Clear { range } => return range.check(),
            Self::Set { key, value } => (key, value),
            Self::Atomic { key, operand, .. } => (key, operand),
            Self::StampedKey { key, offset, value } => {
                check_stamp(*offset, key.len())?;
                (key, value)
            }
            Self::StampedValue { key, value, offset } => {
                check_stamp(*offset, value.len())?;
                (key, value)
            }
        };
        check_key(key)?;
        // FoundationDB sends the position of a stamp behind the key or value.
        let position = |stamped| if stamped { STAMP_POSITION_BYTES } else { 0 };
        let key_bytes = key.len() + position(matches!(self, Self::StampedKey { .. }));
        if KEY_BYTES_MAX < key_bytes {
            return Err(KvError::KeyTooLong { found: key_bytes, limit: KEY_BYTES_MAX });
        }
        let value_bytes = value.len() + position(matches!(self, Self::StampedValue { .. }));
        // A stamp at the very start could make it one of the store's own keys.
        if matches!(self, Self::StampedKey { offset: 0, .. }) {
            return Err(KvError::StampPosition { offset: 0, length: key.len() });
        }
        if VALUE_BYTES_MAX < value_bytes {
            let (found, limit) = (value_bytes, VALUE_BYTES_MAX);
            return Err(KvError::ValueTooLong { found, limit });
        }
        Ok(())
    }

    /// Fills in the versionstamp; other writes stay as they are.
    pub fn stamp(&mut self, stamp: [u8; VERSIONSTAMP_BYTES]) {
        match self {
            Self::StampedKey { key, offset, value } => {
                let mut key = core::mem::take(key);
                key[*offset..*offset + VERSIONSTAMP_BYTES].copy_from_slice(&stamp);
                *self = Self::Set { key, value: core::mem::take(value) };
            }
            Self::StampedValue { key, value, offset } => {
                let mut value = core::mem::take(value);
                value[*offset..*offset + VERSIONSTAMP_BYTES].copy_from_slice(&stamp);
                *self = Self::Set { key: core::mem::take(key), value };
            }
            Self::Set { .. } | Self::Clear { .. } | Self::Atomic { .. } => {}
        }
    }
}

fn check_stamp(offset: usize, length: usize) -> Result<(), KvError> {
    let fits = offset.checked_add(VERSIONSTAMP_BYTES).is_some_and(|end| end <= length);
    if fits { Ok(()) } else { Err(KvError::StampPosition { offset, length }) }
}

/// Every key that `key` can become, as one range.
pub fn stamp_range(key: &[u8], offset: usize) -> KeyRange {
    let mut first = key.to_vec();
    first[offset..offset + VERSIONSTAMP_BYTES].fill(0);
    let mut last = key.to_vec();
    last[offset..offset + VERSIONSTAMP_BYTES].fill(0xff);
    last.push(0);
    KeyRange { begin: first, end: last }
}

#[cfg(test)]
mod tests;
