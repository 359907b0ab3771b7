//! A stream as checked blocks. Whatever is in it, the answer is a block, the end or an error
//! (E221).

use std::io::{ErrorKind, Read};

use engine_types::Crc32cState;

use super::format::{
    BLOCK_BYTES_MAX, ENTRY_HEAD_BYTES, FOOTER_BYTES, FORMAT_VERSION, Footer, HEAD_BYTES,
    HEADER_BYTES, Head, KIND_BLOCK, KIND_FOOTER, MAGIC, crc, origin, u32_at,
};
use super::{BackupError, Origin, Progress};
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

pub(super) struct Reader<R> {
    reader: R,
    origin: Origin,
    size: Progress,
    entry_bytes: u64,
    number: u32,
    digest: Crc32cState,
    last: Option<Vec<u8>>,
}

/// Entries that have been checked.
pub(super) struct Block(Vec<u8>);

impl Block {
    pub(super) fn entries(&self) -> Vec<(&[u8], &[u8])> {
        Entries { rest: &self.0 }.map(|entry| entry.expect("checked when it was read")).collect()
    }
}

struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    /// A length within its limit, and as many bytes.
    fn part(&mut self, limit: usize) -> Option<&'a [u8]> {
        let length = usize::try_from(u32_at(self.rest.get(..4)?, 0)).ok()?;
        let part = self.rest[4..].get(..length).filter(|part| part.len() <= limit)?;
        self.rest = &self.rest[4 + length..];
        Some(part)
    }
}

/// Key and value, or nothing where the bytes make none; then it ends.
impl<'a> Iterator for Entries<'a> {
    type Item = Option<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let key = self.part(KEY_BYTES_MAX);
        let entry = key.and_then(|key| Some((key, self.part(VALUE_BYTES_MAX)?)));
        if entry.is_none() {
            self.rest = &[];
        }
        Some(entry)
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    pub(super) fn new(mut reader: R) -> Result<Self, BackupError> {
        let mut size = Progress::default();
        let mut header = [0; HEADER_BYTES];
        fill(&mut reader, &mut size, &mut header[..8])?;
        if header[..8] != MAGIC {
            let mut found = [0; 8];
            found.copy_from_slice(&header[..8]);
            return Err(BackupError::Foreign { found, expected: MAGIC });
        }
        fill(&mut reader, &mut size, &mut header[8..])?;
        // Before the version: a changed bit in it is damage, not a later program.
        check(0, "the CRC of the header", crc(&[&header[..60]]), u32_at(&header, 60))?;
        let found = u32_at(&header, 8);
        if found != FORMAT_VERSION {
            let (found, known) = (u64::from(found), u64::from(FORMAT_VERSION));
            return Err(BackupError::Newer { found, known });
        }
        let (digest, origin) = (Crc32cState::new(), origin(&header));
        Ok(Self { reader, origin, size, entry_bytes: 0, number: 0, digest, last: None })
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    pub(super) fn progress(&self) -> Progress {
        self.size
    }

    /// The next block; nothing behind the footer, which is then checked and the last of the file.
    pub(super) fn next(&mut self) -> Result<Option<Block>, BackupError> {
        let offset = self.size.bytes;
        let mut head = [0; HEAD_BYTES];
        fill(&mut self.reader, &mut self.size, &mut head)?;
        let head = Head::decoded(&head);
        let limit = match head.kind {
            KIND_BLOCK => BLOCK_BYTES_MAX,
            KIND_FOOTER => FOOTER_BYTES,
            found => return Err(damaged(offset, "the kind of a part", KIND_BLOCK, found)),
        };
        let bytes = usize::try_from(head.bytes).unwrap_or(usize::MAX);
        if limit < bytes {
            return Err(damaged(offset, "the length of a part", limit as u64, head.bytes));
        }
        let mut payload = vec![0; bytes];
        fill(&mut self.reader, &mut self.size, &mut payload)?;
        check(offset, "the CRC of a part", head.checksum(&payload), head.crc)?;
        check(offset, "the number of a part", self.number, head.number)?;
        if head.kind == KIND_FOOTER {
            self.end(offset, &payload)?;
            return Ok(None);
        }
        self.take(offset, head, &payload)?;
        Ok(Some(Block(payload)))
    }

    /// Checks the entries of a block: whole ones, as many as it says, in order.
    fn take(&mut self, offset: u64, head: Head, payload: &[u8]) -> Result<(), BackupError> {
        let mut entries = Entries { rest: payload };
        let mut count = 0u64;
        loop {
            let at = payload.len() - entries.rest.len();
            let Some(entry) = entries.next() else { break };
            let place = offset + (HEAD_BYTES + at) as u64;
            let Some((key, _)) = entry else {
                let left = (payload.len() - at) as u64;
                return Err(damaged(place, "an entry", ENTRY_HEAD_BYTES as u64, left));
            };
            if self.last.as_deref().is_some_and(|last| key <= last) {
                return Err(damaged(place, "the order of keys", 1u32, 0u32));
            }
            let last = self.last.get_or_insert_default();
            last.clear();
            last.extend_from_slice(key);
            count += 1;
        }
        if count == 0 || count != u64::from(head.entries) {
            return Err(damaged(offset, "the number of entries", count, head.entries));
        }
        self.number = self.number.checked_add(1).ok_or_else(|| {
            damaged(offset, "the number of blocks", u32::MAX, u64::from(u32::MAX) + 1)
        })?;
        self.size.keys += count;
        self.entry_bytes += payload.len() as u64;
        self.digest.update(payload);
        Ok(())
    }

    fn end(&mut self, offset: u64, payload: &[u8]) -> Result<(), BackupError> {
        let Ok(payload) = payload.try_into() else {
            let found = payload.len() as u64;
            return Err(damaged(offset, "the length of the footer", FOOTER_BYTES as u64, found));
        };
        let found = Footer::decoded(payload);
        check(offset, "the number of keys", self.size.keys, found.keys)?;
        check(offset, "the bytes of entries", self.entry_bytes, found.bytes)?;
        check(offset, "the number of blocks", u64::from(self.number), found.blocks)?;
        check(offset, "the CRC of all entries", self.digest.finish().get(), found.digest)?;
        match fill(&mut self.reader, &mut Progress::default(), &mut [0]) {
            Err(BackupError::Cut { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(damaged(self.size.bytes, "what follows the footer", 0u32, 1u32)),
        }
    }
}

fn check<T: Copy + Eq + Into<u64>>(
    offset: u64,
    what: &'static str,
    expected: T,
    found: T,
) -> Result<(), BackupError> {
    if expected == found { Ok(()) } else { Err(damaged(offset, what, expected, found)) }
}

fn damaged(
    offset: u64,
    what: &'static str,
    expected: impl Into<u64>,
    found: impl Into<u64>,
) -> BackupError {
    BackupError::Damaged { offset, what, expected: expected.into(), found: found.into() }
}

/// Reads exactly as many bytes.
fn fill(reader: &mut impl Read, size: &mut Progress, out: &mut [u8]) -> Result<(), BackupError> {
    let mut filled = 0;
    while filled < out.len() {
        match reader.read(&mut out[filled..]) {
            Ok(0) => {
                let (offset, expected) = (size.bytes, out.len() as u64);
                return Err(BackupError::Cut { offset, expected, found: filled as u64 });
            }
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                let offset = size.bytes + filled as u64;
                return Err(BackupError::Read { offset, reason: error.to_string() });
            }
        }
    }
    size.bytes += out.len() as u64;
    Ok(())
}
