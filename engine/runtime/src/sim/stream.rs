//! What a node holds of its connections: halves, listeners, closers.

use core::future::poll_fn;
use core::net::SocketAddr;
use core::ops::Range;
use core::task::{Context, Poll};
use std::io;

use engine_types::crc32c;

use super::arena::Key;
use super::env::{Memory, SimEnv};
use super::fault::Count;
use super::net::{Segment, SideState};
use super::trace::Happened;
use super::world::State;
use crate::buffer::{Buf, Bytes};
use crate::stream::{Closer, Listener, Reader, Stream, Writer};
use crate::wait::yield_now;

/// Receives on a simulated connection. The connection closes when both halves are dropped.
pub struct SimReader {
    half: Half,
}

/// Sends on a simulated connection. The connection closes when both halves are dropped.
pub struct SimWriter {
    half: Half,
}

struct Half {
    env: SimEnv,
    conn: Key,
    side: u8,
    /// An operation has begun and not ended: if its future was dropped, so it stays (E37).
    busy: bool,
}

impl Half {
    fn new(env: &SimEnv, conn: Key, side: u8) -> Self {
        Self { env: env.clone(), conn, side, busy: false }
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.busy {
            let message = "an operation of this half was dropped before its end";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, message));
        }
        self.busy = true;
        Ok(())
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.env.state().half_dropped(self.conn, self.side);
    }
}

/// Ends a simulated connection or listener.
#[derive(Clone)]
pub struct SimCloser {
    env: SimEnv,
    target: Target,
}

#[derive(Clone, Copy)]
enum Target {
    Side(Key, u8),
    Listener(Key),
}

impl Closer for SimCloser {
    fn close(&self) {
        let mut state = self.env.state();
        match self.target {
            Target::Side(conn, side) => state.close_side(conn, side),
            Target::Listener(key) => state.close_listener(key),
        }
    }
}

/// A simulated listening socket.
pub struct SimListener {
    env: SimEnv,
    key: Key,
    address: SocketAddr,
}

impl SimListener {
    pub(super) fn new(env: &SimEnv, address: SocketAddr) -> io::Result<Self> {
        let mut state = env.state();
        let key = state.listen(env.home().node, address)?;
        let address = state.net.listeners.get(key).expect("made above").address;
        drop(state);
        Ok(Self { env: env.clone(), key, address })
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut state = self.env.state();
        state.close_listener(self.key);
        state.net.listeners.remove(self.key);
    }
}

impl Listener<SimEnv> for SimListener {
    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn accept(&mut self) -> io::Result<Stream<SimEnv>> {
        poll_fn(|cx| self.env.state().poll_accept(self.key, &self.env, cx)).await
    }

    fn closer(&self) -> SimCloser {
        SimCloser { env: self.env.clone(), target: Target::Listener(self.key) }
    }
}

impl Reader<SimEnv> for SimReader {
    async fn read(
        &mut self,
        mut buf: Buf<Memory>,
        range: Range<usize>,
    ) -> (Buf<Memory>, io::Result<usize>) {
        assert!(!range.is_empty(), "an empty range to read into");
        if let Err(error) = self.half.begin() {
            return (buf, Err(error));
        }
        let half = &self.half;
        let into = &mut buf.whole_mut()[range];
        let result = poll_fn(|cx| half.env.state().poll_read(half.conn, half.side, into, cx)).await;
        self.half.busy = false;
        (buf, result)
    }
}

impl Writer<SimEnv> for SimWriter {
    async fn write_all(&mut self, parts: &[Bytes<Memory>]) -> io::Result<()> {
        self.half.begin()?;
        let half = &self.half;
        for part in parts {
            let mut rest: &[u8] = part;
            while !rest.is_empty() {
                let poll = |cx: &mut Context<'_>| {
                    half.env.state().poll_write(half.conn, half.side, rest, cx)
                };
                let taken = poll_fn(poll).await?; // stays busy: unusable after an error
                rest = &rest[taken..];
                if !rest.is_empty() {
                    yield_now().await; // others run between two pieces
                }
            }
        }
        self.half.busy = false;
        Ok(())
    }
}

impl State {
    /// Both halves of a side, for its owner.
    pub(super) fn stream(&self, conn: Key, side: u8, env: &SimEnv) -> Stream<SimEnv> {
        let entry = self.net.conns.get(conn).expect("the caller found it");
        Stream {
            reader: SimReader { half: Half::new(env, conn, side) },
            writer: SimWriter { half: Half::new(env, conn, side) },
            closer: SimCloser { env: env.clone(), target: Target::Side(conn, side) },
            peer: entry.sides[usize::from(1 - side)].address,
            local: entry.sides[usize::from(side)].address,
        }
    }

    fn half_dropped(&mut self, conn: Key, side: u8) {
        let Some(entry) = self.net.conns.get_mut(conn) else { return };
        let side_entry = &mut entry.sides[usize::from(side)];
        side_entry.halves -= 1;
        if side_entry.halves == 0 {
            self.close_side(conn, side);
            self.forget_if_over(conn);
        }
    }

    fn poll_accept(
        &mut self,
        key: Key,
        env: &SimEnv,
        cx: &Context<'_>,
    ) -> Poll<io::Result<Stream<SimEnv>>> {
        let Some(listening) = self.net.listeners.get_mut(key).filter(|listening| !listening.closed)
        else {
            let message = "the listener is closed";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidInput, message)));
        };
        let Some(conn) = listening.backlog.pop_front() else {
            listening.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let node = listening.node;
        let abort = self.net.faults.accept_abort_permille;
        if 0 < abort && self.streams.net_fault.chance(abort) {
            self.abort_side(conn, 1);
        }
        let is_open = |state| state == SideState::Open;
        if !self.net.conns.get(conn).is_some_and(|entry| is_open(entry.sides[1].state)) {
            self.abort_side(conn, 1);
            self.count(Count::AcceptAborted);
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        self.record(node, Happened::Accepted { conn: conn.index });
        Poll::Ready(Ok(self.stream(conn, 1, env)))
    }

    fn poll_read(
        &mut self,
        conn: Key,
        side: u8,
        into: &mut [u8],
        cx: &Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let index = usize::from(side);
        let closed = |random: bool| {
            Poll::Ready(if random { Ok(0) } else { Err(io::ErrorKind::NotConnected.into()) })
        };
        let Some(entry) = self.net.conns.get_mut(conn) else {
            return closed(self.streams.net_fault.chance(500));
        };
        let direction = &mut entry.directions[1 - index];
        let available = direction.available();
        match entry.sides[index].state {
            SideState::Open => {
                if available == 0 && direction.is_at_end() {
                    return Poll::Ready(Ok(0));
                }
            }
            SideState::Broken(_) if 0 < available => {}
            SideState::Broken(why) => return Poll::Ready(Err(why.into())),
            _ => return closed(self.streams.net_fault.chance(500)),
        }
        if available == 0 {
            entry.sides[index].reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let most = available.min(into.len() as u64);
        let len = self.partial(most);
        let entry = self.net.conns.get_mut(conn).expect("found above");
        let node = entry.sides[index].node;
        let direction = &mut entry.directions[1 - index];
        let start = direction.read;
        let count = usize::try_from(len).expect("at most the length of a slice");
        take_front(&mut direction.bytes, &mut into[..count]);
        direction.read += len;
        self.record(node, Happened::Received { conn: conn.index, start, len });
        self.ack_if_due(conn, 1 - side, false);
        Poll::Ready(Ok(count))
    }

    fn poll_write(
        &mut self,
        conn: Key,
        side: u8,
        from: &[u8],
        cx: &Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let index = usize::from(side);
        let window = u64::from(self.net.faults.window_bytes.max(1));
        let Some(entry) = self.net.conns.get_mut(conn) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        match entry.sides[index].state {
            SideState::Open => {}
            SideState::Broken(why) => return Poll::Ready(Err(why.into())),
            _ => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
        let direction = &entry.directions[index];
        let room = window.saturating_sub(direction.written - direction.freed); // E48
        if room == 0 {
            entry.sides[index].writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = self.partial(room.min(from.len() as u64));
        let from = &from[..usize::try_from(len).expect("at most the length of a slice")];
        let entry = self.net.conns.get_mut(conn).expect("found above");
        let (node, to) = (entry.sides[index].node, entry.sides[1 - index].node);
        let direction = &mut entry.directions[index];
        let first = direction.written;
        direction.bytes.extend(from);
        direction.written += len;
        let crc = crc32c(from).get();
        self.report.bump(Count::SentByte, len);
        self.record(node, Happened::Sent { conn: conn.index, to, start: first, len, crc });
        let longest = u64::from(self.net.faults.segment_bytes.max(1));
        let mut start = first;
        while start < first + len {
            let end = (first + len).min(start + longest);
            let (fin, copy, attempt) = (false, false, 0);
            self.send_segment(Segment { conn, side, start, end, fin, copy, attempt });
            start = end;
        }
        Poll::Ready(Ok(from.len()))
    }

    /// All of `most` bytes, or now and then only some.
    fn partial(&mut self, most: u64) -> u64 {
        let permille = self.net.faults.partial_permille;
        if most <= 1 || permille == 0 || !self.streams.net.chance(permille) {
            return most;
        }
        self.count(Count::Partial);
        self.streams.net.range(1..=most)
    }
}

/// Moves the first bytes of a queue out of it.
fn take_front(from: &mut std::collections::VecDeque<u8>, into: &mut [u8]) {
    let (first, second) = from.as_slices();
    let split = first.len().min(into.len());
    into[..split].copy_from_slice(&first[..split]);
    let rest = into.len() - split;
    into[split..].copy_from_slice(&second[..rest]);
    from.drain(..into.len());
}

#[cfg(test)]
mod tests;
