//! Readiness of foreign descriptors for an executor that cannot wait for them itself.
//!
//! Owner: one per executor, with one thread that sleeps in epoll_wait. The thread starts with the
//! first descriptor and ends with the executor.
//!
//! Invariants
//!   E60  a descriptor is armed only after the waker that its event will call is stored
//!   E61  an event says "look again": whoever waits polls the descriptor itself, so a stale event
//!        (of a slot used before) costs one system call and nothing else
//!
//! Failure: the thread has nothing to fail on but epoll_wait itself; it then wakes all, whose own
//! poll answers.

use core::future::poll_fn;
use core::mem::MaybeUninit;
use core::task::{Context, Poll, Waker};
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use slab::Slab;

use super::place::roam;
use crate::env::Watch;

/// The datum of the eventfd that ends the thread; slots of a slab never get that far.
const STOP: u64 = u64::MAX;
/// Events taken at once: a node watches a handful of descriptors.
const EVENTS_MAX: usize = 32;

struct Shared {
    epoll: OwnedFd,
    stop: OwnedFd,
    waiting: Mutex<Slab<Option<Waker>>>,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Slab<Option<Waker>>> {
        // Nothing panics while the lock is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Thread {
    shared: Arc<Shared>,
    handle: Option<JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        let told = rustix::io::write(&self.shared.stop, &1_u64.to_le_bytes());
        assert!(told.is_ok(), "an eventfd far from its limit takes a write: {told:?}");
        if let Some(handle) = self.handle.take() {
            let _ = handle.join(); // it does not panic; if it did, it has ended
        }
    }
}

/// The watcher of one executor. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Watcher {
    thread: Rc<RefCell<Option<Rc<Thread>>>>,
}

impl Watcher {
    /// Watches `descriptor`.
    ///
    /// # Errors
    /// When it cannot be polled (a regular file), or the thread cannot be had.
    pub(crate) fn watch(&self, descriptor: OwnedFd) -> io::Result<Watched> {
        let thread = self.thread()?;
        let shared = &thread.shared;
        let slot = shared.waiting().insert(None);
        let data = EventData::new_u64(slot as u64);
        // Disarmed until somebody waits (E60).
        if let Err(errno) = epoll::add(&shared.epoll, &descriptor, data, EventFlags::ONESHOT) {
            shared.waiting().remove(slot);
            return Err(match errno {
                Errno::PERM => io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the descriptor cannot be polled: it is a regular file or a directory",
                ),
                errno => errno.into(),
            });
        }
        Ok(Watched { descriptor, slot, thread })
    }

    fn thread(&self) -> io::Result<Rc<Thread>> {
        let mut thread = self.thread.borrow_mut();
        if let Some(running) = &*thread {
            return Ok(running.clone());
        }
        let shared = Arc::new(Shared {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            stop: eventfd(0, EventfdFlags::CLOEXEC)?,
            waiting: Mutex::new(Slab::new()),
        });
        epoll::add(&shared.epoll, &shared.stop, EventData::new_u64(STOP), EventFlags::IN)?;
        let seen = shared.clone();
        let handle =
            std::thread::Builder::new().name("watcher".to_owned()).spawn(move || serve(&seen))?;
        Ok(thread.insert(Rc::new(Thread { shared, handle: Some(handle) })).clone())
    }
}

/// The body of the thread.
fn serve(shared: &Shared) {
    roam();
    let mut space = [MaybeUninit::<epoll::Event>::uninit(); EVENTS_MAX];
    loop {
        let events = match epoll::wait(&shared.epoll, &mut space, None) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => continue,
            Err(_) => {
                let wakers: Vec<_> =
                    shared.waiting().iter_mut().filter_map(|(_, waker)| waker.take()).collect();
                wakers.into_iter().for_each(Waker::wake);
                return;
            }
        };
        for event in events {
            let data = event.data.u64();
            if data == STOP {
                return;
            }
            let slot = usize::try_from(data).expect("it was a usize when it was registered");
            let waker = shared.waiting().get_mut(slot).and_then(Option::take);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// A watched descriptor; closes with this value.
pub struct Watched {
    descriptor: OwnedFd,
    slot: usize,
    thread: Rc<Thread>,
}

impl Watched {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_readable()? {
            return Poll::Ready(Ok(()));
        }
        let shared = &self.thread.shared;
        // Replaced outside the lock: dropping a waker may run code of the executor.
        let old = shared.waiting()[self.slot].replace(cx.waker().clone());
        drop(old);
        let data = EventData::new_u64(self.slot as u64);
        let flags = EventFlags::IN | EventFlags::ONESHOT;
        epoll::modify(&shared.epoll, &self.descriptor, data, flags)?;
        Poll::Pending
    }

    fn is_readable(&self) -> io::Result<bool> {
        let mut look = [PollFd::new(&self.descriptor, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::io::retry_on_intr(|| poll(&mut look, Some(&now)))?;
        let seen = look[0].revents();
        Ok(seen.intersects(PollFlags::IN | PollFlags::ERR | PollFlags::HUP))
    }
}

impl Watch for Watched {
    async fn readable(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_readable(cx)).await
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let shared = &self.thread.shared;
        // Fails only when it is not registered, which is what is wanted.
        let _ = epoll::delete(&shared.epoll, self.descriptor.as_fd());
        let waker = shared.waiting().try_remove(self.slot);
        drop(waker);
    }
}
