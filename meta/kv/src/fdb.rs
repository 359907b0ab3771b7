//! The backend on a FoundationDB cluster, through its client library.
//!
//! ```text
//!   main ── Network::start(cluster file) ─ one network thread of the library per process
//!              └─ FdbStore ── clone to each core ── FdbKv<E> ── FdbTransaction<E>
//! ```
//!
//! Owner: each transaction belongs to the core that began it; no lock and no thread of ours. The
//! library hands every call to its network thread and completes its futures there.
//!
//! Wakes. The callback of a future wakes our task from the network thread. Executors take that:
//! a foreign wake puts the task into the inbox of its core under a short lock and wakes the driver
//! if it sleeps; a busy core looks into the inbox at each turn, that is after 64 polls at most.
//! Mailboxes wake in the same way, so a bridge of our own would add a hop and gain nothing: futures
//! are awaited directly. Two things are added. [`recheck`] closes a gap in the crate's poll (E228),
//! and a deadline by our own clock ends a wait that the library forgot (E225). Simulation has one
//! thread and its own time: this backend cannot run in it.
//!
//! Dropping the future of a read cancels the read. Dropping the future of a commit stops the
//! waiting, not surely the commit; so does a core that ends. Callbacks that come later wake a task
//! that is gone, which does nothing.
//!
//! Unknown results (M9). A commit whose answer is lost is not left in flight: before the library
//! answers 1021, it commits an empty transaction that conflicts with the lost one, and where a
//! transaction has no key in both its read and its write conflicts, it adds a random one for this.
//! After 1021 the commit has happened or never will. That holds for 1021 alone: a timeout (1031),
//! a cancellation (1025), a change of the cluster's version (1039) and our own deadline leave it in
//! flight, and it may land until its read version is too old, 5 s later. [`KvError::UnknownResult`]
//! means the weaker of the two: it may yet happen.
//!
//! The trait consumes a transaction by its commit and a retry is a new one at a newer read version,
//! which may run before the lost commit lands. What that needs is one key that both read (in
//! conflict mode) and both write. Then whichever commits first makes the other conflict, and the
//! retry reads what has happened. Every mutating operation of metadata has such a key: its request
//! record, read first and written last (M11). A transaction without a record must be checked for
//! one. A lease renewal, which reads the lease and writes it, has it, and is right if it decides by
//! what it reads. Blind writes have none: a plain `set` may overwrite a later one, an atomic `Add`
//! may count twice. Such a transaction must not run again after an unknown result
//! ([`Policy::idempotent`](crate::Policy)), or must not matter when it lands late.
//!
//! Invariants
//!   E225 nothing waits for ever: each transaction is begun with a timeout above 0, a limit of
//!        retries and of size, and our clock ends what outlives the timeout by a second
//!   E226 once a commit was handed to the library, only numbers documented to leave nothing behind
//!        are errors that say so; any other, unknown numbers included, is an unknown result
//!   E227 the library sees what has passed the checks of the trait and no other call, so errors of
//!        limits, and the count of bytes, are those of the other backends
//!   E228 of all wakers a future was polled with, the last one is woken
//!   E229 the network thread is started once per process and stopped before `main` returns
//!
//! Where it differs from the other backends: stamped keys and values are 4 bytes shorter (the
//! offset counts); a transaction just below 10 MB is too large at the commit, as the library adds
//! some 50 bytes per write and counts the conflict ranges of writes; a stamped value that was set
//! again stays unreadable to range reads until it is cleared; [`Page::more`](crate::Page) may be
//! true more often; versions are the cluster's, about a million per second.
//!
//! Crash behaviour: nothing is kept here. A process that dies leaves transactions that never
//! commit, or commits that the cluster decides.

#[cfg(all(feature = "fdb", not(any(feature = "fdb-7_3", feature = "fdb-6_3"))))]
compile_error!(
    "the feature `fdb` of meta-kv needs the version of the client library: enable `fdb-7_3` or \
     `fdb-6_3` instead, which enable it"
);
#[cfg(all(feature = "fdb-7_3", feature = "fdb-6_3"))]
compile_error!(
    "the features `fdb-7_3` and `fdb-6_3` of meta-kv exclude each other: a process has one version \
     of FoundationDB's client library"
);

// Without the library: tested in every build.
mod cluster_file;
mod code;
mod form;
mod recheck;

#[cfg(feature = "fdb")]
mod network;
#[cfg(feature = "fdb")]
mod transaction;

pub use cluster_file::ClusterFileError;
#[cfg(feature = "fdb")]
pub use network::{API_VERSION, FdbStore, Network, OpenError, TEST_CLUSTER_FILE, open_for_tests};
#[cfg(feature = "fdb")]
pub use transaction::{FdbKv, FdbTransaction};

#[cfg(feature = "fdb")]
#[cfg(test)] // alone, so that lints know it
mod tests;
