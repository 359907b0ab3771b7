//! The file or device of a store: every operation counted, timed, and judged.
//!
//! A failed write or flush takes the store out of service (S-f, R10): what is on the device is
//! unknown then. A failed read is an error of that read.

use core::cell::{Cell, RefCell};
use core::time::Duration;

use engine_runtime::{Bytes, Env, File, FileError, FileOperation, Geometry, Notify};
use engine_types::Instant;

use crate::metrics::{Counters, Io};

/// Times that recovery tries to read a range: transient errors of a link go away, an unreadable
/// medium does not.
const READ_ATTEMPTS: usize = 3;

/// A device with the store's counters.
pub(crate) struct Device<E: Env> {
    env: E,
    file: E::File,
    pub(crate) counters: Counters,
    slow: Duration,
    flushes: bool,
    failure: RefCell<Option<String>>,
    /// Completed when the store leaves service.
    pub(crate) failed: Notify,
    is_failed: Cell<bool>,
}

/// An operation under way.
pub(crate) struct Pending<E: Env, T: 'static> {
    join: E::Join<Result<T, FileError>>,
    kind: Io,
    bytes: u64,
    since: Instant,
}

impl<E: Env> Device<E> {
    pub(crate) fn new(env: &E, file: E::File, slow: Duration, always_flush: bool) -> Self {
        let flushes = always_flush || file.geometry().volatile_cache;
        Self {
            env: env.clone(),
            file,
            counters: Counters::new(),
            slow,
            flushes,
            failure: RefCell::new(None),
            failed: Notify::default(),
            is_failed: Cell::new(false),
        }
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.file.geometry()
    }

    /// Whether the store has left service.
    pub(crate) fn is_failed(&self) -> bool {
        self.is_failed.get()
    }

    /// Why it has.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Takes the store out of service; the first reason stays.
    pub(crate) fn fail(&self, why: String) {
        if self.is_failed.replace(true) {
            return;
        }
        tracing::error!(%why, "store leaves service");
        *self.failure.borrow_mut() = Some(why);
        self.failed.notify();
    }

    pub(crate) fn start_read(
        &self,
        kind: Io,
        position: u64,
        len: usize,
    ) -> Pending<E, Bytes<E::Memory>> {
        let since = self.env.now();
        Pending { join: self.file.read(position, len), kind, bytes: len as u64, since }
    }

    pub(crate) fn start_write(
        &self,
        kind: Io,
        position: u64,
        data: Bytes<E::Memory>,
    ) -> Pending<E, ()> {
        let (bytes, since) = (data.len() as u64, self.env.now());
        Pending { join: self.file.write(position, data), kind, bytes, since }
    }

    /// Waits for a read or write. A write that failed takes the store out of service.
    pub(crate) async fn finish<T: 'static>(
        &self,
        mut pending: Pending<E, T>,
    ) -> Result<T, FileError> {
        self.wait(&mut pending).await
    }

    /// Like [`finish`](Self::finish), for who keeps the handle until the end.
    pub(crate) async fn wait<T: 'static>(
        &self,
        pending: &mut Pending<E, T>,
    ) -> Result<T, FileError> {
        let result = (&mut pending.join).await;
        self.account(pending.kind, pending.bytes, pending.since, result.as_ref().err());
        if let Err(error) = &result
            && error.operation == FileOperation::Write
        {
            self.fail(error.to_string());
        }
        result
    }

    pub(crate) async fn read(
        &self,
        kind: Io,
        position: u64,
        len: usize,
    ) -> Result<Bytes<E::Memory>, FileError> {
        self.finish(self.start_read(kind, position, len)).await
    }

    /// Reads during recovery: one error is not the end of an opening.
    pub(crate) async fn read_again(
        &self,
        kind: Io,
        position: u64,
        len: usize,
    ) -> Result<Bytes<E::Memory>, FileError> {
        for _ in 1..READ_ATTEMPTS {
            if let Ok(bytes) = self.read(kind, position, len).await {
                return Ok(bytes);
            }
        }
        self.read(kind, position, len).await
    }

    pub(crate) async fn write(
        &self,
        kind: Io,
        position: u64,
        data: Bytes<E::Memory>,
    ) -> Result<(), FileError> {
        self.finish(self.start_write(kind, position, data)).await
    }

    /// Makes every completed write durable; nothing to do on a device without volatile cache.
    pub(crate) async fn flush(&self) -> Result<(), FileError> {
        if !self.flushes {
            return Ok(());
        }
        let since = self.env.now();
        let result = self.file.flush().await;
        self.account(Io::Flush, 0, since, result.as_ref().err());
        if let Err(error) = &result {
            self.fail(error.to_string());
        }
        result
    }

    /// Claims space; a full host is the caller's business (V9).
    pub(crate) async fn preallocate(&self, position: u64, len: u64) -> Result<(), FileError> {
        let since = self.env.now();
        let result = self.file.preallocate(position, len).await;
        self.account(Io::Space, 0, since, result.as_ref().err());
        result
    }

    pub(crate) async fn discard(&self, position: u64, len: u64) -> Result<(), FileError> {
        let since = self.env.now();
        let result = self.file.discard(position, len).await;
        self.account(Io::Space, 0, since, result.as_ref().err());
        result
    }

    fn account(&self, kind: Io, bytes: u64, since: Instant, error: Option<&FileError>) {
        let took = self.env.now().saturating_since(since);
        match error {
            None => self.counters.done(kind, bytes, took, self.slow),
            Some(error) => {
                self.counters.failed(kind);
                tracing::warn!(%error, kind = kind.name(), "device operation failed");
            }
        }
    }
}
