//! Connections and the links under them.
//!
//! A connection has two sides and two directions. The bytes of a direction sit in one queue from
//! the write to the read; segments are ranges of it that travel as events. A link loses, delays,
//! doubles or cuts segments; what was lost is sent again after a doubling time-out, and after too
//! many attempts the sender breaks off. The receiver tells how far it is only when that matters:
//! when the window is half full, or when its way back is not clean.
//!
//! Invariants
//!   E42  a direction delivers what was written, in order and once, up to where it ends
//!   E48  between writer and reader are at most `window_bytes` that the writer knows unread
//!
//! Crash: the sides of a machine without power are gone without a word; what is under way still
//! arrives (M9). Whoever sends to a side that is gone hears nothing while the machine is off, and
//! a reset once it is on again.

use core::net::{Ipv4Addr, SocketAddr};
use core::task::Waker;
use std::collections::VecDeque;
use std::io;

use engine_types::{Instant, Map};

use super::arena::{Arena, Key};
use super::env::SimEnv;
use super::fault::{Count, Link, NetFaults};
use super::join::Promise;
use super::trace::Happened;
use super::world::{Event, State, nanos};
use crate::stream::Stream;

/// A range of a direction under way; `end` itself when it is the end of the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) conn: Key,
    /// The side that sends it.
    pub(super) side: u8,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) fin: bool,
    /// A copy made by the network: nobody waits for it.
    pub(super) copy: bool,
    pub(super) attempt: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SideState {
    /// The peer's request has not arrived yet.
    Unborn,
    /// Waits for the answer to its request.
    Connecting,
    Open,
    /// Closed by its owner; `linger`: what was written is still sent again when lost.
    Closed {
        linger: bool,
    },
    /// Ended by an error.
    Broken(io::ErrorKind),
    /// Its machine lost power.
    Gone,
}

impl SideState {
    pub(super) fn is_live(self) -> bool {
        matches!(self, Self::Connecting | Self::Open)
    }
}

pub(super) struct Side {
    pub(super) node: u32,
    pub(super) state: SideState,
    /// Halves that its owner still has.
    pub(super) halves: u8,
    pub(super) address: SocketAddr,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Side {
    pub(super) fn new(node: u32, state: SideState, address: SocketAddr) -> Self {
        Self { node, state, halves: 2, address, reader: None, writer: None }
    }

    pub(super) fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// One direction, from the side of the same index to the other.
#[derive(Default)]
pub(super) struct Direction {
    /// Bytes from `read` to `written`.
    pub(super) bytes: VecDeque<u8>,
    pub(super) written: u64,
    /// Everything below has reached the receiver.
    pub(super) arrived: u64,
    /// The reader is here.
    pub(super) read: u64,
    /// The writer knows that the reader is here.
    pub(super) freed: u64,
    /// Ranges that arrived beyond `arrived`.
    beyond: Vec<(u64, u64)>,
    fin_arrived: bool,
    fin_at: Option<u64>,
    /// When the newest segment in order arrives: later ones do not overtake it.
    last_arrival: u64,
    ack_under_way: bool,
}

impl Direction {
    /// Bytes that the reader may take.
    pub(super) fn available(&self) -> u64 {
        self.arrived - self.read
    }

    /// Whether the reader has met the end of the stream.
    pub(super) fn is_at_end(&self) -> bool {
        self.fin_arrived && self.fin_at == Some(self.read)
    }

    fn merge(&mut self, start: u64, end: u64) -> bool {
        if end <= self.arrived {
            return false;
        }
        if self.arrived < start {
            self.beyond.push((start, end));
            return false;
        }
        self.arrived = end;
        while let Some(next) = self.beyond.iter().position(|range| range.0 <= self.arrived) {
            let (_, end) = self.beyond.swap_remove(next);
            self.arrived = self.arrived.max(end);
        }
        assert!(self.arrived <= self.written, "E42: {} of {}", self.arrived, self.written);
        true
    }
}

/// An attempt to connect that somebody may wait for.
pub(super) struct Attempt {
    pub(super) promise: Promise<io::Result<Stream<SimEnv>>>,
    pub(super) env: SimEnv,
    pub(super) give_up_at: Instant,
}

pub(super) struct Conn {
    /// The side that connected, the side that listened.
    pub(super) sides: [Side; 2],
    pub(super) directions: [Direction; 2],
    pub(super) attempt: Option<Box<Attempt>>,
    /// Whether the request goes to the loopback address.
    pub(super) loopback: bool,
}

pub(super) struct Listening {
    pub(super) address: SocketAddr,
    pub(super) backlog: VecDeque<Key>,
    pub(super) waker: Option<Waker>,
    pub(super) closed: bool,
    pub(super) node: u32,
}

#[derive(Clone, Copy, Default)]
struct LinkState {
    own: Option<Link>,
    busy_until: u64,
}

pub(super) struct Net {
    pub(super) faults: NetFaults,
    pub(super) default: Link,
    links: Map<(u32, u32), LinkState>,
    pub(super) conns: Arena<Conn>,
    pub(super) listeners: Arena<Listening>,
    pub(super) by_ip: Map<Ipv4Addr, u32>,
}

impl Net {
    pub(super) fn new(default: Link, faults: NetFaults) -> Self {
        Self {
            faults,
            default,
            links: Map::default(),
            conns: Arena::default(),
            listeners: Arena::default(),
            by_ip: Map::default(),
        }
    }

    pub(super) fn link(&self, from: u32, to: u32) -> Link {
        let own = self.links.get(&(from, to)).and_then(|link| link.own);
        own.unwrap_or(if from == to { Link::LOOPBACK } else { self.default })
    }

    pub(super) fn set_link(&mut self, from: u32, to: u32, link: Option<Link>) {
        self.links.entry((from, to)).or_default().own = link;
    }

    pub(super) fn heal_all(&mut self) {
        self.links.clear();
    }
}

/// The listening side's index.
pub(super) const SERVER: usize = 1;

impl State {
    /// Lets `bytes` travel; the time of arrival, unless they are lost.
    pub(super) fn travel(&mut self, from: u32, to: u32, bytes: u64) -> Option<u64> {
        let link = self.net.link(from, to);
        if link.cut {
            self.count(Count::Cut);
            return None;
        }
        if 0 < link.loss_permille && self.streams.net_fault.chance(link.loss_permille) {
            self.count(Count::Lost);
            return None;
        }
        let mut leaves = self.now;
        if 0 < link.bandwidth {
            let sent_in = u128::from(bytes) * 1_000_000_000 / u128::from(link.bandwidth);
            let busy = &mut self.net.links.entry((from, to)).or_default().busy_until;
            *busy = (*busy).max(self.now).saturating_add(u64::try_from(sent_in).ok()?);
            leaves = *busy;
        }
        let jitter = self.streams.net.range(0..=nanos(link.jitter));
        Some(leaves + nanos(link.latency) + jitter)
    }

    /// Arrival of the next thing of a direction: behind the last one, unless overtaking happens.
    pub(super) fn in_order(&mut self, conn: Key, side: u8, at: u64) -> u64 {
        let Some(entry) = self.net.conns.get(conn) else { return at };
        let (from, to) = ends(entry, side);
        let link = self.net.link(from, to);
        if 0 < link.reorder_permille && self.streams.net_fault.chance(link.reorder_permille) {
            self.count(Count::Reordered);
            let late = nanos(link.latency) + nanos(link.jitter);
            return at + self.streams.net_fault.range(late..=8 * late);
        }
        let entry = self.net.conns.get_mut(conn).expect("found above");
        let direction = &mut entry.directions[usize::from(side)];
        direction.last_arrival = at.max(direction.last_arrival + 1);
        direction.last_arrival
    }

    pub(super) fn backoff(first: u64, attempt: u32) -> u64 {
        first.saturating_mul(1 << attempt.min(16))
    }

    // Segments

    pub(super) fn send_segment(&mut self, segment: Segment) {
        let Some(entry) = self.net.conns.get(segment.conn) else { return };
        let (from, to) = ends(entry, segment.side);
        let Some(at) = self.travel(from, to, segment.end - segment.start) else {
            return self.segment_lost(segment, from, to);
        };
        let at = self.in_order(segment.conn, segment.side, at);
        self.events.push(at, Event::Arrive(segment));
        let link = self.net.link(from, to);
        if 0 < link.duplicate_permille && self.streams.net_fault.chance(link.duplicate_permille) {
            self.count(Count::Duplicated);
            let late = nanos(link.latency) + nanos(link.jitter);
            let at = at + self.streams.net_fault.range(0..=4 * late);
            self.events.push(at, Event::Arrive(Segment { copy: true, ..segment }));
        }
    }

    fn segment_lost(&mut self, segment: Segment, from: u32, to: u32) {
        if segment.copy {
            return;
        }
        let Segment { conn, start, attempt, .. } = segment;
        self.record(from, Happened::Lost { conn: conn.index, to, start, attempt });
        let wait = Self::backoff(nanos(self.net.faults.retransmit_after), attempt);
        let next = Segment { attempt: attempt + 1, ..segment };
        self.events.push(self.now.saturating_add(wait), Event::Retransmit(next));
    }

    pub(super) fn retransmit(&mut self, segment: Segment) {
        let Some(entry) = self.net.conns.get(segment.conn) else { return };
        match entry.sides[usize::from(segment.side)].state {
            SideState::Open | SideState::Closed { linger: true } => {
                if self.net.faults.retransmit_max < segment.attempt {
                    self.break_side(segment.conn, segment.side, io::ErrorKind::TimedOut);
                } else {
                    self.count(Count::Retransmitted);
                    self.send_segment(segment);
                }
            }
            _ => {}
        }
    }

    pub(super) fn segment_arrives(&mut self, segment: Segment) {
        let Segment { conn, side, .. } = segment;
        let Some(entry) = self.net.conns.get(conn) else { return };
        let (from, to) = ends(entry, side);
        let receiver = 1 - side;
        let state = entry.sides[usize::from(receiver)].state;
        if self.net.link(from, to).cut {
            self.count(Count::Cut);
            return self.segment_lost(segment, from, to);
        }
        match state {
            SideState::Open | SideState::Connecting | SideState::Unborn => {
                self.segment_received(segment, from, to);
            }
            SideState::Gone if !self.node(to).powered => self.segment_lost(segment, from, to),
            // Nobody reads there any more, and the machine says so.
            SideState::Closed { .. } | SideState::Broken(_) | SideState::Gone => {
                if !self.send_reset(conn, receiver) {
                    self.segment_lost(segment, from, to);
                }
            }
        }
    }

    fn segment_received(&mut self, segment: Segment, from: u32, to: u32) {
        let Segment { conn, side, start, end, fin, .. } = segment;
        let entry = self.net.conns.get_mut(conn).expect("the caller found it");
        let direction = &mut entry.directions[usize::from(side)];
        let advanced = direction.merge(start, end);
        direction.fin_arrived |= fin;
        let ended = direction.fin_arrived && direction.fin_at == Some(direction.arrived);
        if (advanced || ended)
            && let Some(waker) = entry.sides[usize::from(1 - side)].reader.take()
        {
            waker.wake();
        }
        let conn_index = conn.index;
        if fin {
            self.record(to, Happened::Ended { conn: conn_index, from });
        } else {
            self.count(Count::Segment);
            self.record(to, Happened::Arrived { conn: conn_index, from, start, end });
        }
        self.ack_if_due(conn, side, true);
    }

    // How far the receiver is

    /// Sends word to the writer of `side`'s direction when it waits for room or, after an
    /// `arrival`, when the way back could fail: then a sender that hears nothing has to break off.
    pub(super) fn ack_if_due(&mut self, conn: Key, side: u8, arrival: bool) {
        let Some(entry) = self.net.conns.get(conn) else { return };
        let direction = &entry.directions[usize::from(side)];
        if direction.ack_under_way {
            return;
        }
        let half_full =
            u64::from(self.net.faults.window_bytes / 2) < direction.written - direction.freed;
        let back = || {
            let (from, to) = ends(entry, side);
            self.net.link(to, from)
        };
        if half_full || arrival && { back().cut || 0 < back().loss_permille } {
            self.send_ack(conn, side, 0);
        }
    }

    pub(super) fn send_ack(&mut self, conn: Key, side: u8, attempt: u32) {
        let Some(entry) = self.net.conns.get_mut(conn) else { return };
        let (from, to) = ends(entry, side);
        let sender = entry.sides[usize::from(side)].state;
        entry.directions[usize::from(side)].ack_under_way = sender.is_live();
        if !sender.is_live() || entry.sides[usize::from(1 - side)].state == SideState::Gone {
            return;
        }
        if self.net.faults.retransmit_max < attempt {
            return self.break_side(conn, side, io::ErrorKind::TimedOut);
        }
        if let Some(at) = self.travel(to, from, 0) {
            self.events.push(at, Event::Ack { conn, side });
        } else {
            let wait = Self::backoff(nanos(self.net.faults.retransmit_after), attempt);
            let at = self.now.saturating_add(wait);
            self.events.push(at, Event::AckAgain { conn, side, attempt: attempt + 1 });
        }
    }

    pub(super) fn ack_arrives(&mut self, conn: Key, side: u8) {
        let Some(entry) = self.net.conns.get_mut(conn) else { return };
        let direction = &mut entry.directions[usize::from(side)];
        direction.ack_under_way = false;
        if direction.freed < direction.read {
            direction.freed = direction.read;
            if let Some(waker) = entry.sides[usize::from(side)].writer.take() {
                waker.wake();
            }
        }
    }

    // Ends

    /// Tells the other side that this one is no more; false when the word is lost.
    pub(super) fn send_reset(&mut self, conn: Key, from_side: u8) -> bool {
        let Some(entry) = self.net.conns.get(conn) else { return true };
        let (from, to) = ends(entry, from_side);
        let Some(at) = self.travel(from, to, 0) else { return false };
        let at = self.in_order(conn, from_side, at);
        self.events.push(at, Event::Reset { conn, side: 1 - from_side });
        true
    }

    pub(super) fn reset_arrives(&mut self, conn: Key, side: u8) {
        let Some(entry) = self.net.conns.get_mut(conn) else { return };
        let (from, to) = ends(entry, 1 - side);
        if self.net.link(from, to).cut {
            return self.count(Count::Cut); // the next segment is answered by another one
        }
        // What had arrived before may be read first, or be lost with the connection.
        let discard = self.streams.net_fault.chance(500);
        let entry = self.net.conns.get_mut(conn).expect("found above");
        if discard && entry.sides[usize::from(side)].state == SideState::Open {
            let direction = &mut entry.directions[usize::from(1 - side)];
            direction.read = direction.arrived;
            direction.bytes.clear();
        }
        self.break_side(conn, side, io::ErrorKind::ConnectionReset);
    }

    /// Resets every connection between two machines, on both sides; false when there is none.
    pub(super) fn sever(&mut self, a: u32, b: u32) -> bool {
        let between = |conn: &Conn| {
            let (one, other) = (conn.sides[0].node, conn.sides[1].node);
            (one, other) == (a, b) || (one, other) == (b, a)
        };
        let severed = self.net.conns.keys(between);
        for conn in &severed {
            self.reset_arrives(*conn, 0);
            self.reset_arrives(*conn, 1);
        }
        !severed.is_empty()
    }

    pub(super) fn break_side(&mut self, conn: Key, side: u8, why: io::ErrorKind) {
        let Some(entry) = self.net.conns.get_mut(conn) else { return };
        let this = &mut entry.sides[usize::from(side)];
        let (node, was_live) = (this.node, this.state.is_live());
        match this.state {
            SideState::Open => this.state = SideState::Broken(why),
            SideState::Connecting => {
                this.state = SideState::Broken(why);
                if let Some(attempt) = entry.attempt.take() {
                    attempt.promise.set(Err(why.into()));
                }
            }
            SideState::Closed { .. } => this.state = SideState::Closed { linger: false },
            _ => {}
        }
        entry.sides[usize::from(side)].wake();
        if was_live {
            let timed_out = why == io::ErrorKind::TimedOut;
            self.count(if timed_out { Count::TimedOut } else { Count::Reset });
            self.record(node, Happened::Broken { conn: conn.index, timed_out });
        }
        self.forget_if_over(conn);
    }

    /// The owner of a side ends both directions.
    pub(super) fn close_side(&mut self, conn: Key, side: u8) {
        let Some(entry) = self.net.conns.get_mut(conn) else { return };
        let index = usize::from(side);
        if entry.sides[index].state != SideState::Open {
            return;
        }
        let node = entry.sides[index].node;
        // Unread bytes make the system answer with a reset, which may overtake their answer.
        let unread = 0 < entry.directions[1 - index].available();
        let reset = unread && self.streams.net_fault.chance(500);
        let entry = self.net.conns.get_mut(conn).expect("found above");
        entry.sides[index].state = SideState::Closed { linger: !reset };
        entry.sides[index].wake();
        let end = entry.directions[index].written;
        if reset {
            self.send_reset(conn, side);
        } else {
            entry.directions[index].fin_at = Some(end);
            let (start, fin, copy, attempt) = (end, true, false, 0);
            self.send_segment(Segment { conn, side, start, end, fin, copy, attempt });
        }
        self.record(node, Happened::Closed { conn: conn.index });
        self.forget_if_over(conn);
    }

    /// The machine of a side lost power.
    pub(super) fn lose_side(&mut self, conn: Key, side: u8) {
        let Some(entry) = self.net.conns.get_mut(conn) else { return };
        entry.sides[usize::from(side)].state = SideState::Gone;
        if usize::from(side) != SERVER {
            entry.attempt = None;
        }
        self.forget_if_over(conn);
    }

    /// A connection that neither side can use any more is forgotten with all that is under way. A
    /// broken side stays for as long as its owner may ask why.
    pub(super) fn forget_if_over(&mut self, conn: Key) {
        let in_use = |side: &Side| match side.state {
            SideState::Connecting | SideState::Open => true,
            SideState::Broken(_) => 0 < side.halves,
            _ => false,
        };
        let over = |entry: &Conn| !entry.sides.iter().any(in_use);
        if self.net.conns.get(conn).is_some_and(over) {
            self.net.conns.remove(conn);
        }
    }
}

/// Nodes of the sender and the receiver of what `side` sends.
pub(super) fn ends(conn: &Conn, side: u8) -> (u32, u32) {
    (conn.sides[usize::from(side)].node, conn.sides[usize::from(1 - side)].node)
}
