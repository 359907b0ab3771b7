//! The writes and conflict ranges of one transaction, and what its reads see through them. Pure.
//!
//! Invariants
//!   E208 `points`, then `cleared`, then the view: the first that knows a key decides what a read
//!        of it sees; `points` and `cleared` together are `mutations` replayed in order
//!   E209 a read of a key whose value follows from own writes alone adds no conflict, any other
//!        read in conflict mode adds what it covered

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{Page, RangeRead, ReadMode};
use crate::error::KvError;
use crate::key::{KeyRange, Shown, before, up_to};
use crate::mutation::{AtomicOp, Mutation};
use crate::source::CommitRequest;

#[cfg(test)]
mod tests;

/// What own writes make of a key.
#[derive(Clone, Debug)]
enum Point {
    /// They decide it: a value, or nothing.
    Known(Option<Vec<u8>>),
    /// They change what the view holds, in this order.
    Changed(Vec<(AtomicOp, Vec<u8>)>),
    /// It holds a versionstamp.
    Unreadable,
}

/// What a read of one key finds here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The answer.
    Known(Option<Vec<u8>>),
    /// The view decides, through [`Buffer::seen`].
    Ask,
}

/// Own writes.
#[derive(Default)]
pub(crate) struct Buffer {
    mutations: Vec<Mutation>,
    points: BTreeMap<Vec<u8>, Point>,
    /// Begin to end of disjoint cleared ranges.
    cleared: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Where keys with versionstamps may come to lie.
    stamped: Vec<KeyRange>,
    read_conflicts: BTreeSet<KeyRange>,
    write_conflicts: Vec<KeyRange>,
    size: usize,
    /// The first refused write: the commit answers it again.
    refused: Option<KvError>,
}

impl Buffer {
    /// Bytes so far.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Whether a commit has nothing to do.
    pub(crate) fn is_read_only(&self) -> bool {
        self.mutations.is_empty() && self.write_conflicts.is_empty() && self.refused.is_none()
    }

    /// Adds a write.
    pub(crate) fn mutate(&mut self, mutation: Mutation) -> Result<(), KvError> {
        if let Err(error) = mutation.check() {
            self.refused.get_or_insert_with(|| error.clone());
            return Err(error);
        }
        self.size += mutation.size();
        match &mutation {
            // FoundationDB keeps a stamped value unreadable until it is cleared.
            Mutation::Set { key, .. } if self.is_stamped(key) => {}
            Mutation::Set { key, value } => {
                self.points.insert(key.clone(), Point::Known(Some(value.clone())));
            }
            Mutation::Clear { range } if range.is_empty() => return Ok(()),
            Mutation::Clear { range } => self.clear(range),
            Mutation::Atomic { op, key, operand } => self.change(*op, key, operand),
            Mutation::StampedKey { .. } => self.stamped.push(mutation.written()),
            Mutation::StampedValue { key, .. } => {
                self.points.insert(key.clone(), Point::Unreadable);
            }
        }
        self.mutations.push(mutation);
        Ok(())
    }

    fn is_stamped(&self, key: &[u8]) -> bool {
        matches!(self.points.get(key), Some(Point::Unreadable))
    }

    fn change(&mut self, op: AtomicOp, key: &[u8], operand: &[u8]) {
        let cleared = self.is_cleared(key);
        let point = self.points.entry(key.to_vec()).or_insert_with(|| {
            if cleared { Point::Known(None) } else { Point::Changed(Vec::new()) }
        });
        match point {
            Point::Known(value) => *value = op.apply(value.as_deref(), operand),
            Point::Changed(ops) => ops.push((op, operand.to_vec())),
            Point::Unreadable => {}
        }
    }

    fn clear(&mut self, range: &KeyRange) {
        // What is cleared is known again, as in FoundationDB.
        self.stamped =
            self.stamped.iter().flat_map(|stamped| stamped.without(range)).flatten().collect();
        if range.is_single() {
            // Most clears name one key: a point costs no walk.
            self.points.insert(range.begin.clone(), Point::Known(None));
            return;
        }
        let inside = range.begin.clone()..range.end.clone();
        let gone: Vec<_> = self.points.range(inside).map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.points.remove(&key);
        }
        let (mut begin, mut end) = (range.begin.clone(), range.end.clone());
        let touching = |cleared: &BTreeMap<Vec<u8>, Vec<u8>>, begin: &[u8], end: &[u8]| {
            let (from, to) = cleared.range::<[u8], _>(up_to(end)).next_back()?;
            (begin <= to.as_slice()).then(|| (from.clone(), to.clone()))
        };
        while let Some((from, to)) = touching(&self.cleared, &begin, &end) {
            self.cleared.remove(&from);
            begin = begin.min(from);
            end = end.max(to);
        }
        self.cleared.insert(begin, end);
    }

    fn is_cleared(&self, key: &[u8]) -> bool {
        let before = self.cleared.range::<[u8], _>(up_to(key)).next_back();
        before.is_some_and(|(_, end)| key < end.as_slice())
    }

    /// Looks `key` up; in conflict mode the read is noted.
    pub(crate) fn find(&mut self, key: &[u8], mode: ReadMode) -> Result<Found, KvError> {
        self.readable(&KeyRange::single(key))?;
        match self.points.get(key) {
            Some(Point::Known(value)) => return Ok(Found::Known(value.clone())),
            Some(Point::Unreadable) => return Err(KvError::Unreadable { key: Shown::of(key) }),
            Some(Point::Changed(_)) => {}
            None if self.is_cleared(key) => return Ok(Found::Known(None)),
            None => {}
        }
        if mode == ReadMode::Conflict {
            self.note_read(KeyRange::single(key));
        }
        Ok(Found::Ask)
    }

    /// What a read sees where the view holds `stored`.
    pub(crate) fn seen(&self, key: &[u8], stored: Option<Vec<u8>>) -> Option<Vec<u8>> {
        match self.points.get(key) {
            Some(Point::Known(value)) => value.clone(),
            Some(Point::Changed(ops)) => {
                ops.iter().fold(stored, |value, (op, operand)| op.apply(value.as_deref(), operand))
            }
            // A write that came while the view was asked: the read does not see it.
            Some(Point::Unreadable) => stored,
            None if self.is_cleared(key) => None,
            None => stored,
        }
    }

    /// Refuses reads of what the versionstamp decides.
    pub(crate) fn readable(&self, range: &KeyRange) -> Result<(), KvError> {
        let stamped = self.stamped.iter().find(|stamped| stamped.overlaps(range));
        let inside = range.begin.clone()..range.end.clone();
        let valued = || {
            let mut points = (!range.is_empty()).then(|| self.points.range(inside))?;
            points.find(|(_, point)| matches!(point, Point::Unreadable)).map(|(key, _)| key)
        };
        match stamped.map(|range| &range.begin).or_else(valued) {
            Some(key) => Err(KvError::Unreadable { key: Shown::of(key) }),
            None => Ok(()),
        }
    }

    /// The last cleared range that has keys of `range`.
    fn clears(&self, range: &KeyRange) -> Option<(&Vec<u8>, &Vec<u8>)> {
        let last = self.cleared.range::<[u8], _>(before(&range.end)).next_back();
        last.filter(|(_, end)| range.begin < **end && !range.is_empty())
    }

    /// Whether own writes touch `range` at all.
    pub(crate) fn touches(&self, range: &KeyRange) -> bool {
        let inside = range.begin.clone()..range.end.clone();
        self.clears(range).is_some()
            || !range.is_empty() && self.points.range(inside).next().is_some()
    }

    /// The part of `range` that a read in this direction meets first, if it has been cleared: the
    /// view has nothing to say about it.
    pub(crate) fn cleared_first(&self, range: &KeyRange, reverse: bool) -> Option<KeyRange> {
        let mut part = range.clone();
        if reverse {
            let (begin, end) = self.clears(range)?;
            part.begin = part.begin.max(begin.clone());
            (range.end <= *end).then_some(part)
        } else {
            let (_, end) = self.cleared.range::<[u8], _>(up_to(&range.begin)).next_back()?;
            part.end = part.end.min(end.clone());
            (range.begin < *end).then_some(part)
        }
    }

    /// Lays own writes over what the view holds of `covered`, in the order of `read`.
    pub(crate) fn lay_over(
        &self,
        covered: &KeyRange,
        entries: Vec<(Vec<u8>, Vec<u8>)>,
        reverse: bool,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        if covered.is_empty() || !self.touches(covered) {
            return entries;
        }
        let mut merged: BTreeMap<Vec<u8>, Option<Vec<u8>>> =
            entries.into_iter().map(|(key, value)| (key, Some(value))).collect();
        let inside = covered.begin.clone()..covered.end.clone();
        for (key, _) in self.points.range(inside) {
            merged.entry(key.clone()).or_insert(None);
        }
        let seen = merged.into_iter().filter_map(|(key, stored)| {
            let value = self.seen(&key, stored)?;
            Some((key, value))
        });
        let mut seen: Vec<_> = seen.collect();
        if reverse {
            seen.reverse();
        }
        seen
    }

    /// Notes a read of a page: what it covered conflicts.
    pub(crate) fn note_page(&mut self, read: &RangeRead, page: &Page) {
        let mut covered = read.range.clone();
        if let Some((last, _)) = page.entries.last().filter(|_| page.more) {
            if read.reverse {
                covered.begin = last.clone();
            } else {
                covered.end = crate::key::after(last);
            }
        }
        self.note_read(covered);
    }

    /// Notes that `range` was read.
    pub(crate) fn note_read(&mut self, range: KeyRange) {
        let size = range.size();
        if !range.is_empty() && self.read_conflicts.insert(range) {
            self.size += size;
        }
    }

    /// Notes a range that its owner wants to conflict. FoundationDB leaves out what the transaction
    /// has written before, silently; a caller who counts on the range has to add it first.
    pub(crate) fn add_read_conflict(&mut self, range: KeyRange) -> Result<(), KvError> {
        range.check()?;
        let inside = range.begin.clone()..range.end.clone();
        let decided = |point: &Point| !matches!(point, Point::Changed(_));
        let mut points = (!range.is_empty()).then(|| self.points.range(inside)).into_iter();
        let written = points.find_map(|mut points| points.find(|(_, point)| decided(point)));
        let key = written.map(|(key, _)| key.clone());
        if let Some(key) = key.or_else(|| self.clears(&range).map(|(begin, _)| begin.clone())) {
            let error = KvError::ConflictAfterWrite { key: Shown::of(&key) };
            self.refused.get_or_insert_with(|| error.clone());
            return Err(error);
        }
        self.note_read(range);
        Ok(())
    }

    /// Notes that `range` counts as written.
    pub(crate) fn note_written(&mut self, range: KeyRange) {
        if !range.is_empty() {
            self.size += range.size();
            self.write_conflicts.push(range);
        }
    }

    /// The commit of all of it; epoch and version of the reads are the caller's to
    /// fill in.
    pub(crate) fn into_request(mut self) -> Result<CommitRequest, KvError> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        let mut read_conflicts: Vec<_> = self.read_conflicts.into_iter().collect();
        coalesce(&mut read_conflicts);
        coalesce(&mut self.write_conflicts);
        Ok(CommitRequest {
            epoch: 0,
            read_version: None,
            read_conflicts,
            write_conflicts: self.write_conflicts,
            mutations: self.mutations,
        })
    }
}

/// Joins ranges that touch: pages of one walk become one range.
fn coalesce(ranges: &mut Vec<KeyRange>) {
    ranges.sort();
    ranges.dedup_by(|next, kept| {
        let joins = next.begin <= kept.end;
        if joins && kept.end < next.end {
            kept.end = core::mem::take(&mut next.end);
        }
        joins
    });
}
