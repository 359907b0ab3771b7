//! Channels of the session: which are free, and their next numbers.

use core::cell::{Cell, RefCell};

use engine_runtime::Notify;
use engine_types::ChannelId;
use meta_protocol::Tag;

#[cfg(test)]
mod tests;

/// See the module.
pub(crate) struct Channels {
    /// Used before, with the last number of each. The one that was used last is taken first, so
    /// that few are used, and few records kept.
    free: RefCell<Vec<Tag>>,
    made: Cell<u32>,
    limit: u32,
    changed: Notify,
}

impl Channels {
    pub(crate) fn new(limit: u32) -> Self {
        Self { free: RefCell::default(), made: Cell::new(0), limit, changed: Notify::default() }
    }

    /// The tag of the next request on a channel that nobody else has until it is given back (E470).
    pub(crate) async fn take(&self) -> Tag {
        loop {
            let changed = self.changed.notified();
            if let Some(tag) = self.try_take() {
                return tag;
            }
            changed.await;
        }
    }

    fn try_take(&self) -> Option<Tag> {
        if let Some(last) = self.free.borrow_mut().pop() {
            return Some(next(last));
        }
        let made = self.made.get();
        if self.limit <= made {
            return None;
        }
        self.made.set(made + 1);
        Some(Tag { channel: ChannelId::new(made), seq: 1 })
    }

    /// Gives a channel back whose request `last` has ended, or was overtaken (E472).
    pub(crate) fn give(&self, last: Tag) {
        let mut free = self.free.borrow_mut();
        let twice = free.iter().any(|tag| tag.channel == last.channel);
        assert!(!twice, "E470: {} is given back twice", last.channel);
        free.push(last);
        drop(free);
        self.changed.notify();
    }
}

/// The number behind `last` on its channel.
pub(crate) fn next(last: Tag) -> Tag {
    // At a million requests a second 2^64 last for half a million years.
    Tag { seq: last.seq.checked_add(1).expect("a channel never comes to its end"), ..last }
}
