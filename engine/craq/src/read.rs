//! The table of reads that wait for the tail or for a commit.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use engine_types::ChunkId;

use crate::words::{QueryId, ReadId};

/// What a read waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// The answer of the tail, asked while the version in flight had this serial.
    Answer { query: QueryId, serial: u64 },
    /// The end of the version in flight.
    Commit,
}

/// A read that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitingRead {
    pub(crate) id: ReadId,
    pub(crate) asks: u8,
    pub(crate) waits: For,
}

/// Reads by chunk, each list in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reads {
    waiting: BTreeMap<ChunkId, Vec<WaitingRead>>,
    asked: BTreeMap<QueryId, ChunkId>,
    count: usize,
    query: u64,
}

impl Reads {
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// The next question's number.
    pub(crate) const fn next_query(&mut self) -> QueryId {
        self.query += 1;
        QueryId(self.query)
    }

    pub(crate) fn wait(&mut self, chunk: ChunkId, read: WaitingRead) {
        if let For::Answer { query, .. } = read.waits {
            self.asked.insert(query, chunk);
        }
        self.waiting.entry(chunk).or_default().push(read);
        self.count += 1;
    }

    /// Takes every read of a chunk.
    pub(crate) fn take(&mut self, chunk: ChunkId) -> Vec<WaitingRead> {
        let taken = self.waiting.remove(&chunk).unwrap_or_default();
        self.count -= taken.len();
        for read in &taken {
            if let For::Answer { query, .. } = read.waits {
                self.asked.remove(&query);
            }
        }
        taken
    }

    /// Takes the read that asked this question.
    pub(crate) fn take_asked(&mut self, query: QueryId) -> Option<(ChunkId, WaitingRead)> {
        let chunk = self.asked.remove(&query)?;
        let list = self.waiting.get_mut(&chunk)?;
        let asked =
            |read: &WaitingRead| matches!(read.waits, For::Answer { query: of, .. } if of == query);
        let read = list.remove(list.iter().position(asked)?);
        if list.is_empty() {
            self.waiting.remove(&chunk);
        }
        self.count -= 1;
        Some((chunk, read))
    }

    /// Takes all.
    pub(crate) fn take_all(&mut self) -> Vec<WaitingRead> {
        self.count = 0;
        self.asked.clear();
        core::mem::take(&mut self.waiting).into_values().flatten().collect()
    }

    /// Nobody answers: what is in flight will end.
    pub(crate) fn expect_commits(&mut self) {
        self.asked.clear();
        for read in self.waiting.values_mut().flatten() {
            read.waits = For::Commit;
        }
    }
}
