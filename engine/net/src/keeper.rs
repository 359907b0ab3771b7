//! The clock of a connection: keepalive, stalled frames, deadlines of calls.
//!
//! One task per connection sleeps until the next thing that can be due, so that a call costs no
//! timer of its own. Time limits are judged by reading the clock (E35).

use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::{Env, Notify, first};
use engine_types::Instant;

use crate::link::{EndReason, Link};

/// Pause between two looks at a connection whose own memory is short, when it would be given up.
const KEEPER_PAUSE_MIN: Duration = Duration::from_millis(10);

/// When a connection is given up, and when its peer is asked whether it is still there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Silence after which to ping; `None` on the side that is pinged.
    pub(crate) ping_after: Option<Duration>,
    /// Silence after which the peer counts as gone.
    pub(crate) silence: Duration,
    /// Longest time from the first to the last byte of a frame or segment.
    pub(crate) frame: Duration,
}

/// An alarm of the connection's owner beside those of the connection itself.
pub(crate) struct Alarm {
    armed: Cell<Instant>,
    sooner: Notify,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { armed: Cell::new(Instant::NEVER), sooner: Notify::default() }
    }
}

impl AsRef<Self> for Alarm {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Alarm {
    /// Makes sure that the keeper looks at `at` at the latest.
    pub(crate) fn arm(&self, at: Instant) {
        if at < self.armed.get() {
            self.armed.set(at);
            self.sooner.notify();
        }
    }
}

/// Runs until the connection ends. `due` handles what the owner has due at the given time and
/// says when it has something due again.
pub(crate) async fn keep<E: Env>(
    link: Rc<Link<E>>,
    patience: Patience,
    alarm: Rc<impl AsRef<Alarm>>,
    due: impl Fn(Instant) -> Instant,
) {
    loop {
        let now = link.env.now();
        let owner = due(now);
        if link.is_ended() {
            return;
        }
        let Some(own) = check(&link, patience, now) else { return };
        let next = own.min(owner);
        let alarm = (*alarm).as_ref();
        alarm.armed.set(next);
        let woken = first(alarm.sooner.notified(), link.ended());
        first(woken, link.env.sleep_until(next)).await;
    }
}

/// Ends the connection when it deserves it; else says when to look again.
fn check<E: Env>(link: &Link<E>, patience: Patience, now: Instant) -> Option<Instant> {
    let heard = link.last_received();
    let silent = now.saturating_since(heard);
    if patience.silence <= silent && !link.is_waiting_for_memory() {
        engine_types::reached!("a peer is silent for too long");
        link.end(EndReason::Silent { silent, limit: patience.silence });
        return None;
    }
    let mut next = (heard + patience.silence).max(now + KEEPER_PAUSE_MIN);
    if let Some(since) = link.unit_since() {
        let took = now.saturating_since(since);
        if patience.frame <= took {
            engine_types::reached!("a frame does not end");
            link.end(EndReason::Stalled { took, limit: patience.frame });
            return None;
        }
        next = next.min(since + patience.frame);
    } else {
        // A frame that begins right after this look is seen in time by the next one.
        next = next.min(now + patience.frame);
    }
    if let Some(since) = link.sending_since() {
        // A peer that does not read holds everything that waits to be sent.
        let took = now.saturating_since(since);
        if patience.frame <= took {
            engine_types::reached!("a peer does not read");
            link.end(EndReason::Stalled { took, limit: patience.frame });
            return None;
        }
    }
    if let Some(ping_after) = patience.ping_after {
        // Also while answers arrive: the peer hears nothing of their arriving.
        let asked = link.last_pinged();
        if ping_after <= now.saturating_since(asked) {
            link.ping(now);
            next = next.min(now + ping_after);
        } else {
            next = next.min(asked + ping_after);
        }
    }
    Some(next)
}
