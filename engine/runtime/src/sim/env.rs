//! What a node's code holds of its world.

use core::cell::{RefCell, RefMut};
use core::future::Future;
use core::net::SocketAddr;
use core::panic::Location;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use engine_types::{CoreId, Instant, NodeId, Rng, WallTime};

use super::arena::Key;
use super::file::SimFile;
use super::join::{Join, promise};
use super::net::Attempt;
use super::scheduler::{Home, Role};
use super::stream::{SimCloser, SimListener, SimReader, SimWriter};
use super::trace::Happened;
use super::world::{Core, State, World};
use crate::buffer::{Aligned, Pool};
use crate::core_spec::{CoreEnd, CoreSpec};
use crate::env::{Env, Signal, Watch};
use crate::file::{FileError, OpenOptions};
use crate::mailbox::{self, Receiver, Sender};
use crate::stream::Stream;

/// Memory of simulated I/O; what comes back to its pool is overwritten.
pub(super) type Memory = Aligned<true>;

/// Signals that wait to be seen; more are dropped, as the kernel merges equal ones.
const SIGNALS_MAX: usize = 8;

/// One core of a simulated process.
#[derive(Clone)]
pub struct SimEnv {
    core: Rc<CoreContext>,
}

struct CoreContext {
    world: Rc<World>,
    home: Home,
    pool: Pool<Memory>,
    random: RefCell<(Rng, Rng)>,
}

impl SimEnv {
    /// The node this core belongs to.
    pub fn node(&self) -> NodeId {
        NodeId::new(self.core.home.node)
    }

    /// This core within its process.
    pub fn core(&self) -> CoreId {
        CoreId::new(u16::try_from(self.core.home.core).expect("a node has few cores"))
    }

    /// World time: for histories whose checkers compare nodes. Roles never read it.
    pub fn world_now(&self) -> Instant {
        Instant::from_nanos(self.state().now)
    }

    /// Writes a line into the trace; it counts for the hash.
    pub fn note(&self, text: impl Into<Cow<'static, str>>) {
        self.state().record(self.home().node, Happened::Note { text: text.into() });
    }

    /// The environment of core `home.core`, which the caller has made.
    pub(super) fn new(world: &Rc<World>, home: Home, spec: &CoreSpec) -> Self {
        let mut state = world.state.borrow_mut();
        let pool = Pool::new(state.next_pool, (), spec.pool_bytes);
        state.next_pool += 1;
        let of_core = state
            .node(home.node)
            .rng
            .fork(&format!("start {} core {}", home.incarnation, home.core));
        let random = spec.seed.map_or_else(|| of_core.fork("random"), Rng::new);
        let random = RefCell::new((random, of_core.fork("secret")));
        drop(state);
        let core = CoreContext { world: world.clone(), home, pool, random };
        Self { core: Rc::new(core) }
    }

    pub(super) fn home(&self) -> Home {
        self.core.home
    }

    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.core.world.state.borrow_mut()
    }

    /// Whether this core still runs; nothing it asks for happens when it does not (E45).
    pub(super) fn is_alive(&self) -> bool {
        let home = self.home();
        self.state().node(home.node).is_alive(home.incarnation, home.core)
    }

    pub(super) fn spawn_from<T: 'static>(
        &self,
        origin: &'static Location<'static>,
        task: impl Future<Output = T> + 'static,
    ) -> Join<T> {
        let (promise, join) = promise();
        let future = Box::pin(async move { promise.set(task.await) });
        self.core.world.spawn(self.home(), Role::Task, origin, future);
        join
    }
}

/// A timer on the clock of a simulated node.
pub struct Sleep {
    env: SimEnv,
    at: Instant,
    timer: Option<Key>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let home = this.env.home();
        let mut state = this.env.state();
        if let Some(timer) = this.timer.and_then(|key| state.timers.get_mut(key)) {
            // Not fired: a timer that is late is late even for those who look (E35).
            timer.waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        if this.at <= state.node(home.node).clock.now(state.now) {
            return Poll::Ready(());
        }
        this.timer = Some(state.add_timer(home.node, this.at, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.env.state().drop_timer(timer);
        }
    }
}

/// Foreign descriptors do not exist in simulation, so nothing can be watched.
#[derive(Debug)]
pub enum SimWatch {}

impl Watch for SimWatch {
    async fn readable(&mut self) -> io::Result<()> {
        match *self {}
    }
}

impl Env for SimEnv {
    type Memory = Memory;
    type Join<T: 'static> = Join<T>;
    type Sleep = Sleep;
    type File = SimFile;
    type Listener = SimListener;
    type Reader = SimReader;
    type Writer = SimWriter;
    type Closer = SimCloser;
    type Watch = SimWatch;

    fn now(&self) -> Instant {
        let state = self.state();
        state.node(self.home().node).clock.now(state.now)
    }

    fn wall(&self) -> WallTime {
        let state = self.state();
        state.node(self.home().node).clock.wall(state.now)
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep { env: self.clone(), at, timer: None }
    }

    #[track_caller]
    fn spawn<T: 'static>(&self, task: impl Future<Output = T> + 'static) -> Join<T> {
        self.spawn_from(Location::caller(), task)
    }

    fn pool(&self) -> &Pool<Memory> {
        &self.core.pool
    }

    fn random(&self) -> u64 {
        self.core.random.borrow_mut().0.next_u64()
    }

    fn random_secret(&self, bytes: &mut [u8]) {
        self.core.random.borrow_mut().1.fill_bytes(bytes);
    }

    #[track_caller]
    fn on_core<F, M>(&self, spec: CoreSpec, main: M) -> io::Result<Join<CoreEnd>>
    where
        F: Future<Output = ()> + 'static,
        M: FnOnce(Self) -> F + Send + 'static,
    {
        let (promise, join) = promise();
        let home = self.home();
        if !self.is_alive() {
            return Ok(join);
        }
        let core = {
            let mut state = self.state();
            let cores = &mut state.node_mut(home.node).cores;
            cores.push(Core { alive: true, operations: 0, end: Some(promise) });
            u32::try_from(cores.len() - 1).expect("a node has few cores")
        };
        let home = Home { core, ..home };
        let env = Self::new(&self.core.world, home, &spec);
        // `main` runs as a part of the task: on its own core.
        let future = Box::pin(async move { main(env).await });
        self.core.world.spawn(home, Role::CoreMain, Location::caller(), future);
        Ok(join)
    }

    fn mailbox<T: Send + 'static>(&self, capacity: usize) -> (Sender<T>, Receiver<T>) {
        mailbox::bounded(capacity, Some(self.core.world.mailboxes.refuse()))
    }

    fn blocking<T, C>(&self, call: C) -> Join<T>
    where
        T: Send + 'static,
        C: FnOnce() -> T + Send + 'static,
    {
        Join::ready(call())
    }

    fn watch(&self, _descriptor: OwnedFd) -> io::Result<SimWatch> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn signals(&self) -> io::Result<Receiver<Signal>> {
        let (sender, receiver) = mailbox::bounded(SIGNALS_MAX, None);
        if self.is_alive() {
            self.state().node_mut(self.home().node).signals.push(sender);
        }
        Ok(receiver)
    }

    fn listen(&self, address: SocketAddr) -> io::Result<SimListener> {
        if !self.is_alive() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        SimListener::new(self, address)
    }

    fn connect(&self, address: SocketAddr, give_up_at: Instant) -> Join<io::Result<Stream<Self>>> {
        let (promise, join) = promise();
        if self.is_alive() {
            let attempt = Attempt { promise, env: self.clone(), give_up_at };
            self.state().connect(self, address, attempt);
        }
        join
    }

    fn open(&self, path: &Path, options: OpenOptions) -> Join<Result<SimFile, FileError>> {
        SimFile::open(self, path, options)
    }
}
