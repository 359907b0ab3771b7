//! The file or device of a store: every operation counted, timed, and judged.
//!
//! A failed write or flush takes the store out of service (S-f, R10): what is on the device is
//! unknown then. A failed read is an error of that read.
//!
//! An operation that does not end fails nothing by itself: whoever waits for it waits. It is seen
//! in the figures, and said in the log, as slow ones are: once in [`WARN_PAUSE`], so that a sick
//! device does not fill the log as well.

use core::cell::{Cell, RefCell};
use core::time::Duration;

use engine_runtime::{Bytes, Env, File, FileError, FileOperation, Geometry, Notify};
use engine_types::Instant;

use crate::metrics::{Counters, Io, Ticket, add};

/// Times that recovery tries to read a range: transient errors of a link go away, an unreadable
/// medium does not.
const READ_ATTEMPTS: usize = 3;

/// Shortest time between two warnings about slow operations.
const WARN_PAUSE: Duration = Duration::from_secs(10);

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
    /// When the log was told of a slow operation, and how many followed.
    warned: Cell<Option<Instant>>,
    unsaid: Cell<u64>,
}

/// An operation under way.
pub(crate) struct Pending<E: Env, T: 'static> {
    join: E::Join<Result<T, FileError>>,
    bytes: u64,
    ticket: Ticket,
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
            warned: Cell::new(None),
            unsaid: Cell::new(0),
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
        let ticket = self.begun(kind);
        Pending { join: self.file.read(position, len), bytes: len as u64, ticket }
    }

    pub(crate) fn start_write(
        &self,
        kind: Io,
        position: u64,
        data: Bytes<E::Memory>,
    ) -> Pending<E, ()> {
        let (bytes, ticket) = (data.len() as u64, self.begun(kind));
        Pending { join: self.file.write(position, data), bytes, ticket }
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
        self.account(pending.ticket, pending.bytes, result.as_ref().err());
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
        let ticket = self.begun(Io::Flush);
        let result = self.file.flush().await;
        self.account(ticket, 0, result.as_ref().err());
        if let Err(error) = &result {
            self.fail(error.to_string());
        }
        result
    }

    /// Claims space; a full host is the caller's business (V9).
    pub(crate) async fn preallocate(&self, position: u64, len: u64) -> Result<(), FileError> {
        let ticket = self.begun(Io::Space);
        let result = self.file.preallocate(position, len).await;
        self.account(ticket, 0, result.as_ref().err());
        result
    }

    pub(crate) async fn discard(&self, position: u64, len: u64) -> Result<(), FileError> {
        let ticket = self.begun(Io::Space);
        let result = self.file.discard(position, len).await;
        self.account(ticket, 0, result.as_ref().err());
        result
    }

    fn begun(&self, kind: Io) -> Ticket {
        self.counters.begun(kind, self.env.now())
    }

    fn account(&self, ticket: Ticket, bytes: u64, error: Option<&FileError>) {
        let (kind, since) = self.counters.ended(ticket);
        let took = self.env.now().saturating_since(since);
        if self.slow < took && self.may_warn() {
            let unsaid = self.unsaid.take();
            tracing::warn!(?took, kind = kind.name(), unsaid, "slow device operation");
        }
        match error {
            None => self.counters.done(kind, bytes, took, self.slow),
            Some(error) => {
                self.counters.failed(kind);
                tracing::warn!(%error, kind = kind.name(), "device operation failed");
            }
        }
    }

    /// Says that an operation has not ended for longer than it may take.
    pub(crate) fn warn_of_hanging(&self) {
        let Some((kind, since)) = self.counters.oldest() else { return };
        let took = self.env.now().saturating_since(since);
        if self.slow < took && self.may_warn() {
            let unsaid = self.unsaid.take();
            tracing::warn!(?took, kind = kind.name(), unsaid, "a device operation does not end");
        }
    }

    /// Whether the log is told of one more slow operation; otherwise it is counted.
    fn may_warn(&self) -> bool {
        let now = self.env.now();
        let quiet = self.warned.get().is_none_or(|at| WARN_PAUSE <= now.saturating_since(at));
        if quiet {
            self.warned.set(Some(now));
            add(&self.counters.warnings, 1);
        } else {
            self.unsaid.set(self.unsaid.get() + 1);
        }
        quiet
    }
}
