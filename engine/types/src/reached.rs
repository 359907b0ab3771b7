//! Marks on rare paths: `reached!("E21: resync met an update")` counts how often a line ran.
//!
//! A test campaign prints the marks, so that a path that simulation never takes is seen. Each site
//! owns a static counter that links itself into one global list when it is hit for the first time;
//! after that a hit is one relaxed addition, so marks stay in release builds.
//!
//! Invariants
//!   E46  a mark is linked at most once, and never unlinked
//!   E47  the list holds references of `'static` life only
//!
//! Counters belong to the process: worlds that run on several threads add to the same ones.

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

/// The counter of one site; made by [`reached!`](crate::reached!).
#[derive(Debug)]
pub struct Mark {
    name: &'static str,
    count: AtomicU64,
    linked: AtomicBool,
    next: AtomicPtr<Mark>,
}

/// The mark that was linked last.
static NEWEST: AtomicPtr<Mark> = AtomicPtr::new(ptr::null_mut());

impl Mark {
    /// A mark that was never hit.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            count: AtomicU64::new(0),
            linked: AtomicBool::new(false),
            next: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Counts one hit.
    #[inline]
    pub fn hit(&'static self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if !self.linked.load(Ordering::Relaxed) {
            self.link();
        }
    }

    #[cold]
    fn link(&'static self) {
        if self.linked.swap(true, Ordering::Relaxed) {
            return; // E46: another thread links it
        }
        let this = ptr::from_ref(self).cast_mut();
        let mut newest = NEWEST.load(Ordering::Relaxed);
        loop {
            self.next.store(newest, Ordering::Relaxed);
            // Release: who finds the mark also finds its `next`.
            match NEWEST.compare_exchange_weak(newest, this, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => newest = other,
            }
        }
    }
}

/// Follows a link of the list.
#[expect(unsafe_code, reason = "an intrusive list of statics, without a lock in a no_std crate")]
fn follow(link: &AtomicPtr<Mark>) -> Option<&'static Mark> {
    let mark = link.load(Ordering::Acquire);
    // SAFETY: links are null or were made in `link` from a `&'static Mark` (E47), and marks are
    // changed through atomics only.
    unsafe { mark.as_ref() }
}

/// Every mark that was ever hit in this process, with its count since the last reset. A site in
/// generic code may appear once per instance; marks of equal name belong together.
pub fn marks() -> impl Iterator<Item = (&'static str, u64)> {
    core::iter::successors(follow(&NEWEST), |mark| follow(&mark.next))
        .map(|mark| (mark.name, mark.count.load(Ordering::Relaxed)))
}

/// Sets every counter to zero.
pub fn reset_all() {
    for mark in core::iter::successors(follow(&NEWEST), |mark| follow(&mark.next)) {
        mark.count.store(0, Ordering::Relaxed);
    }
}

/// Counts that this line ran: `reached!("E21: what is rare about it")`.
#[macro_export]
macro_rules! reached {
    ($name:literal) => {{
        static MARK: $crate::reached::Mark = $crate::reached::Mark::new($name);
        MARK.hit();
    }};
}

#[cfg(test)]
mod tests;
