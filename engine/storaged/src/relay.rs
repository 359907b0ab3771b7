//! Bytes on their way to another replica: passed on while they arrive, or read from the store.
//!
//! A link that goes down ends these tasks: what the next link needs is sent anew, from its
//! beginning and under another name, so that nothing of two sendings is ever mixed.

use std::rc::Rc;

use engine_links::{Chunklet, Item, Links, Owner, ShardId, StreamId};
use engine_runtime::{Env, yield_now};
use engine_shard::{ReadError, Shipment};

use crate::shard::Shard;
use crate::stream::Stream;
use crate::target::Target;

/// Bytes of one payload that wait in the queue of a link: what 25 Gbit/s carry in a third of a
/// millisecond. More would only delay what others have to say.
const QUEUED_BYTES_MAX: u64 = 1 << 20;

/// Passes a stream on: what has arrived in this turn, the rest in a task.
pub(crate) fn pass_on<E: Env, O: Owner<E>>(
    env: &E,
    links: Rc<Links<E, O>>,
    there: ShardId,
    id: StreamId,
    stream: Rc<Stream<E>>,
) {
    let mut sent = 0;
    if pass_new(&links, there, id, &stream, &mut sent) {
        return;
    }
    drop(env.spawn(async move {
        yield_now().await;
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

/// Sends what the store holds, piece by piece. If it cannot be read, the link is cut: the receiver
/// must not wait for the rest.
pub(crate) fn send_shipment<E: Env>(
    target: &Rc<Target<E>>,
    shard: &Rc<Shard<E>>,
    (links, there, id): (Rc<Links<E, Shard<E>>>, ShardId, StreamId),
    mut shipment: Shipment<E>,
    resync: bool,
) {
    let (target, shard) = (target.clone(), shard.clone());
    drop(shard.env.clone().spawn(async move {
        yield_now().await;
        let block_shift = shipment.head.size.checksum_block_shift();
        let block = shipment.head.size.checksum_block_bytes();
        loop {
            links.room(there, QUEUED_BYTES_MAX).await;
            if !links.is_up(there) {
                return;
            }
            let piece = match shipment.next().await {
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
            if resync && let Some(turn) = shard.resync_turn(piece.bytes.len()) {
                shard.env.sleep_until(turn).await;
            }
            let phase = piece.offset & (block - 1);
            let known = piece.checksums.iter().map(|crc| crc.get()).collect::<Vec<u32>>();
            let crcs = (!known.is_empty()).then_some(known);
            let (bytes, offset) = (piece.bytes, piece.offset);
            let chunklet = Chunklet { bytes, offset, block_shift, phase, crcs };
            links.send(there, Item::Piece { stream: id, end: None }, vec![chunklet]);
        }
    }));
}
