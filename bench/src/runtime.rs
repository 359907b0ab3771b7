//! The runtimes that are compared, and running a core on each.

use core::future::Future;

use engine_runtime::monoio::Driver;
use engine_runtime::{CoreSpec, Env, glommio, monoio};

/// An implementation of `Env`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// glommio on io_uring.
    Glommio,
    /// monoio on io_uring.
    Monoio,
    /// monoio on epoll, where the kernel forbids io_uring (V7).
    Epoll,
}

/// The main function of a core, written once for every runtime.
pub(crate) trait Main: 'static {
    /// What it answers.
    type Output: 'static;

    /// Runs until the core is to end.
    fn run<E: Env>(self, env: E) -> impl Future<Output = Self::Output> + 'static;
}

impl Runtime {
    /// Its name in rows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Glommio => "glommio",
            Self::Monoio => "monoio",
            Self::Epoll => "epoll",
        }
    }

    /// Runs `main` on this thread.
    ///
    /// # Errors
    /// When the core cannot start, or does not end well.
    pub(crate) fn run<M: Main>(self, spec: CoreSpec, main: M) -> Result<M::Output, String> {
        let on_monoio =
            |driver, spec, main: M| monoio::run_on(driver, spec, |env| main.run(env)).map_err(text);
        match self {
            Self::Glommio => glommio::run(spec, |env| main.run(env)).map_err(text),
            Self::Monoio => on_monoio(Driver::Uring, spec, main),
            Self::Epoll => on_monoio(Driver::Legacy, spec, main),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn text(error: impl ToString) -> String {
    error.to_string()
}
