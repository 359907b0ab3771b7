//! Sessions that are revoked (L6): their requests are refused for ever.
//!
//! Ids ascend, so everything below the lowest live session is one number; those above it that are
//! revoked already are kept one by one until the bound passes them.
//!
//! Invariants
//!   E191  single ids are above the bound, which is itself not revoked

use alloc::collections::BTreeSet;

use engine_types::SessionId;

use super::TableError;
use crate::entry::Fence;

#[cfg(test)]
mod tests;

/// Sessions revoked one by one. The bound follows the lowest live session, so that this many are
/// revoked only while one very old client lives on; 65,536 take 1 MiB.
pub const FENCES_MAX: usize = 1 << 16;

/// Revoked sessions; see the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fences {
    /// Every session below it is revoked.
    below: SessionId,
    single: BTreeSet<SessionId>,
}

impl Fences {
    /// Nobody is revoked.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether requests of a session are refused.
    pub fn is_fenced(&self, session: SessionId) -> bool {
        session < self.below || self.single.contains(&session)
    }

    /// Revokes sessions.
    ///
    /// # Errors
    /// When the single ids have no room; nothing has changed.
    pub fn add(&mut self, fence: Fence) -> Result<(), TableError> {
        let grows = match fence {
            Fence::One(session) => self.below < session && !self.single.contains(&session),
            Fence::Below(_) => false,
        };
        if grows && FENCES_MAX <= self.single.len() {
            return Err(TableError::TooManyFences { max: FENCES_MAX });
        }
        self.replay(fence);
        Ok(())
    }

    /// The same as a checkpoint or the journal says it.
    pub fn replay(&mut self, fence: Fence) {
        match fence {
            Fence::One(session) if session < self.below => {}
            Fence::One(session) => {
                self.single.insert(session);
            }
            Fence::Below(bound) if bound <= self.below => {}
            Fence::Below(bound) => {
                self.single = self.single.split_off(&bound);
                self.below = bound;
            }
        }
        self.fold();
    }

    /// Every session below this one is revoked.
    pub const fn below(&self) -> SessionId {
        self.below
    }

    /// Entries that make an empty table this one, for a checkpoint.
    pub fn iter(&self) -> impl Iterator<Item = Fence> {
        let bound = Some(Fence::Below(self.below)).filter(|_| self.below != SessionId::default());
        bound.into_iter().chain(self.single.iter().map(|&session| Fence::One(session)))
    }

    /// Sessions that are kept one by one.
    pub fn single_count(&self) -> usize {
        self.single.len()
    }

    /// Moves the bound over the single ids that it touches: the same sessions in less room.
    fn fold(&mut self) {
        while self.single.first() == Some(&self.below) {
            // The last id of all stays single: no bound is above it.
            let Some(next) = self.below.next() else { return };
            self.single.pop_first();
            self.below = next;
        }
    }
}
