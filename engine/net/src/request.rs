//! A request at its server: what its handler sees of it, and its one answer.
//!
//! Owner: one server connection. A request is answered exactly once, also when its handler drops
//! it, its payload is aborted or its requester has gone (E51); its slot is free for the requester's
//! next request from the moment the answer is queued whole (E50).

use core::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use engine_runtime::{Env, Notify, until};
use engine_types::{Deadline, Instant, RequestId, Status, TraceId};
use engine_wire::bodies::{self, Body, Pong};
use engine_wire::handshake::Identity;
use engine_wire::{FrameHeader, Kind, Priority, WireError};

use crate::link::Link;
use crate::payload::{Inline, Part, Segment};
use crate::send::{self, SendError};
use crate::server::Peer;

/// What a server does with requests.
pub trait Service<E: Env>: 'static {
    /// Handles one request, in a task of its own. It ends with one of the answers of [`Request`];
    /// a request that is dropped is answered with `Internal`.
    fn call(self: Rc<Self>, request: Request<E>) -> impl Future<Output = ()> + 'static;
}

/// Payload that arrives while its handler runs.
pub(crate) struct Flow<E: Env> {
    segments: RefCell<VecDeque<Segment<E>>>,
    end: Cell<Option<FlowEnd>>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlowEnd {
    Complete,
    /// Given up by its sender, or the connection ended (R3).
    Aborted,
}

impl<E: Env> Flow<E> {
    pub(crate) fn new() -> Self {
        Self {
            segments: RefCell::new(VecDeque::new()),
            end: Cell::new(None),
            changed: Notify::default(),
        }
    }

    /// Takes nothing any more and drops what it has: its request is answered.
    pub(crate) fn discard(&self) {
        self.finish(FlowEnd::Aborted);
        let segments = self.segments.take();
        drop(segments);
    }

    pub(crate) fn push(&self, segment: Segment<E>) {
        if self.end.get().is_some() {
            return; // the last one comes before the end, so this is after a discard
        }
        self.segments.borrow_mut().push_back(segment);
        self.changed.notify();
    }

    pub(crate) fn finish(&self, end: FlowEnd) {
        if self.end.get().is_none() {
            self.end.set(Some(end));
            self.changed.notify();
        }
    }
}

/// A request's payload.
pub(crate) enum Payload<E: Env> {
    /// None, or none left.
    Nothing,
    /// It came whole in one segment.
    Whole(Segment<E>),
    /// It is still coming.
    Flow(Rc<Flow<E>>),
}

/// A request to be answered.
pub struct Request<E: Env> {
    peer: Rc<Peer<E>>,
    header: FrameHeader,
    inline: Inline<E>,
    payload: Payload<E>,
    received: Instant,
    deadline: Deadline,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Its answer is being queued.
    Answering,
    Answered,
}

impl<E: Env> Request<E> {
    pub(crate) fn new(
        peer: Rc<Peer<E>>,
        header: FrameHeader,
        inline: Inline<E>,
        payload: Payload<E>,
    ) -> Self {
        let received = peer.link.last_received();
        let deadline = Deadline::from_wire_us(header.deadline_us, received);
        Self { peer, header, inline, payload, received, deadline, state: State::Open }
    }

    /// What it is about.
    pub fn kind(&self) -> Kind {
        self.header.kind
    }

    /// Version of its body.
    pub fn kind_version(&self) -> u8 {
        self.header.kind_version
    }

    /// Its name on this connection.
    pub fn id(&self) -> RequestId {
        self.header.request
    }

    /// Until when somebody waits for the answer.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Who asks, proven by the handshake.
    pub fn peer(&self) -> &Identity {
        &self.peer.identity
    }

    /// The operation it belongs to.
    pub fn trace(&self) -> TraceId {
        self.header.trace
    }

    /// Its class.
    pub fn class(&self) -> Priority {
        self.header.class
    }

    /// Bytes of payload that the answer may bring.
    pub fn reply_room(&self) -> u32 {
        self.header.reply_bytes_max
    }

    /// The capability field (C1), empty if there is none.
    pub fn capability(&self) -> &[u8] {
        &self.inline[self.header.body_len as usize..]
    }

    /// The body, validated in place.
    ///
    /// # Errors
    /// [`WireError`] when it is of another kind or version, or no `B`; answer with its status.
    pub fn body<B: Body>(&self) -> Result<&B::Archived, WireError> {
        let (found, expected) = (self.header.kind, B::KIND);
        if found != expected {
            return Err(WireError::UnexpectedKind { found, expected });
        }
        let (kind, found, expected) = (B::KIND, self.header.kind_version, B::VERSION);
        if found != expected {
            return Err(WireError::BodyVersion { kind, found, expected });
        }
        bodies::access::<B>(&self.inline[..self.header.body_len as usize])
    }

    /// Bytes of payload declared.
    pub fn payload_len(&self) -> u32 {
        self.header.payload_len
    }

    /// Whether the requester has said that it no longer waits. The work may go on (E54).
    pub fn is_cancelled(&self) -> bool {
        self.peer.is_cancelled(self.header.request)
    }

    /// The next piece of payload, verified; `None` after the last of a complete payload.
    ///
    /// # Errors
    /// `Aborted` when the sender gave the payload up, or sent nothing for the time that a frame
    /// may take (R3): nothing durable may come of it.
    pub async fn next_segment(&mut self) -> Result<Option<Segment<E>>, Status> {
        let flow = match core::mem::replace(&mut self.payload, Payload::Nothing) {
            Payload::Nothing => return Ok(None),
            Payload::Whole(segment) => return Ok(Some(segment)),
            Payload::Flow(flow) => flow,
        };
        let env = &self.peer.link.env;
        let patience = self.peer.frame_time();
        let there = || !flow.segments.borrow().is_empty() || flow.end.get().is_some();
        if !there() && until(env, env.now() + patience, flow.changed.until(there)).await.is_err() {
            return Err(Status::Aborted);
        }
        if let Some(segment) = flow.segments.borrow_mut().pop_front() {
            self.payload = Payload::Flow(flow.clone());
            return Ok(Some(segment));
        }
        match flow.end.get() {
            Some(FlowEnd::Complete) => Ok(None),
            _ => Err(Status::Aborted),
        }
    }

    /// All of the payload that has not been taken yet.
    ///
    /// # Errors
    /// As [`next_segment`](Self::next_segment).
    pub async fn collect(&mut self) -> Result<Vec<Segment<E>>, Status> {
        let mut segments = Vec::new();
        while let Some(segment) = self.next_segment().await? {
            segments.push(segment);
        }
        Ok(segments)
    }

    /// The same in one piece.
    ///
    /// # Errors
    /// As [`next_segment`](Self::next_segment).
    pub async fn collect_bytes(&mut self) -> Result<Vec<u8>, Status> {
        let mut bytes = Vec::with_capacity(self.payload_len() as usize);
        while let Some(segment) = self.next_segment().await? {
            bytes.extend_from_slice(&segment.bytes);
        }
        Ok(bytes)
    }

    /// Answers with `Ok`, a body and payload. A payload beyond the room that the requester has
    /// reserved (E53) is answered with `TooLarge` instead.
    pub async fn respond<B: Body>(mut self, body: &B, parts: &[Part<'_, E>]) {
        let payload = match send::payload_len(parts) {
            Ok(len) if len <= self.header.reply_bytes_max => len,
            _ => return self.refuse(Status::TooLarge).await,
        };
        self.state = State::Answering;
        let answer = FrameHeader::response(&self.header, B::VERSION, Status::Ok);
        let answer = FrameHeader { payload_len: payload, ..answer };
        let sent = answer_with(&self.peer.link, answer, Some(body), parts).await;
        self.finish(Status::Ok, payload, sent);
    }

    /// Answers with a status other than `Ok`.
    pub async fn refuse(mut self, status: Status) {
        self.state = State::Answering;
        let answer = FrameHeader::response(&self.header, self.header.kind_version, status);
        let sent = answer_with(&self.peer.link, answer, None::<&Pong>, &[]).await;
        self.finish(status, 0, sent);
    }

    fn finish(&mut self, status: Status, payload: u32, sent: Result<(), SendError>) {
        self.state = State::Answered;
        if let Err(SendError::Pool(exhausted)) = sent {
            // The answer cannot be given, and its requester must not wait for ever.
            self.peer.link.end(crate::EndReason::Pool(exhausted));
        }
        let link = &self.peer.link;
        let took = link.env.now().saturating_since(self.received);
        let bytes = (u64::from(self.header.payload_len), u64::from(payload));
        link.metrics.record(self.header.kind.code(), status, took, bytes);
        self.peer.answered(&self.header);
    }
}

async fn answer_with<E: Env, B: Body>(
    link: &Link<E>,
    answer: FrameHeader,
    body: Option<&B>,
    parts: &[Part<'_, E>],
) -> Result<(), SendError> {
    send::frame(link, answer, &[], body, parts).await?;
    if !send::is_small(answer.payload_len, parts) {
        let mut segments = send::Segments::new(answer.request, parts, answer.payload_len);
        while segments.more() {
            segments.send_next(link).await?;
        }
    }
    Ok(())
}

impl<E: Env> Drop for Request<E> {
    fn drop(&mut self) {
        let link = self.peer.link.clone();
        match self.state {
            State::Answered => {}
            State::Open if !link.is_ended() => {
                let kind = self.header.kind;
                tracing::error!(%kind, peer = %self.peer.identity, "dropped without an answer");
                let open = Self {
                    peer: self.peer.clone(),
                    header: self.header,
                    inline: Inline::empty(),
                    payload: Payload::Nothing,
                    received: self.received,
                    deadline: self.deadline,
                    state: State::Answering,
                };
                self.state = State::Answered;
                drop(link.env.spawn(open.refuse(Status::Internal)));
            }
            // Half an answer cannot be taken back (E55), and an ended connection needs none.
            State::Open | State::Answering => {
                link.end(crate::EndReason::Closed);
                self.finish(Status::Internal, 0, Ok(()));
            }
        }
    }
}
