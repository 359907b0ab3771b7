//! A snapshot as a stream.

use std::io::Write;

use engine_types::Crc32cState;

use super::format::{
    BLOCK_BYTES_MAX, ENTRY_HEAD_BYTES, Footer, Head, KIND_BLOCK, KIND_FOOTER, header,
};
use super::{BackupError, Origin, Progress};
use crate::api::RangeRead;
use crate::engine::EngineSnapshot;
use crate::key::KeyRange;
use crate::limits::{KEY_BYTES_MAX, SYSTEM_PREFIX};

struct Stream<W, P> {
    writer: W,
    progress: P,
    block: Vec<u8>,
    entries: u32,
    number: u32,
    size: Progress,
    entry_bytes: u64,
    digest: Crc32cState,
}

/// Writes a whole backup.
pub(super) fn write<S: EngineSnapshot>(
    snapshot: &S,
    origin: Origin,
    writer: impl Write,
    progress: impl FnMut(Progress),
) -> Result<Progress, BackupError> {
    let mut stream = Stream {
        writer,
        progress,
        block: Vec::with_capacity(BLOCK_BYTES_MAX),
        entries: 0,
        number: 0,
        size: Progress::default(),
        entry_bytes: 0,
        digest: Crc32cState::new(),
    };
    stream.put(&header(&origin))?;
    let mut read = RangeRead::new(everything());
    loop {
        let page = snapshot.range(&read)?;
        for (key, value) in &page.entries {
            stream.entry(key, value)?;
        }
        let last = page.entries.last();
        match last.filter(|_| page.more) {
            Some((last, _)) => read = read.behind(last),
            None => break,
        }
    }
    stream.end()
}

/// The store's own keys included: behind every key that the limits allow.
fn everything() -> KeyRange {
    KeyRange::new(Vec::new(), vec![SYSTEM_PREFIX; KEY_BYTES_MAX + 1])
}

impl<W: Write, P: FnMut(Progress)> Stream<W, P> {
    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), BackupError> {
        let bytes = ENTRY_HEAD_BYTES + key.len() + value.len();
        if BLOCK_BYTES_MAX < self.block.len() + bytes {
            self.end_block()?;
        }
        for part in [key, value] {
            let length = u32::try_from(part.len()).expect("the limits of keys and values");
            self.block.extend_from_slice(&length.to_le_bytes());
            self.block.extend_from_slice(part);
        }
        self.entries += 1;
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), BackupError> {
        let block = core::mem::take(&mut self.block);
        assert!(block.len() <= BLOCK_BYTES_MAX, "E221: a block of {} bytes", block.len());
        self.put(&Head::new(KIND_BLOCK, self.number, self.entries, &block).encoded())?;
        self.put(&block)?;
        self.digest.update(&block);
        self.number += 1;
        self.size.keys += u64::from(core::mem::take(&mut self.entries));
        self.entry_bytes += block.len() as u64;
        self.block = block;
        self.block.clear();
        (self.progress)(self.size);
        Ok(())
    }

    fn end(mut self) -> Result<Progress, BackupError> {
        if 0 < self.entries {
            self.end_block()?;
        }
        let footer = Footer {
            keys: self.size.keys,
            bytes: self.entry_bytes,
            blocks: u64::from(self.number),
            digest: self.digest.finish().get(),
        };
        let footer = footer.encoded();
        self.put(&Head::new(KIND_FOOTER, self.number, 0, &footer).encoded())?;
        self.put(&footer)?;
        let flushed = self.writer.flush();
        flushed.map_err(|error| self.refused(&error))?;
        Ok(self.size)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        let written = self.writer.write_all(bytes);
        written.map_err(|error| self.refused(&error))?;
        self.size.bytes += bytes.len() as u64;
        Ok(())
    }

    fn refused(&self, error: &std::io::Error) -> BackupError {
        BackupError::Write { offset: self.size.bytes, reason: error.to_string() }
    }
}
