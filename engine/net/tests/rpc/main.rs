//! The RPC layer in the simulator: every case runs in a few small worlds with different seeds,
//! under the weakest semantics an environment may have.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests, which fail by panicking; small numbers"
)]

mod basics;
mod faults;
mod ground;
mod hostile;
mod windows;
