//! What the solver gives: chains of seats.

use alloc::vec::Vec;

use engine_types::{ChainId, NodeId, TargetId};

/// A chain table: the members and preferred order of each chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Members of each chain (E301).
    pub replicas: usize,
    /// In the order of their ids when fresh.
    pub chains: Vec<Chain>,
}

/// One chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Numbered from 1 in a fresh table; an extended one keeps them.
    pub id: ChainId,
    /// Head first, tail last.
    pub members: Vec<Seat>,
}

/// A slot of a disk: the place of one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat {
    /// The machine.
    pub node: NodeId,
    /// Its disk, by `Disk::index`.
    pub disk: u16,
    /// Below the targets of the disk (E302).
    pub slot: u16,
}

/// Bits of a target id below the node's number: 16 for the disk, 16 for the slot.
const NODE_SHIFT: u32 = 32;
const DISK_SHIFT: u32 = 16;

impl Seat {
    /// The target at this place: node in the high half, then disk, then slot. The id says where
    /// the target is, needs no counter and is never given to two places. A seat that a plan
    /// empties may be taken by another chain later: chain and target name it together.
    pub const fn target(self) -> TargetId {
        let node = (self.node.get() as u64) << NODE_SHIFT;
        TargetId::new(node | (self.disk as u64) << DISK_SHIFT | self.slot as u64)
    }

    /// The inverse of `target`; every id names a seat.
    #[expect(clippy::cast_possible_truncation, reason = "each part is taken by itself")]
    pub const fn of_target(target: TargetId) -> Self {
        let raw = target.get();
        Self {
            node: NodeId::new((raw >> NODE_SHIFT) as u32),
            disk: (raw >> DISK_SHIFT) as u16,
            slot: raw as u16,
        }
    }
}
