//! Chunks of all chains against the inodes of their files.
//!
//! Each chain lists its chunks in the order of inodes, a page at a time; the inodes of a page are
//! read behind it. What is in doubt then is asked for once more: an inode that is gone cannot come
//! back (E493), a file that nobody writes cannot change between two equal looks at it (E494).

use std::collections::{BTreeMap, BTreeSet};

use client_storage::At;
use engine_runtime::all;
use engine_types::{ChunkId, ChunkSize, SECTOR_BYTES};
use meta_schema::FileData;
use meta_schema::codec::Record;

use super::*;
use crate::chunks::sweep::{Place, reach};
use crate::chunks::{ListedChunk, REMOVE_BATCH_MAX};
use crate::op::truncate;
use crate::{length, session};

/// Inodes that are read at the same time.
const READS_AT_ONCE: usize = 64;

/// What may be wrong with the chunks that a chain has of one inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doubt {
    Orphan,
    Misplaced,
    Beyond,
}

/// What stands about an inode that has chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Looked {
    Gone,
    /// A finding of its own; nothing is said of its chunks.
    Unreadable,
    There {
        inode: Box<Inode>,
        /// Nobody writes or keeps it, its length is exact, and no cut is unfinished (E494).
        is_quiet: bool,
    },
}

impl Looked {
    /// The file, if it is one and does not wait for its removal.
    fn file(&self) -> Option<FileData> {
        match self {
            Self::There { inode, .. } if inode.nlink != 0 => inode.file().copied(),
            _ => None,
        }
    }

    /// Whether chunks of it have no business anywhere.
    fn has_no_chunks(&self) -> bool {
        match self {
            Self::Gone => true,
            Self::Unreadable => false,
            Self::There { inode, .. } => inode.file().is_none(),
        }
    }

    fn is_quiet(&self) -> bool {
        matches!(self, Self::There { is_quiet: true, .. })
    }
}

/// What the chunks of one inode on one chain make doubtful.
fn doubt(
    looked: &Looked,
    place: Option<&Place>,
    chain: ChainId,
    listed: &[ListedChunk],
) -> Option<Doubt> {
    if looked.has_no_chunks() {
        return Some(Doubt::Orphan);
    }
    let (file, place) = (looked.file()?, place?);
    if listed.iter().any(|chunk| place.at(chunk.chunk.index, 0).chain != chain) {
        return Some(Doubt::Misplaced);
    }
    let size = u64::from(place.size.bytes());
    let end = |chunk: &ListedChunk| u64::from(chunk.chunk.index) * size + u64::from(chunk.len);
    let is_beyond = listed.iter().any(|chunk| file.length < end(chunk));
    (is_beyond && looked.is_quiet()).then_some(Doubt::Beyond)
}

impl<E: Env, K: Kv, C: Chunks, P: FnMut(Progress)> Fsck<E, K, C, P> {
    /// Compares all chunks; whether anything was mended.
    pub(super) async fn all_chunks(&mut self, census: &mut Census) -> Result<bool, FsckError> {
        (self.report.chunks, self.report.unasked) = (0, Vec::new());
        let mut doubts = BTreeSet::new();
        for chain in self.files.chunks().all_chains() {
            if let Err(error) = self.chain(chain, census, &mut doubts).await? {
                self.unasked(chain, &error);
            }
        }
        let mut mended = false;
        for (ino, chain, doubt) in doubts {
            let looked = match doubt {
                Doubt::Orphan | Doubt::Misplaced => self.away(chain, ino, doubt).await?,
                Doubt::Beyond => self.beyond(chain, ino).await?,
            };
            match looked {
                Ok(done) => mended |= done,
                Err(error) => self.unasked(chain, &error),
            }
        }
        if self.report.unasked.is_empty() {
            for ino in census.without_chunks().collect::<BTreeSet<_>>() {
                self.missing(ino).await?;
            }
        }
        Ok(mended)
    }

    fn unasked(&mut self, chain: ChainId, error: &ChunksError) {
        tracing::warn!(%chain, %error, "its chunks are not known");
        if self.report.unasked.last().is_none_or(|(last, _)| *last != chain) {
            self.report.unasked.push((chain, error.to_string()));
        }
    }

    /// Reads what one chain has.
    async fn chain(
        &mut self,
        chain: ChainId,
        census: &mut Census,
        doubts: &mut BTreeSet<(InodeId, ChainId, Doubt)>,
    ) -> Result<Result<(), ChunksError>, FsckError> {
        let mut behind: Option<ChunkId> = None;
        loop {
            self.tell("chunks", self.report.chunks);
            let by = self.files.env().now() + CALL_TIME;
            let page = match self.files.chunks().listed(chain, behind, by).await {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            let Some(last) = page.last() else { return Ok(Ok(())) };
            behind = Some(last.chunk);
            self.report.chunks += page.len() as u64;
            let mut files: BTreeMap<InodeId, Vec<ListedChunk>> = BTreeMap::new();
            for listed in page {
                census.has_chunks(listed.chunk.inode);
                files.entry(listed.chunk.inode).or_default().push(listed);
            }
            let files: Vec<_> = files.into_iter().collect();
            for group in files.chunks(READS_AT_ONCE) {
                let looked = all(group.iter().map(|(ino, _)| self.look_at(*ino))).await;
                for ((ino, listed), looked) in group.iter().zip(looked) {
                    let looked = looked?;
                    let place = self.place(*ino, &looked);
                    if let Some(doubt) = doubt(&looked, place.as_ref(), chain, listed) {
                        doubts.insert((*ino, chain, doubt));
                    }
                }
            }
        }
    }

    /// Where the chunks of a file belong; nothing if its table is not known.
    fn place(&self, ino: InodeId, looked: &Looked) -> Option<Place> {
        Place::of(self.files.chunks(), ino, &looked.file()?.layout).ok()
    }

    async fn look_at(&self, ino: InodeId) -> Result<Looked, FsckError> {
        let looked = self.files.transact(async |view, _| {
            let raw = view.get_raw(&Key::Inode(ino), ReadMode::Snapshot).await?;
            let Some(raw) = raw else { return Ok(Looked::Gone) };
            let Ok(inode) = Inode::decode(&raw) else { return Ok(Looked::Unreadable) };
            let cut = view.get_raw(&Key::Shrink(ino), ReadMode::Snapshot).await?;
            let mark = view.get_raw(&Key::LengthQuery(ino), ReadMode::Snapshot).await?;
            let sessions = view.entries(session::all_of(ino), 1, ReadMode::Snapshot).await?;
            let is_quiet = cut.is_none() && mark.is_none() && sessions.is_empty();
            Ok(Looked::There { inode: Box::new(inode), is_quiet })
        });
        Ok(looked.await?)
    }

    /// Chunks of `ino` that a chain has.
    async fn chunks_of(
        &self,
        chain: ChainId,
        ino: InodeId,
    ) -> Result<Vec<ListedChunk>, ChunksError> {
        let by = self.files.env().now() + CALL_TIME;
        let before = ino.get().checked_sub(1).map(InodeId::new);
        let mut behind = before.map(|inode| ChunkId { inode, index: u32::MAX });
        let mut own = Vec::new();
        loop {
            let page = self.files.chunks().listed(chain, behind, by).await?;
            let count = page.len();
            behind = page.last().map(|last| last.chunk);
            let more = page.last().is_some_and(|last| last.chunk.inode == ino);
            own.extend(page.into_iter().filter(|listed| listed.chunk.inode == ino));
            if !more || count == 0 {
                return Ok(own);
            }
        }
    }

    /// Chunks of what is no file (any more), or on a chain of which they are none (E493).
    async fn away(
        &mut self,
        chain: ChainId,
        ino: InodeId,
        doubt: Doubt,
    ) -> Result<Result<bool, ChunksError>, FsckError> {
        let looked = self.look_at(ino).await?;
        let place = self.place(ino, &looked);
        let mut own = match self.chunks_of(chain, ino).await {
            Ok(own) => own,
            Err(error) => return Ok(Err(error)),
        };
        let finding = match (doubt, &place) {
            (Doubt::Orphan, _) if looked.has_no_chunks() => Finding::OrphanChunks { chain, ino },
            (Doubt::Misplaced, Some(place)) => {
                own.retain(|listed| place.at(listed.chunk.index, 0).chain != chain);
                Finding::MisplacedChunks { chain, ino }
            }
            _ => return Ok(Ok(false)),
        };
        // A removal that was under way has ended.
        if own.is_empty() || self.look_at(ino).await? != looked {
            return Ok(Ok(false));
        }
        if !self.settings.repair {
            self.found(finding, Repair::Reported);
            return Ok(Ok(false));
        }
        let removed = self.remove(chain, &own).await;
        let is_gone = removed.is_ok();
        self.found(finding, removed.map_or_else(|why| Repair::Left(why.to_string()), |()| DONE));
        Ok(Ok(is_gone))
    }

    /// Removes chunks of one inode, whatever their size is: a list does not tell it, nobody knows
    /// the layout of a file that is gone, and a store removes a chunk by its own size only. So all
    /// sizes are tried; what is gone already is done (M1).
    async fn remove(&self, chain: ChainId, own: &[ListedChunk]) -> Result<(), ChunksError> {
        for batch in own.chunks(REMOVE_BATCH_MAX) {
            let shortest = batch.iter().map(|listed| listed.len).min().unwrap_or(0);
            let mut bytes = shortest.max(SECTOR_BYTES).next_power_of_two();
            loop {
                let size = ChunkSize::new(bytes).unwrap_or(ChunkSize::MAX);
                let batch = batch.iter().map(|listed| removed(chain, listed, size)).collect();
                let by = self.files.env().now() + CALL_TIME;
                match self.files.chunks().remove(batch, by).await {
                    Err(ChunksError::Size { .. }) if size < ChunkSize::MAX => bytes *= 2,
                    Err(error) => return Err(error),
                    Ok(()) => break,
                }
            }
        }
        Ok(())
    }

    /// Chunks behind the length of a file that nobody writes (E494).
    async fn beyond(
        &mut self,
        chain: ChainId,
        ino: InodeId,
    ) -> Result<Result<bool, ChunksError>, FsckError> {
        let looked = self.look_at(ino).await?;
        let place = self.place(ino, &looked);
        let own = match self.chunks_of(chain, ino).await {
            Ok(own) => own,
            Err(error) => return Ok(Err(error)),
        };
        let is_so = doubt(&looked, place.as_ref(), chain, &own) == Some(Doubt::Beyond);
        if !is_so || self.look_at(ino).await? != looked {
            return Ok(Ok(false));
        }
        let finding = Finding::ChunksBeyond { ino };
        if !self.settings.repair {
            self.found(finding, Repair::Reported);
            return Ok(Ok(false));
        }
        let Looked::There { inode, .. } = looked else { return Ok(Ok(false)) };
        match self.cut(ino, &inode).await {
            Ok(true) => self.found(finding, Repair::Repaired),
            Ok(false) => return Ok(Ok(false)),
            Err(why) => {
                self.found(finding, Repair::Left(why));
                return Ok(Ok(false));
            }
        }
        Ok(Ok(true))
    }

    /// Cuts a file to the length that it has; false if it is not as it was any more.
    async fn cut(&self, ino: InodeId, was: &Inode) -> Result<bool, String> {
        let now = self.now();
        let begun = self.files.transact(async |view, _| {
            let found = view.known(ino, ReadMode::Conflict).await?;
            let facts = truncate::facts(view, ino).await?;
            let mut inode = found.inode;
            if inode != *was || !facts.is_quiet() {
                return Ok(false);
            }
            let length = inode.size();
            let cut = length::resize(&mut inode, length, false);
            let cut = cut.map_err(|errno| refused(errno, format_args!("{ino} to {length}")))?;
            let Some(cut) = cut else { return Ok(false) };
            inode.changed(now);
            view.put(&Key::Shrink(ino), &cut)?;
            view.put_inode(ino, &inode)?;
            Ok(true)
        });
        if !begun.await.map_err(|error| error.to_string())? {
            return Ok(false);
        }
        let by = self.files.env().now() + CALL_TIME;
        let settled = self.files.shrinks().settle(ino, by).await;
        settled.map(|()| true).map_err(|error| error.to_string())
    }

    /// A file that took room and has no chunk.
    async fn missing(&mut self, ino: InodeId) -> Result<(), FsckError> {
        let looked = self.look_at(ino).await?;
        let (Looked::There { inode, .. }, Some(file)) = (&looked, looked.file()) else {
            return Ok(());
        };
        let known = file.allocated.filter(|known| known.at_change == inode.change);
        let (Some(known), Some(place)) = (known, self.place(ino, &looked)) else { return Ok(()) };
        let by = self.files.env().now() + CALL_TIME;
        match reach(self.files.chunks(), &place, by).await {
            Ok(0) if known.bytes != 0 && self.look_at(ino).await? == looked => {
                let repair = self.unrepaired();
                self.found(Finding::MissingChunks { ino, bytes: known.bytes }, repair);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%ino, %error, "its chunks are not known"),
        }
        Ok(())
    }
}

/// What a removal comes to that was done.
const DONE: Repair = Repair::Repaired;

/// The removal of a chunk, whatever its file is: of an epoch that no writer has (M1).
fn removed(chain: ChainId, listed: &ListedChunk, size: ChunkSize) -> At {
    At { chain, chunk: listed.chunk, size, epoch: u32::MAX }
}
