//! The search for an order: depth first, with the versions as a guide.
//!
//! A configuration is the set of operations placed and the chunk they lead to. Reads that fit are
//! placed as soon as they may be, for they change nothing. Then follows an update: one that was
//! acknowledged with the next version or, if none can, one of unknown outcome. What a later read
//! shows of former writes rules out everything that would have overwritten it before.

use core::hash::{BuildHasher, BuildHasherDefault};
use core::ops::Bound::{Excluded, Included};
use core::ops::Range;
use std::collections::BTreeSet;
use std::rc::Rc;

use engine_types::{FixedHasher, Instant, Map, Rng, Set};

use super::content::{Body, cleared};
use super::why::why;
use super::{Answer, Call, Change, ChunkOperation, Epoch, Saw, Stamp, Verdict};
use crate::check::fail;
use crate::history::{End, Operation};

/// Configurations looked at for each operation, and at least: a history without gaps takes one.
const STEPS_EACH: usize = 20;
const STEPS_MIN: usize = 1_000_000;
/// Of them, before the search begins anew for the first time.
const STEPS_FIRST_EACH: usize = 2;
const STEPS_FIRST: usize = 1_000;
/// Choices that are made in another order then, permille.
const SHUFFLED: u32 = 200;
/// Configurations looked at for the reason of a failure.
const STEPS_WHY: usize = 5_000;
/// Reads ahead that are asked what they show.
const READS_AHEAD: usize = 12;
/// Bytes that an update clears of what a read shows, to be sure that it does: a few bytes of one
/// write are now and then those of another.
const OVERLAP_MIN: u32 = 6;
/// Operations ahead among which they are looked for.
const AHEAD: usize = 64;

/// What is known of an operation that may have an effect or has seen one.
pub(super) enum Item<'a> {
    /// A read.
    Read { offset: u32, len: u32, saw: &'a Saw },
    /// An acknowledged update.
    Made { change: &'a Change, version: u32, len: u32 },
    /// An update of unknown outcome.
    Doubt { change: &'a Change },
}

pub(super) struct Entry<'a> {
    pub(super) item: Item<'a>,
    pub(super) operation: &'a ChunkOperation,
    invoked: Instant,
    returned: Instant,
}

/// A chunk at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// 0: there is none.
    pub(super) version: u32,
    pub(super) body: Rc<Body>,
    /// Of the last update.
    epoch: Epoch,
    /// Removals before it.
    life: u32,
    hash: u64,
}

impl State {
    /// Whether an update of this epoch may take effect (M1).
    pub(super) fn admits(&self, change: &Change, epoch: Epoch) -> bool {
        let cuts = matches!(change, Change::Remove | Change::Truncate { .. });
        let over = epoch < self.epoch || (cuts && epoch == self.epoch && epoch != 0);
        self.version == 0 || !over
    }

    pub(super) fn after(&self, change: &Change, epoch: Epoch) -> Self {
        if *change == Change::Remove {
            return Self { life: self.life + 1, ..Self::default() };
        }
        let mut body = self.body.clone();
        Rc::make_mut(&mut body).changed(change);
        let version = self.version + 1;
        let hasher = BuildHasherDefault::<FixedHasher>::default();
        let hash = hasher.hash_one((version, epoch, &*body));
        Self { version, body, epoch, life: self.life, hash }
    }

    /// Length of the chunk; 0 when there is none.
    pub(super) fn len(&self) -> u32 {
        self.body.len
    }

    pub(super) fn shows(&self, offset: u32, len: u32, saw: &Saw) -> bool {
        saw.version == self.version
            && saw.len == self.len()
            && saw.print == self.body.print(offset, len)
    }
}

/// A configuration that led nowhere.
pub(super) struct Stuck {
    pub(super) count: usize,
    pub(super) state: State,
    pub(super) placed: Vec<bool>,
    /// Who must come before everything that was invoked after it returned.
    pub(super) first: usize,
}

pub(super) struct Search<'a> {
    pub(super) entries: Vec<Entry<'a>>,
    /// Which write a stamp names.
    pub(super) writes: Map<Stamp, usize>,
    /// Writes of unknown outcome that some read shows.
    seen_by_reads: Set<usize>,
    /// What was answered and is not placed, by beginning and by end.
    by_invoked: BTreeSet<(Instant, usize)>,
    by_returned: BTreeSet<(Instant, usize)>,
    /// Updates of unknown outcome that are not placed.
    doubts: BTreeSet<(Instant, usize)>,
    /// Removals that are not placed: each may end a life.
    removals: BTreeSet<(Instant, usize)>,
    /// Acknowledged updates that are not placed, by version.
    by_version: BTreeSet<(u32, usize)>,
    placed: Vec<bool>,
    /// In which life, of those placed.
    lives: Vec<u32>,
    count: usize,
    state: State,
    /// Names the set of those placed.
    mark: u64,
    /// Configurations that lead nowhere.
    dead: Set<(u64, u64)>,
    shuffle: Option<Rng>,
    steps_left: usize,
    looks_ahead: bool,
    pub(super) best: Option<Stuck>,
}

/// What a configuration was entered with, and what may follow it.
struct Frame {
    before: State,
    placed: Vec<usize>,
    choices: Vec<usize>,
    next: usize,
}

/// See `chunk_linearizable`.
pub(super) fn search(operations: &[ChunkOperation]) -> Verdict {
    let entries: Vec<Entry<'_>> = operations.iter().filter_map(entry).collect();
    let mut search = Search::new(entries);
    if search.run() {
        return Ok(());
    }
    let steps = search.steps();
    let undecided = search.steps_left == 0;
    // Without a look ahead it gets as far as any order goes, which says more about what is wrong.
    let mut further = Search::new(operations.iter().filter_map(entry).collect());
    (further.looks_ahead, further.steps_left) = (false, STEPS_WHY);
    let found = further.run();
    let (check, what) = why(if found { &search } else { &further });
    if undecided {
        return fail(check, format!("undecided after {steps} configurations: {what}"));
    }
    assert!(!found, "a look ahead rules out what is impossible, nothing else");
    fail(check, what)
}

/// A read of the whole chunk after everything else.
pub(super) fn last_read(operations: &[ChunkOperation], saw: Saw) -> ChunkOperation {
    let ends = operations.iter().filter_map(|operation| match operation.end {
        End::Returned { at, .. } => Some(at),
        _ => None,
    });
    let begins = operations.iter().map(|operation| operation.invoked);
    let last = ends.chain(begins).max().unwrap_or(Instant::ZERO);
    let at = last + core::time::Duration::from_nanos(1);
    let (call, result) = (Call::Read { offset: 0, len: u32::MAX }, Answer::Saw(saw));
    Operation { client: u32::MAX, invoked: at, call, end: End::Returned { at, result } }
}

fn entry(operation: &ChunkOperation) -> Option<Entry<'_>> {
    let (item, returned) = match (&operation.call, &operation.end) {
        (Call::Read { offset, len }, End::Returned { at, result: Answer::Saw(saw) }) => {
            (Item::Read { offset: *offset, len: *len, saw }, *at)
        }
        (Call::Update(change, _), End::Returned { at, result: Answer::Made { version, len } }) => {
            (Item::Made { change, version: *version, len: *len }, *at)
        }
        (Call::Update(change, _), End::Unknown { .. } | End::Pending) => {
            (Item::Doubt { change }, Instant::NEVER)
        }
        (Call::Update(..), End::Returned { result: Answer::Saw(_), .. })
        | (Call::Read { .. }, End::Returned { result: Answer::Made { .. }, .. }) => {
            unreachable!("reads see, updates make")
        }
        (_, End::Failed { .. } | End::Unknown { .. } | End::Pending) => return None,
    };
    Some(Entry { item, operation, invoked: operation.invoked, returned })
}

impl Entry<'_> {
    /// Of an update.
    pub(super) fn epoch(&self) -> Epoch {
        match self.operation.call {
            Call::Update(_, epoch) => epoch,
            Call::Read { .. } => 0,
        }
    }

    /// The version that an acknowledged update has made.
    fn acknowledged(&self) -> Option<u32> {
        match self.item {
            Item::Made { version, .. } => Some(version),
            _ => None,
        }
    }
}

impl<'a> Search<'a> {
    fn new(entries: Vec<Entry<'a>>) -> Self {
        let all = || entries.iter().enumerate();
        let doubtful = |entry: &Entry<'_>| matches!(entry.item, Item::Doubt { .. });
        let answered = || all().filter(|(_, entry)| !doubtful(entry));
        let doubts = all().filter(|(_, entry)| doubtful(entry));
        let writes: Map<Stamp, usize> = all()
            .filter_map(|(index, entry)| match entry.operation.call {
                Call::Update(Change::Write { stamp, .. }, _) => Some((stamp, index)),
                _ => None,
            })
            .collect();
        let shown = entries.iter().filter_map(|entry| match entry.item {
            Item::Read { saw, .. } => Some(&saw.shown),
            _ => None,
        });
        let stamps = shown.flatten().filter_map(|shown| writes.get(&shown.stamp));
        Self {
            seen_by_reads: stamps.copied().filter(|&index| doubtful(&entries[index])).collect(),
            by_invoked: answered().map(|(index, entry)| (entry.invoked, index)).collect(),
            by_returned: answered().map(|(index, entry)| (entry.returned, index)).collect(),
            doubts: doubts.map(|(index, entry)| (entry.invoked, index)).collect(),
            removals: all()
                .filter(|(_, entry)| {
                    matches!(entry.operation.call, Call::Update(Change::Remove, _))
                })
                .map(|(index, entry)| (entry.invoked, index))
                .collect(),
            by_version: all()
                .filter_map(|(index, entry)| Some((entry.acknowledged()?, index)))
                .collect(),
            placed: vec![false; entries.len()],
            lives: vec![0; entries.len()],
            count: 0,
            state: State::default(),
            mark: 0,
            dead: Set::default(),
            shuffle: None,
            steps_left: STEPS_MIN.max(STEPS_EACH * entries.len()),
            looks_ahead: true,
            best: None,
            writes,
            entries,
        }
    }

    fn steps(&self) -> usize {
        STEPS_MIN.max(STEPS_EACH * self.entries.len()) - self.steps_left
    }

    /// Whether there is an order. A search that takes long begins anew in another order of choices:
    /// a wrong choice near the beginning would cost all the time there is.
    fn run(&mut self) -> bool {
        let mut attempt = STEPS_FIRST.max(STEPS_FIRST_EACH * self.entries.len());
        while 0 < self.steps_left {
            let steps = attempt.min(self.steps_left);
            let stop = self.steps_left - steps;
            match self.attempt(stop) {
                Some(found) => return found,
                None => attempt += attempt / 2,
            }
            let seed = self.steps_left as u64;
            self.shuffle = Some(Rng::new(seed));
        }
        false
    }

    /// Nothing if it took too long.
    fn attempt(&mut self, stop: usize) -> Option<bool> {
        let mut stack = vec![self.enter(None)];
        while let Some(frame) = stack.last_mut() {
            if self.by_returned.is_empty() {
                return Some(true);
            }
            let ends = self.steps_left <= stop;
            let choice = frame.choices.get(frame.next).copied().filter(|_| !ends);
            frame.next += 1;
            match choice {
                Some(choice) => {
                    let entered = self.enter(Some(choice));
                    stack.push(entered);
                }
                None => {
                    if !ends {
                        self.dead.insert((self.mark, self.state.hash));
                    }
                    let Frame { before, placed, .. } = stack.pop().expect("it was looked at");
                    placed.into_iter().for_each(|index| self.take_back(index));
                    self.state = before;
                }
            }
        }
        (stop < self.steps_left).then_some(false)
    }

    /// Places an update, and then every read that fits.
    fn enter(&mut self, choice: Option<usize>) -> Frame {
        let before = self.state.clone();
        let mut placed = Vec::new();
        if let Some(choice) = choice {
            self.place(choice);
            placed.push(choice);
            let change = self.change(choice).expect("only updates are chosen");
            self.state = self.state.after(change, self.entries[choice].epoch());
        }
        while let Some(read) = self.fitting_read() {
            self.place(read);
            placed.push(read);
        }
        self.steps_left = self.steps_left.saturating_sub(1);
        let goes_on = !self.dead.contains(&(self.mark, self.state.hash)) && !self.is_dead();
        let choices = if goes_on { self.choices() } else { Vec::new() };
        if choices.is_empty() {
            self.remember_stuck();
        }
        Frame { before, placed, choices, next: 0 }
    }

    fn remember_stuck(&mut self) {
        let Some(&(_, first)) = self.by_returned.first() else { return };
        if self.best.as_ref().is_none_or(|best| best.count < self.count) {
            let (state, placed) = (self.state.clone(), self.placed.clone());
            self.best = Some(Stuck { count: self.count, state, placed, first });
        }
    }

    fn place(&mut self, index: usize) {
        self.switch(index, true);
        let Entry { invoked, returned, .. } = self.entries[index];
        if !self.doubts.remove(&(invoked, index)) {
            let was = (
                self.by_invoked.remove(&(invoked, index)),
                self.by_returned.remove(&(returned, index)),
            );
            assert_eq!(was, (true, true), "an operation is placed once");
            self.count += 1;
        }
    }

    fn take_back(&mut self, index: usize) {
        self.switch(index, false);
        let Entry { invoked, returned, ref item, .. } = self.entries[index];
        if matches!(item, Item::Doubt { .. }) {
            self.doubts.insert((invoked, index));
        } else {
            self.by_invoked.insert((invoked, index));
            self.by_returned.insert((returned, index));
            self.count -= 1;
        }
    }

    fn switch(&mut self, index: usize, placed: bool) {
        assert_ne!(self.placed[index], placed, "an operation is placed once");
        self.placed[index] = placed;
        self.lives[index] = self.state.life;
        if let Some(version) = self.entries[index].acknowledged() {
            let place = (version, index);
            if placed {
                self.by_version.remove(&place)
            } else {
                self.by_version.insert(place)
            };
        }
        if self.change(index) == Some(&Change::Remove) {
            let place = (self.entries[index].invoked, index);
            if placed {
                self.removals.remove(&place)
            } else {
                self.removals.insert(place)
            };
        }
        self.mark ^= Rng::new(index as u64).next_u64();
    }

    fn change(&self, index: usize) -> Option<&'a Change> {
        match self.entries[index].item {
            Item::Read { .. } => None,
            Item::Made { change, .. } | Item::Doubt { change } => Some(change),
        }
    }

    /// Nobody who was invoked later than this may be placed next.
    fn horizon(&self) -> Instant {
        self.by_returned.first().map_or(Instant::NEVER, |(at, _)| *at)
    }

    /// Answered operations that may be placed next.
    fn next_answered(&self) -> impl Iterator<Item = usize> + '_ {
        self.by_invoked.range(..=(self.horizon(), usize::MAX)).map(|(_, index)| *index)
    }

    fn fitting_read(&self) -> Option<usize> {
        self.next_answered().find(|&index| match self.entries[index].item {
            Item::Read { offset, len, saw } => self.state.shows(offset, len, saw),
            _ => false,
        })
    }

    /// Whether something that is not placed belongs to another life, and none can begin in time.
    fn is_dead(&self) -> bool {
        if !self.looks_ahead {
            return false;
        }
        if self.reads_ahead().into_iter().any(|read| self.is_too_late_for(read)) {
            return true;
        }
        let now = self.state.version;
        let horizon = self.horizon();
        let ahead = self.by_returned.iter().take(AHEAD).map(|(_, index)| *index);
        ahead.chain(self.next_answered()).any(|index| {
            let Entry { ref item, invoked, returned, .. } = self.entries[index];
            let over = match *item {
                // One that may be next, and is of this version, does not fit.
                Item::Read { saw, .. } if invoked <= horizon => saw.version <= now,
                Item::Read { saw, .. } => saw.version < now,
                Item::Made { version, .. } => version <= now,
                Item::Doubt { .. } => false,
            };
            let before = match *item {
                Item::Read { saw, .. } => saw.version,
                Item::Made { version, .. } => version - 1,
                Item::Doubt { .. } => 0,
            };
            // The chunk may be absent, which is no life.
            over && now != 0 && !self.may_live_again(before, returned)
        })
    }

    /// Whether a life that begins later may reach a version before something that returned then.
    fn may_live_again(&self, version: u32, returned: Instant) -> bool {
        if !self.may_end_before(returned) {
            return false;
        }
        let until = ..=(returned, usize::MAX);
        let doubts = self.doubts.range(until).take(version as usize).count();
        let wanted = version as usize - doubts;
        // By version, so that each counts once, and counting ends when there are enough.
        let asked = self.by_version.range(..=(version, usize::MAX));
        let asked = asked.filter(|(_, index)| self.entries[*index].invoked <= returned);
        let mut found = 0;
        let mut last = None;
        for &(made, _) in asked {
            if wanted <= found {
                break;
            }
            found += usize::from(last != Some(made));
            last = Some(made);
        }
        wanted <= found
    }

    /// Whether a life may end before something that returned then.
    fn may_end_before(&self, returned: Instant) -> bool {
        self.removals.first().is_some_and(|(invoked, _)| *invoked <= returned)
    }

    /// Whether a later read shows more than can be placed before it, or something of a life that is
    /// over.
    fn is_too_late_for(&self, (returned, saw): (Instant, &Saw)) -> bool {
        let now = &self.state;
        let writers = saw.shown.iter().filter_map(|shown| self.writes.get(&shown.stamp));
        let writers: BTreeSet<usize> = writers.copied().collect();
        let (old, new): (Vec<usize>, Vec<usize>) =
            writers.into_iter().partition(|&index| self.placed[index]);
        if old.iter().any(|&index| self.lives[index] != now.life) {
            return true;
        }
        let ends = self.may_live_again(saw.version, returned);
        if old.is_empty() && (ends || now.version == 0) {
            return (saw.version as usize) < new.len();
        }
        let Some(room) = saw.version.checked_sub(now.version) else { return true };
        let doubts = new.iter().filter(|&&index| self.entries[index].acknowledged().is_none());
        let taken = if ends {
            new.len() - doubts.clone().count()
        } else {
            let last = |version| (version, usize::MAX);
            let between = (Excluded(last(now.version)), Included(last(saw.version)));
            let here = self.by_version.range(between).filter(|(_, index)| {
                // Another one may belong to a later life.
                !self.may_end_before(self.entries[*index].returned)
            });
            let mut versions: Vec<u32> = here.map(|(version, _)| *version).collect();
            versions.dedup();
            versions.len()
        };
        (room as usize) < taken + doubts.count()
    }

    /// Updates that may follow, the most promising first.
    fn choices(&mut self) -> Vec<usize> {
        let reads: Vec<&Saw> = self.reads_ahead().into_iter().map(|(_, saw)| saw).collect();
        let next = self.state.version + 1;
        let mut choices: Vec<usize> = self
            .next_answered()
            .filter(|&index| match self.entries[index].item {
                Item::Made { change, version, len } => {
                    let epoch = self.entries[index].epoch();
                    version == next
                        && self.state.admits(change, epoch)
                        && self.state.after(change, epoch).len() == len
                        && self.leaves_shown(change, &reads)
                }
                _ => false,
            })
            .collect();
        choices.sort_by_key(|&index| (self.entries[index].returned, index));
        choices.extend(self.doubts_that_may(&reads));
        if let Some(shuffle) = &mut self.shuffle
            && shuffle.chance(SHUFFLED)
        {
            let first = usize::try_from(shuffle.below(choices.len().max(1) as u64)).unwrap_or(0);
            choices.rotate_left(first);
        }
        choices
    }

    /// Updates of unknown outcome that may follow.
    fn doubts_that_may(&self, reads: &[&'a Saw]) -> Vec<usize> {
        let Some(&(horizon, first)) = self.by_returned.first() else { return Vec::new() };
        // How many versions are missing before the one that waits; it may be in another life.
        let wanted = match self.entries[first].item {
            Item::Read { saw, .. } => saw.version,
            Item::Made { version, .. } => version - 1,
            Item::Doubt { .. } => unreachable!("nobody knows when it returned"),
        };
        let missing = wanted.checked_sub(self.state.version);
        let rank = |index: usize| {
            let ahead = reads.iter().position(|saw| self.shows_stamp_of(saw, index));
            ahead.unwrap_or(usize::MAX)
        };
        let may = self.doubts.range(..=(horizon, usize::MAX)).map(|(_, index)| *index);
        let mut may: Vec<(usize, usize)> = may
            .filter(|&index| {
                let change = self.change(index).expect("a doubt is an update");
                let idle = *change == Change::Remove && self.state.version == 0;
                let admitted = self.state.admits(change, self.entries[index].epoch());
                !idle && admitted && self.leaves_shown(change, reads)
            })
            .map(|index| (rank(index), index))
            .collect();
        let shown = may.iter().filter(|(rank, _)| *rank == 0).count();
        let ends = missing.is_none_or(|missing| missing == 0);
        // What is overwritten comes before what overwrites it; what is never seen, before what is
        // seen later.
        let hidden_first = missing.is_some_and(|missing| shown < missing as usize);
        may.sort_by_key(|&(rank, index)| {
            let removal = self.change(index) == Some(&Change::Remove);
            let later = self.seen_by_reads.contains(&index);
            let hidden = rank == usize::MAX && !later;
            (removal != ends, hidden_first != hidden, rank, later, index)
        });
        may.into_iter().map(|(_, index)| index).collect()
    }

    fn reads_ahead(&self) -> Vec<(Instant, &'a Saw)> {
        let ahead = self.by_returned.iter().take(AHEAD).filter_map(|(returned, index)| match self
            .entries[*index]
            .item
        {
            Item::Read { saw, .. } if !saw.shown.is_empty() => Some((*returned, saw)),
            _ => None,
        });
        ahead.take(READS_AHEAD).collect()
    }

    fn shows_stamp_of(&self, saw: &Saw, index: usize) -> bool {
        saw.shown.iter().any(|shown| self.writes.get(&shown.stamp) == Some(&index))
    }

    /// Whether a change now leaves what reads, all of them later, show of writes before it.
    fn leaves_shown(&self, change: &Change, reads: &[&Saw]) -> bool {
        let cleared = cleared(change);
        let own = match change {
            Change::Write { stamp, .. } => Some(*stamp),
            _ => None,
        };
        let reads = if self.looks_ahead { reads } else { &[] };
        reads.iter().flat_map(|saw| &saw.shown).all(|shown| {
            let placed = || self.writes.get(&shown.stamp).is_some_and(|&index| self.placed[index]);
            !overlap(&cleared, &shown.range) || Some(shown.stamp) == own || !placed()
        })
    }
}

fn overlap(a: &Range<u32>, b: &Range<u32>) -> bool {
    a.start.max(b.start) + OVERLAP_MIN <= a.end.min(b.end)
}
