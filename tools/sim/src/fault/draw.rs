//! Generators: how many faults of which kind, how long and how hard, drawn from a seed.

use core::ops::RangeInclusive;
use core::time::Duration;

use engine_runtime::sim::DiskFaults;
use engine_types::{NodeId, Rng};

use super::{Fault, FaultEvent, FaultPlan, LinkTrouble};

/// A kind of fault that can be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Power loss and return.
    CrashAndReturn,
    /// Process killed and restarted.
    KillAndRestart,
    /// Process frozen and woken.
    FreezeAndWake,
    /// Clocks gain or lose up to so many parts per million; the intensity is not used.
    ClockDrift {
        /// Largest deviation of the rate.
        ppm_max: u32,
    },
    /// Both clocks jump forward by up to the time that the fault would last.
    ClockJump,
    /// The time of day is wrong by up to this, in either direction.
    WallSkew {
        /// Largest deviation.
        max: Duration,
    },
    /// One direction of one link is cut.
    OneWayCut,
    /// The nodes fall into two groups.
    Partition,
    /// One direction is slow: latency up to the intensity in milliseconds, little bandwidth.
    SlowLink,
    /// One direction loses, doubles and reorders segments at rates up to the intensity.
    LossyLink,
    /// Reads and writes fail at the rate of the intensity.
    DiskErrors,
    /// Flushes fail at the rate of the intensity.
    FlushErrors,
    /// Flushes answer success and make nothing durable, at the rate of the intensity.
    FlushLies,
    /// Operations are slow, and some far slower.
    SlowDisk,
    /// The file system is full.
    DiskFull,
    /// One stored bit flips.
    BitFlip,
    /// Reads return flipped bits at the rate of the intensity.
    ReadFlips,
    /// Reads find a bit flipped on the medium, which stays flipped, at the rate of the intensity.
    Rot,
    /// Writes land elsewhere at the rate of the intensity.
    Misdirected,
    /// The device does not answer to anything, and is back at the end; the intensity is not used.
    DiskGone,
}

/// How many faults of a kind, where, how long and how hard.
#[derive(Clone, Debug)]
pub struct Draw {
    kind: Kind,
    nodes: Vec<NodeId>,
    count: RangeInclusive<u64>,
    lasts: RangeInclusive<Duration>,
    permille: RangeInclusive<u64>,
}

impl Draw {
    /// Up to two faults of `kind` among `nodes`, of 50 to 500 ms each.
    pub fn new(kind: Kind, nodes: &[NodeId]) -> Self {
        Self {
            kind,
            nodes: nodes.to_vec(),
            count: 0..=2,
            lasts: Duration::from_millis(50)..=Duration::from_millis(500),
            permille: 50..=300,
        }
    }

    /// How many.
    #[must_use]
    pub fn count(mut self, count: RangeInclusive<u64>) -> Self {
        self.count = count;
        self
    }

    /// How long each, in milliseconds.
    #[must_use]
    pub fn lasts_ms(mut self, ms: RangeInclusive<u64>) -> Self {
        self.lasts = Duration::from_millis(*ms.start())..=Duration::from_millis(*ms.end());
        self
    }

    /// How hard: rates in permille.
    #[must_use]
    pub fn permille(mut self, permille: RangeInclusive<u64>) -> Self {
        self.permille = permille;
        self
    }

    fn event(&self, rng: &mut Rng, horizon: Duration) -> Option<FaultEvent> {
        let at = duration(rng, Duration::ZERO..=horizon);
        let lasts = duration(rng, self.lasts.clone());
        let node = *rng.pick(&self.nodes)?;
        let rate = u32::try_from(rng.range(self.permille.clone())).unwrap_or(u32::MAX);
        let fault = match self.kind {
            Kind::CrashAndReturn => Fault::Crash(node),
            Kind::KillAndRestart => Fault::Kill(node),
            Kind::FreezeAndWake => Fault::Freeze(node),
            Kind::ClockDrift { ppm_max } => {
                let ppm = i32::try_from(rng.range(0..=u64::from(ppm_max))).unwrap_or(i32::MAX);
                Fault::Drift(node, if rng.chance(500) { ppm } else { -ppm })
            }
            Kind::ClockJump => return Some(instant(at, Fault::ClockJump(node, lasts))),
            Kind::WallSkew { max } => {
                let nanos = duration(rng, Duration::ZERO..=max).as_nanos();
                let nanos = i64::try_from(nanos).unwrap_or(i64::MAX);
                Fault::WallSkew(node, if rng.chance(500) { nanos } else { -nanos })
            }
            Kind::OneWayCut => Fault::OneWayCut(node, self.other(rng, node)?),
            Kind::Partition => self.partition(rng)?,
            Kind::SlowLink => Fault::Link(node, self.other(rng, node)?, slow(rate)),
            Kind::LossyLink => Fault::Link(node, self.other(rng, node)?, lossy(rng, rate)),
            Kind::DiskFull => Fault::Space(node, 0),
            Kind::BitFlip => return Some(instant(at, Fault::BitFlip(node, rng.next_u64()))),
            disk => Fault::Disk(node, disk_faults(disk, rng, rate)),
        };
        Some(FaultEvent { at, lasts, fault })
    }

    fn other(&self, rng: &mut Rng, node: NodeId) -> Option<NodeId> {
        let others: Vec<NodeId> = self.nodes.iter().copied().filter(|&n| n != node).collect();
        rng.pick(&others).copied()
    }

    /// Two groups, none of them empty.
    fn partition(&self, rng: &mut Rng) -> Option<Fault> {
        let mut nodes = self.nodes.clone();
        rng.shuffle(&mut nodes);
        let most = nodes.len().checked_sub(1).filter(|&most| 0 < most)?;
        let size = usize::try_from(rng.range(1..=most as u64)).expect("below a usize");
        let rest = nodes.split_off(size);
        Some(Fault::Partition(nodes, rest))
    }
}

impl FaultPlan {
    /// Draws a plan whose faults begin within `horizon`. Every generator has numbers of its own, so
    /// that adding one leaves the faults of the others as they were.
    pub fn draw(rng: &Rng, horizon: Duration, draws: &[Draw]) -> Self {
        let mut events = Vec::new();
        for (index, draw) in draws.iter().enumerate() {
            let mut rng = rng.fork(&format!("{index} {:?}", draw.kind));
            for _ in 0..rng.range(draw.count.clone()) {
                events.extend(draw.event(&mut rng, horizon));
            }
        }
        Self::of(events)
    }
}

impl FaultPlan {
    /// Like [`draw`](Self::draw), from about half of the generators: a world in which some kinds of
    /// faults are frequent and others absent finds what a world with a little of everything hides.
    pub fn draw_some(rng: &Rng, horizon: Duration, draws: &[Draw]) -> Self {
        let mut coins = rng.fork("which kinds");
        let some: Vec<Draw> = draws.iter().filter(|_| coins.chance(500)).cloned().collect();
        Self::draw(rng, horizon, &some)
    }
}

fn instant(at: Duration, fault: Fault) -> FaultEvent {
    FaultEvent { at, lasts: Duration::ZERO, fault }
}

fn duration(rng: &mut Rng, range: RangeInclusive<Duration>) -> Duration {
    let nanos = |d: &Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.range(nanos(range.start())..=nanos(range.end())))
}

/// A megabyte per second: a bulk transfer then takes as long as a fault.
const SLOW_BANDWIDTH: u64 = 1 << 20;

fn slow(ms: u32) -> LinkTrouble {
    let latency = Duration::from_millis(ms.into());
    LinkTrouble { latency, jitter: latency, bandwidth: SLOW_BANDWIDTH, ..LinkTrouble::default() }
}

fn lossy(rng: &mut Rng, rate: u32) -> LinkTrouble {
    let mut up_to = || u32::try_from(rng.range(0..=u64::from(rate))).unwrap_or(rate);
    LinkTrouble {
        loss_permille: up_to(),
        duplicate_permille: up_to(),
        reorder_permille: up_to(),
        ..LinkTrouble::default()
    }
}

fn disk_faults(kind: Kind, rng: &mut Rng, rate: u32) -> DiskFaults {
    let mut faults = DiskFaults::default();
    match kind {
        Kind::DiskErrors => {
            faults.read_error_permille = rate;
            faults.write_error_permille = rate;
        }
        Kind::FlushErrors => faults.flush_error_permille = rate,
        Kind::FlushLies => faults.flush_lie_permille = rate,
        Kind::SlowDisk => {
            faults.slow_factor = u32::try_from(rng.range(2..=40)).unwrap_or(2);
            faults.tail_permille = rate;
        }
        Kind::ReadFlips => faults.read_flip_permille = rate,
        Kind::Rot => faults.rot_permille = rate,
        Kind::Misdirected => faults.misdirect_permille = rate,
        Kind::DiskGone => faults.gone = true,
        other => unreachable!("{other:?} is no behaviour of a disk"),
    }
    faults
}
