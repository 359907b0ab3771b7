//! The store as services see it, watched: every request that changes something leaves a line, with
//! its place in the order of the store, in the very transaction that does it. So what happened is
//! in the store itself, whoever dies, and whatever became of the answer.
//!
//! ```text
//!   ~JRN stamp kind session (channel seq | ino)      value: the answer that was recorded
//! ```
//! Planted bugs are taken out of commits here, behind the lines.

use core::cell::{Cell, RefCell};
use core::pin::Pin;
use core::task::{Context, Poll};
use std::collections::BTreeMap;
use std::rc::Rc;

use engine_types::{ChannelId, InodeId, SessionId};
use meta_kv::mutation::Mutation;
use meta_kv::{CommitRequest, Committed, KvError, Page, RangeRead, Source, View};
use meta_model::Place;
use meta_protocol::Answer;
use meta_schema::codec::Record;
use meta_schema::{Key, RequestRecord};

use super::bug::Bug;

const LETTERS: &[u8; 4] = b"~JRN";
const STAMP_AT: usize = LETTERS.len();
const KIND_AT: usize = STAMP_AT + 10;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A request was done, and answered so.
    Done { session: SessionId, channel: ChannelId, seq: u64, answer: Box<Answer> },
    /// A session was fenced.
    Fenced { session: SessionId },
    /// A session that was pruned has lost a file.
    File { session: SessionId, ino: InodeId },
    /// It has lost its locks of an inode.
    Locks { session: SessionId, ino: InodeId },
}

/// A line with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) place: Place,
    pub(super) what: What,
}

/// The line that an entry of the store is; nothing if it is none.
pub(super) fn line(key: &[u8], value: &[u8]) -> Option<Line> {
    let rest = key.strip_prefix(LETTERS)?;
    let (version, rest) = rest.split_first_chunk::<8>()?;
    let (order, rest) = rest.split_first_chunk::<2>()?;
    let (kind, rest) = rest.split_first()?;
    let (session, rest) = rest.split_first_chunk::<8>()?;
    let session = SessionId::new(u64::from_le_bytes(*session));
    let ino = |rest: &[u8]| rest.first_chunk().map(|ino| InodeId::new(u64::from_le_bytes(*ino)));
    let what = match kind {
        b'D' => {
            let (channel, rest) = rest.split_first_chunk::<4>()?;
            let channel = ChannelId::new(u32::from_le_bytes(*channel));
            let seq = u64::from_le_bytes(*rest.first_chunk()?);
            What::Done { session, channel, seq, answer: Box::new(Answer::decode(value).ok()?) }
        }
        b'F' => What::Fenced { session },
        b'S' => What::File { session, ino: ino(rest)? },
        b'L' => What::Locks { session, ino: ino(rest)? },
        _ => return None,
    };
    let place = Place::Commit { version: ordered(*version), order: ordered_u16(*order) };
    Some(Line { place, what })
}

#[expect(clippy::big_endian_bytes, reason = "stamps are ordered as bytes")]
fn ordered(bytes: [u8; 8]) -> u64 {
    u64::from_be_bytes(bytes)
}

#[expect(clippy::big_endian_bytes, reason = "stamps are ordered as bytes")]
fn ordered_u16(bytes: [u8; 2]) -> u16 {
    u16::from_be_bytes(bytes)
}

fn written(kind: u8, session: SessionId, rest: &[u8], value: Vec<u8>) -> Mutation {
    let mut key = LETTERS.to_vec();
    key.resize(KIND_AT, 0);
    key.push(kind);
    key.extend(session.get().to_le_bytes());
    key.extend(rest);
    Mutation::StampedKey { key, offset: STAMP_AT, value }
}

/// The lines of a commit.
fn lines(commit: &CommitRequest) -> Vec<Mutation> {
    let (mut done, mut left) = (Vec::new(), Vec::new());
    for mutation in &commit.mutations {
        match mutation {
            Mutation::Set { key, value } => match Key::parse(key) {
                Ok(Key::Request { session, channel }) => {
                    let record = RequestRecord::decode(value).expect("a service encoded it");
                    let mut rest = channel.get().to_le_bytes().to_vec();
                    rest.extend(record.seq.to_le_bytes());
                    done.push(written(b'D', session, &rest, record.answer));
                }
                Ok(Key::Fenced(session)) => left.push(written(b'F', session, &[], Vec::new())),
                _ => {}
            },
            Mutation::Clear { range } => match Key::parse(&range.begin) {
                Ok(Key::SessionInode { session, ino }) => {
                    left.push(written(b'S', session, &ino.get().to_le_bytes(), Vec::new()));
                }
                Ok(Key::SessionLocks { session, ino }) => {
                    left.push(written(b'L', session, &ino.get().to_le_bytes(), Vec::new()));
                }
                _ => {}
            },
            _ => {}
        }
    }
    // What a request clears is its own business.
    if done.is_empty() { left } else { done }
}

/// Which version each request of one process has read.
#[derive(Default)]
pub(super) struct Watch {
    current: Cell<Option<u32>>,
    versions: RefCell<BTreeMap<u32, u64>>,
}

impl Watch {
    /// The version that `number` read last.
    pub(super) fn take(&self, number: u32) -> Option<u64> {
        self.versions.borrow_mut().remove(&number)
    }

    /// Runs `future` as the request `number`.
    pub(super) fn run<F: Future>(self: &Rc<Self>, number: u32, future: F) -> Watched<F> {
        Watched { watch: self.clone(), number, future: Box::pin(future) }
    }
}

/// A request that is watched.
pub(super) struct Watched<F> {
    watch: Rc<Watch>,
    number: u32,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let outer = self.watch.current.replace(Some(self.number));
        let polled = self.future.as_mut().poll(context);
        self.watch.current.set(outer);
        polled
    }
}

/// A source that writes lines.
#[derive(Clone)]
pub(super) struct Desk<S> {
    inner: S,
    bug: Option<Bug>,
    watch: Rc<Watch>,
}

impl<S> Desk<S> {
    pub(super) fn new(inner: S, bug: Option<Bug>, watch: &Rc<Watch>) -> Self {
        Self { inner, bug, watch: watch.clone() }
    }
}

impl<S: Source> Source for Desk<S> {
    type View = DeskView<S::View>;

    async fn view(&self) -> Result<Self::View, KvError> {
        let current = self.watch.current.get();
        let view = self.inner.view().await?;
        if let Some(number) = current {
            self.watch.versions.borrow_mut().insert(number, view.version());
        }
        Ok(DeskView { view, bug: self.bug })
    }

    async fn commit(&self, mut request: CommitRequest) -> Result<Committed, KvError> {
        let lines = lines(&request);
        if let Some(bug) = self.bug {
            bug.spoil(&mut request);
        }
        request.mutations.extend(lines);
        self.inner.commit(request).await
    }
}

/// A view through the desk.
#[derive(Clone)]
pub(super) struct DeskView<V> {
    view: V,
    bug: Option<Bug>,
}

impl<V: View> View for DeskView<V> {
    fn version(&self) -> u64 {
        self.view.version()
    }

    fn epoch(&self) -> u64 {
        self.view.epoch()
    }

    async fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, KvError> {
        if self.bug.is_some_and(|bug| bug.hides(&key)) {
            return Ok(None);
        }
        self.view.get(key).await
    }

    async fn range(&self, read: RangeRead) -> Result<Page, KvError> {
        if self.bug.is_some_and(|bug| bug.hides(&read.range.begin)) {
            return Ok(Page::default());
        }
        self.view.range(read).await
    }
}
