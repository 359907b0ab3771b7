//! What one core owns: its tasks, its operations in flight, and its orderly end.
//!
//! Two kinds of work run on a core. *Tasks* belong to the roles; when the main function has
//! returned they are dropped where they wait. *Operations* are what the kernel or a helper thread
//! works on; they are never dropped, the end of the core waits for them (E34, S5).
//!
//! Invariants
//!   E62  every future of a task is dropped by its own executor while that still runs, so that
//!        sockets, timers and files in it are released
//!   E63  a core ends when it has neither tasks nor operations, or its executor is leaked

use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::rc::Rc;

use ::glommio::TaskQueueHandle;
use ::glommio::task::JoinHandle;
use engine_types::{Rng, Set};
use slab::Slab;

use super::memory::{GlommioMemory, GlommioSource};
use super::timer::Sleep;
use crate::buffer::Pool;
use crate::core_spec::CoreSpec;
use crate::system::{self, Blocking, Watcher};
use crate::wait::{First, first};

/// How long the end of a core waits for its I/O: twice the time after which the kernel's block
/// layer gives a request up by default.
pub(super) const END_WAIT_MAX: Duration = Duration::from_secs(60);

/// State of one core, shared by everything that runs on it.
pub(super) struct Core {
    pub(super) pool: Pool<GlommioMemory>,
    pub(super) blocking: Blocking,
    pub(super) watcher: Watcher,
    pub(super) random: RefCell<Rng>,
    pub(super) write_copies: Cell<u64>,
    /// File systems whose polled I/O was judged by a file with data.
    pub(super) judged: RefCell<Set<u64>>,
    /// Wakers of the tasks that wait, so that they can be told to end.
    waiting: RefCell<Slab<Waker>>,
    tasks: Cell<usize>,
    operations: Cell<usize>,
    ending: Cell<bool>,
    running: Cell<bool>,
    idle: Cell<Option<Waker>>,
}

impl Core {
    pub(super) fn new(spec: &CoreSpec) -> Rc<Self> {
        Rc::new(Self {
            pool: Pool::new(system::next_pool_id(), GlommioSource, spec.pool_bytes),
            blocking: Blocking::new(spec.blocking_max),
            watcher: Watcher::default(),
            random: RefCell::new(system::rng(spec.seed)),
            write_copies: Cell::new(0),
            judged: RefCell::default(),
            waiting: RefCell::default(),
            tasks: Cell::new(0),
            operations: Cell::new(0),
            ending: Cell::new(false),
            running: Cell::new(true),
            idle: Cell::new(None),
        })
    }

    /// Starts a task of a role. It is polled in a later turn: glommio's plain spawn polls at once,
    /// inside the caller, and would meet whatever the caller has borrowed.
    pub(super) fn spawn<T: 'static>(
        self: &Rc<Self>,
        task: impl Future<Output = T> + 'static,
    ) -> Join<T> {
        self.tasks.set(self.tasks.get() + 1);
        let membership = Membership { core: self.clone(), place: None };
        let task = Task { future: Some(task), membership };
        let queue = TaskQueueHandle::default();
        let spawned = ::glommio::spawn_local_into(task, queue);
        Join(spawned.expect("the default queue exists while its executor does").detach())
    }

    /// Starts an operation, which is submitted when this returns.
    pub(super) fn submit<T: 'static>(
        self: &Rc<Self>,
        operation: impl Future<Output = T> + 'static,
    ) -> Join<T> {
        self.operations.set(self.operations.get() + 1);
        let counted = Counted(self.clone());
        let operation = async move {
            let answer = operation.await;
            drop(counted); // only after the operation let go of its memory
            Some(answer)
        };
        Join(::glommio::spawn_local(operation).detach())
    }

    /// Whether the executor runs, so that operations can be started.
    pub(super) fn is_running(&self) -> bool {
        self.running.get()
    }

    /// Drops all tasks and waits for all operations; says how many did not complete in time.
    pub(super) async fn end(self: &Rc<Self>) -> Result<(), usize> {
        self.ending.set(true);
        let waiting: Vec<Waker> = self.waiting.borrow().iter().map(|(_, w)| w.clone()).collect();
        waiting.into_iter().for_each(Waker::wake);
        let idle = poll_fn(|cx| {
            if self.is_idle() {
                return Poll::Ready(());
            }
            self.idle.set(Some(cx.waker().clone()));
            Poll::Pending
        });
        match first(idle, Sleep::until(system::now() + END_WAIT_MAX)).await {
            First::Left(()) => Ok(()),
            First::Right(()) => Err(self.operations.get() + self.tasks.get()),
        }
    }

    /// The executor does not run any more.
    pub(super) fn stopped(&self) {
        self.running.set(false);
    }

    fn is_idle(&self) -> bool {
        self.tasks.get() == 0 && self.operations.get() == 0
    }

    fn tell_idle(&self) {
        if self.is_idle()
            && let Some(waker) = self.idle.take()
        {
            waker.wake();
        }
    }
}

struct Counted(Rc<Core>);

impl Drop for Counted {
    fn drop(&mut self) {
        let core = &self.0;
        core.operations.set(core.operations.get() - 1);
        core.tell_idle();
    }
}

/// A task that ends when its core does.
struct Task<F> {
    future: Option<F>,
    membership: Membership,
}

struct Membership {
    core: Rc<Core>,
    place: Option<usize>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        let core = &self.core;
        if let Some(place) = self.place {
            let waker = core.waiting.borrow_mut().remove(place);
            drop(waker);
        }
        core.tasks.set(core.tasks.get() - 1);
        core.tell_idle();
    }
}

impl<F: Future> Future for Task<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `future` is pinned with `self`: it is only polled and dropped in place, never
        // moved. `membership` is never pinned.
        let this = unsafe { self.get_unchecked_mut() };
        if this.membership.core.ending.get() {
            this.future = None; // dropped here, inside the executor (E62)
            return Poll::Ready(None);
        }
        if this.membership.place.is_none() {
            let place = this.membership.core.waiting.borrow_mut().insert(cx.waker().clone());
            this.membership.place = Some(place);
        }
        let future = this.future.as_mut().expect("a task is not polled after its end");
        // SAFETY: as above, structural pinning.
        unsafe { Pin::new_unchecked(future) }.poll(cx).map(Some)
    }
}

/// The end of a task or operation; dropping it detaches the work (E34).
pub struct Join<T>(JoinHandle<Option<T>>);

impl<T> Future for Join<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match Pin::new(&mut self.0).poll(cx) {
            Poll::Ready(Some(Some(value))) => Poll::Ready(value),
            // The core ends and has dropped the task; whoever waits for it is dropped next.
            Poll::Ready(Some(None)) | Poll::Pending => Poll::Pending,
            // Its panic is on its way out of `run` already; nobody should get here.
            Poll::Ready(None) => panic!("the task that is waited for has panicked"),
        }
    }
}
