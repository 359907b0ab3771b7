//! What a store counts about itself. One core owns it; a snapshot is a copy.

use core::cell::{Cell, RefCell};
use core::time::Duration;

use engine_types::Instant;
use hdrhistogram::Histogram;

/// Kinds of device operations, each with its own figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// Reads for callers.
    Read,
    /// Reads of old bytes for merges.
    Merge,
    /// Data written to its place for callers.
    Data,
    /// Journal groups.
    Journal,
    /// Images written home.
    Apply,
    /// Checkpoint pages and superblocks.
    Checkpoint,
    /// Reads of what is moved or repaired.
    MoveRead,
    /// What is moved or repaired, written to its new place.
    Move,
    /// Reads of the scrubber.
    Scrub,
    /// Reads of what is sent to another replica.
    Ship,
    /// Flushes.
    Flush,
    /// Claims and discards.
    Space,
}

impl Io {
    /// Every kind, in the order of its figures.
    pub const ALL: [Self; 12] = [
        Self::Read,
        Self::Merge,
        Self::Data,
        Self::Journal,
        Self::Apply,
        Self::Checkpoint,
        Self::MoveRead,
        Self::Move,
        Self::Scrub,
        Self::Ship,
        Self::Flush,
        Self::Space,
    ];

    /// Its name in figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Merge => "merge",
            Self::Data => "data",
            Self::Journal => "journal",
            Self::Apply => "apply",
            Self::Checkpoint => "checkpoint",
            Self::MoveRead => "move read",
            Self::Move => "move",
            Self::Scrub => "scrub",
            Self::Ship => "ship",
            Self::Flush => "flush",
            Self::Space => "space",
        }
    }
}

/// Figures of one kind of device operation.
#[derive(Clone, Debug)]
pub struct IoFigures {
    /// Operations that succeeded.
    pub operations: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Operations that failed.
    pub errors: u64,
    /// Operations slower than the configured bound.
    pub slow: u64,
    /// Operations under way.
    pub in_flight: u64,
    /// Time for which the oldest of them has been under way: a device that hangs is seen here and
    /// nowhere else.
    pub oldest: Option<Duration>,
    /// Time from submission to completion, microseconds.
    pub latency_us: Histogram<u64>,
}

/// A copy of everything counted since the store was opened.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// By kind of device operation, in the order of [`Io::ALL`].
    pub io: Vec<IoFigures>,
    /// Groups written, and PUTs in them: their quotient is the mean group.
    pub groups: u64,
    /// PUT entries written.
    pub puts: u64,
    /// Images logged.
    pub images: u64,
    /// Bytes that callers wrote.
    pub user_bytes_written: u64,
    /// Bytes that callers read.
    pub user_bytes_read: u64,
    /// Checksum blocks verified by reads, merges and the scrubber.
    pub verified_blocks: u64,
    /// Checksum blocks that did not match.
    pub corrupt_blocks: u64,
    /// Checkpoints completed.
    pub checkpoints: u64,
    /// Updates that had to wait for room in the journal, for images, or for a segment.
    pub waits: u64,
    /// Warnings about slow operations, finished or not; a few per minute at most.
    pub warnings: u64,
}

impl Metrics {
    /// Figures of one kind.
    pub fn io(&self, kind: Io) -> &IoFigures {
        &self.io[kind as usize]
    }

    /// Bytes written to the device by everything.
    pub fn device_bytes_written(&self) -> u64 {
        [Io::Data, Io::Journal, Io::Apply, Io::Checkpoint, Io::Move]
            .map(|kind| self.io(kind).bytes)
            .iter()
            .sum()
    }

    /// Bytes read from the device for callers and merges.
    pub fn device_bytes_read(&self) -> u64 {
        self.io(Io::Read).bytes + self.io(Io::Merge).bytes
    }
}

/// The counters of an open store.
pub(crate) struct Counters {
    io: RefCell<Vec<IoFigures>>,
    pub(crate) groups: Cell<u64>,
    pub(crate) puts: Cell<u64>,
    pub(crate) images: Cell<u64>,
    pub(crate) user_bytes_written: Cell<u64>,
    pub(crate) user_bytes_read: Cell<u64>,
    pub(crate) verified_blocks: Cell<u64>,
    pub(crate) corrupt_blocks: Cell<u64>,
    pub(crate) checkpoints: Cell<u64>,
    pub(crate) waits: Cell<u64>,
    pub(crate) warnings: Cell<u64>,
    under_way: RefCell<UnderWay>,
}

/// Operations that have been submitted and have not ended, in places that are used again.
#[derive(Default)]
struct UnderWay {
    places: Vec<Option<(Io, Instant)>>,
    free: Vec<usize>,
}

/// The place of an operation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(usize);

/// Longest latency that is told apart: a minute.
const LATENCY_US_MAX: u64 = 60_000_000;

impl Counters {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, 2)
            .expect("the bounds are in order and two digits are allowed");
        let figures = IoFigures {
            operations: 0,
            bytes: 0,
            errors: 0,
            slow: 0,
            in_flight: 0,
            oldest: None,
            latency_us: histogram,
        };
        Self {
            io: RefCell::new(vec![figures; Io::ALL.len()]),
            groups: Cell::new(0),
            puts: Cell::new(0),
            images: Cell::new(0),
            user_bytes_written: Cell::new(0),
            user_bytes_read: Cell::new(0),
            verified_blocks: Cell::new(0),
            corrupt_blocks: Cell::new(0),
            checkpoints: Cell::new(0),
            waits: Cell::new(0),
            warnings: Cell::new(0),
            under_way: RefCell::default(),
        }
    }

    /// An operation was submitted.
    pub(crate) fn begun(&self, kind: Io, now: Instant) -> Ticket {
        let under_way = &mut *self.under_way.borrow_mut();
        let place = under_way.free.pop().unwrap_or_else(|| {
            under_way.places.push(None);
            under_way.places.len() - 1
        });
        under_way.places[place] = Some((kind, now));
        Ticket(place)
    }

    /// It has ended. Returns what it was and when it began.
    pub(crate) fn ended(&self, Ticket(place): Ticket) -> (Io, Instant) {
        let under_way = &mut *self.under_way.borrow_mut();
        under_way.free.push(place);
        under_way.places[place].take().expect("an operation ends once")
    }

    /// The operation that has been under way for the longest time.
    pub(crate) fn oldest(&self) -> Option<(Io, Instant)> {
        let under_way = self.under_way.borrow();
        under_way.places.iter().flatten().copied().min_by_key(|(_, since)| *since)
    }

    pub(crate) fn done(&self, kind: Io, bytes: u64, took: Duration, slow: Duration) {
        let figures = &mut self.io.borrow_mut()[kind as usize];
        figures.operations += 1;
        figures.bytes += bytes;
        figures.slow += u64::from(slow < took);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        figures.latency_us.saturating_record(micros.clamp(1, LATENCY_US_MAX));
    }

    pub(crate) fn failed(&self, kind: Io) {
        self.io.borrow_mut()[kind as usize].errors += 1;
    }

    pub(crate) fn snapshot(&self, now: Instant) -> Metrics {
        let mut io = self.io.borrow().clone();
        for &(kind, since) in self.under_way.borrow().places.iter().flatten() {
            let figures = &mut io[kind as usize];
            figures.in_flight += 1;
            figures.oldest = figures.oldest.max(Some(now.saturating_since(since)));
        }
        Metrics {
            io,
            groups: self.groups.get(),
            puts: self.puts.get(),
            images: self.images.get(),
            user_bytes_written: self.user_bytes_written.get(),
            user_bytes_read: self.user_bytes_read.get(),
            verified_blocks: self.verified_blocks.get(),
            corrupt_blocks: self.corrupt_blocks.get(),
            checkpoints: self.checkpoints.get(),
            waits: self.waits.get(),
            warnings: self.warnings.get(),
        }
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &Cell<u64>, amount: u64) {
    counter.set(counter.get() + amount);
}
