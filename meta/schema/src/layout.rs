//! Which chunk of a file lies on which chain, and which chunks a range of bytes touches.
//!
//! Chunk `i` of a file lies on the chain at `chain_index(i)` of its chain table: position
//! `i % stripe`, moved by `base`, in a permutation of the table that `seed` chooses (E402).
//!
//! ```text
//! LayoutTemplate  chunk size u32, stripe u32, table u32
//! Layout          chunk size u32, stripe u32, table u32, table version u32, base u32, seed u64
//! ```

use engine_types::checksum::mix64;
use engine_types::fields::{DecodeError, Reader, Writer};
use engine_types::{ChainTableId, ChainTableVersion, ChunkOffset, ChunkSize};

use crate::codec::{Field, Fields};
use crate::errno::Errno;
use crate::fields;
use crate::limits::{CHUNKS_PER_FILE_MAX, FILE_BYTES_MAX, STRIPE_MAX};

/// What a directory says about the files that are created in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LayoutTemplate {
    /// Bytes of a chunk.
    pub chunk_size: ChunkSize,
    /// Chains over which a file is striped: 1 to 1,024.
    pub stripe: u32,
    /// The chain table, in the version that is current when a file is created.
    pub table: ChainTableId,
}

/// Where the chunks of a file are. It never changes while the file has chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Bytes of a chunk.
    pub chunk_size: ChunkSize,
    /// Chains over which the file is striped: 1 to 1,024, and at most those of the table.
    pub stripe: u32,
    /// The chain table.
    pub table: ChainTableId,
    /// Its version, by which indices have their meaning.
    pub table_version: ChainTableVersion,
    /// Where in the permutation the stripe begins; random.
    pub base: u32,
    /// Which permutation of the table; random.
    pub seed: u64,
}

/// A part of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    /// Index of the chunk in its file.
    pub chunk: u32,
    /// Where in the chunk it begins.
    pub offset: ChunkOffset,
    /// Its bytes, from 1.
    pub length: u32,
}

/// What a layout may not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// No chains, or too many.
    #[error("a stripe of {found} chains, expected 1 to {STRIPE_MAX}")]
    Stripe {
        /// Chains of the stripe.
        found: u32,
    },
    /// More chains than the table has.
    #[error("a stripe of {found} chains in a table of {chains}")]
    Table {
        /// Chains of the stripe.
        found: u32,
        /// Chains of the table.
        chains: u32,
    },
}

impl LayoutError {
    /// What a caller is answered.
    pub const fn errno(self) -> Errno {
        Errno::EINVAL
    }
}

impl LayoutTemplate {
    /// Checks it by itself.
    ///
    /// # Errors
    /// A stripe of no chains, or of more than 1,024.
    pub const fn check(&self) -> Result<(), LayoutError> {
        if self.stripe == 0 || STRIPE_MAX < self.stripe {
            return Err(LayoutError::Stripe { found: self.stripe });
        }
        Ok(())
    }

    /// Checks it against a table of `chains` chains.
    ///
    /// # Errors
    /// A stripe of no chains, of more than 1,024, or of more than the table has.
    pub fn check_in(&self, chains: u32) -> Result<(), LayoutError> {
        self.check()?;
        if chains < self.stripe {
            return Err(LayoutError::Table { found: self.stripe, chains });
        }
        Ok(())
    }

    /// The layout of a new file: `random` and `seed` are random numbers.
    pub const fn layout(&self, version: ChainTableVersion, base: u32, seed: u64) -> Layout {
        let Self { chunk_size, stripe, table } = *self;
        Layout { chunk_size, stripe, table, table_version: version, base, seed }
    }
}

impl Layout {
    /// What a directory would say to give files this layout.
    pub const fn template(&self) -> LayoutTemplate {
        LayoutTemplate { chunk_size: self.chunk_size, stripe: self.stripe, table: self.table }
    }

    /// Index into the chain table, of `chains` chains, of the chain that holds `chunk` (E402).
    ///
    /// Any `chains` from the stripe's size on gives an index below it. The chunks of one stripe
    /// lie on different chains, and files with random bases and seeds load all chains alike.
    ///
    /// # Panics
    /// For a table of fewer chains than the stripe: `check_in` refuses such layouts.
    pub fn chain_index(&self, chunk: u32, chains: u32) -> u32 {
        assert!(0 < self.stripe && self.stripe <= chains, "E402: the stripe fits the table");
        select(self.base, self.seed, chunk % self.stripe, chains)
    }

    /// Bytes of the largest file of this layout (EFBIG beyond).
    pub fn file_bytes_max(&self) -> u64 {
        (CHUNKS_PER_FILE_MAX * u64::from(self.chunk_size.bytes())).min(FILE_BYTES_MAX)
    }

    /// Chunks of a file of `length` bytes.
    pub fn chunk_count(&self, length: u64) -> u64 {
        length.div_ceil(self.chunk_size.bytes().into())
    }

    /// Which chunk the byte at `offset` is in, and where in it.
    ///
    /// # Errors
    /// EFBIG beyond the largest file.
    pub fn place(&self, offset: u64) -> Result<(u32, ChunkOffset), Errno> {
        if self.file_bytes_max() <= offset {
            return Err(Errno::EFBIG);
        }
        let size = u64::from(self.chunk_size.bytes());
        let chunk = u32::try_from(offset / size).expect("below the largest file");
        let within = u32::try_from(offset % size).expect("below the size of a chunk");
        Ok((chunk, ChunkOffset::new(within).expect("below the size of a chunk")))
    }

    /// The parts of chunks that the `length` bytes from `offset` on are, in order; none for no
    /// bytes.
    ///
    /// # Errors
    /// EFBIG if the range ends beyond the largest file.
    pub fn pieces(&self, offset: u64, length: u64) -> Result<Pieces, Errno> {
        let end = offset.checked_add(length).ok_or(Errno::EFBIG)?;
        if self.file_bytes_max() < end {
            return Err(Errno::EFBIG);
        }
        Ok(Pieces { layout: *self, next: offset, end })
    }
}

/// Parts of chunks, one after the other.
#[derive(Clone, Debug)]
pub struct Pieces {
    layout: Layout,
    next: u64,
    end: u64,
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let left = self.end - self.next;
        if left == 0 {
            return None;
        }
        let (chunk, offset) = self.layout.place(self.next).expect("checked when it was made");
        let room = self.layout.chunk_size.bytes() - offset.bytes();
        let length = u32::try_from(left).map_or(room, |left| left.min(room));
        self.next += u64::from(length);
        Some(Piece { chunk, offset, length })
    }
}

/// Rounds of the permutation: three of a balanced Feistel network with random functions are
/// pseudorandom (Luby and Rackoff, 1988); one more costs nothing.
const ROUNDS: u64 = 4;

/// Index in a table of `chains` chains of the `position`-th chain of a stripe.
///
/// The permutation of 0..`chains` is a Feistel network on the smallest even number of bits that
/// holds them, walked until it comes below `chains`: as a permutation returns to where it began,
/// the walk ends; as the domain is below four times `chains`, it takes fewer than four steps on
/// average. So a table of any size costs no memory and a few nanoseconds.
fn select(base: u32, seed: u64, position: u32, chains: u32) -> u32 {
    let chains = u64::from(chains);
    let start = (u64::from(base) + u64::from(position)) % chains;
    let bits = u64::BITS - (chains - 1).leading_zeros();
    let half = bits.div_ceil(2).max(1);
    let mut value = start;
    loop {
        value = feistel(value, half, seed);
        if value < chains {
            return u32::try_from(value).expect("below the number of chains");
        }
    }
}

/// One pass: `half` bits on each side.
const fn feistel(value: u64, half: u32, seed: u64) -> u64 {
    let mask = (1 << half) - 1;
    let (mut left, mut right) = (value >> half & mask, value & mask);
    let mut round = 0;
    while round < ROUNDS {
        let mixed = mix64(seed ^ mix64(right << 8 | round));
        (left, right) = (right, left ^ mixed & mask);
        round += 1;
    }
    left << half | right
}

fields! {
    LayoutTemplate { chunk_size, stripe, table }
}

/// By hand, as a stripe of none would divide by zero later.
impl Fields for Layout {
    const FIELDS_BYTES_MIN: usize = 28;

    fn write_fields(&self, out: &mut Writer) {
        let Self { chunk_size, stripe, table, table_version, base, seed } = self;
        chunk_size.write(out);
        stripe.write(out);
        table.write(out);
        table_version.write(out);
        base.write(out);
        seed.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let layout = Self {
            chunk_size: Field::read("chunk_size", from)?,
            stripe: Field::read("stripe", from)?,
            table: Field::read("table", from)?,
            table_version: Field::read("table_version", from)?,
            base: Field::read("base", from)?,
            seed: Field::read("seed", from)?,
        };
        match layout.template().check() {
            Ok(()) => Ok(layout),
            Err(LayoutError::Stripe { found } | LayoutError::Table { found, .. }) => {
                Err(from.bad_number("stripe", found.into(), "1 to 1024"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
