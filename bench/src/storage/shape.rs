//! What is measured: loads, where they run, and their goals.

use crate::rpc::shape as wire;
use crate::stats::Heading;
use crate::store::shape as disk;

/// A sector.
pub(super) const SMALL_BYTES: u32 = 4 << 10;
/// A transfer.
pub(super) const LARGE_BYTES: u32 = 1 << 20;
/// Goal beside 1 / sum(1 / layer).
const LAYERS_GOAL: f64 = 0.8;
/// Goal of transfers to all replicas beside a third of the slower of device and bare TCP.
const BARE_GOAL: f64 = 0.7;

/// What one client does to one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// 4 KiB at a random aligned place that holds data.
    SmallRead,
    /// 4 KiB out of a chunk without data: everything of a read except the device.
    HoleRead,
    /// A chunk of 1 MiB.
    LargeRead,
    /// 4 KiB over data at a random aligned place.
    SmallWrite,
    /// A whole chunk of 1 MiB.
    LargeWrite,
}

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) work: Work,
    /// Operations in flight.
    pub(super) depth: u32,
}

/// What a row stands on, each measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// Storage itself.
    Subject,
    /// RPC of the same shape, handed on from server to server where there are replicas.
    Rpc,
    /// The chunk stores, all of them at once.
    Store,
    /// fio on one of their devices.
    Device,
    /// Bare TCP.
    Tcp,
}

/// Nodes that run at the same time, each with one shard, one store and one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// A shard on the first CPU, its client on the second.
    One,
    /// Three shards and their client; all share the CPUs as the kernel likes.
    Three,
}

impl Work {
    /// Bytes that an operation moves.
    pub(super) fn bytes(self) -> u32 {
        match self {
            Self::SmallRead | Self::HoleRead | Self::SmallWrite => SMALL_BYTES,
            Self::LargeRead | Self::LargeWrite => LARGE_BYTES,
        }
    }

    /// Whether it changes data.
    pub(super) fn is_write(self) -> bool {
        matches!(self, Self::SmallWrite | Self::LargeWrite)
    }

    fn name(self) -> &'static str {
        match self {
            Self::SmallRead => "4k-read",
            Self::HoleRead => "4k-hole-read",
            Self::LargeRead => "1m-read",
            Self::SmallWrite => "4k-write",
            Self::LargeWrite => "1m-write",
        }
    }
}

impl Side {
    /// Its name where layers are told.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Subject => "storage",
            Self::Rpc => "rpc",
            Self::Store => "store",
            Self::Device => "device/3",
            Self::Tcp => "tcp/3",
        }
    }

    /// Whether no client takes part in it.
    pub(super) fn is_below_servers(self) -> bool {
        matches!(self, Self::Store | Self::Device)
    }

    /// Operations of this layer that one of the row takes.
    pub(super) fn per_op(self) -> u64 {
        match self {
            Self::Subject | Self::Rpc | Self::Store => 1,
            Self::Device | Self::Tcp => 3,
        }
    }
}

impl Shape {
    /// Its limits, in the order in which they are told.
    pub(super) fn limits(self) -> &'static [Side] {
        match self.work {
            Work::HoleRead => &[Side::Rpc],
            Work::SmallRead | Work::LargeRead | Work::SmallWrite => &[Side::Rpc, Side::Store],
            Work::LargeWrite => &[Side::Rpc, Side::Store, Side::Device, Side::Tcp],
        }
    }

    /// The load on a store alone, or on its device.
    pub(super) fn on_store(self) -> disk::Shape {
        let work = match self.work {
            Work::SmallRead | Work::HoleRead => {
                disk::Work::Read { len: SMALL_BYTES, verify: false }
            }
            Work::LargeRead => disk::Work::Read { len: LARGE_BYTES, verify: false },
            Work::SmallWrite => disk::Work::Overwrite,
            Work::LargeWrite => disk::Work::Append { chunk: LARGE_BYTES },
        };
        disk::Shape { work, depth: self.depth }
    }

    /// The load on bare TCP.
    pub(super) fn on_wire(self) -> wire::Shape {
        let message = match self.work {
            Work::SmallRead | Work::HoleRead | Work::SmallWrite => wire::Message::Small,
            Work::LargeRead => wire::Message::Read,
            Work::LargeWrite => wire::Message::Write,
        };
        wire::Shape { message, connections: 1, depth: self.depth }
    }
}

impl Setting {
    /// Both, in the order of the table.
    pub(super) const ALL: [Self; 2] = [Self::One, Self::Three];

    /// Replicas of its chain.
    pub(super) fn replicas(self) -> usize {
        match self {
            Self::One => 1,
            Self::Three => 3,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::One => "one-shard",
            Self::Three => "three-replicas",
        }
    }

    /// Its loads, in the order of the table.
    pub(super) fn shapes(self) -> Vec<Shape> {
        let of = |work, depths: &[u32]| -> Vec<Shape> {
            depths.iter().map(|&depth| Shape { work, depth }).collect()
        };
        let (small, large) = (&[1, 16, 64], &[1, 16]);
        match self {
            Self::One => {
                [of(Work::SmallRead, small), of(Work::HoleRead, small), of(Work::LargeRead, large)]
                    .concat()
            }
            Self::Three => [of(Work::SmallWrite, small), of(Work::LargeWrite, large)].concat(),
        }
    }

    /// Name, unit and goal of one of its rows.
    pub(super) fn heading(self, shape: Shape) -> Heading {
        let name = format!("{}/{}/q{}", self.name(), shape.work.name(), shape.depth);
        // A transfer is one MiB, so transfers per second are MiB per second.
        let unit = if shape.work.bytes() == SMALL_BYTES { "op/s" } else { "MiB/s" };
        let goal = if shape.work == Work::LargeWrite { BARE_GOAL } else { LAYERS_GOAL };
        Heading { name, unit, scale: 1.0, goal: Some(goal) }
    }
}
