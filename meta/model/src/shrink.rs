//! Makes a failing list of steps small: delta debugging (Zeller and Hildebrandt, "Simplifying and
//! Isolating Failure-Inducing Input", 2002) without its complements, which removing runs from the
//! end covers for lists of operations.
//!
//! Invariants
//!   E468  what is returned fails, and is no longer than what was given

use alloc::vec::Vec;

/// How often the closure may be asked. A run of some hundred operations takes milliseconds, so a
/// shrink ends within seconds; what is left then is small enough to read in any case.
pub const SHRINK_TRIALS_MAX: u32 = 3000;

/// The smallest list found that still fails, steps in their order.
///
/// Runs of steps are left out, from half of the list down to single ones, until no single step can
/// be spared; then each step is replaced by the first of its `simpler` forms that fails, and the
/// removal starts anew. A list that does not fail is returned as it is.
pub fn shrink<T: Clone>(
    steps: &[T],
    simpler: impl Fn(&T) -> Vec<T>,
    mut fails: impl FnMut(&[T]) -> bool,
) -> Vec<T> {
    let mut trials = 0;
    let mut fails = |steps: &[T]| {
        trials += 1;
        trials <= SHRINK_TRIALS_MAX && fails(steps)
    };
    let mut kept = steps.to_vec();
    if !fails(&kept) {
        return kept;
    }
    loop {
        remove(&mut kept, &mut fails);
        if !simplify(&mut kept, &simpler, &mut fails) {
            break;
        }
    }
    assert!(kept.len() <= steps.len(), "E468: {} steps grew to {}", steps.len(), kept.len());
    kept
}

/// Leaves out runs of steps while the rest fails.
fn remove<T: Clone>(kept: &mut Vec<T>, fails: &mut impl FnMut(&[T]) -> bool) {
    let mut run = kept.len().div_ceil(2);
    while 0 < run {
        let before = kept.len();
        let mut end = kept.len();
        // From the end: later steps depend on earlier ones, seldom the other way.
        while 0 < end {
            let start = end.saturating_sub(run);
            let rest: Vec<T> = kept[..start].iter().chain(&kept[end..]).cloned().collect();
            if fails(&rest) {
                *kept = rest;
            }
            end = start;
        }
        // A step that was needed by a removed one can go in another round of single steps.
        if run == 1 && kept.len() < before {
            continue;
        }
        run /= 2;
    }
}

/// Replaces steps by simpler ones; whether one was.
fn simplify<T: Clone>(
    kept: &mut [T],
    simpler: &impl Fn(&T) -> Vec<T>,
    fails: &mut impl FnMut(&[T]) -> bool,
) -> bool {
    let mut changed = false;
    for index in 0..kept.len() {
        for candidate in simpler(&kept[index]) {
            let before = core::mem::replace(&mut kept[index], candidate);
            if fails(kept) {
                changed = true;
                break;
            }
            kept[index] = before;
        }
    }
    changed
}

#[cfg(test)]
mod tests;
