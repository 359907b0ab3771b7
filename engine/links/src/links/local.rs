//! The link of a shard to itself: two targets of one chain on one shard. What is queued is handed
//! on by a task, without the network; nobody is asked to give credit.

use std::rc::Rc;

use engine_net::{Crcs, Segment};
use engine_runtime::{Env, yield_now};
use engine_types::limits::SEGMENT_BYTES_MAX;
use engine_wire::checksum_blocks;

use super::{Links, Notice};
use crate::codec;
use crate::item::{Arrived, Chunklet, Owner};
use crate::link::{Link, Queued};

impl<E: Env, O: Owner<E>> Links<E, O> {
    /// Hands on what is queued until the link ends.
    pub(super) async fn deliver_all(this: Rc<Self>, link: Rc<Link<E>>) {
        loop {
            let mut batch = None;
            let ready = || {
                batch = if link.is_ended() { None } else { link.take_batch() };
                batch.is_some() || link.is_ended()
            };
            link.changed.until(ready).await;
            let Some(batch) = batch else { return };
            let had_payload = batch.has_payload();
            for queued in batch.queued {
                let arrived = arrived(queued);
                this.notices.borrow_mut().push_back(Notice::Arrived(link.clone(), arrived));
            }
            this.tell();
            link.answered(had_payload);
            yield_now().await;
        }
    }
}

fn arrived<E: Env>(queued: Queued<E>) -> Arrived<E> {
    let Queued { message, list, bytes } = queued;
    let item = codec::decode(&message, &list).expect("what is encoded here is understood here");
    let mut segments = Vec::with_capacity(bytes.len());
    let mut offset = 0;
    for chunklet in bytes {
        offset = cut(chunklet, offset, &mut segments);
    }
    Arrived { item, segments }
}

/// Cuts a run of bytes as a connection does; gives the offset behind it.
fn cut<E: Env>(chunklet: Chunklet<E>, mut offset: u32, segments: &mut Vec<Segment<E>>) -> u32 {
    let Chunklet { bytes, block_shift, phase, crcs, .. } = chunklet;
    let block = 1usize << block_shift;
    let (mut at, mut crc_at) = (0, 0);
    while at < bytes.len() {
        let phase = (phase as usize + at) & (block - 1);
        let len = (bytes.len() - at).min(SEGMENT_BYTES_MAX as usize - phase);
        let small = |bytes: usize| u32::try_from(bytes).expect("segments are 256 KiB at most");
        let part = bytes.slice(at..at + len);
        let count = (phase + len).div_ceil(block);
        let crcs = match &crcs {
            Some(known) => Crcs::from_slice(&known[crc_at..crc_at + count]),
            None => {
                let mut all = Vec::with_capacity(count);
                checksum_blocks(&part, block_shift, small(phase), &mut |crc| all.push(crc));
                Crcs::from_slice(&all)
            }
        };
        segments.push(Segment { offset, bytes: part, block_shift, phase: small(phase), crcs });
        (at, crc_at) = (at + len, crc_at + count);
        offset += small(len);
    }
    offset
}
