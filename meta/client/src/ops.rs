//! Calls by what they are answered with, for callers who know that.

use engine_runtime::Env;
use engine_types::Instant;
use meta_protocol::{Answer, Attr, Caller, Entry, FsSpace, LockTold, Operation, op};

use crate::MetaClient;
use crate::error::MetaError;

impl<E: Env> MetaClient<E> {
    /// Of what is answered without more: Unlink, Rmdir, Rename, SetXattr, RemoveTree and others.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn done(
        &self,
        caller: &Caller,
        operation: impl Into<Operation>,
    ) -> Result<(), MetaError> {
        self.of_kind(caller, operation.into(), None, |answer| match answer {
            Answer::Done => Ok(()),
            other => Err(Box::new(other)),
        })
        .await
    }

    /// Attributes: Lookup, Stat, Mkdir, Mknod, Symlink, Link, SetAttr, Sync, Close and others; of
    /// Create, Open and Walk those of what was opened or found.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn attr(
        &self,
        caller: &Caller,
        operation: impl Into<Operation>,
    ) -> Result<Attr, MetaError> {
        self.of_kind(caller, operation.into(), None, |answer| match answer {
            Answer::Attr(attr)
            | Answer::Opened { attr, .. }
            | Answer::Walked { attr, .. }
            | Answer::Fallocated { attr, .. }
            | Answer::Appended { attr, .. } => Ok(attr),
            other => Err(Box::new(other)),
        })
        .await
    }

    /// Create and Open: attributes, and whether the file was made.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn opened(
        &self,
        caller: &Caller,
        operation: impl Into<Operation>,
    ) -> Result<(Attr, bool), MetaError> {
        self.of_kind(caller, operation.into(), None, |answer| match answer {
            Answer::Opened { attr, created } => Ok((attr, created)),
            other => Err(Box::new(other)),
        })
        .await
    }

    /// Readdir: entries, and whether they were the last ones.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn entries(
        &self,
        caller: &Caller,
        operation: impl Into<Operation>,
    ) -> Result<(Vec<Entry>, bool), MetaError> {
        self.of_kind(caller, operation.into(), None, |answer| match answer {
            Answer::Entries { entries, end } => Ok((entries, end)),
            other => Err(Box::new(other)),
        })
        .await
    }

    /// Append: where the caller's bytes begin, and attributes.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn appended(
        &self,
        caller: &Caller,
        operation: impl Into<Operation>,
    ) -> Result<(u64, Attr), MetaError> {
        self.of_kind(caller, operation.into(), None, |answer| match answer {
            Answer::Appended { offset, attr } => Ok((offset, attr)),
            other => Err(Box::new(other)),
        })
        .await
    }

    /// StatFs: room of the file system, and how old that figure is.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn space(&self, caller: &Caller) -> Result<FsSpace, MetaError> {
        self.of_kind(caller, op::StatFs {}.into(), None, |answer| match answer {
            Answer::Space(space) => Ok(space),
            other => Err(Box::new(other)),
        })
        .await
    }

    /// SetLock and CancelLock, by `by`.
    pub(crate) async fn locked(
        &self,
        caller: &Caller,
        operation: impl Into<Operation>,
        by: Instant,
    ) -> Result<LockTold, MetaError> {
        self.of_kind(caller, operation.into(), Some(by), |answer| match answer {
            Answer::Lock(told) => Ok(told),
            other => Err(Box::new(other)),
        })
        .await
    }

    async fn of_kind<T>(
        &self,
        caller: &Caller,
        operation: Operation,
        by: Option<Instant>,
        kind: impl FnOnce(Answer) -> Result<T, Box<Answer>>,
    ) -> Result<T, MetaError> {
        let name = operation.name();
        let answer = match by {
            Some(by) => self.call_by(caller, operation, by).await?,
            None => self.call(caller, operation).await?,
        };
        kind(answer).map_err(|found| MetaError::OtherAnswer {
            operation: name,
            found: format!("{found:?}").chars().take(ANSWER_TOLD_MAX).collect(),
        })
    }
}

/// Letters of an answer that an error repeats.
const ANSWER_TOLD_MAX: usize = 200;
