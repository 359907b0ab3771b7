//! The frame of a record in the KV or of a message, and its fields: little-endian numbers and short
//! texts.
//!
//! ```text
//!   0  version   u8    1 or more; a later version only appends fields
//!   1  length    u32   bytes of the body that follow
//!   5  body            the fields of version 1 in their order, then those of later versions
//! ```
//! Fields keep their place and meaning for ever, so a reader takes those it knows and skips the
//! rest of the body (W1). A change that cannot be said by appending gets a key of its own; newer
//! fields are written only after the cluster's minimum version was raised (W6), as a record that
//! is written back by an older process loses its tail.
//!
//! Invariants
//!   E299  what was written decodes to the same record, with any tail behind the known fields

use alloc::string::String;
use alloc::vec::Vec;

mod plain;

/// Bytes in front of the body.
const HEAD_BYTES: usize = 5;
/// Bytes in front of the fields of a row.
const ROW_HEAD_BYTES: usize = 2;

/// Bytes in the KV are no record. The caller adds the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Version 0 was never written.
    #[error("{record}: format version: found {found}, expected 1 or more")]
    Version {
        /// Kind of the record.
        record: &'static str,
        /// Its first byte.
        found: u8,
    },
    /// The value ends before its head does, or is not as long as the head says.
    #[error("{record}: found {found} bytes, expected {expected}")]
    Length {
        /// Kind of the record.
        record: &'static str,
        /// Bytes of the value.
        found: usize,
        /// Bytes that a head takes, or that the head says.
        expected: usize,
    },
    /// The body ends inside a field.
    #[error("{record}: {field} needs {needed} bytes, the body has {left} left")]
    Short {
        /// Kind of the record.
        record: &'static str,
        /// The field.
        field: &'static str,
        /// Its bytes.
        needed: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// A number without meaning in its field.
    #[error("{record}: {field}: found {found}, expected {expected}")]
    Number {
        /// Kind of the record.
        record: &'static str,
        /// The field.
        field: &'static str,
        /// The number.
        found: u64,
        /// What it may be.
        expected: &'static str,
    },
    /// A text that its field does not admit.
    #[error("{record}: {field}: {why}")]
    Text {
        /// Kind of the record.
        record: &'static str,
        /// The field.
        field: &'static str,
        /// What is wrong with it, with what was found.
        why: String,
    },
}

/// Builds a record.
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty body of format `version`.
    ///
    /// # Panics
    /// For version 0.
    pub fn new(version: u8) -> Self {
        assert!(version != 0, "E299: no record has version 0");
        let mut bytes = Vec::with_capacity(64);
        bytes.push(version);
        bytes.extend_from_slice(&[0; HEAD_BYTES - 1]);
        Self(bytes)
    }

    /// One byte.
    pub fn u8(&mut self, field: u8) {
        self.0.push(field);
    }

    /// Two bytes.
    pub fn u16(&mut self, field: u16) {
        self.0.extend_from_slice(&field.to_le_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, field: u32) {
        self.0.extend_from_slice(&field.to_le_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, field: u64) {
        self.0.extend_from_slice(&field.to_le_bytes());
    }

    /// Sixteen bytes.
    pub fn u128(&mut self, field: u128) {
        self.0.extend_from_slice(&field.to_le_bytes());
    }

    /// How many elements follow (u32).
    ///
    /// # Panics
    /// From 2^32 elements on.
    pub fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).expect("lists are bounded far below 2^32"));
    }

    /// Length (u32) and bytes.
    pub fn text(&mut self, field: &str) {
        self.bytes(field.as_bytes());
    }

    /// Length (u32) and bytes, as of a record within this one.
    ///
    /// # Panics
    /// From 4 GiB on.
    pub fn bytes(&mut self, field: &[u8]) {
        self.u32(u32::try_from(field.len()).expect("fields are bounded far below 4 GiB"));
        self.0.extend_from_slice(field);
    }

    /// Length (u16) and fields that `write` appends: a row of a list, to which later versions
    /// append, as they do to the body.
    ///
    /// # Panics
    /// If the row has 64 KiB or more: who writes rows bounds their lists and texts.
    pub fn row(&mut self, write: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.u16(0);
        write(self);
        let length = self.0.len() - start - ROW_HEAD_BYTES;
        let length = u16::try_from(length).expect("E299: a row is short");
        self.0[start..start + ROW_HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
    }

    /// The whole record.
    ///
    /// # Panics
    /// From 4 GiB on.
    pub fn finish(mut self) -> Vec<u8> {
        let body = self.0.len() - HEAD_BYTES;
        let body = u32::try_from(body).expect("records are bounded far below 4 GiB");
        self.0[1..HEAD_BYTES].copy_from_slice(&body.to_le_bytes());
        self.0
    }
}

/// Takes a record apart. What is left of the body when it is dropped belongs to later versions.
pub struct Reader<'a> {
    record: &'static str,
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks the head of a value.
    ///
    /// # Errors
    /// If the value is no frame.
    pub fn new(record: &'static str, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let found = bytes.len();
        let Some((head, left)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Err(DecodeError::Length { record, found, expected: HEAD_BYTES });
        };
        let [version, length @ ..] = *head;
        if version == 0 {
            return Err(DecodeError::Version { record, found: version });
        }
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if left.len() != length {
            let expected = length.saturating_add(HEAD_BYTES);
            return Err(DecodeError::Length { record, found, expected });
        }
        Ok(Self { record, left })
    }

    fn take(&mut self, field: &'static str, needed: usize) -> Result<&'a [u8], DecodeError> {
        let (record, left) = (self.record, self.left.len());
        let Some((taken, rest)) = self.left.split_at_checked(needed) else {
            return Err(DecodeError::Short { record, field, needed, left });
        };
        self.left = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        Ok(*self.take(field, N)?.first_chunk().expect("as many as were asked for"))
    }

    /// Bytes that are not read yet: whoever takes memory by a count compares it with them first.
    pub const fn left(&self) -> usize {
        self.left.len()
    }

    /// One byte.
    ///
    /// # Errors
    /// If the body ends before.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(u8::from_le_bytes)
    }

    /// Two bytes.
    ///
    /// # Errors
    /// If the body ends before.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// If the body ends before.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// If the body ends before.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// Sixteen bytes.
    ///
    /// # Errors
    /// If the body ends before.
    pub fn u128(&mut self, field: &'static str) -> Result<u128, DecodeError> {
        self.array(field).map(u128::from_le_bytes)
    }

    /// One byte that is 0 or 1.
    ///
    /// # Errors
    /// If it is another, or the body ends before.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(self.bad_number(field, found.into(), "0 or 1")),
        }
    }

    /// How many elements follow, of `bytes_min` bytes each at least: memory may be taken for them.
    ///
    /// # Errors
    /// If there are more than `max`, or the body has fewer bytes.
    pub fn count(
        &mut self,
        field: &'static str,
        max: usize,
        bytes_min: usize,
    ) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.u32(field)?).unwrap_or(usize::MAX);
        if max < count {
            let why = alloc::format!("found {count} elements, at most {max}");
            return Err(self.bad_text(field, why));
        }
        let left = self.left();
        if left < count.saturating_mul(bytes_min) {
            let why =
                alloc::format!("{count} elements of at least {bytes_min} bytes, {left} are left");
            return Err(self.bad_text(field, why));
        }
        Ok(count)
    }

    /// What `Writer::bytes` wrote, at most `bytes_max` bytes.
    ///
    /// # Errors
    /// If it is longer, or the body ends before.
    pub fn bytes(
        &mut self,
        field: &'static str,
        bytes_max: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.u32(field)?).unwrap_or(usize::MAX);
        if bytes_max < length {
            let why = alloc::format!("found {length} bytes, at most {bytes_max}");
            return Err(self.bad_text(field, why));
        }
        self.take(field, length)
    }

    /// What `Writer::row` wrote. What is left of the row when it is dropped belongs to later
    /// versions.
    ///
    /// # Errors
    /// If the body ends before.
    pub fn row(&mut self, field: &'static str) -> Result<Self, DecodeError> {
        let length = self.u16(field)?.into();
        Ok(Self { record: self.record, left: self.take(field, length)? })
    }

    /// A text of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// If it is longer or no UTF-8, or the body ends before.
    pub fn text(&mut self, field: &'static str, bytes_max: usize) -> Result<String, DecodeError> {
        let bytes = self.bytes(field, bytes_max)?;
        match core::str::from_utf8(bytes) {
            Ok(text) => Ok(text.into()),
            Err(error) => Err(self.bad_text(field, alloc::format!("{error}"))),
        }
    }

    /// The error of a field whose number has no meaning.
    pub const fn bad_number(
        &self,
        field: &'static str,
        found: u64,
        expected: &'static str,
    ) -> DecodeError {
        DecodeError::Number { record: self.record, field, found, expected }
    }

    /// The error of a field whose text is not admitted.
    pub const fn bad_text(&self, field: &'static str, why: String) -> DecodeError {
        DecodeError::Text { record: self.record, field, why }
    }
}

/// For the tests of decoders: every cut and every flipped bit of `bytes` decodes or is an error,
/// and a longer body of a later version decodes to the same as `bytes`.
///
/// # Panics
/// When the decoder breaks one of these promises.
pub fn check_decoder<T: PartialEq + core::fmt::Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
) {
    let whole = decode(bytes).expect("the record itself decodes");
    for cut in 0..bytes.len() {
        assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        let mut short = bytes[..cut].to_vec();
        if let Some(length) = cut.checked_sub(HEAD_BYTES) {
            let length = u32::try_from(length).expect("a small record");
            short[1..HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
            assert!(decode(&short).is_err(), "a body of {length} bytes");
        }
    }
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = decode(&flipped); // no panic
    }
    let mut longer = bytes.to_vec();
    longer[0] += 1;
    longer.extend_from_slice(b"tail");
    assert!(decode(&longer).is_err(), "bytes behind the body");
    let length = u32::try_from(longer.len() - HEAD_BYTES).expect("a small record");
    longer[1..HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
    assert_eq!(decode(&longer).expect("E299: a tail is skipped"), whole);
}

#[cfg(test)]
mod tests;
