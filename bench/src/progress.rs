//! One line on standard error that says what is measured now, when somebody watches.

use std::io::{self, IsTerminal as _, Write as _};

/// Which row of how many.
pub(crate) struct Progress {
    watched: bool,
    started: usize,
    total: usize,
}

impl Progress {
    /// Silent unless standard error is a terminal.
    pub(crate) fn new(total: usize) -> Self {
        Self { watched: io::stderr().is_terminal(), started: 0, total }
    }

    /// The row `name` begins.
    pub(crate) fn show(&mut self, name: &str) {
        self.started += 1;
        self.print(&format!("[{}/{}] {name} ...", self.started, self.total));
    }

    /// Something is done before a row.
    pub(crate) fn prepare(&mut self, what: &str) {
        self.print(&format!("{what} ..."));
    }

    /// Makes room for other output.
    pub(crate) fn clear(&self) {
        self.print("");
    }

    fn print(&self, text: &str) {
        if self.watched {
            let mut err = io::stderr().lock();
            // Nobody misses a progress line that cannot be written.
            let _ = write!(err, "\r\x1b[K{text}");
            let _ = err.flush();
        }
    }
}
