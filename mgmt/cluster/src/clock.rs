//! Whether a node's clock runs at the manager's rate.
//!
//! Leases are sound while the rates of two clocks differ by at most `e`. Nobody can prove that for
//! a node, but a clock that is seen to run away is not trusted any further: the node is refused
//! until it starts anew.
//!
//! Each heartbeat pairs a time of the node with one of the manager, later by a delay of transport
//! that nobody knows. Of the pairs of ten seconds the one with the least delay counts; it is
//! compared with such a pair of up to an hour before. Between the two both clocks advance equally,
//! but for `e` and for what the delays differ by; a network in which even the fastest heartbeat of
//! ten seconds takes longer than a lease lasts is of no use anyway. So a clock that is off by 2 %
//! is found within four minutes, one that stood still for five seconds (a paused virtual machine)
//! within twenty.

use core::time::Duration;

use engine_types::Instant;

use crate::rules::Rules;

/// The fastest heartbeat of this time is taken.
const WINDOW: Duration = Duration::from_secs(10);
/// With fewer heartbeats in a window nothing is concluded: all of them may have been late.
const WINDOW_BEATS_MIN: u32 = 5;
/// Pairs are compared with one of at most this long ago, so that the drift that is allowed does
/// not hide in an old difference of delays for ever.
const ANCHOR_AGE_MAX: Duration = Duration::from_secs(3600);

/// What is remembered of a clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockWatch {
    /// What later pairs are compared with.
    anchor: Option<Pair>,
    /// The present window: its start on the manager's clock, its fastest pair, its beats.
    window: Option<(Instant, Pair, u32)>,
}

/// A heartbeat's two times.
#[derive(Clone, Copy, Debug)]
struct Pair {
    sent: Instant,
    received: Instant,
}

/// How much two clocks advanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Away {
    /// The node's.
    pub(crate) node: Duration,
    /// The manager's.
    pub(crate) manager: Duration,
}

impl Pair {
    /// Delay plus the difference of the clocks, which is the same for all pairs of a short time.
    fn offset(&self) -> i128 {
        i128::from(self.received.nanos()) - i128::from(self.sent.nanos())
    }
}

impl ClockWatch {
    pub(crate) const fn new() -> Self {
        Self { anchor: None, window: None }
    }

    /// A heartbeat was sent at `sent` by the node's clock and received at `now` by the manager's.
    /// Gives what both clocks advanced by, if it cannot be explained by drift and delays.
    pub(crate) fn observe(&mut self, sent: Instant, now: Instant, rules: &Rules) -> Option<Away> {
        let pair = Pair { sent, received: now };
        let Some((start, fastest, beats)) = &mut self.window else {
            self.window = Some((now, pair, 1));
            return None;
        };
        if now.saturating_since(*start) < WINDOW {
            *beats += 1;
            if pair.offset() < fastest.offset() {
                *fastest = pair;
            }
            return None;
        }
        let (fastest, beats) = (*fastest, *beats);
        self.window = Some((now, pair, 1));
        if beats < WINDOW_BEATS_MIN {
            return None;
        }
        let anchor = *self.anchor.get_or_insert(fastest);
        let node = fastest.sent.saturating_since(anchor.sent);
        let manager = fastest.received.saturating_since(anchor.received);
        let slack = rules.with_drift(manager).saturating_sub(manager).saturating_add(rules.wait());
        if fastest.sent < anchor.sent || slack < node.abs_diff(manager) {
            return Some(Away { node, manager });
        }
        if ANCHOR_AGE_MAX <= manager {
            self.anchor = Some(fastest);
        }
        None
    }
}

#[cfg(test)]
mod tests;
