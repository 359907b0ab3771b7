//! TCP connections.
//!
//! Both halves share one stream of glommio and borrow it inside a poll only. Reads go into the
//! caller's buffer by non-blocking recv; sends try one non-blocking sendmsg over all parts, for
//! which glommio has no call, and wait through glommio when the socket is full. So the kernel
//! never holds memory of ours beyond a call.
//!
//! The listener is our own, waited for by the watcher thread: glommio's sets SO_REUSEPORT (an
//! address in use would not be noticed) and a backlog of 128, and its pending accept cannot be
//! dropped without losing a connection.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::net::SocketAddr;
use core::ops::Range;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io::{self, IoSlice};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::rc::{Rc, Weak};

use ::glommio::net::TcpStream;
use ::glommio::timer::Timer;
use engine_types::Instant;
use futures_lite::io::{AsyncRead, AsyncWrite};
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown, sendmsg, shutdown};

use super::core_state::Core;
use super::memory::GlommioMemory;
use super::{GlommioEnv, plain};
use crate::buffer::{Buf, Bytes};
use crate::env::Watch;
use crate::stream::{Closer, Listener, Reader, Stream, Writer};
use crate::system::{self, Watched};

/// Connections that may wait to be accepted: all clients of a node that restarts come back at once.
/// The kernel caps it at net.core.somaxconn (4096).
const BACKLOG: i32 = 4096;
/// Longest single attempt; TCP itself gives up after about two minutes.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(600);
/// Parts of one sendmsg; a frame has a handful, and a longer list goes in several calls.
const SEND_PARTS_MAX: usize = 64;
/// After this many operations that did not have to wait, a half waits once. glommio looks at its
/// rings only when no task is ready, so a connection that always has data would starve the disks.
const READY_IN_A_ROW_MAX: u32 = 256;

type Part = Bytes<GlommioMemory>;

/// A connection; the halves own it, closers only know it.
struct Connection {
    stream: RefCell<TcpStream>,
}

impl Connection {
    fn shut_down(&self) {
        let stream = self.stream.borrow();
        // SAFETY: the stream owns the descriptor and lives through the call.
        let descriptor = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
        let _ = shutdown(descriptor, Shutdown::Both); // not connected any more: nothing to end
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A poll in the ring holds the socket open beyond its descriptor; the peer is told now.
        self.shut_down();
    }
}

fn split(stream: TcpStream) -> io::Result<Stream<GlommioEnv>> {
    stream.set_nodelay(true).map_err(plain)?;
    let (peer, local) = (stream.peer_addr().map_err(plain)?, stream.local_addr().map_err(plain)?);
    let connection = Rc::new(Connection { stream: RefCell::new(stream) });
    Ok(Stream {
        closer: GlommioCloser(Target::Connection(Rc::downgrade(&connection))),
        reader: GlommioReader { connection: connection.clone(), half: Half::default() },
        writer: GlommioWriter { connection, half: Half::default() },
        peer,
        local,
    })
}

pub(super) async fn connect(
    address: SocketAddr,
    give_up_at: Instant,
) -> io::Result<Stream<GlommioEnv>> {
    let left = give_up_at.saturating_since(system::now());
    if left.is_zero() {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "no time left to connect"));
    }
    let stream = TcpStream::connect_timeout(address, left.min(CONNECT_WAIT_MAX)).await;
    split(stream.map_err(plain)?)
}

/// A listening socket.
pub struct GlommioListener {
    listener: Rc<TcpListener>,
    watched: Watched,
    address: SocketAddr,
}

impl GlommioListener {
    #[expect(clippy::needless_pass_by_value, reason = "symmetric with the other constructors")]
    pub(super) fn bind(core: Rc<Core>, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?; // close-on-exec, SO_REUSEADDR
        listener.set_nonblocking(true)?;
        rustix::net::listen(&listener, BACKLOG)?; // again, because std asks for 128
        let address = listener.local_addr()?;
        let watched = core.watcher.watch(listener.try_clone()?.into())?;
        Ok(Self { listener: Rc::new(listener), watched, address })
    }
}

impl Listener<GlommioEnv> for GlommioListener {
    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn accept(&mut self) -> io::Result<Stream<GlommioEnv>> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    // SAFETY: the descriptor was just given up by its former owner.
                    return split(unsafe { TcpStream::from_raw_fd(stream.into_raw_fd()) });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.watched.readable().await?;
                }
                Err(error) => return Err(error), // closed: the kernel says EINVAL from now on
            }
        }
    }

    fn closer(&self) -> GlommioCloser {
        GlommioCloser(Target::Listener(Rc::downgrade(&self.listener)))
    }
}

/// Ends a connection or a listener; does not keep it open.
#[derive(Clone)]
pub struct GlommioCloser(Target);

#[derive(Clone)]
enum Target {
    Connection(Weak<Connection>),
    Listener(Weak<TcpListener>),
}

impl Closer for GlommioCloser {
    fn close(&self) {
        match &self.0 {
            Target::Connection(connection) => {
                if let Some(connection) = connection.upgrade() {
                    connection.shut_down();
                }
            }
            Target::Listener(listener) => {
                if let Some(listener) = listener.upgrade() {
                    // A second time it listens no more: nothing to end.
                    let _ = shutdown(&*listener, Shutdown::Both);
                }
            }
        }
    }
}

/// What both halves keep about themselves.
#[derive(Default)]
struct Half {
    /// An operation runs; true at the start of the next one says that it was dropped (E37).
    busy: Cell<bool>,
    ready_in_a_row: Cell<u32>,
}

impl Half {
    fn start(&self) -> io::Result<()> {
        if self.busy.replace(true) {
            let message = "an operation on this half failed or was dropped before its end";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, message));
        }
        Ok(())
    }

    fn end(&self) {
        self.busy.set(false);
    }

    /// Polls `operation`, counting how often it did not have to wait.
    fn poll<T>(&self, operation: Poll<T>) -> Poll<T> {
        let in_a_row = if operation.is_ready() { self.ready_in_a_row.get() + 1 } else { 0 };
        self.ready_in_a_row.set(in_a_row);
        operation
    }

    /// Lets the executor look at its rings, if that is due.
    async fn give_way(&self) {
        if READY_IN_A_ROW_MAX <= self.ready_in_a_row.get() {
            self.ready_in_a_row.set(0);
            Timer::new(Duration::from_micros(1)).await;
        }
    }
}

/// The receiving half.
pub struct GlommioReader {
    connection: Rc<Connection>,
    half: Half,
}

impl Reader<GlommioEnv> for GlommioReader {
    async fn read(
        &mut self,
        mut buf: Buf<GlommioMemory>,
        range: Range<usize>,
    ) -> (Buf<GlommioMemory>, io::Result<usize>) {
        let capacity = buf.capacity();
        assert!(
            range.start < range.end && range.end <= capacity,
            "read into {range:?} of {capacity} bytes"
        );
        if let Err(error) = self.half.start() {
            return (buf, Err(error));
        }
        self.half.give_way().await;
        let answer = poll_fn(|cx| {
            let mut stream = self.connection.stream.borrow_mut();
            let memory = &mut buf.whole_mut()[range.clone()];
            self.half.poll(Pin::new(&mut *stream).poll_read(cx, memory))
        })
        .await;
        self.half.end();
        (buf, answer)
    }
}

/// The sending half.
pub struct GlommioWriter {
    connection: Rc<Connection>,
    half: Half,
}

impl Writer<GlommioEnv> for GlommioWriter {
    async fn write_all(&mut self, parts: &[Part]) -> io::Result<()> {
        self.half.start()?;
        self.half.give_way().await;
        let mut unsent = Unsent { parts, offset: 0 };
        unsent.skip(0);
        while !unsent.parts.is_empty() {
            let sent = poll_fn(|cx| {
                let mut stream = self.connection.stream.borrow_mut();
                self.half.poll(unsent.poll_send(&mut stream, cx))
            })
            .await?; // busy stays set: after an error the stream is unusable
            unsent.skip(sent);
        }
        self.half.end();
        Ok(())
    }
}

/// What is left of the parts of one send.
struct Unsent<'a> {
    parts: &'a [Part],
    /// Bytes of the first part that were sent.
    offset: usize,
}

impl Unsent<'_> {
    /// Leaves out `sent` bytes, and empty parts.
    fn skip(&mut self, sent: usize) {
        self.offset += sent;
        while let Some(part) = self.parts.first()
            && part.len() <= self.offset
        {
            self.offset -= part.len();
            self.parts = &self.parts[1..];
        }
        assert!(!self.parts.is_empty() || self.offset == 0, "the kernel took more than there was");
    }

    fn poll_send(&self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self.try_send(stream) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Sends the first part alone should room have appeared; else registers the wish.
                let first = &self.parts[0][self.offset..];
                let sent = ready!(Pin::new(stream).poll_write(cx, first));
                Poll::Ready(sent.and_then(some))
            }
            answer => Poll::Ready(answer.and_then(some)),
        }
    }

    fn try_send(&self, stream: &TcpStream) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SEND_PARTS_MAX];
        let count = self.parts.len().min(SEND_PARTS_MAX);
        for (slice, part) in slices.iter_mut().zip(self.parts) {
            *slice = IoSlice::new(part);
        }
        slices[0] = IoSlice::new(&self.parts[0][self.offset..]);
        // SAFETY: the stream owns the descriptor and lives through the call.
        let descriptor = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let mut no_control = SendAncillaryBuffer::default();
        let send = || sendmsg(descriptor, &slices[..count], &mut no_control, flags);
        Ok(rustix::io::retry_on_intr(send)?)
    }
}

/// A send of some bytes that takes none would loop for ever.
fn some(sent: usize) -> io::Result<usize> {
    if sent == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(sent) }
}
