//! Files and block devices.
//!
//! Every operation is a task of its own that holds the file, its memory and its place in the
//! count of operations until the kernel has answered (E34, S5). The descriptor that carries the
//! lock is kept beside glommio's; what glommio does wrongly or not at all (space, size) goes
//! through it on a blocking thread.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use ::glommio::io::{DmaFile, ReadResult};

use super::core_state::{Core, Join};
use super::memory::{GlommioMemory, Kind, zeroed};
use super::{GlommioEnv, plain, polled};
use crate::buffer::Bytes;
use crate::file::{File, FileError, FileKind, FileOperation, Geometry, OpenOptions, check_aligned};
use crate::system::disk::{self, Opened};

/// An open file or block device. Clones share it.
#[derive(Clone)]
pub struct GlommioFile {
    inner: Rc<Inner>,
}

struct Inner {
    /// Taken when the file is closed.
    dma: Option<DmaFile>,
    opened: Arc<Opened>,
    path: PathBuf,
    core: Rc<Core>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some(dma) = self.dma.take() else { return };
        if self.core.is_running() && !std::thread::panicking() {
            // Counted, so that the core does not end with the descriptor open. What closing
            // answers says nothing about writes: those were flushed or not.
            drop(self.core.submit(async move { drop(dma.close().await) }));
        }
    }
}

impl GlommioFile {
    pub(super) async fn open(
        core: Rc<Core>,
        path: PathBuf,
        options: OpenOptions,
    ) -> Result<Self, FileError> {
        let theirs = path.clone();
        let opened = core.blocking.run(move || disk::open(&theirs, options)).await;
        let answer = match opened {
            Ok(opened) => {
                let opened = Arc::new(opened);
                polled::open(&core, &opened, &path, options.write).await.map(|dma| (dma, opened))
            }
            Err(error) => Err(error),
        };
        match answer {
            Ok((dma, opened)) => {
                Ok(Self { inner: Rc::new(Inner { dma: Some(dma), opened, path, core }) })
            }
            Err(error) => Err(disk::file_error(FileOperation::Open, &path, 0, 0, error)),
        }
    }

    /// Starts `work` on the file as an operation of its core.
    fn operate<T: 'static, F>(
        &self,
        operation: FileOperation,
        position: u64,
        len: u64,
        work: impl FnOnce(Rc<Inner>) -> F,
    ) -> Join<Result<T, FileError>>
    where
        F: Future<Output = io::Result<T>> + 'static,
    {
        let file = self.inner.clone();
        let checked = file.check(position, len);
        let work = work(file.clone());
        self.inner.core.submit(async move {
            let answer = match checked {
                Ok(()) => work.await,
                Err(error) => Err(error),
            };
            answer.map_err(|error| file.error(operation, position, len, error))
        })
    }

    /// Starts a call of `work` on a blocking thread.
    fn operate_blocking(
        &self,
        operation: FileOperation,
        position: u64,
        len: u64,
        work: impl FnOnce(&Opened) -> io::Result<()> + Send + 'static,
    ) -> Join<Result<(), FileError>> {
        self.operate(operation, position, len, async move |file| {
            let opened = file.opened.clone();
            file.core.blocking.run(move || work(&opened)).await
        })
    }
}

impl File<GlommioEnv> for GlommioFile {
    fn geometry(&self) -> Geometry {
        self.inner.opened.geometry
    }

    fn read(&self, position: u64, len: usize) -> Join<Result<Bytes<GlommioMemory>, FileError>> {
        let file = self.inner.clone();
        self.inner.core.submit(async move {
            let answer = file.read_pooled(position, len).await;
            answer.map_err(|e| file.error(FileOperation::Read, position, len as u64, e))
        })
    }

    fn write(&self, position: u64, data: Bytes<GlommioMemory>) -> Join<Result<(), FileError>> {
        let file = self.inner.clone();
        self.inner.core.submit(async move {
            let answer = file.write(position, &data).await;
            answer.map_err(|e| file.error(FileOperation::Write, position, data.len() as u64, e))
        })
    }

    fn flush(&self) -> Join<Result<(), FileError>> {
        self.operate(FileOperation::Flush, 0, 0, async move |file| {
            file.dma().fdatasync().await.map_err(plain)
        })
    }

    fn preallocate(&self, position: u64, len: u64) -> Join<Result<(), FileError>> {
        self.operate_blocking(FileOperation::Preallocate, position, len, move |opened| {
            disk::preallocate(opened.descriptor.as_fd(), &opened.geometry, position, len)
        })
    }

    fn discard(&self, position: u64, len: u64) -> Join<Result<(), FileError>> {
        self.operate_blocking(FileOperation::Discard, position, len, move |opened| {
            disk::discard(opened.descriptor.as_fd(), &opened.geometry, position, len)
        })
    }

    fn set_len(&self, len: u64) -> Join<Result<(), FileError>> {
        self.operate_blocking(FileOperation::SetLen, 0, len, move |opened| {
            disk::set_len(opened.descriptor.as_fd(), &opened.geometry, len)
        })
    }
}

impl Inner {
    fn dma(&self) -> &DmaFile {
        self.dma.as_ref().expect("taken only when the last reference ends")
    }

    fn error(
        &self,
        operation: FileOperation,
        position: u64,
        len: u64,
        error: io::Error,
    ) -> FileError {
        disk::file_error(operation, &self.path, position, len, error)
    }

    fn check(&self, position: u64, len: u64) -> io::Result<()> {
        check_aligned(self.opened.geometry.align, position, len)?;
        match position.checked_add(len) {
            Some(end) if i64::try_from(end).is_ok() => Ok(()),
            _ => {
                let message = format!("position {position} and length {len} exceed any file");
                Err(io::Error::new(io::ErrorKind::InvalidInput, message))
            }
        }
    }

    async fn read_some(&self, position: u64, len: usize) -> io::Result<ReadResult> {
        self.dma().read_at_aligned(position, len).await.map_err(plain)
    }

    /// Reads `len` bytes, fewer at the end of the file only. What is rare is boxed: futures are
    /// moved several times on their way into a task.
    async fn read_pooled(&self, position: u64, len: usize) -> io::Result<Bytes<GlommioMemory>> {
        self.check(position, len as u64)?;
        let pool = &self.core.pool;
        let reserved = match pool.try_reserve(len) {
            Ok(reserved) => Ok(reserved),
            Err(_) => Box::pin(pool.reserve(len)).await,
        };
        let reserved = reserved.map_err(|e| io::Error::new(io::ErrorKind::OutOfMemory, e))?;
        let (memory, got) = if len == 0 {
            (GlommioMemory::filled(ReadResult::default()), 0)
        } else {
            let start = self.read_some(position, len).await?;
            let got = start.len();
            if got == len || self.bytes_from(position)? <= got as u64 {
                (GlommioMemory::filled(start), got)
            } else {
                Box::pin(self.read_rest(position, len, start)).await?
            }
        };
        let mut buf = pool.adopt(memory, reserved);
        buf.set_len(got);
        Ok(buf.freeze())
    }

    /// Reads what a short read left out. Usually it was short because of an error further on,
    /// which this read then meets and answers.
    async fn read_rest(
        &self,
        position: u64,
        len: usize,
        start: ReadResult,
    ) -> io::Result<(GlommioMemory, usize)> {
        let align = usize::try_from(self.opened.geometry.align).expect("32 bits fit");
        let mut whole = zeroed(len);
        let memory = whole.as_bytes_mut();
        memory[..start.len()].copy_from_slice(&start);
        let mut got = start.len();
        loop {
            let from = got / align * align;
            let more = self.read_some(position + from as u64, len - from).await?;
            memory[from..from + more.len()].copy_from_slice(&more);
            if from + more.len() <= got {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            got = from + more.len();
            if got == len || self.bytes_from(position)? <= got as u64 {
                return Ok((GlommioMemory(Kind::Pooled(Rc::new(whole))), got));
            }
        }
    }

    /// Bytes between `position` and the end of the file as it is now.
    fn bytes_from(&self, position: u64) -> io::Result<u64> {
        let size = disk::size(self.opened.descriptor.as_fd(), &self.opened.geometry)?;
        Ok(size.saturating_sub(position))
    }

    async fn write(&self, position: u64, data: &Bytes<GlommioMemory>) -> io::Result<()> {
        self.check(position, data.len() as u64)?;
        if data.is_empty() {
            return Ok(());
        }
        if self.opened.geometry.kind == FileKind::Block {
            disk::check_range(&self.opened.geometry, position, data.len() as u64)?;
        }
        let mut written = match data.whole_memory() {
            Some(GlommioMemory(Kind::Pooled(buffer))) => {
                self.dma().write_rc_at(buffer.clone(), position).await.map_err(plain)?
            }
            _ => Box::pin(self.write_copy(position, data)).await?,
        };
        // A short write met the end of the space; what is left then meets the error itself.
        while written < data.len() {
            let rest = self.write_copy(position + written as u64, &data[written..]);
            let more = Box::pin(rest).await?;
            if more == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            written += more;
        }
        Ok(())
    }

    /// Writes bytes that are not a whole buffer: glommio writes whole buffers only. The copy does
    /// not come from the pool, where a full pool of writes that wait for copies would lock up; it
    /// at most doubles the bytes of the write while that is in flight.
    async fn write_copy(&self, position: u64, data: &[u8]) -> io::Result<usize> {
        self.core.write_copies.set(self.core.write_copies.get() + 1);
        let mut copy = zeroed(data.len());
        copy.as_bytes_mut().copy_from_slice(data);
        self.dma().write_at(copy, position).await.map_err(plain)
    }
}
