//! Sessions that are over (L6, R16): their requests are refused from the revocation on, and what is
//! remembered of them goes when nothing of them can happen any more on any node.
//!
//! ```text
//!   routing info: revoked ──> fence durable ──> nothing admitted ──> "drained" with the heartbeat
//!   remembered, and revoked here ──ask──> manager: fenced everywhere? ──yes──> journaled, dropped
//! ```
//!
//! A replica knows of every fence that its store has noted (E390): a start begins with them, and
//! hears of each one that is noted later. So what a session has left pending in a store comes to
//! its end after a crash too, without a lease, which nobody gives before it has drained (E294).
//!
//! Both conditions are needed. Revoked here: else a repeated request would be executed again here.
//! Fenced everywhere: else a replica that this one brings up to date, which then remembers nothing,
//! and that has not heard of the revocation, could become head under a lease from before and
//! execute it again. What is fenced stays so, so a late or repeated answer does no harm (E387). A
//! record that a replica brings back, which was not so far, is harmless: it is asked for again.
//!
//! Fences go when the lowest live session has passed them (a single bound in the store).

use core::time::Duration;
use std::collections::BTreeSet;
use std::rc::Rc;

use engine_craq::Event;
use engine_runtime::{Env, yield_now};
use engine_store::Fence;
use engine_types::{RoutingInfo, SessionId};
use mgmt_client::SESSIONS_ASKED_MAX;

use crate::home::Home;
use crate::shard::{PEERS_PAUSE, Shard};

/// Pause between two looks at what revoked sessions have left in flight.
const DRAIN_PAUSE: Duration = Duration::from_millis(5);
/// Between two rounds of asking which sessions have ended: 1,024 every ten seconds and shard, far
/// more than clients come and go, and ten questions a second of a hundred shards.
const FORGET_EVERY: Duration = Duration::from_secs(10);
/// The same while a store remembers more than half of what it can.
const FORGET_PRESSED_EVERY: Duration = Duration::from_secs(1);
/// Sessions of a target that are looked at in one turn of the shard: some 50 us.
const LOOKED_AT_ONCE: usize = 1024;
/// Sessions that are begun to be forgotten in one turn.
const FORGOTTEN_AT_ONCE: usize = 64;

impl<E: Env> Shard<E> {
    /// Notes revoked sessions durably, then waits until nothing of them is left (L6).
    pub(crate) async fn keep_fences(self: Rc<Self>) {
        loop {
            let routing = self.routing();
            let version = (routing.timeline, routing.version);
            if self.drained.get() == version {
                self.routing_changed
                    .until(|| {
                        self.routing().version != version.1 || self.routing().timeline != version.0
                    })
                    .await;
                continue;
            }
            let fences = fences(&routing);
            if !self.fence(&fences).await {
                self.env.sleep_until(self.env.now() + PEERS_PAUSE).await;
                continue;
            }
            loop {
                let any = self.is_anything_admitted(&fences);
                if !any {
                    break;
                }
                self.env.sleep_until(self.env.now() + DRAIN_PAUSE).await;
            }
            self.drained.set(version);
            self.report_now();
        }
    }

    /// Whether something is in flight of revoked sessions.
    fn is_anything_admitted(&self, fences: &[Fence]) -> bool {
        let targets = self.targets.borrow();
        let mut open = targets.values().filter(|target| !target.is_closed());
        open.any(|target| target.is_draining(fences))
    }

    async fn fence(self: &Rc<Self>, fences: &[Fence]) -> bool {
        for home in &self.homes {
            let new = fences.iter().filter(|fence| !is_noted(home, **fence));
            for fence in new {
                if let Err(error) = home.store.fence(*fence).await {
                    tracing::warn!(store = %home.id, %error, "revoked sessions are not noted");
                    if home.store.failure().is_none() {
                        return false;
                    }
                }
                let targets = self.all_targets();
                for target in targets.iter().filter(|target| Rc::ptr_eq(&target.home, home)) {
                    target.step(Event::Revoked(*fence));
                }
            }
        }
        true
    }

    /// Asks from time to time which revoked sessions have ended everywhere.
    pub(crate) async fn forget_ended(self: Rc<Self>) {
        let mut last = self.env.now();
        loop {
            self.env.sleep_until(self.env.now() + FORGET_PRESSED_EVERY).await;
            let pressed = self.homes.iter().any(|home| {
                let (count, max) = home.store.remembered();
                max / 2 < count
            });
            if !pressed && self.env.now() < last + FORGET_EVERY {
                continue;
            }
            last = self.env.now();
            let asked = self.revoked_and_remembered().await;
            if !asked.is_empty() {
                self.ask_ended(asked);
            }
        }
    }

    /// As many as are asked for at once; each round goes on where the last one stopped, so that
    /// those which are not fenced for long keep no others from being asked for.
    async fn revoked_and_remembered(&self) -> Vec<SessionId> {
        let mut found = BTreeSet::new();
        for home in &self.homes {
            let mut place = home.asked_to.get();
            loop {
                let (some, next) = home.store.revoked_sessions(place, LOOKED_AT_ONCE);
                let room = SESSIONS_ASKED_MAX.saturating_sub(found.len());
                let some = some.into_iter().filter(|session| !home.is_forgetting(*session));
                found.extend(some.take(room));
                place = next;
                if next.is_none() || SESSIONS_ASKED_MAX <= found.len() {
                    break;
                }
                yield_now().await;
            }
            home.asked_to.set(place);
        }
        found.into_iter().collect()
    }

    /// Nothing of these sessions can happen any more anywhere (E387).
    pub(crate) async fn ended(self: Rc<Self>, sessions: Vec<SessionId>) {
        yield_now().await;
        for some in sessions.chunks(FORGOTTEN_AT_ONCE) {
            for home in self.homes.iter().filter(|home| home.store.failure().is_none()) {
                self.forget(home, some);
            }
            yield_now().await;
        }
    }

    fn forget(&self, home: &Rc<Home<E>>, sessions: &[SessionId]) {
        let all = self.all_targets();
        let own = || all.iter().filter(|t| Rc::ptr_eq(&t.home, home) && !t.is_closed());
        for &session in sessions {
            let fenced = home.store.is_fenced(session);
            // A node whose lease ran out may have something in flight of a fenced session.
            let busy = own().any(|target| 0 < target.admitted(Fence::One(session)));
            if !fenced || busy {
                engine_types::reached!("R16: a session that has ended is not forgotten yet");
                continue;
            }
            for target in own() {
                target.step(Event::Forgotten { session, fenced });
            }
        }
    }
}

fn fences(routing: &RoutingInfo) -> Vec<Fence> {
    let below =
        (SessionId::new(0) < routing.revoked_below).then_some(Fence::Below(routing.revoked_below));
    below.into_iter().chain(routing.revoked.iter().map(|session| Fence::One(*session))).collect()
}

fn is_noted<E: Env>(home: &Home<E>, fence: Fence) -> bool {
    match fence {
        Fence::One(session) => home.store.is_fenced(session),
        Fence::Below(bound) => bound <= home.store.fenced_below(),
    }
}
