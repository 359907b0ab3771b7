//! TCP: listeners, connections and their halves.
//!
//! Owner: one task per half. Both halves and the closers share one descriptor; it is closed when
//! both halves are gone and the kernel has finished with it.
//!
//! Invariants
//!   E37  a half is marked busy while an operation is on its way and refuses use when it still is
//!        at the next call: the operation was dropped and nobody knows how far it came
//!   E72  a closer touches the descriptor only while a half or the listener holds it open
//!
//! monoio sends vectors with writev, which raises SIGPIPE: the Rust runtime ignores that signal,
//! and a library inside a foreign process must do the same.

use core::cell::{Cell, UnsafeCell};
use core::net::SocketAddr;
use core::ops::Range;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;

use engine_types::Instant;
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::{TcpListener, TcpStream};
use rustix::net::{Shutdown, listen as listen_again, shutdown};

use super::MonoioEnv;
use super::memory::{Drain, Fill, InFlight, Memory, Parts};
use crate::buffer::{Buf, Bytes};
use crate::stream;
use crate::wait::until;

/// Connections that may wait to be accepted; the system caps it at `net.core.somaxconn`. A node
/// that starts is connected to by every client at once.
const BACKLOG: i32 = 4096;

/// A socket that closers can end while somebody holds it open (E72).
struct Shut {
    descriptor: RawFd,
    holders: Cell<u8>,
}

impl Shut {
    fn new(descriptor: RawFd, holders: u8) -> Rc<Self> {
        Rc::new(Self { descriptor, holders: Cell::new(holders) })
    }

    fn release(&self) {
        self.holders.set(self.holders.get() - 1);
    }
}

/// Ends pending and later operations.
#[derive(Clone)]
pub struct Closer {
    shut: Rc<Shut>,
}

impl stream::Closer for Closer {
    fn close(&self) {
        if 0 < self.shut.holders.get() {
            // SAFETY: E72: a holder keeps the descriptor open during this call.
            let descriptor = unsafe { BorrowedFd::borrow_raw(self.shut.descriptor) };
            // Fails when the connection has ended already, which is what was asked for.
            let _ = shutdown(descriptor, Shutdown::Both);
        }
    }
}

/// A listening socket.
pub struct Listener {
    env: MonoioEnv,
    address: SocketAddr,
    /// Accepts without waiting.
    socket: std::net::TcpListener,
    /// A duplicate, to wait with. Waiting and accepting are two steps, because monoio loses the
    /// connection when the future of its own accept is dropped.
    waiting: TcpListener,
    shut: Rc<Shut>,
}

impl Listener {
    pub(super) fn new(env: &MonoioEnv, address: SocketAddr) -> io::Result<Self> {
        let socket = std::net::TcpListener::bind(address)?;
        listen_again(&socket, BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            env: env.clone(),
            address: socket.local_addr()?,
            waiting: TcpListener::from_std(socket.try_clone()?)?,
            shut: Shut::new(socket.as_raw_fd(), 1),
            socket,
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shut.release();
    }
}

impl stream::Listener<MonoioEnv> for Listener {
    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn accept(&mut self) -> io::Result<stream::Stream<MonoioEnv>> {
        loop {
            match self.socket.accept() {
                Ok((socket, peer)) => {
                    let local = socket.local_addr()?;
                    socket.set_nodelay(true)?;
                    socket.set_nonblocking(self.env.is_epoll())?;
                    let socket = TcpStream::from_std(socket)?;
                    return Ok(connection(&self.env, socket, peer, local));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.waiting.readable(false).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn closer(&self) -> Closer {
        Closer { shut: self.shut.clone() }
    }
}

/// Connects; gives up at `give_up_at`.
pub(super) async fn connect(
    env: MonoioEnv,
    address: SocketAddr,
    give_up_at: Instant,
) -> io::Result<stream::Stream<MonoioEnv>> {
    // Dropping the attempt is safe: the kernel copied the address, and what it holds of the
    // socket is closed when the cancelled operation completes.
    let Ok(socket) = until(&env, give_up_at, TcpStream::connect_addr(address)).await else {
        let message = format!("no connection to {address} before the deadline");
        return Err(io::Error::new(io::ErrorKind::TimedOut, message));
    };
    let socket = socket?;
    socket.set_nodelay(true)?;
    let local = socket.local_addr()?;
    Ok(connection(&env, socket, address, local))
}

fn connection(
    env: &MonoioEnv,
    socket: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
) -> stream::Stream<MonoioEnv> {
    let shut = Shut::new(socket.as_raw_fd(), 2);
    let socket = Rc::new(Socket(UnsafeCell::new(socket)));
    let half = || Half {
        socket: socket.clone(),
        shut: shut.clone(),
        busy: false,
        in_flight: env.in_flight().clone(),
    };
    stream::Stream {
        reader: Reader { half: half() },
        writer: Writer { half: half(), parts: Parts::default() },
        closer: Closer { shut },
        peer,
        local,
    }
}

/// What both halves use. monoio submits an operation and then needs the socket no more, so that
/// the exclusive references that its methods want never exist at the same time.
struct Socket(UnsafeCell<TcpStream>);

struct Half {
    socket: Rc<Socket>,
    shut: Rc<Shut>,
    /// An operation is on its way, or was dropped on its way (E37).
    busy: bool,
    in_flight: InFlight,
}

impl Half {
    fn begin(&mut self) -> io::Result<()> {
        if self.busy {
            let message = "an operation on this half was dropped before its end (E37)";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, message));
        }
        self.busy = true;
        Ok(())
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.shut.release();
    }
}

/// The receiving half.
pub struct Reader {
    half: Half,
}

impl stream::Reader<MonoioEnv> for Reader {
    async fn read(
        &mut self,
        mut buf: Buf<Memory>,
        range: Range<usize>,
    ) -> (Buf<Memory>, io::Result<usize>) {
        let half = &mut self.half;
        if let Err(error) = half.begin() {
            return (buf, Err(error));
        }
        loop {
            let fill = Fill::new(buf, range.clone(), half.in_flight.one());
            // SAFETY: see `Socket`.
            let (result, fill) = unsafe { &mut *half.socket.0.get() }.read(fill).await;
            buf = fill.buf;
            if !is_interrupted(&result) {
                half.busy = false;
                return (buf, result);
            }
        }
    }
}

/// The sending half.
pub struct Writer {
    half: Half,
    parts: Parts,
}

impl Writer {
    async fn write_one(&mut self, part: &Bytes<Memory>) -> io::Result<()> {
        let mut sent = 0;
        while sent < part.len() {
            let drain = Drain::new(part.clone(), sent, self.half.in_flight.one());
            // SAFETY: see `Socket`.
            let (result, _) = unsafe { &mut *self.half.socket.0.get() }.write(drain).await;
            sent += progress(result)?;
        }
        Ok(())
    }

    /// Sends several parts with one call. The parts travel by value, because the kernel reads the
    /// vectors; when this future is dropped, they stay with the operation.
    async fn write_parts(&mut self, parts: &[Bytes<Memory>]) -> io::Result<()> {
        let mut load = core::mem::take(&mut self.parts);
        load.load(parts, self.half.in_flight.one());
        let mut outcome = Ok(());
        while outcome.is_ok() && !load.is_sent() {
            // SAFETY: see `Socket`.
            let (result, back) = unsafe { &mut *self.half.socket.0.get() }.writev(load).await;
            load = back;
            outcome = progress(result).map(|count| load.advance(count));
        }
        load.clear();
        self.parts = load;
        outcome
    }
}

impl stream::Writer<MonoioEnv> for Writer {
    async fn write_all(&mut self, parts: &[Bytes<Memory>]) -> io::Result<()> {
        self.half.begin()?;
        let outcome = match parts {
            [part] => self.write_one(part).await,
            parts => self.write_parts(parts).await,
        };
        self.half.busy = outcome.is_err(); // some bytes may have been sent
        outcome
    }
}

fn is_interrupted<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted)
}

/// Bytes that a send took; an interrupted one took none.
fn progress(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        result if is_interrupted(&result) => Ok(0),
        result => result,
    }
}
