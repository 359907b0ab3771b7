//! Rows of a dump: the same thing as a line of a table or as JSON.

use core::marker::PhantomData;

use engine_shard::Listed;
use engine_store::{ChunkKey, Slot, TargetPhase, TargetRecord};
use engine_types::ChunkVersion;
use serde::Serialize;

use crate::exit::OutputError;
use crate::output::Output;
use crate::table::Align::{Left, Right};
use crate::table::{Cell, Column, Table};

/// Something that has a row.
pub(super) trait Row: Serialize {
    /// Titles in the order of the cells.
    const COLUMNS: &'static [Column];

    /// Its fields as text.
    fn cells(&self) -> Vec<Cell>;
}

/// Rows on their way out, up to a limit.
pub(super) struct Rows<'a, R: Row> {
    out: &'a mut Output,
    table: Table,
    left: u64,
    cut: bool,
    kind: PhantomData<R>,
}

impl<'a, R: Row> Rows<'a, R> {
    /// At most `limit` rows go to `out`.
    pub(super) fn new(out: &'a mut Output, limit: Option<u64>) -> Self {
        let (table, left) = (Table::new(R::COLUMNS), limit.unwrap_or(u64::MAX));
        Self { out, table, left, cut: false, kind: PhantomData }
    }

    /// Prints a row. False: this one was one too many, and no more are wanted.
    pub(super) fn put(&mut self, row: &R) -> Result<bool, OutputError> {
        if self.left == 0 {
            self.cut = true;
            return Ok(false);
        }
        self.left -= 1;
        match self.out.json {
            true => self.out.document(row)?,
            false => self.table.row(self.out, row.cells())?,
        }
        Ok(true)
    }

    /// All rows were handed over.
    pub(super) fn finish(self) -> Result<(), OutputError> {
        if self.out.json {
            return Ok(());
        }
        self.table.finish(self.out)?;
        if self.cut { self.out.line("... more (--limit)") } else { Ok(()) }
    }
}

/// A slot with its target.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct TargetRow {
    slot: u16,
    target: u64,
    chain: u32,
    chain_version: u32,
    incarnation: u64,
    phase: &'static str,
}

impl TargetRow {
    /// The target in `slot`.
    pub(super) fn new(slot: Slot, record: &TargetRecord) -> Self {
        let TargetRecord { target, chain, chain_version, incarnation, phase, .. } = record;
        Self {
            slot: slot.get(),
            target: target.get(),
            chain: chain.get(),
            chain_version: chain_version.get(),
            incarnation: incarnation.get(),
            phase: match phase {
                TargetPhase::Active => "active",
                TargetPhase::Dropping => "dropping",
            },
        }
    }
}

impl Row for TargetRow {
    const COLUMNS: &'static [Column] = &[
        ("slot", Right),
        ("target", Right),
        ("chain", Right),
        ("chain version", Right),
        ("incarnation", Right),
        ("phase", Left),
    ];

    fn cells(&self) -> Vec<Cell> {
        let Self { slot, target, chain, chain_version, incarnation, phase } = self;
        vec![
            slot.into(),
            target.into(),
            chain.into(),
            chain_version.into(),
            incarnation.into(),
            phase.into(),
        ]
    }
}

/// A chunk: its committed record, and the version that is pending, if any.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ChunkRow {
    slot: u16,
    inode: u64,
    index: u32,
    pending: Option<u32>,
    #[serde(flatten)]
    committed: Option<Committed>,
}

/// A committed record, without places and checksums.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Committed {
    version: u32,
    chain_version: u32,
    epoch: u32,
    len: u32,
    data_end: u32,
    chunk_size: u32,
    block_size: u32,
    allocated: u64,
    /// In hexadecimal: not every reader of JSON keeps 64 bits.
    digest: String,
}

impl ChunkRow {
    /// A chunk that readers see.
    pub(super) fn new(listed: &Listed, pending: Option<ChunkVersion>) -> Self {
        let Listed { key, head, digest, allocated } = listed;
        let committed = Committed {
            version: head.version.get(),
            chain_version: head.chain_version.get(),
            epoch: head.epoch.get(),
            len: head.len,
            data_end: head.data_end,
            chunk_size: head.size.bytes(),
            block_size: head.class.bytes(),
            allocated: *allocated,
            digest: format!("{digest:016x}"),
        };
        Self { committed: Some(committed), ..Self::named(key, pending) }
    }

    /// A chunk whose first version is pending.
    pub(super) fn of_new(key: &ChunkKey, pending: ChunkVersion) -> Self {
        Self::named(key, Some(pending))
    }

    fn named(key: &ChunkKey, pending: Option<ChunkVersion>) -> Self {
        Self {
            slot: key.slot.get(),
            inode: key.chunk.inode.get(),
            index: key.chunk.index,
            pending: pending.map(ChunkVersion::get),
            committed: None,
        }
    }
}

impl Row for ChunkRow {
    const COLUMNS: &'static [Column] = &[
        ("slot", Right),
        ("inode", Right),
        ("index", Right),
        ("pending", Right),
        ("version", Right),
        ("chain", Right),
        ("epoch", Right),
        ("length", Right),
        ("data end", Right),
        ("chunk size", Right),
        ("block size", Right),
        ("allocated", Right),
        ("digest", Left),
    ];

    fn cells(&self) -> Vec<Cell> {
        let pending = self.pending.map_or_else(|| "-".to_owned(), |version| version.to_string());
        let mut cells =
            vec![self.slot.into(), self.inode.into(), self.index.into(), pending.into()];
        match &self.committed {
            Some(record) => cells.extend::<[Cell; 9]>([
                record.version.into(),
                record.chain_version.into(),
                record.epoch.into(),
                record.len.into(),
                record.data_end.into(),
                record.chunk_size.into(),
                record.block_size.into(),
                record.allocated.into(),
                record.digest.as_str().into(),
            ]),
            None => cells.resize(Self::COLUMNS.len(), "-".into()),
        }
        cells
    }
}
