//! Follows the routing info: the newest version that any manager published, as far as is known.
//!
//! Owner: one core; one task asks, and ends when the follower is dropped. It asks the primary for
//! what is newer than the version it has and lets it wait with the answer. What comes is a delta,
//! or an image in pieces. An image is as old as its manager keeps them, so it is shown only after
//! the primary was asked what is newer: a process that starts again must not see less than its
//! former start had seen, as nodes draw conclusions from what is missing.
//!
//! Versions are compared together with their timeline (E334). A KV that was restored gives out
//! versions again that were published before, with other contents, until the operator raises the
//! timeline (R20). So of one timeline only a higher version is taken, a higher timeline is taken
//! with any version, and a lower one never: it is what a manager says that has not heard of the
//! raise, or reads a backup that does not know of it. Whoever is behind is asked again with
//! pauses, as its answers are whole images.
//!
//! Crash: a new follower begins with nothing and gets everything.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::{CancelToken, Env, First, Notify, first};
use engine_types::{Instant, RoutingInfo, RoutingVersion, Timeline};
use mgmt_cluster::delta::Delta;
use mgmt_protocol::{Message, RoutingAsk, RoutingTold};

use crate::managers::{ManagerError, Managers, jittered};

mod image;

use image::{Image, Piece, Taken};

/// How long a manager may wait with an answer: a poll costs it next to nothing, and a manager that
/// died without a word is found after so long.
const POLL_WAIT: Duration = Duration::from_secs(5);
/// Time for one answer beyond the waiting: a piece of two megabytes over a slow link.
const ANSWER_TIME: Duration = Duration::from_secs(3);
/// Time after which a search for the primary begins anew.
const SEARCH_TIME: Duration = Duration::from_secs(30);
/// Pause after an answer that brought nothing: a manager that does not wait is not asked more than
/// twenty times a second.
const IDLE_PAUSE: Duration = Duration::from_millis(50);
/// First pause after an answer that could not be used, or none, with jitter; it doubles.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest such pause: a manager that is behind sends the whole image each time.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);
/// 100 ms doubled seven times exceed the longest pause; the bound keeps the shift in range.
const RETRY_DOUBLINGS_MAX: u32 = 7;
/// A nudge ends no poll that is younger: whoever nudges in a loop asks ten times a second.
const NUDGE_EVERY: Duration = Duration::from_millis(100);

/// Follows routing info; its task ends when it is dropped.
pub struct Follower<E: Env> {
    shared: Rc<Shared<E>>,
    stop: CancelToken,
}

impl<E: Env> Drop for Follower<E> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Shared<E: Env> {
    managers: Managers<E>,
    routing: RefCell<Rc<RoutingInfo>>,
    /// An image that has not caught up: managers hand out images that are some seconds old.
    image: RefCell<Option<RoutingInfo>>,
    changed: Notify,
    heard: Cell<Instant>,
    nudged: Cell<bool>,
    nudge: Notify,
}

/// What is kept between two questions.
#[derive(Default)]
struct Poll {
    image: Image,
    /// An image is wanted although a delta was offered: the delta did not fit.
    whole: Option<RoutingVersion>,
    /// Answers in succession that were of no use.
    failures: u32,
}

/// What an answer was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    /// Something new, or a part of it: ask on.
    New,
    /// Nothing is newer.
    Current,
    /// It could not be used.
    Useless,
}

impl<E: Env> Follower<E> {
    /// Begins to follow.
    pub fn start(managers: &Managers<E>) -> Rc<Self> {
        let shared = Rc::new(Shared {
            managers: managers.clone(),
            routing: RefCell::new(Rc::new(RoutingInfo::empty(managers.cluster()))),
            image: RefCell::new(None),
            changed: Notify::default(),
            heard: Cell::new(Instant::ZERO),
            nudged: Cell::new(false),
            nudge: Notify::default(),
        });
        let stop = CancelToken::default();
        let (follows, stopped) = (shared.clone(), stop.clone());
        drop(managers.env().spawn(async move {
            let _stopped = first(stopped.cancelled(), follows.follow()).await;
        }));
        Rc::new(Self { shared, stop })
    }

    /// The newest routing info; version 0 of an empty cluster until something came.
    pub fn routing(&self) -> Rc<RoutingInfo> {
        self.shared.routing.borrow().clone()
    }

    /// Told when the routing info has changed.
    pub fn changed(&self) -> &Notify {
        &self.shared.changed
    }

    /// Waits until `condition` holds of the routing info.
    pub async fn until(&self, mut condition: impl FnMut(&RoutingInfo) -> bool) {
        self.shared.changed.until(|| condition(&self.routing())).await;
    }

    /// When a manager last told something newer, or that nothing is; [`Instant::ZERO`] if never.
    pub fn last_heard(&self) -> Instant {
        self.shared.heard.get()
    }

    /// Asks at once, whatever is waited for: somebody has heard of a newer version, or that this
    /// one is wrong.
    pub fn nudge(&self) {
        self.shared.nudged.set(true);
        self.shared.nudge.notify();
    }
}

impl<E: Env> Shared<E> {
    async fn follow(self: Rc<Self>) {
        let env = self.managers.env().clone();
        let mut poll = Poll::default();
        loop {
            let nudged = self.nudged.take();
            let began = env.now();
            let asking = self.ask(&mut poll, nudged);
            let Some(worth) = self.unless_nudged(began, asking).await else {
                continue; // what was asked is given up, and asked anew
            };
            let pause = match worth {
                Worth::New => {
                    poll.failures = 0;
                    continue;
                }
                Worth::Current => {
                    poll.failures = 0;
                    if nudged { NUDGE_EVERY } else { IDLE_PAUSE }
                }
                Worth::Useless => {
                    poll.failures = (poll.failures + 1).min(RETRY_DOUBLINGS_MAX + 1);
                    let pause = RETRY_PAUSE_MIN.saturating_mul(1 << (poll.failures - 1));
                    jittered(pause.min(RETRY_PAUSE_MAX), env.random())
                }
            };
            // Counted from the question: a manager that waited has paused enough.
            let again = if worth == Worth::Current { began } else { env.now() } + pause;
            self.unless_nudged(began, env.sleep_until(again)).await;
        }
    }

    /// What `wait` gives, or nothing if a nudge ended it.
    async fn unless_nudged<T>(&self, began: Instant, wait: impl Future<Output = T>) -> Option<T> {
        let env = self.managers.env();
        let nudge = async {
            self.nudge.until(|| self.nudged.get()).await;
            env.sleep_until(began + NUDGE_EVERY).await;
        };
        match first(wait, nudge).await {
            First::Left(answer) => Some(answer),
            First::Right(()) => None,
        }
    }

    /// One question, and what its answer is worth.
    async fn ask(&self, poll: &mut Poll, nudged: bool) -> Worth {
        let env = self.managers.env();
        let image = poll.image.wanted().or(poll.whole.map(|version| (version, 0)));
        let catches_up = self.image.borrow().is_some();
        let at_once = nudged || image.is_some() || catches_up;
        let wait = if at_once { Duration::ZERO } else { POLL_WAIT };
        let (timeline, since) = self.known();
        let asked = RoutingAsk { timeline, since, wait, image };
        let deadline = env.now() + SEARCH_TIME;
        let told = self.managers.call_within(&asked, deadline, wait + ANSWER_TIME).await;
        match told {
            Ok((RoutingTold::Current, _)) => {
                poll.image.clear();
                poll.whole = None;
                if let Some(info) = self.image.take() {
                    return self.show(info);
                }
                self.heard.set(env.now());
                Worth::Current
            }
            Ok((RoutingTold::Delta(delta), _)) => {
                poll.image.clear();
                poll.whole = None;
                self.take_delta(delta, poll)
            }
            Ok((RoutingTold::Image { version, total, offset, bytes }, from)) => {
                poll.whole = None;
                let taken = poll.image.take(Piece { from, version, total, offset, bytes });
                self.take_image(taken)
            }
            Err(ManagerError::Closed) => {
                tracing::info!("routing info is not followed any more: connections are closed");
                core::future::pending().await
            }
            Err(error) => {
                tracing::warn!(%error, "no routing info");
                Worth::Useless
            }
        }
    }

    fn take_delta(&self, delta: Delta, poll: &mut Poll) -> Worth {
        let (timeline, to) = (delta.timeline, delta.to);
        if !self.is_newer(timeline, to) {
            return self.ignored(timeline, to);
        }
        let image = self.image.take();
        let applied = match image {
            Some(mut info) => delta.apply(&mut info).map(|()| self.show(info)),
            None => {
                let mut routing = self.routing.borrow_mut();
                let applied = delta.apply(Rc::make_mut(&mut routing));
                drop(routing);
                applied.map(|()| self.installed())
            }
        };
        match applied {
            Ok(worth) => worth,
            Err(error) => {
                engine_types::reached!("E334: a delta does not fit, and an image is fetched");
                tracing::warn!(%error, "a delta of the routing info does not fit");
                poll.whole = Some(to);
                Worth::Useless
            }
        }
    }

    fn take_image(&self, taken: Taken) -> Worth {
        let bytes = match taken {
            Taken::More => return Worth::New,
            Taken::Whole(bytes) => bytes,
            Taken::Nonsense(why) => {
                tracing::warn!(%why, "a piece of routing info makes no sense");
                return Worth::Useless;
            }
        };
        let info = match RoutingInfo::decode(&bytes) {
            Ok(info) => info,
            Err(error) => {
                tracing::warn!(%error, "an image of the routing info makes no sense");
                return Worth::Useless;
            }
        };
        let (found, expected) = (info.cluster, self.managers.cluster());
        if found != expected {
            tracing::warn!(%found, %expected, "routing info of another cluster");
            return Worth::Useless;
        }
        if !self.is_newer(info.timeline, info.version) {
            return self.ignored(info.timeline, info.version);
        }
        *self.image.borrow_mut() = Some(info);
        Worth::New
    }

    /// An image that has caught up.
    fn show(&self, info: RoutingInfo) -> Worth {
        *self.routing.borrow_mut() = Rc::new(info);
        self.installed()
    }

    /// What is known best, shown or not.
    fn known(&self) -> (Timeline, RoutingVersion) {
        let image = self.image.borrow();
        let shown = self.routing.borrow();
        image.as_ref().map_or((shown.timeline, shown.version), |i| (i.timeline, i.version))
    }

    fn is_newer(&self, timeline: Timeline, version: RoutingVersion) -> bool {
        self.known() < (timeline, version)
    }

    fn ignored(&self, timeline: Timeline, version: RoutingVersion) -> Worth {
        engine_types::reached!("E334: routing info that is not newer is ignored");
        let known = self.routing.borrow();
        tracing::warn!(
            "routing info {version} of {timeline} is ignored, {} of {} is known",
            known.version,
            known.timeline
        );
        Worth::Useless
    }

    fn installed(&self) -> Worth {
        let (timeline, version) = {
            let known = self.routing.borrow();
            (known.timeline, known.version)
        };
        tracing::debug!(%timeline, %version, "routing info");
        self.heard.set(self.managers.env().now());
        self.changed.notify();
        Worth::New
    }
}

#[cfg(test)]
mod tests;
