//! What the tasks of one connection share, and why a connection ends.
//!
//! Owner: one connection on one core. Reader, writer, keeper and everybody with a request hold a
//! reference; whoever ends the connection gives the reason, and the first reason stays.

use core::cell::{Cell, OnceCell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::rc::Rc;

use engine_runtime::{Buf, Closer, Env, First, Notify, PoolExhausted, Writer, first};
use engine_types::{Instant, RequestId};
use engine_wire::WireError;
use engine_wire::bodies::Encoder;
use engine_wire::handshake::HandshakeError;

use crate::metrics::Metrics;
use crate::outbox::{Control, Outbox};

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum EndReason {
    /// This side closed it.
    #[error("closed by this side")]
    Closed,
    /// The other side closed it between frames.
    #[error("closed by the peer")]
    PeerClosed,
    /// The other side closed it within a frame.
    #[error("closed by the peer within a frame: {found} of {expected} bytes")]
    Truncated {
        /// Bytes that had arrived.
        found: usize,
        /// Bytes that were due.
        expected: usize,
    },
    /// The transport failed.
    #[error("transport: {0}")]
    Io(io::Error),
    /// The peer broke the wire format.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The peer is not who it should be, or could not prove it.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The handshake took too long.
    #[error("handshake not complete after {limit:?}")]
    HandshakeTimeout {
        /// The limit.
        limit: Duration,
    },
    /// A request came with the id of one that is in flight (E50).
    #[error("{0} is in flight already")]
    DuplicateId(RequestId),
    /// An answer or segment came for a request that is not in flight (E50).
    #[error("{0} is not in flight")]
    UnknownId(RequestId),
    /// A segment came for a request without payload.
    #[error("{0} has no payload to come")]
    UnexpectedSegment(RequestId),
    /// A request id lies outside the granted window.
    #[error("slot {found} of a window of {window}")]
    OutsideWindow {
        /// The slot.
        found: u32,
        /// Requests granted.
        window: u32,
    },
    /// An answer's payload exceeds what was asked for (E53).
    #[error("{id}: answer of {found} bytes, room for {limit}")]
    ReplyTooLarge {
        /// The request.
        id: RequestId,
        /// Payload bytes declared.
        found: u32,
        /// Room reserved.
        limit: u32,
    },
    /// Bulk came without credit (E52).
    #[error("{id}: {found} bulk bytes sent against {credit} bytes of credit")]
    Overdrawn {
        /// The request.
        id: RequestId,
        /// Payload bytes declared.
        found: u64,
        /// Credit that was left.
        credit: u64,
    },
    /// Payload without credit exceeds the window for it (W3).
    #[error("{id}: {found} bytes in flight without credit, window {limit}")]
    SmallOverrun {
        /// The request.
        id: RequestId,
        /// Bytes in flight with it.
        found: u64,
        /// Bytes granted.
        limit: u64,
    },
    /// A payload comes in crumbs.
    #[error("{id}: {found} segments, at most {limit}")]
    TooManySegments {
        /// The request.
        id: RequestId,
        /// Segments so far.
        found: u32,
        /// Segments that a payload of its length may have.
        limit: u32,
    },
    /// More credit came than this side could ever use.
    #[error("{found} bytes of credit granted on top of {held}")]
    ExcessCredit {
        /// Bytes granted.
        found: u64,
        /// Bytes held before.
        held: u64,
    },
    /// A frame came that this side of a connection never receives.
    #[error("unexpected {what} of kind {kind}")]
    Unexpected {
        /// Its type.
        what: &'static str,
        /// Its kind.
        kind: u16,
    },
    /// Nothing was heard for too long.
    #[error("silent for {silent:?}, limit {limit:?}")]
    Silent {
        /// How long.
        silent: Duration,
        /// The limit.
        limit: Duration,
    },
    /// A frame began and did not end in time.
    #[error("a frame not complete after {took:?}, limit {limit:?}")]
    Stalled {
        /// How long.
        took: Duration,
        /// The limit.
        limit: Duration,
    },
    /// No memory could be had for what arrived.
    #[error(transparent)]
    Pool(#[from] PoolExhausted),
}

pub(crate) struct Link<E: Env> {
    pub(crate) env: E,
    pub(crate) peer: SocketAddr,
    pub(crate) outbox: Outbox<E>,
    pub(crate) metrics: Rc<Metrics>,
    /// Reused memory for bodies while they are encoded.
    pub(crate) encoder: RefCell<Encoder>,
    closer: E::Closer,
    last_received: Cell<Instant>,
    last_pinged: Cell<Instant>,
    unit_since: Cell<Option<Instant>>,
    writing: Cell<bool>,
    /// Since when the writer waits for the peer to read.
    sending_since: Cell<Option<Instant>>,
    /// The reader waits for memory of this side: silence is not the peer's.
    memory_waits: Cell<u32>,
    ended: OnceCell<Rc<EndReason>>,
    end: Notify,
    /// Told when the writer has sent a batch.
    pub(crate) sent: Notify,
}

impl<E: Env> Link<E> {
    pub(crate) fn new(env: E, peer: SocketAddr, closer: E::Closer, metrics: Rc<Metrics>) -> Self {
        let now = env.now();
        Self {
            env,
            peer,
            outbox: Outbox::new(),
            metrics,
            encoder: RefCell::new(Encoder::default()),
            closer,
            last_received: Cell::new(now),
            last_pinged: Cell::new(now),
            unit_since: Cell::new(None),
            writing: Cell::new(false),
            sending_since: Cell::new(None),
            memory_waits: Cell::new(0),
            ended: OnceCell::new(),
            end: Notify::default(),
            sent: Notify::default(),
        }
    }

    /// Ends the connection; the first reason stays.
    pub(crate) fn end(&self, reason: EndReason) {
        if self.ended.set(Rc::new(reason)).is_ok() {
            self.closer.close();
            self.outbox.close();
            self.end.notify();
            self.sent.notify();
        }
    }

    /// Closes the transport only: a pending operation ends and its task gives the reason.
    pub(crate) fn close(&self) {
        self.closer.close();
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) {
        self.end.until(|| self.is_ended()).await;
    }

    /// Why it ended.
    pub(crate) fn reason(&self) -> Rc<EndReason> {
        self.ended.get().cloned().unwrap_or_else(|| Rc::new(EndReason::Closed))
    }

    /// Bytes arrived.
    pub(crate) fn received(&self) {
        self.last_received.set(self.env.now());
    }

    /// The reader waits for bytes, inside a frame or segment or between two.
    pub(crate) fn waits(&self, inside_unit: bool) {
        if inside_unit && self.unit_since.get().is_none() {
            self.unit_since.set(Some(self.last_received.get()));
        }
    }

    /// A frame or segment is complete: the next one begins to count anew.
    pub(crate) fn unit_done(&self) {
        self.unit_since.set(None);
    }

    pub(crate) fn last_received(&self) -> Instant {
        self.last_received.get()
    }

    pub(crate) fn sending_since(&self) -> Option<Instant> {
        self.sending_since.get()
    }

    /// While the guard lives, this side is the reason that nothing is heard.
    pub(crate) fn waits_for_memory(&self) -> MemoryWait<'_, E> {
        self.memory_waits.set(self.memory_waits.get() + 1);
        MemoryWait(self)
    }

    pub(crate) fn is_waiting_for_memory(&self) -> bool {
        0 < self.memory_waits.get()
    }

    /// Memory for what has arrived: at once, or in line behind others, which slows the peer down.
    pub(crate) async fn memory(&self, len: usize) -> Result<Buf<E::Memory>, EndReason> {
        if let Ok(buf) = self.env.pool().alloc(len) {
            return Ok(buf);
        }
        engine_types::reached!("a connection waits for memory");
        let _waiting = self.waits_for_memory();
        match first(self.env.pool().alloc_wait(len), self.ended()).await {
            First::Left(buf) => Ok(buf?),
            First::Right(()) => Err(EndReason::Closed),
        }
    }

    pub(crate) fn last_pinged(&self) -> Instant {
        self.last_pinged.get()
    }

    pub(crate) fn unit_since(&self) -> Option<Instant> {
        self.unit_since.get()
    }

    pub(crate) fn ping(&self, now: Instant) {
        self.last_pinged.set(now);
        self.metrics.count(|counters| counters.pings += 1);
        self.outbox.control(Control::Ping);
        self.outbox.trim();
    }

    /// Waits until everything queued has been handed to the kernel, or the end.
    pub(crate) async fn flushed(&self) {
        let idle = || self.outbox.is_empty() && !self.writing.get();
        self.sent.until(|| self.is_ended() || idle()).await;
    }
}

/// See [`Link::waits_for_memory`].
pub(crate) struct MemoryWait<'a, E: Env>(&'a Link<E>);

impl<E: Env> Drop for MemoryWait<'_, E> {
    fn drop(&mut self) {
        self.0.memory_waits.set(self.0.memory_waits.get() - 1);
        self.0.received(); // the peer's silence counts from here
    }
}

/// The writer task: sends what is queued until the connection ends.
pub(crate) async fn write<E: Env>(link: Rc<Link<E>>, mut writer: E::Writer) {
    let mut parts = Vec::new();
    while let Some(mut batch) = link.outbox.take().await {
        link.writing.set(true);
        let built = batch.built.take().map(Buf::freeze);
        let mut at = 0;
        for (upto, bulk) in batch.cuts.drain(..) {
            if let Some(built) = &built
                && at < upto
            {
                parts.push(built.slice(at..upto));
            }
            at = upto;
            parts.push(bulk);
        }
        if let Some(built) = &built
            && at < built.len()
        {
            parts.push(built.slice(at..built.len()));
        }
        match crate::control::encode(&link, &batch.control).await {
            Ok(Some(control)) => parts.push(control),
            Ok(None) => {}
            Err(reason) => return link.end(reason),
        }
        link.sending_since.set(Some(link.env.now()));
        let sent = writer.write_all(&parts).await;
        link.sending_since.set(None);
        if let Err(error) = sent {
            return link.end(EndReason::Io(error));
        }
        parts.clear();
        batch.built = built.and_then(|built| built.try_into_buf().ok());
        link.outbox.recycle(batch);
        link.writing.set(false);
        link.sent.notify();
    }
}
