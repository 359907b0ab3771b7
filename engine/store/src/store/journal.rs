//! Groups: what goes into the next one, and what follows when it is durable.

use alloc::rc::Rc;
use alloc::vec::Vec;

use engine_types::{ChunkVersion, reached};

use super::{Pending, QueuedPut, Store, Token, Undurable};
use crate::address::{ChunkKey, Lsn};
use crate::entry::{Entry, Put};
use crate::format::{GROUP_BYTES_MAX, encoded_len, group_bytes};
use crate::planted;
use crate::ring::Place;

/// Blocks freed in one turn, 200 ns each: after a read that held its pin for long, or a target that
/// was dropped, millions may wait.
pub const RELEASE_COUNT_MAX: u64 = 4096;
/// Notes about decisions that became durable, forgotten in one turn.
const PRUNE_COUNT_MAX: usize = 4096;

/// A group to be written: the driver encodes it, writes it, waits for the data writes of its PUTs,
/// flushes once, then calls [`Store::group_durable`].
#[derive(Debug)]
pub struct Group<T> {
    /// Its number.
    pub lsn: Lsn,
    /// Where in the ring, and what it is chained to.
    pub place: Place,
    /// Its bytes in the ring.
    pub bytes: usize,
    /// For its header.
    pub applied_lsn: Lsn,
    /// Its entries, in order.
    pub entries: Vec<Entry>,
    /// Images of its PUTs, in their order.
    pub images: Vec<T>,
    /// Completed when it is durable, in the order of the entries.
    pub tokens: Vec<Token>,
}

/// What became durable.
#[derive(Debug, Default)]
pub struct Durable {
    /// Blocks that became free.
    pub freed: u64,
}

impl<T: Clone> Store<T> {
    /// Queues a decision without data; it is in the next group (E142).
    pub(super) fn queue_small(&mut self, entry: Entry) -> (Lsn, Token) {
        let token = self.token();
        self.small_bytes += encoded_len(&entry);
        self.small_urgent |= !matches!(entry, Entry::Commit { .. });
        self.small.push((entry, token));
        (self.next_lsn(), token)
    }

    /// Whether another decision without data fits into the next group. Commits and aborts are
    /// bounded by the pending versions and always fit; others ask first.
    pub fn small_room(&self) -> bool {
        self.small_bytes < self.group_bytes_max() / 4
    }

    /// Takes what fits out of the queues; nothing when they are empty or the ring is full.
    pub fn form_group(&mut self) -> Option<Group<T>> {
        assert!(self.in_flight.is_none(), "S8: one group is in flight at a time");
        if !self.wants_group() {
            return None;
        }
        let (mut count, mut bytes) = self.group_extent();
        if !self.ring.fits(bytes as u64) && self.has_small() {
            // Commits make room, and must not wait for it behind PUTs.
            reached!("S9: decisions went ahead of the PUTs of a full ring");
            (count, bytes) = (0, group_bytes(self.small_bytes, 0));
        }
        let place = self.ring.place(bytes as u64)?;
        let lsn = place.lsn;
        let mut group = Group {
            lsn,
            place,
            bytes,
            applied_lsn: self.ring.applied_lsn(),
            entries: Vec::with_capacity(self.small.len() + count),
            images: Vec::new(),
            tokens: Vec::with_capacity(self.small.len() + count),
        };
        group.tokens.append(&mut self.markers);
        for (entry, token) in self.small.drain(..) {
            let lost = planted!(CommitsNotLogged) && matches!(entry, Entry::Commit { .. })
                || planted!(AbortsNotLogged) && matches!(entry, Entry::Abort { .. });
            if !lost {
                group.entries.push(entry);
            }
            group.tokens.push(token);
        }
        (self.small_bytes, self.small_urgent) = (0, false);
        let mut chunks = Vec::with_capacity(count);
        for _ in 0..count {
            let queued = self.puts.pop_front().expect("counted above");
            let QueuedPut { put, images, token, ring_bytes, .. } = queued;
            self.promised.ring_bytes -= ring_bytes;
            chunks.push((put.key, put.version));
            self.place_images(lsn, &put, &images);
            group.images.extend(images);
            group.entries.push(Entry::Put(put));
            group.tokens.push(token);
        }
        self.in_flight = Some((lsn, chunks));
        Some(group)
    }

    /// Whether the ring has room for the next group.
    pub fn has_group_room(&self) -> bool {
        let small = group_bytes(self.small_bytes, 0) as u64;
        self.ring.fits(self.group_extent().1 as u64) || self.has_small() && self.ring.fits(small)
    }

    /// The ring bounds a group as well: half of a small one.
    fn group_bytes_max(&self) -> usize {
        usize::try_from(self.ring.group_bytes_max()).unwrap_or(usize::MAX).min(GROUP_BYTES_MAX)
    }

    /// How many PUTs go into the next group, and its bytes.
    fn group_extent(&self) -> (usize, usize) {
        let mut entry_bytes = self.small_bytes;
        let (mut images, mut count) = (0, 0);
        for queued in &self.puts {
            let more = entry_bytes + queued.entry_bytes;
            let bytes = group_bytes(more, images + queued.images.len());
            if self.group_bytes_max() < bytes && (0 < count || 0 < self.small_bytes) {
                break;
            }
            entry_bytes = more;
            images += queued.images.len();
            count += 1;
        }
        (count, group_bytes(entry_bytes, images))
    }

    fn place_images(&mut self, lsn: Lsn, put: &Rc<Put>, images: &[T]) {
        let pending = self.pending.get_mut(&put.key).expect("E140: a queued PUT is pending");
        let relogged = pending.lsn.replace(lsn).is_some();
        pending.relogging = false;
        assert!(Rc::ptr_eq(&pending.put, put), "E140: one pending version");
        if !relogged {
            self.promised.images -= images.len();
        }
        // Images that are logged again take the place of the older ones (S9).
        for (&sector, image) in put.images.iter().zip(images) {
            self.overlay.insert(put.key, put.version, lsn, sector, image.clone());
        }
        for _ in images {
            self.ring.hold(lsn);
        }
    }

    fn has_small(&self) -> bool {
        !self.small.is_empty() || !self.markers.is_empty()
    }

    /// A version that was to be logged again is decided: its place in the queue is void.
    pub(super) fn forget_relog(&mut self, put: &Rc<Put>) {
        self.puts.retain(|queued| !Rc::ptr_eq(&queued.put, put));
    }

    /// The group in flight and its data are durable.
    pub fn group_durable(&mut self, lsn: Lsn) -> Durable {
        let (in_flight, chunks) = self.in_flight.take().expect("S8: a group is in flight");
        assert_eq!(in_flight, lsn, "S8: one group is in flight at a time");
        assert!(self.durable < lsn, "S-e: groups become durable in order");
        self.durable = lsn;
        for (key, version) in chunks {
            self.mark_durable(lsn, &key, version);
        }
        self.prune_undurable();
        self.scratch_lsns.clear();
        self.overlay.durable(lsn, &mut self.scratch_lsns);
        self.release_holds();
        Durable { freed: self.release_blocks() }
    }

    fn mark_durable(&mut self, lsn: Lsn, key: &ChunkKey, version: ChunkVersion) {
        // A version that was logged again may have been decided while its group was written.
        let pending = self.pending.get_mut(key);
        let Some(pending) = pending.filter(|pending| pending.put.version == version) else {
            return;
        };
        if pending.lsn == Some(lsn) {
            pending.durable = true;
        }
    }

    /// Frees quarantined blocks whose time has come (E143), `RELEASE_COUNT_MAX` in one turn: when
    /// that many were freed, there may be more.
    pub fn release_blocks(&mut self) -> u64 {
        let durable = if planted!(FreedBeforeDurable) { Lsn::new(u64::MAX) } else { self.durable };
        let oldest = self.pins.borrow().oldest();
        let oldest = if planted!(FreedUnderReads) { u64::MAX } else { oldest };
        self.allocator.release_some(durable, oldest, RELEASE_COUNT_MAX)
    }

    pub(super) fn release_holds(&mut self) {
        for lsn in self.scratch_lsns.drain(..) {
            self.ring.release(lsn);
        }
    }

    /// Forgets what can no longer come back, in the order in which it was noted; a bounded number
    /// in one turn, as a note that stays for longer only spares more than it must.
    pub(super) fn prune_undurable(&mut self) {
        let oldest = self.pins.borrow().oldest();
        for _ in 0..PRUNE_COUNT_MAX {
            let Some(&(lsn, pin, key)) = self.undurable_order.first() else { break };
            if self.durable < lsn || oldest < pin {
                break;
            }
            self.undurable_order.pop_first();
            let noted = self.undurable.remove(&key);
            let is_it = noted.is_some_and(|noted| (noted.lsn, noted.pin) == (lsn, pin));
            assert!(is_it, "E143: {key} is noted for {lsn}, found {noted:?}");
        }
    }

    /// The group has its final hash and all its images are held.
    pub fn group_encoded(&mut self, lsn: Lsn, hash: u64) {
        self.ring.written(lsn, hash);
    }

    /// The record of `key` changed by a decision of group `lsn`: what in-place writes must spare
    /// until that is durable.
    pub(super) fn note_undurable(&mut self, key: ChunkKey, lsn: Lsn, named_end: u32) {
        let pin = self.pins.borrow().next();
        let mut newest = Undurable { lsn, pin, named_end };
        if let Some(older) = self.undurable.get(&key) {
            // One note per chunk, however long a read hangs: the newest stands for all.
            newest.named_end = older.named_end.max(named_end);
            self.undurable_order.remove(&(older.lsn, older.pin, key));
        }
        self.undurable.insert(key, newest);
        self.undurable_order.insert((lsn, pin, key));
    }

    /// Whether [`Self::relog`] would find anything.
    pub fn is_relog_due(&self) -> bool {
        let Some(before) = self.ring.due_relog() else { return false };
        self.pending.values().any(|pending| is_relog_due(pending, before))
    }

    /// Logs the PUTs again whose groups hold back the tail (S9). Returns how many.
    pub fn relog(&mut self, max: usize) -> usize {
        let Some(before) = self.ring.due_relog() else { return 0 };
        let due: Vec<Rc<Put>> = {
            let mut due: Vec<_> =
                self.pending.values().filter(|pending| is_relog_due(pending, before)).collect();
            due.sort_unstable_by_key(|pending| (pending.lsn, pending.put.key));
            due.into_iter().take(max).map(|pending| pending.put.clone()).collect()
        };
        for put in &due {
            self.pending.get_mut(&put.key).expect("taken from it").relogging = true;
            let images = self.overlay.images_of(&put.key, put.version, &put.images);
            let token = self.token();
            self.puts.push_back(QueuedPut::new(put.clone(), images, token, 0));
        }
        due.len()
    }
}

impl<T> QueuedPut<T> {
    pub(super) fn new(put: Rc<Put>, images: Vec<T>, token: Token, ring_bytes: u64) -> Self {
        let entry_bytes = encoded_len(&Entry::Put(put.clone()));
        Self { put, images, token, ring_bytes, entry_bytes }
    }
}

fn is_relog_due(pending: &Pending, before: Lsn) -> bool {
    let old = pending.lsn.is_some_and(|lsn| lsn < before);
    old && pending.durable && !pending.relogging && !pending.put.images.is_empty()
}
