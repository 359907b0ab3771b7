//! Metadata service: operations as transactions.
//!
//! ```text
//!   Store::call ── frame: fence, record, attempts ──> op::run ── View ──> meta_kv::Transaction
//! ```
//! Thin and stateless: an operation is one function over one transaction, and whatever it knows
//! beside its arguments comes in a `Ctx`. Any number of services work on one store.
//!
//! Invariants: E420 to E424 in `view`, E425 to E427 in `call`, E428 and E429 in `op`, E430 in `mkfs`.

#[cfg(test)]
pub(crate) mod bed;
pub mod call;
pub mod ctx;
pub mod halt;
pub(crate) mod join;
pub(crate) mod loaded;
pub mod mkfs;
pub(crate) mod op;
pub(crate) mod session;
pub(crate) mod view;

pub use call::{CallError, Store};
pub use ctx::{Table, Tables};
pub use halt::Halt;
