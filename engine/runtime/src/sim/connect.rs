//! How connections begin: requests, answers, listeners and their backlogs.
//!
//! A request that meets a machine without power, a cut link or a full backlog is repeated after a
//! doubling time-out until the attempt is given up. The listening side is open from the moment its
//! request arrived, so it may outlive an attempt that nobody waits for any more.

use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;
use std::io;

use super::arena::Key;
use super::env::SimEnv;
use super::fault::Count;
use super::net::{Attempt, Conn, Direction, Listening, SERVER, Side, SideState, ends};
use super::trace::Happened;
use super::world::{Event, State, nanos};

impl State {
    pub(super) fn connect(&mut self, env: &SimEnv, to: SocketAddr, attempt: Attempt) {
        let node = env.home().node;
        let ip = self.node(node).ip;
        let loopback = to.ip().is_loopback();
        let target = match to.ip() {
            _ if loopback => Some(node),
            IpAddr::V4(ip) => self.net.by_ip.get(&ip).copied(),
            IpAddr::V6(_) => None,
        };
        let port = self.free_port(node);
        let own_ip = if loopback { to.ip() } else { ip.into() };
        let due = self.node(node).clock.world_time(attempt.give_up_at);
        let client = Side::new(node, SideState::Connecting, SocketAddr::new(own_ip, port));
        // An address without a machine is a machine that never answers.
        let server = Side::new(target.unwrap_or(u32::MAX), SideState::Unborn, to);
        let conn = self.net.conns.insert(Conn {
            sides: [client, server],
            directions: [Direction::default(), Direction::default()],
            attempt: Some(Box::new(attempt)),
            loopback,
        });
        if let Some(due) = due {
            let at = due.max(self.now).saturating_add(self.timer_lateness());
            self.events.push(at, Event::GiveUp(conn));
        }
        if let Some(to) = target {
            self.record(node, Happened::Connecting { conn: conn.index, to });
            self.send_syn(conn, 0);
        }
    }

    pub(super) fn send_syn(&mut self, conn: Key, attempt: u32) {
        let Some(entry) = self.net.conns.get(conn) else { return };
        if entry.sides[0].state != SideState::Connecting {
            return;
        }
        let (from, to) = ends(entry, 0);
        match self.travel(from, to, 0) {
            Some(at) => {
                let at = self.in_order(conn, 0, at);
                self.events.push(at, Event::Syn { conn, attempt });
            }
            None => self.syn_lost(conn, attempt),
        }
    }

    fn syn_lost(&mut self, conn: Key, attempt: u32) {
        let wait = Self::backoff(nanos(self.net.faults.connect_retry_after), attempt);
        let at = self.now.saturating_add(wait);
        self.events.push(at, Event::SynAgain { conn, attempt: attempt + 1 });
    }

    pub(super) fn syn_arrives(&mut self, conn: Key, attempt: u32) {
        let Some(entry) = self.net.conns.get(conn) else { return };
        let (from, to) = ends(entry, 0);
        let (state, loopback) = (entry.sides[SERVER].state, entry.loopback);
        let port = entry.sides[SERVER].address.port();
        if self.net.link(from, to).cut || !self.node(to).powered || state == SideState::Gone {
            return self.syn_lost(conn, attempt);
        }
        if state != SideState::Unborn {
            return self.answer_syn(conn, attempt, true);
        }
        let listener = self.node(to).ports.get(&port).copied();
        let listening = listener.and_then(|key| self.net.listeners.get_mut(key));
        let Some(listening) =
            listening.filter(|listening| loopback || !listening.address.ip().is_loopback())
        else {
            return self.answer_syn(conn, attempt, false);
        };
        if self.net.faults.backlog_max <= listening.backlog.len() {
            self.count(Count::BacklogFull);
            return self.syn_lost(conn, attempt);
        }
        listening.backlog.push_back(conn);
        if let Some(waker) = listening.waker.take() {
            waker.wake();
        }
        self.net.conns.get_mut(conn).expect("found above").sides[SERVER].state = SideState::Open;
        self.answer_syn(conn, attempt, true);
    }

    fn answer_syn(&mut self, conn: Key, attempt: u32, accepted: bool) {
        let Some(entry) = self.net.conns.get(conn) else { return };
        let (from, to) = ends(entry, 1);
        match self.travel(from, to, 0) {
            Some(at) => {
                let at = self.in_order(conn, 1, at);
                self.events.push(at, Event::SynAnswer { conn, accepted });
            }
            None => self.syn_lost(conn, attempt),
        }
    }

    pub(super) fn syn_answered(&mut self, conn: Key, accepted: bool) {
        let Some(entry) = self.net.conns.get_mut(conn) else { return };
        let (from, to) = ends(entry, 1);
        if self.net.link(from, to).cut {
            return self.syn_lost(conn, 0);
        }
        let entry = self.net.conns.get_mut(conn).expect("found above");
        match entry.sides[0].state {
            SideState::Connecting => {}
            SideState::Open => return, // answered before
            _ => {
                self.send_reset(conn, 0); // given up meanwhile
                return;
            }
        }
        let attempt = entry.attempt.take().expect("a side connects for an attempt");
        if !accepted {
            self.count(Count::RefusedConnection);
            self.record(to, Happened::Refused { conn: conn.index });
            self.net.conns.remove(conn);
            return attempt.promise.set(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        entry.sides[0].state = SideState::Open;
        self.count(Count::Connection);
        self.record(to, Happened::Connected { conn: conn.index });
        if attempt.promise.is_abandoned() {
            self.close_side(conn, 0);
        } else {
            let stream = self.stream(conn, 0, &attempt.env);
            attempt.promise.set(Ok(stream));
        }
    }

    pub(super) fn give_up(&mut self, conn: Key) {
        let Some(entry) = self.net.conns.get_mut(conn) else { return };
        if entry.sides[0].state != SideState::Connecting {
            return;
        }
        let node = entry.sides[0].node;
        let give_up_at = entry.attempt.as_ref().expect("a side connects for an attempt").give_up_at;
        if self.node(node).clock.now(self.now) < give_up_at {
            if let Some(at) = self.node(node).clock.world_time(give_up_at) {
                self.events.push(at.max(self.now + 1), Event::GiveUp(conn)); // slowed since
            }
            return;
        }
        let entry = self.net.conns.get_mut(conn).expect("found above");
        entry.sides[0].state = SideState::Closed { linger: false };
        let attempt = entry.attempt.take().expect("looked at above");
        self.count(Count::TimedOut);
        self.record(node, Happened::GivenUp { conn: conn.index });
        attempt.promise.set(Err(io::ErrorKind::TimedOut.into()));
        self.forget_if_over(conn);
    }

    // Listening

    pub(super) fn free_port(&mut self, number: u32) -> u16 {
        let node = self.node_mut(number);
        loop {
            let port = node.next_port;
            node.next_port = port.checked_add(1).unwrap_or(32_768);
            if !node.ports.contains_key(&port) {
                return port;
            }
        }
    }

    pub(super) fn listen(&mut self, number: u32, address: SocketAddr) -> io::Result<Key> {
        let local = match address.ip() {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_unspecified() || ip == self.node(number).ip,
            IpAddr::V6(_) => false,
        };
        if !local {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let port = if address.port() == 0 { self.free_port(number) } else { address.port() };
        if self.node(number).ports.contains_key(&port) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let key = self.net.listeners.insert(Listening {
            address: SocketAddr::new(address.ip(), port),
            backlog: VecDeque::new(),
            waker: None,
            closed: false,
            node: number,
        });
        self.node_mut(number).ports.insert(port, key);
        Ok(key)
    }

    /// Stops listening; connections that nobody accepted are closed.
    pub(super) fn close_listener(&mut self, key: Key) {
        let Some(listening) = self.net.listeners.get_mut(key) else { return };
        if listening.closed {
            return;
        }
        listening.closed = true;
        let (node, port) = (listening.node, listening.address.port());
        let backlog = core::mem::take(&mut listening.backlog);
        if let Some(waker) = listening.waker.take() {
            waker.wake();
        }
        self.node_mut(node).ports.remove(&port);
        for conn in backlog {
            self.abort_side(conn, 1);
        }
    }

    /// Ends the side of a connection that nobody accepts, with a reset.
    pub(super) fn abort_side(&mut self, conn: Key, side: u8) {
        let Some(entry) = self.net.conns.get_mut(conn) else { return };
        let this = &mut entry.sides[usize::from(side)];
        let was_open = this.state == SideState::Open;
        this.state = SideState::Closed { linger: false };
        this.wake();
        let node = this.node;
        if was_open {
            self.send_reset(conn, side);
        }
        self.record(node, Happened::Closed { conn: conn.index });
        self.forget_if_over(conn);
    }
}
