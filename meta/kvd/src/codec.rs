//! Payloads of the served form. Little-endian throughout.
//!
//! ```text
//!   key     length u16, bytes                   value   length u32, bytes
//!   range   begin key, end key                  entry   key, value
//!   commit  format u8 = 1, has version u8, read version u64,
//!           reads u32, ranges.., writes u32, ranges.., mutations u32, mutations..
//!   mutation  tag u8: 1 set    key, value              4 stamped key    key, offset u32, value
//!                     2 clear  range                   5 stamped value  key, offset u32, value
//!                     3 atomic operation u8, key, operand as a value
//!   error   found u64, limit u64, text as a value       (its number is in the body)
//! ```
//!
//! Bytes come from a peer: every length is compared with what is left before anything is taken,
//! and counts reserve no memory.

use meta_kv::key::Shown;
use meta_kv::{AtomicOp, CommitRequest, KeyRange, KvError, Mutation};

#[cfg(test)]
mod tests;

/// First byte of a commit.
const COMMIT_FORMAT: u8 = 1;

/// Bytes of an error's text that travel: what an operator reads.
const ERROR_TEXT_MAX: usize = 2_000;

/// Bytes that do not mean what they should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what} at byte {at} of {length}")]
pub struct Malformed {
    /// The field.
    pub what: &'static str,
    /// Where it begins.
    pub at: usize,
    /// Bytes in all.
    pub length: usize,
}

/// Reads fields one after the other.
struct Fields<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }

    fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.at, length: self.all.len() }
    }

    fn take(&mut self, what: &'static str, length: usize) -> Result<&'a [u8], Malformed> {
        let rest = &self.all[self.at..];
        let Some(taken) = rest.get(..length) else { return Err(self.malformed(what)) };
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        Ok(self.take(what, N)?.try_into().expect("N bytes were taken"))
    }

    fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(self.array::<1>(what)?[0])
    }

    fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn key(&mut self) -> Result<Vec<u8>, Malformed> {
        let length = self.u16("length of a key")?;
        Ok(self.take("key", length.into())?.to_vec())
    }

    fn value(&mut self) -> Result<Vec<u8>, Malformed> {
        let length = self.u32("length of a value")?;
        let length = usize::try_from(length).map_err(|_| self.malformed("length of a value"))?;
        Ok(self.take("value", length)?.to_vec())
    }

    fn range(&mut self) -> Result<KeyRange, Malformed> {
        Ok(KeyRange { begin: self.key()?, end: self.key()? })
    }

    fn list<T>(
        &mut self,
        what: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.u32(what)?;
        (0..count).map(|_| item(self)).collect()
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.at == self.all.len() { Ok(()) } else { Err(self.malformed("end")) }
    }
}

fn put_key(out: &mut Vec<u8>, key: &[u8]) {
    let length = u16::try_from(key.len()).expect("keys are checked before: at most 10,001 bytes");
    out.extend(length.to_le_bytes());
    out.extend(key);
}

fn put_u32(out: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).expect("sizes are checked before: far below 4 GiB");
    out.extend(number.to_le_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &[u8]) {
    put_u32(out, value.len());
    out.extend(value);
}

fn put_ranges(out: &mut Vec<u8>, ranges: &[KeyRange]) {
    put_u32(out, ranges.len());
    for range in ranges {
        put_key(out, &range.begin);
        put_key(out, &range.end);
    }
}

/// A commit, which has passed [`CommitRequest::check`].
pub fn encode_commit(request: &CommitRequest) -> Vec<u8> {
    let mut out = Vec::with_capacity(request.size() + 64);
    out.push(COMMIT_FORMAT);
    out.push(u8::from(request.read_version.is_some()));
    out.extend(request.read_version.unwrap_or(0).to_le_bytes());
    put_ranges(&mut out, &request.read_conflicts);
    put_ranges(&mut out, &request.write_conflicts);
    put_u32(&mut out, request.mutations.len());
    for mutation in &request.mutations {
        put_mutation(&mut out, mutation);
    }
    out
}

fn put_mutation(out: &mut Vec<u8>, mutation: &Mutation) {
    match mutation {
        Mutation::Set { key, value } => {
            out.push(1);
            put_key(out, key);
            put_value(out, value);
        }
        Mutation::Clear { range } => {
            out.push(2);
            put_key(out, &range.begin);
            put_key(out, &range.end);
        }
        Mutation::Atomic { op, key, operand } => {
            out.extend([3, op.code()]);
            put_key(out, key);
            put_value(out, operand);
        }
        Mutation::StampedKey { key, offset, value } => {
            out.push(4);
            put_key(out, key);
            put_u32(out, *offset);
            put_value(out, value);
        }
        Mutation::StampedValue { key, value, offset } => {
            out.push(5);
            put_key(out, key);
            put_u32(out, *offset);
            put_value(out, value);
        }
    }
}

/// The commit in `bytes`. Limits of keys and values are not checked here.
///
/// # Errors
/// [`Malformed`].
pub fn decode_commit(bytes: &[u8]) -> Result<CommitRequest, Malformed> {
    let mut fields = Fields::new(bytes);
    if fields.u8("format of a commit")? != COMMIT_FORMAT {
        return Err(Malformed { what: "format of a commit", at: 0, length: bytes.len() });
    }
    let has_version = fields.u8("read version")? != 0;
    let version = fields.u64("read version")?;
    let request = CommitRequest {
        epoch: 0, // travels in the body
        read_version: has_version.then_some(version),
        read_conflicts: fields.list("read conflicts", Fields::range)?,
        write_conflicts: fields.list("write conflicts", Fields::range)?,
        mutations: fields.list("mutations", take_mutation)?,
    };
    fields.end()?;
    Ok(request)
}

fn take_mutation(fields: &mut Fields<'_>) -> Result<Mutation, Malformed> {
    let tag = fields.u8("tag of a mutation")?;
    Ok(match tag {
        1 => Mutation::Set { key: fields.key()?, value: fields.value()? },
        2 => Mutation::Clear { range: fields.range()? },
        3 => {
            let op = AtomicOp::from_code(fields.u8("atomic operation")?);
            let op = op.ok_or_else(|| fields.malformed("atomic operation"))?;
            Mutation::Atomic { op, key: fields.key()?, operand: fields.value()? }
        }
        4 | 5 => {
            let key = fields.key()?;
            let offset = fields.u32("offset of a stamp")?;
            let offset =
                usize::try_from(offset).map_err(|_| fields.malformed("offset of a stamp"))?;
            let value = fields.value()?;
            if tag == 4 {
                Mutation::StampedKey { key, offset, value }
            } else {
                Mutation::StampedValue { key, value, offset }
            }
        }
        _ => return Err(fields.malformed("tag of a mutation")),
    })
}

/// Keys and values.
pub type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// Entries of a page.
pub fn encode_entries(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let bytes = entries.iter().map(|(key, value)| entry_size(key, value)).sum();
    let mut out = Vec::with_capacity(bytes);
    for (key, value) in entries {
        put_key(&mut out, key);
        put_value(&mut out, value);
    }
    out
}

/// Bytes of one entry in a payload.
pub fn entry_size(key: &[u8], value: &[u8]) -> usize {
    2 + key.len() + 4 + value.len()
}

/// `count` entries.
///
/// # Errors
/// [`Malformed`].
pub fn decode_entries(bytes: &[u8], count: u32) -> Result<Entries, Malformed> {
    let mut fields = Fields::new(bytes);
    let entries = (0..count).map(|_| Ok((fields.key()?, fields.value()?)));
    let entries = entries.collect::<Result<_, Malformed>>()?;
    fields.end()?;
    Ok(entries)
}

/// The largest number of an outcome; 0 is success.
const OUTCOME_MAX: u16 = 10;

/// Whether this version knows what an outcome means.
pub fn is_known(outcome: u16) -> bool {
    outcome <= OUTCOME_MAX
}

/// Number and details of an error.
pub fn encode_error(error: &KvError) -> (u16, Vec<u8>) {
    let (mut found, mut limit, mut text) = (0, 0, String::new());
    let code = match error {
        KvError::Conflict => 1,
        KvError::TooOld => 2,
        KvError::UnknownResult { reason } => {
            text.clone_from(reason);
            3
        }
        KvError::TimedOut { limit_ms } => {
            limit = *limit_ms;
            4
        }
        KvError::Unavailable { reason } => {
            text.clone_from(reason);
            5
        }
        KvError::Overloaded { reason } => {
            text.clone_from(reason);
            6
        }
        KvError::TooLarge { .. } | KvError::KeyTooLong { .. } | KvError::ValueTooLong { .. } => {
            let (code, sizes) = match error {
                KvError::TooLarge { found, limit } => (7, (*found, *limit)),
                KvError::KeyTooLong { found, limit } => (8, (*found, *limit)),
                KvError::ValueTooLong { found, limit } => (9, (*found, *limit)),
                _ => unreachable!("one of the three above"),
            };
            (found, limit) = (sizes.0 as u64, sizes.1 as u64);
            code
        }
        // A client checks these itself; they arrive as what they are, in words.
        KvError::OutsideLegalRange { .. }
        | KvError::InvertedRange { .. }
        | KvError::Unreadable { .. }
        | KvError::StampPosition { .. }
        | KvError::ConflictAfterWrite { .. }
        | KvError::Failed { .. } => {
            text = error.to_string();
            10
        }
    };
    assert!(is_known(code), "E243: outcome {code} has no meaning");
    let mut out = Vec::with_capacity(20 + text.len());
    out.extend(found.to_le_bytes());
    out.extend(limit.to_le_bytes());
    put_value(&mut out, &text.as_bytes()[..text.len().min(ERROR_TEXT_MAX)]);
    (code, out)
}

/// The error of a number and its details; a number from a newer peer fails in words.
pub fn decode_error(code: u16, details: &[u8]) -> KvError {
    let mut fields = Fields::new(details);
    let found = fields.u64("found").unwrap_or(0);
    let limit = fields.u64("limit").unwrap_or(0);
    let text = fields.value().unwrap_or_default();
    let reason = String::from_utf8_lossy(&text).into_owned();
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let (found, limit_bytes) = (size(found), size(limit));
    match code {
        1 => KvError::Conflict,
        2 => KvError::TooOld,
        3 => KvError::UnknownResult { reason },
        4 => KvError::TimedOut { limit_ms: limit },
        5 => KvError::Unavailable { reason },
        6 => KvError::Overloaded { reason },
        7 => KvError::TooLarge { found, limit: limit_bytes },
        8 => KvError::KeyTooLong { found, limit: limit_bytes },
        9 => KvError::ValueTooLong { found, limit: limit_bytes },
        10 => KvError::Failed { reason },
        _ => {
            let key = Shown::of(&text);
            KvError::Failed { reason: format!("error {code}, unknown to this version: {key}") }
        }
    }
}
