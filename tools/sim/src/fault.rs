//! What goes wrong in a world, as data: a list of faults with their beginnings and durations.
//!
//! A plan is drawn from a seed by generators ([`Draw`]), printed with every failure, and carried
//! out by the world. Each fault has an end of its own: a crashed node returns, a cut link heals.
//! Faults may overlap; what holds at a moment is the worst of those under way.

use core::fmt;
use core::time::Duration;

use engine_runtime::sim::DiskFaults;
use engine_types::NodeId;

mod draw;
mod inject;
#[cfg(test)]
mod tests;

pub use draw::{Draw, Kind};
pub(crate) use inject::Injector;

/// What goes wrong, in order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// Faults in the order of `at`.
    pub events: Vec<FaultEvent>,
}

/// One fault with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultEvent {
    /// When it begins, from the beginning of the plan.
    pub at: Duration,
    /// How long it lasts; nothing for what happens at once.
    pub lasts: Duration,
    /// What goes wrong.
    pub fault: Fault,
}

/// How much worse than usual a link is; each number is what it becomes at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkTrouble {
    /// Shortest time under way.
    pub latency: Duration,
    /// Most that is added to it.
    pub jitter: Duration,
    /// Segments lost, in permille.
    pub loss_permille: u32,
    /// Segments that arrive twice, in permille.
    pub duplicate_permille: u32,
    /// Segments overtaken, in permille.
    pub reorder_permille: u32,
    /// Most bytes per second; 0 does not limit.
    pub bandwidth: u64,
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine loses power, with what its disks have not flushed, and returns at the end.
    Crash(NodeId),
    /// The process is killed and started again at the end; its machine lives on.
    Kill(NodeId),
    /// The process stands still and goes on at the end.
    Freeze(NodeId),
    /// Both clocks run at another rate, in parts per million.
    Drift(NodeId, i32),
    /// Both clocks jump forward at once, as after a suspend.
    ClockJump(NodeId, Duration),
    /// The time of day is wrong by so many nanoseconds.
    WallSkew(NodeId, i64),
    /// Nothing passes from the first node to the second; the other direction works.
    OneWayCut(NodeId, NodeId),
    /// Nothing passes between the two groups.
    Partition(Vec<NodeId>, Vec<NodeId>),
    /// Every connection between the two nodes ends at once; new ones can be made.
    Sever(NodeId, NodeId),
    /// The link from the first node to the second is worse than usual.
    Link(NodeId, NodeId, LinkTrouble),
    /// The disk of the node behaves like this where it is worse than usual.
    Disk(NodeId, DiskFaults),
    /// The file system of the node has room for so many bytes in all.
    Space(NodeId, u64),
    /// One bit on the disk of the node flips; `draw` picks the file and the bit.
    BitFlip(NodeId, u64),
}

impl FaultPlan {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }

    /// A plan of `events` in any order.
    pub fn of(mut events: Vec<FaultEvent>) -> Self {
        events.sort_by_key(|event| event.at); // stable: equal times keep their order
        Self { events }
    }

    /// This plan and another at the same time.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.events.extend(other.events);
        Self::of(self.events)
    }

    /// When the last fault has ended, from the beginning of the plan.
    pub fn end(&self) -> Duration {
        let ends = self.events.iter().map(|event| event.at + event.lasts);
        ends.max().unwrap_or(Duration::ZERO)
    }
}

/// One line per fault.
impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.events.is_empty() {
            return f.write_str("  no faults\n");
        }
        for event in &self.events {
            writeln!(f, "  {event}")?;
        }
        Ok(())
    }
}

impl fmt::Display for FaultEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, lasts) = (self.at.as_secs_f64(), self.lasts.as_secs_f64());
        write!(f, "at {at:.6} s for {lasts:.6} s: {}", self.fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(node) => write!(f, "{node} loses power, returns"),
            Self::Kill(node) => write!(f, "{node} is killed, restarts"),
            Self::Freeze(node) => write!(f, "{node} freezes, wakes"),
            Self::Drift(node, ppm) => write!(f, "clocks of {node} drift by {ppm} ppm"),
            Self::ClockJump(node, by) => write!(f, "clocks of {node} jump forward by {by:?}"),
            Self::WallSkew(node, nanos) => {
                write!(f, "time of day of {node} is wrong by {nanos} ns")
            }
            Self::OneWayCut(from, to) => write!(f, "nothing passes from {from} to {to}"),
            Self::Partition(a, b) => {
                write!(f, "nothing passes between {} and {}", Group(a), Group(b))
            }
            Self::Sever(a, b) => write!(f, "connections between {a} and {b} end"),
            Self::Link(from, to, trouble) => write!(f, "link {from} to {to} has {trouble:?}"),
            Self::Disk(node, faults) => write!(f, "disk of {node} has {}", Unusual(faults)),
            Self::Space(node, bytes) => write!(f, "{node} has room for {bytes} bytes in all"),
            Self::BitFlip(node, draw) => write!(f, "a bit flips on the disk of {node} ({draw:#x})"),
        }
    }
}

struct Group<'a>(&'a [NodeId]);

impl fmt::Display for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, node) in self.0.iter().enumerate() {
            write!(f, "{}{node}", if index == 0 { "" } else { "+" })?;
        }
        Ok(())
    }
}

/// What differs from a healthy disk.
struct Unusual<'a>(&'a DiskFaults);

impl fmt::Display for Unusual<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let healthy = DiskFaults::default();
        let found = [
            ("operations up to 20 times slower", self.0.tail_permille, healthy.tail_permille),
            ("read errors", self.0.read_error_permille, 0),
            ("write errors", self.0.write_error_permille, 0),
            ("flush errors", self.0.flush_error_permille, 0),
            ("flushes that lie", self.0.flush_lie_permille, 0),
            ("read bits flipped", self.0.read_flip_permille, 0),
            ("stored bits flipped", self.0.rot_permille, 0),
            ("writes misdirected", self.0.misdirect_permille, 0),
        ];
        for (name, found, usual) in found {
            if found != usual {
                write!(f, "{found} permille {name}; ")?;
            }
        }
        if self.0.gone {
            f.write_str("gone; ")?;
        }
        write!(f, "times x {}", self.0.slow_factor.max(1))
    }
}
