//! The RPC layer in the simulator: every case runs in a few small worlds with different seeds,
//! under the weakest semantics an environment may have.

mod basics;
mod faults;
mod ground;
mod hostile;
mod windows;
