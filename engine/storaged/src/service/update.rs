//! Updates of clients: each item is admitted before its first byte is taken (R2), so that bytes
//! pass on while they arrive; all are answered in one message.

use std::rc::Rc;

use engine_craq::{Event, Payload, Space, Update, UpdateId};
use engine_links::Description;
use engine_net::{Request, Segment};
use engine_runtime::Env;
use engine_store::tables::Known;
use engine_store::{Change, Tag, TruncateEpoch};
use engine_types::limits::PAYLOAD_BYTES_MAX;
use engine_types::{
    ChainVersion, ChannelId, ChunkId, ChunkSize, InodeId, SessionId, Status, TargetId,
};
use engine_wire::bodies;
use engine_wire::bodies::storage::{
    StorageUpdateReply, StorageUpdateRequest, UPDATE_COPY, UPDATE_EXTEND, UPDATE_REMOVE,
    UPDATE_TRUNCATE, UPDATE_WRITE, UPDATE_ZERO, UpdateAnswer, UpdateItem,
};

use super::ITEMS_MAX;
use crate::fair;
use crate::promise::Promise;
use crate::refusals;
use crate::shard::Shard;
use crate::stream::{Stream, expected};
use crate::target::{Found, Target, Updated, What};

/// An update that was begun.
struct Begun<E: Env> {
    answer: UpdateAnswer,
    under_way: Option<UnderWay<E>>,
}

struct UnderWay<E: Env> {
    target: Rc<Target<E>>,
    payload: Payload,
    stream: Rc<Stream<E>>,
    updated: Rc<Promise<Updated>>,
}

impl<E: Env> UnderWay<E> {
    /// No more bytes come.
    fn end(&self, complete: bool) {
        if let Some(complete) = self.stream.end(complete) {
            self.target.step(Event::PayloadEnded { payload: self.payload, complete });
        }
    }
}

impl<E: Env> Shard<E> {
    pub(super) async fn update(self: &Rc<Self>, mut request: Request<E>) {
        let asked = match request.body::<StorageUpdateRequest>() {
            Ok(body) => bodies::to_owned::<StorageUpdateRequest>(body),
            Err(error) => Err(error),
        };
        let items = match asked {
            Ok(asked) if asked.items.len() <= ITEMS_MAX => asked.items,
            Ok(_) => return request.refuse(Status::TooLarge).await,
            Err(error) => return request.refuse(error.status()).await,
        };
        let copies = items.iter().filter(|item| item.change == UPDATE_COPY);
        let copied: u64 = copies.map(|item| u64::from(item.len)).sum();
        if u64::from(PAYLOAD_BYTES_MAX) < copied {
            return request.refuse(Status::TooLarge).await;
        }
        let sum: u64 = items.iter().map(|item| u64::from(item.bytes)).sum();
        if sum != u64::from(request.payload_len()) {
            return request.refuse(Status::Malformed).await;
        }
        let cost = fair::cost(items.len(), sum.saturating_add(copied));
        let Some(_permit) = self.admit(&request, cost).await else {
            return request.refuse(Status::Busy).await;
        };
        let mut begun: Vec<Begun<E>> = Vec::with_capacity(items.len());
        let mut given_up = false;
        for item in &items {
            let next = self.begin_update(item).await;
            if !given_up {
                given_up = take_bytes(&mut request, item.bytes, next.under_way.as_ref()).await;
            }
            if let Some(under_way) = &next.under_way {
                under_way.end(!given_up);
            }
            begun.push(next);
        }
        for Begun { answer, under_way } in &mut begun {
            let Some(under_way) = under_way.take() else { continue };
            let Updated { status, version, len } = under_way.updated.wait().await;
            answer.status = status.code();
            answer.chain_version = under_way.target.version().get();
            (answer.version, answer.chunk_len) = (version, len);
        }
        let items = begun.into_iter().map(|begun| begun.answer).collect();
        request.respond(&StorageUpdateReply { items }, &[]).await;
    }

    async fn begin_update(self: &Rc<Self>, item: &UpdateItem) -> Begun<E> {
        let refused = |status: Status, chain_version: u32| {
            let answer =
                UpdateAnswer { status: status.code(), chain_version, ..UpdateAnswer::default() };
            Begun { answer, under_way: None }
        };
        let Some(target) = self.target(TargetId::new(item.target)) else {
            return refused(Status::WrongNode, 0);
        };
        let chain_version = target.version().get();
        let Some(description) = described(item) else {
            return refused(Status::InvalidArgument, chain_version);
        };
        let mut copied = None;
        let chunk = ChunkId { inode: InodeId::new(item.inode), index: item.index };
        let tag = Tag {
            session: SessionId::new(item.session),
            channel: ChannelId::new(item.channel),
            seq: item.seq,
        };
        // One that was done finds its source changed, perhaps gone: its answer is known.
        let new = target.local(chunk, Some(tag)).known == Known::Fresh;
        if item.change == UPDATE_COPY && new {
            match self.copied(&target, item).await {
                Ok(parts) => copied = Some(parts),
                Err(status) => return refused(status, chain_version),
            }
        }
        let (change, size) = (description.change, description.size);
        let stream = Rc::new(Stream::new(description));
        let payload = self.new_stream(target.own.target, stream.clone());
        let (bytes, records) = target.home.store.growth(target.slot, chunk, size, &change);
        let update = Update {
            id: UpdateId(self.next_id()),
            chain: ChainVersion::new(item.chain_version),
            chunk,
            removal: change == Change::Remove,
            tag,
            growth: Space { bytes, records },
            payload,
        };
        let updated = target.ask_update(update);
        let answer = UpdateAnswer { chain_version, ..UpdateAnswer::default() };
        let under_way = UnderWay { target, payload, stream, updated };
        let mut whole = true;
        for part in copied.into_iter().flatten() {
            whole &= under_way.stream.push_read(part).is_ok();
        }
        if !whole {
            under_way.end(false);
        }
        Begun { answer, under_way: Some(under_way) }
    }

    /// Bytes of a chunk of the same chain, as this replica may read them.
    async fn copied(
        self: &Rc<Self>,
        target: &Rc<Target<E>>,
        item: &UpdateItem,
    ) -> Result<Vec<engine_runtime::Bytes<E::Memory>>, Status> {
        let from = ChunkId { inode: InodeId::new(item.from_inode), index: item.from_index };
        let chain = ChainVersion::new(item.chain_version);
        let what = What::Bytes { offset: item.offset, len: item.len };
        let found = target.ask_read(self.next_id(), chain, from, what).wait().await;
        match found {
            Found::Bytes(reading) => {
                let content = reading.finish().await.map_err(|error| refusals::of_read(&error))?;
                match content.len() == item.len as usize {
                    true => Ok(content.parts),
                    false => Err(Status::InvalidArgument),
                }
            }
            Found::Refused(status) => Err(status),
            _ => Err(Status::NotFound),
        }
    }
}

/// Hands the bytes of one item on; true when their sender has given up.
async fn take_bytes<E: Env>(
    request: &mut Request<E>,
    bytes: u32,
    under_way: Option<&UnderWay<E>>,
) -> bool {
    let mut left = bytes;
    while 0 < left {
        let Ok(Some(segment)) = request.next_segment().await else { return true };
        let Some(rest) = take(left, &segment) else { return true };
        left = rest;
        if let Some(under_way) = under_way
            && under_way.stream.push(segment).is_err()
        {
            under_way.end(false);
        }
    }
    false
}

/// What is left behind a segment; nothing if it belongs to two items.
fn take<E: Env>(left: u32, segment: &Segment<E>) -> Option<u32> {
    let len = u32::try_from(segment.bytes.len()).ok()?;
    left.checked_sub(len)
}

/// What an item does; nothing if it contradicts itself. Ranges are the store's to judge.
fn described(item: &UpdateItem) -> Option<Description> {
    let size = 1_u32.checked_shl(item.size_shift.into()).and_then(ChunkSize::new)?;
    let (offset, len) = (item.offset, item.len);
    let change = match item.change {
        UPDATE_WRITE => Change::Write { offset, len },
        UPDATE_TRUNCATE => Change::Truncate { len },
        UPDATE_EXTEND => Change::Extend { len },
        UPDATE_ZERO => Change::Zero { offset, len },
        UPDATE_REMOVE => Change::Remove,
        UPDATE_COPY => Change::Write { offset: item.to_offset, len },
        _ => return None,
    };
    let extents = Vec::new();
    let epoch = TruncateEpoch::new(item.epoch);
    let description = Description { change, size, epoch, extents };
    let own = if item.change == UPDATE_COPY { 0 } else { expected(&description) };
    (own == item.bytes).then_some(description)
}
