//! Keys and ranges of keys, in bytewise order.

use core::fmt;
use core::ops::Bound;

use crate::error::KvError;
use crate::limits::{ITEM_BYTES, KEY_BYTES_MAX, SYSTEM_PREFIX};

/// Keys from `begin` on, without `end`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRange {
    /// The first key.
    pub begin: Vec<u8>,
    /// The first key behind the range.
    pub end: Vec<u8>,
}

impl KeyRange {
    /// From `begin` to before `end`.
    pub fn new(begin: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Self {
        Self { begin: begin.into(), end: end.into() }
    }

    /// One key.
    pub fn single(key: &[u8]) -> Self {
        Self { begin: key.to_vec(), end: after(key) }
    }

    /// Every key that starts with `prefix`. Nothing when no key can be behind them: the prefix is
    /// empty or all 0xff.
    pub fn prefix(prefix: &[u8]) -> Option<Self> {
        Some(Self { begin: prefix.to_vec(), end: prefix_end(prefix)? })
    }

    /// Every key an application may use.
    pub fn all() -> Self {
        Self { begin: Vec::new(), end: vec![SYSTEM_PREFIX] }
    }

    /// Whether no key is in it.
    pub fn is_empty(&self) -> bool {
        self.end <= self.begin
    }

    /// Whether `key` is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.begin.as_slice() <= key && key < self.end.as_slice()
    }

    /// Whether a key is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        !self.is_empty() && !other.is_empty() && self.begin < other.end && other.begin < self.end
    }

    /// What is left of it without `other`.
    pub(crate) fn without(&self, other: &Self) -> [Option<Self>; 2] {
        if !self.overlaps(other) {
            return [Some(self.clone()), None];
        }
        let before = Self { begin: self.begin.clone(), end: other.begin.clone() };
        let behind = Self { begin: other.end.clone(), end: self.end.clone() };
        [before, behind].map(|part| (!part.is_empty()).then_some(part))
    }

    /// Whether it is one key and nothing else.
    pub fn is_single(&self) -> bool {
        self.end.len() == self.begin.len() + 1
            && self.end.last() == Some(&0)
            && self.end.starts_with(&self.begin)
    }

    /// Bytes it counts for in the size of a transaction.
    pub fn size(&self) -> usize {
        ITEM_BYTES + self.begin.len() + self.end.len()
    }

    /// A range that may be read or written.
    ///
    /// # Errors
    /// Inverted, beyond the legal keys, or with a bound too long.
    pub fn check(&self) -> Result<(), KvError> {
        if self.end < self.begin {
            return Err(KvError::InvertedRange {
                begin: Shown::of(&self.begin),
                end: Shown::of(&self.end),
            });
        }
        check_bound(&self.begin)?;
        check_bound(&self.end)
    }
}

/// The key directly behind `key`.
pub fn after(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

/// The first key behind all keys that start with `prefix` (FoundationDB's `strinc`).
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// Bounds for walks of maps: everything up to `last`, and that too.
pub(crate) fn up_to(last: &[u8]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Unbounded, Bound::Included(last))
}

/// Bounds for walks of maps: everything before `end`.
pub(crate) fn before(end: &[u8]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Unbounded, Bound::Excluded(end))
}

/// A key that may be read or written.
///
/// # Errors
/// Too long, or one of the store's own.
pub fn check_key(key: &[u8]) -> Result<(), KvError> {
    if KEY_BYTES_MAX < key.len() {
        return Err(KvError::KeyTooLong { found: key.len(), limit: KEY_BYTES_MAX });
    }
    if key.first() == Some(&SYSTEM_PREFIX) {
        return Err(KvError::OutsideLegalRange { key: Shown::of(key) });
    }
    Ok(())
}

/// A bound may be the end of all keys; one byte longer than a key, as the end of a single one.
fn check_bound(bound: &[u8]) -> Result<(), KvError> {
    if KEY_BYTES_MAX + 1 < bound.len() {
        return Err(KvError::KeyTooLong { found: bound.len(), limit: KEY_BYTES_MAX });
    }
    if bound.first() == Some(&SYSTEM_PREFIX) && bound.len() != 1 {
        return Err(KvError::OutsideLegalRange { key: Shown::of(bound) });
    }
    Ok(())
}

/// The start of a key as errors show it: printable bytes as they are, others as `\xNN`.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown {
    start: Vec<u8>,
    total: usize,
}

/// Bytes of a key that an error shows: enough for prefix, inode and a short name.
const SHOWN_BYTES_MAX: usize = 48;

impl Shown {
    /// Of `key`.
    pub fn of(key: &[u8]) -> Self {
        Self { start: key[..key.len().min(SHOWN_BYTES_MAX)].to_vec(), total: key.len() }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.start.escape_ascii())?;
        if self.start.len() < self.total {
            write!(f, ".. ({} bytes)", self.total)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
