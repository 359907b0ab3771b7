//! Connections: ordered byte streams between two nodes, split into halves that two tasks own.
//!
//! One task reads, one task writes (V2). A pending operation is ended by [`Closer::close`], never
//! by dropping its future: a half whose operation was dropped answers `BrokenPipe` from then on,
//! because nobody knows how much of it happened (E37).
//!
//! There is no half-close. A connection ends when both halves are dropped or by its closer;
//! dropping only the writer sends no end of stream, and dropping only the reader refuses nothing.

use core::future::Future;
use core::net::SocketAddr;
use core::ops::Range;
use std::io;

use crate::buffer::{Buf, Bytes};
use crate::env::Env;

/// A connection with both its halves.
pub struct Stream<E: Env> {
    /// Receives.
    pub reader: E::Reader,
    /// Sends.
    pub writer: E::Writer,
    /// Ends both directions from any task of this core.
    pub closer: E::Closer,
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
}

/// Accepts connections.
pub trait Listener<E: Env>: 'static {
    /// The address that is listened on, with the port that was picked.
    fn address(&self) -> SocketAddr;

    /// Waits for the next connection.
    ///
    /// # Errors
    /// `ConnectionAborted` and its like concern one connection and the caller goes on; any error
    /// after [`Closer::close`] is final.
    fn accept(&mut self) -> impl Future<Output = io::Result<Stream<E>>>;

    /// Ends a pending accept.
    fn closer(&self) -> E::Closer;
}

/// The receiving half.
pub trait Reader<E: Env>: 'static {
    /// Reads at least one byte into `range` of the buffer's memory and gives the buffer back with
    /// the count; 0 means that the peer sends no more. The buffer's length stays as it was.
    ///
    /// # Panics
    /// When the range is empty or exceeds the capacity.
    fn read(
        &mut self,
        buf: Buf<E::Memory>,
        range: Range<usize>,
    ) -> impl Future<Output = (Buf<E::Memory>, io::Result<usize>)>;
}

/// The sending half.
pub trait Writer<E: Env>: 'static {
    /// Sends all parts in order. `Ok` means that the kernel has taken them, not that the peer has.
    ///
    /// # Errors
    /// After an error the stream is unusable: some bytes may have been sent.
    fn write_all(&mut self, parts: &[Bytes<E::Memory>]) -> impl Future<Output = io::Result<()>>;
}

/// Ends pending and later operations of a connection or a listener.
pub trait Closer: Clone + 'static {
    /// Shuts both directions down. Reads answer 0 or an error, writes an error. Idempotent.
    fn close(&self);
}
