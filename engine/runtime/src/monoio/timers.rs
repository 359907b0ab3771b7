//! Timers of one core, on the clock that counts suspend.
//!
//! monoio's own timers round to milliseconds of a clock that stops during suspend, and are not
//! looked at while tasks are ready. These are a sorted map that every turn looks at, and one
//! timerfd (CLOCK_BOOTTIME, nanoseconds) that wakes the driver when nothing is ready.
//!
//! Invariants
//!   E35  a timer fires at the first turn at which the clock reads its time or later
//!   E71  while a timer waits, the timerfd is armed for its time or earlier; it is not disarmed
//!        when a timer is dropped: an alarm for nobody costs one turn

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use engine_types::Instant;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::watch::Watch;
use crate::env::Watch as _;
use crate::system;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The timers of one core.
pub(super) struct Timers {
    waiting: RefCell<BTreeMap<(Instant, u64), Waker>>,
    next_key: Cell<u64>,
    /// What the timerfd is armed for.
    armed: Cell<Instant>,
    alarm: OwnedFd,
}

impl Timers {
    /// No timers yet.
    ///
    /// # Errors
    /// When the process may not open another descriptor.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self {
            waiting: RefCell::default(),
            next_key: Cell::new(0),
            armed: Cell::new(Instant::NEVER),
            alarm: timerfd_create(TimerfdClockId::Boottime, flags)?,
        })
    }

    /// A timer for `at`.
    pub(super) fn sleep_until(self: &Rc<Self>, at: Instant) -> Sleep {
        Sleep { timers: self.clone(), at, key: None }
    }

    /// Makes sure that the driver wakes at `at`, for nobody in particular.
    pub(super) fn alarm_at(self: &Rc<Self>, at: Instant) -> Sleep {
        let mut sleep = self.sleep_until(at);
        let _ = Pin::new(&mut sleep).poll(&mut Context::from_waker(Waker::noop()));
        sleep
    }

    /// Wakes whoever waits for a time that has come.
    pub(super) fn fire(&self) {
        if self.waiting.borrow().is_empty() {
            return;
        }
        let now = system::now();
        loop {
            let mut waiting = self.waiting.borrow_mut();
            let Some(first) = waiting.first_entry() else { return };
            if now < first.key().0 {
                return;
            }
            let waker = first.remove();
            drop(waiting);
            waker.wake();
        }
    }

    /// Arms the timerfd for the nearest timer (E71).
    pub(super) fn arm(&self) {
        let waiting = self.waiting.borrow();
        let Some((&(nearest, _), _)) = waiting.first_key_value() else { return };
        if self.armed.get() <= nearest {
            return;
        }
        self.armed.set(nearest);
        let nanos = nearest.nanos().max(1); // zero would disarm
        let second = i64::try_from(nanos / NANOS_PER_SECOND).expect("2^64 ns are 584 years");
        let part = i64::try_from(nanos % NANOS_PER_SECOND).expect("less than a second");
        let spec = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: second, tv_nsec: part },
        };
        timerfd_settime(&self.alarm, TimerfdTimerFlags::ABSTIME, &spec)
            .expect("a timerfd takes every valid time");
    }

    /// The timerfd, for [`hear`](Self::hear).
    ///
    /// # Errors
    /// When the process may not open another descriptor.
    pub(super) fn watch(&self) -> io::Result<Watch> {
        Watch::new(self.alarm.try_clone()?)
    }

    /// Waits for alarms for ever; the driver's task polls it before it fires timers.
    pub(super) async fn hear(&self, mut watched: Watch) -> io::Error {
        loop {
            if let Err(error) = watched.readable().await {
                return error;
            }
            // Fails when it was armed anew meanwhile: then the alarm is still to come.
            if rustix::io::read(&self.alarm, &mut [0_u8; 8]).is_ok() {
                self.armed.set(Instant::NEVER);
            }
        }
    }

    fn drop_key(&self, at: Instant, key: u64) {
        let waker = self.waiting.borrow_mut().remove(&(at, key));
        drop(waker); // outside the borrow: it may be the last reference to its task
    }
}

/// A timer; dropping it stops it.
pub struct Sleep {
    timers: Rc<Timers>,
    at: Instant,
    key: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.at <= system::now() {
            return Poll::Ready(());
        }
        let timers = self.timers.clone();
        let key = *self.key.get_or_insert_with(|| {
            let key = timers.next_key.get();
            timers.next_key.set(key + 1);
            key
        });
        let mut waiting = timers.waiting.borrow_mut();
        let waker = waiting.entry((self.at, key)).or_insert_with(|| cx.waker().clone());
        let old =
            (!waker.will_wake(cx.waker())).then(|| core::mem::replace(waker, cx.waker().clone()));
        drop(waiting);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.timers.drop_key(self.at, key);
        }
    }
}
