//! Requests to a metadata service: admitted, done, answered.
//!
//! ```text
//!   META_CALL ── decoded ── tagged right? session revoked? ── room ── Files::call ── answer
//!                                                              │
//!                           waits for locks have room of their own: they last, and cost nothing
//! ```
//! Owner: one core. A request has the time that its asker waits, and no more of it is worked on
//! than there is room for. What a term of the service is (its session, its files) comes and goes;
//! without one nothing is done, and askers are told to ask elsewhere.
//!
//! What is told apart: an answer, or a refusal of POSIX (nothing was done); `Busy` and `Draining`
//! (nothing was done, ask again or elsewhere); everything else has an unknown effect, and is asked
//! again with the same tag, anywhere (E426).
//!
//! Invariants
//!   E458  requests that are worked on, and that wait for it, are bounded; each is answered

use core::cell::{Cell, RefCell};
use core::pin::Pin;
use core::time::Duration;
use std::rc::Rc;

use engine_net::{Part, Request, Service, pooled};
use engine_runtime::{Env, until};
use engine_types::{Instant, SessionId, Status};
use engine_wire::Kind;
use engine_wire::bodies::MetaReply;
use meta_kv::{Kv, KvError, KvRetry};
use meta_protocol::op::LockWait;
use meta_protocol::{
    Answer, Call, Operation, Record, Refusal, Request as Asked, ServiceStatus, StatusAsk,
};
use meta_schema::Errno;

use crate::call::{Attempts, CallError};
use crate::chunks::Chunks;
use crate::files::Files;
use crate::halt::Halt;

mod counts;
mod room;
#[cfg(test)]
mod tests;

use counts::{Counts, Ended};
use room::Room;

/// Requests that one core works on when nobody says: with a served KV that commits in 2 ms they are
/// 500,000 a second, more than a core does, and each holds some 10 kB.
pub const REQUESTS_DEFAULT: u32 = 1024;
/// Most that may be set: 16 of the windows of connections would fill it.
pub const REQUESTS_MAX: u32 = 1 << 16;
/// Requests that wait for room: four times those that have it, a few milliseconds of work.
const WAITING_PER_REQUEST: u32 = 4;
/// Requests that wait for locks: each holds a request of some 300 bytes, and looks at its lock
/// twice a second.
const LOCK_WAITS_MAX: u32 = 8192;
/// Time for a request whose asker names no deadline, or a longer one.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(120);

/// Which sessions are revoked, as far as is known.
pub type Revoked = Box<dyn Fn(SessionId) -> bool>;

/// Serves a namespace.
pub struct MetaService<E: Env, K, C> {
    env: E,
    files: RefCell<Option<Files<E, K, C>>>,
    stopping: Cell<bool>,
    revoked: Revoked,
    room: Room,
    lock_waits: Room,
    counts: Counts,
    /// Of terms that have ended.
    former: Cell<Attempts>,
}

impl<E: Env, K: Kv, C: Chunks> MetaService<E, K, C> {
    /// Without a term: nothing is served yet.
    pub fn new(env: &E, requests_max: u32, revoked: Revoked) -> Rc<Self> {
        let waiting = requests_max.saturating_mul(WAITING_PER_REQUEST);
        Rc::new(Self {
            env: env.clone(),
            files: RefCell::new(None),
            stopping: Cell::new(false),
            revoked,
            room: Room::new(requests_max, waiting),
            lock_waits: Room::new(LOCK_WAITS_MAX, 0),
            counts: Counts::default(),
            former: Cell::default(),
        })
    }

    /// Serves `files` from now on; what is under way for former ones goes on there.
    pub fn begin(&self, files: &Files<E, K, C>) {
        self.end();
        *self.files.borrow_mut() = Some(files.clone());
    }

    /// Serves nothing any more.
    pub fn end(&self) {
        if let Some(files) = self.files.borrow_mut().take() {
            let Attempts { retries, unknown } = files.store().attempts();
            let former = self.former.get();
            let (retries, unknown) = (retries + former.retries, unknown + former.unknown);
            self.former.set(Attempts { retries, unknown });
        }
    }

    /// Takes no new requests; those that are under way are answered.
    pub fn stop(&self) {
        self.stopping.set(true);
    }

    /// How it is.
    pub fn status(&self) -> ServiceStatus {
        let files = self.files.borrow();
        let fs = files.as_ref().map(|files| files.store().superblock().fs);
        let now = files.as_ref().map(|files| files.store().attempts()).unwrap_or_default();
        let former = self.former.get();
        self.counts.told(ServiceStatus {
            fs,
            ready: fs.is_some() && !self.stopping.get(),
            in_flight: self.room.in_use() + self.lock_waits.in_use(),
            retries: former.retries + now.retries,
            unknown: former.unknown + now.unknown,
            operations: Vec::new(),
        })
    }

    /// Does what is asked, by `by`.
    async fn answer(&self, asked: &Asked, by: Instant) -> Result<Answer, Denied> {
        if self.stopping.get() {
            return Err(Denied::Status(Status::Draining));
        }
        let files = self.files.borrow().clone().ok_or(Denied::Status(Status::Busy))?;
        if !asked.is_tagged_right() {
            let why = format!("{}: a tag is there exactly for changes", asked.operation.name());
            return Err(Denied::Refused(Refusal::new(Errno::EINVAL, why)));
        }
        // The fence in the KV decides (E427); this one is early, and tells clients of reads, too.
        // How much room there is may know whoever has the cluster's secret: operators, without one.
        let is_anybodys = matches!(asked.operation, Operation::StatFs(_));
        if !is_anybodys && (self.revoked)(asked.session) {
            return Err(Denied::Refused(Refusal::fenced(format!("{} is revoked", asked.session))));
        }
        let room = if waits_for_lock(&asked.operation) { &self.lock_waits } else { &self.room };
        let _room = room.take(&self.env, by).await.map_err(Denied::Status)?;
        let left = by.saturating_since(self.env.now());
        match until(&self.env, by, boxed(&files, asked, left)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(denied(&asked.operation, error)),
            Err(_) => Err(Denied::Status(Status::DeadlineExceeded)),
        }
    }
}

/// The call in memory of its own. It holds every operation, some hundred kilobytes, and would be
/// moved through the stack of whoever spawns the task of a request.
#[inline(never)]
fn boxed<'a, E: Env, K: Kv, C: Chunks>(
    files: &'a Files<E, K, C>,
    asked: &'a Asked,
    left: Duration,
) -> Pin<Box<dyn Future<Output = Result<Answer, CallError>> + 'a>> {
    Box::pin(files.call(asked, left))
}

/// What is told instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Denied {
    Refused(Refusal),
    Status(Status),
}

/// A request that may last long without work.
fn waits_for_lock(operation: &Operation) -> bool {
    matches!(operation, Operation::SetLock(ask) if ask.wait != LockWait::No)
}

fn denied(operation: &Operation, error: CallError) -> Denied {
    let status = match error {
        CallError::Halted(Halt::Refused(refusal)) => return Denied::Refused(refusal),
        CallError::Halted(Halt::Unsettled(_)) => Status::DeadlineExceeded,
        CallError::Store(error) => {
            let name = operation.name();
            tracing::warn!(name, %error, "the store does not do what it is asked");
            of_store(operation, &error)
        }
    };
    Denied::Status(status)
}

/// An earlier attempt of a transaction may have been committed without an answer, whatever the last
/// one was told.
fn of_store(operation: &Operation, error: &KvError) -> Status {
    match error.retry() {
        KvRetry::Again if !operation.mutates() => Status::Busy,
        KvRetry::Again | KvRetry::IfIdempotent => Status::UnknownResult,
        KvRetry::Never => match error {
            KvError::TimedOut { .. } => Status::DeadlineExceeded,
            _ => Status::Internal,
        },
    }
}

impl<E: Env, K: Kv, C: Chunks> Service<E> for MetaService<E, K, C> {
    async fn call(self: Rc<Self>, request: Request<E>) {
        match request.kind() {
            Kind::META_CALL => self.serve(request).await,
            Kind::META_STATUS => {
                if let Ok((request, _)) = asked::<StatusAsk, E>(request).await {
                    self.tell::<StatusAsk>(request, 0, &self.status()).await;
                }
            }
            _ => request.refuse(Status::UnsupportedKind).await,
        }
    }
}

/// The message of a request; one that makes no sense is refused here.
async fn asked<A: Call, E: Env>(mut request: Request<E>) -> Result<(Request<E>, A), ()> {
    let status = match request.body::<A::Ask>().map(drop) {
        Ok(()) => match request.collect_bytes().await {
            Ok(payload) => match A::decode(&payload) {
                Ok(asked) => return Ok((request, asked)),
                Err(error) => {
                    tracing::warn!(peer = %request.peer(), %error, "a request makes no sense");
                    Status::Malformed
                }
            },
            Err(status) => status,
        },
        Err(error) => error.status(),
    };
    request.refuse(status).await;
    Err(())
}

impl<E: Env, K: Kv, C: Chunks> MetaService<E, K, C> {
    async fn serve(&self, request: Request<E>) {
        let Ok((request, asked)) = asked::<Asked, E>(request).await else { return };
        let began = self.env.now();
        let by = request.deadline().instant().min(began + REQUEST_TIME_MAX);
        let told = self.answer(&asked, by).await;
        let ended = match &told {
            Ok(_) => Ended::Done,
            Err(Denied::Refused(_)) => Ended::Refused,
            Err(Denied::Status(_)) => Ended::Failed,
        };
        self.counts.ended(&asked.operation, ended, self.env.now().saturating_since(began));
        match told {
            Ok(answer) => self.tell::<Asked>(request, 0, &answer).await,
            Err(Denied::Refused(mut refusal)) => {
                let end = refusal.text.floor_char_boundary(Refusal::TEXT_BYTES_MAX);
                refusal.text.truncate(end);
                self.tell::<Asked>(request, refusal.errno.code(), &refusal).await;
            }
            Err(Denied::Status(status)) => request.refuse(status).await,
        }
    }

    async fn tell<A: Call>(&self, request: Request<E>, outcome: u16, told: &impl Record) {
        let body = A::Told::with_outcome(outcome);
        match pooled(&self.env, &told.encode()).await {
            Some(bytes) => request.respond(&body, &[Part::plain(bytes)]).await,
            // Not `Busy`: what was asked for is done.
            None => request.refuse(Status::Internal).await,
        }
    }
}
