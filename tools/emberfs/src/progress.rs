//! One line on standard error that says how far it is, when somebody watches.

use core::time::Duration;
use std::io::{self, IsTerminal as _, Write as _};

use engine_types::Instant;

/// Time between two lines: below that nobody reads them.
const INTERVAL: Duration = Duration::from_millis(100);

/// How far something is.
pub(crate) struct Progress {
    what: &'static str,
    watched: bool,
    next: Option<Instant>,
}

impl Progress {
    /// Silent unless standard error is a terminal.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, watched: io::stderr().is_terminal(), next: None }
    }

    /// `done` of `total` units are behind us at `now`.
    pub(crate) fn at(&mut self, now: Instant, done: u64, total: u64) {
        if self.watched && self.next.is_none_or(|next| next <= now) {
            self.next = Some(now.saturating_add(INTERVAL));
            print(&line(self.what, done, total));
        }
    }

    /// Where the end is not known: `text` says how far it is.
    pub(crate) fn say(&mut self, now: Instant, text: &str) {
        if self.watched && self.next.is_none_or(|next| next <= now) {
            self.next = Some(now.saturating_add(INTERVAL));
            print(text);
        }
    }

    /// Makes room for other output.
    pub(crate) fn clear(&mut self) {
        if self.next.take().is_some() {
            print("");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn print(text: &str) {
    let mut err = io::stderr().lock();
    // Nobody misses a progress line that cannot be written.
    let _ = write!(err, "\r\x1b[K{text}");
    let _ = err.flush();
}

/// The percentage is rounded down: 100 % is the end.
fn line(what: &str, done: u64, total: u64) -> String {
    let percent = u128::from(done.min(total)) * 100 / u128::from(total.max(1));
    format!("{what} {percent:>3} % ({done} of {total})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_far_it_is() {
        for (done, total, expected) in [
            (0, 0, "checking   0 % (0 of 0)"),
            (0, 7, "checking   0 % (0 of 7)"),
            (6, 7, "checking  85 % (6 of 7)"),
            (7, 7, "checking 100 % (7 of 7)"),
            (u64::MAX, u64::MAX, "checking 100 % (18446744073709551615 of 18446744073709551615)"),
        ] {
            assert_eq!(line("checking", done, total), expected);
        }
    }
}
