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
    let mut stream = Stream::new(writer, progress);
    stream.put(&header(&origin))?;
    let mut read = Some(RangeRead::new(everything()));
    while let Some(asked) = read {
        read = stream.page(snapshot, &asked)?;
    }
    stream.end()?;
    Ok(stream.size)
}

/// A backup that its receiver takes in pieces, each about a block: for stores that are served.
pub struct Pieces<S> {
    snapshot: S,
    stream: Stream<Vec<u8>, fn(Progress)>,
    rest: Option<RangeRead>,
    ended: bool,
}

impl<S: EngineSnapshot> Pieces<S> {
    /// Of `snapshot`, from its first key.
    pub fn new(snapshot: S, origin: Origin) -> Self {
        let mut stream = Stream::new(Vec::new(), (|_| ()) as fn(Progress));
        stream.put(&header(&origin)).expect("memory takes everything");
        Self { snapshot, stream, rest: Some(RangeRead::new(everything())), ended: false }
    }

    /// The next piece, at most [`PIECE_BYTES_MAX`] bytes; nothing after the last. The pieces one
    /// after the other are what [`backup`](super::backup) writes.
    ///
    /// # Errors
    /// Of the snapshot; what was taken then is no backup.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, BackupError> {
        while self.stream.writer.is_empty() && !self.ended {
            match self.rest.take() {
                Some(asked) => self.rest = self.stream.page(&self.snapshot, &asked)?,
                None => {
                    self.stream.end()?;
                    self.ended = true;
                }
            }
        }
        let piece = core::mem::take(&mut self.stream.writer);
        assert!(piece.len() <= PIECE_BYTES_MAX, "E221: a piece of {} bytes", piece.len());
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.stream.size
    }
}

/// Bytes of a piece at most: what one page of the snapshot completes, with header and footer.
pub const PIECE_BYTES_MAX: usize = 3 * BLOCK_BYTES_MAX;

/// The store's own keys included: behind every key that the limits allow.
fn everything() -> KeyRange {
    KeyRange::new(Vec::new(), vec![SYSTEM_PREFIX; KEY_BYTES_MAX + 1])
}

impl<W: Write, P: FnMut(Progress)> Stream<W, P> {
    fn new(writer: W, progress: P) -> Self {
        Self {
            writer,
            progress,
            block: Vec::with_capacity(BLOCK_BYTES_MAX),
            entries: 0,
            number: 0,
            size: Progress::default(),
            entry_bytes: 0,
            digest: Crc32cState::new(),
        }
    }

    /// Takes one page of a snapshot; answers the read that goes on behind it.
    fn page<S: EngineSnapshot>(
        &mut self,
        snapshot: &S,
        read: &RangeRead,
    ) -> Result<Option<RangeRead>, BackupError> {
        let page = snapshot.range(read)?;
        for (key, value) in &page.entries {
            self.entry(key, value)?;
        }
        let last = page.entries.last().filter(|_| page.more);
        Ok(last.map(|(last, _)| read.behind(last)))
    }

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

    fn end(&mut self) -> Result<(), BackupError> {
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
        flushed.map_err(|error| self.refused(&error))
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
