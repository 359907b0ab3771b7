//! An environment that writes down what becomes of file operations, for tests.
//!
//! [`Traced`] is any other environment, of which it changes one thing: operations on files are
//! recorded in a [`FileLog`], with their beginnings and ends in one order, beside the marks that a
//! test sets. So a test can show on the backends that ship what simulation shows by crashes: that
//! a flush was begun after a write had ended, and had ended before somebody was told. A log that
//! is told to skip flushes answers them without doing them; the same test must then fail.
//!
//! Invariants
//!   E49  an operation begins in the log before it begins, and ends in the log after it has ended
//!        and before whoever waits for it learns so; hence an order in the log is one in the world
//!
//! Everything but files passes through unchanged, also the memory, so that nothing is copied.
//! Cores that a traced core starts write to the same log.

use core::fmt;
use core::future::Future;
use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine_types::{Instant, WallTime};

use crate::buffer::{Buf, Bytes, Pool};
use crate::core_spec::{CoreEnd, CoreSpec};
use crate::env::{Env, Signal};
use crate::file::{File, FileError, FileOperation, Geometry, OpenOptions};
use crate::mailbox::{Receiver, Sender};
use crate::stream::{Listener, Reader, Stream, Writer};

#[cfg(all(test, feature = "glommio", feature = "monoio", feature = "sim"))]
mod tests;

/// Most operations and marks of a log: with the record of each, about 100 MB. A log that left
/// something out would prove nothing, so that more is a mistake of the test.
const RECORDS_MAX: usize = 1 << 20;

/// A place in the order of everything that a log holds; the first thing happens at 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// An operation on a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its file; one path is one file, however often it is opened.
    pub path: PathBuf,
    /// What was asked for; never `Open`.
    pub operation: FileOperation,
    /// First byte concerned; 0 for a flush.
    pub position: u64,
    /// Bytes concerned; 0 for a flush.
    pub len: u64,
    /// The first bytes of a write, as many as [`FileLog::keep_data`] says.
    pub data: Vec<u8>,
    /// When it was asked for.
    pub began: Moment,
    /// When it had ended; nothing while it is under way, and if its core ended before it.
    pub ended: Option<Moment>,
    /// Whether it has ended well.
    pub ok: bool,
}

/// What a test wants to find again between the operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When it was set.
    pub at: Moment,
    /// The test's own words.
    pub text: String,
}

impl Operation {
    /// Whether it had ended well by `at`.
    pub fn is_done(&self, at: Moment) -> bool {
        self.ok && self.ended.is_some_and(|ended| ended <= at)
    }

    /// Whether it concerns some byte of the range.
    pub fn overlaps(&self, position: u64, len: u64) -> bool {
        self.position < position + len && position < self.position + self.len
    }
}

/// What happened to the files of some cores, in order. Clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct FileLog {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    operations: Vec<Operation>,
    marks: Vec<Mark>,
    /// Operations before the first of `operations`.
    forgotten: usize,
    skip_flushes: bool,
    skipped: u64,
    /// Writes of at least so many bytes end so much later.
    held: Option<(u64, Duration)>,
    keep_data: usize,
}

impl Inner {
    fn next(&mut self) -> Moment {
        let records = self.operations.len() + self.marks.len();
        assert!(records < RECORDS_MAX, "a log holds {RECORDS_MAX} records; clear it in between");
        self.last += 1;
        Moment(self.last)
    }
}

impl FileLog {
    /// Nothing has happened.
    pub fn new() -> Self {
        Self::default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic of another core leaves whole records.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers flushes with success from now on, without doing or recording them.
    pub fn skip_flushes(&self, skip: bool) {
        self.inner().skip_flushes = skip;
    }

    /// Has writes of at least `bytes` bytes end later by `time` from now on, for those who wait and
    /// in the log: whoever should wait for them and does not is seen then.
    pub fn hold_writes(&self, bytes: u64, time: Duration) {
        self.inner().held = Some((bytes, time));
    }

    /// Flushes that were skipped.
    pub fn skipped_flushes(&self) -> u64 {
        self.inner().skipped
    }

    /// Keeps the first `bytes` bytes of each write from now on, so that a test knows whose it was.
    pub fn keep_data(&self, bytes: usize) {
        self.inner().keep_data = bytes;
    }

    /// Writes down that something happened now: an acknowledgement, a step of the test.
    pub fn mark(&self, text: impl Into<String>) -> Moment {
        let mut inner = self.inner();
        let at = inner.next();
        inner.marks.push(Mark { at, text: text.into() });
        at
    }

    /// The moment of what happened last.
    pub fn now(&self) -> Moment {
        Moment(self.inner().last)
    }

    /// All operations in the order of their beginnings.
    pub fn operations(&self) -> Vec<Operation> {
        self.inner().operations.clone()
    }

    /// Operations of one kind in the order of their beginnings.
    pub fn of(&self, operation: FileOperation) -> Vec<Operation> {
        let inner = self.inner();
        inner.operations.iter().filter(|found| found.operation == operation).cloned().collect()
    }

    /// All marks in order.
    pub fn marks(&self) -> Vec<Mark> {
        self.inner().marks.clone()
    }

    /// Forgets what happened; moments go on, and what is under way ends unseen.
    pub fn clear(&self) {
        let mut inner = self.inner();
        inner.forgotten += inner.operations.len();
        inner.operations.clear();
        inner.marks.clear();
    }

    /// Whether a flush covered `write` by `at`: one of the same file that was asked for after the
    /// write had ended well, and has ended well itself (E36).
    pub fn is_flushed(&self, write: &Operation, at: Moment) -> bool {
        self.inner().is_flushed(write, at)
    }

    /// Writes asked for by `at` that no flush covered by then; of all files.
    pub fn unflushed(&self, at: Moment) -> Vec<Operation> {
        let inner = self.inner();
        let writes = inner.operations.iter().filter(|found| {
            found.operation == FileOperation::Write && found.began <= at && 0 < found.len
        });
        writes.filter(|write| !inner.is_flushed(write, at)).cloned().collect()
    }

    fn begin(
        &self,
        path: &Path,
        operation: FileOperation,
        (position, len): (u64, u64),
        data: &[u8],
    ) -> usize {
        let mut inner = self.inner();
        let began = inner.next();
        let data = data[..data.len().min(inner.keep_data)].to_vec();
        let path = path.to_owned();
        let (ended, ok) = (None, false);
        inner.operations.push(Operation { path, operation, position, len, data, began, ended, ok });
        inner.forgotten + inner.operations.len() - 1
    }

    fn end(&self, number: usize, ok: bool) {
        let mut inner = self.inner();
        let Some(index) = number.checked_sub(inner.forgotten) else { return };
        let ended = inner.next();
        let operation = &mut inner.operations[index];
        assert!(operation.ended.is_none(), "E49: {operation:?} ends again at {ended:?}");
        (operation.ended, operation.ok) = (Some(ended), ok);
    }

    /// Whether a flush shall be skipped now.
    fn skips(&self) -> bool {
        let mut inner = self.inner();
        inner.skipped += u64::from(inner.skip_flushes);
        inner.skip_flushes
    }
}

impl Inner {
    fn is_flushed(&self, write: &Operation, at: Moment) -> bool {
        let Some(written) = write.ended.filter(|_| write.ok) else { return false };
        self.operations.iter().any(|flush| {
            flush.operation == FileOperation::Flush
                && flush.path == write.path
                && written < flush.began
                && flush.is_done(at)
        })
    }
}

/// A line per beginning, end and mark, in order.
impl fmt::Display for FileLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner();
        let mut lines: Vec<(Moment, String)> = Vec::new();
        for (number, it) in (inner.forgotten..).zip(&inner.operations) {
            let what = format!("#{number} {} {}+{}", it.operation, it.position, it.len);
            lines.push((it.began, format!("{what} of {} begins", it.path.display())));
            if let Some(ended) = it.ended {
                lines.push((ended, format!("{what} {}", if it.ok { "ends" } else { "fails" })));
            }
        }
        lines.extend(inner.marks.iter().map(|mark| (mark.at, mark.text.clone())));
        lines.sort_by_key(|(at, _)| *at);
        lines.iter().try_for_each(|(Moment(at), line)| writeln!(f, "{at:>6} {line}"))
    }
}

/// An environment whose files are recorded.
#[derive(Clone)]
pub struct Traced<E: Env> {
    inner: E,
    log: FileLog,
}

impl<E: Env> Traced<E> {
    /// The same environment, recorded in `log`.
    pub fn new(inner: E, log: FileLog) -> Self {
        Self { inner, log }
    }

    /// The environment below.
    pub fn inner(&self) -> &E {
        &self.inner
    }

    /// Where its files are recorded.
    pub fn log(&self) -> &FileLog {
        &self.log
    }
}

/// A file whose operations are recorded.
#[derive(Clone)]
pub struct TracedFile<E: Env> {
    env: Traced<E>,
    file: E::File,
    path: PathBuf,
}

impl<E: Env> TracedFile<E> {
    fn begin(&self, operation: FileOperation, position: u64, len: u64) -> usize {
        self.env.log.begin(&self.path, operation, (position, len), &[])
    }

    /// Records the end of an operation, whether or not somebody waits for it (E34).
    #[track_caller]
    fn follow<T: 'static>(
        &self,
        number: usize,
        work: E::Join<Result<T, FileError>>,
    ) -> E::Join<Result<T, FileError>> {
        let log = self.env.log.clone();
        self.env.inner.spawn(async move {
            let answer = work.await;
            log.end(number, answer.is_ok());
            answer
        })
    }
}

impl<E: Env> File<Traced<E>> for TracedFile<E> {
    fn geometry(&self) -> Geometry {
        self.file.geometry()
    }

    #[track_caller]
    fn read(&self, position: u64, len: usize) -> E::Join<Result<Bytes<E::Memory>, FileError>> {
        let number = self.begin(FileOperation::Read, position, len as u64);
        self.follow(number, self.file.read(position, len))
    }

    #[track_caller]
    fn write(&self, position: u64, data: Bytes<E::Memory>) -> E::Join<Result<(), FileError>> {
        let range = (position, data.len() as u64);
        let number = self.env.log.begin(&self.path, FileOperation::Write, range, &data);
        let held = self.env.log.inner().held.filter(|(bytes, _)| *bytes <= range.1);
        let write = self.file.write(position, data);
        let Some((_, time)) = held else { return self.follow(number, write) };
        let (log, env) = (self.env.log.clone(), self.env.inner.clone());
        self.env.inner.spawn(async move {
            let answer = write.await;
            env.sleep_until(env.now().saturating_add(time)).await;
            log.end(number, answer.is_ok());
            answer
        })
    }

    #[track_caller]
    fn flush(&self) -> E::Join<Result<(), FileError>> {
        if self.env.log.skips() {
            return self.env.inner.spawn(async { Ok(()) });
        }
        let number = self.begin(FileOperation::Flush, 0, 0);
        self.follow(number, self.file.flush())
    }

    #[track_caller]
    fn preallocate(&self, position: u64, len: u64) -> E::Join<Result<(), FileError>> {
        let number = self.begin(FileOperation::Preallocate, position, len);
        self.follow(number, self.file.preallocate(position, len))
    }

    #[track_caller]
    fn discard(&self, position: u64, len: u64) -> E::Join<Result<(), FileError>> {
        let number = self.begin(FileOperation::Discard, position, len);
        self.follow(number, self.file.discard(position, len))
    }

    #[track_caller]
    fn set_len(&self, len: u64) -> E::Join<Result<(), FileError>> {
        let number = self.begin(FileOperation::SetLen, 0, len);
        self.follow(number, self.file.set_len(len))
    }
}

/// A part of an environment that a [`Traced`] one passes on as it is.
pub struct Passed<T>(T);

impl<E: Env> Listener<Traced<E>> for Passed<E::Listener> {
    fn address(&self) -> SocketAddr {
        self.0.address()
    }

    async fn accept(&mut self) -> io::Result<Stream<Traced<E>>> {
        self.0.accept().await.map(passed)
    }

    fn closer(&self) -> E::Closer {
        self.0.closer()
    }
}

impl<E: Env> Reader<Traced<E>> for Passed<E::Reader> {
    fn read(
        &mut self,
        buf: Buf<E::Memory>,
        range: Range<usize>,
    ) -> impl Future<Output = (Buf<E::Memory>, io::Result<usize>)> {
        self.0.read(buf, range)
    }
}

impl<E: Env> Writer<Traced<E>> for Passed<E::Writer> {
    fn write_all(&mut self, parts: &[Bytes<E::Memory>]) -> impl Future<Output = io::Result<()>> {
        self.0.write_all(parts)
    }
}

fn passed<E: Env>(stream: Stream<E>) -> Stream<Traced<E>> {
    let Stream { reader, writer, closer, peer, local } = stream;
    Stream { reader: Passed(reader), writer: Passed(writer), closer, peer, local }
}

impl<E: Env> Env for Traced<E> {
    type Memory = E::Memory;
    type Join<T: 'static> = E::Join<T>;
    type Sleep = E::Sleep;
    type File = TracedFile<E>;
    type Listener = Passed<E::Listener>;
    type Reader = Passed<E::Reader>;
    type Writer = Passed<E::Writer>;
    type Closer = E::Closer;
    type Watch = E::Watch;

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn wall(&self) -> WallTime {
        self.inner.wall()
    }

    fn sleep_until(&self, at: Instant) -> E::Sleep {
        self.inner.sleep_until(at)
    }

    #[track_caller]
    fn spawn<T: 'static>(&self, task: impl Future<Output = T> + 'static) -> E::Join<T> {
        self.inner.spawn(task)
    }

    fn pool(&self) -> &Pool<E::Memory> {
        self.inner.pool()
    }

    fn random(&self) -> u64 {
        self.inner.random()
    }

    fn random_secret(&self, bytes: &mut [u8]) {
        self.inner.random_secret(bytes);
    }

    #[track_caller]
    fn on_core<F, M>(&self, spec: CoreSpec, main: M) -> io::Result<E::Join<CoreEnd>>
    where
        F: Future<Output = ()> + 'static,
        M: FnOnce(Self) -> F + Send + 'static,
    {
        let log = self.log.clone();
        self.inner.on_core(spec, move |inner| main(Self { inner, log }))
    }

    fn mailbox<T: Send + 'static>(&self, capacity: usize) -> (Sender<T>, Receiver<T>) {
        self.inner.mailbox(capacity)
    }

    fn blocking<T, C>(&self, call: C) -> E::Join<T>
    where
        T: Send + 'static,
        C: FnOnce() -> T + Send + 'static,
    {
        self.inner.blocking(call)
    }

    fn watch(&self, descriptor: OwnedFd) -> io::Result<E::Watch> {
        self.inner.watch(descriptor)
    }

    fn signals(&self) -> io::Result<Receiver<Signal>> {
        self.inner.signals()
    }

    fn listen(&self, address: SocketAddr) -> io::Result<Self::Listener> {
        self.inner.listen(address).map(Passed)
    }

    #[track_caller]
    fn connect(
        &self,
        address: SocketAddr,
        give_up_at: Instant,
    ) -> E::Join<io::Result<Stream<Self>>> {
        let attempt = self.inner.connect(address, give_up_at);
        self.inner.spawn(async move { attempt.await.map(passed) })
    }

    #[track_caller]
    fn open(&self, path: &Path, options: OpenOptions) -> E::Join<Result<TracedFile<E>, FileError>> {
        let opening = self.inner.open(path, options);
        let (env, path) = (self.clone(), path.to_owned());
        self.inner.spawn(async move {
            let file = opening.await?;
            Ok(TracedFile { env, file, path })
        })
    }
}
