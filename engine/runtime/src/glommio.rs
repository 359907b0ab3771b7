//! The backend on glommio 0.9: disks and sockets of the storage node.
//!
//! Owner: one executor per core; everything in here stays on its thread. glommio is used for what
//! it does well (direct I/O through io_uring, tasks, timers, TCP streams) and avoided where it was
//! measured or read to be wrong:
//!
//! - its verdict on polled I/O is probed with a file that has data (`polled`);
//! - size and alignment of block devices come from `crate::system`, not from its stat;
//! - its listener sets SO_REUSEPORT, so that a second process could silently share an address:
//!   listeners are our own (`net`);
//! - it never drops a task that waits when its executor ends, so sockets would stay open for the
//!   life of the process: tasks are registered and ended here (`core_state`);
//! - it asks the kernel for none of the newer modes of rings (`kernel`);
//! - the preemption timer stays at its default and no queue is latency sensitive: anything else
//!   can freeze the executor.
//!
//! Failure: a task that panics ends the executor and its panic leaves [`run`]. The executor is
//! leaked then, and likewise when I/O does not complete after the main function has returned:
//! the kernel may still write into its memory (S5).

use core::future::Future;
use core::net::SocketAddr;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::rc::Rc;

use ::glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use engine_types::{Instant, WallTime};

use crate::buffer::{BUFFER_ALIGN, Pool};
use crate::core_spec::{CoreEnd, CoreSpec};
use crate::env::{Env, Signal};
use crate::file::{FileError, OpenOptions};
use crate::mailbox::{self, Receiver, Sender};
use crate::stream::Stream;
use crate::system;

mod core_state;
mod disk;
mod kernel;
mod memory;
mod net;
mod polled;
mod timer;

#[cfg(test)]
mod tests;

pub use self::core_state::Join;
pub use self::disk::GlommioFile;
pub use self::memory::{GlommioMemory, GlommioSource};
pub use self::net::{GlommioCloser, GlommioListener, GlommioReader, GlommioWriter};
pub use self::timer::Sleep;
pub use crate::system::{RunError, Watched};

use self::core_state::Core;

/// glommio refuses to start when less memory may be locked.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;
/// glommio's own minimum of memory for I/O.
const IO_MEMORY_MIN: usize = 64 << 10;
/// Memory that is registered with the rings at start. Registration made no measurable difference;
/// the arena spares page faults, and beyond it buffers come from the allocator. A core that may
/// lock less goes on unregistered.
const IO_MEMORY_MAX: usize = 16 << 20;
/// Below this glommio has no room for the linked entries of a connect beside its own timers.
const RING_ENTRIES_MIN: usize = 16;

/// The environment of one glommio executor.
#[derive(Clone)]
pub struct GlommioEnv {
    core: Rc<Core>,
}

/// Runs `main` on this thread until it returns and its I/O has completed. Tasks that are left then
/// are dropped where they wait.
///
/// # Errors
/// [`RunError`], when the core cannot start or its I/O does not complete.
///
/// # Panics
/// With the panic of any of its tasks.
pub fn run<F, Fut, T>(spec: CoreSpec, main: F) -> Result<T, RunError>
where
    F: FnOnce(GlommioEnv) -> Fut,
    Fut: Future<Output = T>,
{
    let placed = system::place(spec.cpu);
    let _placed = placed.map_err(|source| RunError::Start { core: spec.name.clone(), source })?;
    execute(&spec, || (), main)
}

/// Runs a core on a thread that is in place already; `started` is called when it is up.
fn execute<F, Fut, T>(spec: &CoreSpec, started: impl FnOnce(), main: F) -> Result<T, RunError>
where
    F: FnOnce(GlommioEnv) -> Fut,
    Fut: Future<Output = T>,
{
    let executor = build(spec)?;
    let core = Core::new(spec);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        executor.run(async {
            started();
            let value = main(GlommioEnv { core: core.clone() }).await;
            core.end().await.map(|()| value)
        })
    }));
    core.stopped();
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(operations)) => {
            core::mem::forget(executor);
            let seconds = core_state::END_WAIT_MAX.as_secs();
            Err(RunError::InFlight { core: spec.name.clone(), operations, seconds })
        }
        Err(panic) => {
            core::mem::forget(executor); // its I/O is in flight and its queue is half run
            resume_unwind(panic)
        }
    }
}

fn build(spec: &CoreSpec) -> Result<LocalExecutor, RunError> {
    system::check_uring(&spec.name, MEMLOCK_BYTES_MIN)?;
    let io_memory = spec.pool_bytes.clamp(IO_MEMORY_MIN, IO_MEMORY_MAX);
    let entries = usize::try_from(spec.ring_entries).expect("32 bits fit");
    // The thread is pinned already; glommio's own placement reads all of sysfs for the same.
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .name(&spec.name)
        .io_memory(io_memory.next_multiple_of(BUFFER_ALIGN))
        .ring_depth(entries.max(RING_ENTRIES_MIN))
        .make()
        .map_err(|error| RunError::Start { core: spec.name.clone(), source: plain(error) });
    assert!(executor.is_err() || 0 < kernel::rings(), "glommio's rings are set up in `kernel`");
    executor
}

/// The system's answer, without glommio's wrapping.
fn plain(error: ::glommio::GlommioError<()>) -> io::Error {
    match error {
        ::glommio::GlommioError::EnhancedIoError { source, .. } => source,
        error => error.into(),
    }
}

impl GlommioEnv {
    /// Writes that had to be copied because their bytes were not a whole pooled buffer.
    pub fn write_copies(&self) -> u64 {
        self.core.write_copies.get()
    }
}

impl Env for GlommioEnv {
    type Memory = GlommioMemory;
    type Join<T: 'static> = Join<T>;
    type Sleep = Sleep;
    type File = GlommioFile;
    type Listener = GlommioListener;
    type Reader = GlommioReader;
    type Writer = GlommioWriter;
    type Closer = GlommioCloser;
    type Watch = Watched;

    fn now(&self) -> Instant {
        system::now()
    }

    fn wall(&self) -> WallTime {
        system::wall()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep::until(at)
    }

    fn spawn<T: 'static>(&self, task: impl Future<Output = T> + 'static) -> Join<T> {
        self.core.spawn(task)
    }

    fn pool(&self) -> &Pool<GlommioMemory> {
        &self.core.pool
    }

    fn random(&self) -> u64 {
        self.core.random.borrow_mut().next_u64()
    }

    fn random_secret(&self, bytes: &mut [u8]) {
        system::fill_secret(bytes);
    }

    fn on_core<F, M>(&self, spec: CoreSpec, main: M) -> io::Result<Join<CoreEnd>>
    where
        F: Future<Output = ()> + 'static,
        M: FnOnce(Self) -> F + Send + 'static,
    {
        let theirs = spec.clone();
        let ended =
            system::start_core(&spec, move |started| execute(&theirs, || started.report(), main))?;
        Ok(self.core.spawn(ended.wait()))
    }

    fn mailbox<T: Send + 'static>(&self, capacity: usize) -> (Sender<T>, Receiver<T>) {
        mailbox::bounded(capacity, None)
    }

    fn blocking<T, C>(&self, call: C) -> Join<T>
    where
        T: Send + 'static,
        C: FnOnce() -> T + Send + 'static,
    {
        self.core.submit(self.core.blocking.run(call))
    }

    fn watch(&self, descriptor: OwnedFd) -> io::Result<Watched> {
        self.core.watcher.watch(descriptor)
    }

    fn signals(&self) -> io::Result<Receiver<Signal>> {
        system::signals()
    }

    fn listen(&self, address: SocketAddr) -> io::Result<GlommioListener> {
        GlommioListener::bind(self.core.clone(), address)
    }

    fn connect(&self, address: SocketAddr, give_up_at: Instant) -> Join<io::Result<Stream<Self>>> {
        self.core.spawn(net::connect(address, give_up_at))
    }

    fn open(&self, path: &Path, options: OpenOptions) -> Join<Result<GlommioFile, FileError>> {
        self.core.submit(GlommioFile::open(self.core.clone(), path.to_owned(), options))
    }
}
