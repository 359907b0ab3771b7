//! Between redb and a [`Device`]: every operation of redb passes here.
//!
//! It remembers the first failure, because redb afterwards says "previous I/O error" and no more;
//! takes space ahead of the commit; shows tests what is done; and can be cut, after which redb
//! reaches nothing.
//!
//! Invariants
//!   E210 after a failed read, write or flush other than "disk full" nothing reaches the device
//!        any more (E206): what a flush left is unknown, and trying again would hide that
//!   E211 bytes are written only where space has been claimed, so that a full disk is met while
//!        the file grows, before the commit changes anything that is in use

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::file::{Device, is_full};

/// What an engine does to its device, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes are about to be written.
    Write {
        /// First byte.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// A flush begins.
    SyncBegin,
    /// The flush has succeeded.
    SyncEnd,
    /// The length is about to be set.
    SetLen {
        /// The new length.
        bytes: u64,
    },
    /// A batch is durable; its caller is told after this.
    Applied {
        /// Version of the batch.
        version: u64,
    },
}

/// Receives events; runs inside the engine, so it must be short and may not call it.
#[derive(Clone)]
pub struct Trace(Arc<dyn Fn(Event) + Send + Sync>);

impl Trace {
    /// Calls `receive` for every event.
    pub fn new(receive: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receive))
    }

    pub(crate) fn emit(&self, event: Event) {
        (self.0)(event);
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trace")
    }
}

/// Why the device failed first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No room. What is on the device is what a crash at this point could have left.
    Full(String),
    /// Bytes that should be there are behind the end.
    Short(String),
    /// Anything else.
    Broken(String),
}

/// One opening of a device; clones are handles to it.
#[derive(Clone, Debug)]
pub(crate) struct Seam(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    device: Arc<dyn Device>,
    trace: Option<Trace>,
    /// Space is claimed up to here.
    claimed: AtomicU64,
    /// Growth takes its space in [`Seam::claim_growth`], not at once.
    later: AtomicBool,
    cut: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

impl Seam {
    /// Opens `device`.
    pub(crate) fn new(device: Arc<dyn Device>, trace: Option<Trace>) -> io::Result<Self> {
        let len = device.len()?;
        // A crash may have come between growth and claim, and copies may have holes. That the
        // disk is full is no reason not to read: then the writes find out.
        let claimed = if device.claim(0, len).is_ok() { len } else { 0 };
        Ok(Self(Arc::new(Inner {
            device,
            trace,
            claimed: AtomicU64::new(claimed),
            later: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            failure: Mutex::new(None),
        })))
    }

    /// What failed first; "full" gives way to anything worse.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.slot().clone()
    }

    /// Whether a full disk, and nothing worse, has ended this opening.
    pub(crate) fn ended_full(&self) -> bool {
        matches!(self.failure(), Some(Failure::Full(_)))
    }

    /// Nothing reaches the device from now on.
    pub(crate) fn cut(&self) {
        self.0.cut.store(true, Ordering::SeqCst);
    }

    /// From now on growth only sets the length, which costs nothing and can be taken back, until
    /// [`Seam::claim_growth`].
    pub(crate) fn grow_freely(&self) {
        self.0.later.store(true, Ordering::SeqCst);
    }

    /// Takes the space for growth since [`Seam::grow_freely`]. Growth takes its own from now on.
    pub(crate) fn claim_growth(&self) -> io::Result<()> {
        self.0.later.store(false, Ordering::SeqCst);
        self.claim_to(self.0.device.len()?)
    }

    fn slot(&self) -> MutexGuard<'_, Option<Failure>> {
        self.0.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn emit(&self, event: Event) {
        if let Some(trace) = &self.0.trace {
            trace.emit(event);
        }
    }

    fn usable(&self) -> io::Result<()> {
        if self.0.cut.load(Ordering::SeqCst) {
            return Err(io::Error::other(format!("{}: closed by a failure", self.0.device.name())));
        }
        Ok(())
    }

    fn claim_to(&self, end: u64) -> io::Result<()> {
        let claimed = self.0.claimed.load(Ordering::SeqCst);
        if claimed < end {
            self.0.device.claim(claimed, end)?;
            self.0.claimed.store(end, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Notes a failure (E210).
    fn noted<T>(&self, what: &str, result: io::Result<T>) -> io::Result<T> {
        let Err(error) = result else { return result };
        let reason = format!("{what} {}: {error}", self.0.device.name());
        let mut slot = self.slot();
        if is_full(&error) {
            slot.get_or_insert(Failure::Full(reason));
        } else {
            if matches!(*slot, None | Some(Failure::Full(_))) {
                let short = error.kind() == io::ErrorKind::UnexpectedEof;
                *slot = Some(if short { Failure::Short(reason) } else { Failure::Broken(reason) });
            }
            self.cut();
        }
        Err(error)
    }

    fn grow_or_cut(&self, len: u64) -> io::Result<()> {
        let device = &self.0.device;
        let old = device.len()?;
        device.set_len(len)?;
        if len < old {
            self.0.claimed.fetch_min(len, Ordering::SeqCst);
            return Ok(());
        }
        if self.0.later.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.claim_to(len).inspect_err(|_| {
            // What was taken is given back; the file is as before.
            let _ = device.set_len(old);
        })
    }
}

impl redb::StorageBackend for Seam {
    fn len(&self) -> io::Result<u64> {
        self.usable()?;
        self.noted("cannot ask the length of", self.0.device.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.usable()?;
        self.noted("cannot read", self.0.device.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.usable()?;
        self.emit(Event::SetLen { bytes: len });
        self.noted("cannot set the length of", self.grow_or_cut(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.usable()?;
        self.emit(Event::SyncBegin);
        match self.0.device.sync() {
            Ok(()) => {
                self.emit(Event::SyncEnd);
                Ok(())
            }
            // Even "full": on file systems that choose blocks late, written bytes are lost.
            Err(error) => {
                let reason = format!("cannot flush {}: {error}", self.0.device.name());
                *self.slot() = Some(Failure::Broken(reason));
                self.cut();
                Err(error)
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.usable()?;
        let bytes = data.len() as u64;
        self.emit(Event::Write { offset, bytes });
        let claimed = self.claim_to(offset.saturating_add(bytes));
        self.noted("cannot write", claimed.and_then(|()| self.0.device.write(offset, data)))
    }
}
