//! The requests that a client has in flight on one connection.
//!
//! Owner: one client connection. A slot per request, found by index; the generation tells a late
//! answer from the answer to the slot's next request (E50). A slot is free again when it has been
//! answered (or the connection has ended) and its caller has gone, in either order (E51).
//!
//! Who gives up a call gives back the room for its answer (E59). The answer may still come, and has
//! to be received: the segments of all such answers land in one scrap, one after the other.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::task::{Poll, Waker};
use std::rc::Rc;

use engine_runtime::{Buf, Bytes, Env, Gate, Notify, PoolExhausted, Reserved};
use engine_types::limits::SEGMENT_BYTES_MAX;
use engine_types::{Instant, RequestId, Retry, Status};
use engine_wire::bodies::{self, Body};
use engine_wire::{Assembly, FrameHeader, Progress, SegmentHeader, WireError};

use crate::link::EndReason;
use crate::payload::Inline;

mod scrap;
use scrap::{Room, Scrap};

/// An answer, whatever its status.
pub struct Reply<E: Env> {
    status: Status,
    body: Inline<E>,
    payload: Option<Bytes<E::Memory>>,
    arrived: Instant,
}

impl<E: Env> fmt::Debug for Reply<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (body, payload) = (self.body.len(), self.payload().len());
        write!(f, "Reply({}, {body} + {payload} bytes)", self.status)
    }
}

impl<E: Env> Reply<E> {
    /// What the peer said of the request; always `Ok` where a call succeeded.
    pub fn status(&self) -> Status {
        self.status
    }

    /// When its last byte had arrived.
    pub fn arrived(&self) -> Instant {
        self.arrived
    }

    /// The body, validated.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are not a `B`.
    pub fn body<B: Body>(&self) -> Result<&B::Archived, WireError> {
        bodies::access::<B>(&self.body)
    }

    /// The payload; empty where there was none.
    pub fn payload(&self) -> &[u8] {
        self.payload.as_deref().unwrap_or(&[])
    }

    /// The payload's buffer, to be passed on without a copy.
    pub fn into_payload(self) -> Option<Bytes<E::Memory>> {
        self.payload
    }
}

/// A request without a usable answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// No connection could be made in time; nothing was sent.
    #[error("{peer} cannot be reached: {why}")]
    Unreachable {
        /// The peer.
        peer: core::net::SocketAddr,
        /// The last failure.
        why: String,
    },
    /// The connection ended after the request was (or may have been) sent: nobody knows whether
    /// it was executed (M9).
    #[error("the connection to {peer} ended before the answer: {why}")]
    Lost {
        /// The peer.
        peer: core::net::SocketAddr,
        /// Why it ended.
        why: Rc<EndReason>,
    },
    /// The deadline passed.
    #[error("deadline passed {}", if *sent { "before the answer" } else { "before sending" })]
    DeadlineExceeded {
        /// Whether the request had been sent, so that it may be executed.
        sent: bool,
    },
    /// The peer answered with a status other than `Ok`.
    #[error("refused: {0}")]
    Refused(Status),
    /// This process has closed the client.
    #[error("the client is closed")]
    Closed,
    /// This core has no memory left for the request or its answer.
    #[error(transparent)]
    Pool(#[from] PoolExhausted),
    /// The request itself breaks a limit of the wire format.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl CallError {
    /// The status that says the same.
    pub fn status(&self) -> Status {
        match self {
            Self::Unreachable { .. } | Self::Closed => Status::Unreachable,
            Self::Lost { .. } => Status::UnknownResult,
            Self::DeadlineExceeded { .. } => Status::DeadlineExceeded,
            Self::Refused(status) => *status,
            Self::Pool(_) => Status::Busy,
            Self::Wire(error) => error.status(),
        }
    }

    /// What the caller does next.
    pub fn retry(&self) -> Retry {
        match self {
            Self::DeadlineExceeded { sent: false } => Retry::OtherTarget,
            other => other.status().retry(),
        }
    }
}

struct Incoming<E: Env> {
    status: Status,
    body: Inline<E>,
    assembly: Assembly,
}

struct Slot<E: Env> {
    generation: u32,
    /// In flight: its answer may still come.
    unanswered: bool,
    /// Its header is on its way, so that there may be an answer.
    queued: bool,
    /// Somebody waits, or will look.
    caller: bool,
    waker: Option<Waker>,
    deadline: Instant,
    /// Bytes of payload that the answer may bring (E53).
    room: u32,
    /// Bytes of the window for payloads without credit.
    small: u32,
    /// Memory for that payload while somebody waits for it; none while a segment lands in it.
    memory: Option<Room<E>>,
    incoming: Option<Incoming<E>>,
    outcome: Option<Result<Reply<E>, CallError>>,
}

impl<E: Env> Slot<E> {
    fn is_expected(&self, id: RequestId) -> bool {
        self.generation == id.generation() && self.unanswered && self.queued
    }

    fn wake_with(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }
}

pub(crate) struct Calls<E: Env> {
    slots: RefCell<Vec<Slot<E>>>,
    free: RefCell<Vec<u32>>,
    /// Slots that may be opened.
    pub(crate) window: Gate,
    /// Payload bytes that may be sent without credit.
    pub(crate) small: Gate,
    open: Cell<u32>,
    scrap: RefCell<Scrap<E>>,
    /// Told whenever a slot becomes free.
    pub(crate) freed: Notify,
}

impl<E: Env> Calls<E> {
    pub(crate) fn new(window: u32, small_bytes: u32) -> Self {
        let slots = (0..window).map(|_| Slot {
            generation: 0,
            unanswered: false,
            queued: false,
            caller: false,
            waker: None,
            deadline: Instant::NEVER,
            room: 0,
            small: 0,
            memory: None,
            incoming: None,
            outcome: None,
        });
        Self {
            slots: RefCell::new(slots.collect()),
            free: RefCell::new((0..window).rev().collect()),
            window: Gate::new(u64::from(window)),
            small: Gate::new(u64::from(small_bytes)),
            open: Cell::new(0),
            scrap: RefCell::default(),
            freed: Notify::default(),
        }
    }

    /// Requests in flight, those that nobody waits for included.
    pub(crate) fn open_count(&self) -> u32 {
        self.open.get()
    }

    /// Opens a slot; a unit of `window` and `small` bytes were taken for it.
    pub(crate) fn open(
        &self,
        deadline: Instant,
        room: u32,
        small: u32,
        reserved: Option<Reserved<E::Memory>>,
    ) -> RequestId {
        let index = self.free.borrow_mut().pop().expect("E51: as many slots as window units");
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[index as usize];
        assert!(!slot.unanswered && !slot.caller, "E50: slot {index} is in use");
        slot.generation = slot.generation.wrapping_add(1);
        slot.unanswered = true;
        slot.queued = false;
        slot.caller = true;
        slot.deadline = deadline;
        slot.room = room;
        slot.small = small;
        slot.memory = reserved.map(Room::Reserved);
        self.open.set(self.open.get() + 1);
        RequestId::new(index, slot.generation)
    }

    /// The earliest deadline of a request that somebody waits for.
    pub(crate) fn next_deadline(&self) -> Instant {
        let slots = self.slots.borrow();
        let waiting = slots.iter().filter(|slot| slot.caller && slot.outcome.is_none());
        waiting.map(|slot| slot.deadline).min().unwrap_or(Instant::NEVER)
    }

    /// Ends the waiting for requests whose deadline has passed, and names them (E54).
    pub(crate) fn expire(&self, now: Instant, mut expired: impl FnMut(RequestId)) {
        for (index, slot) in self.slots.borrow_mut().iter_mut().enumerate() {
            if slot.caller && slot.outcome.is_none() && slot.deadline <= now {
                slot.outcome = Some(Err(CallError::DeadlineExceeded { sent: true }));
                if let Some(waker) = slot.waker.take() {
                    waker.wake();
                }
                let index = u32::try_from(index).expect("a window is far smaller than u32");
                expired(RequestId::new(index, slot.generation));
            }
        }
    }

    /// The outcome, once it is there.
    pub(crate) fn poll_outcome(
        &self,
        id: RequestId,
        waker: &Waker,
    ) -> Poll<Result<Reply<E>, CallError>> {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[id.slot() as usize];
        assert_eq!(slot.generation, id.generation(), "E50: the caller holds its slot");
        match slot.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                slot.wake_with(waker);
                Poll::Pending
            }
        }
    }

    /// The caller has its outcome or has given up; true when the answer is still to come.
    pub(crate) fn leave(&self, id: RequestId) -> bool {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[id.slot() as usize];
        assert!(slot.caller && slot.generation == id.generation(), "E50: leaves once");
        slot.caller = false;
        slot.waker = None;
        slot.outcome = None;
        let unanswered = slot.unanswered;
        if unanswered && 0 < slot.room {
            let segment = slot.room.min(SEGMENT_BYTES_MAX) as usize;
            self.scrap.borrow_mut().join(slot.memory.take(), segment);
        }
        drop(slots);
        if !unanswered {
            self.release(id.slot());
        }
        unanswered
    }

    /// The request's header has been queued.
    pub(crate) fn queued(&self, id: RequestId) {
        self.slots.borrow_mut()[id.slot() as usize].queued = true;
    }

    /// Ends when the outcome is there, without taking it.
    pub(crate) fn poll_has_outcome(&self, id: RequestId, waker: &Waker) -> Poll<()> {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[id.slot() as usize];
        if slot.outcome.is_some() {
            return Poll::Ready(());
        }
        slot.wake_with(waker);
        Poll::Pending
    }

    /// Whether the caller's outcome is there already.
    pub(crate) fn has_outcome(&self, id: RequestId) -> bool {
        self.slots.borrow()[id.slot() as usize].outcome.is_some()
    }

    /// A request of which nothing was queued: its slot is free at once.
    pub(crate) fn withdraw(&self, id: RequestId) {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[id.slot() as usize];
        assert!(slot.caller && slot.generation == id.generation(), "E50: leaves once");
        slot.caller = false;
        slot.unanswered = false;
        slot.memory = None;
        slot.outcome = None;
        drop(slots);
        self.release(id.slot());
    }

    /// An answer's header has arrived: whether it may be one.
    pub(crate) fn expected(&self, header: &FrameHeader) -> Result<(), EndReason> {
        let id = header.request;
        let slots = self.slots.borrow();
        let slot = self.slot(&slots, id)?;
        if slot.incoming.is_some() {
            return Err(EndReason::DuplicateId(id));
        }
        if slot.room < header.payload_len {
            let (found, limit) = (header.payload_len, slot.room);
            return Err(EndReason::ReplyTooLarge { id, found, limit });
        }
        Ok(())
    }

    /// An answer's body has arrived; its payload, if it has one, is still to come.
    pub(crate) fn answered(
        &self,
        header: &FrameHeader,
        body: Inline<E>,
        arrived: Instant,
    ) -> Result<(), EndReason> {
        let id = header.request;
        if header.payload_len == 0 {
            self.complete(id, Reply { status: header.status, body, payload: None, arrived });
            return Ok(());
        }
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[id.slot() as usize];
        let assembly = Assembly::new(header.payload_len);
        slot.incoming = Some(Incoming { status: header.status, body, assembly });
        Ok(())
    }

    /// The memory where a segment of an answer lands, and the position in it.
    pub(crate) fn land(
        &self,
        segment: &SegmentHeader,
    ) -> Result<(Buf<E::Memory>, usize), EndReason> {
        let id = segment.request;
        let mut slots = self.slots.borrow_mut();
        self.slot(&slots, id)?;
        let slot = &mut slots[id.slot() as usize];
        let assembly = &slot.incoming.as_ref().ok_or(EndReason::UnexpectedSegment(id))?.assembly;
        assembly.check(segment)?; // so that the data lies inside the landing (E53)
        if !slot.caller {
            engine_types::reached!("E59: an answer lands that nobody waits for");
            return Ok((self.scrap.borrow_mut().take()?, 0));
        }
        let memory = slot.memory.take().expect("E53: room was reserved, one task lands segments");
        let landing = memory.into_buf().map_err(EndReason::Pool)?;
        Ok((landing, segment.offset as usize))
    }

    /// A segment has landed and is verified.
    pub(crate) fn landed(
        &self,
        segment: &SegmentHeader,
        landing: Option<Buf<E::Memory>>,
        arrived: Instant,
    ) -> Result<(), EndReason> {
        let id = segment.request;
        let mut slots = self.slots.borrow_mut();
        self.slot(&slots, id)?;
        let slot = &mut slots[id.slot() as usize];
        match landing.map(Room::Landing) {
            // Whoever has left while it landed has joined the others.
            Some(landing) if !slot.caller => self.scrap.borrow_mut().keep(landing),
            Some(landing) => slot.memory = Some(landing),
            None => {}
        }
        let incoming = slot.incoming.as_mut().ok_or(EndReason::UnexpectedSegment(id))?;
        match incoming.assembly.accept(segment).map_err(EndReason::Wire)? {
            Progress::More => Ok(()),
            Progress::Aborted => {
                drop(slots);
                self.finish(id, Err(CallError::Refused(Status::Aborted)));
                Ok(())
            }
            Progress::Complete if !slot.caller => {
                drop(slots);
                self.finish(id, Err(CallError::Refused(Status::Cancelled)));
                Ok(())
            }
            Progress::Complete => {
                let Incoming { status, body, assembly } =
                    slot.incoming.take().expect("looked at above");
                let landing = slot.memory.take().expect("put back above or before");
                drop(slots);
                let mut landing = landing.into_buf().map_err(EndReason::Pool)?;
                landing.set_len(assembly.len() as usize);
                self.complete(id, Reply { status, body, payload: Some(landing.freeze()), arrived });
                Ok(())
            }
        }
    }

    /// The connection has ended: nothing in flight will be answered.
    pub(crate) fn fail_all(&self, error: impl Fn() -> CallError) {
        self.window.close();
        self.small.close();
        let count = self.slots.borrow().len();
        for index in 0..count {
            let (unanswered, generation) = {
                let slots = self.slots.borrow();
                (slots[index].unanswered, slots[index].generation)
            };
            if unanswered {
                let index = u32::try_from(index).expect("a window is far smaller than u32");
                self.finish(RequestId::new(index, generation), Err(error()));
            }
        }
        self.freed.notify();
    }

    fn slot<'a>(&self, slots: &'a [Slot<E>], id: RequestId) -> Result<&'a Slot<E>, EndReason> {
        match slots.get(id.slot() as usize) {
            Some(slot) if slot.is_expected(id) => Ok(slot),
            _ => Err(EndReason::UnknownId(id)),
        }
    }

    fn complete(&self, id: RequestId, reply: Reply<E>) {
        let outcome =
            if reply.status.is_ok() { Ok(reply) } else { Err(CallError::Refused(reply.status)) };
        self.finish(id, outcome);
    }

    fn finish(&self, id: RequestId, outcome: Result<Reply<E>, CallError>) {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[id.slot() as usize];
        assert!(slot.unanswered, "E50: {id} is answered once");
        slot.unanswered = false;
        slot.incoming = None;
        slot.memory = None;
        if slot.caller {
            // A caller whose deadline has passed keeps that outcome.
            slot.outcome.get_or_insert(outcome);
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        } else {
            if 0 < slot.room {
                self.scrap.borrow_mut().part();
            }
            drop(slots);
            self.release(id.slot());
        }
    }

    fn release(&self, index: u32) {
        let small = core::mem::take(&mut self.slots.borrow_mut()[index as usize].small);
        self.small.give(u64::from(small));
        self.free.borrow_mut().push(index);
        self.open.set(self.open.get() - 1);
        self.window.give(1);
        self.freed.notify();
    }
}
