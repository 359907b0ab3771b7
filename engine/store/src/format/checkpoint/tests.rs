use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::slice;

use engine_types::{
    ChainId, ChainVersion, ChannelId, ChunkSize, ChunkVersion, Incarnation, Rng, SessionId,
    StoreId, TargetId, crc32c,
};

use super::*;
use crate::address::{BlockAddress, BlockClass, TruncateEpoch};
use crate::entry::SectorRange;
use crate::format::entry::{encode_dedup, encode_fence, encode_put, encode_target, target_len};
use crate::format::error::FormatError;
use crate::format::item::{Kind, begin, close, push_record};
use crate::format::layout::{FormatOptions, Layout};
use crate::format::limits::{INDEX_BYTES_MIN, MIB};
use crate::format::testing::{self, STORE, hex};
use crate::record::{Head, Record};
use crate::request::TargetPhase;

const MANY: u32 = 1 << 20;

/// A checkpoint's pages with what the superblock says of them.
struct Written {
    pages: Vec<Vec<u8>>,
    reference: CheckpointRef,
    counts: Counts,
}

fn write<'a>(generation: u64, items: impl Iterator<Item = Item<'a>>) -> Written {
    let mut writer = PageWriter::new(STORE, generation, 1, 64 * MIB, Lsn::new(50));
    let mut pages = Vec::new();
    for item in items {
        while writer.push(&item) != Pushed::Done {
            let sealed = writer.seal();
            assert_eq!(sealed.offset, (pages.len() * PAGE_BYTES) as u64);
            pages.push(sealed.bytes.to_vec());
        }
    }
    let (last, reference, counts) = writer.finish();
    assert_eq!(last.offset, (pages.len() * PAGE_BYTES) as u64);
    pages.push(last.bytes.to_vec());
    let bytes: usize = pages.iter().map(Vec::len).sum();
    assert_eq!((reference.bytes, reference.pages as usize), (bytes as u64, pages.len()));
    Written { pages, reference, counts }
}

/// Reads everything, giving each item to `take`.
fn read(
    reference: CheckpointRef,
    pages: &[Vec<u8>],
    mut take: impl FnMut(&Item<'_>),
) -> Result<Counts, CheckpointError> {
    let mut reader = PageReader::new(STORE, reference, MANY);
    for bytes in pages {
        let mut page = reader.page(bytes)?;
        while let Some(item) = page.next_item() {
            take(&item?);
        }
    }
    reader.finish()
}

/// What a small store knows.
struct Known {
    targets: Vec<(Slot, TargetRecord)>,
    fences: Vec<Fence>,
    pendings: Vec<Rc<Put>>,
    dedup: Vec<(Tag, Outcome)>,
    chunks: BTreeMap<ChunkKey, Record>,
}

fn known(rng: &mut Rng, chunks: usize) -> Known {
    let chunk = |_| (testing::key(rng), testing::record(rng, ChunkSize::MAX));
    let chunks = (0..chunks).map(chunk).collect();
    let dedup = |_| {
        let (key, tag) = (testing::key(rng), testing::tag(rng));
        (tag, testing::outcome(rng, key, tag.seq))
    };
    let dedup = (0..50).map(dedup).collect();
    Known {
        targets: (0..24).map(|slot| (Slot::new(slot * 3), testing::target(rng))).collect(),
        fences: (0..20).map(|_| testing::fence(rng)).collect(),
        pendings: (0..30).map(|_| Rc::new(testing::put(rng, ChunkSize::MAX))).collect(),
        dedup,
        chunks,
    }
}

impl Known {
    fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let targets = self.targets.iter();
        let targets = targets.map(|&(slot, record)| Item::Target { slot, record });
        let fences = self.fences.iter().map(|&fence| Item::Fence(fence));
        let pendings = (1..).zip(&self.pendings);
        let pendings =
            pendings.map(|(lsn, put)| Item::Pending { lsn: Lsn::new(lsn), put: put.clone() });
        let dedup = self.dedup.iter();
        let dedup =
            dedup.map(|&(tag, outcome)| Item::Dedup { slot: outcome.key.slot, tag, outcome });
        let chunks = self.chunks.iter();
        let chunks = chunks.map(|(&key, record)| Item::Chunk { key, record: record.as_ref() });
        targets.chain(fences).chain(pendings).chain(dedup).chain(chunks)
    }
}

/// Everything that a page can hold, in the bytes of version 1.
const GOLDEN: &str = "\
    454d4243d7d1844f0000000034030000ffeeddccbbaa99887766554433221100\
    0500000000000000070000000000000000000000000000000000000000000000\
    06002000010000007a00000000000000ca000000cf0000001c00000000000000\
    0701100000000000500000000000000020004c00150000000000000001004000\
    0100010d05000000000000000200000003000000020000000100000000200000\
    0020000000000000c3c2c1c0c3c2c1c001000100010001000000000008003000\
    01000000050000000000000002000000c400000051000000000000005e000000\
    000000000300000000100000210030000100000c060000000000000002000000\
    030000000200000001000000001000000010000000000000c3c2c1c021003002\
    01000a1707000000000000000200000003000000020000000100000000008000\
    000080000000000000040000c3c2c1c0";
const GOLDEN_END: &str = "\
    2200280001000000010000000100000001000000000000000200000000000000\
    0000000000000000";

#[test]
fn golden_bytes() {
    let key = |inode| ChunkKey::new(Slot::new(1), inode, 2);
    let record = TargetRecord {
        target: TargetId::new(0x7a),
        chain: ChainId::new(0xca).unwrap(),
        chain_version: ChainVersion::new(0xcf),
        incarnation: Incarnation::new(0x1c),
        named: None,
        phase: TargetPhase::Active,
    };
    let tag = Tag { session: SessionId::new(0x51), channel: ChannelId::new(0xc4), seq: 0x5e };
    let version = ChunkVersion::new(3);
    let put = Rc::new(Put {
        key: key(5),
        version,
        chain_version: ChainVersion::new(2),
        record: Some(full_record(8 << 10)),
        direct: vec![SectorRange { first: 1, count: 1 }],
        images: vec![0],
        tag: None,
    });
    let (small, large) = (full_record(4 << 10), full_record(8 << 20));
    let outcome = Outcome { seq: tag.seq, key: key(5), version, len: 0x1000 };
    let items = [
        Item::Target { slot: Slot::new(1), record },
        Item::Fence(Fence::Below(SessionId::new(0x50))),
        Item::Pending { lsn: Lsn::new(0x15), put },
        Item::Dedup { slot: Slot::new(1), tag, outcome },
        Item::Chunk { key: key(6), record: small.as_ref() },
        Item::Chunk { key: key(7), record: large.as_ref() },
    ];
    let Written { pages, reference, counts } = write(5, items.iter().cloned());
    assert_eq!((pages.len(), pages[0].len(), reference.items), (1, 4096, 6));
    let found = read(reference, &pages, {
        let mut items = items.iter();
        move |item| assert_eq!(Some(item), items.next())
    });
    assert_eq!(found, Ok(counts));
    // The 129 words of the last chunk: the second block, and 128 equal checksums.
    let at = PAGE_HEADER_BYTES + target_len(&record) + FENCE_BYTES + 12 + 64 + DEDUP_BYTES + 48;
    let (before, after) = (at + CHUNK_BYTES + 8, at + CHUNK_BYTES + 4 * 129);
    assert_eq!(hex(&pages[0][..before]), GOLDEN);
    assert_eq!(hex(&pages[0][after..after + END_BYTES]), GOLDEN_END);
    assert!(pages[0][after + END_BYTES..].iter().all(|&byte| byte == 0));
}

/// Pages full of records of every size come back as they were, in order.
#[test]
fn a_random_checkpoint_comes_back() {
    let mut rng = Rng::new(0xe109);
    let known = known(&mut rng, 20_000);
    let Written { pages, reference, counts } = write(5, known.items());
    assert!(3 < pages.len(), "{} pages", pages.len());
    assert!(pages.iter().rev().skip(1).all(|page| page.len() == PAGE_BYTES));
    let mut items = known.items();
    let found = read(reference, &pages, |item| assert_eq!(Some(item), items.next().as_ref()));
    assert_eq!(found, Ok(counts));
    assert_eq!(items.next(), None);
    assert_eq!(counts.sum(), reference.items);
    assert_eq!(counts.chunks, known.chunks.len() as u64);
    assert_eq!((counts.targets, counts.fences, counts.pendings, counts.dedup), (24, 20, 30, 50));
}

#[test]
fn sizes_are_as_designed() {
    for (size, expected) in [(4 << 10, 48), (512 << 10, 76), (1 << 20, 108), (64 << 20, 4200)] {
        let mut out = Vec::new();
        push_record(&mut out, (Kind::Chunk, 0), &ChunkKey::MIN, full_record(size).as_ref());
        assert_eq!(out.len(), expected, "{size}");
    }
}

/// Of a chunk of `size` bytes, all written.
fn full_record(size: u32) -> Record {
    let size = ChunkSize::new(size).unwrap();
    let class = BlockClass::holding(size.bytes()).unwrap_or(BlockClass::MAX);
    let head = Head {
        len: size.bytes(),
        data_end: size.bytes(),
        version: ChunkVersion::new(3),
        chain_version: ChainVersion::new(2),
        epoch: TruncateEpoch::new(1),
        size,
        class,
    };
    let sectors = class.sectors();
    let further = (1..head.place_count()).map(|place| u32::try_from(place).unwrap() * sectors);
    let words = further.chain((0..head.checksum_count()).map(|_| 0xc0c1_c2c3)).collect();
    Record { head, block: BlockAddress::new(0), words }
}

/// E109: the largest content of the smallest store fits, and a little more is refused without harm.
#[test]
fn a_half_holds_the_worst_case() {
    let layout = Layout::plan(&FormatOptions::new(145 * MIB)).unwrap();
    assert_eq!(layout.index_bytes_max, INDEX_BYTES_MIN);
    let half = layout.halves[0].len;
    let mut rng = Rng::new(0xe109);
    let mut writer = PageWriter::new(STORE, 1, 0, half, Lsn::new(1));
    let mut pages = 0;
    let mut push = |writer: &mut PageWriter, item: &Item<'_>| loop {
        match writer.push(item) {
            Pushed::Done => return true,
            Pushed::HalfFull => return false,
            Pushed::PageFull => pages += writer.seal().bytes.len(),
        }
    };
    let target = testing::target(&mut rng);
    for slot in 0..SLOTS_MAX {
        let slot = Slot::new(u16::try_from(slot).unwrap());
        assert!(push(&mut writer, &Item::Target { slot, record: target }));
    }
    for session in 0..=FENCES_MAX {
        let fence = Fence::One(SessionId::new(session.into()));
        assert!(push(&mut writer, &Item::Fence(fence)));
    }
    let largest = loop {
        let put = testing::put(&mut rng, ChunkSize::MAX);
        if 4096 < pending_bytes(&put) {
            break Rc::new(put);
        }
    };
    for _ in 0..PENDING_BYTES_MAX / pending_bytes(&largest) as u64 {
        let item = Item::Pending { lsn: Lsn::new(1), put: largest.clone() };
        assert!(push(&mut writer, &item));
    }
    let tag = testing::tag(&mut rng);
    for _ in 0..layout.dedup_channels {
        let key = testing::key(&mut rng);
        let outcome = testing::outcome(&mut rng, key, tag.seq);
        assert!(push(&mut writer, &Item::Dedup { slot: key.slot, tag, outcome }));
    }
    let empty = loop {
        let record = testing::record(&mut rng, ChunkSize::MIN);
        if record.words.is_empty() {
            break record;
        }
    };
    let budget = layout.index_bytes_max + layout.index_bytes_max / INDEX_SLACK_PART;
    let mut inode = 0;
    let mut push_empty = |writer: &mut PageWriter| {
        inode += 1;
        let key = ChunkKey::new(Slot::new(0), inode, 0);
        push(writer, &Item::Chunk { key, record: empty.as_ref() })
    };
    for _ in 0..layout.index_bytes_max / RECORD_MEMORY_BYTES_MIN {
        assert!(push_empty(&mut writer), "within {budget} bytes of records");
    }
    let more = (0..).take_while(|_| push_empty(&mut writer)).count();
    assert!(INDEX_BYTES_MIN / INDEX_SLACK_PART / 44 <= more as u64, "{more} more");
    assert!(!push_empty(&mut writer), "still full");
    let (last, reference, _) = writer.finish();
    let bytes = pages + last.bytes.len();
    assert!(bytes as u64 <= half && reference.bytes == bytes as u64, "{bytes} of {half}");
}

fn some_pages(generation: u64) -> Written {
    let known = known(&mut Rng::new(77), 15_000);
    write(generation, known.items())
}

#[test]
fn pages_of_something_else_are_refused() {
    use CheckpointError as E;
    let Written { pages, reference, counts } = some_pages(5);
    let others = some_pages(6);
    assert_eq!(read(reference, &pages, |_| {}), Ok(counts));
    let with = |page: usize, bytes: &[u8]| {
        let mut pages = pages.clone();
        pages[page] = bytes.to_vec();
        read(reference, &pages, |_| {}).unwrap_err()
    };
    let swapped = with(1, &pages[0]);
    assert_eq!(swapped, E::PageNumber { found: 0, expected: 1 });
    let stale = with(1, &others.pages[1]);
    assert_eq!(stale, E::OtherGeneration { page: 1, found: 6, expected: 5 });
    assert_eq!(with(1, &vec![0; PAGE_BYTES]), E::Magic { page: 1, found: 0 });
    let short = with(1, &pages[1][..4096]);
    assert_eq!(short, E::Length { page: 1, found: 4096, expected: PAGE_BYTES });
    let found = read(reference, &pages[..2], |_| {});
    assert_eq!(found, Err(E::NoEnd { pages: 2 }));
    let beyond: Vec<_> = pages.iter().cloned().chain([pages[0].clone()]).collect();
    let last = reference.pages;
    let found = read(reference, &beyond, |_| {});
    assert_eq!(found, Err(E::PageNumber { found: last, expected: last }));
    let mut reader = PageReader::new(StoreId::new(1), reference, MANY);
    let found = reader.page(&pages[0]).map(|_| ()).unwrap_err();
    assert_eq!(found, E::OtherStore { page: 0, found: STORE, expected: StoreId::new(1) });
    let more = CheckpointRef { items: reference.items + 1, ..reference };
    let items = reference.items;
    let found = read(more, &pages, |_| {});
    assert_eq!(found, Err(E::Items { found: items, expected: items + 1 }));
    let other = CheckpointRef { digest: 0, ..reference };
    let found = read(other, &pages, |_| {});
    assert_eq!(found, Err(E::Digest { found: reference.digest, expected: 0 }));
}

/// Each bit of a page counts, up to the end of its items.
#[test]
fn no_flipped_bit_passes() {
    let known = known(&mut Rng::new(5), 3);
    let Written { pages, reference, .. } = write(5, known.items());
    let good = &pages[0];
    let used = PAGE_HEADER_BYTES + crate::format::bytes::u32_at(good, 12) as usize;
    for bit in (0..PAGE_HEADER_BYTES * 8).chain((PAGE_HEADER_BYTES * 8..used * 8).step_by(53)) {
        let mut page = good.clone();
        page[bit / 8] ^= 1 << (bit % 8);
        let found = read(reference, &[page], |_| {});
        assert!(found.is_err(), "bit {bit}");
    }
}

/// One page of these items, sealed, with a reference to it.
fn raw(items: &[Vec<u8>], count: u32, left_over: usize) -> (Vec<u8>, CheckpointRef) {
    let mut page = vec![0; PAGE_HEADER_BYTES];
    items.iter().for_each(|item| page.extend_from_slice(item));
    page.extend_from_slice(&vec![0; left_over]);
    let end = page.len();
    let put = crate::format::bytes::put::<4>;
    put(&mut page, 0, PAGE_MAGIC.to_le_bytes());
    put(&mut page, 12, u32::try_from(end - PAGE_HEADER_BYTES).unwrap().to_le_bytes());
    page[16..32].copy_from_slice(&STORE.get().to_le_bytes());
    page[32] = 5;
    put(&mut page, 40, count.to_le_bytes());
    let crc = crc32c(&page[8..end]);
    put(&mut page, 4, crc.get().to_le_bytes());
    page.resize(end.next_multiple_of(4096), 0);
    let reference = CheckpointRef {
        generation: 5,
        half: 0,
        start: Lsn::new(1),
        bytes: page.len() as u64,
        pages: 1,
        items: 0,
        digest: next_digest(0, crc),
    };
    (page, reference)
}

fn end_item(counts: [u32; 6], digest: u64) -> Vec<u8> {
    let mut out = Vec::new();
    begin(&mut out, Kind::End, 0);
    counts[..5].iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
    out.extend_from_slice(&u64::from(counts[5]).to_le_bytes());
    out.extend_from_slice(&digest.to_le_bytes());
    close(&mut out, 0);
    out
}

/// Items of each kind as bytes.
struct Encoded {
    target: Vec<u8>,
    fence: Vec<u8>,
    put: Vec<u8>,
    dedup: Vec<u8>,
    low: Vec<u8>,
    high: Vec<u8>,
    end: Vec<u8>,
}

const LOW: ChunkKey = ChunkKey::new(Slot::new(0), 7, 0);
const HIGH: ChunkKey = ChunkKey::new(Slot::new(0), 8, 0);

fn item(write: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

impl Encoded {
    fn new() -> Self {
        let mut rng = Rng::new(9);
        let target = testing::target(&mut rng);
        let tag = testing::tag(&mut rng);
        let outcome = testing::outcome(&mut rng, LOW, tag.seq);
        let put = testing::put(&mut rng, ChunkSize::MIN);
        let record = testing::record(&mut rng, ChunkSize::MIN);
        let chunk =
            |key: &ChunkKey| item(|out| push_record(out, (Kind::Chunk, 0), key, record.as_ref()));
        Self {
            target: item(|out| encode_target(Slot::new(3), Some(&target), out)),
            fence: item(|out| encode_fence(Fence::One(SessionId::new(1)), out)),
            put: item(|out| encode_put(&put, out)),
            dedup: item(|out| encode_dedup(LOW.slot, &tag, &outcome, out)),
            low: chunk(&LOW),
            high: chunk(&HIGH),
            end: end_item([0; 6], 0),
        }
    }

    /// A PENDING around `inner`.
    fn pending(inner: &[u8]) -> Vec<u8> {
        item(|out| {
            let start = begin(out, Kind::Pending, 0);
            out.extend_from_slice(&[0; 8]);
            out.extend_from_slice(inner);
            close(out, start);
        })
    }
}

/// Reads one page of a store with two channels.
fn read_raw(page: &[u8], reference: CheckpointRef) -> Result<Counts, CheckpointError> {
    let mut reader = PageReader::new(STORE, reference, 2);
    let mut page = reader.page(page)?;
    while let Some(item) = page.next_item() {
        item?;
    }
    assert!(page.next_item().is_none(), "a page ends once");
    reader.finish()
}

fn check_raw(items: &[&[u8]], expected: CheckpointError) {
    let items: Vec<Vec<u8>> = items.iter().map(|item| item.to_vec()).collect();
    let (page, reference) = raw(&items, u32::try_from(items.len()).unwrap(), 0);
    assert_eq!(read_raw(&page, reference), Err(expected));
}

#[test]
fn items_out_of_order_are_refused() {
    use CheckpointError as E;
    use Section as S;
    let Encoded { target, fence, put, dedup, low, high, end } = &Encoded::new();
    let pending = &Encoded::pending(put);
    let keys = |found, after| E::Keys { page: 0, found, after };
    let order = |found, after| E::Order { page: 0, found, after };
    let slot = ChunkKey::new(Slot::new(3), 0, 0);
    check_raw(&[high, low], keys(LOW, HIGH));
    check_raw(&[low, low], keys(LOW, LOW));
    check_raw(&[target, target], keys(slot, slot));
    check_raw(&[fence, target], order(S::Targets, S::Fences));
    check_raw(&[pending, fence], order(S::Fences, S::Pendings));
    check_raw(&[dedup, pending], order(S::Pendings, S::Dedup));
    check_raw(&[low, dedup], order(S::Dedup, S::Chunks));
    check_raw(&[end, low], order(S::Chunks, S::End));
    check_raw(&[end, end], order(S::End, S::End));
    let too_many = E::TooMany { page: 0, section: S::Dedup, max: 2 };
    check_raw(&[dedup, dedup, dedup], too_many);
}

#[test]
fn hostile_items_are_refused() {
    use CheckpointError as E;
    let Encoded { fence, put, low, end, .. } = &Encoded::new();
    let no_target = item(|out| encode_target(Slot::new(0), None, out));
    let fail = |why| E::Item { page: 0, why };
    let misplaced = |found| fail(FormatError::Misplaced { found });
    let one = Counts { chunks: 1, ..Counts::default() };
    check_raw(&[put], misplaced(Kind::Put));
    check_raw(&[&no_target], misplaced(Kind::Target));
    check_raw(&[&Encoded::pending(fence)], misplaced(Kind::Fence));
    check_raw(&[&[0; 16]], fail(FormatError::Length { kind: 0, found: 0 }));
    check_raw(&[&[99, 0, 4, 0]], fail(FormatError::UnknownKind { kind: 99 }));
    check_raw(&[&end_item([0; 6], 1)], E::Digest { found: 0, expected: 1 });
    check_raw(&[low, end], E::Counts { found: one, expected: Counts::default() });
    check_raw(&[low], E::NoEnd { pages: 1 });
    let end = slice::from_ref(end);
    let (page, reference) = raw(end, 1, 8);
    assert_eq!(read_raw(&page, reference), Err(E::LeftOver { page: 0, left: 8 }));
    let (page, reference) = raw(end, 2, 0);
    let why = FormatError::Truncated { kind: 0, needed: 4, found: 0 };
    assert_eq!(read_raw(&page, reference), Err(fail(why)));
    let (mut page, reference) = raw(end, 1, 0);
    assert_eq!(read_raw(&page, reference), Ok(Counts::default()));
    page[14] = 1;
    let found = (1 << 16) + 40;
    assert_eq!(read_raw(&page, reference), Err(E::ItemBytes { page: 0, found, max: 4096 - 64 }));
}

fn writer() -> PageWriter {
    PageWriter::new(STORE, 1, 0, 2 * MIB, Lsn::new(1))
}

#[test]
#[should_panic(expected = "E109: Targets behind Fences")]
fn our_own_sections_are_in_order() {
    let mut writer = writer();
    let fence = Item::Fence(Fence::One(SessionId::new(1)));
    assert_eq!(writer.push(&fence), Pushed::Done);
    let record = testing::target(&mut Rng::new(1));
    assert_eq!(writer.push(&Item::Target { slot: Slot::new(1), record }), Pushed::Done);
}

#[test]
#[should_panic(expected = "E109: slot-0/chunk-7.0 behind Some(")]
fn our_own_keys_ascend() {
    let mut writer = writer();
    let (key, record) =
        (ChunkKey::new(Slot::new(0), 7, 0), testing::record(&mut Rng::new(1), ChunkSize::MIN));
    assert_eq!(writer.push_chunk(&key, record.as_ref()), Pushed::Done);
    assert_eq!(writer.push_chunk(&key, record.as_ref()), Pushed::Done);
}

#[test]
#[should_panic(expected = "E109: a checkpoint ends once")]
fn our_own_checkpoints_end_once() {
    let mut writer = writer();
    writer.finish();
    writer.finish();
}

#[test]
#[should_panic(expected = "E109: the last page ends by `finish`")]
fn no_page_is_written_behind_the_half() {
    let mut writer = writer();
    writer.seal();
    let record = testing::record(&mut Rng::new(1), ChunkSize::MIN);
    assert_eq!(writer.push_chunk(&ChunkKey::MIN, record.as_ref()), Pushed::Done);
    writer.seal();
}

/// A dump takes turns with decisions, so it may meet more requests than the table ever held.
#[test]
fn e109_a_dump_ends_at_what_its_reader_takes() {
    let request = |channel: u32| {
        let tag = Tag { session: SessionId::new(1), channel: ChannelId::new(channel), seq: 1 };
        let outcome = Outcome { seq: 1, key: LOW, version: ChunkVersion::new(1), len: 0 };
        Item::Dedup { slot: LOW.slot, tag, outcome }
    };
    let mut writer = PageWriter::new(STORE, 1, 0, MIB, Lsn::new(1)).with_requests_max(2);
    assert_eq!(
        [0, 1, 2].map(|channel| writer.push(&request(channel))),
        [Pushed::Done, Pushed::Done, Pushed::HalfFull]
    );
    let (sealed, reference, _) = writer.finish();
    assert_eq!(read_raw(sealed.bytes, reference).unwrap().dedup, 2);
}
