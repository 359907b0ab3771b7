//! Links in the simulator: every case runs in worlds with different seeds, under the weakest
//! semantics that an environment may have. What arrives is checked all the time (`ground::Log`).

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests, which fail by panicking; small numbers"
)]

mod faults;
mod ground;
mod order;
mod random;
