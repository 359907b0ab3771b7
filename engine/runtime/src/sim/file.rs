//! Open files and devices, as a node holds them.

use core::panic::Location;
use std::io;
use std::path::Path;
use std::rc::Rc;

use super::arena::Key;
use super::disk::FileState;
use super::env::{Memory, SimEnv};
use super::join::{Join, promise};
use super::operation::{Done, Work};
use super::pages::PAGE;
use crate::buffer::{Buf, Bytes};
use crate::env::Env;
use crate::file::{
    File, FileError, FileKind, FileOperation, Geometry, OpenOptions, PathDisplay, check_aligned,
};

/// An open simulated file or device; it closes with its last clone.
#[derive(Clone)]
pub struct SimFile {
    handle: Rc<Handle>,
}

struct Handle {
    env: SimEnv,
    file: u32,
    opened: Key,
    write: bool,
    geometry: Geometry,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.env.state().close_file(self.env.home().node, self.opened);
    }
}

impl SimFile {
    pub(super) fn new(
        env: &SimEnv,
        file: u32,
        opened: Key,
        write: bool,
        state: &FileState,
        available: u64,
    ) -> Self {
        let geometry = Geometry {
            kind: state.kind,
            size: state.size,
            align: state.logical_block.max(PAGE_BYTES),
            logical_block: state.logical_block,
            physical_block: state.logical_block.max(PAGE_BYTES),
            volatile_cache: state.volatile_cache,
            allocated: match state.kind {
                FileKind::Block => state.size,
                FileKind::Regular => state.allocated.total(),
            },
            available,
        };
        let env = env.clone();
        Self { handle: Rc::new(Handle { env, file, opened, write, geometry }) }
    }

    pub(super) fn open(
        env: &SimEnv,
        path: &Path,
        options: OpenOptions,
    ) -> Join<Result<Self, FileError>> {
        let (promise, join) = promise();
        if env.is_alive() {
            let (path, clone) = (path.to_owned(), env.clone());
            let work = Work::Open { env: clone, path, options, promise };
            env.state().submit(env.home(), None, work);
        }
        join
    }

    /// Hands work to the disk; nothing happens for a process that has ended (E45).
    fn submit(&self, work: Work) {
        let handle = &*self.handle;
        if handle.env.is_alive() {
            let target = Some((handle.file, handle.opened));
            handle.env.state().submit(handle.env.home(), target, work);
        }
    }

    fn submit_read(
        &self,
        position: u64,
        len: usize,
        buf: Buf<Memory>,
    ) -> Join<Result<Bytes<Memory>, FileError>> {
        let (promise, join) = promise();
        self.submit(Work::Read { position, len, buf, early: Vec::new(), promise });
        join
    }

    fn error(
        &self,
        operation: FileOperation,
        position: u64,
        len: u64,
        source: io::Error,
    ) -> FileError {
        let handle = &*self.handle;
        let path = handle.env.state().file(handle.env.home().node, handle.file).path.clone();
        FileError { operation, path: PathDisplay(path), position, len, source }
    }

    /// Refuses what the kernel would: misaligned, out of range, not opened for it.
    fn check(&self, operation: FileOperation, position: u64, len: u64) -> Result<(), FileError> {
        let Geometry { kind, size, align, .. } = self.handle.geometry;
        let invalid = |message: String| io::Error::new(io::ErrorKind::InvalidInput, message);
        let checked = check_aligned(align, position, len).and_then(|()| {
            let end = position
                .checked_add(len)
                .ok_or_else(|| invalid(format!("{len} bytes at {position} have no end")))?;
            if kind == FileKind::Block && operation != FileOperation::Read && size < end {
                return Err(invalid(format!("{len} bytes at {position} of a device of {size}")));
            }
            if kind == FileKind::Block && operation == FileOperation::SetLen {
                return Err(invalid("a device has a length of its own".to_owned()));
            }
            if operation != FileOperation::Read && !self.handle.write {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            Ok(())
        });
        checked.map_err(|source| self.error(operation, position, len, source))
    }

    /// Checks and submits work that answers nothing.
    fn change(
        &self,
        operation: FileOperation,
        (position, len): (u64, u64),
        work: impl FnOnce(Done) -> Work,
    ) -> Join<Result<(), FileError>> {
        if let Err(error) = self.check(operation, position, len) {
            return Join::ready(Err(error));
        }
        let (done, join) = promise();
        self.submit(work(done));
        join
    }
}

impl File<SimEnv> for SimFile {
    fn geometry(&self) -> Geometry {
        self.handle.geometry
    }

    #[track_caller]
    fn read(&self, position: u64, len: usize) -> Join<Result<Bytes<Memory>, FileError>> {
        if let Err(error) = self.check(FileOperation::Read, position, len as u64) {
            return Join::ready(Err(error));
        }
        let env = &self.handle.env;
        if let Ok(buf) = env.pool().alloc(len) {
            return self.submit_read(position, len, buf);
        }
        let this = self.clone();
        env.spawn_from(Location::caller(), async move {
            match this.handle.env.pool().alloc_wait(len).await {
                Ok(buf) => this.submit_read(position, len, buf).await,
                Err(exhausted) => {
                    let source = io::Error::new(io::ErrorKind::OutOfMemory, exhausted);
                    Err(this.error(FileOperation::Read, position, len as u64, source))
                }
            }
        })
    }

    fn write(&self, position: u64, data: Bytes<Memory>) -> Join<Result<(), FileError>> {
        let len = data.len() as u64;
        self.change(FileOperation::Write, (position, len), |done| Work::Write {
            position,
            data,
            done,
        })
    }

    fn flush(&self) -> Join<Result<(), FileError>> {
        let (done, join) = promise();
        self.submit(Work::Flush { covered: None, done });
        join
    }

    fn preallocate(&self, position: u64, len: u64) -> Join<Result<(), FileError>> {
        self.change(FileOperation::Preallocate, (position, len), |done| Work::Preallocate {
            position,
            len,
            done,
        })
    }

    fn discard(&self, position: u64, len: u64) -> Join<Result<(), FileError>> {
        self.change(FileOperation::Discard, (position, len), |done| Work::Discard {
            position,
            len,
            done,
        })
    }

    fn set_len(&self, len: u64) -> Join<Result<(), FileError>> {
        self.change(FileOperation::SetLen, (0, len), |done| Work::SetLen { len, done })
    }
}

/// Alignment of every request.
const PAGE_BYTES: u32 = 4096;
const _: () = assert!(PAGE_BYTES as usize == PAGE);
