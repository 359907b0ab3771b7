//! When the manager itself did not attend: silence that nobody listened to says nothing.
//!
//! A manager that was not scheduled for some seconds finds the heartbeats of that time unread in
//! its queues, and one whose lease lapsed has refused them. Both would take every replica out if
//! they judged by what they heard. Whoever is not dead therefore counts as heard at the end of such
//! a lapse; a node that has died meanwhile is out `D_s * (1 + e)` after it. Leases are not
//! prolonged by that: only their end is believed later.

use core::time::Duration;

use engine_types::{Instant, reached};

use super::Cluster;

/// Without a tick or a heartbeat for longer than this the manager did not attend: one beat, as a
/// node must miss two before it counts as dead.
pub const LAPSE: Duration = Duration::from_secs(1);

impl Cluster {
    /// True if the manager did not attend for so long that silence says nothing: whatever else
    /// judges by silence has to be told so before it does.
    pub fn is_away(&self, now: Instant) -> bool {
        self.attended + LAPSE < now
    }

    /// How many lapses there were since `load`, noticed here or told by `resumed`.
    pub const fn lapses(&self) -> u64 {
        self.lapses
    }

    /// The manager attends at `now`; was it away before?
    pub(crate) fn attend(&mut self, now: Instant) {
        if self.is_away(now) {
            self.resumed(now);
        }
        self.attended = self.attended.max(now);
    }

    /// Heartbeats were not taken in for a while that ends at `now`, for instance because the
    /// manager's lease had lapsed: nodes that have not died count as heard. Pauses in which neither
    /// `tick` nor `heartbeat` is called are found without it.
    pub fn resumed(&mut self, now: Instant) {
        reached!("L4: the manager was away");
        self.lapses += 1;
        for node in self.nodes.values_mut().filter(|node| !node.dead) {
            node.heard = node.heard.max(now);
        }
        self.attended = self.attended.max(now);
    }
}
