//! Bytes on their way to another replica: passed on while they arrive, or read from the store.
//!
//! A link that goes down ends these tasks: what the next link needs is sent anew, from its
//! beginning and under another name, so that nothing of two sendings is ever mixed.

use std::rc::Rc;

use engine_links::{Chunklet, Item, Links, Owner, Room, ShardId, StreamId};
use engine_runtime::{Env, First, first, yield_now};
use engine_shard::{ReadError, Shipment, Shipped, Which};
use engine_types::Instant;
use engine_types::limits::SEGMENT_BYTES_MAX;

use crate::fair::{self, Class};
use crate::lanes::{self, FIRST_LANE, Purse, SHIPPING_LANE, reservation};
use crate::shard::Shard;
use crate::stream::Stream;
use crate::target::Target;

/// Bytes of one payload that wait in the queue of a link: what 25 Gbit/s carry in a third of a
/// millisecond. More would only delay what others have to say.
const QUEUED_BYTES_MAX: u64 = 1 << 20;

/// The way of one payload to a peer.
struct Way<E: Env> {
    links: Rc<Links<E, Shard<E>>>,
    purse: Rc<Purse>,
    there: ShardId,
    id: StreamId,
    lane: u8,
    bytes: u32,
}

impl<E: Env> Way<E> {
    /// Nothing when the link has just gone.
    fn new(
        shard: &Shard<E>,
        (there, id): (ShardId, StreamId),
        lane: u8,
        bytes: u32,
    ) -> Option<Self> {
        let (links, purse) = (shard.links()?, shard.lanes.purse(there)?);
        Some(Self { links, purse, there, id, lane, bytes: reservation(bytes) })
    }

    fn say(&self, said: Room, bytes: u32) {
        self.links.send(self.there, Item::Room { lane: self.lane, said, bytes }, Vec::new());
    }

    /// Takes room for the payload at once, if there is some; it has begun then.
    fn try_begin(&self) -> bool {
        let taken = self.bytes == 0 || self.purse.try_take(self.lane, self.bytes);
        if taken && 0 < self.bytes {
            self.say(Room::Begin(self.id), self.bytes);
        }
        taken
    }

    /// Room that was asked for is not wanted any more.
    fn settle(&self) {
        if let Some((said, bytes)) = self.purse.settle(self.lane) {
            self.say(said, bytes);
        }
    }

    /// Waits for room; false when the link is gone.
    async fn begin(&self, shard: &Shard<E>) -> bool {
        if self.try_begin() {
            return true;
        }
        engine_types::reached!("W2: a payload waits for room in its lane");
        shard.lanes.waited.set(shard.lanes.waited.get() + 1);
        self.say(Room::Want, self.purse.demand(self.lane, self.bytes));
        let taken = self.purse.take(self.lane, self.bytes).await && self.links.is_up(self.there);
        if taken {
            self.say(Room::Begin(self.id), self.bytes);
        }
        taken
    }
}

/// Passes a stream on: what has arrived in this turn, the rest in a task.
pub(crate) fn pass_on<E: Env>(
    shard: &Rc<Shard<E>>,
    (there, id): (ShardId, StreamId),
    stream: Rc<Stream<E>>,
) {
    let lane = lanes::next(stream.lane());
    let Some(way) = Way::new(shard, (there, id), lane, stream.expected()) else { return };
    let links = way.links.clone();
    let mut sent = 0;
    let begun = way.try_begin();
    if begun && pass_new(&links, there, id, &stream, &mut sent) {
        return;
    }
    let shard = shard.clone();
    drop(shard.env.clone().spawn(async move {
        yield_now().await;
        if !begun {
            // What is given up needs no room to say so.
            let given_up = stream.changed().until(|| stream.ended() == Some(false));
            match first(way.begin(&shard), given_up).await {
                First::Left(true) => {}
                First::Left(false) => return,
                First::Right(()) => way.settle(),
            }
        }
        loop {
            let changed = stream.changed().notified();
            if !links.is_up(there) || pass_new(&links, there, id, &stream, &mut sent) {
                return;
            }
            changed.await;
            links.room(there, QUEUED_BYTES_MAX).await;
        }
    }));
}

/// Sends what is new; true when that was the end.
fn pass_new<E: Env, O: Owner<E>>(
    links: &Links<E, O>,
    there: ShardId,
    id: StreamId,
    stream: &Stream<E>,
    sent: &mut usize,
) -> bool {
    let new = stream.chunklets(*sent);
    *sent += new.len();
    let ended = stream.ended();
    let count = new.len();
    for (place, chunklet) in new.into_iter().enumerate() {
        // A complete payload ends with its last bytes.
        let last = place + 1 == count && ended == Some(true);
        let end = last.then_some(true);
        links.send(there, Item::Piece { stream: id, end }, vec![chunklet]);
    }
    if ended == Some(false) || (ended == Some(true) && count == 0) {
        links.send(there, Item::Piece { stream: id, end: ended }, Vec::new());
    }
    ended.is_some()
}

/// A chunk of a resync that may not leave yet.
struct Waiting<'a, E: Env> {
    target: &'a Target<E>,
    shard: &'a Shard<E>,
    links: &'a Links<E, Shard<E>>,
    there: ShardId,
    id: StreamId,
}

impl<E: Env> Waiting<'_, E> {
    /// Waits until it may leave as a whole. Meanwhile nothing is held: a pinned version would keep
    /// all blocks from being used again that were dropped since (S1), and room in a lane would keep
    /// clients' payloads waiting. Gives the same version, pinned again; nothing when nobody wants
    /// it any more.
    async fn for_turn(self, head: Shipped, sum: u32, mut turn: Instant) -> Option<Shipment<E>> {
        let Self { target, shard, links, there, id } = self;
        engine_types::reached!("R12: a chunk of a resync waits for its turn");
        let chain = target.version();
        loop {
            shard.env.sleep_until(turn).await;
            if !links.is_up(there) || target.is_closed() {
                return None;
            }
            match shard.resync_turn(sum) {
                Ok(()) => break,
                Err(next) => turn = next,
            }
        }
        // The successor has passed this chunk: without its answer nothing newer commits (E352).
        match target.home.store.start_content(head.key, Which::Committed) {
            Ok(again) if (again.head.version, again.head.digest) == (head.version, head.digest) => {
                Some(again)
            }
            // In another version of the chain nobody waits for it.
            _ if chain != target.version() => {
                links.send(there, Item::Piece { stream: id, end: Some(false) }, Vec::new());
                None
            }
            other => {
                let key = head.key;
                tracing::error!(%there, %key, found = ?other, "what is being sent cannot be read");
                links.cut(there);
                None
            }
        }
    }
}

/// Sends what the store holds, piece by piece. If it cannot be read, the link is cut: the receiver
/// must not wait for the rest.
pub(crate) fn send_shipment<E: Env>(
    target: &Rc<Target<E>>,
    shard: &Rc<Shard<E>>,
    (there, id): (ShardId, StreamId),
    mut shipment: Shipment<E>,
    resync: bool,
) {
    let (target, shard) = (target.clone(), shard.clone());
    let sum = shipment.extents.iter().fold(0_u32, |sum, extent| sum.saturating_add(extent.1));
    let lane = if resync { SHIPPING_LANE } else { FIRST_LANE };
    let Some(way) = Way::new(&shard, (there, id), lane, sum) else { return };
    let links = way.links.clone();
    drop(shard.env.clone().spawn(async move {
        yield_now().await;
        if resync && let Err(turn) = shard.resync_turn(sum) {
            let head = shipment.head;
            drop(shipment);
            let waited = Waiting { target: &target, shard: &shard, links: &links, there, id };
            let Some(again) = waited.for_turn(head, sum, turn).await else { return };
            shipment = again;
        }
        if !way.begin(&shard).await {
            return;
        }
        let block_shift = shipment.head.size.checksum_block_shift();
        let block = shipment.head.size.checksum_block_bytes();
        loop {
            links.room(there, QUEUED_BYTES_MAX).await;
            if !links.is_up(there) {
                return;
            }
            // A piece of a segment's length at most; only its reading competes with clients.
            let permit = match resync {
                true => {
                    let (cost, own) = (fair::cost(1, SEGMENT_BYTES_MAX.into()), target.own.target);
                    shard.admission.enter(Class::Resync, own.get().into(), cost).await
                }
                false => None,
            };
            let piece = shipment.next().await;
            drop(permit);
            let piece = match piece {
                Ok(Some(piece)) => piece,
                Ok(None) => {
                    let end = Item::Piece { stream: id, end: Some(true) };
                    return links.send(there, end, Vec::new());
                }
                Err(error) => {
                    tracing::error!(%there, %error, "what is being sent cannot be read");
                    if let ReadError::Corrupt { key, block, version } = error {
                        shard.repair_soon(target.own.target, (key.chunk, version), block);
                    }
                    return links.cut(there);
                }
            };
            let phase = piece.offset & (block - 1);
            let known = piece.checksums.iter().map(|crc| crc.get()).collect::<Vec<u32>>();
            let crcs = (!known.is_empty()).then_some(known);
            let (bytes, offset) = (piece.bytes, piece.offset);
            let chunklet = Chunklet { bytes, offset, block_shift, phase, crcs };
            links.send(there, Item::Piece { stream: id, end: None }, vec![chunklet]);
        }
    }));
}
