//! What happened, as one number and as the last few lines.
//!
//! The hash covers every poll, timer, message and I/O with its bytes, so two runs that differ
//! anywhere differ in it. Lines are small values; text is made only when somebody asks.

use core::fmt::Write as _;
use std::borrow::Cow;
use std::collections::VecDeque;

use engine_types::checksum::mix64;
use engine_types::crc32c;

/// One line of the trace. Numbers of connections and files are those of the world and node.
#[derive(Clone, Debug)]
pub(super) enum Happened {
    Started { incarnation: u64 },
    Finished,
    Crashed,
    Killed,
    Frozen { nanos: u64 },
    Woken,
    ClockSet,
    Connecting { conn: u32, to: u32 },
    Connected { conn: u32 },
    Refused { conn: u32 },
    GivenUp { conn: u32 },
    Accepted { conn: u32 },
    Sent { conn: u32, to: u32, start: u64, len: u64, crc: u32 },
    Lost { conn: u32, to: u32, start: u64, attempt: u32 },
    Arrived { conn: u32, from: u32, start: u64, end: u64 },
    Received { conn: u32, start: u64, len: u64 },
    Ended { conn: u32, from: u32 },
    Closed { conn: u32 },
    Broken { conn: u32, timed_out: bool },
    Submitted { file: u32, operation: &'static str, position: u64, len: u64 },
    Completed { file: u32, operation: &'static str, position: u64, len: u64, crc: u32, ok: bool },
    Fault { file: u32, what: &'static str, position: u64 },
    Note { text: Cow<'static, str> },
}

struct Line {
    at: u64,
    node: u32,
    happened: Happened,
}

pub(super) struct Trace {
    hash: u64,
    lines: VecDeque<Line>,
    lines_max: usize,
}

/// The node of lines that belong to none.
pub(super) const NO_NODE: u32 = u32::MAX;

impl Trace {
    pub(super) fn new(seed: u64, lines_max: usize) -> Self {
        Self { hash: mix64(seed), lines: VecDeque::with_capacity(lines_max), lines_max }
    }

    pub(super) fn hash(&self) -> u64 {
        mix64(self.hash)
    }

    /// Adds what is in no line: polls and timers.
    #[inline]
    pub(super) fn mix(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    pub(super) fn record(&mut self, at: u64, node: u32, happened: Happened) {
        let (kind, words) = happened.words();
        self.mix(at);
        self.mix(u64::from(node) << 8 | kind);
        for word in words {
            self.mix(word);
        }
        if self.lines_max == 0 {
            return;
        }
        if self.lines.len() == self.lines_max {
            self.lines.pop_front();
        }
        self.lines.push_back(Line { at, node, happened });
    }

    /// The last lines; `name` says who a node is, `path` what a file of a node is.
    pub(super) fn tail(
        &self,
        name: impl Fn(u32) -> String,
        path: impl Fn(u32, u32) -> String,
    ) -> String {
        let mut text = String::new();
        for Line { at, node, happened } in &self.lines {
            let who = if *node == NO_NODE { "world".to_owned() } else { name(*node) };
            let _ = write!(text, "{:4}.{:09} {who}: ", at / 1_000_000_000, at % 1_000_000_000);
            happened.describe(&mut text, &name, &|file| path(*node, file));
            text.push('\n');
        }
        text
    }
}

impl Happened {
    /// A number for the kind and the numbers inside.
    fn words(&self) -> (u64, [u64; 4]) {
        let words = |kind, a: u64, b: u64, c: u64, d: u64| (kind, [a, b, c, d]);
        match *self {
            Self::Started { incarnation } => words(1, incarnation, 0, 0, 0),
            Self::Finished => words(2, 0, 0, 0, 0),
            Self::Crashed => words(3, 0, 0, 0, 0),
            Self::Killed => words(4, 0, 0, 0, 0),
            Self::Frozen { nanos } => words(5, nanos, 0, 0, 0),
            Self::Woken => words(6, 0, 0, 0, 0),
            Self::ClockSet => words(7, 0, 0, 0, 0),
            Self::Connecting { conn, to } => words(8, conn.into(), to.into(), 0, 0),
            Self::Connected { conn } => words(9, conn.into(), 0, 0, 0),
            Self::Refused { conn } => words(10, conn.into(), 0, 0, 0),
            Self::GivenUp { conn } => words(11, conn.into(), 0, 0, 0),
            Self::Accepted { conn } => words(12, conn.into(), 0, 0, 0),
            Self::Sent { conn, to, start, len, crc } => {
                words(13, u64::from(conn) << 32 | u64::from(to), start, len, crc.into())
            }
            Self::Lost { conn, to, start, attempt } => {
                words(14, conn.into(), to.into(), start, attempt.into())
            }
            Self::Arrived { conn, from, start, end } => {
                words(15, conn.into(), from.into(), start, end)
            }
            Self::Received { conn, start, len } => words(16, conn.into(), start, len, 0),
            Self::Ended { conn, from } => words(17, conn.into(), from.into(), 0, 0),
            Self::Closed { conn } => words(18, conn.into(), 0, 0, 0),
            Self::Broken { conn, timed_out } => words(19, conn.into(), timed_out.into(), 0, 0),
            Self::Submitted { file, operation, position, len } => {
                words(20, file.into(), crc32c(operation.as_bytes()).get().into(), position, len)
            }
            Self::Completed { file, operation, position, len, crc, ok } => {
                let operation = u64::from(crc32c(operation.as_bytes()).get());
                let what = u64::from(ok) << 63 | u64::from(crc);
                words(21, operation << 32 | u64::from(file), position, len, what)
            }
            Self::Fault { file, what, position } => {
                words(22, file.into(), crc32c(what.as_bytes()).get().into(), position, 0)
            }
            Self::Note { ref text } => words(23, crc32c(text.as_bytes()).get().into(), 0, 0, 0),
        }
    }

    fn describe(
        &self,
        out: &mut String,
        name: &impl Fn(u32) -> String,
        path: &impl Fn(u32) -> String,
    ) {
        // Writing into a String does not fail.
        let _ = match self {
            Self::Started { incarnation } => write!(out, "started, start {incarnation}"),
            Self::Finished => write!(out, "main returned"),
            Self::Crashed => write!(out, "CRASH: power lost"),
            Self::Killed => write!(out, "KILL: process ended"),
            Self::Frozen { nanos } => write!(out, "FREEZE for {} us", nanos / 1000),
            Self::Woken => write!(out, "woken"),
            Self::ClockSet => write!(out, "CLOCK set"),
            Self::Connecting { conn, to } => {
                write!(out, "conn {conn}: connecting to {}", name(*to))
            }
            Self::Connected { conn } => write!(out, "conn {conn}: connected"),
            Self::Refused { conn } => write!(out, "conn {conn}: refused"),
            Self::GivenUp { conn } => write!(out, "conn {conn}: attempt given up"),
            Self::Accepted { conn } => write!(out, "conn {conn}: accepted"),
            Self::Sent { conn, to, start, len, crc } => {
                write!(out, "conn {conn}: {len} bytes at {start} to {}, crc {crc:08x}", name(*to))
            }
            Self::Lost { conn, to, start, attempt } => {
                write!(out, "conn {conn}: LOST {start} to {}, attempt {attempt}", name(*to))
            }
            Self::Arrived { conn, from, start, end } => {
                write!(out, "conn {conn}: {start}..{end} arrived from {}", name(*from))
            }
            Self::Received { conn, start, len } => {
                write!(out, "conn {conn}: read {len} bytes at {start}")
            }
            Self::Ended { conn, from } => write!(out, "conn {conn}: end from {}", name(*from)),
            Self::Closed { conn } => write!(out, "conn {conn}: closed"),
            Self::Broken { conn, timed_out: true } => write!(out, "conn {conn}: TIMED OUT"),
            Self::Broken { conn, timed_out: false } => write!(out, "conn {conn}: RESET"),
            Self::Submitted { file, operation, position, len } => {
                write!(out, "{}: {operation} {len} at {position}", path(*file))
            }
            Self::Completed { file, operation, position, len, crc, ok } => write!(
                out,
                "{}: {operation} {len} at {position} {}, crc {crc:08x}",
                path(*file),
                if *ok { "done" } else { "FAILED" },
            ),
            Self::Fault { file, what, position } => {
                write!(out, "{}: FAULT {what} at {position}", path(*file))
            }
            Self::Note { text } => write!(out, "{text}"),
        };
    }
}
