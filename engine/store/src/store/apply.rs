//! Images on their way home, and the flushes that release them (S3).

use super::Store;
use crate::address::{BLOCK_SECTORS_MAX, BlockAddress, ChunkKey};
use crate::overlay::{self, FlushToken};
use crate::pins::{Pin, User};
use crate::planted;

/// One image to be written to its home block.
#[derive(Debug)]
pub struct Apply<T> {
    /// Where its sector lies.
    pub block: BlockAddress,
    /// Sector of the block.
    pub sector_in_block: u32,
    /// Its bytes.
    pub image: T,
    /// For [`Store::apply_ended`].
    pub ticket: ApplyTicket,
}

/// An image write under way.
#[derive(Debug)]
pub struct ApplyTicket {
    image: overlay::ApplyTicket,
    pin: Pin,
}

impl<T: Clone> Store<T> {
    /// The oldest image that may go home: its commit is durable, and every plan that was made
    /// before the commit has ended (S4).
    pub fn next_apply(&mut self) -> Option<Apply<T>> {
        if !self.room_for(User::Store) {
            return None;
        }
        let oldest = self.pins.borrow().oldest();
        let oldest = if planted!(AppliedUnderReads) { u64::MAX } else { oldest };
        let next = self.overlay.next_apply(oldest)?;
        let block = self.home(&next.key, next.sector);
        let sector_in_block = u32::from(next.sector) % BLOCK_SECTORS_MAX;
        let ticket = ApplyTicket { image: next.ticket, pin: self.take_pin() };
        Some(Apply { block, sector_in_block, image: next.image, ticket })
    }

    /// Block that holds a sector of the committed version.
    fn home(&self, key: &ChunkKey, sector: u16) -> BlockAddress {
        let record = self.index.get(key).expect("S-c: images of an absent chunk are dead");
        let block = record.block((u32::from(sector) / BLOCK_SECTORS_MAX) as usize);
        assert!(block.is_some(), "S-c: {key} sector {sector} has an image and no home");
        block
    }

    /// The write of an image has completed. After a failed one the store leaves service; the image
    /// stays.
    pub fn apply_ended(&mut self, ticket: ApplyTicket, written: bool) {
        let ApplyTicket { image, pin } = ticket;
        self.give_pin(pin);
        self.scratch_lsns.clear();
        if written {
            self.overlay.apply_written(image, &mut self.scratch_lsns);
            if planted!(ReleasedBeforeFlush) {
                let token = self.overlay.flush_started();
                self.overlay.flush_done(token, &mut self.scratch_lsns);
            }
        }
        self.release_holds();
    }

    /// A flush begins: it will cover the image writes that have completed.
    pub fn flush_started(&mut self) -> FlushToken {
        self.overlay.flush_started()
    }

    /// That flush has completed.
    pub fn flush_done(&mut self, token: FlushToken) {
        self.scratch_lsns.clear();
        self.overlay.flush_done(token, &mut self.scratch_lsns);
        self.release_holds();
    }
}
