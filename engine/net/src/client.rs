//! The client's side: a handle to one peer that connects by itself.
//!
//! Owner: one core. Clones share the connection. There is at most one connection and one attempt
//! to connect at a time; attempts follow each other with jittered exponential pauses while calls
//! wait for them, and stop when nobody waits.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::{Env, Gate, Notify, until};
use engine_types::{Instant, Status, TraceId};
use engine_wire::Priority;
use engine_wire::bodies::Body;

use crate::calls::{CallError, Calls, Reply};
use crate::config::NetConfig;
use crate::connect::{self, Established};
use crate::keeper::{self, Alarm, Patience};
use crate::link::{self, EndReason, Link};
use crate::metrics::{Metrics, MetricsSnapshot};
use crate::outbox::Control;
use crate::payload::Part;
use crate::{receive, send};

mod connection;
pub(crate) use connection::Connection;
use connection::NotReserved;

/// A request as its caller states it.
pub struct Call<'a, E: Env, B: Body> {
    body: &'a B,
    parts: &'a [Part<'a, E>],
    capability: &'a [u8],
    reply_bytes_max: u32,
    deadline: Instant,
    trace: TraceId,
    class: Priority,
}

impl<'a, E: Env, B: Body> Call<'a, E, B> {
    /// A request without payload, of the client class, whose answer brings none.
    pub fn new(body: &'a B, deadline: Instant) -> Self {
        Self {
            body,
            parts: &[],
            capability: &[],
            reply_bytes_max: 0,
            deadline,
            trace: TraceId::default(),
            class: Priority::Client,
        }
    }

    /// With payload.
    pub fn with_parts(mut self, parts: &'a [Part<'a, E>]) -> Self {
        self.parts = parts;
        self
    }

    /// Reserves room for a payload of at most `bytes` in the answer (E53).
    pub fn with_reply_room(mut self, bytes: u32) -> Self {
        self.reply_bytes_max = bytes;
        self
    }

    /// With a capability (C1), opaque to this layer.
    pub fn with_capability(mut self, capability: &'a [u8]) -> Self {
        self.capability = capability;
        self
    }

    /// As part of a trace.
    pub fn with_trace(mut self, trace: TraceId) -> Self {
        self.trace = trace;
        self
    }

    /// In another class.
    pub fn with_class(mut self, class: Priority) -> Self {
        self.class = class;
        self
    }
}

/// A handle to one peer. Clones share its connection, which closes with the last of them.
pub struct Client<E: Env> {
    handle: Rc<Handle<E>>,
}

impl<E: Env> Clone for Client<E> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone() }
    }
}

/// What all clones hold, and the tasks of the connection do not.
struct Handle<E: Env>(Rc<Inner<E>>);

impl<E: Env> Drop for Handle<E> {
    fn drop(&mut self) {
        let inner = &self.0;
        inner.closed.set(true);
        inner.changed.notify();
        if let State::Up(connection) = &*inner.state.borrow() {
            connection.link.end(EndReason::Closed);
        }
    }
}

struct Inner<E: Env> {
    env: E,
    config: Rc<NetConfig>,
    peer: SocketAddr,
    state: RefCell<State<E>>,
    /// Told when `state`, `closed` or `failed_attempts` has changed.
    changed: Notify,
    /// The last failure to connect.
    why: RefCell<Option<String>>,
    /// Failures since a connection worked.
    failures: Cell<u32>,
    /// Attempts to connect that have failed, ever.
    failed_attempts: Cell<u64>,
    /// No attempt before this.
    retry_at: Cell<Instant>,
    /// Calls that wait for a connection.
    waiting: Cell<u32>,
    closed: Cell<bool>,
    metrics: Rc<Metrics>,
}

/// How long somebody waits for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// Until its deadline, over as many attempts as it takes.
    Deadline,
    /// Until an attempt has failed.
    OneAttempt,
}

enum State<E: Env> {
    Down,
    Dialing,
    Up(Rc<Connection<E>>),
}

impl<E: Env> Client<E> {
    /// A handle to the peer at `peer`. Nothing is sent before the first call.
    pub fn new(env: &E, config: Rc<NetConfig>, peer: SocketAddr) -> Self {
        let inner = Inner {
            env: env.clone(),
            config,
            peer,
            state: RefCell::new(State::Down),
            changed: Notify::default(),
            why: RefCell::new(None),
            failures: Cell::new(0),
            failed_attempts: Cell::new(0),
            retry_at: Cell::new(Instant::ZERO),
            waiting: Cell::new(0),
            closed: Cell::new(false),
            metrics: Rc::new(Metrics::default()),
        };
        Self { handle: Rc::new(Handle(Rc::new(inner))) }
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        self.handle.0.peer
    }

    /// Sends a request and waits for its answer, at most until the deadline. Dropping the future
    /// gives up the answer, not the work (E54).
    ///
    /// # Errors
    /// [`CallError`]; a status other than `Ok` is [`CallError::Refused`]. Nothing is retried.
    pub async fn call<B: Body>(&self, call: Call<'_, E, B>) -> Result<Reply<E>, CallError> {
        let inner = &self.handle.0;
        let started = inner.env.now();
        let bytes_out: u64 = call.parts.iter().map(|part| part.bytes.len() as u64).sum();
        let outcome = inner.call(&call, started).await;
        let (status, bytes_in, ended) = match &outcome {
            Ok(reply) => (Status::Ok, reply.payload().len() as u64, reply.arrived()),
            Err(error) => (error.status(), 0, inner.env.now()),
        };
        let took = ended.saturating_since(started);
        inner.metrics.record(B::KIND.code(), status, took, (bytes_in, bytes_out));
        outcome
    }

    /// Waits for a connection, and no longer than the attempt to make one takes that is under way
    /// or comes next: who can ask somebody else need not sit out the attempts that follow.
    ///
    /// # Errors
    /// [`CallError::Unreachable`] and [`CallError::Closed`]; nothing was sent.
    pub async fn ready(&self, deadline: Instant) -> Result<(), CallError> {
        self.handle.0.connection(deadline, Waits::OneAttempt).await.map(drop)
    }

    /// What this client has counted.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.handle.0.metrics.snapshot()
    }

    /// Takes no new calls, waits for those in flight until `deadline`, then closes (E57).
    pub async fn close(&self, deadline: Instant) {
        let inner = &self.handle.0;
        inner.closed.set(true);
        inner.changed.notify();
        let connection = match &*inner.state.borrow() {
            State::Up(connection) => Some(connection.clone()),
            _ => None,
        };
        if let Some(connection) = connection {
            let idle = connection.calls.freed.until(|| connection.calls.open_count() == 0);
            let _elapsed_or_idle = until(&inner.env, deadline, idle).await;
            let _elapsed_or_sent = until(&inner.env, deadline, connection.link.flushed()).await;
            connection.link.end(EndReason::Closed);
        }
    }
}

impl<E: Env> Inner<E> {
    async fn call<B: Body>(
        self: &Rc<Self>,
        call: &Call<'_, E, B>,
        started: Instant,
    ) -> Result<Reply<E>, CallError> {
        if call.deadline <= started {
            return Err(CallError::DeadlineExceeded { sent: false });
        }
        let payload = send::payload_len(call.parts)?;
        loop {
            let connection = self.connection(call.deadline, Waits::Deadline).await?;
            match connection.reserve(started, call.deadline, payload).await {
                Ok(reserved) => return connection.run(call, payload, reserved).await,
                Err(NotReserved::Elapsed) => {
                    return Err(CallError::DeadlineExceeded { sent: false });
                }
                // Nothing was sent on the connection that ended meanwhile: try the next one.
                Err(NotReserved::Closed) => {}
            }
        }
    }

    /// The connection, made first if there is none.
    async fn connection(
        self: &Rc<Self>,
        deadline: Instant,
        waits: Waits,
    ) -> Result<Rc<Connection<E>>, CallError> {
        let before = self.failed_attempts.get();
        loop {
            if self.closed.get() {
                return Err(CallError::Closed);
            }
            let changed = self.changed.notified();
            if let State::Up(up) = &*self.state.borrow()
                && up.takes_calls()
            {
                return Ok(up.clone());
            }
            self.dial_if_down();
            let waiting = Waiting::new(&self.waiting);
            let elapsed = until(&self.env, deadline, changed).await.is_err();
            drop(waiting);
            let failed = waits == Waits::OneAttempt && before < self.failed_attempts.get();
            if elapsed || failed {
                let why = self.why.borrow().clone();
                let why = why.unwrap_or_else(|| "no connection before the deadline".to_owned());
                return Err(CallError::Unreachable { peer: self.peer, why });
            }
        }
    }

    fn dial_if_down(self: &Rc<Self>) {
        let mut state = self.state.borrow_mut();
        let down = match &*state {
            State::Down => true,
            State::Dialing => false,
            State::Up(up) => !up.takes_calls(),
        };
        if down {
            *state = State::Dialing;
            drop(self.env.spawn(Self::dial(self.clone())));
        }
    }

    /// Tries to connect until it succeeds or nobody waits.
    async fn dial(self: Rc<Self>) {
        loop {
            let pause = self.retry_at.get();
            if self.env.now() < pause {
                self.env.sleep_until(pause).await;
            }
            if self.closed.get() || self.waiting.get() == 0 {
                *self.state.borrow_mut() = State::Down;
                return self.changed.notify();
            }
            match self.attempt().await {
                Ok(connection) => {
                    self.failures.set(0);
                    *self.why.borrow_mut() = None;
                    self.metrics.count(|counters| counters.connections += 1);
                    if self.closed.get() {
                        connection.link.end(EndReason::Closed); // nobody wants it any more
                    }
                    *self.state.borrow_mut() = State::Up(connection);
                    return self.changed.notify();
                }
                Err(reason) => {
                    tracing::warn!(peer = %self.peer, %reason, "cannot connect");
                    engine_types::reached!("an attempt to connect fails and is repeated");
                    self.metrics.connection_failed(&reason);
                    *self.why.borrow_mut() = Some(reason.to_string());
                    self.failures.set(self.failures.get().saturating_add(1));
                    self.failed_attempts.set(self.failed_attempts.get() + 1);
                    self.back_off();
                    self.changed.notify();
                }
            }
        }
    }

    /// Sets the earliest time of the next attempt: exponential, with full jitter above half.
    fn back_off(&self) {
        let limits = &self.config.limits;
        let doublings = self.failures.get().saturating_sub(1).min(BACKOFF_DOUBLINGS_MAX);
        let pause = limits.backoff_min.saturating_mul(1 << doublings).min(limits.backoff_max);
        let half = u64::try_from(pause.as_nanos() / 2).unwrap_or(u64::MAX);
        let jitter = if half == 0 { 0 } else { self.env.random() % half };
        self.retry_at.set(self.env.now() + Duration::from_nanos(half.saturating_add(jitter)));
    }

    async fn attempt(self: &Rc<Self>) -> Result<Rc<Connection<E>>, EndReason> {
        let env = &self.env;
        let give_up_at = env.now() + self.config.limits.connect_time;
        let dialed = until(env, give_up_at, env.connect(self.peer, give_up_at)).await;
        let stream = match dialed {
            Ok(stream) => stream.map_err(EndReason::Io)?,
            Err(_) => {
                let limit = self.config.limits.connect_time;
                return Err(EndReason::Silent { silent: limit, limit });
            }
        };
        let link = Link::new(env.clone(), self.peer, stream.closer.clone(), self.metrics.clone());
        let link = Rc::new(link);
        let (reader, writer) = (stream.reader, stream.writer);
        let established = connect::as_client(&link, &self.config, reader, writer).await?;
        Ok(self.start(link, established))
    }

    /// Starts the tasks of an established connection.
    fn start(self: &Rc<Self>, link: Rc<Link<E>>, established: Established<E>) -> Rc<Connection<E>> {
        let Established { incoming, writer, session } = established;
        let windows = session.windows;
        let connection = Rc::new(Connection {
            link: link.clone(),
            calls: Calls::new(
                windows.inflight_requests.min(self.config.limits.requests),
                windows.small_bytes,
            ),
            credit: Gate::new(windows.bulk_credit_bytes),
            pledged: Cell::new(0),
            goodbye: Cell::new(false),
            farewell: Notify::default(),
            alarm: Alarm::default(),
        });
        let limits = &self.config.limits;
        let patience = Patience {
            ping_after: Some(limits.keepalive_idle),
            silence: limits.keepalive_time,
            frame: limits.frame_time,
        };
        let due = connection.clone();
        let kept = keeper::keep(link.clone(), patience, connection.clone(), move |now| {
            due.calls.expire(now, |id| due.link.outbox.control(Control::Cancel(id)));
            due.return_surplus();
            due.calls.next_deadline()
        });
        drop(self.env.spawn(kept));
        drop(self.env.spawn(link::write(link.clone(), writer)));
        let leaving = connection.clone();
        drop(self.env.spawn(async move { leaving.leave_after_goodbye().await }));
        drop(self.env.spawn(self.clone().serve(connection.clone(), incoming)));
        connection
    }

    /// The reader task of a connection, and what follows its end.
    async fn serve(self: Rc<Self>, connection: Rc<Connection<E>>, incoming: receive::Incoming<E>) {
        let link = &connection.link;
        let reason = receive::run(link, incoming, &*connection).await;
        link.end(reason);
        let why = link.reason();
        if !matches!(*why, EndReason::Closed | EndReason::PeerClosed) {
            tracing::warn!(peer = %self.peer, reason = %why, "connection ended");
            self.metrics.connection_failed(&why);
            self.failures.set(self.failures.get().max(1));
        }
        let peer = self.peer;
        connection.calls.fail_all(|| CallError::Lost { peer, why: why.clone() });
        connection.credit.close();
        let mut state = self.state.borrow_mut();
        if matches!(&*state, State::Up(up) if Rc::ptr_eq(up, &connection)) {
            *state = State::Down;
            self.back_off();
        }
        drop(state);
        self.changed.notify();
    }
}

/// 10 ms doubled seven times exceeds the longest pause; the bound keeps the shift in range.
const BACKOFF_DOUBLINGS_MAX: u32 = 16;

/// A call that waits for a connection; while there is one, attempts go on.
struct Waiting<'a>(&'a Cell<u32>);

impl<'a> Waiting<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
