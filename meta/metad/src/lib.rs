//! Metadata service: operations as transactions.
//!
//! ```text
//!   Store::call ── frame: fence, record, attempts ──> op::run ── View ──> meta_kv::Transaction
//! ```
//! Thin and stateless: an operation is one function over one transaction, and whatever it knows
//! beside its arguments comes in a `Ctx`. Any number of services work on one store.
//!
//! Invariants: E420 to E424 in `view`, E425 to E427 in `call`, E428 and E429 in `op`, E430 in
//! `mkfs`; E440, E441 in `ids`, E442 to E444 in `length`, E445 in `merge`, E446, E447 in
//! `session`, E448 in `shrink`, E449 in `measure`, E450 to E453 in `deletion`, E454 in
//! `op::locks`, E455, E456 in `op::prune`.

#[cfg(test)]
pub(crate) mod bed;
pub mod call;
pub mod chunks;
pub mod ctx;
pub mod deletion;
pub mod driver;
pub mod files;
pub mod fsck;
pub mod halt;
pub mod ids;
pub(crate) mod join;
pub(crate) mod length;
pub(crate) mod loaded;
pub(crate) mod marks;
pub mod measure;
pub(crate) mod merge;
pub mod mkfs;
pub(crate) mod op;
pub mod role;
pub mod service;
pub(crate) mod session;
pub mod shrink;
pub(crate) mod space;
pub mod starts;
pub(crate) mod view;

pub use call::{Attempts, CallError, Store};
pub use chunks::{Chunks, ChunksError, NodeChunks};
pub use ctx::{Table, Tables};
pub use deletion::{Collector, DeletionSettings};
pub use driver::Driver;
pub use files::Files;
pub use halt::Halt;
pub use role::{Role, RoleError, Settings, run};
pub use service::MetaService;
pub use space::Space;
