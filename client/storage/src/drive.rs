//! How operations are brought to their end: placed, sent, judged, tried again.
//!
//! ```text
//!  items ──> place ──> group by shard ──> window ──> message ──> judge each answer
//!              ^         (more than one group: each goes its own way from here on)  │
//!              │                                                                    │
//!              └── wait: routing info · pause · nothing <── again ──────────────────┤
//!                                                           ended <─────────────────┘
//! ```
//!
//! Owner: whoever awaits the operation. Dropping it gives up what is under way; an update that may
//! have been sent is then overtaken (E373).

use core::pin::Pin;
use core::time::Duration;
use std::rc::Rc;

use engine_net::{CallError, Client};
use engine_runtime::{Env, First, all, first, until};
use engine_types::limits::PAYLOAD_BYTES_MAX;
use engine_types::{ChainId, ChainVersion, Instant, Retry, Status, TargetId};

use crate::Inner;
use crate::config::StorageConfig;
use crate::error::{StorageError, Subject, Tried};
use crate::place::{Place, Placed, Whom};
use crate::shards::{Room, Shard};

/// Items of one message. Their bodies, and those of the answers, stay far below `BODY_BYTES_MAX`,
/// and one message is no more than a tenth of a millisecond of work for its shard.
pub(crate) const ITEMS_MAX: usize = 256;

/// A pause that doubles no more often than this stays in range.
const DOUBLINGS_MAX: u32 = 16;

/// A kind of operation: what differs between reads, updates and queries.
pub(crate) trait Operation<E: Env>: Sized + 'static {
    /// What it gives.
    type Answer: 'static;

    /// Who can do it.
    const WHOM: Whom;
    /// Items of one message.
    const ITEMS_MAX: usize;

    fn subject(&self) -> Subject;

    /// Bytes of payload, of the request or the answer, whichever there is.
    fn bytes(&self) -> u32;

    fn patience(config: &StorageConfig) -> Duration;

    /// Sends one message for all items; each has a place, all at the shard of this client. As many
    /// answers as items.
    fn send(
        client: &Client<E>,
        items: &[Item<E, Self>],
        by: Instant,
    ) -> impl Future<Output = Result<Vec<Said<Self::Answer>>, Failed>>;

    /// It is about to be sent.
    fn sending(&self) {}

    /// An attempt has ended: `unknown` if it may have its effect, now or later.
    fn attempted(&self, _unknown: bool) {}

    /// It was answered: nothing of any attempt is to come any more.
    fn settled(&self) {}

    /// Whether an attempt may have had its effect.
    fn may_have_happened(&self) -> bool {
        false
    }
}

/// What was said of one item.
pub(crate) struct Said<A> {
    pub(crate) status: Status,
    /// The chain version that is installed there.
    pub(crate) installed: ChainVersion,
    /// With `Ok` alone.
    pub(crate) answer: Option<A>,
}

/// A message without a usable answer.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) status: Status,
    /// Whether it may have been sent.
    pub(crate) sent: bool,
    pub(crate) why: String,
}

impl Failed {
    pub(crate) fn unreachable(why: impl Into<String>) -> Self {
        Self { status: Status::Unreachable, sent: false, why: why.into() }
    }

    /// The chain has another version than the one that the replica was chosen by.
    fn moved() -> Self {
        Self { status: Status::StaleChain, sent: false, why: "its chain has changed".to_owned() }
    }

    pub(crate) fn malformed(why: impl ToString) -> Self {
        Self { status: Status::Internal, sent: true, why: why.to_string() }
    }
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        let sent = !matches!(
            error,
            CallError::Unreachable { .. }
                | CallError::DeadlineExceeded { sent: false }
                | CallError::Closed
                | CallError::Pool(_)
                | CallError::Wire(_)
        );
        let status = match &error {
            CallError::DeadlineExceeded { sent: false } => Status::Unreachable,
            other => other.status(),
        };
        let why = match error {
            CallError::Refused(_) => String::new(), // the status says it
            error => error.to_string(),
        };
        Self { status, sent, why }
    }
}

/// What an item waits for before it is tried again.
#[derive(Clone, Copy, Debug)]
struct Wait {
    /// Ends when the routing info says another version of its chain.
    seen: Option<ChainVersion>,
    until: Instant,
}

/// One operation on its way.
pub(crate) struct Item<E: Env, O> {
    pub(crate) index: usize,
    pub(crate) op: O,
    place: Option<Place<E>>,
    wait: Option<Wait>,
    /// Replicas that were tried since the last pause.
    pub(crate) cycle: Vec<TargetId>,
    tried: Vec<Tried>,
    pauses: u32,
    wanted: Option<&'static str>,
}

impl<E: Env, O: Operation<E>> Item<E, O> {
    pub(crate) fn new(index: usize, op: O) -> Self {
        Self {
            index,
            op,
            place: None,
            wait: None,
            cycle: Vec::new(),
            tried: Vec::new(),
            pauses: 0,
            wanted: None,
        }
    }

    /// Where it is tried now.
    pub(crate) fn place(&self) -> &Place<E> {
        self.place.as_ref().expect("E370: what is sent has a place")
    }

    fn note(&mut self, place: &Place<E>, status: Status, why: &str) {
        let known = self.tried.iter_mut().find(|tried| tried.target == place.target);
        let why = why.to_owned();
        match known {
            Some(tried) => {
                tried.count += 1;
                (tried.status, tried.why) = (status, why);
            }
            None => self.tried.push(Tried {
                target: place.target,
                node: place.shard.node,
                core: place.shard.core,
                count: 1,
                status,
                why,
            }),
        }
    }

    fn out_of_time(&mut self) -> StorageError {
        StorageError::DeadlineExceeded {
            subject: self.op.subject(),
            wanted: self.wanted,
            tried: core::mem::take(&mut self.tried),
            may_have_happened: self.op.may_have_happened(),
        }
    }
}

/// An item's index and its outcome.
pub(crate) type Ended<A> = (usize, Result<A, StorageError>);

/// Operations on their way.
pub(crate) type Driven<A> = Pin<Box<dyn Future<Output = Vec<Ended<A>>>>>;

impl<E: Env> Inner<E> {
    /// Brings all items to their end; the order of outcomes is not that of items.
    pub(crate) fn drive<O: Operation<E>>(
        self: Rc<Self>,
        mut items: Vec<Item<E, O>>,
        deadline: Instant,
    ) -> Driven<O::Answer> {
        Box::pin(async move {
            let mut ended = Vec::with_capacity(items.len());
            loop {
                self.end_hopeless(&mut items, deadline, &mut ended);
                self.place_all(&mut items);
                let mut groups = grouped(items);
                items = match groups.pop() {
                    None => return ended,
                    Some(only) if groups.is_empty() => only,
                    Some(last) => {
                        groups.push(last);
                        let apart =
                            groups.into_iter().map(|group| self.clone().drive(group, deadline));
                        ended.extend(all(apart).await.into_iter().flatten());
                        return ended;
                    }
                };
                match items[0].wait {
                    Some(wait) => {
                        let chain = items[0].op.subject().chain;
                        self.wait(chain, wait, deadline).await;
                        items.iter_mut().for_each(|item| item.wait = None);
                    }
                    None => items = self.attempt(items, deadline, &mut ended).await,
                }
            }
        })
    }

    /// Ends what cannot be done any more.
    fn end_hopeless<O: Operation<E>>(
        &self,
        items: &mut Vec<Item<E, O>>,
        deadline: Instant,
        ended: &mut Vec<Ended<O::Answer>>,
    ) {
        let late = deadline <= self.env.now();
        let fenced = O::WHOM == Whom::Head && self.is_fenced();
        let closed = self.closed.is_cancelled();
        if !late && !fenced && !closed {
            return;
        }
        for mut item in items.drain(..) {
            let subject = item.op.subject();
            let may_have_happened = item.op.may_have_happened();
            let error = if fenced {
                StorageError::Fenced { subject, session: self.session, may_have_happened }
            } else if closed {
                StorageError::Closed { subject, may_have_happened }
            } else {
                item.out_of_time()
            };
            tracing::info!(%error, "given up");
            ended.push((item.index, Err(error)));
        }
    }

    fn place_all<O: Operation<E>>(&self, items: &mut [Item<E, O>]) {
        let now = self.env.now();
        for item in items.iter_mut().filter(|item| item.wait.is_none() && item.place.is_none()) {
            let chain = item.op.subject().chain;
            match self.place(chain, O::WHOM, &item.cycle, O::patience(&self.config)) {
                Placed::At(place) => item.place = Some(place),
                Placed::AllTried(seen) => {
                    item.cycle.clear();
                    self.routing.refresh();
                    item.wanted = Some("a replica that answers");
                    item.wait = Some(self.pause(&mut item.pauses, seen, now));
                }
                Placed::Nobody { seen, why } => {
                    self.routing.refresh();
                    item.wanted = Some(why);
                    item.wait = Some(Wait { seen, until: now + self.config.routing_wait });
                }
            }
        }
    }

    /// A pause with jitter above its half; the next one is twice as long. A new version of the
    /// chain ends it: who is head may be another one.
    fn pause(&self, pauses: &mut u32, seen: Option<ChainVersion>, now: Instant) -> Wait {
        let doublings = (*pauses).min(DOUBLINGS_MAX);
        *pauses = pauses.saturating_add(1);
        let config = &self.config;
        let pause = config.backoff_min.saturating_mul(1 << doublings).min(config.backoff_max);
        let half = u64::try_from(pause.as_nanos() / 2).unwrap_or(u64::MAX);
        let jitter = if half == 0 { 0 } else { self.env.random() % half };
        Wait { seen, until: now + Duration::from_nanos(half.saturating_add(jitter)) }
    }

    /// Until the routing info says another version of the chain, or the time is over (E375).
    async fn wait(&self, chain: ChainId, wait: Wait, deadline: Instant) {
        let changed = self.routing.changed();
        let moved = changed.until(|| self.chain_version(chain) != wait.seen);
        let ended = first(moved, self.closed.cancelled());
        let _over_or_moved = until(&self.env, wait.until.min(deadline), ended).await;
    }

    /// One message for all items, and what follows for each; those that are not ended come back.
    async fn attempt<O: Operation<E>>(
        &self,
        items: Vec<Item<E, O>>,
        deadline: Instant,
        ended: &mut Vec<Ended<O::Answer>>,
    ) -> Vec<Item<E, O>> {
        let by = deadline.min(self.env.now() + O::patience(&self.config));
        let told = self.exchange(&items, by).await;
        let now = self.env.now();
        let shard = items[0].place().shard.clone();
        match &told {
            Ok(_) => shard.health.answered(),
            Err(failed) if blames_shard(failed.status) => {
                tracing::debug!(node = %shard.node, core = %shard.core, status = %failed.status,
                    why = failed.why, "a shard does not answer");
                shard.health.failed(now, &self.config);
                shard.lost(failed.status);
            }
            Err(_) => {}
        }
        let mut left = Vec::new();
        let mut end = |mut item: Item<E, O>, said, why: &str, sent| match self
            .judge(&mut item, said, why, sent)
        {
            Some(outcome) => ended.push((item.index, outcome)),
            None => left.push(item),
        };
        match told {
            Ok(told) => {
                for (item, said) in items.into_iter().zip(told) {
                    end(item, said, "", true);
                }
            }
            Err(Failed { status, sent, why }) => {
                for item in items {
                    let installed = item.place().chain_version;
                    end(item, Said { status, installed, answer: None }, &why, sent);
                }
            }
        }
        left
    }

    /// A connection to a shard, and room in its window. An attempt to connect that fails ends it:
    /// reads go elsewhere at once, and updates begin anew, by the routing info of then.
    async fn reach<'a>(
        &self,
        shard: &'a Shard<E>,
        bytes: u32,
        by: Instant,
    ) -> Result<(Client<E>, (Room<'a>, Room<'a>)), Failed> {
        let client = self.shards.client(shard, by).await?;
        client.ready(by).await?;
        match until(&self.env, by, shard.enter(bytes)).await {
            Ok(room) => Ok((client, room)),
            Err(_) => Err(Failed::unreachable("its window stayed full")),
        }
    }

    /// Until a chain of these items has another version than they were placed by. While nothing was
    /// sent, they are better placed anew than brought to a node that has left.
    async fn moved<O: Operation<E>>(&self, items: &[Item<E, O>]) {
        let place = |item: &Item<E, O>| (item.op.subject().chain, item.place().chain_version);
        let moved = |(chain, version)| self.chain_version(chain) != Some(version);
        self.routing.changed().until(|| items.iter().map(place).any(moved)).await;
    }

    async fn exchange<O: Operation<E>>(
        &self,
        items: &[Item<E, O>],
        by: Instant,
    ) -> Result<Vec<Said<O::Answer>>, Failed> {
        let shard = items[0].place().shard.clone();
        let bytes = items.iter().map(|item| item.op.bytes()).sum();
        let reached = first(self.reach(&shard, bytes, by), self.moved(items)).await;
        let (client, _room) = match reached {
            First::Left(reached) => reached?,
            First::Right(()) => return Err(Failed::moved()),
        };
        if O::WHOM == Whom::Any {
            items.iter().for_each(|item| self.metrics.read(item.place().target));
        }
        self.metrics.count(|counts| counts.messages += 1);
        items.iter().for_each(|item| item.op.sending());
        let told = O::send(&client, items, by).await?;
        if told.len() != items.len() {
            let (found, expected) = (told.len(), items.len());
            return Err(Failed::malformed(format!("{found} answers to {expected} items")));
        }
        Ok(told)
    }

    /// What an answer means: the outcome, or nothing if the item is to be tried again.
    fn judge<O: Operation<E>>(
        &self,
        item: &mut Item<E, O>,
        said: Said<O::Answer>,
        why: &str,
        sent: bool,
    ) -> Option<Result<O::Answer, StorageError>> {
        let place = item.place.take().expect("E370: what was sent had a place");
        let now = self.env.now();
        let Said { status, installed, answer } = said;
        if let (true, Some(answer)) = (status.is_ok(), answer) {
            self.target_answered(place.target);
            item.op.settled();
            return Some(Ok(answer));
        }
        item.op.attempted(sent && leaves_unknown(status));
        item.note(&place, status, why);
        let subject = item.op.subject();
        let class = if status.is_ok() { Retry::IfIdempotent } else { status.retry() };
        self.metrics.retried(class);
        tracing::debug!(%subject, target = %place.target, %status, why, "tried");
        if status == Status::Fenced && O::WHOM == Whom::Head {
            self.set_fenced();
            return None; // what comes next is the end of every update
        }
        let seen = Some(place.chain_version);
        item.wait = match class {
            Retry::Never => {
                let (target, may_have_happened) = (place.target, item.op.may_have_happened());
                let error = StorageError::Refused { subject, target, status, may_have_happened };
                return Some(Err(error));
            }
            Retry::RefreshRouting => {
                self.routing.refresh();
                item.wanted = Some("the routing info that a replica knows of");
                if place.chain_version < installed {
                    Some(Wait { seen, until: now + self.config.routing_wait })
                } else if O::WHOM == Whom::Any {
                    item.cycle.push(place.target); // it is behind, others need not be
                    None
                } else {
                    Some(self.pause(&mut item.pauses, seen, now))
                }
            }
            Retry::OtherTarget | Retry::IfIdempotent if O::WHOM == Whom::Any => {
                if !blames_shard(status) {
                    self.target_failed(&place, now);
                }
                item.cycle.push(place.target);
                None // at once
            }
            Retry::OtherTarget | Retry::IfIdempotent => {
                self.routing.refresh();
                item.wanted = Some("the replica that has to do it");
                Some(self.pause(&mut item.pauses, seen, now))
            }
            Retry::SameTarget | Retry::AfterBackoff => {
                item.wanted = Some("room at a replica");
                Some(self.pause(&mut item.pauses, seen, now))
            }
        };
        None
    }
}

/// The status says something of the whole shard, not of one replica.
const fn blames_shard(status: Status) -> bool {
    matches!(
        status,
        Status::Unreachable
            | Status::UnknownResult
            | Status::DeadlineExceeded
            | Status::Draining
            | Status::WrongNode
    )
}

/// Whether a request that was sent may have its effect although it was answered like this. An
/// update that was under way when the chain changed may still be committed (R17).
const fn leaves_unknown(status: Status) -> bool {
    matches!(status.retry(), Retry::IfIdempotent)
        || matches!(status, Status::Ok | Status::StaleChain)
}

/// Items that go on together: those that wait for the same, and those that fit into one message to
/// one shard. Each group has at least one item.
fn grouped<E: Env, O: Operation<E>>(items: Vec<Item<E, O>>) -> Vec<Vec<Item<E, O>>> {
    if items.len() == 1 {
        return vec![items];
    }
    let mut groups: Vec<(Vec<Item<E, O>>, u32)> = Vec::new();
    for item in items {
        let bytes = item.op.bytes();
        let fits = |(group, taken): &&mut (Vec<Item<E, O>>, u32)| {
            let other = &group[0];
            let same_wait = other.op.subject().chain == item.op.subject().chain;
            match (&item.place, &other.place) {
                (Some(mine), Some(theirs)) => {
                    Rc::ptr_eq(&mine.shard, &theirs.shard)
                        && group.len() < O::ITEMS_MAX
                        && bytes <= PAYLOAD_BYTES_MAX.saturating_sub(*taken)
                }
                (None, None) => same_wait,
                _ => false,
            }
        };
        // The newest first: a group that is full is not looked at by all that follow.
        match groups.iter_mut().rev().find(fits) {
            Some((group, taken)) => {
                group.push(item);
                *taken += bytes;
            }
            None => groups.push((vec![item], bytes)),
        }
    }
    groups.into_iter().map(|(group, _)| group).collect()
}
