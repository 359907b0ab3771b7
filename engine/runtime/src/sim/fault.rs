//! What may go wrong, as plain data, and how often it did.
//!
//! Rates are in permille of the operations concerned; 0 turns a fault off, 1000 makes it certain.
//! All of it may be changed while the world runs and holds from then on.

use core::time::Duration;

use crate::core_spec::CoreSpec;

/// A whole world: its seed and the faults that hold before anything is changed.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Determines everything that happens.
    pub seed: u64,
    /// Links between different nodes.
    pub link: Link,
    /// Rules of connections.
    pub net: NetFaults,
    /// Disks of every node.
    pub disk: DiskFaults,
    /// Most that a timer fires late on a node that is not frozen (V3).
    pub timer_late_max: Duration,
    /// Most virtual time that one poll of a task takes.
    pub poll_cost_max: Duration,
    /// Ready tasks that are left waiting for a while, as on a busy core.
    pub stall_permille: u32,
    /// Longest such wait.
    pub stall_max: Duration,
    /// Attempts to send into a mailbox that find it full although it is not (E39).
    pub mailbox_full_permille: u32,
    /// Polls without a moment in which no task is ready, after which the world is called a
    /// livelock.
    pub busy_polls_max: u64,
    /// Lines that the tail of the trace keeps.
    pub trace_lines: usize,
}

impl SimConfig {
    /// A million polls are half a second of busy virtual time: far more than any burst of work in
    /// a small world, and found within a second of real time.
    pub const BUSY_POLLS_MAX: u64 = 1_000_000;
    /// Enough to see the last few messages and I/Os of every node of a small world.
    pub const TRACE_LINES: usize = 200;

    /// A world that is weak (V3) but healthy: nothing is lost, nothing breaks.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            link: Link::default(),
            net: NetFaults::default(),
            disk: DiskFaults::default(),
            timer_late_max: Duration::from_millis(2),
            poll_cost_max: Duration::from_micros(1),
            stall_permille: 5,
            stall_max: Duration::from_micros(500),
            mailbox_full_permille: 10,
            busy_polls_max: Self::BUSY_POLLS_MAX,
            trace_lines: Self::TRACE_LINES,
        }
    }
}

/// One node: a machine on which one process runs at a time.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Shown in traces and failures.
    pub name: String,
    /// Address; `None` picks 10.0.x.y by the node's number.
    pub ip: Option<core::net::Ipv4Addr>,
    /// Its clocks.
    pub clock: ClockSpec,
    /// Core of the main function.
    pub core: CoreSpec,
}

impl NodeSpec {
    /// A node with true clocks.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ip: None,
            clock: ClockSpec::default(),
            core: CoreSpec::new(name),
        }
    }
}

/// How the clocks of a node differ from the world's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockSpec {
    /// Rate: parts per million that both clocks gain on the world's (negative: lose).
    pub drift_ppm: i32,
    /// Nanoseconds by which the time of day is ahead (negative: behind).
    pub wall_skew_ns: i64,
    /// What the monotonic clock shows when the machine starts; `None` picks one per start.
    pub boot: Option<Duration>,
}

/// One direction between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Shortest time of a segment under way.
    pub latency: Duration,
    /// Most that is added to it, uniformly.
    pub jitter: Duration,
    /// Segments lost; they are sent again after the retransmission time-out.
    pub loss_permille: u32,
    /// Segments that arrive twice.
    pub duplicate_permille: u32,
    /// Segments overtaken by later ones: they arrive up to eight latencies late.
    pub reorder_permille: u32,
    /// Bytes per second; 0 is unlimited.
    pub bandwidth: u64,
    /// Nothing passes.
    pub cut: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(30),
            jitter: Duration::from_micros(40),
            loss_permille: 0,
            duplicate_permille: 0,
            reorder_permille: 0,
            bandwidth: 0,
            cut: false,
        }
    }
}

impl Link {
    /// From a node to itself: fast and without faults.
    pub const LOOPBACK: Self = Self {
        latency: Duration::from_micros(5),
        jitter: Duration::from_micros(10),
        loss_permille: 0,
        duplicate_permille: 0,
        reorder_permille: 0,
        bandwidth: 0,
        cut: false,
    };
}

/// Rules of all connections of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetFaults {
    /// Bytes that one direction holds between writer and reader; the writer waits beyond (at
    /// least 1).
    pub window_bytes: u32,
    /// Longest segment, bytes (at least 1).
    pub segment_bytes: u32,
    /// Reads and writes that move only a part of what they could (E37).
    pub partial_permille: u32,
    /// First retransmission time-out; it doubles with every attempt.
    pub retransmit_after: Duration,
    /// Attempts after which the sender gives the connection up as timed out.
    pub retransmit_max: u32,
    /// First time-out of an attempt to connect; it doubles.
    pub connect_retry_after: Duration,
    /// Connections that wait to be accepted; further attempts stay unanswered.
    pub backlog_max: usize,
    /// Connections that are reset before they are accepted.
    pub accept_abort_permille: u32,
}

impl Default for NetFaults {
    fn default() -> Self {
        Self {
            window_bytes: 256 << 10,
            segment_bytes: 64 << 10,
            partial_permille: 200,
            retransmit_after: Duration::from_millis(200),
            retransmit_max: 8,
            connect_retry_after: Duration::from_secs(1),
            backlog_max: 128,
            accept_abort_permille: 0,
        }
    }
}

/// Behaviour of a disk: of all files of a node, or of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFaults {
    /// Shortest and longest time of a read, drawn uniformly.
    pub read: (Duration, Duration),
    /// The same of a write.
    pub write: (Duration, Duration),
    /// The same of a flush and of operations on space and length.
    pub flush: (Duration, Duration),
    /// Operations that take up to twenty times as long.
    pub tail_permille: u32,
    /// Multiplies every time; 1 is normal, 0 counts as 1.
    pub slow_factor: u32,
    /// Reads answered with an I/O error.
    pub read_error_permille: u32,
    /// Writes answered with an I/O error; any part of their range may have changed.
    pub write_error_permille: u32,
    /// Flushes answered with an I/O error, after which nothing is known to be durable.
    pub flush_error_permille: u32,
    /// Flushes that answer success and make nothing durable.
    pub flush_lie_permille: u32,
    /// Reads that return one bit flipped; the medium is right.
    pub read_flip_permille: u32,
    /// Reads that find one bit flipped on the medium, from then on.
    pub rot_permille: u32,
    /// Writes that land at another place of the file and not at theirs.
    pub misdirect_permille: u32,
    /// Discards are answered as unsupported.
    pub no_discard: bool,
    /// The device is gone: every operation fails.
    pub gone: bool,
}

impl Default for DiskFaults {
    fn default() -> Self {
        Self {
            read: (Duration::from_micros(60), Duration::from_micros(160)),
            write: (Duration::from_micros(15), Duration::from_micros(90)),
            flush: (Duration::from_micros(100), Duration::from_micros(600)),
            tail_permille: 5,
            slow_factor: 1,
            read_error_permille: 0,
            write_error_permille: 0,
            flush_error_permille: 0,
            flush_lie_permille: 0,
            read_flip_permille: 0,
            rot_permille: 0,
            misdirect_permille: 0,
            no_discard: false,
            gone: false,
        }
    }
}

macro_rules! kinds {
    (
        $(#[$doc:meta])* $name:ident:
        $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// All of them, in the order of the counters.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// What reports call it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

kinds! {
    /// A fault that happened, or another event worth counting.
    Count:
    /// Events taken from the queue.
    Event = "events",
    /// Polls of tasks.
    Poll = "polls",
    /// Tasks started.
    Task = "tasks",
    /// Timers that fired.
    Timer = "timers",
    /// Segments that arrived with bytes, once each.
    Segment = "segments",
    /// Bytes that writers handed over.
    SentByte = "bytes sent",
    /// Connections that were established.
    Connection = "connections",
    /// Reads of files that ended.
    Read = "reads",
    /// Writes of files that ended.
    Write = "writes",
    /// Flushes that ended.
    Flush = "flushes",
    /// Times a ready task was left waiting.
    Stall = "stalls",
    /// Mailboxes that played full.
    MailboxFull = "mailboxes full",
    /// Segments lost at random.
    Lost = "segments lost",
    /// Segments and answers that met a cut link.
    Cut = "segments cut",
    /// Segments that arrived twice.
    Duplicated = "segments duplicated",
    /// Segments overtaken.
    Reordered = "segments reordered",
    /// Segments sent again.
    Retransmitted = "segments retransmitted",
    /// Reads and writes of sockets that moved only a part.
    Partial = "partial transfers",
    /// Resets that reached a connection.
    Reset = "connections reset",
    /// Connections given up after too many retransmissions, and attempts that timed out.
    TimedOut = "connections timed out",
    /// Attempts to connect where nobody listened.
    RefusedConnection = "connections refused",
    /// Attempts to connect that met a full backlog.
    BacklogFull = "backlogs full",
    /// Accepted connections that were reset before.
    AcceptAborted = "accepts aborted",
    /// Reads that failed.
    ReadError = "read errors",
    /// Writes that failed.
    WriteError = "write errors",
    /// Flushes that failed.
    FlushError = "flush errors",
    /// Flushes that lied.
    FlushLie = "flushes lied",
    /// Writes and allocations that found no space.
    NoSpace = "disks full",
    /// Bits flipped in what a read returned.
    ReadFlip = "read bits flipped",
    /// Bits flipped on the medium.
    Rot = "stored bits flipped",
    /// Writes that landed elsewhere.
    Misdirected = "writes misdirected",
    /// Reads that returned a mixture because a write overlapped.
    MixedRead = "mixed reads",
    /// Sectors whose last content a crash took away.
    SectorLost = "sectors lost",
    /// Operations that met a device that is gone.
    DeviceGone = "devices gone",
    /// Machines that lost power.
    Crash = "crashes",
    /// Processes that were killed.
    Kill = "kills",
    /// Processes that were frozen.
    Freeze = "freezes",
    /// Clocks that were changed.
    ClockChange = "clock changes",
}

/// Number of counters.
pub const COUNTS: usize = Count::ALL.len();

/// What happened in a world so far; plain data, and reports of several worlds add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimReport {
    /// Virtual time that passed.
    pub elapsed: Duration,
    counts: [u64; COUNTS],
}

impl Default for SimReport {
    fn default() -> Self {
        Self { elapsed: Duration::ZERO, counts: [0; COUNTS] }
    }
}

impl SimReport {
    /// How often `count` happened.
    pub fn count(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }

    /// Every counter with its name, in fixed order.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Count::ALL.iter().map(|count| (count.name(), self.count(*count)))
    }

    /// Faults that were injected, without what happens in every healthy world.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts().skip(Count::Stall as usize)
    }

    /// Adds what happened in another world.
    pub fn add(&mut self, other: &Self) {
        self.elapsed += other.elapsed;
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
    }

    pub(super) fn bump(&mut self, count: Count, by: u64) {
        self.counts[count as usize] += by;
    }
}
