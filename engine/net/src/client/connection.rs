//! One established connection of a client: how a call runs on it.

use core::cell::Cell;
use core::future::poll_fn;
use std::rc::Rc;

use engine_runtime::{Env, First, Gate, Notify, Reserved, first, until};
use engine_types::limits::{PAYLOAD_BYTES_MAX, UNCREDITED_PAYLOAD_BYTES_MAX};
use engine_types::{Deadline, Instant, RequestId};
use engine_wire::FrameHeader;
use engine_wire::bodies::Body;

use super::Call;
use crate::calls::{CallError, Calls, Reply};
use crate::keeper::Alarm;
use crate::link::{EndReason, Link};
use crate::outbox::Control;
use crate::send::{self, SendError};

mod role;

/// An established connection of a client.
pub(crate) struct Connection<E: Env> {
    pub(crate) link: Rc<Link<E>>,
    pub(crate) calls: Calls<E>,
    /// Bulk bytes that may be sent.
    pub(crate) credit: Gate,
    /// Credit that was taken for requests whose header is not queued yet: the peer still counts it
    /// as unused.
    pub(crate) pledged: Cell<u64>,
    /// The peer takes no new requests (E57).
    pub(crate) goodbye: Cell<bool>,
    /// Told when the peer says so.
    pub(crate) farewell: Notify,
    pub(crate) alarm: Alarm,
}

impl<E: Env> AsRef<Alarm> for Connection<E> {
    fn as_ref(&self) -> &Alarm {
        &self.alarm
    }
}

/// A place in the window and credit, given back unless a request uses them.
pub(super) struct Place<'a, E: Env> {
    connection: &'a Connection<E>,
    slot: bool,
    small: u32,
    credit: u64,
    /// When the call began.
    started: Instant,
}

impl<E: Env> Drop for Place<'_, E> {
    fn drop(&mut self) {
        if self.slot {
            self.connection.calls.window.give(1);
        }
        if 0 < self.small {
            self.connection.calls.small.give(u64::from(self.small));
        }
        if 0 < self.credit {
            self.connection.credit.give(self.credit);
            self.connection.unpledge(self.credit);
        }
    }
}

/// Why there is no place for a call.
pub(super) enum NotReserved {
    /// The deadline came first.
    Elapsed,
    /// The connection has ended.
    Closed,
}

/// A request in flight, from its first byte to its answer; dropped earlier, it tells the peer.
struct InFlight<'a, E: Env> {
    connection: &'a Connection<E>,
    id: RequestId,
    /// Its header has been queued, so that the peer will see it.
    queued: bool,
    /// Its payload has been queued whole.
    whole: bool,
}

impl<E: Env> Drop for InFlight<'_, E> {
    fn drop(&mut self) {
        let Self { connection, id, queued, whole } = self;
        let outbox = &connection.link.outbox;
        if !*queued {
            return connection.calls.withdraw(*id);
        }
        if !*whole {
            engine_types::reached!("E56: a payload is given up half-way");
            outbox.control(Control::Abort(*id));
        }
        if connection.calls.leave(*id) {
            connection.link.metrics.count(|counters| counters.abandoned += 1);
            engine_types::reached!("E54: a call is given up before its answer");
            outbox.control(Control::Cancel(*id));
        }
    }
}

impl<E: Env> Connection<E> {
    /// Whether new calls may be sent.
    pub(super) fn takes_calls(&self) -> bool {
        !self.goodbye.get() && !self.link.is_ended()
    }

    /// Takes a place in the window, and credit for bulk (E52).
    pub(super) async fn reserve(
        &self,
        started: Instant,
        deadline: Instant,
        payload: u32,
    ) -> Result<Place<'_, E>, NotReserved> {
        let mut reserved = Place { connection: self, slot: false, small: 0, credit: 0, started };
        self.take(&self.calls.window, 1, deadline).await?;
        reserved.slot = true;
        if payload <= UNCREDITED_PAYLOAD_BYTES_MAX {
            if 0 < payload {
                self.take(&self.calls.small, u64::from(payload), deadline).await?;
            }
            reserved.small = payload;
        } else {
            let bytes = u64::from(payload);
            if !self.credit.try_take(bytes) {
                self.link.metrics.count(|counters| counters.credit_waits += 1);
                engine_types::reached!("E52: bulk waits for credit");
                let want = self.credit.demand() + self.pledged.get() + bytes;
                let want = u32::try_from(want).unwrap_or(u32::MAX);
                self.link.outbox.control(Control::CreditWant(want));
                self.take(&self.credit, bytes, deadline).await?;
            }
            reserved.credit = bytes;
            self.pledged.set(self.pledged.get() + bytes);
        }
        Ok(reserved)
    }

    async fn take(&self, gate: &Gate, amount: u64, deadline: Instant) -> Result<(), NotReserved> {
        if gate.try_take(amount) {
            return Ok(()); // without a timer: the usual case
        }
        match until(&self.link.env, deadline, gate.take(amount)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(NotReserved::Closed),
            Err(_) => Err(NotReserved::Elapsed),
        }
    }

    /// Sends the request and waits for its answer.
    pub(super) async fn run<B: Body>(
        &self,
        call: &Call<'_, E, B>,
        payload: u32,
        mut reserved: Place<'_, E>,
    ) -> Result<Reply<E>, CallError> {
        let room = self.answer_room(call.reply_bytes_max, call.deadline).await?;
        let id = self.calls.open(call.deadline, call.reply_bytes_max, reserved.small, room);
        reserved.small = 0;
        reserved.slot = false; // it is the request's now, until it is answered (E51)
        self.alarm.arm(call.deadline);
        let mut flight = InFlight { connection: self, id, queued: false, whole: false };
        // The end of the connection and the deadline end a wait for room as well.
        let sending = self.send(call, payload, &mut flight, &mut reserved);
        let ended = poll_fn(|cx| self.calls.poll_has_outcome(id, cx.waker()));
        let sent = match first(sending, ended).await {
            First::Left(sent) => sent,
            First::Right(()) if self.link.is_ended() => Err(SendError::Ended),
            First::Right(()) if !flight.queued => {
                return Err(CallError::DeadlineExceeded { sent: false });
            }
            First::Right(()) => Ok(()),
        };
        match sent {
            Ok(()) => {}
            // The end of the connection answers the request, if its deadline has not yet.
            Err(SendError::Ended) if flight.queued => {}
            Err(SendError::Ended) => return Err(self.lost()),
            Err(SendError::Pool(error)) => return Err(CallError::Pool(error)),
        }
        poll_fn(|cx| self.calls.poll_outcome(id, cx.waker())).await
    }

    /// Room for the answer's payload.
    async fn answer_room(
        &self,
        bytes: u32,
        deadline: Instant,
    ) -> Result<Option<Reserved<E::Memory>>, CallError> {
        if bytes == 0 {
            return Ok(None);
        }
        let pool = self.link.env.pool();
        if let Ok(reserved) = pool.try_reserve(bytes as usize) {
            return Ok(Some(reserved)); // without a timer: the usual case
        }
        match until(&self.link.env, deadline, pool.reserve(bytes as usize)).await {
            Ok(reserved) => Ok(Some(reserved?)),
            Err(_) => Err(CallError::DeadlineExceeded { sent: false }),
        }
    }

    async fn send<B: Body>(
        &self,
        call: &Call<'_, E, B>,
        payload: u32,
        flight: &mut InFlight<'_, E>,
        reserved: &mut Place<'_, E>,
    ) -> Result<(), SendError> {
        // Who had to wait was woken by something that arrived: no third look at the clock.
        let now = reserved.started.max(self.link.last_received());
        let header = FrameHeader {
            class: call.class,
            trace: call.trace,
            deadline_us: Deadline::at(call.deadline).to_wire_us(now),
            payload_len: payload,
            reply_bytes_max: call.reply_bytes_max,
            ..FrameHeader::request(B::KIND, B::VERSION, flight.id)
        };
        send::frame(&self.link, header, call.capability, Some(call.body), call.parts).await?;
        let small = send::is_small(payload, call.parts);
        flight.queued = true;
        flight.whole = small;
        self.calls.queued(flight.id);
        self.unpledge(core::mem::take(&mut reserved.credit)); // the peer counts it from here on
        if small {
            return Ok(());
        }
        let mut segments = send::Segments::new(flight.id, call.parts, payload);
        while segments.more() {
            if self.calls.has_outcome(flight.id) {
                return Ok(()); // refused or expired already: `flight` aborts the rest (E56)
            }
            segments.send_next(&self.link).await?;
        }
        flight.whole = true;
        Ok(())
    }

    /// When the peer drains: once nothing is in flight any more, this side closes (E57).
    pub(super) async fn leave_after_goodbye(&self) {
        let asked = self.farewell.until(|| self.goodbye.get());
        if let First::Right(()) = first(asked, self.link.ended()).await {
            return;
        }
        let idle = self.calls.freed.until(|| self.calls.open_count() == 0);
        first(idle, self.link.ended()).await;
        self.link.flushed().await;
        self.link.end(EndReason::Closed);
    }

    fn unpledge(&self, bytes: u64) {
        let pledged = self.pledged.get();
        assert!(bytes <= pledged, "E52: {bytes} bytes of credit used, {pledged} pledged");
        self.pledged.set(pledged - bytes);
    }

    /// Returns credit that nobody waits for and that exceeds what an idle peer may keep (W3).
    pub(super) fn return_surplus(&self) {
        let surplus = self.credit.free().saturating_sub(u64::from(PAYLOAD_BYTES_MAX) * 2);
        if 0 < surplus && self.credit.demand() == 0 && self.credit.try_take(surplus) {
            let bytes = u32::try_from(surplus).expect("credit held stays below 4 GiB");
            self.link.outbox.control(Control::Credit(bytes));
        }
    }

    fn lost(&self) -> CallError {
        CallError::Lost { peer: self.link.peer, why: self.link.reason() }
    }
}
