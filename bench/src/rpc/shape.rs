//! The shapes of traffic that are measured, and the runtimes that carry them.

use engine_types::limits::INFLIGHT_REQUESTS_MAX;

use crate::runtime::Runtime;
use crate::stats::Heading;

/// Bytes of the small messages: a sector.
const SMALL_BYTES: usize = 4 << 10;
/// Bytes of a transfer.
pub(crate) const LARGE_BYTES: usize = 1 << 20;
/// What goes the other way beside a transfer in the bare counterpart: a frame header.
const ANSWER_BYTES: usize = 64;
/// Goal of small messages at [`FULL_DEPTH`] in flight.
const SMALL_GOAL: f64 = 0.8;
/// Goal of transfers.
const LARGE_GOAL: f64 = 0.9;
/// In flight where small messages must reach their goal.
const FULL_DEPTH: u32 = 64;

// B7: a shape fits the window of one connection, so that no request waits for another.
const _: () = assert!(FULL_DEPTH <= INFLIGHT_REQUESTS_MAX);

/// Server and client runtime; what ships first.
pub(crate) const PAIRS: [(Runtime, Runtime); 5] = [
    (Runtime::Glommio, Runtime::Monoio),
    (Runtime::Monoio, Runtime::Monoio),
    (Runtime::Glommio, Runtime::Glommio),
    (Runtime::Monoio, Runtime::Glommio),
    (Runtime::Epoll, Runtime::Epoll),
];

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// 4 KiB there, 4 KiB back.
    Small,
    /// 1 MiB there, a few bytes back.
    Write,
    /// A few bytes there, 1 MiB back.
    Read,
}

/// One kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) message: Message,
    pub(crate) connections: usize,
    /// Messages in flight on each connection (B7).
    pub(crate) depth: u32,
}

impl Shape {
    /// Every shape, in the order of the table.
    pub(crate) fn all() -> Vec<Self> {
        let mut shapes = Vec::new();
        for connections in [1, 16] {
            for depth in [1, 16, FULL_DEPTH] {
                shapes.push(Self { message: Message::Small, connections, depth });
            }
        }
        for message in [Message::Write, Message::Read] {
            for depth in [1, 4] {
                shapes.push(Self { message, connections: 1, depth });
            }
        }
        shapes
    }

    /// Bytes of payload in the request of an RPC.
    pub(crate) fn request_payload(self) -> usize {
        match self.message {
            Message::Small => SMALL_BYTES,
            Message::Write => LARGE_BYTES,
            Message::Read => 0,
        }
    }

    /// Bytes of payload in the answer of an RPC.
    pub(crate) fn answer_payload(self) -> usize {
        match self.message {
            Message::Small => SMALL_BYTES,
            Message::Write => 0,
            Message::Read => LARGE_BYTES,
        }
    }

    /// Bytes there in the bare counterpart; what has no payload still sends something.
    pub(crate) fn bare_request(self) -> usize {
        self.request_payload().max(ANSWER_BYTES)
    }

    /// Bytes back in the bare counterpart.
    pub(crate) fn bare_answer(self) -> usize {
        self.answer_payload().max(ANSWER_BYTES)
    }

    /// Whether single latencies are of interest: nothing waits behind anything on its connection.
    pub(crate) fn is_latency(self) -> bool {
        self.depth == 1
    }

    /// Name, unit and goal on a pair of runtimes.
    pub(crate) fn heading(self, pair: (Runtime, Runtime)) -> Heading {
        let (server, client) = (pair.0.name(), pair.1.name());
        let (connections, depth) = (self.connections, self.depth);
        let (message, unit, scale, goal) = match self.message {
            Message::Small => {
                let goal = (FULL_DEPTH <= depth).then_some(SMALL_GOAL);
                ("4k", "op/s", 1.0, goal)
            }
            // A transfer is one MiB, so transfers per second are MiB per second.
            Message::Write => ("1m-write", "MiB/s", 1.0, Some(LARGE_GOAL)),
            Message::Read => ("1m-read", "MiB/s", 1.0, Some(LARGE_GOAL)),
        };
        let name = format!("{server}-{client}/{message}/c{connections}/q{depth}");
        Heading { name, unit, scale, goal }
    }
}
