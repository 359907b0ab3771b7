//! What became of the newest request of every channel, so that a repeated one is answered and not
//! executed again (R14 to R16).
//!
//! An outcome is recorded when its version is committed here (R16); requests under way are the
//! store's business. A channel has one request under way, so only the newest is kept.
//!
//! Channels of one session on one target lie together: they are found by one look into a hash map.
//! A set of the (slot, session) pairs beside it gives the order in which a checkpoint dumps them.
//!
//! Invariants
//!   E192  the number of a channel's newest request never goes down at run time
//!   E193  the order names exactly the pairs that have outcomes; the count is theirs

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::Bound;

use engine_types::{ChannelId, ChunkId, ChunkVersion, Map, SessionId};

use crate::address::{ChunkKey, Slot};
use crate::request::{Outcome, Tag};

#[cfg(test)]
mod tests;

/// Channels of a session on one target (R14): as many writes as a client has under way to one
/// chain, and 3 KiB of memory at most.
pub const CHANNELS_MAX: u32 = 64;
/// Outcomes of a store: 10,000 clients with 100 channels each on all targets together. They take
/// 40 bytes each, and their sessions about 100.
pub const OUTCOMES_MAX: u32 = 1 << 20;

/// About what the map and the order take per pair.
const PAIR_BYTES: u64 = 96;

/// Names a channel; ascending in the order of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupKey {
    /// The target.
    pub slot: Slot,
    /// The client's session.
    pub session: SessionId,
    /// Its channel.
    pub channel: ChannelId,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is newer than whatever was done.
    Fresh,
    /// It was done, and this came of it.
    Repeated(Outcome),
    /// A newer one was done.
    Old {
        /// Number of that.
        newest: u64,
    },
    /// Its channel is new, and the session has enough of them here.
    TooManyChannels {
        /// The limit.
        max: u32,
    },
    /// Its channel is new, and the table is full.
    TooManySessions {
        /// The limit.
        max: u32,
    },
}

/// An outcome without what its place says.
#[derive(Clone, Copy, Debug)]
struct Kept {
    seq: u64,
    chunk: ChunkId,
    channel: ChannelId,
    version: ChunkVersion,
    len: u32,
}

/// Newest requests by channel; see the module.
#[derive(Clone, Debug)]
pub struct Dedup {
    channels_max: u32,
    outcomes_max: u32,
    /// Ascending by channel, not empty.
    pairs: Map<(Slot, SessionId), Vec<Kept>>,
    order: BTreeSet<(Slot, SessionId)>,
    count: usize,
    /// Outcomes that the lists have memory for.
    capacity: usize,
}

impl DedupKey {
    /// Request `seq` of the channel.
    pub const fn tag(self, seq: u64) -> Tag {
        Tag { session: self.session, channel: self.channel, seq }
    }
}

impl Kept {
    fn new(channel: ChannelId, outcome: &Outcome) -> Self {
        let Outcome { seq, key, version, len } = *outcome;
        Self { seq, chunk: key.chunk, channel, version, len }
    }

    fn outcome(&self, slot: Slot) -> Outcome {
        let Self { seq, chunk, version, len, .. } = *self;
        Outcome { seq, key: ChunkKey { slot, chunk }, version, len }
    }
}

impl Default for Dedup {
    fn default() -> Self {
        Self::new(CHANNELS_MAX, OUTCOMES_MAX)
    }
}

impl Dedup {
    /// Nothing is known.
    pub fn new(channels_max: u32, outcomes_max: u32) -> Self {
        Self {
            channels_max,
            outcomes_max,
            pairs: Map::default(),
            order: BTreeSet::new(),
            count: 0,
            capacity: 0,
        }
    }

    /// What is known of a request. Requests under way are not: so the limits hold for channels that
    /// have an outcome, and those under way come on top.
    pub fn check(&self, slot: Slot, tag: Tag) -> Known {
        let kept = self.pairs.get(&(slot, tag.session)).map_or(&[][..], Vec::as_slice);
        let found = kept.binary_search_by_key(&tag.channel, |kept| kept.channel);
        let Ok(place) = found else {
            if self.channels_max as usize <= kept.len() {
                return Known::TooManyChannels { max: self.channels_max };
            }
            if self.outcomes_max as usize <= self.count {
                return Known::TooManySessions { max: self.outcomes_max };
            }
            return Known::Fresh;
        };
        let newest = &kept[place];
        match tag.seq.cmp(&newest.seq) {
            core::cmp::Ordering::Less => Known::Old { newest: newest.seq },
            core::cmp::Ordering::Equal => Known::Repeated(newest.outcome(slot)),
            core::cmp::Ordering::Greater => Known::Fresh,
        }
    }

    /// The outcome of exactly this request.
    pub fn outcome(&self, slot: Slot, tag: Tag) -> Option<Outcome> {
        match self.check(slot, tag) {
            Known::Repeated(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// The version that a request made is committed here (R16).
    ///
    /// # Panics
    /// E192: a newer request of the channel is known, or the outcome is of another request or slot.
    pub fn record(&mut self, slot: Slot, tag: Tag, outcome: Outcome) {
        assert_eq!((slot, tag.seq), (outcome.key.slot, outcome.seq), "E192: {tag:?}: {outcome:?}");
        if let Known::Old { newest } = self.check(slot, tag) {
            panic!("E192: {slot} {tag:?} after {newest}");
        }
        self.replay(slot, tag, outcome);
    }

    /// Another replica knows this outcome (R15). Returns whether it was news: not when this or a
    /// newer request of the channel is known.
    ///
    /// # Panics
    /// E192: the outcome is of another request or slot.
    pub fn learn(&mut self, slot: Slot, tag: Tag, outcome: Outcome) -> bool {
        assert_eq!((slot, tag.seq), (outcome.key.slot, outcome.seq), "E192: {tag:?}: {outcome:?}");
        let known = matches!(self.check(slot, tag), Known::Repeated(_) | Known::Old { .. });
        if !known {
            self.replay(slot, tag, outcome);
        }
        !known
    }

    /// What a checkpoint or the journal says.
    pub fn replay(&mut self, slot: Slot, tag: Tag, outcome: Outcome) {
        let pair = (slot, tag.session);
        let list = self.pairs.entry(pair).or_default();
        let new = Kept::new(tag.channel, &outcome);
        match list.binary_search_by_key(&tag.channel, |kept| kept.channel) {
            Ok(place) => list[place] = new,
            Err(place) => {
                if list.is_empty() {
                    self.order.insert(pair);
                }
                if list.len() == list.capacity() {
                    // Most clients use a channel or two per target: room for 1, 2, 4, ...
                    self.capacity -= list.capacity();
                    list.reserve_exact(list.len().max(1));
                    self.capacity += list.capacity();
                }
                list.insert(place, new);
                self.count += 1;
            }
        }
    }

    /// Forgets a fenced session (R16): its requests are refused anyway. Returns whether all is
    /// forgotten; after about `turn` outcomes it stops, to be called again.
    pub fn drop_session(&mut self, session: SessionId, turn: usize) -> bool {
        let mut dropped = 0;
        let mut from = Some(Slot::default());
        while let Some(slot) = from.and_then(|from| self.slot_from(from)) {
            dropped += self.drop_pair((slot, session));
            if turn <= dropped {
                return false;
            }
            from = slot.get().checked_add(1).map(Slot::new);
        }
        true
    }

    /// Forgets what was done on a target that is gone, in the same way.
    pub fn drop_slot(&mut self, slot: Slot, turn: usize) -> bool {
        let mut dropped = 0;
        let all = (slot, SessionId::default())..=(slot, SessionId::new(u64::MAX));
        while let Some(&pair) = self.order.range(all.clone()).next() {
            if turn <= dropped {
                return false;
            }
            dropped += self.drop_pair(pair);
        }
        true
    }

    /// Outcomes behind a channel, or all, ascending: a dump stops anywhere and goes on behind the
    /// last one that it has written.
    pub fn after(&self, last: Option<DedupKey>) -> impl Iterator<Item = (DedupKey, Outcome)> {
        let from = last.map_or(Bound::Unbounded, |key| Bound::Included((key.slot, key.session)));
        let pairs = self.order.range((from, Bound::Unbounded));
        pairs.flat_map(move |&(slot, session)| {
            let list = self.pairs[&(slot, session)].iter();
            let all = list.map(move |kept| {
                (DedupKey { slot, session, channel: kept.channel }, kept.outcome(slot))
            });
            all.skip_while(move |(key, _)| last.is_some_and(|last| *key <= last))
        })
    }

    /// Targets with the sessions that have outcomes there, behind `last` or all, ascending.
    pub fn sessions_after(
        &self,
        last: Option<(Slot, SessionId)>,
    ) -> impl Iterator<Item = (Slot, SessionId)> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.order.range((from, Bound::Unbounded)).copied()
    }

    /// Most outcomes that it takes.
    pub const fn max(&self) -> u32 {
        self.outcomes_max
    }

    /// Outcomes.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Memory in use, about.
    pub fn bytes(&self) -> u64 {
        let outcomes = self.capacity * size_of::<Kept>();
        outcomes as u64 + self.order.len() as u64 * PAIR_BYTES
    }

    /// E193; costs a walk over the table.
    ///
    /// # Panics
    /// When it does not hold.
    pub fn check_counts(&self) {
        assert_eq!(self.pairs.len(), self.order.len(), "E193: pairs");
        assert!(self.order.iter().all(|pair| self.pairs.contains_key(pair)), "E193: order");
        assert!(self.pairs.values().all(|list| !list.is_empty()), "E193: an empty list");
        assert_eq!(self.pairs.values().map(Vec::len).sum::<usize>(), self.count, "E193: count");
        let capacity = self.pairs.values().map(Vec::capacity).sum::<usize>();
        assert_eq!(capacity, self.capacity, "E193: capacity");
    }

    /// The first slot from `from` on that has outcomes.
    fn slot_from(&self, from: Slot) -> Option<Slot> {
        self.order.range((from, SessionId::default())..).next().map(|&(slot, _)| slot)
    }

    /// How many outcomes the pair had.
    fn drop_pair(&mut self, pair: (Slot, SessionId)) -> usize {
        let Some(list) = self.pairs.remove(&pair) else { return 0 };
        assert!(self.order.remove(&pair), "E193: {pair:?} has no place in the order");
        self.count -= list.len();
        self.capacity -= list.capacity();
        list.len()
    }
}

const _: () = assert!(size_of::<Kept>() <= 40);
