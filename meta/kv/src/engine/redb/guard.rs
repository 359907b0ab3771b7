//! Errors and panics of redb, told apart.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ::redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

use crate::engine::EngineError;
use crate::engine::seam::{Failure, Seam};
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// What went wrong inside redb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No space was left before the commit began; the transaction is gone.
    Full(String),
    /// The device failed, or redb refuses because it did. The seam knows more.
    Failed(String),
    /// What is stored does not make sense.
    Damaged(String),
}

impl Trouble {
    /// As an error of the engine, with what the device said first.
    pub(super) fn explained(self, seam: &Seam) -> EngineError {
        match (self, seam.failure()) {
            (Self::Full(reason), _) => EngineError::Full { reason },
            (Self::Damaged(reason), None) | (_, Some(Failure::Short(reason))) => {
                EngineError::Damaged { reason }
            }
            (Self::Failed(reason), None) => EngineError::Io { reason },
            (_, Some(Failure::Full(reason) | Failure::Broken(reason))) => {
                EngineError::Io { reason }
            }
        }
    }
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(_) | StorageError::PreviousIo | StorageError::DatabaseClosed => {
                Self::Failed(error.to_string())
            }
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TableError> for Trouble {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TransactionError> for Trouble {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<CommitError> for Trouble {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<DatabaseError> for Trouble {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// A key as a batch can have stored it: redb does not verify the pages that it reads (E217).
pub(super) fn sound_key(key: &[u8]) -> Result<&[u8], Trouble> {
    let found = key.len();
    if KEY_BYTES_MAX < found {
        return Err(Trouble::Damaged(format!("a key of {found} bytes, at most {KEY_BYTES_MAX}")));
    }
    Ok(key)
}

/// A value as a batch can have stored it (E217).
pub(super) fn sound_value(value: &[u8]) -> Result<&[u8], Trouble> {
    let found = value.len();
    if VALUE_BYTES_MAX < found {
        let reason = format!("a value of {found} bytes, at most {VALUE_BYTES_MAX}");
        return Err(Trouble::Damaged(reason));
    }
    Ok(value)
}

/// Calls into redb. A panic there means that the file is not what it wrote (E217): redb asserts
/// what its checksums would have told.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    // Whatever the call left half done is not used again: the caller ends the engine.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Trouble::Damaged(format!("redb gave up: {}", text.unwrap_or("without a word"))))
    })
}
