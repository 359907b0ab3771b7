//! Files and block devices: through the ring, or, on the epoll driver, by blocking calls.
//!
//! Owner: clones share one descriptor. Every operation is a task of its own that holds its memory
//! and the file until the kernel has answered; dropping the answer changes nothing (E34, S5).

use core::mem::ManuallyDrop;
use core::ops::Range;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::executor::{Join, Kind};
use super::memory::{Drain, Fill, Memory};
use super::{Driver, MonoioEnv};
use crate::buffer::{Buf, Bytes};
use crate::file::{self, FileError, FileKind, FileOperation, Geometry, OpenOptions, check_aligned};
use crate::system::disk;

/// An open file or block device.
#[derive(Clone)]
pub struct File {
    open: Rc<Open>,
}

struct Open {
    env: MonoioEnv,
    path: PathBuf,
    geometry: Geometry,
    /// Owns the descriptor and carries the lock.
    descriptor: Arc<OwnedFd>,
    /// The same descriptor for the ring. It must not close: monoio closes some time after the last
    /// reference, and the lock would outlive the file. Its 48 bytes are lost per opened file.
    ring: Option<ManuallyDrop<monoio::fs::File>>,
}

pub(super) async fn open(
    env: MonoioEnv,
    path: PathBuf,
    options: OpenOptions,
) -> Result<File, FileError> {
    let blocking = path.clone();
    let opened = env.call(move || disk::open(&blocking, options)).await;
    let failed = |source| error(FileOperation::Open, &path, 0, 0, source);
    let opened = opened.map_err(failed)?;
    let ring = match env.driver() {
        Driver::Uring => Some(for_ring(&opened.descriptor).map_err(failed)?),
        Driver::Auto | Driver::Legacy => None,
    };
    let descriptor = Arc::new(opened.descriptor);
    let geometry = opened.geometry;
    Ok(File { open: Rc::new(Open { env, path, geometry, descriptor, ring }) })
}

fn for_ring(descriptor: &OwnedFd) -> io::Result<ManuallyDrop<monoio::fs::File>> {
    // SAFETY: the second owner is never dropped, and used only while the first one lives.
    let twin = unsafe { std::fs::File::from_raw_fd(descriptor.as_raw_fd()) };
    monoio::fs::File::from_std(twin).map(ManuallyDrop::new)
}

fn error(
    operation: FileOperation,
    path: &Path,
    position: u64,
    len: u64,
    source: io::Error,
) -> FileError {
    disk::file_error(operation, path, position, len, source)
}

impl File {
    /// Starts `work` as a task and names what failed.
    fn start<T: 'static, F>(
        &self,
        operation: FileOperation,
        (position, len): (u64, u64),
        work: impl FnOnce(Rc<Open>) -> F,
    ) -> Join<Result<T, FileError>>
    where
        F: Future<Output = io::Result<T>> + 'static,
    {
        let open = self.open.clone();
        let work = match open.check(operation, position, len) {
            Ok(()) => Ok(work(open.clone())),
            Err(refused) => Err(refused),
        };
        self.open.env.spawn_kind(Kind::Io, async move {
            let answer = match work {
                Ok(work) => work.await,
                Err(refused) => Err(refused),
            };
            answer.map_err(|source| error(operation, &open.path, position, len, source))
        })
    }

    /// Starts a call that blocks.
    fn start_call(
        &self,
        operation: FileOperation,
        (position, len): (u64, u64),
        call: impl FnOnce(BorrowedFd<'_>, &Geometry) -> io::Result<()> + Send + 'static,
    ) -> Join<Result<(), FileError>> {
        self.start(operation, (position, len), |open| {
            let (descriptor, geometry) = (open.descriptor.clone(), open.geometry);
            open.env.call(move || call(descriptor.as_fd(), &geometry))
        })
    }
}

impl file::File<MonoioEnv> for File {
    fn geometry(&self) -> Geometry {
        self.open.geometry
    }

    fn read(&self, position: u64, len: usize) -> Join<Result<Bytes<Memory>, FileError>> {
        self.start(FileOperation::Read, (position, len as u64), |open| open.read(position, len))
    }

    fn write(&self, position: u64, data: Bytes<Memory>) -> Join<Result<(), FileError>> {
        let range = (position, data.len() as u64);
        self.start(FileOperation::Write, range, |open| open.write(position, data))
    }

    fn flush(&self) -> Join<Result<(), FileError>> {
        if self.open.ring.is_none() {
            return self.start_call(FileOperation::Flush, (0, 0), |fd, _| disk::flush(fd));
        }
        self.start(
            FileOperation::Flush,
            (0, 0),
            |open| async move { open.ring().sync_data().await },
        )
    }

    fn preallocate(&self, position: u64, len: u64) -> Join<Result<(), FileError>> {
        self.start_call(FileOperation::Preallocate, (position, len), move |fd, geometry| {
            disk::preallocate(fd, geometry, position, len)
        })
    }

    fn discard(&self, position: u64, len: u64) -> Join<Result<(), FileError>> {
        self.start_call(FileOperation::Discard, (position, len), move |fd, geometry| {
            disk::discard(fd, geometry, position, len)
        })
    }

    fn set_len(&self, len: u64) -> Join<Result<(), FileError>> {
        self.start_call(FileOperation::SetLen, (0, len), move |fd, geometry| {
            disk::set_len(fd, geometry, len)
        })
    }
}

impl Open {
    fn ring(&self) -> &monoio::fs::File {
        self.ring.as_ref().expect("asked for on the io_uring driver only")
    }

    fn check(&self, operation: FileOperation, position: u64, len: u64) -> io::Result<()> {
        check_aligned(self.geometry.align, position, len)?;
        let size = self.geometry.size;
        let inside = position.checked_add(len).is_some_and(|end| end <= size);
        if operation == FileOperation::Write && self.geometry.kind == FileKind::Block && !inside {
            // The kernel calls this "no space left", which would mean a full disk (V9).
            let message = format!("position {position} and length {len} exceed {size} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    async fn read(self: Rc<Self>, position: u64, len: usize) -> io::Result<Bytes<Memory>> {
        let mut buf = self.buffer(len).await?;
        let mut done = 0;
        while done < len {
            let (back, result) = self.read_some(buf, done..len, position + done as u64).await;
            buf = back;
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(0) => break,
                Ok(count) => done += count,
            }
            if !self.is_whole(done) {
                break; // only the end of a file cuts a block
            }
        }
        buf.set_len(done);
        Ok(buf.freeze())
    }

    async fn read_some(
        &self,
        buf: Buf<Memory>,
        range: Range<usize>,
        position: u64,
    ) -> (Buf<Memory>, io::Result<usize>) {
        let mut fill = Fill::new(buf, range, self.env.in_flight().one());
        if let Some(ring) = &self.ring {
            let (result, fill) = ring.read_at(fill, position).await;
            return (fill.buf, result);
        }
        let mut memory = fill.lend();
        let descriptor = self.descriptor.clone();
        let call = move || {
            // SAFETY: `fill` holds the memory exclusively until this call has answered.
            let memory = unsafe { memory.as_mut_slice() };
            Ok(rustix::io::pread(&descriptor, memory, position)?)
        };
        let result = self.env.call(call).await;
        (fill.buf, result)
    }

    async fn write(self: Rc<Self>, position: u64, data: Bytes<Memory>) -> io::Result<()> {
        let data = self.aligned(data).await?;
        let mut done = 0;
        while done < data.len() {
            match self.write_some(&data, done, position + done as u64).await {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => done += count,
            }
            if done < data.len() && !self.is_whole(done) {
                let message = format!("{done} of {} bytes written", data.len());
                return Err(io::Error::new(io::ErrorKind::WriteZero, message));
            }
        }
        Ok(())
    }

    async fn write_some(
        &self,
        data: &Bytes<Memory>,
        start: usize,
        position: u64,
    ) -> io::Result<usize> {
        let drain = Drain::new(data.clone(), start, self.env.in_flight().one());
        let result = if let Some(ring) = &self.ring {
            ring.write_at(drain, position).await.0
        } else {
            let memory = drain.lend();
            let descriptor = self.descriptor.clone();
            let call = move || {
                // SAFETY: `drain` holds the bytes, which do not change, until this call answers.
                Ok(rustix::io::pwrite(&descriptor, unsafe { memory.as_slice() }, position)?)
            };
            let result = self.env.call(call).await;
            drop(drain);
            result
        };
        match result {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            result => result,
        }
    }

    /// The same bytes at an address that direct I/O accepts; copied only when they start inside a
    /// sector of their buffer.
    async fn aligned(&self, data: Bytes<Memory>) -> io::Result<Bytes<Memory>> {
        if data.as_ptr().addr().is_multiple_of(self.geometry.logical_block as usize) {
            return Ok(data);
        }
        let mut buf = self.buffer(data.len()).await?;
        buf.extend_from_slice(&data);
        Ok(buf.freeze())
    }

    async fn buffer(&self, len: usize) -> io::Result<Buf<Memory>> {
        let buf = self.env.memory().alloc_wait(len).await;
        buf.map_err(|full| io::Error::new(io::ErrorKind::OutOfMemory, full))
    }

    fn is_whole(&self, done: usize) -> bool {
        done.is_multiple_of(self.geometry.logical_block as usize)
    }
}
