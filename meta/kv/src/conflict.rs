//! Which keys were written at which version, as far back as transactions may reach (E200).
//!
//! Owner: the sequencer. Writes of single keys, by far the most, are points of one ordered map;
//! cleared ranges are steps of another: the version of a step holds from its key to the next one.
//! FoundationDB's resolver keeps a skip list with the same content.
//!
//! Invariants
//!   E207 whatever was written above `floor` is in here; what is not above it may be forgotten, so
//!        a reader at or above `floor` can be judged and no other can (E205)

use core::ops::Bound;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use engine_types::Instant;

use crate::key::{KeyRange, up_to};

#[cfg(test)]
mod tests;

type Key = Rc<[u8]>;

/// What one group wrote, to forget it again.
struct Group {
    version: u64,
    at: Instant,
    points: Vec<Key>,
    ranges: Vec<(Key, Key)>,
    bytes: usize,
    /// Entries ever added before this group.
    before: u64,
}

impl Group {
    fn entries(&self) -> usize {
        self.points.len() + self.ranges.len()
    }

    fn writes(&self, begin: &[u8], end: &[u8]) -> bool {
        self.points.iter().any(|key| begin <= &**key && &**key < end)
            || self.ranges.iter().any(|(from, to)| &**from < end && begin < &**to)
    }
}

/// Recent writes.
pub(crate) struct Conflicts {
    floor: u64,
    points: BTreeMap<Key, u64>,
    steps: BTreeMap<Key, u64>,
    groups: VecDeque<Group>,
    entries: usize,
    bytes: usize,
    /// Entries ever added.
    added: u64,
    entries_max: usize,
    bytes_max: usize,
}

impl Conflicts {
    /// Nothing is known of versions before `floor`; `entries_max` keys and ranges of `bytes_max`
    /// bytes are remembered.
    pub(crate) fn new(floor: u64, entries_max: usize, bytes_max: usize) -> Self {
        Self {
            floor,
            points: BTreeMap::new(),
            steps: BTreeMap::new(),
            groups: VecDeque::new(),
            entries: 0,
            bytes: 0,
            added: 0,
            entries_max,
            bytes_max,
        }
    }

    /// The oldest read version that can be judged.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// Whether a key of `range` was written above `version`, which is not below the floor.
    pub(crate) fn written_since(&self, range: &KeyRange, version: u64) -> bool {
        assert!(self.floor <= version, "E207: {version} is below the floor {}", self.floor);
        if range.is_empty() {
            return false;
        }
        let (begin, end) = (range.begin.as_slice(), range.end.as_slice());
        let step_at = |key: &[u8]| self.steps.range::<[u8], _>(up_to(key)).next_back();
        if step_at(begin).is_some_and(|(_, &at)| version < at) {
            return true;
        }
        // A wide range holds many old points, an old reader sees many new groups: whichever is
        // less is walked, at no more than twice its length.
        let first_newer = self.groups.partition_point(|group| group.version <= version);
        let Some(newer) = self.groups.get(first_newer) else { return false };
        let newer = usize::try_from(self.added - newer.before).unwrap_or(usize::MAX);
        let inside = (Bound::Included(begin), Bound::Excluded(end));
        let points = self.points.range::<[u8], _>(inside);
        let steps = self.steps.range::<[u8], _>(inside);
        let mut walked = points.chain(steps).take(newer.saturating_add(1)).enumerate();
        let mut count = 0;
        let written = walked.any(|(number, (_, &at))| {
            count = number + 1;
            version < at
        });
        if written || count <= newer {
            return written;
        }
        self.groups.range(first_newer..).any(|group| group.writes(begin, end))
    }

    /// Notes that `range` was written by the group of `version`, the newest there is.
    pub(crate) fn add(&mut self, range: &KeyRange, version: u64, at: Instant) {
        if range.is_empty() {
            return;
        }
        if self.groups.back().is_none_or(|group| group.version != version) {
            let (points, ranges, before) = (Vec::new(), Vec::new(), self.added);
            self.groups.push_back(Group { version, at, points, ranges, bytes: 0, before });
        }
        let group = self.groups.back_mut().expect("pushed above");
        self.entries += 1;
        self.added += 1;
        self.bytes += range.size();
        group.bytes += range.size();
        if range.is_single() {
            let key: Key = range.begin.as_slice().into();
            group.points.push(key.clone());
            self.points.insert(key, version);
            return;
        }
        let (begin, end): (Key, Key) = (range.begin.as_slice().into(), range.end.as_slice().into());
        group.ranges.push((begin.clone(), end.clone()));
        let behind = self.steps.range(..=end.clone()).next_back().map_or(0, |(_, &at)| at);
        let inside: Vec<Key> =
            self.steps.range(begin.clone()..end.clone()).map(|(key, _)| key.clone()).collect();
        for key in inside {
            self.steps.remove(&key);
        }
        self.steps.insert(begin, version);
        self.steps.insert(end, behind);
    }

    /// Forgets groups committed before `before`, and the oldest ones while there are too many.
    /// Readers of forgotten versions are too old from now on.
    pub(crate) fn forget(&mut self, before: Instant) {
        while let Some(group) = self.groups.front() {
            let room = self.entries <= self.entries_max && self.bytes <= self.bytes_max;
            if before <= group.at && room {
                return;
            }
            let group = self.groups.pop_front().expect("looked at above");
            // A reader at this group's version saw its writes, so it can still be judged.
            self.floor = group.version;
            self.entries -= group.entries();
            self.bytes -= group.bytes;
            for key in group.points {
                if self.points.get(&key) == Some(&group.version) {
                    self.points.remove(&key);
                }
            }
            for (begin, end) in group.ranges {
                self.merge_steps(&begin, &end);
            }
        }
    }

    /// Removes steps that no longer tell a reader anything: they and what is before them are not
    /// above the floor.
    fn merge_steps(&mut self, begin: &Key, end: &Key) {
        let before = self.steps.range::<Key, _>(..begin).next_back().map_or(0, |(_, &at)| at);
        let mut quiet = before <= self.floor;
        let mut gone = Vec::new();
        for (key, &at) in self.steps.range(begin.clone()..=end.clone()) {
            let old = at <= self.floor;
            if quiet && old {
                gone.push(key.clone());
            }
            quiet = old;
        }
        for key in gone {
            self.steps.remove(&key);
        }
    }

    /// Keys and steps held, for metrics and tests.
    pub(crate) fn len(&self) -> usize {
        self.points.len() + self.steps.len()
    }
}
