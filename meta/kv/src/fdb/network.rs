//! The library's network thread, of which a process has one, and the cluster it speaks to.

use core::sync::atomic::{AtomicBool, Ordering};
use std::path::Path;
use std::sync::Arc;

use ::foundationdb::api::{FdbApiBuilder, NetworkAutoStop};
use ::foundationdb::{Database, FdbError};

use super::cluster_file::{self, ClusterFileError};

/// The version of the library's behaviour that this backend is written for.
pub const API_VERSION: i32 = if cfg!(feature = "fdb-7_3") { 730 } else { 630 };

/// Names the cluster file of the tests.
pub const TEST_CLUSTER_FILE: &str = "EMBERFS_FDB_CLUSTER_FILE";

/// Whether the thread was ever started: the library cannot start it again.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Why a cluster cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its file cannot be used.
    #[error(transparent)]
    ClusterFile(#[from] ClusterFileError),
    /// A process starts the library once, even after it has been stopped.
    #[error("FoundationDB's network thread was started before in this process")]
    AlreadyStarted,
    /// The library refused; its version may be older than [`API_VERSION`] (2203).
    #[error("FoundationDB's client library refused to {step}: {text} ({code})")]
    Library {
        /// What it was asked for.
        step: &'static str,
        /// Its text.
        text: &'static str,
        /// Its number.
        code: i32,
    },
}

impl OpenError {
    fn library(step: &'static str) -> impl Fn(FdbError) -> Self {
        move |error| Self::Library { step, text: error.message(), code: error.code() }
    }
}

/// The running network thread and the cluster; dropping it stops the thread (E229).
///
/// `main` owns it beside the executors and drops it behind them: an answer that is awaited when the
/// thread stops never comes, and the transaction ends by its own clock (E225). Do not leave the
/// process by `exit` while it lives.
#[must_use = "the network thread stops when this is dropped"]
pub struct Network {
    // Before the thread: fields are dropped in order.
    store: FdbStore,
    _thread: NetworkAutoStop,
}

/// A cluster, for every core: hand each a clone, and make a [`FdbKv`](super::FdbKv) of it there.
#[derive(Clone)]
pub struct FdbStore {
    pub(super) database: Arc<Database>,
}

impl Network {
    /// Starts the thread and names the cluster by its file. The file must stay writable: the
    /// library follows changes of coordinators in it. It does not wait for the cluster: the first
    /// transaction does, within its time limit.
    ///
    /// Options of the library's network (TLS, traces, knobs) come from the environment, as
    /// `FDB_NETWORK_OPTION_name`.
    ///
    /// # Errors
    /// The file, checked before anything else, a second start, and what the library answers.
    pub fn start(cluster_file: &Path) -> Result<Self, OpenError> {
        let path = cluster_file::checked(cluster_file)?;
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(OpenError::AlreadyStarted);
        }
        let builder = FdbApiBuilder::default().set_runtime_version(API_VERSION);
        let builder = builder.build().map_err(OpenError::library("select its API version"))?;
        #[expect(unsafe_code, reason = "the library must be stopped before the process ends")]
        // SAFETY: E229: `STARTED` makes this the only call, and the guard that stops the thread is
        // owned by the caller's `main`, which drops it before it returns, panics included.
        let thread = unsafe { builder.boot() };
        let thread = thread.map_err(OpenError::library("start its network"))?;
        let database = Database::from_path(path).map_err(OpenError::library("open the cluster"))?;
        tracing::info!(cluster_file = path, api_version = API_VERSION, "FoundationDB client runs");
        let store = FdbStore { database: Arc::new(database) };
        Ok(Self { store, _thread: thread })
    }

    /// The cluster.
    pub fn store(&self) -> FdbStore {
        self.store.clone()
    }
}

/// FOR TESTS: the cluster whose file [`TEST_CLUSTER_FILE`] names; nothing when it names none. Only
/// one test of a process can have it (E229), and its keys are the test's to clear.
///
/// # Panics
/// When the cluster cannot be opened: a test that was asked for must not be skipped.
pub fn open_for_tests() -> Option<Network> {
    let path = std::env::var_os(TEST_CLUSTER_FILE)?;
    match Network::start(Path::new(&path)) {
        Ok(network) => Some(network),
        Err(error) => panic!("{TEST_CLUSTER_FILE}: {error}"),
    }
}
