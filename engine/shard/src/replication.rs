//! What replication asks of a store: facts about chunks, requests and targets, each answered in one
//! turn. Nothing here waits or changes anything.

use engine_runtime::Env;
use engine_store::format::StoreFlags;
use engine_store::tables::{DedupKey, Known};
use engine_store::{Change, ChunkKey, Outcome, Slot, Tag, TargetRecord};
use engine_types::{ChannelId, ChunkId, ChunkSize, ChunkVersion, SessionId, StoreId};

use crate::store::ChunkStore;

/// What is known of a chunk and of the request that names it, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// The committed version and its digest (R13); nothing for an absent chunk.
    pub committed: Option<(ChunkVersion, u64)>,
    /// What is remembered of the request's channel (R14); `Fresh` without a tag.
    pub known: Known,
    /// Whether the request's session is revoked here (L6).
    pub fenced: bool,
}

/// A durable pending version of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The chunk.
    pub chunk: ChunkId,
    /// The version.
    pub version: ChunkVersion,
    /// The committed version beside it.
    pub base: Option<ChunkVersion>,
    /// Whether the chunk goes.
    pub removal: bool,
    /// The request (R15).
    pub tag: Option<Tag>,
    /// Its digest, as [`crate::Stored`] said it (R13).
    pub digest: u64,
}

impl<E: Env> ChunkStore<E> {
    /// What is known of a chunk and a request. The digest mixes every checksum of the record, about
    /// 3 ns each: 50 ns for a chunk of 1 MiB, 3 us for one of 64 MiB. So nothing keeps it.
    pub fn local(&self, slot: Slot, chunk: ChunkId, tag: Option<Tag>) -> Local {
        let state = self.inner.state.borrow();
        let record = state.committed(&ChunkKey { slot, chunk });
        Local {
            committed: record.map(|record| (record.head.version, record.digest(chunk))),
            known: tag.map_or(Known::Fresh, |tag| state.dedup().check(slot, tag)),
            fenced: tag.is_some_and(|tag| state.fences().is_fenced(tag.session)),
        }
    }

    /// The durable pending versions of a target, in chunk order: what it has to decide after a
    /// start (R6).
    pub fn recovered(&self, slot: Slot) -> Vec<Recovered> {
        let state = self.inner.state.borrow();
        let puts = state.pending_puts(slot).into_iter();
        puts.map(|put| Recovered {
            chunk: put.key.chunk,
            version: put.version,
            base: state.committed(&put.key).map(|record| record.head.version),
            removal: put.record.is_none(),
            tag: put.tag,
            digest: put.digest(),
        })
        .collect()
    }

    /// Most bytes of blocks and of index records that an update takes (R18): zero for a removal and
    /// for a truncation that shrinks. How conservative it is: [`Store::growth`]. It costs some tens
    /// of nanoseconds.
    ///
    /// [`Store::growth`]: engine_store::store::Store::growth
    pub fn growth(
        &self,
        slot: Slot,
        chunk: ChunkId,
        size: ChunkSize,
        change: &Change,
    ) -> (u64, u64) {
        self.inner.state.borrow().growth(&ChunkKey { slot, chunk }, size, change)
    }

    /// Every target, slots ascending.
    pub fn targets(&self) -> Vec<(Slot, TargetRecord)> {
        self.inner.state.borrow().targets().iter().collect()
    }

    /// A slot for another target; nothing when all are taken.
    pub fn vacant_slot(&self) -> Option<Slot> {
        self.inner.state.borrow().targets().vacant()
    }

    /// What is remembered of requests to a target, by session and channel, behind `after`: `limit`
    /// of them at most (R15). A caller goes on behind the last one until there are none; what is
    /// recorded meanwhile before that place travels with its own update.
    pub fn outcomes(
        &self,
        slot: Slot,
        after: Option<(SessionId, ChannelId)>,
        limit: usize,
    ) -> Vec<(Tag, Outcome)> {
        let last = match after {
            Some((session, channel)) => Some(DedupKey { slot, session, channel }),
            // Behind everything of the slot before.
            None => slot.get().checked_sub(1).map(|before| DedupKey {
                slot: Slot::new(before),
                session: SessionId::new(u64::MAX),
                channel: ChannelId::new(u32::MAX),
            }),
        };
        let state = self.inner.state.borrow();
        let own = state.dedup().after(last).take_while(|(key, _)| key.slot == slot);
        own.take(limit).map(|(key, outcome)| (key.tag(outcome.seq), outcome)).collect()
    }

    /// Revoked sessions of which something is remembered (R16), behind the place `after`: `turn`
    /// places are looked at. The second is where to go on; nothing at the end. A session that has
    /// written to several targets is named for each.
    pub fn revoked_sessions(
        &self,
        after: Option<(Slot, SessionId)>,
        turn: usize,
    ) -> (Vec<SessionId>, Option<(Slot, SessionId)>) {
        let state = self.inner.state.borrow();
        let (mut found, mut last, mut looked) = (Vec::new(), None, 0);
        for place in state.dedup().sessions_after(after).take(turn) {
            looked += 1;
            last = Some(place);
            if state.fences().is_fenced(place.1) {
                found.push(place.1);
            }
        }
        (found, last.filter(|_| turn <= looked))
    }

    /// Requests that are remembered, and how many can be.
    pub fn remembered(&self) -> (u64, u64) {
        let state = self.inner.state.borrow();
        (state.dedup().len() as u64, state.dedup().max().into())
    }

    /// The name of the store, for ever: what the manager knows it by (R10).
    pub fn store_id(&self) -> StoreId {
        self.inner.superblock.borrow().store
    }

    /// Whether recovery found that something acknowledged may be lost (S8): such a store may not
    /// restart a chain (R10) until [`Self::clear_damage`].
    pub fn is_damaged(&self) -> bool {
        self.inner.superblock.borrow().flags.has(StoreFlags::DAMAGED)
    }
}
