//! What is measured on which device: the rows of the suite and their goals.

use engine_types::limits::CHUNK_BYTES_MAX;

use super::device::Kind;
use crate::runtime::Runtime;
use crate::stats::Heading;

/// A sector.
pub(crate) const SMALL_BYTES: u32 = 4 << 10;
/// A checksum block of the largest kind.
const MEDIUM_BYTES: u32 = 64 << 10;
/// A transfer.
pub(crate) const LARGE_BYTES: u32 = 1 << 20;
/// In flight where reads must reach their goal.
const FULL_DEPTH: u32 = 64;

/// In flight of transfers: the bytes of sixteen fill the queue of any device.
const LARGE_DEPTH: u32 = 16;

/// Goal of reads at [`FULL_DEPTH`] on a loop device.
const READ_GOAL_LOOP: f64 = 0.95;
/// Goal of reads at [`FULL_DEPTH`] on the disk.
const READ_GOAL_DISK: f64 = 0.9;
/// Goal of appends.
const APPEND_GOAL: f64 = 0.9;
/// Goal of small durable overwrites: each is written twice, to the journal and to its place.
const OVERWRITE_GOAL: f64 = 0.4;

/// Runtimes that are compared; what ships first.
pub(crate) const RUNTIMES: [Runtime; 2] = [Runtime::Glommio, Runtime::Monoio];

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// The runtime's files alone: what everything above them can reach at best.
    File,
    /// A chunk store with this data.
    Store(Data),
}

/// The chunks that a store is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// Chunks of 1 MiB.
    Large,
    /// Chunks of 4 KiB.
    Small,
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A read at a random place, aligned to its length.
    Read {
        /// Bytes.
        len: u32,
        /// Whether the checksums of what it covers only in part are verified as well.
        verify: bool,
    },
    /// 1 MiB behind what was appended before; durable when it ends.
    Append {
        /// Bytes of a chunk when full.
        chunk: u32,
    },
    /// 4 KiB at a random place that holds data, aligned; durable when it ends.
    Overwrite,
}

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) work: Work,
    /// Operations in flight.
    pub(crate) depth: u32,
}

impl Work {
    /// Bytes that one operation moves.
    pub(crate) fn bytes(self) -> u32 {
        match self {
            Self::Read { len, .. } => len,
            Self::Append { .. } => LARGE_BYTES,
            Self::Overwrite => SMALL_BYTES,
        }
    }

    /// Whether it changes data, and is durable when it ends.
    pub(crate) fn is_write(self) -> bool {
        matches!(self, Self::Append { .. } | Self::Overwrite)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Read { len: SMALL_BYTES, verify: false } => "4k-read",
            Self::Read { len: SMALL_BYTES, verify: true } => "4k-read-verified",
            Self::Read { len: MEDIUM_BYTES, .. } => "64k-read",
            Self::Read { .. } => "1m-read",
            Self::Append { chunk: LARGE_BYTES } => "1m-append",
            Self::Append { .. } => "1m-append-64m",
            Self::Overwrite => "4k-write",
        }
    }
}

impl Data {
    /// Bytes of its chunks.
    pub(crate) fn chunk_bytes(self) -> u32 {
        match self {
            Self::Large => LARGE_BYTES,
            Self::Small => SMALL_BYTES,
        }
    }
}

impl Layer {
    /// Every layer, the lowest first.
    pub(crate) const ALL: [Self; 3] =
        [Self::File, Self::Store(Data::Large), Self::Store(Data::Small)];

    /// Its loads, in the order of the table.
    pub(crate) fn shapes(self) -> Vec<Shape> {
        let read = |len| Work::Read { len, verify: false };
        let of = |work: Work, depths: [u32; 2]| depths.map(|depth| Shape { work, depth });
        let small = of(read(SMALL_BYTES), [1, FULL_DEPTH]).to_vec();
        let medium = of(read(MEDIUM_BYTES), [1, FULL_DEPTH]);
        let large = of(read(LARGE_BYTES), [1, LARGE_DEPTH]);
        let append = |chunk| of(Work::Append { chunk }, [1, LARGE_DEPTH]);
        let overwrite = of(Work::Overwrite, [16, FULL_DEPTH]);
        let verified = Work::Read { len: SMALL_BYTES, verify: true };
        let verified = Shape { work: verified, depth: FULL_DEPTH };
        match self {
            Self::File => [&small, &medium[..], &large, &append(LARGE_BYTES), &overwrite].concat(),
            Self::Store(Data::Large) => [
                &small,
                &[verified][..],
                &medium,
                &large,
                &append(LARGE_BYTES),
                &append(CHUNK_BYTES_MAX),
                &overwrite,
            ]
            .concat(),
            Self::Store(Data::Small) => small,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Store(Data::Large) => "store-1m",
            Self::Store(Data::Small) => "store-4k",
        }
    }
}

/// The rows that one core measures: a layer on a runtime on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) device: Kind,
    pub(crate) layer: Layer,
    pub(crate) runtime: Runtime,
}

impl Setting {
    /// Every setting on a device, in the order of the table.
    pub(crate) fn all_on(device: Kind) -> Vec<Self> {
        let of = |layer| RUNTIMES.map(|runtime| Self { device, layer, runtime });
        Layer::ALL.into_iter().flat_map(of).collect()
    }

    /// What its rows have in common.
    pub(crate) fn name(self) -> String {
        format!("{}/{}-{}", self.device.name(), self.layer.name(), self.runtime.name())
    }

    /// Name, unit and goal of one of its rows.
    pub(crate) fn heading(self, shape: Shape) -> Heading {
        let name = format!("{}/{}/q{}", self.name(), shape.work.name(), shape.depth);
        let (unit, scale) = match shape.work.bytes() {
            SMALL_BYTES => ("op/s", 1.0),
            bytes => ("MiB/s", f64::from(bytes) / f64::from(LARGE_BYTES)),
        };
        Heading { name, unit, scale, goal: self.goal(shape) }
    }

    /// Goals are the store's; what the runtime alone achieves explains them.
    fn goal(self, shape: Shape) -> Option<f64> {
        if self.layer == Layer::File {
            return None;
        }
        match (shape.work, self.device) {
            (Work::Read { verify: true, .. }, _) => None,
            (Work::Read { .. }, _) if shape.depth < FULL_DEPTH => None,
            (Work::Read { .. }, Kind::Loop) => Some(READ_GOAL_LOOP),
            (Work::Read { .. }, Kind::Disk) => Some(READ_GOAL_DISK),
            (Work::Append { .. }, _) => Some(APPEND_GOAL),
            (Work::Overwrite, _) => Some(OVERWRITE_GOAL),
        }
    }
}
