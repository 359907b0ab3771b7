//! Room in the journal's ring: where the next group goes, what may be overwritten.
//!
//! Owner: one store. Groups lie one behind the other and never cross the ring's end: one that does
//! not fit before it goes to offset 0, and the skipped bytes count as used until the tail passes
//! them. A place is counted in bytes ever used, skipped ones included; its offset is that modulo
//! the capacity.
//!
//! ```text
//! |  group 9  | group 10 |  free ...  | group 6 | group 7 | group 8 | skipped |
//!                        head         tail
//! ```
//!
//! Invariants
//!   E182  live groups have consecutive numbers and lie between tail, where the first of them
//!         begins, and head; used + free = capacity
//!   E183  the next group is placed only when the hash of the one before is known: it carries it
//!         (S7)
//!   E184  the tail passes no group that holds an unreleased image, and none from the start of the
//!         newest durable checkpoint on (S-d)
//!   E185  no group says of itself or of a later one that its images are home
//!
//! Crash: all of this is rebuilt from a scan. The scan reads at [`Ring::expected`]; what it accepts
//! it reports by [`Ring::found`].

use alloc::collections::VecDeque;

use engine_types::SECTOR_BYTES;

use crate::address::Lsn;
use crate::planted;

#[cfg(test)]
mod tests;

/// Updates are admitted up to this share of the ring. The last quarter is for what ends the life of
/// older entries: commits, aborts, pending versions logged again (S9).
pub const UPDATE_SHARE: Share = Share { of: 4, take: 3 };
/// A checkpoint is due after this share: replay is short, and the dump of a large index is written
/// at most four times per turn of the ring.
pub const CHECKPOINT_SHARE: Share = Share { of: 4, take: 1 };
/// Images of pending versions that lie further back than this share are logged again (S9): half a
/// ring is left until they would block it.
pub const RELOG_SHARE: Share = Share { of: 2, take: 1 };
/// The largest group. Whatever the place of the head, a group of half the ring fits into an empty
/// ring, so that waiting for the tail always helps.
pub const GROUP_SHARE: Share = Share { of: 2, take: 1 };

/// A part of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// In how many parts the ring is cut.
    pub of: u64,
    /// How many of them.
    pub take: u64,
}

/// Sizes that the ring goes by, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// Updates are admitted up to this much.
    pub updates: u64,
    /// A checkpoint is due when this much was written since the start of the last one.
    pub checkpoint: u64,
    /// Pending versions further back than this are logged again.
    pub relog: u64,
}

/// Where a scan begins, as the superblock names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The first group of the live ring.
    pub lsn: Lsn,
    /// Byte of the ring where it lies, or, when it was written after the superblock and did not
    /// fit there, where the one before it ends.
    pub offset: u64,
    /// Hash of the group before, which it carries (S7).
    pub prev_hash: u64,
}

/// Where a group goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub lsn: Lsn,
    /// Byte of the ring.
    pub offset: u64,
    /// Hash of the group before.
    pub prev_hash: u64,
}

/// A group that a scan found where the ring cannot have put it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The ring puts a group behind the one before, or at 0.
    #[error("{lsn} lies at {found} of the ring, expected {expected} or 0")]
    Misplaced {
        /// The group.
        lsn: Lsn,
        /// As found.
        found: u64,
        /// Behind the group before.
        expected: u64,
    },
    /// Empty, not of whole sectors, or beyond the ring's end or tail.
    #[error("{lsn} of {bytes} bytes at {offset} does not fit a ring with {free} bytes free")]
    Size {
        /// The group.
        lsn: Lsn,
        /// As found.
        bytes: u64,
        /// As found.
        offset: u64,
        /// Between the group before and the tail.
        free: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Group {
    /// Bytes ever used before it; modulo the capacity its offset.
    start: u64,
    prev_hash: u64,
    /// Images in it that are not released.
    held: u32,
}

/// The ring; see the module.
#[derive(Clone, Debug)]
pub struct Ring {
    capacity: u64,
    limits: RingLimits,
    /// Live groups from `first` on.
    groups: VecDeque<Group>,
    /// Number of the first live group, or of the next one when there is none.
    first: Lsn,
    /// Bytes ever used before the tail, and before the head.
    tail: u64,
    head: u64,
    /// Hash of the newest group, once it is known.
    last_hash: Option<u64>,
    /// First group of the newest durable checkpoint: replay starts there.
    start: Lsn,
    /// The first group that is held.
    oldest: Option<Lsn>,
    /// Whether a group was placed since the ring was made or recovered.
    placing: bool,
}

impl Share {
    /// The part of `bytes`.
    pub const fn of(self, bytes: u64) -> u64 {
        bytes / self.of * self.take
    }
}

impl RingLimits {
    /// The shares of a ring of `capacity` bytes.
    pub const fn of(capacity: u64) -> Self {
        Self {
            updates: UPDATE_SHARE.of(capacity),
            checkpoint: CHECKPOINT_SHARE.of(capacity),
            relog: RELOG_SHARE.of(capacity),
        }
    }
}

impl Ring {
    /// A ring that begins at `tail` and has no groups yet: a new one, or one that a scan is about
    /// to fill. `start` is the first group of the durable checkpoint.
    ///
    /// # Panics
    /// When the capacity is not of whole sectors, the tail is outside or behind the start: the
    /// superblock was checked before.
    pub fn recovered(capacity: u64, tail: Position, start: Lsn) -> Self {
        let whole = 0 < capacity && capacity.is_multiple_of(SECTOR_BYTES.into());
        assert!(whole, "E182: a ring of {capacity} bytes");
        let aligned = tail.offset.is_multiple_of(SECTOR_BYTES.into());
        assert!(aligned && tail.offset < capacity, "E182: tail at {} of {capacity}", tail.offset);
        assert!(Lsn::ZERO < tail.lsn, "E182: groups are counted from 1");
        assert!(tail.lsn <= start, "E184: replay starts at {start}, before {}", tail.lsn);
        Self {
            capacity,
            limits: RingLimits::of(capacity),
            groups: VecDeque::new(),
            first: tail.lsn,
            tail: tail.offset,
            head: tail.offset,
            last_hash: Some(tail.prev_hash),
            start,
            oldest: None,
            placing: false,
        }
    }

    /// The same with other limits.
    ///
    /// # Panics
    /// When one is above the capacity.
    #[must_use]
    pub fn with_limits(mut self, limits: RingLimits) -> Self {
        let largest = limits.updates.max(limits.checkpoint).max(limits.relog);
        assert!(largest <= self.capacity, "E182: {limits:?} of {}", self.capacity);
        self.limits = limits;
        self
    }

    // --- recovery --------------------------------------------------------------------------

    /// Where a scan looks for the next group: behind the last one, then at 0 (nothing when that is
    /// the same). The chain decides; when both hold a group that fits it, the one of the higher
    /// mount generation is the right one, the other was given up by an earlier recovery.
    pub fn expected(&self) -> (Position, Option<Position>) {
        let behind = self.end().expect("E183: a found group comes with its hash");
        let wrapped = Position { offset: 0, ..behind };
        (behind, Some(wrapped).filter(|_| behind.offset != 0))
    }

    /// A scan accepted a group.
    ///
    /// # Errors
    /// When the ring cannot have put it there.
    ///
    /// # Panics
    /// After the first [`Self::place`].
    pub fn found(&mut self, offset: u64, bytes: u64, hash: u64) -> Result<Lsn, RingError> {
        assert!(!self.placing, "E182: a scan comes before the first new group");
        let lsn = self.next_lsn();
        let expected = self.offset(self.head);
        if offset != expected && offset != 0 {
            return Err(RingError::Misplaced { lsn, found: offset, expected });
        }
        let skipped = if offset == expected { 0 } else { self.capacity - expected };
        // What was skipped before the first live group is free.
        let needed = if self.groups.is_empty() { 0 } else { skipped };
        let free = self.free();
        let whole = 0 < bytes && bytes.is_multiple_of(SECTOR_BYTES.into());
        let inside = bytes <= self.capacity - offset;
        if !whole || !inside || free < needed.saturating_add(bytes) {
            return Err(RingError::Size { lsn, bytes, offset, free });
        }
        self.push(skipped, bytes);
        self.last_hash = Some(hash);
        Ok(lsn)
    }

    // --- groups ----------------------------------------------------------------------------

    /// Takes room for the next group; nothing when the tail has to move first.
    ///
    /// # Panics
    /// E183: the group before was not [`Self::written`]. E182: the size is 0, above
    /// [`Self::group_bytes_max`] or not of whole sectors.
    pub fn place(&mut self, bytes: u64) -> Option<Place> {
        let whole = 0 < bytes && bytes.is_multiple_of(SECTOR_BYTES.into());
        let max = self.group_bytes_max();
        assert!(whole && bytes <= max, "E182: a group of {bytes} bytes, at most {max}");
        let prev_hash = self.last_hash.expect("E183: the group before has no hash yet");
        let skipped = self.skipped(bytes);
        if self.free() < skipped + bytes {
            return None;
        }
        let lsn = self.next_lsn();
        let start = self.push(skipped, bytes);
        self.last_hash = None;
        self.placing = true;
        Some(Place { lsn, offset: self.offset(start), prev_hash })
    }

    /// Whether [`Self::place`] would find room.
    pub const fn fits(&self, bytes: u64) -> bool {
        self.skipped(bytes) + bytes <= self.free()
    }

    /// Bytes up to the end of the ring that a group of this size leaves behind.
    const fn skipped(&self, bytes: u64) -> u64 {
        let to_end = self.capacity - self.head % self.capacity;
        if bytes <= to_end { 0 } else { to_end }
    }

    /// The newest group is encoded and has this hash, which the next one will carry. Its images are
    /// held by now (E185).
    ///
    /// # Panics
    /// E183: it is not the newest, or has a hash.
    pub fn written(&mut self, lsn: Lsn, hash: u64) {
        assert_eq!(lsn, self.last(), "E183: only the newest group gets a hash");
        assert_eq!(self.last_hash, None, "E183: {lsn} has a hash");
        self.last_hash = Some(hash);
    }

    /// Number of the next group.
    pub fn next_lsn(&self) -> Lsn {
        Lsn::new(self.first.get() + self.groups.len() as u64)
    }

    /// Number of the newest group, live or not.
    pub fn last(&self) -> Lsn {
        Lsn::new(self.next_lsn().get() - 1)
    }

    // --- images ----------------------------------------------------------------------------

    /// One more image of group `lsn` is not released: the tail does not pass it (E184).
    ///
    /// # Panics
    /// E184: the group is not live. E185: a later header may have said already that its images are
    /// home; images are held between [`Self::place`] and [`Self::written`], or in recovery.
    pub fn hold(&mut self, lsn: Lsn) {
        let newest = lsn == self.last() && self.last_hash.is_none();
        assert!(newest || !self.placing, "E185: {lsn} is written, it takes no more images");
        self.group_mut(lsn).held += 1;
        if self.oldest.is_none_or(|oldest| lsn < oldest) {
            self.oldest = Some(lsn);
        }
    }

    /// One image of group `lsn` is released.
    ///
    /// # Panics
    /// E184: none of it is held.
    pub fn release(&mut self, lsn: Lsn) {
        let group = self.group_mut(lsn);
        assert!(0 < group.held, "E184: {lsn} holds no image");
        group.held -= 1;
        if group.held == 0 && self.oldest == Some(lsn) {
            let from = self.index(lsn).expect("it was found above") + 1;
            // What was skipped is never looked at again: the oldest only moves up.
            let next = (from..self.groups.len()).find(|&index| 0 < self.groups[index].held);
            self.oldest = next.map(|index| self.lsn(index));
        }
    }

    /// The first group with an unreleased image.
    pub const fn oldest_held(&self) -> Option<Lsn> {
        self.oldest
    }

    /// For a group's header: images of this group and all before it are home. It never names the
    /// group that is being made (E185).
    pub fn applied_lsn(&self) -> Lsn {
        let written = self.last().get() - u64::from(self.last_hash.is_none());
        Lsn::new(self.oldest.map_or(written, |oldest| written.min(oldest.get() - 1)))
    }

    // --- tail ------------------------------------------------------------------------------

    /// The tail to write into a superblock whose checkpoint starts at `start`: nothing before it
    /// is needed. The groups before `start` have to be durable by then.
    ///
    /// # Panics
    /// E184: `start` is before the tail or after the next group.
    pub fn tail_candidate(&self, start: Lsn) -> Position {
        let known = self.first <= start && start <= self.next_lsn();
        assert!(known, "E184: {start} is outside {}..={}", self.first, self.next_lsn());
        let lsn = self.held().map_or(start, |oldest| oldest.min(start));
        match self.index(lsn) {
            Some(index) => self.position(index),
            // Behind the newest group, whose hash may not be known yet: then it stays.
            None => self.end().unwrap_or_else(|| self.position(self.groups.len() - 1)),
        }
    }

    /// The group that the tail may not pass.
    fn held(&self) -> Option<Lsn> {
        self.oldest.filter(|_| !planted!(TailPassesImages))
    }

    /// A superblock that names this checkpoint start and this tail is durable.
    ///
    /// # Panics
    /// E184: one of them goes back, or the tail passes the start or a held image.
    pub fn advance_tail(&mut self, start: Lsn, tail: Position) {
        assert!(self.start <= start, "E184: replay starts at {start}, before {}", self.start);
        let lsn = tail.lsn;
        assert!(self.first <= lsn && lsn <= start, "E184: tail {lsn}, start {start}");
        assert!(self.held().is_none_or(|oldest| lsn <= oldest), "E184: {lsn} passes an image");
        assert!(start <= self.next_lsn(), "E184: replay cannot start at {start}");
        let passed = usize::try_from(lsn.get() - self.first.get());
        self.groups.drain(..passed.expect("at most the live groups"));
        let prev_hash = self.groups.front().map(|group| group.prev_hash).or(self.last_hash);
        assert_eq!(prev_hash, Some(tail.prev_hash), "S7: the tail is no place of the chain");
        self.first = lsn;
        self.tail = self.groups.front().map_or(self.head, |group| group.start);
        self.start = start;
    }

    /// Where replay starts with the durable checkpoint.
    pub const fn start(&self) -> Lsn {
        self.start
    }

    /// Where the live ring begins.
    pub const fn tail_lsn(&self) -> Lsn {
        self.first
    }

    // --- fill ------------------------------------------------------------------------------

    /// Bytes of the ring.
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes between tail and head, skipped ones included.
    pub const fn used(&self) -> u64 {
        self.head - self.tail
    }

    /// The other bytes.
    pub const fn free(&self) -> u64 {
        self.capacity - self.used()
    }

    /// The largest group.
    pub const fn group_bytes_max(&self) -> u64 {
        let sector = SECTOR_BYTES as u64;
        GROUP_SHARE.of(self.capacity) / sector * sector
    }

    /// Whether an update may be admitted when `queued` bytes, its own included, are to be logged
    /// (S9). Commits, aborts and what is logged again do not ask.
    pub const fn admits(&self, queued: u64) -> bool {
        self.used() + queued <= self.limits.updates
    }

    /// Whether enough was logged since the start of the durable checkpoint, which is up to
    /// [`Self::next_lsn`] of the moment at which that one began.
    pub fn checkpoint_due(&self) -> bool {
        let start = self.index(self.start).map_or(self.head, |index| self.groups[index].start);
        self.limits.checkpoint < self.head - start
    }

    /// Pending versions whose images were logged before the returned group hold back the tail for
    /// half a ring, and are to be logged again (S9). Nothing when no image is that old.
    pub fn due_relog(&self) -> Option<Lsn> {
        let oldest = self.oldest.filter(|_| !planted!(NotLoggedAgain))?;
        let old = |group: &Group| self.limits.relog < self.head - group.start;
        let before = self.lsn(self.groups.partition_point(old));
        Some(before).filter(|&before| oldest < before)
    }

    /// Bytes from the oldest unreleased image to the head: what the tail could win at most by
    /// applying images.
    pub fn held_bytes(&self) -> u64 {
        let oldest = self.oldest.and_then(|oldest| self.index(oldest));
        oldest.map_or(0, |index| self.head - self.groups[index].start)
    }

    fn offset(&self, place: u64) -> u64 {
        place % self.capacity
    }

    fn lsn(&self, index: usize) -> Lsn {
        Lsn::new(self.first.get() + index as u64)
    }

    /// Index of a live group.
    fn index(&self, lsn: Lsn) -> Option<usize> {
        let index = usize::try_from(lsn.get().checked_sub(self.first.get())?).ok()?;
        Some(index).filter(|&index| index < self.groups.len())
    }

    fn group_mut(&mut self, lsn: Lsn) -> &mut Group {
        let index = self.index(lsn);
        let (first, next) = (self.first, self.next_lsn());
        let index = index.unwrap_or_else(|| panic!("E184: {lsn} is outside {first}..{next}"));
        &mut self.groups[index]
    }

    fn position(&self, index: usize) -> Position {
        let Group { start, prev_hash, .. } = self.groups[index];
        Position { lsn: self.lsn(index), offset: self.offset(start), prev_hash }
    }

    /// Behind the newest group; nothing when its hash is not known yet.
    fn end(&self) -> Option<Position> {
        let (lsn, offset) = (self.next_lsn(), self.offset(self.head));
        self.last_hash.map(|prev_hash| Position { lsn, offset, prev_hash })
    }

    /// Adds a group behind `skipped` bytes; the place of its first byte.
    fn push(&mut self, skipped: u64, bytes: u64) -> u64 {
        let start = self.head + skipped;
        let prev_hash = self.last_hash.expect("E183: the group before has no hash yet");
        if self.groups.is_empty() {
            self.tail = start; // bytes skipped before the first live group are free again
        }
        self.groups.push_back(Group { start, prev_hash, held: 0 });
        self.head = start + bytes;
        assert!(self.used() <= self.capacity, "E182: {} of {}", self.used(), self.capacity);
        start
    }
}
