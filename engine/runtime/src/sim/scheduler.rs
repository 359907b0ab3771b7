//! Who runs next: one ready task at random, else the next event (E38).
//!
//! A poll takes a little virtual time, so that clocks move for busy tasks as well; events that
//! came due meanwhile are handled before the next poll. Tasks of a frozen process are put aside.
//! Polls without a moment of rest are counted: too many are a livelock.

use core::future::Future;
use core::panic::Location;
use core::pin::Pin;
use core::task::{Context, Waker};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use engine_types::{Instant, NodeId};

use super::arena::Key;
use super::fault::Count;
use super::trace::{Happened, NO_NODE};
use super::world::{Event, State, World, nanos};

/// Why a world stopped: a mistake of the code that runs in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at {at} of the world, {node_name}: {kind}")]
pub struct Failure {
    /// World time.
    pub at: Instant,
    /// The node, unless it concerns several.
    pub node: Option<NodeId>,
    /// Its name.
    pub node_name: String,
    /// What happened.
    pub kind: FailureKind,
}

/// Kinds of [`Failure`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailureKind {
    /// A task, or the destructor of one, panicked.
    #[error("task {task} panicked: {message}")]
    Panicked {
        /// Where the task was started.
        task: String,
        /// Text of the panic.
        message: String,
    },
    /// Tasks kept themselves or each other busy.
    #[error("{polls} polls without a moment of rest, busy tasks: {tasks:?}")]
    Livelock {
        /// Polls since the world was at rest.
        polls: u64,
        /// Where the busy tasks were started, with their nodes.
        tasks: Vec<String>,
    },
}

/// Tasks that were woken since the scheduler looked last.
#[derive(Default)]
pub(super) struct WakeQueue(Mutex<Vec<Key>>);

impl WakeQueue {
    fn push(&self, task: Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    fn drain_into(&self, ready: &mut Vec<Key>) {
        ready.append(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Wakes one task; at most one entry of it is queued or ready.
struct TaskWaker {
    task: Key,
    queued: AtomicBool,
    queue: Arc<WakeQueue>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.queue.push(self.task);
        }
    }
}

pub(super) type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

/// What the end of a task means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing more.
    Task,
    /// The end of its core.
    CoreMain,
}

/// Where a task belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Home {
    pub(super) node: u32,
    pub(super) incarnation: u64,
    pub(super) core: u32,
}

pub(super) struct Task {
    pub(super) home: Home,
    role: Role,
    origin: &'static Location<'static>,
    /// Absent while it is polled.
    future: Option<TaskFuture>,
    waker: Waker,
    state: Arc<TaskWaker>,
}

/// What one turn of the scheduler did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Polled a task or handled an event.
    Worked,
    /// Nothing is left before the limit.
    Idle,
}

/// What the state decided; carried out without a borrow of it (E41).
enum Next {
    Poll(Key, TaskFuture, Waker),
    Handled,
    Idle,
}

impl World {
    /// Starts a task, or drops it when its core has ended.
    pub(super) fn spawn(
        &self,
        home: Home,
        role: Role,
        origin: &'static Location<'static>,
        future: TaskFuture,
    ) {
        let mut state = self.state.borrow_mut();
        if !state.node(home.node).is_alive(home.incarnation, home.core) {
            drop(state); // E45: the destructor may call back
            drop(future);
            return;
        }
        let key = state.tasks.insert_with(|task| {
            let queue = self.woken.clone();
            let waker = Arc::new(TaskWaker { task, queued: AtomicBool::new(true), queue });
            Task {
                home,
                role,
                origin,
                future: Some(future),
                waker: waker.clone().into(),
                state: waker,
            }
        });
        state.ready.push(key);
        state.count(Count::Task);
    }

    /// One poll or one event at or before `limit`.
    pub(super) fn turn(&self, limit: u64) -> Result<Turn, Failure> {
        let next = {
            let mut state = self.state.borrow_mut();
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            self.woken.drain_into(&mut state.ready);
            state.next(limit)
        };
        match next {
            Next::Idle => return Ok(Turn::Idle),
            Next::Handled => {}
            Next::Poll(task, future, waker) => self.poll(task, future, &waker),
        }
        match &self.state.borrow().failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(Turn::Worked),
        }
    }

    /// For [`super::who`].
    fn tell_who_runs(&self, key: Key) {
        let state = self.state.borrow();
        let node = state.tasks.get(key).map_or(NO_NODE, |task| task.home.node);
        super::who::tell(state.now, node);
    }

    fn poll(&self, key: Key, mut future: TaskFuture, waker: &Waker) {
        let mut cx = Context::from_waker(waker);
        self.tell_who_runs(key);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx)));
        let mut state = self.state.borrow_mut();
        let Some(task) = state.tasks.get_mut(key) else {
            drop(state); // it ended its own process
            self.drop_future(None, future);
            return;
        };
        let (home, origin, role) = (task.home, task.origin, task.role);
        match polled {
            Ok(core::task::Poll::Pending) => {
                task.future = Some(future);
                return;
            }
            Ok(core::task::Poll::Ready(())) => {
                state.tasks.remove(key);
            }
            Err(panic) => {
                state.tasks.remove(key);
                state.panicked(home.node, Some(origin), &*panic);
            }
        }
        drop(state);
        self.drop_future(Some((home.node, origin)), future);
        if role == Role::CoreMain {
            self.core_returned(home);
        }
    }

    /// Runs the destructor of a task; a panic there is a failure like any other.
    fn drop_future(&self, origin: Option<Origin>, future: TaskFuture) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(future))) {
            let node = origin.map_or(NO_NODE, |origin| origin.0);
            let origin = origin.map(|origin| origin.1);
            self.state.borrow_mut().panicked(node, origin, &*panic);
        }
    }

    /// Drops every task for which `doomed` holds, in the order of their slots.
    pub(super) fn drop_tasks(&self, mut doomed: impl FnMut(&Home) -> bool) {
        let mut futures = Vec::new();
        {
            let mut state = self.state.borrow_mut();
            for key in state.tasks.keys(|task| doomed(&task.home)) {
                let task = state.tasks.remove(key).expect("listed above");
                if let Some(future) = task.future {
                    futures.push((Some((task.home.node, task.origin)), future));
                }
            }
        }
        for (origin, future) in futures {
            self.drop_future(origin, future);
        }
    }

    /// The main function of a core has returned: the core ends, with core 0 the process.
    fn core_returned(&self, home: Home) {
        {
            let mut state = self.state.borrow_mut();
            if !state.node(home.node).is_alive(home.incarnation, home.core) {
                return;
            }
            if home.core == 0 {
                state.record(home.node, Happened::Finished);
                state.node_mut(home.node).finished = true;
                state.end_process(home.node, super::lifecycle::End::Returned);
            } else {
                state.node_mut(home.node).cores[home.core as usize].alive = false;
                state.core_may_end(home);
            }
        }
        self.drop_tasks(|task| {
            task.node == home.node
                && task.incarnation == home.incarnation
                && (home.core == 0 || task.core == home.core)
        });
    }

    /// Runs until world time `at`.
    pub(super) fn run_until(&self, at: u64) -> Result<(), Failure> {
        while self.turn(at)? == Turn::Worked {}
        let mut state = self.state.borrow_mut();
        state.now = state.now.max(at);
        Ok(())
    }
}

type Origin = (u32, &'static Location<'static>);

impl State {
    fn next(&mut self, limit: u64) -> Next {
        loop {
            if self.events.next_at().is_some_and(|at| at <= self.now) {
                return self.handle_next();
            }
            if self.now <= limit
                && let Some(key) = self.pick()
            {
                if let Some(next) = self.prepare(key) {
                    return next;
                }
                continue;
            }
            return match self.events.next_at() {
                Some(at) if at <= limit && self.ready.is_empty() => {
                    if self.stalled == 0 {
                        self.busy_polls = 0;
                    }
                    self.handle_next()
                }
                _ => Next::Idle,
            };
        }
    }

    fn handle_next(&mut self) -> Next {
        let (at, event) = self.events.pop().expect("the caller looked");
        self.now = self.now.max(at); // E43
        self.count(Count::Event);
        self.handle(event);
        Next::Handled
    }

    fn pick(&mut self) -> Option<Key> {
        if self.ready.is_empty() {
            return None;
        }
        let index = self.streams.schedule.below(self.ready.len() as u64);
        Some(self.ready.swap_remove(usize::try_from(index).expect("below a length")))
    }

    /// Takes the future of a ready task, unless the task is gone, frozen or left waiting.
    fn prepare(&mut self, key: Key) -> Option<Next> {
        let task = self.tasks.get(key)?;
        let home = task.home;
        if self.node(home.node).frozen {
            self.node_mut(home.node).parked.push(key);
            return None;
        }
        if self.streams.stall.chance(self.config.stall_permille) {
            let wait = self.streams.stall.range(0..=nanos(self.config.stall_max));
            self.events.push(self.now + wait, Event::Resume(key));
            self.stalled += 1;
            self.count(Count::Stall);
            return None;
        }
        self.busy_polls += 1;
        if self.config.busy_polls_max < self.busy_polls {
            self.livelock(key);
            return Some(Next::Handled);
        }
        self.count(Count::Poll);
        self.now += self.streams.schedule.range(0..=nanos(self.config.poll_cost_max));
        self.trace.mix(self.now << 20 | u64::from(key.index & 0xf_ffff));
        let task = self.tasks.get_mut(key).expect("found above");
        task.state.queued.store(false, Ordering::Relaxed);
        let future = task.future.take().expect("a task is polled by one turn at a time");
        Some(Next::Poll(key, future, task.waker.clone()))
    }

    fn livelock(&mut self, last: Key) {
        let mut busy = vec![last];
        busy.extend(&self.ready);
        let mut tasks = Vec::new();
        for task in busy.into_iter().filter_map(|key| self.tasks.get(key)) {
            let name = format!("{} {}", self.node(task.home.node).spec.name, task.origin);
            if !tasks.contains(&name) {
                tasks.push(name);
            }
        }
        let kind = FailureKind::Livelock { polls: self.busy_polls, tasks };
        self.fail(NO_NODE, kind);
    }

    fn panicked(&mut self, node: u32, task: Option<&Location<'_>>, panic: &(dyn Any + Send)) {
        let message = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic without text".to_owned());
        let task = task.map_or_else(|| "that ended".to_owned(), ToString::to_string);
        self.fail(node, FailureKind::Panicked { task, message });
    }

    /// Keeps the first failure.
    fn fail(&mut self, node: u32, kind: FailureKind) {
        let named = self.nodes.get(node as usize);
        let node_name = named.map_or_else(|| "world".to_owned(), |node| node.spec.name.clone());
        let at = Instant::from_nanos(self.now);
        let node = named.is_some().then(|| NodeId::new(node));
        self.failure.get_or_insert(Failure { at, node, node_name, kind });
    }
}

/// Ends a world: everything in it is dropped while it can still answer destructors.
pub(super) fn clear(world: &Rc<World>) {
    {
        let mut state = world.state.borrow_mut();
        for node in &mut state.nodes {
            node.running = false;
        }
    }
    world.drop_tasks(|_| true);
    // Both may hold handles to the world: taken out first, dropped without a borrow (E41).
    let mut state = world.state.borrow_mut();
    let operations = core::mem::take(&mut state.operations);
    let conns = core::mem::take(&mut state.net.conns);
    let timers = core::mem::take(&mut state.timers);
    drop(state);
    drop((operations, conns, timers));
}
