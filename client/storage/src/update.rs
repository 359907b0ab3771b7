//! Updates, each with a tag that every attempt repeats (R14), and what becomes of those that are
//! given up.

use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

use engine_net::{Call, Client};
use engine_runtime::{Bytes, Env, first};
use engine_types::limits::PAYLOAD_BYTES_MAX;
use engine_types::{
    ChainId, ChainVersion, ChunkId, ChunkSize, ChunkVersion, InodeId, Instant, Status,
};
use engine_wire::bodies;
use engine_wire::bodies::storage::{
    StorageUpdateReply, StorageUpdateRequest, UPDATE_COPY, UPDATE_EXTEND, UPDATE_REMOVE,
    UPDATE_TRUNCATE, UPDATE_WRITE, UPDATE_ZERO, UpdateItem,
};

use crate::Inner;
use crate::channels::{Channels, Tag};
use crate::config::StorageConfig;
use crate::data::Data;
use crate::drive::{Failed, ITEMS_MAX, Item, Operation, Said};
use crate::error::{Op, StorageError, Subject};
use crate::place::Whom;

/// The file that no file is. Its chunks are removed to overtake abandoned updates (E373): they are
/// always absent, so that nothing but the number of the request comes of it.
pub const FENCE_INODE: InodeId = InodeId::new(u64::MAX);

/// What is done to a chunk.
pub enum Change<E: Env> {
    /// Bytes are written; a gap behind the old length becomes zeros.
    Write {
        /// First byte.
        offset: u32,
        /// What is written, in pieces that lie one behind the other.
        parts: Vec<Bytes<E::Memory>>,
    },
    /// The length becomes `len`.
    Truncate {
        /// Bytes.
        len: u32,
    },
    /// The length becomes at least `len`.
    Extend {
        /// Bytes.
        len: u32,
    },
    /// A range becomes zeros.
    Zero {
        /// First byte.
        offset: u32,
        /// Bytes.
        len: u32,
    },
    /// The chunk goes.
    Remove,
    /// Bytes of another chunk of the same chain are written.
    Copy {
        /// The other chunk.
        from: ChunkId,
        /// First byte there.
        offset: u32,
        /// Bytes.
        len: u32,
        /// First byte here.
        to: u32,
    },
}

/// An update of a batch.
pub struct Update<E: Env> {
    /// The chain of the chunk.
    pub chain: ChainId,
    /// The chunk.
    pub chunk: ChunkId,
    /// Size of the file's chunks.
    pub size: ChunkSize,
    /// Truncate epoch that the caller holds (M1).
    pub epoch: u32,
    /// What is done to it.
    pub change: Change<E>,
}

/// What an update has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The version.
    pub version: ChunkVersion,
    /// Length of the chunk at it.
    pub chunk_len: u32,
}

impl<E: Env> Change<E> {
    pub(crate) const fn op(&self) -> Op {
        match self {
            Self::Write { .. } => Op::Write,
            Self::Truncate { .. } => Op::Truncate,
            Self::Extend { .. } => Op::Extend,
            Self::Zero { .. } => Op::Zero,
            Self::Remove => Op::Remove,
            Self::Copy { .. } => Op::Copy,
        }
    }
}

/// An update on its way. Its wire form is made once; attempts differ in where they go alone.
pub(crate) struct UpdateOp<E: Env> {
    subject: Subject,
    wire: UpdateItem,
    data: Data<E>,
    lease: Lease<E>,
}

impl<E: Env> UpdateOp<E> {
    /// `update` with its tag. Its ranges were checked.
    pub(crate) fn new(update: Update<E>, lease: Lease<E>) -> Self {
        let Update { chain, chunk, size, epoch, change } = update;
        let subject = Subject { op: change.op(), chain, chunk };
        let blank = UpdateItem {
            inode: chunk.inode.get(),
            index: chunk.index,
            session: lease.inner.session.get(),
            channel: lease.tag.channel.get(),
            seq: lease.tag.seq,
            epoch,
            size_shift: shift(size),
            ..UpdateItem::default()
        };
        let mut data = Data::none();
        let wire = match change {
            Change::Write { offset, parts } => {
                let len = parts.iter().map(|part| part.len()).sum::<usize>();
                let len = u32::try_from(len).expect("the caller has checked the range");
                data = Data::new(size, offset, parts);
                UpdateItem { change: UPDATE_WRITE, offset, len, bytes: len, ..blank }
            }
            Change::Truncate { len } => UpdateItem { change: UPDATE_TRUNCATE, len, ..blank },
            Change::Extend { len } => UpdateItem { change: UPDATE_EXTEND, len, ..blank },
            Change::Zero { offset, len } => {
                UpdateItem { change: UPDATE_ZERO, offset, len, ..blank }
            }
            Change::Remove => UpdateItem { change: UPDATE_REMOVE, ..blank },
            Change::Copy { from, offset, len, to } => UpdateItem {
                change: UPDATE_COPY,
                offset,
                len,
                to_offset: to,
                from_inode: from.inode.get(),
                from_index: from.index,
                ..blank
            },
        };
        Self { subject, wire, data, lease }
    }
}

/// Binary logarithm of a chunk's size.
fn shift(size: ChunkSize) -> u8 {
    u8::try_from(size.bytes().trailing_zeros()).expect("chunks are 64 MiB at most")
}

impl<E: Env> Operation<E> for UpdateOp<E> {
    type Answer = Updated;

    const WHOM: Whom = Whom::Head;
    const ITEMS_MAX: usize = ITEMS_MAX;

    fn subject(&self) -> Subject {
        self.subject
    }

    fn bytes(&self) -> u32 {
        self.wire.bytes
    }

    fn patience(config: &StorageConfig) -> Duration {
        config.update_patience
    }

    async fn send(
        client: &Client<E>,
        items: &[Item<E, Self>],
        by: Instant,
    ) -> Result<Vec<Said<Updated>>, Failed> {
        let wire = |item: &Item<E, Self>| {
            let place = item.place();
            let chain_version = place.chain_version.get();
            if planted!(RetriedAnew) {
                let Lease { channels, tag, .. } = &item.op.lease;
                let (target, seq) = (place.target.get(), channels.next(tag.channel).seq);
                return UpdateItem { target, chain_version, seq, ..item.op.wire };
            }
            UpdateItem { target: place.target.get(), chain_version, ..item.op.wire }
        };
        let body = StorageUpdateRequest { items: items.iter().map(wire).collect() };
        let parts: Vec<_> = items.iter().flat_map(|item| item.op.data.parts()).collect();
        let reply = client.call(Call::new(&body, by).with_parts(&parts)).await?;
        let told =
            reply.body::<StorageUpdateReply>().and_then(bodies::to_owned::<StorageUpdateReply>);
        let said = told.map_err(Failed::malformed)?.items.into_iter().map(|answer| {
            let status = Status::from_code(answer.status);
            let version = ChunkVersion::new(answer.version);
            let updated = Updated { version, chunk_len: answer.chunk_len };
            Said {
                status,
                installed: ChainVersion::new(answer.chain_version),
                answer: status.is_ok().then_some(updated),
            }
        });
        Ok(said.collect())
    }

    fn sending(&self) {
        self.lease.under_way.set(true);
    }

    fn attempted(&self, unknown: bool) {
        self.lease.under_way.set(false);
        let unknown = unknown && !planted!(UnknownCalledFailed);
        self.lease.unknown.set(self.lease.unknown.get() || unknown);
    }

    fn settled(&self) {
        self.lease.under_way.set(false);
        self.lease.unknown.set(false);
    }

    fn may_have_happened(&self) -> bool {
        self.lease.unknown.get()
    }
}

/// A channel in the hands of one update. When it is dropped, nothing of the update is to come any
/// more, or the update is abandoned.
pub(crate) struct Lease<E: Env> {
    inner: Rc<Inner<E>>,
    channels: Rc<Channels>,
    chain: ChainId,
    chunk: ChunkId,
    tag: Tag,
    /// An attempt is under way.
    under_way: Cell<bool>,
    /// An attempt has ended that may have had its effect, or may have it later.
    unknown: Cell<bool>,
    /// It overtakes an abandoned update.
    is_fence: bool,
}

impl<E: Env> Drop for Lease<E> {
    fn drop(&mut self) {
        if self.is_fence {
            return; // `overtake` goes on with it
        }
        if planted!(NotOvertaken) || (!self.unknown.get() && !self.under_way.get()) {
            return self.channels.give(self.tag.channel);
        }
        engine_types::reached!("E373: an update is abandoned");
        self.channels.haunt(self.chunk);
        self.inner.metrics.count(|counts| counts.abandoned += 1);
        let Self { inner, channels, chain, chunk, tag, .. } = self;
        let overtaking = overtake(inner.clone(), channels.clone(), *chain, *chunk, tag.channel);
        drop(self.inner.env.spawn(overtaking));
    }
}

/// Has the channel do something newer, after which what was abandoned is refused (E373).
async fn overtake<E: Env>(
    inner: Rc<Inner<E>>,
    channels: Rc<Channels>,
    chain: ChainId,
    chunk: ChunkId,
    channel: engine_types::ChannelId,
) {
    let tag = channels.next(channel);
    let lease = Lease {
        inner: inner.clone(),
        channels: channels.clone(),
        chain,
        chunk,
        tag,
        under_way: Cell::new(false),
        unknown: Cell::new(false),
        is_fence: true,
    };
    // Fences of one channel meet no other ones: neither wait for each other at the head.
    #[expect(clippy::cast_possible_truncation, reason = "any bits spread sessions over chunks")]
    let index = inner.session.get() as u32 ^ channel.get() << 26;
    let fence = Update {
        chain,
        chunk: ChunkId { inode: FENCE_INODE, index },
        size: ChunkSize::MIN,
        epoch: u32::MAX,
        change: Change::Remove,
    };
    let mut op = UpdateOp::new(fence, lease);
    op.subject = Subject { op: Op::Fence, chain, chunk };
    let driven = inner.clone().drive(vec![Item::new(0, op)], Instant::NEVER);
    let _closed_or_ended = first(inner.closed.cancelled(), async {
        for (_, outcome) in driven.await {
            inner
                .metrics
                .ended(Op::Fence, outcome.as_ref().map_or_else(|e| e.status(), |_| Status::Ok));
            match outcome {
                Ok(_) => inner.metrics.count(|counts| counts.fenced += 1),
                // Something newer was done already: that does what this was to do.
                Err(error) if error.status() == Status::OldRequest => {
                    inner.metrics.count(|counts| counts.fenced += 1);
                }
                // No replica refuses it for what it asks. If one does, the next request of the
                // channel overtakes what was abandoned: that is later, but nothing waits for ever.
                Err(error) => tracing::warn!(%error, "an abandoned update is not overtaken yet"),
            }
        }
    })
    .await;
    channels.lay(chunk);
    channels.give(channel);
}

impl<E: Env> Inner<E> {
    /// The channels of a chain. They are kept for ever: numbers never go back (E371).
    fn channels(&self, chain: ChainId) -> Rc<Channels> {
        let mut all = self.channels.borrow_mut();
        let fresh = || Rc::new(Channels::new(self.config.channels.clone(), self.env.wall()));
        all.entry(chain).or_insert_with(fresh).clone()
    }

    fn lease(self: &Rc<Self>, chain: ChainId, chunk: ChunkId, tag: Tag) -> Lease<E> {
        Lease {
            inner: self.clone(),
            channels: self.channels(chain),
            chain,
            chunk,
            tag,
            under_way: Cell::new(false),
            unknown: Cell::new(false),
            is_fence: false,
        }
    }

    /// A channel of the chain, if there is one at once.
    pub(crate) fn try_lease(self: &Rc<Self>, chain: ChainId, chunk: ChunkId) -> Option<Lease<E>> {
        let tag = self.channels(chain).try_take(chunk)?;
        Some(self.lease(chain, chunk, tag))
    }

    /// A channel of the chain, in line.
    pub(crate) async fn wait_lease(self: &Rc<Self>, chain: ChainId, chunk: ChunkId) -> Lease<E> {
        let tag = self.channels(chain).take(chunk).await;
        self.lease(chain, chunk, tag)
    }

    /// Whether an abandoned update of the chunk may still happen.
    pub(crate) fn is_haunted(&self, chain: ChainId, chunk: ChunkId) -> bool {
        self.channels(chain).is_haunted(chunk)
    }

    /// Whether the session is revoked, as a replica or the managers said.
    pub(crate) fn is_fenced(&self) -> bool {
        if !self.fenced.get() && self.routing.current().is_revoked(self.session) {
            self.set_fenced();
        }
        self.fenced.get()
    }

    pub(crate) fn set_fenced(&self) {
        if !self.fenced.replace(true) {
            tracing::error!(session = %self.session, "the session is revoked: no more updates");
        }
    }
}

/// Whether an update can be sent: its ranges lie inside the chunk, and its data fits a message.
pub(crate) fn check<E: Env>(update: &Update<E>) -> Result<(), StorageError> {
    let Update { chain, chunk, size, ref change, .. } = *update;
    let size = u64::from(size.bytes());
    let (end, bytes) = match change {
        Change::Write { offset, parts } => {
            let bytes = parts.iter().map(|part| part.len() as u64).sum::<u64>();
            (u64::from(*offset) + bytes, bytes)
        }
        Change::Truncate { len } | Change::Extend { len } => (u64::from(*len), 0),
        Change::Zero { offset, len } => (u64::from(*offset) + u64::from(*len), 0),
        Change::Remove => (0, 0),
        Change::Copy { offset, len, to, .. } => {
            (u64::from(*offset.max(to)) + u64::from(*len), u64::from(*len))
        }
    };
    let rows = [
        ("the end of its range", end, size),
        ("the data of one request", bytes, PAYLOAD_BYTES_MAX.into()),
    ];
    for (what, found, limit) in rows {
        if limit < found {
            let subject = Subject { op: change.op(), chain, chunk };
            return Err(StorageError::TooLarge { subject, what, found, limit });
        }
    }
    Ok(())
}
