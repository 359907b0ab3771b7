//! Exactly-once channels of one session on one chain (R14).
//!
//! ```text
//!           take: next seq                    answered, or nothing was sent
//!   free ───────────────────> in use ──────────────────────────────────────> free
//!                               │ given up, effect unknown                    ^
//!                               v                                             │ fence answered
//!                            abandoned: the chunk takes no update ────────────┘
//! ```
//!
//! Owner: one storage client. A channel is taken by one update at a time, and sequence numbers
//! ascend (E371). Free ones are taken last in, first out: replicas keep memory for each channel
//! that was ever used.
//!
//! Crash: a client that starts again opens another session, whose channels are all new. Should it
//! find its former one all the same, numbers that began at 1 again would be taken for repetitions,
//! and updates acknowledged that were never done. So numbers begin at the time of day: those of a
//! former start are lower, and after a step of the clock requests are refused, not lost.

use core::cell::RefCell;
use std::collections::BTreeMap;

use engine_runtime::{Gate, Notify};
use engine_types::{ChannelId, ChunkId, WallTime};

/// A request's name within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) channel: ChannelId,
    pub(crate) seq: u64,
}

struct State {
    /// Channels that nobody uses.
    free: Vec<u32>,
    /// Number of the newest request of each channel that was ever used.
    newest: BTreeMap<u32, u64>,
    /// Chunks with abandoned updates, and how many.
    haunted: BTreeMap<ChunkId, u32>,
    /// Below the first number of every channel.
    base: u64,
}

pub(crate) struct Channels {
    state: RefCell<State>,
    gate: Gate,
    changed: Notify,
}

impl Channels {
    pub(crate) fn new(channels: core::ops::Range<u32>, since: WallTime) -> Self {
        let gate = Gate::new(u64::from(channels.end - channels.start));
        let free = channels.rev().collect();
        let (newest, haunted, base) = (BTreeMap::new(), BTreeMap::new(), since.nanos());
        let state = State { free, newest, haunted, base };
        Self { state: RefCell::new(state), gate, changed: Notify::default() }
    }

    /// A tag for an update of `chunk`, if there is one at once and nobody waits in line.
    pub(crate) fn try_take(&self, chunk: ChunkId) -> Option<Tag> {
        (!self.is_haunted(chunk) && self.gate.try_take(1)).then(|| self.pop())
    }

    /// A tag for an update of `chunk`, in line; a chunk with an abandoned update waits outside.
    pub(crate) async fn take(&self, chunk: ChunkId) -> Tag {
        loop {
            self.changed.until(|| !self.is_haunted(chunk)).await;
            self.gate.take(1).await.expect("the gate of channels is never closed");
            if !self.is_haunted(chunk) {
                return self.pop();
            }
            self.gate.give(1); // abandoned while this one stood in line
        }
    }

    fn pop(&self) -> Tag {
        let mut state = self.state.borrow_mut();
        let channel = state.free.pop().expect("E371: as many channels as units of the gate");
        drop(state);
        self.next(ChannelId::new(channel))
    }

    /// The next request of a channel that is in use.
    pub(crate) fn next(&self, channel: ChannelId) -> Tag {
        let mut state = self.state.borrow_mut();
        assert!(!state.free.contains(&channel.get()), "E371: {channel} is in use");
        let base = state.base;
        let newest = state.newest.entry(channel.get()).or_insert(base);
        *newest = newest.checked_add(1).expect("2^64 requests of one channel");
        Tag { channel, seq: *newest }
    }

    /// Nothing of the channel is under way any more.
    pub(crate) fn give(&self, channel: ChannelId) {
        let mut state = self.state.borrow_mut();
        assert!(!state.free.contains(&channel.get()), "E371: {channel} is given back once");
        state.free.push(channel.get());
        drop(state);
        self.gate.give(1);
    }

    /// An update of `chunk` may still happen: nothing else is done to it until it cannot (E373).
    pub(crate) fn haunt(&self, chunk: ChunkId) {
        *self.state.borrow_mut().haunted.entry(chunk).or_default() += 1;
    }

    /// It cannot any more.
    pub(crate) fn lay(&self, chunk: ChunkId) {
        let mut state = self.state.borrow_mut();
        let count = state.haunted.get_mut(&chunk).expect("E373: laid as often as haunted");
        *count -= 1;
        if *count == 0 {
            state.haunted.remove(&chunk);
        }
        drop(state);
        self.changed.notify();
    }

    pub(crate) fn is_haunted(&self, chunk: ChunkId) -> bool {
        self.state.borrow().haunted.contains_key(&chunk)
    }
}
