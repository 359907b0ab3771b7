//! Clients that write the content of a few files, together: cells with tags, appends, cuts, files
//! that go and come, and what they saw.

use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use client_storage::At;
use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_types::{ChainId, ChunkId, InodeId, SessionId};
use meta_protocol::{Answer, Attr, OpenMode, Operation, op};
use meta_schema::change::AttrChange;
use meta_schema::{INODE_ROOT, Layout, Mode, TruncateEpoch};

use super::chunks::{CELL, CHAINS, MapChunks, Shelf, Wrote};
use super::ground::Ground;
use super::setting::Work;
use super::user::{Asker, request};

/// Cells of a file at most: a few rounds of its stripe.
pub(super) const CELLS: u64 = 640;
/// Cells of one write or append at most.
const PIECE_MAX: u64 = 6;
/// Time for one write of a cell.
const WRITE_TIME: Duration = Duration::from_millis(400);

/// A write of one cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write {
    pub(super) ino: InodeId,
    pub(super) cell: u64,
    pub(super) tag: u64,
    pub(super) began: i64,
    /// When it was acknowledged.
    pub(super) done: Option<i64>,
    /// It was refused: it never landed.
    pub(super) refused: bool,
    /// When a sync that covers it was answered.
    pub(super) synced: Option<i64>,
}

/// A cut of a file, or an open that truncates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) ino: InodeId,
    /// Cells that stay.
    pub(super) cells: u64,
    pub(super) began: i64,
    pub(super) done: Option<i64>,
}

/// What somebody saw of a file.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) ino: InodeId,
    pub(super) began: i64,
    pub(super) ended: i64,
    /// Tags of the cells up to the length.
    pub(super) cells: Vec<u64>,
}

/// All that was done to content.
#[derive(Clone, Debug, Default)]
pub(super) struct Deeds {
    pub(super) writes: Vec<Write>,
    pub(super) cuts: Vec<Cut>,
    pub(super) seen: Vec<Seen>,
    /// Operations that clients have begun.
    pub(super) operations: BTreeMap<u32, u32>,
    next_seq: u64,
    next_tag: u64,
}

/// Where the cell of a file lies.
pub(super) fn place(layout: &Layout, cell: u64) -> (ChainId, u32, usize) {
    let per_chunk = u64::from(layout.chunk_size.bytes()) / CELL;
    let index = u32::try_from(cell / per_chunk).expect("files are small");
    let chain = Shelf::chains()[layout.chain_index(index % layout.stripe, CHAINS) as usize];
    (chain, index, usize::try_from(cell % per_chunk).expect("few"))
}

/// A file that is open.
#[derive(Clone, Debug)]
struct Open {
    ino: InodeId,
    epoch: TruncateEpoch,
    layout: Layout,
    /// Behind the last byte that was written, and whether a write is in doubt.
    end: u64,
    in_doubt: bool,
    /// Writes since the last sync, as numbers of `Deeds::writes`.
    unsynced: Vec<usize>,
}

struct Writer {
    asker: Asker,
    session: SessionId,
    chunks: MapChunks,
    open: BTreeMap<usize, Open>,
}

/// One life of a writer.
pub(super) async fn run(env: SimEnv, ground: Rc<Ground>, client: u32) {
    let Work::Data { operations, files } = ground.setting.work else { return };
    let session = ground.client_starts(client);
    let chunks = MapChunks::new(&env, session, &ground.shelf);
    let asker = Asker::new(&env, &ground);
    let mut writer = Writer { asker, session, chunks, open: BTreeMap::new() };
    loop {
        {
            let mut deeds = ground.deeds.borrow_mut();
            let begun = deeds.operations.entry(client).or_default();
            if operations <= *begun {
                break;
            }
            *begun += 1;
        }
        let file = usize::try_from(env.random() % files as u64).expect("few");
        writer.operate(file).await;
        writer.asker.pause().await;
    }
    for file in 0..files {
        writer.close(file).await;
    }
    ground.finished.borrow_mut().insert(client);
    env.sleep_until(engine_types::Instant::NEVER).await;
}

fn name(file: usize) -> Vec<u8> {
    format!("file-{file}").into_bytes()
}

fn size(ino: InodeId, cells: u64) -> Operation {
    let change =
        AttrChange { size: Some(cells * CELL), by_open_handle: true, ..AttrChange::default() };
    op::SetAttr { ino, change }.into()
}

impl Writer {
    fn below(&self, bound: u64) -> u64 {
        self.asker.env.random() % bound
    }

    async fn ask(&self, operation: impl Into<Operation>) -> Option<Answer> {
        let operation = operation.into();
        let seq = {
            let mut deeds = self.asker.ground.deeds.borrow_mut();
            deeds.next_seq += 1;
            deeds.next_seq
        };
        let seq = operation.mutates().then_some(seq);
        self.asker.ask(&request(self.session, seq, operation)).await.ok()
    }

    async fn operate(&mut self, file: usize) {
        match self.below(20) {
            0..=6 => self.write(file).await,
            7..=10 => self.append(file).await,
            11..=12 => self.sync(file).await,
            13..=15 => self.cut(file).await,
            16 => self.close(file).await,
            17 => {
                self.open(file, true).await;
            }
            18 if self.below(3) == 0 => {
                let unlink = op::Unlink { parent: INODE_ROOT, name: name(file), hold: false };
                self.ask(unlink).await;
                self.open.remove(&file);
            }
            _ => self.look(file).await,
        }
    }

    /// The file, opened to write; anew when it has to be truncated.
    async fn open(&mut self, file: usize, truncate: bool) -> Option<Open> {
        if let (false, Some(open)) = (truncate, self.open.get(&file)) {
            return Some(open.clone());
        }
        self.sync(file).await;
        let create = op::Create {
            parent: INODE_ROOT,
            name: name(file),
            mode: Mode::new(0o644),
            umask: Mode::default(),
            exclusive: false,
            open: Some(OpenMode { read: true, write: true, truncate: false, append: false }),
            layout: None,
        };
        let Some(Answer::Opened { mut attr, .. }) = self.ask(create).await else { return None };
        if truncate {
            let mode = OpenMode { read: true, write: true, truncate: true, append: false };
            let cut = self.begin_cut(attr.ino, 0);
            let Some(Answer::Opened { attr: cut_attr, .. }) =
                self.ask(op::Open { ino: attr.ino, mode }).await
            else {
                self.open.remove(&file);
                return None;
            };
            self.end_cut(cut);
            attr = cut_attr;
        }
        self.opened(file, &attr)
    }

    fn opened(&mut self, file: usize, attr: &Attr) -> Option<Open> {
        let open = Open {
            ino: attr.ino,
            epoch: attr.truncate_epoch,
            layout: attr.layout?,
            end: 0,
            in_doubt: false,
            unsynced: Vec::new(),
        };
        self.open.insert(file, open.clone());
        Some(open)
    }

    fn begin_cut(&self, ino: InodeId, cells: u64) -> usize {
        let began = self.asker.now();
        let mut deeds = self.asker.ground.deeds.borrow_mut();
        deeds.cuts.push(Cut { ino, cells, began, done: None });
        deeds.cuts.len() - 1
    }

    fn end_cut(&self, cut: usize) {
        self.asker.ground.deeds.borrow_mut().cuts[cut].done = Some(self.asker.now());
    }

    async fn write(&mut self, file: usize) {
        if self.open(file, false).await.is_none() {
            return;
        }
        let first = self.below(CELLS - PIECE_MAX);
        let count = self.below(PIECE_MAX) + 1;
        self.write_cells(file, first..first + count).await;
    }

    async fn write_cells(&mut self, file: usize, cells: core::ops::Range<u64>) {
        for cell in cells {
            let Some(open) = self.open.get(&file).cloned() else { return };
            let (chain, index, inside) = place(&open.layout, cell);
            let chunk = ChunkId { inode: open.ino, index };
            let at = At { chain, chunk, size: open.layout.chunk_size, epoch: open.epoch.get() };
            let began = self.asker.now();
            let (number, tag) = {
                let mut deeds = self.asker.ground.deeds.borrow_mut();
                deeds.next_tag += 1;
                let tag = deeds.next_tag;
                let write = Write {
                    ino: open.ino,
                    cell,
                    tag,
                    began,
                    done: None,
                    refused: false,
                    synced: None,
                };
                deeds.writes.push(write);
                (deeds.writes.len() - 1, tag)
            };
            let by = self.asker.env.now() + WRITE_TIME;
            let wrote = self.chunks.write(at, inside, tag, by).await;
            let now = self.asker.now();
            let open = self.open.get_mut(&file).expect("it is open");
            match wrote {
                Wrote::Done => {
                    self.asker.ground.deeds.borrow_mut().writes[number].done = Some(now);
                    open.end = open.end.max((cell + 1) * CELL);
                    open.unsynced.push(number);
                }
                Wrote::Unknown => {
                    open.end = open.end.max((cell + 1) * CELL);
                    open.in_doubt = true;
                }
                Wrote::Stale => {
                    self.asker.ground.deeds.borrow_mut().writes[number].refused = true;
                    return self.renew(file).await;
                }
            }
        }
    }

    /// The file was cut since it was opened: asks for its epoch, after telling what was written.
    async fn renew(&mut self, file: usize) {
        self.sync(file).await;
        let Some(open) = self.open.get(&file).cloned() else { return };
        let mode = OpenMode { read: true, write: true, truncate: false, append: false };
        match self.ask(op::Open { ino: open.ino, mode }).await {
            Some(Answer::Opened { attr, .. }) => {
                self.opened(file, &attr);
            }
            _ => {
                self.open.remove(&file);
            }
        }
    }

    async fn append(&mut self, file: usize) {
        let Some(open) = self.open(file, false).await else { return };
        // What it wrote before, under another epoch perhaps, is told first.
        self.sync(file).await;
        let cells = self.below(PIECE_MAX) + 1;
        let append = op::Append { ino: open.ino, length: cells * CELL };
        let Some(Answer::Appended { offset, attr }) = self.ask(append).await else { return };
        if !offset.is_multiple_of(CELL) || CELLS * 2 < offset / CELL {
            return;
        }
        if let Some(open) = self.open.get_mut(&file) {
            open.epoch = attr.truncate_epoch;
        }
        self.write_cells(file, offset / CELL..offset / CELL + cells).await;
    }

    fn hint(open: &Open) -> Option<op::Hint> {
        let Open { epoch, end, in_doubt, .. } = *open;
        let modified = end != 0;
        modified.then_some(op::Hint { truncate_epoch: epoch, end, modified, in_doubt })
    }

    async fn sync(&mut self, file: usize) {
        let Some(open) = self.open.get_mut(&file) else { return };
        let told = core::mem::take(&mut open.unsynced);
        let (ino, hint) = (open.ino, Self::hint(open));
        if let Some(Answer::Attr(_)) = self.ask(op::Sync { ino, hint, atime: None }).await {
            let now = self.asker.now();
            let mut deeds = self.asker.ground.deeds.borrow_mut();
            for number in told {
                deeds.writes[number].synced = Some(now);
            }
            if let Some(open) = self.open.get_mut(&file) {
                (open.end, open.in_doubt) = (0, false);
            }
        }
    }

    async fn close(&mut self, file: usize) {
        self.sync(file).await;
        let Some(open) = self.open.remove(&file) else { return };
        let hint = Self::hint(&open);
        self.ask(op::Close { ino: open.ino, hint, atime: None }).await;
    }

    async fn cut(&mut self, file: usize) {
        let Some(open) = self.open(file, false).await else { return };
        self.sync(file).await;
        let cells = self.below(CELLS);
        let cut = self.begin_cut(open.ino, cells);
        let Some(Answer::Attr(attr)) = self.ask(size(open.ino, cells)).await else { return };
        self.end_cut(cut);
        if let Some(open) = self.open.get_mut(&file) {
            open.epoch = attr.truncate_epoch;
        }
    }

    /// What a reader sees: the length, then the bytes.
    async fn look(&mut self, file: usize) {
        let Some(open) = self.open(file, false).await else { return };
        let began = self.asker.now();
        let Some(Answer::Attr(attr)) = self.ask(op::Stat { ino: open.ino }).await else { return };
        let when = (began, self.asker.now());
        let seen = see(&self.asker.ground, open.ino, &open.layout, attr.size, when);
        self.asker.ground.deeds.borrow_mut().seen.push(seen);
    }
}

/// What a file shows now, to who asked for its length between two times.
pub(super) fn see(
    ground: &Ground,
    ino: InodeId,
    layout: &Layout,
    length: u64,
    (began, ended): (i64, i64),
) -> Seen {
    let cells = (length / CELL).min(CELLS * 3);
    let cell = |cell| {
        let (chain, index, inside) = place(layout, cell);
        ground.shelf.cell(chain, ino, index, inside)
    };
    Seen { ino, began, ended, cells: (0..cells).map(cell).collect() }
}
