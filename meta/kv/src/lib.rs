//! Transactions on ordered keys, by FoundationDB's rules, on several backends.
//!
//! Roles are generic over [`Kv`]; the binary wires a backend:
//!
//! ```text
//!   roles ── Kv / Transaction (api)
//!              ├─ fdb                FoundationDB's client library           (feature `fdb`)
//!              └─ OwnKv              buffer + conflict ranges (transaction), over a Source
//!                   ├─ Embedded      sequencer + group commit over a KvEngine, in this process
//!                   │     engines: redb (durable), memory (simulation), fjall (measured only)
//!                   └─ remote        the same, served by the kv role        (crate meta-kvd)
//!              any Source may be wrapped by Faulty: conflicts, old versions, unknown results
//! ```
//!
//! What FoundationDB lacks, the trait does not offer, and its limits hold on every backend: 5 s
//! from read version to commit, 10 MB per transaction, keys of 10 kB, values of 100 kB. One
//! conformance suite (`conformance`) says what the rules are and runs on each backend.
//!
//! Invariants
//!   E200 a transaction commits only if no key of its read conflict ranges was written between its
//!        read version and its commit (serialisable; snapshot reads add no range)
//!   E201 versions only rise: a commit's version is above every read version handed out before it,
//!        and a read version covers every commit acknowledged before it was asked for
//!   E202 a commit is acknowledged after the flush that makes it durable, and seen by readers not
//!        earlier
//!   E203 a batch reaches the engine as one atomic write: after a crash all of it is there or none
//!   E204 all reads of one transaction see one snapshot, plus the transaction's own writes
//!   E205 a read version from before a restart, or from before the window of conflicts, commits
//!        nothing that was read (M10): "too old"
//!   E206 after a failed engine write nothing more is served or acknowledged: what the write left
//!        is unknown until the store is opened again

pub mod api;
pub mod backup;
mod buffer;
mod conflict;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod embedded;
pub mod engine;
pub mod error;
pub mod faulty;
#[cfg(any(test, feature = "fdb"))]
pub mod fdb;
pub mod key;
pub mod limits;
pub mod mutation;
pub mod retry;
pub mod sequencer;
pub mod source;
pub mod transaction;

pub use api::{
    Abort, Committed, Kv, Page, Policy, RangeRead, ReadMode, Transaction, TransactionOptions,
    Versionstamp,
};
pub use embedded::{Embedded, EmbeddedStats, Handle};
pub use engine::{Batch, EngineError, EngineSnapshot, KvEngine};
pub use error::{KvError, KvRetry};
pub use faulty::{Faults, Faulty};
pub use key::KeyRange;
pub use mutation::{AtomicOp, Mutation};
pub use retry::transact;
pub use source::{CommitRequest, Source, View};
pub use transaction::{OwnKv, OwnTransaction};
