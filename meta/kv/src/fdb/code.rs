//! What FoundationDB's error numbers mean here. No type of its library, so that this is tested
//! where the library cannot be linked.
//!
//! Before the commit nothing has happened, and the only question is whether to run again. A
//! commit's error says "nothing happened" only for the numbers that FoundationDB documents so
//! (`retryable_not_committed`, and requests it refuses before it sends them); every other one,
//! those unknown here included, is an unknown result (E226).

use crate::error::KvError;
use crate::key::Shown;
use crate::limits::{KEY_BYTES_MAX, TRANSACTION_BYTES_MAX};

#[cfg(test)]
mod tests;

/// When an error arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment<'a> {
    /// Before the commit was asked for; what was read: a key, or the begin of a range.
    Before(Option<&'a [u8]>),
    /// After the commit was handed to the library.
    Commit,
}

/// What a call knows about itself, for its error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// When the error arrived.
    pub(crate) moment: Moment<'a>,
    /// Time limit of the transaction.
    pub(crate) limit_ms: u64,
    /// Bytes of the transaction by our count.
    pub(crate) bytes: usize,
}

/// What a number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Conflict,
    TooOld,
    /// The cluster cannot serve it now; nothing was committed.
    Unavailable,
    /// The cluster has too much to do; nothing was committed.
    Overloaded,
    /// Time has run out; a commit may still be under way.
    TimedOut,
    /// Connections or roles failed; a commit may have happened.
    Lost,
    TooLarge,
    KeyTooLong,
    OutsideLegalRange,
    Unreadable,
    /// The library refused the call before it sent anything.
    Refused,
    /// A fault, or a number that nobody knew when this was written.
    Fault,
}

/// Numbers, names and meanings, from `flow/error_definitions.h` and `fdb_error_predicate`.
const CODES: [(i32, &str, Class); 40] = [
    (1004, "timed_out", Class::Lost),
    (1006, "all_alternatives_failed", Class::Lost),
    (1007, "transaction_too_old", Class::TooOld),
    (1009, "future_version", Class::Unavailable),
    (1020, "not_committed", Class::Conflict),
    (1021, "commit_unknown_result", Class::Lost),
    (1025, "transaction_cancelled", Class::Lost),
    (1026, "connection_failed", Class::Lost),
    (1027, "coordinators_changed", Class::Lost),
    (1030, "request_maybe_delivered", Class::Lost),
    (1031, "transaction_timed_out", Class::TimedOut),
    (1036, "accessed_unreadable", Class::Unreadable),
    (1037, "process_behind", Class::Overloaded),
    (1038, "database_locked", Class::Unavailable),
    (1039, "cluster_version_changed", Class::Lost),
    (1042, "commit_proxy_memory_limit_exceeded", Class::Overloaded),
    (1043, "shutdown_in_progress", Class::Lost),
    (1051, "batch_transaction_throttled", Class::Overloaded),
    (1078, "grv_proxy_memory_limit_exceeded", Class::Overloaded),
    (1100, "broken_promise", Class::Lost),
    (1101, "operation_cancelled", Class::Lost),
    (1211, "server_overloaded", Class::Lost),
    (1213, "tag_throttled", Class::Overloaded),
    (1223, "proxy_tag_throttled", Class::Overloaded),
    (1235, "transaction_throttled_hot_shard", Class::Overloaded),
    (1242, "transaction_rejected_range_locked", Class::Unavailable),
    (2000, "client_invalid_operation", Class::Refused),
    (2004, "key_outside_legal_range", Class::OutsideLegalRange),
    (2005, "inverted_range", Class::Refused),
    (2006, "invalid_option_value", Class::Refused),
    (2007, "invalid_option", Class::Refused),
    // The library fails the commit that is under way as well.
    (2017, "used_during_commit", Class::Fault),
    (2018, "invalid_mutation_type", Class::Refused),
    (2101, "transaction_too_large", Class::TooLarge),
    (2102, "key_too_large", Class::KeyTooLong),
    (2103, "value_too_large", Class::Refused),
    (2108, "unsupported_operation", Class::Refused),
    (2130, "tenant_name_required", Class::Refused),
    (4000, "unknown_error", Class::Fault),
    (4100, "internal_error", Class::Fault),
];

fn class(code: i32) -> Class {
    let known = CODES.iter().find(|(number, ..)| *number == code);
    match known {
        Some(&(_, _, class)) => class,
        // "Normal failures" of processes and connections, and what versions to come add to them.
        None if (1000..1500).contains(&code) => Class::Lost,
        None => Class::Fault,
    }
}

/// The error of the trait for the library's `code`, whose text is `text`.
pub(crate) fn kv_error(code: i32, text: &str, call: &Call<'_>) -> KvError {
    let reason = format!("{text} (FoundationDB {code})");
    let failed = |reason| KvError::Failed { reason };
    let class = class(code);
    match (class, call.moment) {
        (Class::Conflict, _) => KvError::Conflict,
        (Class::TooOld, _) => KvError::TooOld,
        (Class::Unavailable, _) => KvError::Unavailable { reason },
        (Class::Overloaded, _) => KvError::Overloaded { reason },
        // E226
        (Class::TimedOut | Class::Lost | Class::Fault, Moment::Commit) => {
            KvError::UnknownResult { reason }
        }
        (Class::TimedOut, Moment::Before(_)) => KvError::TimedOut { limit_ms: call.limit_ms },
        (Class::Lost, Moment::Before(_)) => KvError::Unavailable { reason },
        // Its own count is a little above ours (E227).
        (Class::TooLarge, _) => {
            KvError::TooLarge { found: call.bytes, limit: TRANSACTION_BYTES_MAX }
        }
        (Class::KeyTooLong, Moment::Before(Some(key))) => {
            KvError::KeyTooLong { found: key.len(), limit: KEY_BYTES_MAX }
        }
        (Class::OutsideLegalRange, Moment::Before(Some(key))) => {
            KvError::OutsideLegalRange { key: Shown::of(key) }
        }
        (Class::Unreadable, Moment::Before(Some(key))) => {
            KvError::Unreadable { key: Shown::of(key) }
        }
        // A rule of the library that our checks do not know; which key broke it, it does not say.
        (Class::KeyTooLong | Class::OutsideLegalRange | Class::Unreadable, _)
        | (Class::Refused, _)
        | (Class::Fault, Moment::Before(_)) => failed(reason),
    }
}
