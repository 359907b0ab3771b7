//! Tasks of one core: one fair queue, polled inside a single task of monoio.
//!
//! monoio 0.2.4 puts a task that woke itself in front of its queue, so that nobody else ever runs
//! again; it looks at wake-ups of other threads only when it has nothing to do; and it keeps the
//! tasks of a finished runtime alive for ever. Therefore monoio drives rings and sockets here, and
//! the tasks are our own: `async-task` gives the task, this module the queue.
//!
//! Owner: one thread. Other threads reach it through [`Foreign`] only.
//!
//! Invariants
//!   E38  the queue is first in, first out, and a task that wakes itself goes to its end; after
//!        [`TURN_POLLS_MAX`] polls the driver looks at I/O
//!   E70  a future is polled and dropped on the thread of its executor, never elsewhere
//!
//! Failure: a panic of a task ends the executor; its payload leaves [`super::run`].

use core::any::Any;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_task::{FallibleTask, Runnable};
use slab::Slab;

/// Most polls before the driver looks at I/O again: some tens of microseconds of work.
const TURN_POLLS_MAX: usize = 64;

/// What a task may still do after the main function of its core has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Work of the roles: dropped where it stands.
    Role,
    /// Submitted I/O and blocking calls: run to their end (E34).
    Io,
}

/// What a panic carried.
pub(super) type Payload = Box<dyn Any + Send>;

type Ready = Runnable<Kind>;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Executor>>> = const { RefCell::new(None) };
}

/// The queue of one core.
pub(super) struct Executor {
    ready: RefCell<VecDeque<Ready>>,
    /// Wakers of every task whose future exists, to find them at the end.
    live: RefCell<Slab<(Kind, Waker)>>,
    /// While tasks are polled nobody needs to wake the driver.
    in_turn: Cell<bool>,
    /// Main has returned: tasks of roles are dropped instead of polled.
    stopping: Cell<bool>,
    panic: RefCell<Option<Payload>>,
    foreign: Arc<Foreign>,
}

/// The door for other threads.
#[derive(Default)]
struct Foreign {
    inbox: Mutex<Inbox>,
    /// Whether whoever pushes should wake the driver.
    parked: AtomicBool,
    driver: Mutex<Option<Waker>>,
}

#[derive(Default)]
struct Inbox {
    tasks: Vec<Ready>,
    closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // nothing in here is left half done
}

impl Foreign {
    fn push(&self, task: Ready) {
        let mut inbox = lock(&self.inbox);
        if inbox.closed {
            // The executor gave up on this task while its I/O hung: its memory must stay (S5).
            core::mem::forget(task);
            return;
        }
        inbox.tasks.push(task);
        drop(inbox);
        if self.parked.swap(false, Ordering::SeqCst)
            && let Some(driver) = &*lock(&self.driver)
        {
            driver.wake_by_ref();
        }
    }
}

impl Executor {
    /// An executor for this thread; it is the current one until [`leave`](Self::leave).
    pub(super) fn enter() -> Rc<Self> {
        let executor = Rc::new(Self {
            ready: RefCell::default(),
            live: RefCell::default(),
            in_turn: Cell::new(false),
            stopping: Cell::new(false),
            panic: RefCell::new(None),
            foreign: Arc::default(),
        });
        let former = CURRENT.replace(Some(executor.clone()));
        assert!(former.is_none(), "one executor per thread");
        executor
    }

    /// Ends what [`enter`](Self::enter) began.
    pub(super) fn leave(&self) {
        *lock(&self.foreign.driver) = None;
        let mut inbox = lock(&self.foreign.inbox);
        inbox.closed = true;
        inbox.tasks.drain(..).for_each(core::mem::forget); // as in `Foreign::push`
        drop(inbox);
        self.ready.take().into_iter().for_each(core::mem::forget);
        CURRENT.take();
    }

    /// Starts a task (E34).
    pub(super) fn spawn<T: 'static>(
        self: &Rc<Self>,
        kind: Kind,
        future: impl Future<Output = T> + 'static,
    ) -> Join<T> {
        let key = self.live.borrow_mut().insert((kind, Waker::noop().clone()));
        let alive = Alive { executor: self.clone(), key };
        let future = async move {
            let _alive = alive;
            future.await
        };
        let foreign = self.foreign.clone();
        let schedule = move |task: Ready| {
            let mut task = Some(task);
            let _ = CURRENT.try_with(|current| {
                if let Some(current) = &*current.borrow()
                    && Arc::ptr_eq(&current.foreign, &foreign)
                    && let Some(task) = task.take()
                {
                    current.push(task);
                }
            });
            if let Some(task) = task {
                foreign.push(task);
            }
        };
        // SAFETY: E70: the schedule function is Send and Sync and brings every runnable back to
        // this executor, which runs and drops it on this thread; everything is 'static.
        let (task, join) = unsafe {
            async_task::Builder::new().metadata(kind).spawn_unchecked(move |_| future, schedule)
        };
        if let Some(entry) = self.live.borrow_mut().get_mut(key) {
            entry.1 = task.waker();
        }
        task.schedule();
        Join { task: Some(join.fallible()) }
    }

    fn push(&self, task: Ready) {
        self.ready.borrow_mut().push_back(task);
        if !self.in_turn.get() {
            self.wake_driver();
        }
    }

    fn wake_driver(&self) {
        if let Some(driver) = &*lock(&self.foreign.driver) {
            driver.wake_by_ref();
        }
    }

    /// Polls ready tasks, at most [`TURN_POLLS_MAX`]. The driver's task calls it with its own
    /// context and then returns `Pending`; it is woken when there is more to do.
    pub(super) fn turn(&self, cx: &Context<'_>) {
        assert!(!self.in_turn.replace(true), "a turn within a turn");
        self.foreign.parked.store(false, Ordering::Relaxed);
        self.take_foreign();
        for _ in 0..TURN_POLLS_MAX {
            let Some(task) = self.ready.borrow_mut().pop_front() else { break };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.run(task))) {
                self.panic.borrow_mut().get_or_insert(payload);
                break;
            }
        }
        self.in_turn.set(false);
        self.park(cx);
    }

    fn run(&self, task: Ready) {
        if self.stopping.get() && *task.metadata() == Kind::Role {
            drop(task); // drops its future
        } else {
            task.run();
        }
    }

    /// Makes sure that somebody wakes the driver for whatever is or gets ready.
    fn park(&self, cx: &Context<'_>) {
        let mut driver = lock(&self.foreign.driver);
        if !driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
        drop(driver);
        if self.ready.borrow().is_empty() {
            self.foreign.parked.store(true, Ordering::SeqCst);
            if lock(&self.foreign.inbox).tasks.is_empty() {
                return;
            }
        }
        cx.waker().wake_by_ref();
    }

    fn take_foreign(&self) {
        let mut inbox = lock(&self.foreign.inbox);
        self.ready.borrow_mut().extend(inbox.tasks.drain(..));
    }

    /// Whether a task has panicked.
    pub(super) fn has_panicked(&self) -> bool {
        self.panic.borrow().is_some()
    }

    /// The first panic of a task.
    pub(super) fn take_panic(&self) -> Option<Payload> {
        self.panic.take()
    }

    /// From now on tasks of roles are dropped; every one that exists is queued for that.
    pub(super) fn stop(&self) {
        self.stopping.set(true);
        let roles: Vec<Waker> = self
            .live
            .borrow()
            .iter()
            .filter(|(_, (kind, _))| *kind == Kind::Role)
            .map(|(_, (_, waker))| waker.clone())
            .collect();
        for waker in roles {
            waker.wake();
        }
    }

    /// Tasks whose future exists.
    pub(super) fn live(&self) -> usize {
        self.live.borrow().len()
    }
}

/// Takes a task out of the list of living ones when its future is dropped.
struct Alive {
    executor: Rc<Executor>,
    key: usize,
}

impl Drop for Alive {
    fn drop(&mut self) {
        let entry = self.executor.live.borrow_mut().remove(self.key);
        drop(entry); // outside the borrow: it may be the last reference to its task
    }
}

/// The end of submitted work; dropping it detaches the work (E34).
pub struct Join<T> {
    task: Option<FallibleTask<T, Kind>>,
}

impl<T> Future for Join<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let task = self.task.as_mut().expect("taken only when dropped");
        match Pin::new(task).poll(cx) {
            Poll::Ready(Some(value)) => Poll::Ready(value),
            // The task was dropped because its core ends, and so will be whoever waits here.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl<T> Drop for Join<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.detach();
        }
    }
}
