//! One call: a tag, attempts, and what becomes of a request that is given up.

use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

use engine_net::pooled;
use engine_runtime::{Bytes, Env, First, first, until};
use engine_types::limits::PAYLOAD_BYTES_MAX;
use engine_types::{Instant, NodeId, reached};
use meta_protocol::op::{CancelLock, LockWait, ReleaseLocks, SetLock};
use meta_protocol::{
    Answer, Call as _, Caller, Cause, Operation, Record as _, Refusal, Request, Tag,
};
use meta_schema::lock::TICKET_ANY;
use meta_schema::{INODE_ROOT, LockFamily};

use crate::Inner;
use crate::channels;
use crate::choose::{choose, is_long, meets_at};
use crate::error::{MetaError, Tried};

mod attempt;

use attempt::{Failed, Verdict};

/// Time for one call that overtakes an abandoned request; then it is begun anew.
const OVERTAKE_TIME: Duration = Duration::from_secs(60);
/// The owner of the locks that nobody has, which are given back to overtake something: kernels draw
/// their numbers at random.
const NOBODY: u64 = u64::MAX;
/// Services that a failed call names.
const TRIED_TOLD_MAX: usize = 8;

/// Has `operation` done by `by`.
pub(crate) async fn call<E: Env>(
    inner: &Rc<Inner<E>>,
    caller: Caller,
    operation: Operation,
    by: Instant,
) -> Result<Answer, MetaError> {
    let name = operation.name();
    let outcome = tagged(inner, caller, operation, by).await;
    inner.metrics.ended(name, &outcome);
    outcome
}

async fn tagged<E: Env>(
    inner: &Rc<Inner<E>>,
    caller: Caller,
    operation: Operation,
    by: Instant,
) -> Result<Answer, MetaError> {
    let name = operation.name();
    let held = match operation.mutates() {
        false => None,
        true => {
            let taken = until(&inner.env, by, inner.unless_ended(inner.channels.take())).await;
            let tag = match taken {
                Ok(Some(tag)) => tag,
                Ok(None) => return Err(inner.ended(name, false)),
                Err(_) => return Err(late(name, Vec::new(), false)),
            };
            let overtaking = overtaking(&operation);
            Some(Held { inner: inner.clone(), tag, overtaking, in_doubt: Cell::new(false) })
        }
    };
    let tag = held.as_ref().map(|held| held.tag);
    let in_doubt = held.as_ref().map(|held| &held.in_doubt);
    let session = inner.session.id();
    let request = Request { caller, session, tag, operation };
    drive(inner, &request, in_doubt, by).await
}

/// A channel, while a request of it is under way. However that ends, the channel comes back when
/// nothing of the request can happen any more (E472).
struct Held<E: Env> {
    inner: Rc<Inner<E>>,
    tag: Tag,
    overtaking: Operation,
    in_doubt: Cell<bool>,
}

impl<E: Env> Drop for Held<E> {
    fn drop(&mut self) {
        if !self.in_doubt.get() {
            return self.inner.channels.give(self.tag);
        }
        if self.inner.is_lost() || self.inner.closed.is_cancelled() {
            return; // the channel is used for nothing any more
        }
        let (inner, tag, operation) = (self.inner.clone(), self.tag, self.overtaking.clone());
        drop(self.inner.env.spawn(async move { overtake(&inner, tag, operation).await }));
    }
}

/// What overtakes a request that is abandoned. It changes nothing: locks are given back that nobody
/// has. For a wait that is not all: nobody will ask for it again, so it leaves the line, or others
/// would wait behind it until the session ends. A lock that was granted meanwhile stays with its
/// owner, as after any other unknown result.
fn overtaking(abandoned: &Operation) -> Operation {
    match abandoned {
        Operation::SetLock(SetLock { ino, lock, wait: LockWait::Queue }) => {
            CancelLock { ino: *ino, owner: lock.owner, ticket: TICKET_ANY }.into()
        }
        _ => {
            let family = LockFamily::Posix;
            ReleaseLocks { ino: INODE_ROOT, family, owner: NOBODY }.into()
        }
    }
}

/// Does something newer on the channel of an abandoned request, and has it recorded. Once it is,
/// the request was done or finds a newer record, and is never done.
async fn overtake<E: Env>(inner: &Rc<Inner<E>>, abandoned: Tag, operation: Operation) {
    inner.metrics.count(|counts| counts.abandoned += 1);
    let tag = channels::next(abandoned);
    let (caller, session) = (Caller::root(), inner.session.id());
    let request = Request { caller, session, tag: Some(tag), operation };
    loop {
        let by = inner.env.now() + OVERTAKE_TIME;
        match drive(inner, &request, None, by).await {
            Ok(_) => {
                reached!("E472: an abandoned request is overtaken");
                inner.metrics.count(|counts| counts.overtaken += 1);
                return inner.channels.give(tag);
            }
            Err(error @ MetaError::DeadlineExceeded { .. }) => {
                tracing::warn!(%error, "a channel is not free yet");
            }
            Err(error) => {
                tracing::warn!(%error, channel = %tag.channel, "a channel stays unused");
                return;
            }
        }
    }
}

/// Attempts until there is an answer; `in_doubt` says whether the request may have had its effect
/// while there is none.
async fn drive<E: Env>(
    inner: &Rc<Inner<E>>,
    request: &Request,
    in_doubt: Option<&Cell<bool>>,
    by: Instant,
) -> Result<Answer, MetaError> {
    let operation = request.operation.name();
    let bytes = request.encode();
    let (found, limit) = (bytes.len(), PAYLOAD_BYTES_MAX as usize);
    if limit < found {
        return Err(MetaError::TooLarge { operation, found, limit });
    }
    let unused = Cell::new(false);
    let mut drive = Drive {
        inner,
        request,
        in_doubt: in_doubt.unwrap_or(&unused),
        tried: Vec::new(),
        told: Vec::new(),
        last: None,
        pause: inner.config.backoff_min,
    };
    match inner.unless_ended(drive.run(&bytes, by)).await {
        Some(outcome) => outcome,
        None => Err(inner.ended(operation, drive.in_doubt.get())),
    }
}

struct Drive<'a, E: Env> {
    inner: &'a Inner<E>,
    request: &'a Request,
    in_doubt: &'a Cell<bool>,
    /// Since the last pause.
    tried: Vec<NodeId>,
    told: Vec<Tried>,
    last: Option<NodeId>,
    pause: Duration,
}

impl<E: Env> Drive<'_, E> {
    async fn run(&mut self, bytes: &[u8], by: Instant) -> Result<Answer, MetaError> {
        let inner = self.inner;
        let operation = self.request.operation.name();
        let Ok(pooled) = until(&inner.env, by, pooled(&inner.env, bytes)).await else {
            return Err(late(operation, Vec::new(), false));
        };
        let Some(bytes) = pooled else {
            let (found, limit) = (bytes.len(), inner.env.pool().limit());
            return Err(MetaError::TooLarge { operation, found, limit });
        };
        while inner.env.now() < by {
            let changed = inner.servers.changed();
            let candidates = inner.servers.candidates(&self.tried);
            let draw = inner.env.random();
            let Some(node) = choose(&candidates, meets_at(&self.request.operation), draw) else {
                self.wait(candidates.is_empty(), changed, by).await;
                continue;
            };
            match self.attempt(node, &bytes, by).await {
                Verdict::Done(answer) => {
                    self.in_doubt.set(false);
                    return Ok(answer);
                }
                Verdict::Refused(refusal) => return Err(self.refused(refusal)),
                Verdict::Senseless { address, why } => {
                    let may_have_happened = self.may_have_happened();
                    return Err(MetaError::Senseless {
                        operation,
                        address,
                        why,
                        may_have_happened,
                    });
                }
                Verdict::Again(failed) => self.note(&failed),
            }
        }
        Err(late(operation, core::mem::take(&mut self.told), self.may_have_happened()))
    }

    fn may_have_happened(&self) -> bool {
        self.in_doubt.get()
    }

    /// One attempt at one service.
    async fn attempt(&mut self, node: NodeId, bytes: &Bytes<E::Memory>, by: Instant) -> Verdict {
        let inner = self.inner;
        let server = inner.servers.get(node).expect("candidates are known");
        if let Some(last) = self.last.replace(node) {
            inner.metrics.count(|counts| {
                counts.retries += 1;
                counts.failovers += u64::from(last != node);
            });
        }
        self.tried.push(node);
        let config = &inner.config;
        let long = is_long(&self.request.operation);
        let patience = if long { config.patience_long } else { config.patience };
        let now = inner.env.now();
        let times = (by.min(now + config.patience_connect), by.min(now + patience));
        let room = self.request.room();
        let doubt_before = self.in_doubt.get();
        // From here on, if the caller goes, nobody knows.
        let sends = || self.in_doubt.set(self.request.tag.is_some());
        let verdict = attempt::attempt(&server, bytes, room, times, sends).await;
        match &verdict {
            Verdict::Again(failed) => {
                if !failed.may_have_happened {
                    self.in_doubt.set(doubt_before);
                }
                // What takes longer than its caller waits says nothing about the service.
                if failed.avoid && inner.env.now() < by {
                    inner.servers.failed(&server, failed.unreachable);
                }
            }
            _ => server.answered(),
        }
        verdict
    }

    fn note(&mut self, failed: &Failed) {
        let Failed { address, why, .. } = failed;
        tracing::debug!(operation = self.request.operation.name(), %address, why, "asked again");
        let known = self.told.iter().position(|tried| tried.address == *address);
        if let Some(at) = known {
            self.told[at].count += 1;
            self.told[at].why.clone_from(why);
        } else if self.told.len() < TRIED_TOLD_MAX {
            self.told.push(Tried { address: *address, count: 1, why: why.clone() });
        }
    }

    /// A refusal ends the request: nothing was done, and what was sent before cannot be done any
    /// more (E421 of the service), unless it is one of the service's own.
    fn refused(&self, refusal: Refusal) -> MetaError {
        let operation = self.request.operation.name();
        match refusal.cause {
            Cause::Posix => {
                self.in_doubt.set(false);
                MetaError::Refused { operation, refusal }
            }
            Cause::OldRequest => {
                // This client never sends a newer one while it waits: somebody shares its channel.
                tracing::error!(%refusal, "E470: another client uses this session");
                MetaError::Refused { operation, refusal }
            }
            Cause::Fenced => {
                reached!("E475: a service says that the session is over");
                tracing::warn!(%refusal, "the session is over");
                self.inner.fenced.set(true);
                self.inner.ended(operation, self.may_have_happened())
            }
        }
    }

    /// Nobody is left to be asked.
    async fn wait(&mut self, nobody: bool, changed: impl Future<Output = ()>, by: Instant) {
        let inner = self.inner;
        inner.servers.refresh();
        self.tried.clear();
        let nanos = u64::try_from(self.pause.as_nanos()).unwrap_or(u64::MAX);
        let jitter = Duration::from_nanos(inner.env.random() % (nanos / 2).max(1));
        let at = by.min(inner.env.now() + (self.pause - jitter));
        self.pause = (self.pause * 2).min(inner.config.backoff_max);
        match nobody {
            true => drop(until(&inner.env, at, changed).await),
            false => inner.env.sleep_until(at).await,
        }
    }
}

fn late(operation: &'static str, tried: Vec<Tried>, may_have_happened: bool) -> MetaError {
    MetaError::DeadlineExceeded { operation, tried, may_have_happened }
}

impl<E: Env> Inner<E> {
    /// What `wait` gives; nothing if the session is lost or the client closed before (E475).
    async fn unless_ended<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        if self.is_lost() || self.closed.is_cancelled() {
            return None;
        }
        let lost = self.session.lost().until(|| self.is_lost());
        match first(wait, first(lost, self.closed.cancelled())).await {
            First::Left(value) => Some(value),
            First::Right(_) => None,
        }
    }

    fn ended(&self, operation: &'static str, may_have_happened: bool) -> MetaError {
        match self.is_lost() {
            true => {
                let session = self.session.id();
                MetaError::SessionLost { operation, session, may_have_happened }
            }
            false => MetaError::Closed { operation, may_have_happened },
        }
    }
}
