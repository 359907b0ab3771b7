//! Who runs, for lines of a log: the code that writes them knows nothing of simulation.

use core::cell::Cell;

thread_local! {
    static WHO: Cell<(u64, u32)> = const { Cell::new((0, super::trace::NO_NODE)) };
}

pub(super) fn tell(now: u64, node: u32) {
    WHO.set((now, node));
}

/// Time of the world in nanoseconds, and the number of the node whose task this thread runs, or ran
/// last: none before the first, and for tasks of the world itself.
#[must_use]
pub fn runs() -> (u64, Option<u32>) {
    let (now, node) = WHO.get();
    (now, (node != super::trace::NO_NODE).then_some(node))
}
