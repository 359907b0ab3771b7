//! Starts, watches and stops the processes of a cluster on one machine.
//!
//! A [`Cluster`] is a directory with a folder per process, and the processes that run from it: a
//! key-value store, managers, storage nodes, metadata services. Everything is done by the program
//! `emberfs`, as an
//! operator would do it; this crate knows its commands, and no format.
//!
//! Owner: one thread holds the [`Cluster`]; it waits in its calls. Processes are children of a
//! thread of their own, so that they end with the program, not with the thread that asked for them.
//!
//! Promises
//!   nothing runs any more when a `Cluster` is dropped; children are killed by the kernel when the
//!   program is killed, and one that starts while the program dies never serves; a directory has
//!   one owner at a time; a process that is started again comes back at its address, with its data
//!
//! Crash: whatever was begun in the directory is completed or begun anew by the next
//! [`Cluster::start`] on it: what takes effect at once is made under another name and renamed.

mod child;
mod clock;
mod cluster;
mod error;
mod folder;
mod layout;
mod name;
mod operator;
mod plan;
mod slot;
mod starter;
mod system;
mod tail;
mod tend;

pub use cluster::Cluster;
pub use error::ClusterError;
pub use name::Name;
pub use operator::Said;
pub use plan::Plan;
pub use tail::Tail;
pub use tend::News;
