//! Whether a node's clock keeps the drift bound that every lease rests on (E290).
//!
//! The manager has, per heartbeat, the node's reading when it was sent and its own when it arrived.
//! Messages are late but never early, so of a stretch of heartbeats the one with the smallest
//! difference was the fastest. The clock check keeps the fastest of each block of a window and
//! compares the first with the last:
//!
//! ```text
//!   |----block 0----|----block 1----| ...                  |----block n----|
//!        fastest ^------------ node: a,  manager: b -------------^ fastest
//! ```
//! The fastest messages of two blocks differ in delay by at most `CLOCK_JITTER` (J), so `a / b` is
//! the ratio of the clocks up to `J / b`. The window is `3 J / e` or longer: the error is at
//! most `e / 3`. A clock is judged bad from `e / 2` on, so every one that is off by more than
//! `5/6 e` is found, before it reaches `e`, and none that is off by less than `e / 6` is accused.
//! With the defaults: 60 s, found from 0.83 % on, never below 0.17 %, and honest clocks are within
//! 0.11 %.
//!
//! A manager that stood still, or a link that did, makes a whole block late; a verdict counts when
//! two blocks in succession say the same. A manager that finds most nodes wrong is wrong itself.

use alloc::collections::VecDeque;
use core::time::Duration;

use engine_types::{Instant, reached};

use super::LeaseTimes;

/// By how much the fastest messages of two blocks may differ: ten heartbeats in a row that
/// are all this late do not come from a network in order.
pub const CLOCK_JITTER: Duration = Duration::from_millis(200);
/// Blocks of a window: with the defaults ten heartbeats in each.
pub const CLOCK_BLOCKS: usize = 6;

const MILLION: i128 = 1_000_000;

/// What is known about the rate of a node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockVerdict {
    /// Not observed for a whole window yet.
    Unknown,
    /// Within the bound; by how many ppm it runs fast (or slow, negative), as measured.
    Good {
        /// Parts per million.
        ppm: i64,
    },
    /// Outside: the node must not hold leases. Remove it.
    Bad {
        /// Parts per million, positive when the node's clock is the faster one.
        ppm: i64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    sent: Instant,
    received: Instant,
}

impl Sample {
    /// Delay plus the offset of the two clocks.
    fn lag(&self) -> i128 {
        i128::from(self.received.nanos()) - i128::from(self.sent.nanos())
    }
}

/// The clock of one start of one node, as the manager sees it.
#[derive(Clone, Debug)]
pub struct ClockCheck {
    drift_ppm: i64,
    block: Duration,
    /// The fastest message of each block, the last one still growing; with its start.
    blocks: VecDeque<(Instant, Sample)>,
    /// The verdict of the last complete block, and whether the one before said the same.
    verdict: ClockVerdict,
    suspect: bool,
}

impl ClockCheck {
    /// A node has started.
    pub fn new(times: &LeaseTimes) -> Self {
        Self {
            drift_ppm: times.drift_ppm().into(),
            block: Self::window(times) / u32::try_from(CLOCK_BLOCKS).expect("a small number"),
            blocks: VecDeque::with_capacity(CLOCK_BLOCKS + 2),
            verdict: ClockVerdict::Unknown,
            suspect: false,
        }
    }

    /// How long a node is observed before it is judged, three times the jitter divided by e.
    pub fn window(times: &LeaseTimes) -> Duration {
        let ratio = 1_000_000u32.div_ceil(times.drift_ppm());
        CLOCK_JITTER * 3 * ratio
    }

    /// A heartbeat that says `sent` (node's clock) arrived at `received` (manager's clock). Stale
    /// ones, by their sequence, are not for here: a clock that shows less than before is a bad one.
    pub fn heartbeat(&mut self, sent: Instant, received: Instant) -> ClockVerdict {
        let sample = Sample { sent, received };
        match self.blocks.back_mut() {
            Some((start, fastest)) if received < *start + self.block => {
                if sample.lag() < fastest.lag() {
                    *fastest = sample;
                }
                return self.verdict;
            }
            _ => {}
        }
        self.judge();
        self.blocks.push_back((received, sample));
        self.verdict
    }

    /// What is known.
    pub const fn verdict(&self) -> ClockVerdict {
        self.verdict
    }

    /// The last block is complete.
    fn judge(&mut self) {
        let Some(ppm) = self.measure() else { return };
        let bad = self.drift_ppm < 2 * ppm.abs();
        if bad && !self.suspect {
            reached!("E290: a clock is suspected");
            self.suspect = true;
            return;
        }
        self.suspect = bad;
        self.verdict = if bad { ClockVerdict::Bad { ppm } } else { ClockVerdict::Good { ppm } };
    }

    /// The rate between the newest block and the youngest that is a window older.
    fn measure(&mut self) -> Option<i64> {
        let &(start, newest) = self.blocks.back()?;
        let window = self.block * u32::try_from(CLOCK_BLOCKS).expect("a small number");
        let is_old = |&(other, _): &(Instant, Sample)| other + window + self.block <= start;
        while self.blocks.get(1).is_some_and(is_old) {
            self.blocks.pop_front();
        }
        let &(_, oldest) = self.blocks.front().filter(|block| is_old(block))?;
        let manager = newest.received.saturating_since(oldest.received).as_nanos().cast_signed();
        let node = newest.sent.saturating_since(oldest.sent).as_nanos().cast_signed();
        // A clock that stands still or runs at a thousand times the speed is far out of bounds.
        let ppm = (node - manager) * MILLION / manager.max(1);
        Some(i64::try_from(ppm).unwrap_or(i64::MAX))
    }
}

/// Whether the manager should doubt its own clock: of at least three nodes that were judged, most
/// are bad. It then steps down rather than remove them.
pub const fn own_clock_is_suspect(bad: usize, judged: usize) -> bool {
    3 <= judged && judged < 2 * bad
}

const _: () = assert!(2 <= CLOCK_BLOCKS);

#[cfg(test)]
mod tests;
