//! One link in one life: names, what waits to be sent, what came before its turn.
//!
//! Owner: [`Links`](crate::Links). A link is made when both names are known and ends once; nothing
//! of it is used again.

use core::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

use engine_craq::planted::{Bug, is};
use engine_net::Request;
use engine_runtime::{Env, Notify};
use engine_types::{Instant, Set};
use engine_wire::bodies::storage::RelayMessage;

use crate::item::{ShardId, StreamId};
use crate::limits::{
    BATCH_BYTES_MAX, HOLD_BACK_MAX, MESSAGES_MAX, PARTS_MAX, PAYLOAD_INFLIGHT_MAX,
    PLAIN_INFLIGHT_MAX, QUEUED_BYTES_MAX, QUEUED_MESSAGES_MAX,
};

mod batch;
pub(crate) use batch::{Batch, Queued, pieces};

/// The names of a link: that of this side, and that of the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) own: u128,
    pub(crate) theirs: u128,
}

/// A request that has arrived whole.
pub(crate) struct Entry<E: Env> {
    pub(crate) messages: Vec<RelayMessage>,
    pub(crate) segments: Vec<engine_net::Segment<E>>,
    pub(crate) request: Request<E>,
}

/// Why an arriving request ends its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutOfTurn {
    #[error("request {found} came twice, {expected} is next")]
    Twice { found: u64, expected: u64 },
    #[error("request {found} came too early, {expected} is next")]
    TooEarly { found: u64, expected: u64 },
}

/// A bound of the queue is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{messages} messages with {bytes} bytes wait to be sent")]
pub(crate) struct QueueOverrun {
    messages: usize,
    bytes: u64,
}

struct Inbox<E: Env> {
    /// The request whose turn it is.
    expected: u64,
    /// Those that came before their turn.
    early: BTreeMap<u64, Entry<E>>,
}

struct Outbox<E: Env> {
    queue: VecDeque<Queued<E>>,
    bytes: u64,
    /// Streams that began on this link and have not ended.
    streams: Set<StreamId>,
    /// Number of the next request.
    next: u64,
    plain_inflight: u32,
    payload_inflight: u32,
}

/// See the module.
pub(crate) struct Link<E: Env> {
    pub(crate) peer: ShardId,
    pub(crate) names: Names,
    pub(crate) since: Instant,
    /// The peer has shown that it knows both names, so that the owner may know of it.
    pub(crate) confirmed: Cell<bool>,
    /// The owner knows of it.
    pub(crate) told: Cell<bool>,
    ended: Cell<bool>,
    /// The peer has answered something since this was cleared.
    pub(crate) heard: Cell<bool>,
    inbox: RefCell<Inbox<E>>,
    outbox: RefCell<Outbox<E>>,
    /// Told when there may be something to send, and at the end.
    pub(crate) changed: Notify,
    /// Told when less is queued, and at the end.
    pub(crate) drained: Notify,
}

impl<E: Env> Link<E> {
    pub(crate) fn new(peer: ShardId, names: Names, since: Instant) -> Self {
        assert!(names.own != 0 && names.theirs != 0, "E365: both sides have named the link");
        let outbox = Outbox {
            queue: VecDeque::new(),
            bytes: 0,
            streams: Set::default(),
            next: 0,
            plain_inflight: 0,
            payload_inflight: 0,
        };
        Self {
            peer,
            names,
            since,
            confirmed: Cell::new(false),
            told: Cell::new(false),
            ended: Cell::new(false),
            heard: Cell::new(false),
            inbox: RefCell::new(Inbox { expected: 0, early: BTreeMap::new() }),
            outbox: RefCell::new(outbox),
            changed: Notify::default(),
            drained: Notify::default(),
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.get()
    }

    pub(crate) async fn ended(&self) {
        self.changed.until(|| self.ended.get()).await;
    }

    /// Ends it. What waited is dropped; requests that came before their turn are the caller's to
    /// answer. Nothing when it has ended before.
    pub(crate) fn end(&self) -> Option<Vec<Request<E>>> {
        if self.ended.replace(true) {
            return None;
        }
        let early = core::mem::take(&mut self.inbox.borrow_mut().early);
        let queue = {
            let mut outbox = self.outbox.borrow_mut();
            outbox.bytes = 0;
            core::mem::take(&mut outbox.queue)
        };
        drop(queue); // returns memory, upon which others may run
        self.changed.notify();
        self.drained.notify();
        Some(early.into_values().map(|entry| entry.request).collect())
    }

    /// A stream begins.
    pub(crate) fn begin(&self, stream: StreamId) {
        let new = self.outbox.borrow_mut().streams.insert(stream);
        assert!(new, "E368: {stream:?} begins twice");
    }

    /// Whether the stream has begun here. A sender that has slept through the end of a link and
    /// the beginning of the next one is not heard on that one (E368).
    pub(crate) fn goes_on(&self, stream: StreamId, ends: bool) -> bool {
        let streams = &mut self.outbox.borrow_mut().streams;
        if ends { streams.remove(&stream) } else { streams.contains(&stream) }
    }

    /// Puts something into the queue.
    pub(crate) fn push(&self, queued: Queued<E>) -> Result<(), QueueOverrun> {
        let mut outbox = self.outbox.borrow_mut();
        outbox.bytes += u64::from(queued.message.bytes);
        outbox.queue.push_back(queued);
        let (messages, bytes) = (outbox.queue.len(), outbox.bytes);
        drop(outbox);
        if QUEUED_MESSAGES_MAX < messages || QUEUED_BYTES_MAX < bytes {
            return Err(QueueOverrun { messages, bytes });
        }
        self.changed.notify();
        Ok(())
    }

    pub(crate) fn queued_bytes(&self) -> u64 {
        self.outbox.borrow().bytes
    }

    /// The next request to be sent, if there is something and room in the window.
    pub(crate) fn take_batch(&self) -> Option<Batch<E>> {
        let mut outbox = self.outbox.borrow_mut();
        let payload_fits = outbox.payload_inflight < PAYLOAD_INFLIGHT_MAX;
        if !payload_fits && outbox.plain_inflight == PLAIN_INFLIGHT_MAX {
            return None;
        }
        let mut batch = Batch::new();
        while let Some(next) = outbox.queue.front() {
            if !batch.takes(next) || (next.has_payload() && !payload_fits) {
                break;
            }
            let next = outbox.queue.pop_front().expect("seen above");
            outbox.bytes -= u64::from(next.message.bytes);
            batch.push(next);
        }
        let (parts, bytes, messages) = (batch.parts, batch.bytes, batch.queued.len());
        assert!(parts <= PARTS_MAX && messages <= MESSAGES_MAX, "E363: {messages} with {parts}");
        assert!(bytes <= BATCH_BYTES_MAX || messages == 1, "E363: {bytes} in {messages} messages");
        if messages == 0 {
            return None;
        }
        if !batch.has_payload() && outbox.plain_inflight == PLAIN_INFLIGHT_MAX {
            // No room: they go back in their order.
            for queued in batch.queued.into_iter().rev() {
                outbox.queue.push_front(queued);
            }
            return None;
        }
        match batch.has_payload() {
            true => outbox.payload_inflight += 1,
            false => outbox.plain_inflight += 1,
        }
        batch.sequence = outbox.next;
        outbox.next += 1;
        drop(outbox);
        self.drained.notify();
        Some(batch)
    }

    /// A request was answered.
    pub(crate) fn answered(&self, had_payload: bool) {
        let mut outbox = self.outbox.borrow_mut();
        match had_payload {
            true => outbox.payload_inflight -= 1,
            false => outbox.plain_inflight -= 1,
        }
        drop(outbox);
        self.heard.set(true);
        self.changed.notify();
    }

    /// Whether a request may be taken in.
    pub(crate) fn may_arrive(&self, sequence: u64) -> Result<(), OutOfTurn> {
        let inbox = self.inbox.borrow();
        let (found, expected) = (sequence, inbox.expected);
        if is(Bug::TurnNotKept) {
            return Ok(());
        }
        if found < expected || inbox.early.contains_key(&found) {
            return Err(OutOfTurn::Twice { found, expected });
        }
        if HOLD_BACK_MAX <= found - expected {
            return Err(OutOfTurn::TooEarly { found, expected });
        }
        Ok(())
    }

    /// Takes in a request that has arrived.
    pub(crate) fn arrive(&self, sequence: u64, entry: Entry<E>) {
        let mut inbox = self.inbox.borrow_mut();
        let before = inbox.early.insert(sequence, entry);
        let count = inbox.early.len();
        assert!(
            before.is_none() && count as u64 <= HOLD_BACK_MAX,
            "E363: {count} before their turn"
        );
    }

    /// The request whose turn it is, if it is here (E360).
    pub(crate) fn next_in_turn(&self) -> Option<Entry<E>> {
        let mut inbox = self.inbox.borrow_mut();
        let any = inbox.early.keys().next().filter(|_| is(Bug::TurnNotKept));
        let expected = any.copied().unwrap_or(inbox.expected);
        let entry = inbox.early.remove(&expected)?;
        inbox.expected = expected + 1;
        Some(entry)
    }
}
