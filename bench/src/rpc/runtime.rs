//! The runtimes of a pair, and running the core of a client or a server on each.

use std::sync::mpsc;

use engine_runtime::monoio::Driver;
use engine_runtime::{CoreSpec, glommio, monoio};

use super::drive::{Job, drive};
use super::serve::{Endpoints, serve};
use crate::suite::Event;

/// An implementation of `Env`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Runtime {
    /// glommio on io_uring.
    Glommio,
    /// monoio on io_uring.
    Monoio,
    /// monoio on epoll, where the kernel forbids io_uring (V7).
    Epoll,
}

impl Runtime {
    /// Its name in rows.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Glommio => "glommio",
            Self::Monoio => "monoio",
            Self::Epoll => "epoll",
        }
    }

    /// Runs a server on this thread until whoever got its endpoints drops them.
    ///
    /// # Errors
    /// When the core cannot start or listen, or does not end well.
    pub(super) fn serve(
        self,
        spec: CoreSpec,
        ready: mpsc::Sender<Endpoints>,
    ) -> Result<(), String> {
        let on_monoio = |driver, spec, ready| {
            monoio::run_on(driver, spec, |env| serve(env, ready)).map_err(text)
        };
        match self {
            Self::Glommio => glommio::run(spec, |env| serve(env, ready)).map_err(text),
            Self::Monoio => on_monoio(Driver::Uring, spec, ready),
            Self::Epoll => on_monoio(Driver::Legacy, spec, ready),
        }?
    }

    /// Measures the rows of `job` on this thread.
    ///
    /// # Errors
    /// When the core cannot start, or does not end well. Rows report their own failures.
    pub(super) fn drive(
        self,
        spec: CoreSpec,
        job: Job,
        events: mpsc::Sender<Event>,
    ) -> Result<(), String> {
        let on_monoio = |driver, spec, job, events| {
            monoio::run_on(driver, spec, |env| drive(env, job, events)).map_err(text)
        };
        match self {
            Self::Glommio => glommio::run(spec, |env| drive(env, job, events)).map_err(text),
            Self::Monoio => on_monoio(Driver::Uring, spec, job, events),
            Self::Epoll => on_monoio(Driver::Legacy, spec, job, events),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn text(error: impl ToString) -> String {
    error.to_string()
}
