//! Decisions without data: commit, abort, erase, targets, sessions.

use alloc::rc::Rc;
use alloc::vec::Vec;

use engine_types::{ChunkVersion, SessionId};

use super::{Pending, Store, Token};
use crate::address::{ChunkKey, Slot};
use crate::entry::{Entry, Fence, Put};
use crate::format::checkpoint::pending_bytes;
use crate::overlay::Kills;
use crate::planted;
use crate::record::RecordRef;
use crate::request::{Outcome, Tag, TargetPhase, TargetRecord, UpdateError};
use crate::tables::{Known, TableError};

/// Outcomes forgotten in one turn: 100 ns each.
const FORGET_COUNT: usize = 4096;

impl<T: Clone> Store<T> {
    /// Makes the durable pending version the committed one, in memory at once; its COMMIT rides in
    /// the next group (S10). The token completes when that is durable.
    ///
    /// # Errors
    /// `NotPending` unless exactly this version is pending and durable.
    pub fn commit(&mut self, key: &ChunkKey, version: ChunkVersion) -> Result<Token, UpdateError> {
        let put = self.take_pending(key, version)?;
        let (lsn, token) = self.queue_small(Entry::Commit { key: *key, version });
        let pin = self.pins.borrow().next();
        let old = self.index.get(key);
        let new = put.record.as_ref().map(crate::Record::as_ref);
        let gone = Self::dropped(old, new);
        let end = data_end(old).max(data_end(new));
        for (block, _) in gone {
            self.allocator.quarantine(block, lsn, pin);
        }
        match new {
            Some(new) => {
                self.index.insert(*key, new).expect("E144: room was promised at admission");
                let is_dead = |sector| is_dead(&new, sector);
                let kills = Kills::new(&put.direct, &is_dead);
                self.overlay.committed(key, version, lsn, pin, &kills);
            }
            None => {
                self.index.remove(key);
                self.overlay.removed(key, lsn);
            }
        }
        self.note_undurable(*key, lsn, end);
        if let Some(tag) = put.tag {
            // One that another replica shipped meanwhile may be newer.
            self.dedup.learn(key.slot, tag, outcome(&put, tag));
        }
        Ok(token)
    }

    /// Ends the durable pending version (R17). The token completes when that is durable; only then
    /// may the version be used again.
    ///
    /// # Errors
    /// `NotPending` unless exactly this version is pending and durable.
    pub fn abort(&mut self, key: &ChunkKey, version: ChunkVersion) -> Result<Token, UpdateError> {
        let put = self.take_pending(key, version)?;
        let (lsn, token) = self.queue_small(Entry::Abort { key: *key, version });
        self.drop_put(&put, lsn);
        Ok(token)
    }

    /// Removes a chunk with all its versions (resync, a dropped target). Nothing when it is absent.
    ///
    /// # Errors
    /// `Busy` while an update of it is under way that is not durable yet.
    pub fn erase(&mut self, key: &ChunkKey) -> Result<Option<Token>, UpdateError> {
        let under_way = self.pending.get(key).is_some_and(|pending| !pending.durable);
        if self.preparing.contains_key(key) || under_way || self.moving.contains(key) {
            let pending = self.busy(key).unwrap_or_default();
            return Err(UpdateError::Busy { key: *key, pending });
        }
        let pending = self.pending.remove(key);
        if pending.is_none() && self.index.get(key).is_none() {
            return Ok(None);
        }
        let (lsn, token) = self.queue_small(Entry::Erase { key: *key });
        if let Some(pending) = pending {
            self.forget_pending(&pending);
            self.drop_put(&pending.put, lsn);
        }
        let pin = self.pins.borrow().next();
        let old = self.index.get(key);
        let end = data_end(old);
        for (block, _) in Self::dropped(old, None) {
            self.allocator.quarantine(block, lsn, pin);
        }
        self.index.remove(key);
        self.overlay.removed(key, lsn);
        self.note_undurable(*key, lsn, end);
        Ok(Some(token))
    }

    /// Puts a target into a slot, changes it, or empties the slot.
    ///
    /// # Errors
    /// When the chain version would go down (R20), the table is full, or the slot is to be emptied
    /// and is not empty: the next target of the slot would serve what is left (E156).
    pub fn set_target(
        &mut self,
        slot: Slot,
        record: Option<TargetRecord>,
    ) -> Result<Token, TableError> {
        if record.is_none() {
            self.check_empty(slot)?;
        }
        self.targets.set(slot, record)?;
        if record.is_none() {
            self.dedup.drop_slot(slot, usize::MAX);
        }
        Ok(self.queue_small(Entry::Target { slot, record }).1)
    }

    /// Some chunks of a slot, committed and pending ones: none when there are none.
    pub fn slot_keys(&self, slot: Slot, max: usize) -> Vec<ChunkKey> {
        let all = ChunkKey::new(slot, 0, 0)..=ChunkKey::new(slot, u64::MAX, u32::MAX);
        let committed = self.index.range_keys(all).map(|(key, _)| key);
        committed.chain(self.pending_keys(slot)).take(max).collect()
    }

    /// Whether no chunk of a slot is left and nothing of one is under way (E156).
    ///
    /// # Errors
    /// `NotEmpty`.
    pub fn check_empty(&self, slot: Slot) -> Result<(), TableError> {
        if !self.slot_keys(slot, 1).is_empty() || self.is_slot_busy(slot) {
            return Err(TableError::NotEmpty { slot });
        }
        Ok(())
    }

    /// Forgets what was done on a target that is being dropped, in turns: until it says true.
    pub fn forget_slot(&mut self, slot: Slot) -> bool {
        self.dedup.drop_slot(slot, FORGET_COUNT)
    }

    /// Revokes sessions: their requests are refused from now on.
    ///
    /// # Errors
    /// When the table is full.
    pub fn fence(&mut self, fence: Fence) -> Result<Token, TableError> {
        self.fences.add(fence)?;
        Ok(self.queue_small(Entry::Fence(fence)).1)
    }

    /// Forgets the requests of a fenced session in turns: until it says true.
    ///
    /// # Panics
    /// When the session is not fenced: its requests would be executed again.
    pub fn forget_session(&mut self, session: SessionId) -> bool {
        assert!(self.fences.is_fenced(session), "R16: {session} is not fenced");
        self.dedup.drop_session(session, FORGET_COUNT)
    }

    /// Forgets the requests of a fenced session (R16); what was not forgotten in turns before is
    /// forgotten in this one.
    ///
    /// # Panics
    /// When the session is not fenced: its requests would be executed again.
    pub fn drop_session(&mut self, session: SessionId) -> Token {
        while !self.forget_session(session) {}
        self.queue_small(Entry::DedupDrop { session }).1
    }

    /// Remembers what another replica remembers (R15).
    ///
    /// # Errors
    /// When the table is full, or the slot holds no active target: what was remembered would
    /// answer requests to the slot's next one (E156).
    ///
    /// # Panics
    /// When tag and outcome do not belong together: the caller has compared them.
    pub fn put_outcome(
        &mut self,
        slot: Slot,
        tag: Tag,
        outcome: Outcome,
    ) -> Result<Token, UpdateError> {
        let own = (outcome.seq, outcome.key.slot);
        assert_eq!(own, (tag.seq, slot), "R15: {tag:?} of {slot}: {outcome:?}");
        let target = self.targets.get(slot).filter(|target| target.phase == TargetPhase::Active);
        if target.is_none() {
            return Err(UpdateError::NoTarget { slot });
        }
        if let Known::TooManySessions { max } = self.dedup.check(slot, tag) {
            return Err(UpdateError::TooManySessions { max });
        }
        if !self.dedup.learn(slot, tag, outcome) {
            // Nothing new: replay must not go back behind what is known.
            return Ok(self.queue_marker());
        }
        Ok(self.queue_small(Entry::Dedup { slot, tag, outcome }).1)
    }

    /// Removes the durable pending version `version` from the map.
    fn take_pending(
        &mut self,
        key: &ChunkKey,
        version: ChunkVersion,
    ) -> Result<Rc<Put>, UpdateError> {
        let found = self.pending.get(key).is_some_and(|p| p.durable && p.put.version == version);
        if !found {
            return Err(UpdateError::NotPending { key: *key, version });
        }
        let pending = self.pending.remove(key).expect("it was found");
        self.forget_pending(&pending);
        Ok(pending.put)
    }

    /// A version is decided: what was counted for it is not any more.
    fn forget_pending(&mut self, pending: &Pending) {
        let Pending { put, relogging, index_bytes, .. } = pending;
        if *relogging {
            self.forget_relog(put);
        }
        self.pending_bytes -= pending_bytes(put) as u64;
        self.undecided_images -= put.images.len();
        self.promised.index_bytes -= index_bytes;
    }

    /// Quarantines what only the dropped version named.
    fn drop_put(&mut self, put: &Put, lsn: crate::Lsn) {
        let key = put.key;
        let pin = self.pins.borrow().next();
        let named = put.record.as_ref().map(crate::Record::as_ref);
        let committed = self.index.get(&key);
        let end = data_end(named).max(data_end(committed));
        let gone = Self::dropped(named, committed);
        for (block, _) in gone.into_iter().filter(|_| !planted!(AbortKeepsBlocks)) {
            self.allocator.quarantine(block, lsn, pin);
        }
        self.overlay.dropped_version(&key, put.version, lsn);
        self.note_undurable(key, lsn, end);
    }
}

/// Whether no byte of `sector` is valid in `record`: its images are dead then.
pub fn is_dead(record: &RecordRef<'_>, sector: u16) -> bool {
    let byte = u32::from(sector) * engine_types::SECTOR_BYTES;
    let index = byte / record.head.size.checksum_block_bytes();
    record.head.data_end <= byte || record.is_hole(index)
}

fn data_end(record: Option<RecordRef<'_>>) -> u32 {
    record.map_or(0, |record| record.head.data_end)
}

/// What is remembered of the request that made a version.
pub(crate) fn outcome(put: &Put, tag: Tag) -> Outcome {
    Outcome {
        seq: tag.seq,
        key: put.key,
        version: put.version,
        len: put.record.as_ref().map_or(0, |record| record.head.len),
    }
}
