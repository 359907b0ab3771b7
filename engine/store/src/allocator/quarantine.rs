//! Blocks that were dropped and may not be used again yet (E112).
//!
//! Two conditions, two queues: first those whose dropping entry is not durable, by its group; then
//! those that an older plan may still use, by its number. Both numbers usually ascend as blocks
//! come in, so a queue is a line; what comes late goes to a heap beside it.

use alloc::collections::{BinaryHeap, VecDeque};
use core::cmp::Reverse;

use crate::address::{BlockAddress, Lsn};

/// The queues.
#[derive(Default)]
pub(super) struct Quarantine {
    volatile: Queue<Lsn, (u64, BlockAddress)>,
    pinned: Queue<u64, BlockAddress>,
}

/// Items by key, lowest first; the order of equal keys means nothing.
struct Queue<K, T> {
    /// Ascending.
    line: VecDeque<(K, T)>,
    late: BinaryHeap<Reverse<(K, T)>>,
}

impl Quarantine {
    pub(super) fn push(&mut self, block: BlockAddress, lsn: Lsn, pin: u64) {
        self.volatile.push(lsn, (pin, block));
    }

    /// A block whose group is durable and whose number no older plan is below.
    pub(super) fn pop(&mut self, durable: Lsn, oldest: u64) -> Option<BlockAddress> {
        while let Some((pin, block)) = self.volatile.pop(durable) {
            if pin <= oldest {
                return Some(block);
            }
            self.pinned.push(pin, block);
        }
        self.pinned.pop(oldest)
    }

    pub(super) fn len(&self) -> usize {
        self.volatile.len() + self.pinned.len()
    }
}

impl<K: Copy + Ord, T: Copy + Ord> Queue<K, T> {
    fn push(&mut self, key: K, item: T) {
        if self.line.back().is_none_or(|&(last, _)| last <= key) {
            self.line.push_back((key, item));
        } else {
            self.late.push(Reverse((key, item)));
        }
    }

    /// An item whose key is `most` or lower.
    fn pop(&mut self, most: K) -> Option<T> {
        if let Some(&(key, item)) = self.line.front()
            && key <= most
        {
            self.line.pop_front();
            return Some(item);
        }
        match self.late.peek() {
            Some(&Reverse((key, item))) if key <= most => {
                self.late.pop();
                Some(item)
            }
            _ => None,
        }
    }

    fn len(&self) -> usize {
        self.line.len() + self.late.len()
    }
}

impl<K: Ord, T: Ord> Default for Queue<K, T> {
    fn default() -> Self {
        Self { line: VecDeque::new(), late: BinaryHeap::new() }
    }
}
