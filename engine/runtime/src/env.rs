//! The seam between what EmberFS does and where it runs.
//!
//! Everything above this crate is written once, generic over [`Env`]: the storage node runs it on
//! glommio, client, meta and mgmt on monoio, and simulation runs all of it in one thread under
//! virtual time. The rules below are what the conformance suite checks on every backend; code
//! above may rely on nothing else (V3).
//!
//! Rules of the seam
//!   E34  [`Env::spawn`] and every call that returns [`Env::Join`] start the work by themselves;
//!        dropping the handle detaches it. Nothing submitted is ever cancelled: a deadline cancels
//!        the waiting, not the work (V2, S5)
//!   E35  timers never fire early by [`Env::now`]; they may fire late without bound (suspend,
//!        load), so leases and deadlines are judged by reading the clock
//!   E36  completions arrive in any order; a flush covers the writes whose completion was seen
//!        before it was submitted, and no others
//!   E37  a socket may accept or deliver any part of what it was given; a stream half whose
//!        operation was dropped before its end refuses further use
//!   E38  ready tasks run in no particular order, and a task that wakes itself starves nobody
//!   E39  mailboxes are bounded and may be full at any time; what they carried to a core that has
//!        stopped is dropped
//!
//! Executors are started by the backends (`glommio::run`, `monoio::run`, the world of the
//! simulator); each hands an `Env` to one async main function and ends when that returns.

use core::future::Future;
use core::net::SocketAddr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use engine_types::{Instant, WallTime};

use crate::buffer::{Memory, Pool};
use crate::core_spec::{CoreEnd, CoreSpec};
use crate::file::{File, FileError, OpenOptions};
use crate::mailbox::{Receiver, Sender};
use crate::stream::{Closer, Listener, Reader, Stream, Writer};

/// One core of one process: its clock, tasks, memory, files and connections.
///
/// A clone is a handle to the same core. Values of `Env` never leave their core; what may cross is
/// `Send` ([`Env::on_core`], [`Env::mailbox`], [`Env::blocking`]).
pub trait Env: Clone + 'static {
    /// Memory that this environment's I/O can use without a copy.
    type Memory: Memory;
    /// The end of submitted work. Dropping it detaches the work (E34).
    type Join<T: 'static>: Future<Output = T> + Unpin + 'static;
    /// A timer; dropping it stops it.
    type Sleep: Future<Output = ()> + 'static;
    /// An open file or block device.
    type File: File<Self>;
    /// A listening TCP socket.
    type Listener: Listener<Self>;
    /// The receiving half of a connection.
    type Reader: Reader<Self>;
    /// The sending half of a connection.
    type Writer: Writer<Self>;
    /// Ends pending operations of a connection or listener from another task.
    type Closer: Closer;
    /// Readiness of a descriptor that belongs to somebody else.
    type Watch: Watch;

    /// Time on this node's monotonic clock, which counts suspend (CLOCK_BOOTTIME, R8).
    fn now(&self) -> Instant;

    /// Time of day; never used to decide order between nodes (W9).
    fn wall(&self) -> WallTime;

    /// Completes when `now()` has reached `at`, or later (E35).
    fn sleep_until(&self, at: Instant) -> Self::Sleep;

    /// Starts a task on this core (E34). A task that panics stops the process: own mistakes do.
    fn spawn<T: 'static>(&self, task: impl Future<Output = T> + 'static) -> Self::Join<T>;

    /// This core's buffers.
    fn pool(&self) -> &Pool<Self::Memory>;

    /// A pseudo-random number for jitter and sampling, from the seed of this core.
    fn random(&self) -> u64;

    /// Fills `bytes` with unpredictable bytes for nonces and keys (predictable in simulation).
    fn random_secret(&self, bytes: &mut [u8]);

    /// Starts an executor on another core of this process. `main` runs there with that core's
    /// environment; the core stops when it returns.
    ///
    /// # Errors
    /// When the thread, its ring or its memory cannot be had, or the CPU does not exist.
    fn on_core<F, M>(&self, spec: CoreSpec, main: M) -> io::Result<Self::Join<CoreEnd>>
    where
        F: Future<Output = ()> + 'static,
        M: FnOnce(Self) -> F + Send + 'static;

    /// A bounded channel between cores of this process (E39). `capacity` is at least 1.
    fn mailbox<T: Send + 'static>(&self, capacity: usize) -> (Sender<T>, Receiver<T>);

    /// Runs a call that blocks outside the executor; at most [`CoreSpec::blocking_max`] of a core
    /// run at once, further ones wait. In simulation it runs inline, at once.
    fn blocking<T, C>(&self, call: C) -> Self::Join<T>
    where
        T: Send + 'static,
        C: FnOnce() -> T + Send + 'static;

    /// Watches a foreign descriptor: an eventfd, another ring, `/dev/fuse`. The descriptor is
    /// owned; duplicate it first where it is needed elsewhere.
    ///
    /// # Errors
    /// When the descriptor cannot be polled; always `Unsupported` in simulation.
    fn watch(&self, descriptor: OwnedFd) -> io::Result<Self::Watch>;

    /// Signals that asked this process to do something, from now on. Each call gives a receiver of
    /// its own; the first call in a process takes over the default actions.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    fn signals(&self) -> io::Result<Receiver<Signal>>;

    /// Listens on `address`; port 0 picks a free one.
    ///
    /// # Errors
    /// Address in use, not local, or no permission.
    fn listen(&self, address: SocketAddr) -> io::Result<Self::Listener>;

    /// Connects to `address`. The attempt ends by `give_up_at` at about the latest; a connection
    /// that nobody waits for any more is closed.
    fn connect(
        &self,
        address: SocketAddr,
        give_up_at: Instant,
    ) -> Self::Join<io::Result<Stream<Self>>>;

    /// Opens a file or block device for direct I/O.
    fn open(&self, path: &Path, options: OpenOptions) -> Self::Join<Result<Self::File, FileError>>;
}

/// Waits until a descriptor can be read.
pub trait Watch: 'static {
    /// Completes when the descriptor is readable or has failed. Level-triggered: answers at once
    /// while it is readable. Dropping the future loses nothing.
    ///
    /// # Errors
    /// What polling answered.
    fn readable(&mut self) -> impl Future<Output = io::Result<()>>;
}

/// What a process was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: drain and stop.
    Terminate,
    /// SIGINT: stop; a person waits.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Reload,
}
