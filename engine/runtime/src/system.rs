//! What both real backends take from the operating system and share: nothing here names a runtime.
//!
//! Owner: the backends. Every call in `disk` blocks and is meant for `Blocking`; everything
//! else returns at once, except `start_core`, which waits until the new core runs.
//!
//! Failure: a kernel that refuses something is answered with an error that says what to change;
//! the process state (signals, the affinity of threads) is left as it was found.

use core::sync::atomic::{AtomicU32, Ordering};

mod blocking;
mod clock;
pub(crate) mod disk;
mod entropy;
mod place;
mod signals;
mod start;
mod uring;
#[cfg(feature = "glommio")]
mod watcher;

#[cfg(all(test, feature = "glommio"))]
pub(crate) mod tests;

pub(crate) use blocking::Blocking;
pub(crate) use clock::{now, wall};
pub(crate) use entropy::{fill_secret, rng};
pub(crate) use place::place;
pub(crate) use signals::signals;
pub use start::RunError;
pub(crate) use start::start_core;
pub(crate) use uring::check_uring;
#[cfg(feature = "glommio")]
pub use watcher::Watched;
#[cfg(feature = "glommio")]
pub(crate) use watcher::Watcher;

/// A pool id that no other pool of this process has.
pub(crate) fn next_pool_id() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
