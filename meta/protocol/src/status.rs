//! How a metadata service is.

use alloc::vec::Vec;

use meta_schema::superblock::FsId;
use meta_schema::{fields, records};

/// Asks how the service is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusAsk {}

/// How the service is. Counts are since it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatus {
    /// Which file system it serves; nothing until it has read the superblock.
    pub fs: Option<FsId>,
    /// False: it does not serve yet, or no longer.
    pub ready: bool,
    /// Requests that are under way.
    pub in_flight: u32,
    /// Transactions that were run again, after a conflict or as too old.
    pub retries: u64,
    /// Commits of which it was unknown whether they were done.
    pub unknown: u64,
    /// Requests by operation, in the order of `Operation::NAMES`.
    pub operations: Vec<OperationCount>,
}

/// Requests of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationCount {
    /// That were answered.
    pub done: u64,
    /// That were refused.
    pub refused: u64,
    /// That ended without either: the store did not answer, or not in time.
    pub failed: u64,
    /// Half of them took no longer, in microseconds.
    pub p50_us: u32,
    /// 99 of a hundred took no longer, in microseconds.
    pub p99_us: u32,
    /// The longest took so many microseconds.
    pub max_us: u32,
}

/// Operations of any version: tags have a byte.
const OPERATIONS_MAX: usize = 255;

fields! {
    StatusAsk {}
    ServiceStatus { fs, ready, in_flight, retries, unknown, operations: list(OPERATIONS_MAX) }
    OperationCount { done, refused, failed, p50_us, p99_us, max_us }
}

records! {
    StatusAsk = "question for the status";
    ServiceStatus = "status of a metadata service";
}
