//! One authenticated connection of a server: its requests in flight and what arrives on it.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::{BUFFER_ALIGN, Buf, Env, First, first};
use engine_types::limits::UNCREDITED_PAYLOAD_BYTES_MAX;
use engine_types::{Instant, RequestId, SECTOR_BYTES, Status};
use engine_wire::bodies::{self, Cancel, Credit, CreditWant};
use engine_wire::handshake::{Identity, Session};
use engine_wire::{Assembly, Ending, FrameHeader, FrameType, Kind, Progress, SegmentHeader};

use super::workers::Workers;
use super::{Share, Shared};
use crate::credit::{Account, Overdrawn};
use crate::link::{EndReason, Link};
use crate::outbox::Control;
use crate::payload::{Crcs, Inline, Segment};
use crate::receive::Role;
use crate::request::{Flow, FlowEnd, Payload, Request, Service};

/// Segments beyond one per page of payload: a payload that gathers small pieces of many chunks is
/// legal, one in crumbs that take a page each is not.
const SCATTERED_SEGMENTS_MAX: u32 = 64;

/// A payload on its way.
struct Receiving<E: Env> {
    header: FrameHeader,
    inline: Inline<E>,
    assembly: Assembly,
    /// Segments so far: each takes a page at least.
    segments: u32,
    since: Instant,
    /// Where segments go once the handler runs.
    flow: Option<Rc<Flow<E>>>,
}

/// One slot of the window.
struct Inbound<E: Env> {
    generation: u32,
    /// Its answer is not queued yet.
    unanswered: bool,
    cancelled: bool,
    /// Bytes taken of the share for payloads without credit.
    small_held: u64,
    receiving: Option<Receiving<E>>,
}

/// What handlers and the reader of one connection share.
pub(crate) struct Peer<E: Env> {
    pub(crate) link: Rc<Link<E>>,
    pub(crate) identity: Identity,
    shared: Rc<Shared<E>>,
    account: Rc<Account>,
    inbound: RefCell<Vec<Inbound<E>>>,
    open: Cell<u32>,
    /// Payload bytes in flight that came without credit.
    small_open: Cell<u64>,
    workers: Rc<Workers<E>>,
}

impl<E: Env> Peer<E> {
    pub(super) fn new(shared: Rc<Shared<E>>, link: Rc<Link<E>>, session: &Session) -> Self {
        let grant = link.clone();
        let share = shared.share_of(session.peer.role);
        let account =
            share.credit.open(Box::new(move |bytes| grant.outbox.control(Control::Credit(bytes))));
        Self {
            link,
            identity: session.peer,
            account,
            inbound: RefCell::new(Vec::new()),
            open: Cell::new(0),
            small_open: Cell::new(0),
            workers: Rc::default(),
            shared,
        }
    }

    fn share(&self) -> &Share {
        self.shared.share_of(self.identity.role)
    }

    /// Requests without an answer.
    pub(super) fn open_count(&self) -> u32 {
        self.open.get()
    }

    pub(crate) fn frame_time(&self) -> Duration {
        self.shared.frame_time()
    }

    pub(crate) fn is_cancelled(&self, id: RequestId) -> bool {
        let inbound = self.inbound.borrow();
        let slot = inbound.get(id.slot() as usize);
        self.link.is_ended()
            || slot.is_some_and(|slot| slot.generation == id.generation() && slot.cancelled)
    }

    /// The answer of a request is queued whole, or can no longer be given.
    pub(crate) fn answered(&self, header: &FrameHeader) {
        self.forget(&mut self.inbound.borrow_mut()[header.request.slot() as usize], header);
        self.shared.changed.notify();
    }

    fn forget(&self, slot: &mut Inbound<E>, header: &FrameHeader) {
        let mine = slot.generation == header.request.generation();
        assert!(mine && slot.unanswered, "E51: {} is answered once", header.request);
        slot.unanswered = false;
        // What still comes of its payload is of no use to anybody (E52).
        if let Some(flow) = slot.receiving.as_ref().and_then(|receiving| receiving.flow.as_ref()) {
            flow.discard();
        }
        self.open.set(self.open.get() - 1);
        if UNCREDITED_PAYLOAD_BYTES_MAX < header.payload_len {
            self.share().credit.done(&self.account, header.payload_len);
        } else {
            self.small_open.set(self.small_open.get() - u64::from(header.payload_len));
            self.share().small.give(core::mem::take(&mut slot.small_held));
        }
    }

    /// The connection has ended: payloads on their way never complete.
    pub(super) fn ended(&self) {
        for slot in self.inbound.borrow_mut().iter_mut() {
            let Some(receiving) = slot.receiving.take() else { continue };
            match receiving.flow {
                Some(flow) => flow.finish(FlowEnd::Aborted),
                // No handler has it: its credit is returned here.
                None => self.forget(slot, &receiving.header),
            }
        }
        self.workers.close();
        self.share().credit.close(&self.account);
    }

    /// Drops requests that no worker has taken; they refer to this connection.
    pub(super) fn forget_waiting(&self) {
        self.workers.clear();
    }

    /// Opens the slot of a request that has arrived.
    fn open(&self, header: &FrameHeader) -> Result<(), EndReason> {
        let id = header.request;
        let window = self.shared.window();
        if window <= id.slot() {
            return Err(EndReason::OutsideWindow { found: id.slot(), window });
        }
        let mut inbound = self.inbound.borrow_mut();
        while inbound.len() <= id.slot() as usize {
            let (generation, unanswered, cancelled) = (0, false, false);
            let receiving = None;
            inbound.push(Inbound { generation, unanswered, cancelled, small_held: 0, receiving });
        }
        let slot = &mut inbound[id.slot() as usize];
        if slot.unanswered {
            return Err(EndReason::DuplicateId(id));
        }
        // Answered before its payload was whole, and given up by its sender: this says so.
        if let Some(flow) = slot.receiving.take().and_then(|receiving| receiving.flow) {
            flow.finish(FlowEnd::Aborted);
        }
        self.admit(header)?;
        slot.generation = id.generation();
        slot.unanswered = true;
        slot.cancelled = false;
        self.open.set(self.open.get() + 1);
        Ok(())
    }

    /// Counts the payload of a request against the credit or the window of its connection (W3).
    fn admit(&self, header: &FrameHeader) -> Result<(), EndReason> {
        let (id, bytes) = (header.request, header.payload_len);
        if UNCREDITED_PAYLOAD_BYTES_MAX < bytes {
            let begun = self.share().credit.begin(&self.account, bytes);
            return begun.map_err(|Overdrawn { found, credit }| EndReason::Overdrawn {
                id,
                found,
                credit,
            });
        }
        let (found, limit) = (self.small_open.get() + u64::from(bytes), self.shared.small_bytes());
        if limit < found {
            return Err(EndReason::SmallOverrun { id, found, limit });
        }
        self.small_open.set(found);
        Ok(())
    }

    /// Waits for room in the share of the pool that payloads without credit of all peers may hold,
    /// so that those who answer always find memory (W2).
    async fn small_room(&self, header: &FrameHeader) {
        let bytes = header.payload_len;
        if bytes == 0 || UNCREDITED_PAYLOAD_BYTES_MAX < bytes {
            return;
        }
        let bytes = u64::from(bytes).next_multiple_of(BUFFER_ALIGN as u64);
        let taken = self.share().small.try_take(bytes) || {
            engine_types::reached!("W2: a payload waits for room among all peers");
            let waiting = self.link.waits_for_memory();
            let taken = first(self.share().small.take(bytes), self.link.ended()).await;
            drop(waiting);
            matches!(taken, First::Left(Ok(())))
        };
        if taken {
            let mut inbound = self.inbound.borrow_mut();
            inbound[header.request.slot() as usize].small_held = bytes;
        }
    }

    /// Ends the connection when a payload was announced and does not begin; else says when to look
    /// again.
    pub(super) fn check_payloads(&self, now: Instant) -> Instant {
        let limit = self.frame_time();
        let inbound = self.inbound.borrow();
        let waiting = inbound.iter().filter_map(|slot| slot.receiving.as_ref());
        let oldest = waiting.filter(|receiving| receiving.flow.is_none()).map(|r| r.since).min();
        match oldest {
            Some(since) if limit <= now.saturating_since(since) => {
                let took = now.saturating_since(since);
                self.link.end(EndReason::Stalled { took, limit });
                Instant::NEVER
            }
            Some(since) => since + limit,
            None => now + limit,
        }
    }

    fn control(&self, kind: Kind, body: &[u8]) -> Result<(), EndReason> {
        match kind {
            Kind::PING => {
                if self.open.get() == 0 {
                    self.workers.rest();
                    self.link.outbox.trim();
                }
                self.link.outbox.control(Control::Pong);
            }
            Kind::CREDIT => {
                let bytes = bodies::access::<Credit>(body)?.bytes.to_native();
                let given = self.share().credit.give_back(&self.account, bytes);
                let id = RequestId::NONE;
                given.map_err(|Overdrawn { found, credit }| EndReason::Overdrawn {
                    id,
                    found,
                    credit,
                })?;
            }
            Kind::CREDIT_WANT => {
                let bytes = bodies::access::<CreditWant>(body)?.bytes.to_native();
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                self.share().credit.want(&self.account, bytes);
            }
            _ => {
                let id = bodies::to_owned::<Cancel>(bodies::access::<Cancel>(body)?)?.request();
                let mut inbound = self.inbound.borrow_mut();
                if let Some(slot) = inbound.get_mut(id.slot() as usize)
                    && slot.generation == id.generation()
                {
                    slot.cancelled = true;
                }
            }
        }
        Ok(())
    }
}

/// The reader's side of a connection: turns what arrives into requests of the service.
pub(super) struct Serving<E: Env, S: Service<E>> {
    pub(super) peer: Rc<Peer<E>>,
    pub(super) service: Rc<S>,
}

impl<E: Env, S: Service<E>> Serving<E, S> {
    fn dispatch(&self, header: FrameHeader, inline: Inline<E>, payload: Payload<E>) {
        let peer = &self.peer;
        let request = Request::new(peer.clone(), header, inline, payload);
        let env = &peer.link.env;
        if peer.shared.is_draining() {
            engine_types::reached!("E57: a request comes while its server drains");
            drop(env.spawn(request.refuse(Status::Draining)));
        } else if request.deadline().expired(peer.link.last_received()) {
            drop(env.spawn(request.refuse(Status::DeadlineExceeded)));
        } else {
            peer.workers.dispatch(env, &self.service, request);
        }
    }

    /// A segment joins its payload. The handler starts with the first one.
    fn join(
        &self,
        header: &SegmentHeader,
        crcs: &[u32],
        landing: Option<Buf<E::Memory>>,
    ) -> Result<(), EndReason> {
        let id = header.request;
        let mut inbound = self.peer.inbound.borrow_mut();
        let slot = inbound.get_mut(id.slot() as usize).ok_or(EndReason::UnknownId(id))?;
        if slot.generation != id.generation() {
            // The end of a payload whose slot already carries the next request says nothing new.
            let late = header.ending == Ending::Aborted && landing.is_none();
            engine_types::reached!("E50: a segment comes after its slot is used again");
            return if late { Ok(()) } else { Err(EndReason::UnknownId(id)) };
        }
        let receiving = slot.receiving.as_mut().ok_or(EndReason::UnexpectedSegment(id))?;
        let offset = receiving.assembly.received();
        let progress = receiving.assembly.accept(header)?;
        receiving.segments += 1;
        let limit = receiving.header.payload_len / SECTOR_BYTES + SCATTERED_SEGMENTS_MAX;
        if limit < receiving.segments {
            return Err(EndReason::TooManySegments { id, found: receiving.segments, limit });
        }
        let segment = landing.map(|mut landing| {
            landing.set_len(header.length as usize);
            let (block_shift, phase) = (header.block_shift, header.phase);
            let (bytes, crcs) = (landing.freeze(), Crcs::from_slice(crcs));
            Segment { offset, bytes, block_shift, phase, crcs }
        });
        let started = receiving.flow.clone();
        let whole = offset == 0 && progress == Progress::Complete && started.is_none();
        let ended = (progress != Progress::More).then(|| slot.receiving.take()).flatten();
        let payload = match (started, segment) {
            (Some(flow), segment) => {
                segment.into_iter().for_each(|segment| flow.push(segment));
                Self::finish(&flow, progress);
                return Ok(()); // its handler runs already
            }
            (None, Some(segment)) if whole => Payload::Whole(segment),
            (None, segment) => {
                let flow = Rc::new(Flow::new());
                segment.into_iter().for_each(|segment| flow.push(segment));
                Self::finish(&flow, progress);
                Payload::Flow(flow)
            }
        };
        let (header, inline) = match ended {
            Some(receiving) => (receiving.header, receiving.inline),
            None => {
                let receiving = slot.receiving.as_mut().expect("more is to come");
                if let Payload::Flow(flow) = &payload {
                    receiving.flow = Some(flow.clone());
                }
                (receiving.header, core::mem::replace(&mut receiving.inline, Inline::empty()))
            }
        };
        drop(inbound);
        if progress == Progress::Aborted {
            // Nobody has seen it and nobody waits: it leaves no trace but its answer (R3).
            engine_types::reached!("E56: a payload is aborted before its handler runs");
            let request = Request::new(self.peer.clone(), header, inline, Payload::Nothing);
            drop(self.peer.link.env.spawn(request.refuse(Status::Aborted)));
        } else {
            self.dispatch(header, inline, payload);
        }
        Ok(())
    }

    fn finish(flow: &Flow<E>, progress: Progress) {
        match progress {
            Progress::More => {}
            Progress::Complete => flow.finish(FlowEnd::Complete),
            Progress::Aborted => flow.finish(FlowEnd::Aborted),
        }
    }
}

impl<E: Env, S: Service<E>> Role<E> for Serving<E, S> {
    fn header(&self, header: &FrameHeader) -> Result<(), EndReason> {
        match (header.frame_type, header.kind) {
            (FrameType::Request, _)
            | (FrameType::OneWay, Kind::PING | Kind::CREDIT_WANT | Kind::CREDIT | Kind::CANCEL) => {
                Ok(())
            }
            (FrameType::OneWay, kind) => {
                Err(EndReason::Unexpected { what: "message", kind: kind.code() })
            }
            (FrameType::Response, kind) => {
                Err(EndReason::Unexpected { what: "answer", kind: kind.code() })
            }
        }
    }

    async fn frame(&self, header: &FrameHeader, inline: Inline<E>) -> Result<(), EndReason> {
        if header.frame_type == FrameType::OneWay {
            return self.peer.control(header.kind, &inline);
        }
        self.peer.open(header)?;
        self.peer.small_room(header).await;
        if header.payload_len == 0 {
            self.dispatch(*header, inline, Payload::Nothing);
        } else {
            let assembly = Assembly::new(header.payload_len);
            let since = self.peer.link.last_received();
            let (segments, flow) = (0, None);
            let receiving = Receiving { header: *header, inline, assembly, segments, since, flow };
            let mut inbound = self.peer.inbound.borrow_mut();
            inbound[header.request.slot() as usize].receiving = Some(receiving);
        }
        Ok(())
    }

    async fn land(&self, segment: &SegmentHeader) -> Result<(Buf<E::Memory>, usize), EndReason> {
        let id = segment.request;
        {
            let inbound = self.peer.inbound.borrow();
            let slot = inbound.get(id.slot() as usize).ok_or(EndReason::UnknownId(id))?;
            if slot.generation != id.generation() {
                return Err(EndReason::UnknownId(id));
            }
            let receiving = slot.receiving.as_ref().ok_or(EndReason::UnexpectedSegment(id))?;
            receiving.assembly.check(segment)?;
        }
        Ok((self.peer.link.memory(segment.length as usize).await?, 0))
    }

    fn landed(
        &self,
        segment: &SegmentHeader,
        crcs: &[u32],
        landing: Option<Buf<E::Memory>>,
    ) -> Result<(), EndReason> {
        self.join(segment, crcs, landing)
    }
}
