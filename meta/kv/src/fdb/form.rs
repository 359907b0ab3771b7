//! Forms in which the library wants things. No type of it, as in [`code`](super::code).

use core::time::Duration;

use crate::error::KvError;
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::mutation::Mutation;

#[cfg(test)]
mod tests;

/// Bytes of the offset behind a key or value with a versionstamp.
pub(super) const OFFSET_BYTES: usize = 4;

/// A key or value with a versionstamp as it is since API version 520: where the stamp goes follows
/// as a little-endian number.
pub(super) fn with_offset(bytes: &[u8], offset: usize) -> Vec<u8> {
    let offset = u32::try_from(offset).expect("E227: checked against keys and values of 100 kB");
    [bytes, &offset.to_le_bytes()].concat()
}

/// Checks the trait's limits, and the one that the library adds: the offset counts as a part of
/// its key or value (E227).
pub(super) fn check(mutation: &Mutation) -> Result<(), KvError> {
    mutation.check()?;
    match mutation {
        Mutation::StampedKey { key, .. } if KEY_BYTES_MAX < key.len() + OFFSET_BYTES => {
            Err(KvError::KeyTooLong { found: key.len() + OFFSET_BYTES, limit: KEY_BYTES_MAX })
        }
        Mutation::StampedValue { value, .. } if VALUE_BYTES_MAX < value.len() + OFFSET_BYTES => {
            let found = value.len() + OFFSET_BYTES;
            Err(KvError::ValueTooLong { found, limit: VALUE_BYTES_MAX })
        }
        _ => Ok(()),
    }
}

/// A timeout as its option takes it: milliseconds, at least 1, because 0 would mean none (E225).
pub(super) fn timeout_ms(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).max(1)
}
