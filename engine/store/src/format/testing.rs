//! Random content for the tests and the harnesses of this folder.
#![expect(clippy::unwrap_used, reason = "numbers are below their bounds")]

#[cfg(test)]
use alloc::format;
use alloc::rc::Rc;
#[cfg(test)]
use alloc::string::String;
use alloc::vec::Vec;

use engine_types::limits::BLOCK_BYTES_MAX;
use engine_types::{
    ChainId, ChainVersion, ChannelId, ChunkSize, ChunkVersion, Incarnation, Rng, SECTOR_BYTES,
    SessionId, StoreId, TargetId, Timeline,
};

use crate::address::{BlockAddress, BlockClass, ChunkKey, Lsn, Slot, TruncateEpoch};
use crate::entry::{Entry, Fence, Put, SectorRange};
use crate::format::group::GroupIdentity;
use crate::record::{HOLE, Head, Record};
use crate::request::{Outcome, Tag, TargetPhase, TargetRecord};

pub(super) const STORE: StoreId = StoreId::new(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
pub(super) const SALT: u64 = 0x5a17_5a17_5a17_5a17;

/// Bytes as golden tables hold them.
#[cfg(test)]
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn up_to(rng: &mut Rng, max: u32) -> u32 {
    u32::try_from(rng.range(0..=u64::from(max))).unwrap()
}

#[cfg(test)]
fn usize_below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap()
}

pub(super) fn identity(lsn: u64, prev_hash: u64) -> GroupIdentity {
    GroupIdentity {
        store: STORE,
        mount_gen: Incarnation::new(3),
        lsn: Lsn::new(lsn),
        prev_hash,
        applied_lsn: Lsn::new(lsn.saturating_sub(2)),
    }
}

pub(super) fn key(rng: &mut Rng) -> ChunkKey {
    let slot = u16::try_from(rng.below(3)).unwrap();
    ChunkKey::new(Slot::new(slot), rng.next_u64() >> rng.below(64), up_to(rng, 1000))
}

/// A record that passes its check, of a chunk of at most `size_max`.
pub(super) fn record(rng: &mut Rng, size_max: ChunkSize) -> Record {
    let shift = rng.range(12..=u64::from(size_max.bytes().ilog2()));
    let size = ChunkSize::new(1 << shift).unwrap();
    let len = up_to(rng, size.bytes());
    let data_end = if rng.chance(100) { 0 } else { up_to(rng, len) };
    let class_min = BlockClass::holding(data_end).unwrap_or(BlockClass::MAX).get();
    let class_max = BlockClass::holding(size.bytes()).unwrap_or(BlockClass::MAX).get();
    let class = rng.range(class_min.into()..=class_max.into());
    let head = Head {
        len,
        data_end,
        version: ChunkVersion::new(up_to(rng, u32::MAX)),
        chain_version: ChainVersion::new(up_to(rng, 99)),
        epoch: TruncateEpoch::new(up_to(rng, 9)),
        size,
        class: BlockClass::new(u8::try_from(class).unwrap()).unwrap(),
    };
    let holes = up_to(rng, 1000);
    let count = head.checksum_count();
    let checksums: Vec<u32> = (0..count)
        .map(|i| if i + 1 < count && rng.chance(holes) { HOLE } else { up_to(rng, u32::MAX) | 1 })
        .collect();
    let per_place = usize::try_from(BLOCK_BYTES_MAX / size.checksum_block_bytes()).unwrap();
    let mut blocks: Vec<u32> = (0..head.place_count())
        .map(|place| {
            let mut words = checksums.iter().skip(place * per_place).take(per_place);
            let is_some = words.any(|&word| word != HOLE);
            let block = up_to(rng, 1 << 20) * head.class.sectors();
            if is_some { block } else { BlockAddress::NONE.get() }
        })
        .collect();
    let block = BlockAddress::new(blocks.remove(0));
    blocks.extend(checksums);
    let record = Record { head, block, words: blocks };
    record.as_ref().check().expect("made to be good");
    record
}

fn direct(rng: &mut Rng, sectors: u32) -> Vec<SectorRange> {
    let (mut from, mut ranges) = (0, Vec::new());
    while ranges.len() < 6 && from < sectors && rng.chance(600) {
        let first = from + up_to(rng, sectors - from - 1);
        let count = 1 + up_to(rng, sectors - first - 1);
        from = first + count;
        let (first, count) = (first.try_into().unwrap(), count.try_into().unwrap());
        ranges.push(SectorRange { first, count });
    }
    ranges
}

fn images(rng: &mut Rng, sectors: u32) -> Vec<u16> {
    let (mut from, mut images) = (0, Vec::new());
    while images.len() < 5 && from < sectors && rng.chance(500) {
        let sector = from + up_to(rng, sectors - from - 1);
        images.push(sector.try_into().unwrap());
        from = sector + 1;
    }
    images
}

pub(super) fn tag(rng: &mut Rng) -> Tag {
    Tag {
        session: SessionId::new(rng.below(100)),
        channel: ChannelId::new(up_to(rng, 63)),
        seq: rng.next_u64(),
    }
}

/// A PUT of a chunk of at most `size_max`, or of a removal.
pub(super) fn put(rng: &mut Rng, size_max: ChunkSize) -> Put {
    let mut put = Put {
        key: key(rng),
        version: ChunkVersion::new(up_to(rng, u32::MAX)),
        chain_version: ChainVersion::new(up_to(rng, 99)),
        record: None,
        direct: Vec::new(),
        images: Vec::new(),
        tag: rng.chance(500).then(|| tag(rng)),
    };
    if rng.chance(850) {
        let record = record(rng, size_max);
        let sectors = record.head.size.bytes() / SECTOR_BYTES;
        put.version = record.head.version;
        put.chain_version = record.head.chain_version;
        put.direct = direct(rng, sectors);
        put.images = images(rng, sectors);
        put.record = Some(record);
    }
    put
}

pub(super) fn target(rng: &mut Rng) -> TargetRecord {
    TargetRecord {
        target: TargetId::new(rng.next_u64()),
        chain: ChainId::new(1 + up_to(rng, 99)).unwrap(),
        chain_version: ChainVersion::new(up_to(rng, 99)),
        incarnation: Incarnation::new(rng.below(9)),
        named: rng.chance(500).then(|| Timeline::new(up_to(rng, 99))),
        phase: if rng.chance(500) { TargetPhase::Active } else { TargetPhase::Dropping },
    }
}

pub(super) fn fence(rng: &mut Rng) -> Fence {
    let session = SessionId::new(rng.next_u64());
    if rng.chance(500) { Fence::One(session) } else { Fence::Below(session) }
}

pub(super) fn outcome(rng: &mut Rng, key: ChunkKey, seq: u64) -> Outcome {
    Outcome { seq, key, version: ChunkVersion::new(up_to(rng, 99)), len: up_to(rng, u32::MAX) }
}

/// An entry of any kind, of chunks of at most `size_max`.
pub(super) fn entry(rng: &mut Rng, size_max: ChunkSize) -> Entry {
    let key = key(rng);
    let version = ChunkVersion::new(up_to(rng, u32::MAX));
    match rng.below(12) {
        0..=3 => Entry::Put(Rc::new(put(rng, size_max))),
        4 => Entry::Commit { key, version },
        5 => Entry::Abort { key, version },
        6 => {
            let record = record(rng, size_max);
            let direct = direct(rng, record.head.size.bytes() / SECTOR_BYTES);
            Entry::Move { key, record: Rc::new(record), direct }
        }
        7 => Entry::Erase { key },
        8 => Entry::Target { slot: key.slot, record: rng.chance(700).then(|| target(rng)) },
        9 => Entry::Fence(fence(rng)),
        10 => {
            let tag = tag(rng);
            Entry::Dedup { slot: key.slot, tag, outcome: outcome(rng, key, tag.seq) }
        }
        _ => Entry::DedupDrop { session: SessionId::new(rng.next_u64()) },
    }
}

/// Encoded entries.
pub(super) fn encoded(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    entries.iter().for_each(|entry| super::encode(entry, &mut out));
    out
}

/// A group of `entries`, with images that begin with their number.
pub(super) fn group(identity: GroupIdentity, entries: &[Entry]) -> Vec<u8> {
    let count = entries.iter().map(|entry| match entry {
        Entry::Put(put) => put.images.len(),
        _ => 0,
    });
    let images: Vec<_> = (0..count.sum())
        .map(|number| {
            let mut image = [0x11; SECTOR_BYTES as usize];
            image[0] = u8::try_from(number % 251).unwrap();
            image
        })
        .collect();
    let bytes = encoded(entries);
    let mut out = alloc::vec![0xee; super::group_bytes(bytes.len(), images.len())];
    let entry_count = u32::try_from(entries.len()).unwrap();
    let images = images.iter().map(|image| &image[..]);
    super::group::fill(&mut out, identity, SALT, (&bytes, entry_count), images);
    out
}

/// Changes some bytes in one of several ways.
#[cfg(test)]
pub(super) fn mutate(rng: &mut Rng, bytes: &mut [u8], span: usize) {
    let span = bytes.len().min(span);
    let at = usize_below(rng, span);
    match rng.below(6) {
        0 => bytes[at] = u8::try_from(rng.below(256)).unwrap(),
        1 => bytes[at] = u8::try_from(rng.below(8)).unwrap(),
        2 => bytes[at] ^= 1 << rng.below(8),
        3 => {
            let end = bytes.len().min(at + 4);
            bytes[at..end].fill(0xff);
        }
        4 => {
            let end = bytes.len().min(at + 2);
            bytes[at..end].fill(0);
        }
        _ => {
            let from = usize_below(rng, span);
            let len = usize_below(rng, 16).min(bytes.len() - at.max(from));
            bytes.copy_within(from..from + len, at);
        }
    }
}
