//! The cluster manager. Any number of managers run; one of them is primary by a lease in the KV.
//!
//! Today: who is primary ([`election`]), and the records of the cluster as transactions that only
//! the primary can commit ([`records`]). The service on top of them follows.

pub mod election;
pub mod records;

pub use election::{Election, Standing};
pub use records::{RecordsError, WriteError};
