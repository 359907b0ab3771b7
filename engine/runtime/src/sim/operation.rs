//! Operations on files: how they start, how they end, and what becomes of them with their process.
//!
//! An operation starts when it is submitted and ends at a random later time, in any order, whether
//! or not somebody waits (E34, E36). It keeps its open file, and with it a lock, until then.

use std::io;
use std::path::PathBuf;

use engine_types::crc32c;

use super::arena::Key;
use super::disk::Opened;
use super::env::{Memory, SimEnv};
use super::fault::Count;
use super::file::SimFile;
use super::join::Promise;
use super::pages::{CrashMode, Ranges, SECTOR, WHOLE};
use super::scheduler::Home;
use super::trace::Happened;
use super::world::{Event, State, nanos};
use crate::buffer::{Buf, Bytes};
use crate::file::{FileError, FileKind, FileOperation, OpenOptions, PathDisplay};

/// Logical block of a host file system's device.
const HOST_BLOCK: u32 = 512;

/// The answer of an operation that returns nothing.
pub(super) type Done = Promise<Result<(), FileError>>;

/// What a flush covers: the state when it was submitted (E36).
pub(super) struct Covered {
    pub(super) seq: u64,
    pub(super) size: u64,
    /// Space, when it differs from what is durable.
    pub(super) allocated: Option<Ranges>,
}

/// What an operation does.
pub(super) enum Work {
    Open {
        env: SimEnv,
        path: PathBuf,
        options: OpenOptions,
        promise: Promise<Result<SimFile, FileError>>,
    },
    Read {
        position: u64,
        len: usize,
        buf: Buf<Memory>,
        /// Sectors that were read before a write changed them.
        early: Vec<(u64, [u8; SECTOR])>,
        promise: Promise<Result<Bytes<Memory>, FileError>>,
    },
    Write {
        position: u64,
        data: Bytes<Memory>,
        done: Done,
    },
    Flush {
        covered: Option<Covered>,
        done: Done,
    },
    Preallocate {
        position: u64,
        len: u64,
        done: Done,
    },
    Discard {
        position: u64,
        len: u64,
        done: Done,
    },
    SetLen {
        len: u64,
        done: Done,
    },
}

/// A file of `Operation`s that concern none yet.
const NO_FILE: u32 = u32::MAX;

/// An operation under way.
pub(super) struct Operation {
    home: Home,
    file: u32,
    opened: Option<Key>,
    pub(super) work: Work,
}

impl Work {
    fn operation(&self) -> FileOperation {
        match self {
            Self::Open { .. } => FileOperation::Open,
            Self::Read { .. } => FileOperation::Read,
            Self::Write { .. } => FileOperation::Write,
            Self::Flush { .. } => FileOperation::Flush,
            Self::Preallocate { .. } => FileOperation::Preallocate,
            Self::Discard { .. } => FileOperation::Discard,
            Self::SetLen { .. } => FileOperation::SetLen,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
            Self::Flush { .. } => "flush",
            Self::Preallocate { .. } => "preallocate",
            Self::Discard { .. } => "discard",
            Self::SetLen { .. } => "set length",
        }
    }

    /// Position and length.
    fn range(&self) -> (u64, u64) {
        match self {
            Self::Open { .. } | Self::Flush { .. } => (0, 0),
            Self::Read { position, len, .. } => (*position, *len as u64),
            Self::Write { position, data, .. } => (*position, data.len() as u64),
            Self::Preallocate { position, len, .. } | Self::Discard { position, len, .. } => {
                (*position, *len)
            }
            Self::SetLen { len, .. } => (0, *len),
        }
    }
}

/// Errors that a disk answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The medium failed.
    Io,
    /// The device is gone.
    Gone,
    /// No space is left.
    Full,
    /// The device cannot do that.
    Unsupported,
}

impl From<Trouble> for io::Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Io => Self::from_raw_os_error(libc::EIO),
            Trouble::Gone => Self::from_raw_os_error(libc::ENODEV),
            Trouble::Full => io::ErrorKind::StorageFull.into(),
            Trouble::Unsupported => io::ErrorKind::Unsupported.into(),
        }
    }
}

impl State {
    /// Starts an operation; it ends later whether or not somebody waits (E34).
    pub(super) fn submit(&mut self, home: Home, target: Option<(u32, Key)>, mut work: Work) {
        let (file, opened) = match target {
            Some((file, opened)) => (file, Some(opened)),
            None => (NO_FILE, None),
        };
        let faults = self.faults_of(home.node, file);
        let (least, most) = match &work {
            Work::Read { .. } => faults.read,
            Work::Write { .. } => faults.write,
            _ => faults.flush,
        };
        let (position, len) = work.range();
        let operation = work.name();
        self.record(home.node, Happened::Submitted { file, operation, position, len });
        let mut takes = self.streams.disk.range(nanos(least)..=nanos(most.max(least)));
        if 0 < faults.tail_permille && self.streams.disk.chance(faults.tail_permille) {
            takes = takes.saturating_mul(self.streams.disk.range(2..=20));
        }
        takes = takes.saturating_mul(faults.slow_factor.max(1).into());
        if let (Work::Flush { covered, .. }, Some(_)) = (&mut work, opened) {
            let file = self.file_mut(home.node, file);
            file.flushes += 1;
            let changed = file.allocated != file.durable_allocated;
            let allocated = changed.then(|| file.allocated.clone());
            *covered = Some(Covered { seq: file.seq, size: file.size, allocated });
        }
        let key = self.operations.insert(Operation { home, file, opened, work });
        if let Some(opened) = opened {
            let disk = &mut self.node_mut(home.node).disk;
            disk.files[file as usize].under_way.push(key);
            disk.opened.get_mut(opened).expect("its handle submits").operations += 1;
        }
        self.node_mut(home.node).cores[home.core as usize].operations += 1;
        self.events.push(self.now.saturating_add(takes), Event::Io(key));
    }

    /// Takes an operation off every list.
    fn take_operation(&mut self, key: Key) -> Option<Operation> {
        let operation = self.operations.remove(key)?;
        if let Some(opened) = operation.opened {
            let disk = &mut self.node_mut(operation.home.node).disk;
            let file = &mut disk.files[operation.file as usize];
            file.under_way.retain(|other| *other != key);
            file.flushes -= u32::from(matches!(operation.work, Work::Flush { .. }));
            disk.opened.get_mut(opened).expect("operations keep it").operations -= 1;
            disk.release(opened);
        }
        Some(operation)
    }

    pub(super) fn operation_ends(&mut self, key: Key) {
        let Some(operation) = self.take_operation(key) else { return };
        let home = operation.home;
        self.finish_operation(operation);
        let node = self.node_mut(home.node);
        node.cores[home.core as usize].operations -= 1;
        self.core_may_end(home);
    }

    fn finish_operation(&mut self, operation: Operation) {
        let Operation { home, file, work, .. } = operation;
        let node = home.node;
        let (position, len) = work.range();
        let (name, kind) = (work.name(), work.operation());
        let error = |state: &Self, trouble: Trouble| FileError {
            operation: kind,
            path: PathDisplay(state.file(node, file).path.clone()),
            position,
            len,
            source: trouble.into(),
        };
        let answer = |state: &Self, done: Done, result: Result<(), Trouble>| {
            let ok = result.is_ok();
            done.set(result.map_err(|trouble| error(state, trouble)));
            ok
        };
        let mut crc = 0;
        let ok = match work {
            Work::Open { env, path, options, promise } => {
                let opened = self.open_ends(&env, path, options, promise.is_abandoned());
                let ok = opened.as_ref().is_none_or(Result::is_ok);
                if let Some(opened) = opened {
                    promise.set(opened);
                }
                ok
            }
            Work::Read { position, len, buf, early, promise } => {
                let result = self.read_ends(node, file, position, len, (buf, early));
                crc = result.as_ref().map_or(0, |bytes| crc32c(bytes).get());
                let ok = result.is_ok();
                promise.set(result.map_err(|trouble| error(self, trouble)));
                ok
            }
            Work::Write { position, data, done } => {
                crc = crc32c(&data).get();
                let result = self.write_ends(node, file, position, &data);
                answer(self, done, result)
            }
            Work::Flush { covered, done } => {
                let covered = covered.expect("set when it was submitted");
                let result = self.flush_ends(node, file, covered);
                answer(self, done, result)
            }
            Work::Preallocate { done, .. } => {
                let result = self.preallocate_ends(node, file, position, len);
                answer(self, done, result)
            }
            Work::Discard { done, .. } => {
                let result = self.discard_ends(node, file, position, len);
                answer(self, done, result)
            }
            Work::SetLen { len, done } => {
                let result = self.check_gone(node, file).map(|()| self.resize(node, file, len));
                answer(self, done, result)
            }
        };
        self.record(node, Happened::Completed { file, operation: name, position, len, crc, ok });
    }

    /// `None` when nobody waits any more and nothing has to be answered.
    fn open_ends(
        &mut self,
        env: &SimEnv,
        path: PathBuf,
        options: OpenOptions,
        abandoned: bool,
    ) -> Option<Result<SimFile, FileError>> {
        let node = env.home().node;
        let refuse = |path, source: io::Error| {
            let (operation, path) = (FileOperation::Open, PathDisplay(path));
            Some(Err(FileError { operation, path, position: 0, len: 0, source }))
        };
        let file = match self.node(node).disk.find(&path) {
            Some(file) => file,
            None if options.create && options.write => {
                self.node_mut(node).disk.add(&path, FileKind::Regular, 0, HOST_BLOCK)
            }
            None => return refuse(path, io::ErrorKind::NotFound.into()),
        };
        if self.faults_of(node, file).gone {
            self.count(Count::DeviceGone);
            return refuse(path, Trouble::Gone.into());
        }
        if options.lock && self.file(node, file).locked_by.is_some() {
            return refuse(path, io::ErrorKind::WouldBlock.into());
        }
        if options.truncate && options.write && self.file(node, file).kind == FileKind::Regular {
            self.resize(node, file, 0);
        }
        if abandoned {
            return None;
        }
        let disk = &mut self.node_mut(node).disk;
        let opened = disk.opened.insert(Opened { file, held: true, operations: 0 });
        if options.lock {
            disk.files[file as usize].locked_by = Some(opened);
        }
        let available = disk.available();
        let state = self.file(node, file);
        Some(Ok(SimFile::new(env, file, opened, options.write, state, available)))
    }

    /// The last handle of an open file is dropped.
    pub(super) fn close_file(&mut self, node: u32, opened: Key) {
        let disk = &mut self.node_mut(node).disk;
        if let Some(entry) = disk.opened.get_mut(opened) {
            entry.held = false;
            disk.release(opened);
        }
    }

    /// Ends every operation of a node that has no process any more. `whole`: it ended by itself,
    /// so what it had submitted completes.
    pub(super) fn end_operations(&mut self, node: u32, whole: bool) {
        let mut keys = self.operations.keys(|operation| operation.home.node == node);
        self.streams.crash.shuffle(&mut keys);
        for key in keys {
            let Some(operation) = self.take_operation(key) else { continue };
            let file = operation.file;
            let chance = match self.crash_mode {
                _ if whole => true,
                Some(CrashMode::KeepAll) => true,
                Some(CrashMode::LoseAll) => false,
                Some(CrashMode::PerSector) | None => self.streams.crash.chance(500),
            };
            match operation.work {
                Work::Write { position, data, .. } => {
                    let len = data.len() as u64;
                    let gone = self.faults_of(node, file).gone;
                    if gone || self.claim(node, file, position, len).is_err() {
                        continue;
                    }
                    if whole {
                        self.land(node, file, position, &data, |_| WHOLE);
                    } else {
                        self.land_torn(node, file, position, &data);
                    }
                }
                Work::SetLen { len, .. } if chance => self.resize(node, file, len),
                Work::Discard { position, len, .. } if chance => {
                    let _ = self.discard_ends(node, file, position, len); // nobody is told
                }
                Work::Preallocate { position, len, .. } if chance => {
                    let _ = self.preallocate_ends(node, file, position, len); // nobody is told
                }
                Work::Flush { covered: Some(covered), .. } if whole => {
                    let _ = self.flush_ends(node, file, covered); // nobody is told
                }
                _ => {}
            }
        }
        let disk = &mut self.node_mut(node).disk;
        for key in disk.opened.keys(|_| true) {
            disk.opened.remove(key); // one by one: keys are never used again
        }
        for file in &mut disk.files {
            file.locked_by = None;
        }
    }
}
