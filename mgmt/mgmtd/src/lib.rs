//! The cluster manager. Any number of managers run; one of them is primary by a lease in the KV.
//!
//! Who is primary is decided by [`election`]; the primary keeps the whole cluster in memory
//! ([`manager`]), answers from there, and writes what has to last as transactions that only the
//! holder of the lease can commit ([`records`]). [`role`] is all of it as one process.

mod beat;
mod driver;
pub mod election;
pub mod keys;
pub mod manager;
mod perform;
mod query;
pub mod records;
pub mod role;
mod routing;
mod service;
mod sessions;
mod tenure;
mod work;

pub use election::{Election, Standing};
pub use manager::{Manager, ManagerConfig};
pub use records::{RecordsError, WriteError};
pub use role::{Role, run};
pub use tenure::TakeoverError;
