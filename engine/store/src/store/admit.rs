//! From a request to a queued PUT: checks, plan, reservations (R2, S5).

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;

use engine_types::{ChunkVersion, SECTOR_BYTES, reached};

use super::{Pending, QueuedPut, Store, Token};
use crate::address::{BlockAddress, BlockClass, ChunkKey};
use crate::allocator::{NoBlock, Purpose};
use crate::entry::Put;
use crate::format::checkpoint::pending_bytes;
use crate::format::limits::{PENDING_BYTES_MAX, PENDINGS_MAX};
use crate::format::put_bytes_max;
use crate::pins::{Pin, User};
use crate::plan::{self, Assembled, Facts, Material, Sink, WritePlan};
use crate::planted;
use crate::record::Record;
use crate::request::{Change, Outcome, Tag, TargetPhase, Update, UpdateError};
use crate::ring::Share;
use crate::tables::Known;

/// An admitted update: what it will do and what it holds (E141).
#[derive(Debug)]
pub struct Ticket {
    /// As asked.
    pub update: Update,
    /// What happens.
    pub plan: WritePlan,
    /// Reserved blocks, in the plan's order.
    pub blocks: Vec<BlockAddress>,
    pin: Pin,
    promised: super::Promised,
}

/// Answer to a request.
#[derive(Debug)]
pub enum Admission {
    /// Do it.
    Proceed(Box<Ticket>),
    /// It was done before, and this is what came of it (R14).
    Repeated(Outcome),
}

/// What has to happen before a request can be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A segment has to be claimed.
    Claim,
    /// The journal has to become shorter.
    Ring,
    /// Images have to be applied.
    Overlay,
    /// Dropped blocks have to become free: the decision that dropped them is not durable yet, or a
    /// plan from before it is still under way. `needed` bytes are.
    Release {
        /// Bytes of blocks that the update needs.
        needed: u64,
    },
    /// A segment has to be emptied for this class.
    Compaction {
        /// Bytes of blocks that the update needs.
        needed: u64,
    },
    /// Pending versions hold the room for images: callers have to commit or abort some.
    Decisions {
        /// Versions that are pending.
        pending: usize,
    },
    /// Reads and updates under way have to end.
    Plans,
    /// The chunk is being moved.
    Move,
}

/// Why a request was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Tell the caller.
    Error(UpdateError),
    /// Wait, then ask again.
    Wait(Wait),
}

/// A queued PUT.
#[derive(Debug)]
pub struct Logged {
    /// Completes when its group is durable.
    pub token: Token,
    /// To be given back when the last data write of the update has completed.
    pub pin: Pin,
    /// Length of the chunk at this version; 0 for a removal.
    pub len: u32,
    /// Digest of this version (R13).
    pub digest: u64,
}

impl From<UpdateError> for Refusal {
    fn from(error: UpdateError) -> Self {
        Self::Error(error)
    }
}

/// Most bytes that an update on its way will take in a checkpoint: the largest record with a range
/// or image per checksum block.
const PENDING_ESTIMATE: u64 = 16 << 10;

/// Most of the ring that images of undecided versions take. Those that lie further back than half
/// the ring are logged again (S9), which comes to an end only if all of them take less than that;
/// and decisions need room beside them.
const UNDECIDED_SHARE: Share = Share { of: 4, take: 1 };

/// Most index bytes that a record of so many words takes, its share of the tree included.
pub(super) const fn entry_cost(words: usize) -> u64 {
    56 + 4 * words as u64
}

/// Beyond a certain number of words they have a table of their own, with its owner and handle.
pub(super) const TABLE_COST: u64 = 8;

/// Most index bytes that a chunk takes more when a record of `new` words replaces the committed
/// one, of `old` words; nothing stands for no record. What it takes less counts only once it is
/// gone: a commit that shrinks may come after one that grows (E144).
pub(super) const fn growth_cost(old: Option<usize>, new: Option<usize>) -> u64 {
    match (old, new) {
        (_, None) => 0,
        (None, Some(new)) => entry_cost(new),
        (Some(old), Some(new)) if new <= old => 0,
        (Some(old), Some(new)) => entry_cost(new) - entry_cost(old) + TABLE_COST,
    }
}

impl<T: Clone> Store<T> {
    /// Checks a request and reserves what it needs. `extents` are the places of its data.
    ///
    /// # Errors
    /// See [`Refusal`]; nothing is held then.
    pub fn admit(&mut self, update: &Update, extents: &[(u32, u32)]) -> Result<Admission, Refusal> {
        self.check_target(update)?;
        if let Some(outcome) = self.check_tag(update)? {
            reached!("R14: a repeated request is answered from memory");
            return Ok(Admission::Repeated(outcome));
        }
        if self.moving.contains(&update.key) {
            reached!("E140: an update waits for a move of its chunk");
            return Err(Refusal::Wait(Wait::Move));
        }
        self.check_chunk(update)?;
        if !self.room_for(User::Update) {
            reached!("E181: an update waits for plans to end");
            return Err(Refusal::Wait(Wait::Plans));
        }
        let plan = self.plan(update, extents)?;
        let promised = self.check_room(&update.key, &plan)?;
        let blocks = self.reserve(&plan)?;
        self.undecided_images += promised.images;
        self.promised.index_bytes += promised.index_bytes;
        self.promised.images += promised.images;
        self.promised.ring_bytes += promised.ring_bytes;
        self.preparing.insert(update.key, update.version);
        let pin = self.take_pin();
        let ticket = Ticket { update: *update, plan, blocks, pin, promised };
        Ok(Admission::Proceed(Box::new(ticket)))
    }

    /// Builds what the plan says.
    pub fn assemble(
        &self,
        ticket: &Ticket,
        material: &Material<'_, '_>,
        sink: &mut impl Sink,
    ) -> Assembled {
        let base = self.index.get(&ticket.update.key);
        ticket.plan.assemble(base, material, sink)
    }

    /// Queues the PUT of an assembled update; `images` in the order of `assembled.images`. Its data
    /// writes are submitted by the driver before the group of this PUT is flushed.
    pub fn log(&mut self, ticket: Box<Ticket>, assembled: Assembled, images: Vec<T>) -> Logged {
        assert_eq!(assembled.images.len(), images.len(), "S2: one image per sector");
        let Ticket { update, blocks, pin, promised, .. } = *ticket;
        for &block in &blocks {
            self.allocator.publish(block);
        }
        // Index room stays promised until the commit; the exact figure replaces the bound.
        let index_bytes = self.index_growth(&update.key, assembled.record.as_ref());
        self.promised.index_bytes -= promised.index_bytes;
        self.promised.index_bytes += index_bytes;
        self.promised.images -= promised.images - images.len();
        self.undecided_images -= promised.images - images.len();
        let len = assembled.record.as_ref().map_or(0, |record| record.head.len);
        let put = Rc::new(Put {
            key: update.key,
            version: update.version,
            chain_version: update.chain_version,
            record: assembled.record,
            direct: assembled.direct,
            images: assembled.images,
            tag: update.tag,
        });
        let digest = put.digest();
        self.pending_bytes += pending_bytes(&put) as u64;
        let was = self.preparing.remove(&update.key);
        assert_eq!(was, Some(update.version), "E140: only an admitted update is logged");
        let relogging = false;
        let pending =
            Pending { put: put.clone(), lsn: None, durable: false, relogging, index_bytes };
        assert!(self.pending.insert(update.key, pending).is_none(), "E140: one pending version");
        let token = self.token();
        let ring_bytes = promised.ring_bytes;
        self.puts.push_back(QueuedPut::new(put, images, token, ring_bytes));
        Logged { token, pin, len, digest }
    }

    /// Returns what an admitted update holds, after its last I/O has completed (S5).
    pub fn give_up(&mut self, ticket: Box<Ticket>) {
        for &block in &ticket.blocks {
            self.allocator.unreserve(block);
        }
        self.promised.index_bytes -= ticket.promised.index_bytes;
        self.promised.images -= ticket.promised.images;
        self.undecided_images -= ticket.promised.images;
        self.promised.ring_bytes -= ticket.promised.ring_bytes;
        let was = self.preparing.remove(&ticket.update.key);
        assert_eq!(was, Some(ticket.update.version), "E140: only an admitted update is given up");
        self.give_pin(ticket.pin);
    }

    fn check_target(&self, update: &Update) -> Result<(), UpdateError> {
        let Update { key, chain_version: found, .. } = *update;
        let target = self.targets.get(key.slot).filter(|t| t.phase == TargetPhase::Active);
        let Some(target) = target else { return Err(UpdateError::NoTarget { slot: key.slot }) };
        let installed = target.chain_version;
        if found < installed {
            return Err(UpdateError::StaleChain { key, found, installed });
        }
        Ok(())
    }

    fn check_tag(&self, update: &Update) -> Result<Option<Outcome>, UpdateError> {
        let Some(tag) = update.tag else { return Ok(None) };
        let Tag { session, .. } = tag;
        if self.fences.is_fenced(session) {
            return Err(UpdateError::Fenced { session });
        }
        let slot = update.key.slot;
        match self.dedup.check(slot, tag) {
            Known::Fresh => {}
            Known::Repeated(outcome) => return Ok(Some(outcome)),
            Known::Old { newest } => return Err(UpdateError::OldRequest { tag, newest }),
            Known::TooManyChannels { max } => {
                return Err(UpdateError::TooManyChannels { session, slot, max });
            }
            Known::TooManySessions { max } => return Err(UpdateError::TooManySessions { max }),
        }
        // A durable pending version of the same request: the caller joins the wait for its commit.
        let pending = self.pending.get(&update.key).filter(|p| p.durable && p.put.tag == Some(tag));
        Ok(pending.map(|p| Outcome {
            seq: tag.seq,
            key: update.key,
            version: p.put.version,
            len: p.put.record.as_ref().map_or(0, |record| record.head.len),
        }))
    }

    fn check_chunk(&self, update: &Update) -> Result<(), UpdateError> {
        let key = update.key;
        if let Some(pending) = self.busy(&key) {
            return Err(UpdateError::Busy { key, pending });
        }
        let base = self.index.get(&key);
        let replaced = matches!(update.change, Change::Replace { .. });
        let expected = base.map_or(Some(ChunkVersion::new(1)), |base| base.head.version.next());
        // After the last version nothing follows: 2^32 updates of one chunk.
        let expected = expected.unwrap_or(ChunkVersion::new(u32::MAX));
        if !replaced && update.version != expected {
            return Err(UpdateError::WrongVersion { key, found: update.version, expected });
        }
        let Some(base) = base.filter(|_| !replaced) else { return Ok(()) };
        if base.head.size != update.size {
            let (found, expected) = (update.size, base.head.size);
            return Err(UpdateError::SizeMismatch { key, found, expected });
        }
        // M1: a removal or truncation acts only on what is older than itself; with epoch 0 nobody
        // uses epochs.
        let cuts = matches!(update.change, Change::Remove | Change::Truncate { .. });
        let (found, current) = (update.epoch, base.head.epoch);
        if found < current || (cuts && found == current && found.get() != 0) {
            return Err(UpdateError::StaleEpoch { key, found, current });
        }
        Ok(())
    }

    /// The version that occupies a chunk.
    pub(super) fn busy(&self, key: &ChunkKey) -> Option<ChunkVersion> {
        let preparing = self.preparing.get(key).copied();
        preparing.or_else(|| self.pending.get(key).map(|pending| pending.put.version))
    }

    fn plan(&mut self, update: &Update, extents: &[(u32, u32)]) -> Result<WritePlan, UpdateError> {
        self.prune_undurable();
        let key = update.key;
        let base = self.index.get(&key);
        let undurable = self.undurable.get(&key).filter(|_| !planted!(InPlaceOverUndurable));
        let base_end = base.map_or(0, |base| base.head.data_end);
        let facts = Facts {
            named_end: undurable.map_or(base_end, |u| u.named_end.max(base_end)),
            holes_in_place: undurable.is_none(),
            live_image: &|sector| self.overlay.live_image(&key, sector),
        };
        plan::plan(base, update, extents, &facts)
    }

    /// Most index bytes that the commit of `record` adds to what `key` has. The committed record
    /// stays of its size until then: its chunk takes no other update, and moves keep the words.
    pub(super) fn index_growth(&self, key: &ChunkKey, record: Option<&Record>) -> u64 {
        let old = self.index.get(key).map(|old| old.words.len());
        growth_cost(old, record.map(|record| record.words.len()))
    }

    fn check_room(&self, key: &ChunkKey, plan: &WritePlan) -> Result<super::Promised, Refusal> {
        let base_words = self.index.get(key).map(|base| base.words.len());
        let promised = super::Promised {
            index_bytes: growth_cost(base_words, plan.words_max()),
            images: plan.image_count(),
            ring_bytes: put_bytes_max(plan.words_max().unwrap_or(0), plan.image_count()),
        };
        let pendings = self.pending.len() + self.preparing.len();
        let max = PENDINGS_MAX as usize;
        if max <= pendings {
            return Err(UpdateError::TooManyPending { max }.into());
        }
        let more = PENDING_ESTIMATE * (pendings as u64 + 1 - self.pending.len() as u64);
        if PENDING_BYTES_MAX < self.pending_bytes + more {
            reached!("E109: the pending versions fill their part of a checkpoint");
            return Err(UpdateError::TooManyPending { max: self.pending.len() }.into());
        }
        if self.growth_held && !plan.shrinks() {
            return Err(Refusal::Wait(Wait::Ring));
        }
        let bytes = self.index.bytes() + self.promised.index_bytes;
        let grows = promised.index_bytes != 0;
        let full = grows && self.index_budget < bytes + promised.index_bytes;
        if full && !plan.shrinks() && !planted!(RecordsUnbounded) {
            let max = self.index_budget;
            return Err(UpdateError::NoRecords { bytes, max }.into());
        }
        let undecided = self.undecided_images + promised.images;
        if self.undecided_max() < undecided && 0 < self.undecided_images.min(promised.images) {
            reached!("E149: an update waits for the decisions about others");
            return Err(Refusal::Wait(Wait::Decisions { pending: pendings }));
        }
        if !self.overlay.room(self.promised.images + promised.images) {
            reached!("DESIGN 4.5: an update waits for images to be applied");
            return Err(Refusal::Wait(Wait::Overlay));
        }
        if !self.ring.admits(self.promised.ring_bytes + promised.ring_bytes) {
            reached!("DESIGN 4.5: an update waits for room in the journal");
            return Err(Refusal::Wait(Wait::Ring));
        }
        Ok(promised)
    }

    /// Most images of versions that are not decided (E149).
    fn undecided_max(&self) -> usize {
        let images = UNDECIDED_SHARE.of(self.ring.capacity()) / u64::from(SECTOR_BYTES);
        usize::try_from(images).unwrap_or(usize::MAX).min(self.overlay.images_max() / 2)
    }

    fn reserve(&mut self, plan: &WritePlan) -> Result<Vec<BlockAddress>, Refusal> {
        let (class, count) = plan.fresh();
        let mut blocks = Vec::with_capacity(count);
        // Removals and holes may use the last reserve (R18).
        let purpose = if plan.shrinks() { Purpose::Recover } else { Purpose::Write };
        while blocks.len() < count {
            match self.allocator.reserve(class, purpose) {
                Ok(block) => blocks.push(block),
                // Reads tell nobody that they have ended.
                Err(_) if 0 < self.release_blocks() => {}
                Err(why) => {
                    blocks.iter().for_each(|&block| self.allocator.unreserve(block));
                    let needed = u64::from(class.bytes()) * count as u64;
                    return Err(self.no_block(why, class, needed));
                }
            }
        }
        Ok(blocks)
    }

    /// Whether to wait for a block: as long as one is on its way to become free.
    fn no_block(&self, why: NoBlock, class: BlockClass, needed: u64) -> Refusal {
        let usage = self.allocator.usage();
        let dropped = match why {
            NoBlock::Unclaimed | NoBlock::Discarding => return Refusal::Wait(Wait::Claim),
            // What other classes drop may empty a segment; what this one drops can be had.
            NoBlock::Starved { .. } => usage.classes[usize::from(class.get())].quarantined,
            NoBlock::Full { .. } | NoBlock::HostFull => usage.quarantined,
        };
        if 0 < dropped {
            reached!("R18: an update waits for blocks that were dropped");
            return Refusal::Wait(Wait::Release { needed });
        }
        match why {
            NoBlock::Starved { .. } => Refusal::Wait(Wait::Compaction { needed }),
            // The host gets space back, and may give it again.
            NoBlock::HostFull if self.allocator.is_discarding() => Refusal::Wait(Wait::Claim),
            _ => Refusal::Error(self.no_space(needed)),
        }
    }

    /// The answer to an update for which there is no space, and none on its way.
    pub fn no_space(&self, needed: u64) -> UpdateError {
        UpdateError::NoSpace { free: self.allocator.usage().free_for_writes, needed }
    }

    /// Whether dropped blocks wait to become free.
    pub fn is_anything_dropped(&self) -> bool {
        0 < self.allocator.usage().quarantined
    }
}
