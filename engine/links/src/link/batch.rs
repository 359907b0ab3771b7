//! What travels together in one request.

use std::collections::VecDeque;

use engine_net::Part;
use engine_runtime::{Bytes, Env, PoolExhausted};
use engine_types::limits::{PAYLOAD_BYTES_MAX, UNCREDITED_PAYLOAD_BYTES_MAX};
use engine_wire::bodies::storage::RelayMessage;

use crate::codec;
use crate::item::{Chunklet, Item, StreamId};
use crate::limits::{BATCH_BYTES_MAX, LIST_BYTES_MAX, MESSAGES_MAX, PARTS_MAX};

/// One message that waits to be sent, with its payload: a list, or bytes of a stream.
pub(crate) struct Queued<E: Env> {
    pub(crate) message: RelayMessage,
    pub(crate) list: Vec<u8>,
    pub(crate) bytes: Vec<Chunklet<E>>,
}

impl<E: Env> Queued<E> {
    /// An item that brings no bytes of a stream.
    pub(crate) fn plain(item: &Item) -> Self {
        let (message, list) = codec::encode(item);
        assert!(list.len() <= LIST_BYTES_MAX, "E363: a list of {} bytes", list.len());
        Self { message, list, bytes: Vec::new() }
    }

    pub(crate) fn has_payload(&self) -> bool {
        0 < self.message.bytes
    }

    fn parts(&self) -> usize {
        self.bytes.len() + usize::from(!self.list.is_empty())
    }
}

/// The pieces that the next bytes of a stream travel in: each fits a request.
pub(crate) fn pieces<E: Env>(
    stream: StreamId,
    end: Option<bool>,
    bytes: Vec<Chunklet<E>>,
) -> VecDeque<Queued<E>> {
    let mut pieces = VecDeque::new();
    let mut piece: Queued<E> = Queued::plain(&Item::Piece { stream, end: None });
    for chunklet in bytes.into_iter().filter(|chunklet| !chunklet.bytes.is_empty()) {
        let len = u32::try_from(chunklet.bytes.len()).unwrap_or(u32::MAX);
        assert!(len <= PAYLOAD_BYTES_MAX, "E363: {len} bytes in one run");
        let sum = u64::from(piece.message.bytes) + u64::from(len);
        if piece.has_payload() && (BATCH_BYTES_MAX < sum || piece.bytes.len() == PARTS_MAX) {
            let next = Queued::plain(&Item::Piece { stream, end: None });
            pieces.push_back(core::mem::replace(&mut piece, next));
        }
        piece.message.bytes += len;
        piece.bytes.push(chunklet);
    }
    let bytes = piece.message.bytes;
    piece.message = RelayMessage { bytes, ..codec::encode(&Item::Piece { stream, end }).0 };
    pieces.push_back(piece);
    pieces
}

/// The messages of one request.
pub(crate) struct Batch<E: Env> {
    pub(crate) sequence: u64,
    pub(crate) queued: Vec<Queued<E>>,
    pub(crate) parts: usize,
    pub(crate) bytes: u64,
}

impl<E: Env> Batch<E> {
    pub(super) fn new() -> Self {
        Self { sequence: 0, queued: Vec::new(), parts: 0, bytes: 0 }
    }

    pub(crate) fn has_payload(&self) -> bool {
        0 < self.bytes
    }

    /// Whether `next` may travel with what is here.
    pub(super) fn takes(&self, next: &Queued<E>) -> bool {
        if self.queued.is_empty() {
            return true;
        }
        let uncredited = u64::from(UNCREDITED_PAYLOAD_BYTES_MAX);
        let bytes = self.bytes + u64::from(next.message.bytes);
        // What needs no credit does not wait with what needs some.
        let begins_bulk = self.bytes <= uncredited && uncredited < bytes;
        self.queued.len() < MESSAGES_MAX
            && self.parts + next.parts() <= PARTS_MAX
            && bytes <= BATCH_BYTES_MAX
            && !begins_bulk
    }

    pub(super) fn push(&mut self, next: Queued<E>) {
        self.parts += next.parts();
        self.bytes += u64::from(next.message.bytes);
        self.queued.push(next);
    }

    pub(crate) fn messages(&self) -> Vec<RelayMessage> {
        self.queued.iter().map(|queued| queued.message).collect()
    }

    /// Lists in memory that can be sent, in order.
    pub(crate) async fn lists(&self, env: &E) -> Result<Lists<E>, PoolExhausted> {
        let mut lists = VecDeque::new();
        for queued in self.queued.iter().filter(|queued| !queued.list.is_empty()) {
            let mut buf = env.pool().alloc_wait(queued.list.len()).await?;
            buf.extend_from_slice(&queued.list);
            lists.push_back(buf.freeze());
        }
        Ok(lists)
    }

    /// The payload of all messages, in order.
    pub(crate) fn payload(&self, mut lists: Lists<E>) -> Vec<Part<'_, E>> {
        let mut parts = Vec::with_capacity(self.parts);
        for queued in &self.queued {
            if !queued.list.is_empty() {
                parts.push(Part::plain(lists.pop_front().expect("one per list")));
            }
            parts.extend(queued.bytes.iter().map(|chunklet| Part {
                bytes: chunklet.bytes.clone(),
                block_shift: chunklet.block_shift,
                phase: chunklet.phase,
                crcs: chunklet.crcs.as_deref(),
            }));
        }
        parts
    }
}

/// Lists in memory that can be sent.
pub(crate) type Lists<E> = VecDeque<Bytes<<E as Env>::Memory>>;
