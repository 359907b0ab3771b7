//! The backend on monoio: client, meta and manager, and storage where io_uring is forbidden.
//!
//! monoio drives the ring (or epoll) and the sockets. Tasks and timers are our own, for the
//! reasons given in [`executor`] and [`timers`]: monoio 0.2.4 starves every task when one wakes
//! itself, rounds timers to milliseconds, and frees the memory of operations that are still in
//! flight when its runtime ends.
//!
//! Owner: one thread per core. The whole core is one task of monoio, which polls ready tasks and
//! returns to the driver.
//!
//! Rules: E34–E39 of [`crate::env`], E70 of [`executor`], E71 of [`timers`], E72 of [`net`].
//!
//! End: when main returns, tasks of roles are dropped, and files, blocking calls and everything
//! the kernel still refers to are waited for, at most [`DRAIN`]. What is then still in flight is
//! leaked and reported, because the kernel may write into it.
//!
//! Failure: a panic of any task ends the core and continues in the caller of [`run`].

use core::cell::RefCell;
use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::path::Path;
use std::rc::Rc;

use ::monoio::{FusionRuntime, IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};
use engine_types::{Instant, Rng, WallTime};
use io_uring::IoUring;

mod executor;
mod file;
mod memory;
mod net;
mod timers;
mod watch;

#[cfg(test)]
mod tests;

pub use executor::Join;
pub use file::File;
pub use memory::Memory;
pub use net::{Closer, Listener, Reader, Writer};
pub use timers::Sleep;
pub use watch::Watch;

use crate::buffer::Pool;
use crate::core_spec::{CoreEnd, CoreSpec};
use crate::env::{Env, Signal};
use crate::file::{FileError, OpenOptions};
use crate::mailbox::{self, Receiver, Sender};
use crate::stream::Stream;
use crate::system::{self, Blocking, RunError};
use executor::{Executor, Kind};
use memory::InFlight;
use timers::Timers;

/// How long a core that has finished waits for I/O in flight: a healthy disk or network answers
/// or is cancelled within milliseconds, a sick one gets as long as an operator waits.
const DRAIN: Duration = Duration::from_secs(10);

/// How a core talks to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// io_uring where the kernel allows it, else epoll.
    #[default]
    Auto,
    /// io_uring, or an error that says what forbids it.
    Uring,
    /// epoll, and files through blocking calls (V7).
    Legacy,
}

/// Runs a core on this thread until `main` returns.
///
/// # Errors
/// When the core cannot start, or I/O is still in flight long after its end.
pub fn run<T, F, M>(spec: CoreSpec, main: M) -> Result<T, RunError>
where
    T: 'static,
    F: Future<Output = T> + 'static,
    M: FnOnce(MonoioEnv) -> F + 'static,
{
    run_on(Driver::Auto, spec, main)
}

/// Like [`run`], with a choice of driver. Cores that this one starts use the same.
///
/// # Errors
/// Those of [`run`].
pub fn run_on<T, F, M>(driver: Driver, spec: CoreSpec, main: M) -> Result<T, RunError>
where
    T: 'static,
    F: Future<Output = T> + 'static,
    M: FnOnce(MonoioEnv) -> F + 'static,
{
    let placed = system::place(spec.cpu);
    let _placed = placed.map_err(|source| start_error(&spec, source))?;
    run_here(driver, spec, main, || ())
}

fn start_error(spec: &CoreSpec, source: io::Error) -> RunError {
    RunError::Start { core: spec.name.clone(), source }
}

/// Runs a core on this thread, which has its place. `started` is called when `main` is about to
/// run.
fn run_here<T, F, M>(
    driver: Driver,
    spec: CoreSpec,
    main: M,
    started: impl FnOnce() + 'static,
) -> Result<T, RunError>
where
    T: 'static,
    F: Future<Output = T> + 'static,
    M: FnOnce(MonoioEnv) -> F + 'static,
{
    let driver = choose(driver, &spec)?;
    let mut runtime = runtime(driver, &spec).map_err(|source| start_error(&spec, source))?;
    let timers = Timers::new().map_err(|source| start_error(&spec, source))?;
    let core = Rc::new(Core {
        executor: Executor::enter(),
        timers: Rc::new(timers),
        pool: Pool::new(system::next_pool_id(), (), spec.pool_bytes),
        rng: RefCell::new(system::rng(spec.seed)),
        blocking: Blocking::new(spec.blocking_max),
        in_flight: InFlight::default(),
        driver,
    });
    let answer = Rc::new(RefCell::new(None));
    let (env, store) = (MonoioEnv { core: core.clone() }, answer.clone());
    let main = async move {
        started();
        let output = main(env).await;
        *store.borrow_mut() = Some(output);
    };
    let outcome = runtime.block_on(core.drive(main, || answer.borrow().is_some()));
    core.executor.leave();
    match outcome {
        Ok(0) => drop(runtime),
        _ => core::mem::forget(runtime), // it owns the memory of what is in flight
    }
    if let Some(payload) = core.executor.take_panic() {
        resume_unwind(payload);
    }
    match outcome.map_err(|source| start_error(&spec, source))? {
        0 => Ok(answer.take().expect("a core without a panic ends when its main has answered")),
        operations => {
            Err(RunError::InFlight { core: spec.name, operations, seconds: DRAIN.as_secs() })
        }
    }
}

fn choose(driver: Driver, spec: &CoreSpec) -> Result<Driver, RunError> {
    if driver == Driver::Legacy {
        return Ok(driver);
    }
    match system::check_uring(&spec.name, 0) {
        Ok(()) => Ok(Driver::Uring),
        Err(refused) if driver == Driver::Auto => {
            tracing::warn!(core = spec.name, %refused, "falling back to epoll");
            Ok(Driver::Legacy)
        }
        Err(refused) => Err(refused),
    }
}

fn runtime(
    driver: Driver,
    spec: &CoreSpec,
) -> io::Result<FusionRuntime<IoUringDriver, LegacyDriver>> {
    let entries = spec.ring_entries;
    Ok(if driver == Driver::Uring {
        on_uring(entries)?.into()
    } else {
        RuntimeBuilder::<LegacyDriver>::new().with_entries(entries).build()?.into()
    })
}

/// Completions do not interrupt the core: it sees them when it enters the kernel next, as it does
/// in each turn (`IORING_SETUP_COOP_TASKRUN`). Kernels before 5.19 do not know the flag.
fn on_uring(entries: u32) -> io::Result<Runtime<IoUringDriver>> {
    let build = |ring: &io_uring::Builder| {
        let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(entries);
        builder.uring_builder(ring.clone()).build()
    };
    let mut ring = IoUring::builder();
    match build(ring.setup_coop_taskrun()) {
        Err(unknown) if unknown.raw_os_error() == Some(libc::EINVAL) => build(&IoUring::builder()),
        built => built,
    }
}

struct Core {
    executor: Rc<Executor>,
    timers: Rc<Timers>,
    pool: Pool<Memory>,
    rng: RefCell<Rng>,
    blocking: Blocking,
    in_flight: InFlight,
    driver: Driver,
}

impl Core {
    /// Runs `main` and every other task until `answered` or a panic, then ends the core. Answers
    /// the number of operations that would not end; an error means that nothing has run.
    async fn drive(
        &self,
        main: impl Future<Output = ()> + 'static,
        answered: impl Fn() -> bool,
    ) -> io::Result<usize> {
        let mut alarm = pin!(self.timers.hear(self.timers.watch()?));
        drop(self.executor.spawn(Kind::Role, main));
        let ended = || answered() || self.executor.has_panicked();
        poll_fn(|cx| self.poll(cx, alarm.as_mut(), ended)).await;

        self.executor.stop();
        let give_up_at = system::now().saturating_add(DRAIN);
        let _give_up = self.timers.alarm_at(give_up_at);
        let drained = || self.unfinished() == 0 || give_up_at <= system::now();
        poll_fn(|cx| {
            self.in_flight.wake_when_none(cx.waker());
            self.poll(cx, alarm.as_mut(), drained)
        })
        .await;
        Ok(self.unfinished())
    }

    /// One turn: alarms, timers, tasks.
    fn poll(
        &self,
        cx: &mut Context<'_>,
        alarm: Pin<&mut impl Future<Output = io::Error>>,
        ended: impl Fn() -> bool,
    ) -> Poll<()> {
        if let Poll::Ready(error) = alarm.poll(cx) {
            panic!("the driver no longer polls the timerfd: {error}");
        }
        self.timers.fire();
        self.executor.turn(cx);
        self.timers.arm();
        if ended() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Tasks of any kind count after the end, because those of roles are about to be dropped.
    fn unfinished(&self) -> usize {
        self.executor.live() + self.in_flight.count()
    }
}

/// One core on monoio.
#[derive(Clone)]
pub struct MonoioEnv {
    core: Rc<Core>,
}

impl MonoioEnv {
    fn in_flight(&self) -> &InFlight {
        &self.core.in_flight
    }

    fn memory(&self) -> &Pool<Memory> {
        &self.core.pool
    }

    fn driver(&self) -> Driver {
        self.core.driver
    }

    fn is_epoll(&self) -> bool {
        self.core.driver == Driver::Legacy
    }

    fn spawn_kind<T: 'static>(
        &self,
        kind: Kind,
        task: impl Future<Output = T> + 'static,
    ) -> Join<T> {
        self.core.executor.spawn(kind, task)
    }

    /// Hands `call` to the blocking threads at once.
    fn call<T, C>(&self, call: C) -> impl Future<Output = T> + use<T, C>
    where
        T: Send + 'static,
        C: FnOnce() -> T + Send + 'static,
    {
        self.core.blocking.run(call)
    }
}

impl Env for MonoioEnv {
    type Memory = Memory;
    type Join<T: 'static> = Join<T>;
    type Sleep = Sleep;
    type File = File;
    type Listener = Listener;
    type Reader = Reader;
    type Writer = Writer;
    type Closer = Closer;
    type Watch = Watch;

    fn now(&self) -> Instant {
        system::now()
    }

    fn wall(&self) -> WallTime {
        system::wall()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        self.core.timers.sleep_until(at)
    }

    fn spawn<T: 'static>(&self, task: impl Future<Output = T> + 'static) -> Join<T> {
        self.spawn_kind(Kind::Role, task)
    }

    fn pool(&self) -> &Pool<Memory> {
        self.memory()
    }

    fn random(&self) -> u64 {
        self.core.rng.borrow_mut().next_u64()
    }

    fn random_secret(&self, bytes: &mut [u8]) {
        system::fill_secret(bytes);
    }

    fn on_core<F, M>(&self, spec: CoreSpec, main: M) -> io::Result<Join<CoreEnd>>
    where
        F: Future<Output = ()> + 'static,
        M: FnOnce(Self) -> F + Send + 'static,
    {
        let driver = self.core.driver;
        let inner = spec.clone();
        let end = system::start_core(&spec, move |started| {
            run_here(driver, inner, main, || started.report())
        })?;
        Ok(self.spawn(end.wait()))
    }

    fn mailbox<T: Send + 'static>(&self, capacity: usize) -> (Sender<T>, Receiver<T>) {
        mailbox::bounded(capacity, None)
    }

    fn blocking<T, C>(&self, call: C) -> Join<T>
    where
        T: Send + 'static,
        C: FnOnce() -> T + Send + 'static,
    {
        self.spawn_kind(Kind::Io, self.call(call))
    }

    fn watch(&self, descriptor: OwnedFd) -> io::Result<Watch> {
        Watch::new(descriptor)
    }

    fn signals(&self) -> io::Result<Receiver<Signal>> {
        system::signals()
    }

    fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
        Listener::new(self, address)
    }

    fn connect(&self, address: SocketAddr, give_up_at: Instant) -> Join<io::Result<Stream<Self>>> {
        self.spawn(net::connect(self.clone(), address, give_up_at))
    }

    fn open(&self, path: &Path, options: OpenOptions) -> Join<Result<File, FileError>> {
        self.spawn_kind(Kind::Io, file::open(self.clone(), path.to_owned(), options))
    }
}
