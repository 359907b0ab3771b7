//! A short life of a store, ended after each of its steps in turn.
//!
//! A step is anything that happens between the store and its device: an operation begins, the
//! device has carried it out while nobody knows, whoever waits for it is told. The same seed gives
//! the same steps, so that a life can be ended after the first, the second, and so on; with
//! everything lost that was not flushed, with everything kept, and with each sector decided by
//! itself. So every moment of every sequence is met: a group written and not flushed, a flush that
//! has ended and was not acknowledged, a checkpoint without its superblock, a mount generation
//! without its first group. Then the store is opened and compared as after any crash (T43 to T46),
//! also with a second crash on the way.

use core::time::Duration;

use engine_runtime::sim::{Count, CrashMode, DiskFaults, Sim};
use engine_runtime::traced::{Moment, Operation};
use engine_runtime::{FileLog, FileOperation};
use engine_store::format::limits::SUPERBLOCK_OFFSETS;
use engine_store::format::{FormatOptions, Layout};

use super::ledger::{Ledger, Phase, Wish};
use super::setting::Flavour;
use super::{Play, Shape};
use crate::check::{CheckFailure, Verdict};
use crate::scenario::Played;

/// A life that is always the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Its seed.
    pub seed: u64,
    /// What it is rich in.
    pub flavour: Flavour,
    /// Requests until it rests.
    pub requests: u64,
}

/// Where a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// After so many steps.
    pub step: usize,
    /// What the crash takes.
    pub mode: CrashMode,
    /// The recovery crashes too, after so many steps of its own.
    pub again: Option<usize>,
}

/// Commits are written and images go home meanwhile.
const SETTLES: Duration = Duration::from_millis(50);
/// Lives of a history: the second one finds a closed store.
const LIVES: u32 = 2;

/// The names of the steps of a history that nothing ends.
///
/// # Errors
/// A check that does not hold even so.
pub fn names(history: &History) -> Result<Vec<String>, CheckFailure> {
    let mut names = Vec::new();
    let played = world(history, |play| {
        let mut watch = Watch::new(play.layout(), None);
        watch.names = Some(Vec::new());
        play.lives(history, &mut watch)?;
        names = watch.names.take().expect("they were wanted");
        Ok(())
    });
    played.verdict.map(|()| names)
}

/// Ends the life of a history at `end` and looks at what is left.
pub fn crash(history: &History, end: End) -> Played {
    world(history, |play| {
        let mut watch = Watch::new(play.layout(), Some(end.step));
        if play.lives(history, &mut watch)? {
            play.world.sim().crash_as(play.node, end.mode);
        }
        play.wish(Wish::Rest);
        if let Some(again) = end.again {
            let mut watch = Watch::new(play.layout(), Some(again));
            play.start_seen(Some(watch.log.clone()));
            let opened = |_: &Sim, ledger: &Ledger| Phase::Checking <= ledger.phase;
            play.watched(&mut watch, "a crash during recovery", opened)?;
            play.world.sim().crash_as(play.node, end.mode);
        }
        play.start();
        play.reach(Phase::Resting)
    })
}

fn world(history: &History, run: impl FnOnce(&mut Play<'_>) -> Verdict) -> Played {
    let shape = Shape {
        requests: history.requests,
        troubles: false,
        flavour: Some(history.flavour),
        ..Shape::USUAL
    };
    Play::world(history.seed, &shape, DiskFaults::default(), run)
}

/// Counts steps.
struct Watch {
    log: FileLog,
    layout: Layout,
    last: (Moment, [u64; 3]),
    steps: usize,
    stop: Option<usize>,
    names: Option<Vec<String>>,
}

/// What the simulated device has carried out.
const CARRIED_OUT: [(Count, &str); 3] =
    [(Count::Read, "read"), (Count::Write, "write"), (Count::Flush, "flush")];

impl Watch {
    fn new(layout: Layout, stop: Option<usize>) -> Self {
        let log = FileLog::new();
        let last = (log.now(), [0; 3]);
        Self { log, layout, last, steps: 0, stop, names: None }
    }

    /// Whether this is where the life ends.
    fn is_end(&mut self, sim: &Sim, ledger: &Ledger) -> bool {
        let report = sim.report();
        let now = (self.log.now(), CARRIED_OUT.map(|(count, _)| report.count(count)));
        if now == self.last || !ledger.formatted {
            self.last = now; // a store that is not formatted is formatted again
            return false;
        }
        let before = core::mem::replace(&mut self.last, now);
        self.steps += 1;
        if self.names.is_some() {
            let name = self.name(ledger, before);
            self.names.get_or_insert_default().push(name);
        }
        self.stop == Some(self.steps)
    }

    fn name(&self, ledger: &Ledger, before: (Moment, [u64; 3])) -> String {
        let phase = match (ledger.wish, ledger.phase) {
            (_, Phase::Off | Phase::Opening) => "opening",
            (Wish::Close, _) => "closing",
            (Wish::Work, _) => "working",
            _ => "resting",
        };
        if before.0 == self.last.0 {
            let changed = CARRIED_OUT.iter().zip(before.1.iter().zip(self.last.1));
            let changed = changed.filter(|(_, (was, is))| **was != *is);
            let what: Vec<&str> = changed.map(|((_, name), _)| *name).collect();
            return format!("{phase}: {} is carried out", what.join(", "));
        }
        let all = self.log.operations();
        let new = |at: Moment| before.0 < at && at <= self.last.0;
        let begun = all.iter().filter(|one| new(one.began)).map(|one| (one, "begins"));
        let ended = all.iter().filter(|one| one.ended.is_some_and(new)).map(|one| (one, "ends"));
        let all: Vec<String> =
            ended.chain(begun).map(|(one, what)| format!("{} {what}", self.what(one))).collect();
        format!("{phase}: {}", all.join(", "))
    }

    fn what(&self, one: &Operation) -> &'static str {
        let Layout { ring, halves, data_offset, .. } = &self.layout;
        match one.operation {
            FileOperation::Write if SUPERBLOCK_OFFSETS.contains(&one.position) => "superblock",
            FileOperation::Write if one.overlaps(ring.offset, ring.len) => "group",
            FileOperation::Write
                if halves.iter().any(|half| one.overlaps(half.offset, half.len)) =>
            {
                "checkpoint page"
            }
            FileOperation::Write if *data_offset <= one.position => "data",
            FileOperation::Flush => "flush",
            FileOperation::Preallocate => "claim",
            FileOperation::Discard => "discard",
            FileOperation::Read => "read",
            _ => "other",
        }
    }
}

impl Play<'_> {
    fn layout(&self) -> Layout {
        let create = &self.setting.create;
        let options = FormatOptions {
            size: create.size.expect("drawn"),
            journal_bytes: create.journal_bytes,
            index_bytes: create.index_bytes,
            dedup_channels: create.dedup_channels,
        };
        Layout::plan(&options).expect("it was formatted")
    }

    /// Lives until the end that is watched for; false when it did not come.
    fn lives(&mut self, history: &History, watch: &mut Watch) -> Result<bool, CheckFailure> {
        for _ in 0..LIVES {
            self.wish(Wish::Work);
            self.start_seen(Some(watch.log.clone()));
            let enough = |_: &Sim, ledger: &Ledger| {
                history.requests <= ledger.begun || ledger.phase == Phase::Failed
            };
            if self.watched(watch, "requests are made", enough)? {
                return Ok(true);
            }
            self.wish(Wish::Rest);
            let rests = |_: &Sim, ledger: &Ledger| Phase::Resting <= ledger.phase;
            if self.watched(watch, "every request ends", rests)? {
                return Ok(true);
            }
            let late = self.world.sim().now() + SETTLES;
            if self.watched(watch, "time passes", move |sim, _| late <= sim.now())? {
                return Ok(true);
            }
            self.wish(Wish::Close);
            let node = self.node;
            if self.watched(watch, "it closes", move |sim, _| !sim.is_running(node))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until `until` holds; true when the life is to end before.
    fn watched(
        &mut self,
        watch: &mut Watch,
        what: &str,
        mut until: impl FnMut(&Sim, &Ledger) -> bool,
    ) -> Result<bool, CheckFailure> {
        let mut ends = false;
        // Time alone passes in steps of the world.
        self.wait(what, |sim, ledger| {
            ends |= watch.is_end(sim, ledger);
            ends || until(sim, ledger)
        })?;
        Ok(ends)
    }
}
