//! What a version sees of the images of its chunk, and which of them it ends.

use core::fmt;

use engine_types::ChunkVersion;

use crate::entry::SectorRange;

/// Which older images a version kills when it is committed. Its own are not among them.
#[derive(Clone, Copy)]
pub struct Kills<'a> {
    /// Sectors that were written home directly, ascending.
    pub direct: &'a [SectorRange],
    /// Whether a sector is a hole or cut off; nothing when none is that was not before. It is
    /// asked of every image of the chunk.
    pub is_dead: Option<&'a dyn Fn(u16) -> bool>,
}

/// Which content of a chunk is read.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// The committed one.
    Committed,
    /// That of the pending version, which will kill these images of the committed one.
    Pending(ChunkVersion, Kills<'a>),
}

impl<'a> Kills<'a> {
    /// No image.
    pub const NONE: Self = Self { direct: &[], is_dead: None };

    /// Those of sectors that were written directly.
    pub const fn direct(direct: &'a [SectorRange]) -> Self {
        Self { direct, is_dead: None }
    }

    /// Those, and those that `is_dead` says.
    pub const fn new(direct: &'a [SectorRange], is_dead: &'a dyn Fn(u16) -> bool) -> Self {
        Self { direct, is_dead: Some(is_dead) }
    }

    /// Whether an older image of `sector` is killed.
    pub fn covers(&self, sector: u16) -> bool {
        let before = self.direct.partition_point(|range| range.end() <= u32::from(sector));
        self.direct.get(before).is_some_and(|range| range.contains(sector))
            || self.is_dead.is_some_and(|is_dead| is_dead(sector))
    }
}

impl fmt::Debug for Kills<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kills")
            .field("direct", &self.direct)
            .field("is_dead", &self.is_dead.is_some())
            .finish()
    }
}
