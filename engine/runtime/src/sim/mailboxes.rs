//! When mailboxes play full (E39).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use engine_types::checksum::mix64;

use crate::mailbox::Refuse;

/// Decisions for all mailboxes of a world. Atomics, because a sender may cross to other threads
/// by its type; in a world it never does.
pub(super) struct Mailboxes {
    state: AtomicU64,
    permille: AtomicU32,
    refused: AtomicU64,
}

/// Steps of the state: any odd number.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Mailboxes {
    pub(super) fn new(seed: u64, permille: u32) -> Self {
        Self {
            state: AtomicU64::new(seed),
            permille: AtomicU32::new(permille),
            refused: AtomicU64::new(0),
        }
    }

    pub(super) fn set(&self, permille: u32) {
        self.permille.store(permille, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn refuse(self: &Arc<Self>) -> Refuse {
        let this = self.clone();
        Arc::new(move || {
            let random = mix64(this.state.fetch_add(STEP, Ordering::Relaxed));
            let full = random % 1000 < u64::from(this.permille.load(Ordering::Relaxed));
            this.refused.fetch_add(full.into(), Ordering::Relaxed);
            full
        })
    }
}
