use std::collections::BTreeMap;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use engine_types::{ChainVersion, ChunkSize, ChunkVersion, Rng};

use super::*;
use crate::address::{ChunkKey, Slot, TruncateEpoch};
use crate::record::checksum_word;

/// Fails with a message unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

mod check;
mod mini;
mod mistake;
mod random;

const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;

fn key() -> ChunkKey {
    ChunkKey::new(Slot::new(2), 77, 5)
}

fn size(bytes: u32) -> ChunkSize {
    ChunkSize::new(bytes).unwrap()
}

fn update(bytes: u32, change: Change) -> Update {
    Update {
        key: key(),
        version: ChunkVersion::new(9),
        chain_version: ChainVersion::new(4),
        epoch: TruncateEpoch::new(3),
        size: size(bytes),
        change,
        tag: None,
    }
}

/// A record whose data ends at `data_end`, with holes at `holes`; words are arbitrary.
fn record(bytes: u32, class: BlockClass, data_end: u32, holes: &[u32]) -> Record {
    let head = Head {
        len: data_end,
        data_end,
        version: ChunkVersion::new(8),
        chain_version: ChainVersion::new(4),
        epoch: TruncateEpoch::new(3),
        size: size(bytes),
        class,
    };
    let sums = (0..u32::try_from(head.checksum_count()).unwrap())
        .map(|block| if holes.contains(&block) { 0 } else { 0x1000 + block });
    let sums: Vec<u32> = sums.collect();
    let per_place = (4 * MIB / head.size.checksum_block_bytes()) as usize;
    let mut blocks = (0u32..16).zip(sums.chunks(per_place)).map(|(place, sums)| {
        let data = sums.iter().any(|&word| word != 0);
        if data { 1024 * (place + 1) } else { BlockAddress::NONE.get() }
    });
    let block = BlockAddress::new(blocks.next().unwrap_or(BlockAddress::NONE.get()));
    let words: Vec<u32> = blocks.chain(sums.iter().copied()).collect();
    let record = Record { head, block, words };
    record.as_ref().check().unwrap();
    record
}

/// Plans with nothing else of the chunk in the way.
fn planned(base: Option<&Record>, update: &Update, extents: &[(u32, u32)]) -> WritePlan {
    let named_end = base.map_or(0, |base| base.head.data_end);
    let facts = Facts { named_end, holes_in_place: true, live_image: &|_| false };
    plan(base.map(Record::as_ref), update, extents, &facts).unwrap()
}

fn write(bytes: u32, offset: u32, len: u32) -> Update {
    update(bytes, Change::Write { offset, len })
}

/// What a plan decided, in short: kept or fresh places, images, direct sectors, fetches.
fn summary(plan: &WritePlan) -> (Vec<char>, usize, usize, Vec<u32>) {
    let places = plan.decisions.places.iter().map(|place| match place {
        Place::Empty => '-',
        Place::Kept(_) => 'k',
        Place::Fresh => 'f',
    });
    let direct = plan.decisions.outputs.iter().map(|output| match output {
        Output::Images(_) => 0,
        Output::Copy(sectors) | Output::Payload(sectors, _) => sectors.len(),
    });
    (places.collect(), plan.image_count(), direct.sum(), plan.fetches().to_vec())
}

/// Chunks of 512 KiB: checksum blocks of 64 KiB, 16 sectors each.
#[test]
fn writes_go_where_the_rules_say() {
    let full = record(512 * KIB, BlockClass::new(7).unwrap(), 512 * KIB, &[]);
    let half = record(512 * KIB, BlockClass::new(7).unwrap(), 256 * KIB, &[]);
    let odd = record(512 * KIB, BlockClass::new(7).unwrap(), 200 * KIB + 100, &[]);
    let even = record(512 * KIB, BlockClass::new(7).unwrap(), 200 * KIB, &[]);
    let holed = record(512 * KIB, BlockClass::new(7).unwrap(), 512 * KIB, &[2, 3]);
    let first = record(512 * KIB, BlockClass::MIN, 4 * KIB, &[]);
    let half_kept = [4, 5, 6, 7];
    let k = |bytes| bytes * KIB;
    type Row<'a> = (&'a str, Option<&'a Record>, u32, u32, (&'a str, usize, usize, &'a [u32]));
    #[rustfmt::skip]
    let rows: [Row<'_>; 17] = [
        // name                      base          offset        len     places im direct fetches
        ("new",                      None,         0,            100,    ("f", 0, 1, &[])),
        ("new, behind a gap",        None,         k(70),        100,    ("f", 0, 2, &[])),
        ("one sector of many",       Some(&full),  k(8),         k(4),   ("k", 1, 0, &[0])),
        ("a few bytes",              Some(&full),  k(8) + 1,     10,     ("k", 1, 0, &[0])),
        ("two checksum blocks",      Some(&full),  k(60),        k(8),   ("k", 2, 0, &[0, 1])),
        ("a whole checksum block",   Some(&full),  k(64),        k(64),  ("k", 16, 0, &[])),
        ("less than half",           Some(&full),  k(64),        k(192), ("k", 48, 0, &[])),
        ("half",                     Some(&full),  0,            k(256), ("f", 0, 128, &half_kept)),
        ("all",                      Some(&full),  0,            k(512), ("f", 0, 128, &[])),
        ("aligned append",           Some(&half),  k(256),       k(4),   ("k", 0, 1, &[])),
        ("append behind a gap",      Some(&half),  k(400),       k(4),   ("k", 0, 5, &[])),
        ("continued checksum block", Some(&even),  k(200),       k(4),   ("k", 0, 1, &[])),
        ("unaligned append",         Some(&odd),   k(200) + 100, k(8),   ("k", 1, 2, &[3])),
        ("completed, then a gap",    Some(&odd),   k(300),       k(4),   ("k", 1, 25, &[3])),
        ("into a hole",              Some(&holed), k(130),       k(4),   ("k", 0, 16, &[])),
        ("growth",                   Some(&first), k(4),         k(4),   ("f", 0, 2, &[0])),
        ("growth by overwriting",    Some(&first), 0,            k(8),   ("f", 0, 2, &[])),
    ];
    for (name, base, offset, len, expected) in rows {
        let plan = planned(base, &write(512 * KIB, offset, len), &[(offset, len)]);
        let (places, images, direct, fetches) = expected;
        let expected = (places.chars().collect(), images, direct, fetches.to_vec());
        assert_eq!(summary(&plan), expected, "{name}");
        assert_eq!(plan.writes_in_place(), direct != 0 && places == "k", "{name}");
    }
}

/// E122: what else is known of the chunk turns direct writes into images.
#[test]
fn what_could_come_back_is_not_written_over() {
    let class = BlockClass::new(7).unwrap();
    let half = record(512 * KIB, class, 256 * KIB, &[]);
    let holed = record(512 * KIB, class, 512 * KIB, &[2, 3]);
    let cut = |named_end, holes_in_place, live: &'static [u16]| {
        move |base: &Record, offset, len| {
            let live_image = |sector: u16| live.contains(&sector);
            let facts = Facts { named_end, holes_in_place, live_image: &live_image };
            let update = write(512 * KIB, offset, len);
            summary(&plan(Some(base.as_ref()), &update, &[(offset, len)], &facts).unwrap())
        }
    };
    let kept = vec!['k'];
    // An aborted version named 258 KiB: one sector behind the end is spared, and no byte more.
    let found = cut(258 * KIB, false, &[])(&half, 256 * KIB, 16 * KIB);
    assert_eq!(found, (kept.clone(), 1, 3, vec![]));
    let found = cut(260 * KIB, false, &[])(&half, 256 * KIB, 16 * KIB);
    assert_eq!(found, (kept.clone(), 1, 3, vec![]));
    let found = cut(260 * KIB + 1, false, &[])(&half, 256 * KIB, 16 * KIB);
    assert_eq!(found, (kept.clone(), 2, 2, vec![]));
    // A dead image of a version that was longer is not released yet.
    let found = cut(256 * KIB, true, &[65])(&half, 256 * KIB, 16 * KIB);
    assert_eq!(found, (kept.clone(), 1, 3, vec![]));
    // A hole that was data in a record that could come back.
    let found = cut(512 * KIB, false, &[])(&holed, 128 * KIB, 4 * KIB);
    assert_eq!(found, (kept.clone(), 16, 0, vec![]));
    let found = cut(512 * KIB, true, &[32, 47])(&holed, 128 * KIB, 4 * KIB);
    assert_eq!(found, (kept, 2, 14, vec![]));
}

#[test]
#[should_panic(expected = "E122")]
fn contradicting_facts_are_refused() {
    let half = record(512 * KIB, BlockClass::new(7).unwrap(), 256 * KIB, &[]);
    let facts = Facts { named_end: 300 * KIB, holes_in_place: true, live_image: &|_| false };
    let _ = plan(Some(half.as_ref()), &write(512 * KIB, 0, 1), &[(0, 1)], &facts);
}

/// Truncations and zeroed ranges; offsets and lengths in KiB.
#[test]
fn cuts_and_zeroed_ranges() {
    let class = BlockClass::new(7).unwrap();
    let mut base = record(512 * KIB, class, 500 * KIB, &[2, 3]);
    base.head.len = 510 * KIB;
    let cut = |len| Change::Truncate { len: len * KIB };
    let extend = |len| Change::Extend { len: len * KIB };
    let zero = |offset, len| Change::Zero { offset: offset * KIB, len: len * KIB };
    let few = Change::Zero { offset: 10, len: 10 };
    #[rustfmt::skip]
    let rows = [
        // name                   change          end  len  places im direct fetches
        ("inside the last block", cut(460),       460, 460, ("k", 0, 0, vec![7])),
        ("inside an inner block", cut(70),        70,  70,  ("k", 0, 0, vec![1])),
        ("at its end",            cut(128),       128, 128, ("k", 0, 0, vec![])),
        ("inside a hole",         cut(200),       128, 200, ("k", 0, 0, vec![])),
        ("behind the data",       cut(505),       500, 505, ("k", 0, 0, vec![])),
        ("longer",                cut(512),       500, 512, ("k", 0, 0, vec![])),
        ("to nothing",            cut(0),         0,   0,   ("-", 0, 0, vec![])),
        ("extended",              extend(512),    500, 512, ("k", 0, 0, vec![])),
        ("not extended",          extend(7),      500, 510, ("k", 0, 0, vec![])),
        ("whole blocks",          zero(0, 128),   500, 510, ("k", 0, 0, vec![])),
        ("a hole and a sector",   zero(128, 132), 500, 510, ("k", 1, 0, vec![4])),
        ("bytes",                 few,            500, 510, ("k", 1, 0, vec![0])),
        ("up to the end",         zero(450, 50),  450, 510, ("k", 0, 0, vec![7])),
        ("the last block",        zero(448, 64),  448, 510, ("k", 0, 0, vec![])),
        ("behind the data",       zero(501, 11),  500, 510, ("k", 0, 0, vec![])),
        ("down to a hole",        zero(200, 312), 128, 510, ("k", 0, 0, vec![])),
        ("everything",            zero(0, 512),   0,   510, ("-", 0, 0, vec![])),
    ];
    for (name, change, data_end, len, (places, images, direct, fetches)) in rows {
        let plan = planned(Some(&base), &update(512 * KIB, change), &[]);
        let head = plan.head.unwrap();
        let found = (head.data_end, head.len, plan.chunk_len());
        assert_eq!(found, (data_end * KIB, len * KIB, len * KIB), "{name}");
        let expected = (places.chars().collect(), images, direct, fetches);
        assert_eq!(summary(&plan), expected, "{name}");
        assert_eq!(plan.dropped().len(), usize::from(places == "-"), "{name}");
        assert!(plan.shrinks(), "{name}");
    }
    // Beyond 4 MiB, whole blocks go.
    let base = record(16 * MIB, BlockClass::MAX, 13 * MIB, &[]);
    let zero = Change::Zero { offset: 4 * MIB - 1, len: 4 * MIB + 2 };
    let plan = planned(Some(&base), &update(16 * MIB, zero), &[]);
    assert_eq!(summary(&plan), (vec!['k', '-', 'k', 'k'], 2, 0, vec![63, 128]));
    assert_eq!(plan.dropped(), [BlockAddress::new(2048)]);
    let plan = planned(Some(&base), &update(16 * MIB, cut(5 * KIB)), &[]);
    assert_eq!(plan.dropped(), [3072, 4096].map(BlockAddress::new));
    assert_eq!((plan.dropped_bytes(), plan.growth_bytes()), (u64::from(8 * MIB), 0));
    let plan = planned(Some(&base), &update(16 * MIB, Change::Remove), &[]);
    assert_eq!((plan.dropped().len(), plan.words_max()), (4, None));
    assert!(plan.shrinks());
}

/// Places of chunks above 4 MiB are decided one by one.
#[test]
fn large_chunks() {
    let base = record(16 * MIB, BlockClass::MAX, 9 * MIB, &(64..128).collect::<Vec<_>>());
    let crossing = write(16 * MIB, 4 * MIB - 4 * KIB, 12 * KIB);
    let plan = planned(Some(&base), &crossing, &[(4 * MIB - 4 * KIB, 12 * KIB)]);
    // The hole's checksum block is completed with zeros: 16 sectors.
    assert_eq!(summary(&plan), (vec!['k', 'f', 'k'], 1, 16, vec![63]));
    assert_eq!((plan.fresh(), plan.dropped().len()), ((BlockClass::MAX, 1), 0));
    let whole = write(16 * MIB, 0, 4 * MIB);
    let plan = planned(Some(&base), &whole, &[(0, 4 * MIB)]);
    assert_eq!(summary(&plan), (vec!['f', '-', 'k'], 0, 1024, vec![]));
    assert_eq!(plan.growth_bytes(), 0);
    // A small first block is given up as soon as there is anything behind it.
    let small = record(16 * MIB, BlockClass::new(4).unwrap(), 50 * KIB, &[]);
    let plan = planned(Some(&small), &write(16 * MIB, 12 * MIB, 1), &[(12 * MIB, 1)]);
    assert_eq!(summary(&plan), (vec!['f', '-', '-', 'f'], 0, 17, vec![0]));
    assert_eq!(plan.growth_bytes(), u64::from(8 * MIB - 64 * KIB));
    assert_eq!(plan.words_max(), Some(3 + 193));
    // The first allocation beyond 4 MiB is of whole blocks, too.
    let plan = planned(None, &write(16 * MIB, 5 * MIB, 1), &[(5 * MIB, 1)]);
    assert_eq!(summary(&plan), (vec!['-', 'f'], 0, 1, vec![]));
}

/// Images of up to 256 KiB, when they are less than half of the block.
#[test]
fn many_images_become_a_copy() {
    let base = record(4 * MIB, BlockClass::MAX, 4 * MIB, &[]);
    for (len, images) in [(IMAGE_BYTES_MAX, 64), (IMAGE_BYTES_MAX + 1, 0)] {
        let plan = planned(Some(&base), &write(4 * MIB, MIB, len), &[(MIB, len)]);
        assert_eq!(plan.image_count(), images, "{len} bytes");
        assert_eq!(plan.fresh().1, usize::from(images == 0));
    }
    for (data_end, images) in [(12 * KIB, 1), (8 * KIB, 0)] {
        let base = record(64 * KIB, BlockClass::new(4).unwrap(), data_end, &[]);
        let plan = planned(Some(&base), &write(64 * KIB, 100, 10), &[(100, 10)]);
        assert_eq!(plan.image_count(), images, "{data_end} bytes valid");
    }
}

#[test]
fn ranges_outside_the_chunk_are_refused() {
    let base = record(512 * KIB, BlockClass::new(7).unwrap(), 500 * KIB, &[]);
    let write = |offset, len| Change::Write { offset, len };
    type Row<'a> = (Change, &'a [(u32, u32)], (u32, u32));
    #[rustfmt::skip]
    let rows: [Row<'_>; 18] = [
        (write(0, 0), &[], (0, 0)),
        (write(512 * KIB, 1), &[(512 * KIB, 1)], (512 * KIB, 1)),
        (write(1, 512 * KIB), &[(1, 512 * KIB)], (1, 512 * KIB)),
        (write(u32::MAX, 2), &[(u32::MAX, 2)], (u32::MAX, 2)),
        (write(10, 10), &[], (10, 10)),
        (write(10, 10), &[(10, 9)], (10, 10)),
        (write(10, 10), &[(9, 11)], (10, 10)),
        (write(10, 10), &[(10, 5), (16, 4)], (10, 10)),
        (write(10, 10), &[(10, 5), (14, 6)], (14, 6)),
        (write(10, 10), &[(10, 0), (10, 10)], (10, 0)),
        (Change::Truncate { len: 512 * KIB + 1 }, &[], (0, 512 * KIB + 1)),
        (Change::Extend { len: u32::MAX }, &[], (0, u32::MAX)),
        (Change::Extend { len: 5 }, &[(0, 5)], (0, 5)),
        (Change::Zero { offset: 5, len: 0 }, &[], (5, 0)),
        (Change::Zero { offset: 5, len: 512 * KIB }, &[], (5, 512 * KIB)),
        (Change::Replace { len: 100 }, &[(0, 101)], (0, 101)),
        (Change::Replace { len: 512 * KIB }, &[(0, 10), (4 * KIB, 10)], (4 * KIB, 10)),
        (Change::Remove, &[(0, 1)], (0, 1)),
    ];
    for (change, extents, (offset, len)) in rows {
        let facts = Facts { named_end: 500 * KIB, holes_in_place: true, live_image: &|_| false };
        let update = update(512 * KIB, change);
        let found = plan(Some(base.as_ref()), &update, extents, &facts).map(|_| ());
        let size = size(512 * KIB);
        let expected = UpdateError::OutOfRange { key: key(), offset, len, size };
        assert_eq!(found, Err(expected), "{change:?} {extents:?}");
    }
    // A payload is at most 4 MiB, wherever it lies.
    let facts = Facts { named_end: 0, holes_in_place: true, live_image: &|_| false };
    let long = update(16 * MIB, write(0, 4 * MIB + 1));
    assert!(plan(None, &long, &[(0, 4 * MIB + 1)], &facts).is_err());
}

/// A sink that keeps what it is given.
#[derive(Default)]
struct Kept {
    calls: Vec<(char, u32, u32)>,
    buffers: Vec<Vec<u8>>,
}

impl Sink for Kept {
    fn image(&mut self, sector: u16) -> &mut [u8] {
        self.calls.push(('i', u32::from(sector), 1));
        self.buffers.push(vec![7; SECTOR_BYTES as usize]);
        self.buffers.last_mut().unwrap()
    }

    fn direct(&mut self, _: BlockAddress, at: u32, _: u16, len: u32) -> &mut [u8] {
        self.calls.push(('c', at / SECTOR_BYTES, len / SECTOR_BYTES));
        self.buffers.push(vec![7; len as usize]);
        self.buffers.last_mut().unwrap()
    }

    fn payload(&mut self, _: BlockAddress, at: u32, _: usize, range: Range<u32>) {
        self.calls.push(('p', at / SECTOR_BYTES, (range.end - range.start) / SECTOR_BYTES));
    }
}

/// Assembles a plan of payload alone.
fn assembled(
    plan: &WritePlan,
    base: Option<&Record>,
    payload: &[(u32, &[u8])],
    checksums: &[Crc32c],
) -> Result<(Assembled, Kept), UpdateError> {
    let (class, count) = plan.fresh();
    let blocks: Vec<_> =
        (0u32..).map(|n| BlockAddress::new((64 + n) * class.sectors())).take(count).collect();
    let fetched = BTreeMap::<u32, Vec<u8>>::new();
    let fetched = |block: u32| &fetched[&block][..];
    let pieces = checked(plan, payload, checksums)?;
    let material = Material { blocks: &blocks, payload, pieces: &pieces, fetched: &fetched };
    let mut sink = Kept::default();
    let done = plan.assemble(base.map(Record::as_ref), &material, &mut sink);
    Ok((done, sink))
}

/// Checks a payload in many small turns, and at once.
fn checked(
    plan: &WritePlan,
    payload: &[(u32, &[u8])],
    checksums: &[Crc32c],
) -> Result<Vec<Crc32c>, UpdateError> {
    let mut pieces = Vec::new();
    while !plan.check_payload(payload, checksums, 1, &mut pieces)? {
        assert!(!pieces.is_empty(), "each turn finds something");
    }
    let mut at_once = Vec::new();
    assert!(plan.check_payload(payload, checksums, usize::MAX, &mut at_once)?);
    assert_eq!(pieces, at_once);
    Ok(pieces)
}

/// Whole sectors of one extent are not copied, unless they are few and have neighbours.
#[test]
fn payload_goes_out_without_a_copy() {
    type Row<'a> = (&'a str, &'a [(u32, u32)], &'a [(char, u32, u32)]);
    let data = vec![3; MIB as usize];
    #[rustfmt::skip]
    let rows: [Row<'_>; 8] = [
        ("aligned", &[(0, 256 * KIB)], &[('p', 0, 64)]),
        ("small", &[(0, 4 * KIB)], &[('p', 0, 1)]),
        ("two segments", &[(0, 256 * KIB), (256 * KIB, 256 * KIB)], &[('p', 0, 64), ('p', 64, 64)]),
        ("small segments", &[(0, 4 * KIB), (4 * KIB, 4 * KIB)], &[('c', 0, 2)]),
        ("an end inside a sector", &[(0, 256 * KIB + 1)], &[('p', 0, 64), ('c', 64, 1)]),
        ("small with such an end", &[(0, 64 * KIB + 1)], &[('c', 0, 17)]),
        ("just not small", &[(0, 68 * KIB + 1)], &[('p', 0, 17), ('c', 17, 1)]),
        ("an unaligned start", &[(1, 256 * KIB)], &[('c', 0, 65)]),
    ];
    for (name, extents, expected) in rows {
        let (offset, end) = (extents[0].0, extents.iter().map(|e| e.0 + e.1).max().unwrap());
        let update = write(MIB, offset, end - offset);
        let plan = planned(None, &update, extents);
        let payload: Vec<(u32, &[u8])> =
            extents.iter().map(|&(start, len)| (start, &data[..len as usize])).collect();
        let (done, sink) = assembled(&plan, None, &payload, &[]).unwrap();
        assert_eq!(sink.calls, expected, "{name}");
        let count = u16::try_from(end.div_ceil(SECTOR_BYTES)).unwrap();
        assert_eq!(done.direct, [SectorRange { first: 0, count }], "{name}");
        let head = done.record.unwrap().head;
        assert_eq!((head.len, head.version, head.epoch.get()), (end, update.version, 3), "{name}");
    }
}

/// W5: what the client says of its data is believed only after it was compared.
#[test]
fn wrong_checksums_are_refused() {
    let mut data = vec![0; 200 << 10];
    Rng::new(5).fill_bytes(&mut data);
    // Two extents that meet inside checksum block 2; blocks of 64 KiB.
    let (start, middle) = (60 * KIB, 140 * KIB);
    let (one, two) = data.split_at((middle - start) as usize);
    let payload = [(start, one), (middle, two)];
    let extents = payload.map(|(start, data)| (start, u32::try_from(data.len()).unwrap()));
    let plan = planned(None, &write(512 * KIB, start, 200 * KIB), &extents);
    let right = mini::checksums(&payload, size(512 * KIB));
    assert_eq!((right.len(), plan.checksum_count()), (6, 6));
    assert!(assembled(&plan, None, &payload, &right).is_ok());
    let blocks = [0, 1, 2, 2, 3, 4];
    for (index, block) in blocks.into_iter().enumerate() {
        let mut wrong = right.clone();
        wrong[index] = Crc32c::new(wrong[index].get() ^ 1);
        let found = assembled(&plan, None, &payload, &wrong).map(|_| ());
        assert_eq!(found, Err(UpdateError::BadPayload { key: key(), block }));
    }
    let found = assembled(&plan, None, &payload, &right[1..]).map(|_| ());
    assert_eq!(found, Err(UpdateError::BadPayload { key: key(), block: 0 }));
}

/// Four bytes that, behind `data`, give the checksum `wanted`: checksums are linear, so each bit
/// of the four bytes flips the same bits of the checksum whatever the others are.
fn forge(data: &[u8], wanted: u32) -> [u8; 4] {
    let sum = |suffix: u32| {
        let bytes = [data, &suffix.to_le_bytes()].concat();
        engine_types::crc32c(&bytes).get()
    };
    let zero = sum(0);
    // Rows (bits of the checksum, bits of the suffix) in reduced form, by their highest bit.
    let mut rows = [(0u32, 0u32); 32];
    for bit in 0..32 {
        let (mut flips, mut suffix) = (sum(1 << bit) ^ zero, 1 << bit);
        while flips != 0 {
            let top = flips.ilog2() as usize;
            if rows[top].0 == 0 {
                rows[top] = (flips, suffix);
                break;
            }
            flips ^= rows[top].0;
            suffix ^= rows[top].1;
        }
    }
    let (mut missing, mut suffix) = (wanted ^ zero, 0);
    while missing != 0 {
        let (flips, bits) = rows[missing.ilog2() as usize];
        missing ^= flips;
        suffix ^= bits;
    }
    suffix.to_le_bytes()
}

/// E124: the word 1 stands for two checksums, so it cannot be continued.
#[test]
fn an_ambiguous_checksum_is_fetched() {
    let place = Crc32c::new(0).bind(key().chunk, engine_types::ChecksumBlock::new(0)).get();
    let mut data = vec![9; 4096];
    let (head, tail) = data.split_at_mut(4092);
    tail.copy_from_slice(&forge(head, place));
    let crc = engine_types::crc32c(&data);
    assert_eq!(checksum_word(key().chunk, 0, crc), 1, "the bound checksum is 0, which means hole");
    let mut base = record(512 * KIB, BlockClass::new(7).unwrap(), 4 * KIB, &[]);
    base.words[0] = 1;
    let append = [5; 4096];
    let plan = planned(Some(&base), &write(512 * KIB, 4 * KIB, 4 * KIB), &[(4 * KIB, 4 * KIB)]);
    assert_eq!(plan.fetches(), [0]);
    let payload = [(4 * KIB, &append[..])];
    let pieces = checked(&plan, &payload, &[]).unwrap();
    let material =
        Material { blocks: &[], payload: &payload, pieces: &pieces, fetched: &|_| &data };
    let done = plan.assemble(Some(base.as_ref()), &material, &mut Kept::default());
    let whole = [&data[..], &append].concat();
    assert!(done.record.unwrap().as_ref().matches(key().chunk, 0, &whole));
    // Any other word is continued.
    base.words[0] = checksum_word(key().chunk, 0, engine_types::crc32c(&[4; 4096]));
    let plan = planned(Some(&base), &write(512 * KIB, 4 * KIB, 4 * KIB), &[(4 * KIB, 4 * KIB)]);
    assert!(plan.fetches().is_empty());
    let (done, _) = assembled(&plan, Some(&base), &payload, &[]).unwrap();
    let whole = [[4; 4096], append].concat();
    assert!(done.record.unwrap().as_ref().matches(key().chunk, 0, &whole));
}

/// E120: each part of the material is compared with what the plan was made of.
#[test]
fn foreign_material_is_refused() {
    type Row<'a> = (&'a str, Option<&'a Record>, &'a [(u32, &'a [u8])], &'a [BlockAddress]);
    let base = record(512 * KIB, BlockClass::new(7).unwrap(), 256 * KIB, &[]);
    let mut newer = base.clone();
    newer.head.version = ChunkVersion::new(10);
    let mut moved = base.clone();
    moved.block = BlockAddress::new(9 * 1024);
    let data = [1; 4096];
    let plan = planned(Some(&base), &write(512 * KIB, 256 * KIB, 4096), &[(256 * KIB, 4096)]);
    let right = [(256 * KIB, &data[..])];
    let pieces = checked(&plan, &right, &[]).unwrap();
    let (later, shorter) = ([(260 * KIB, &data[..])], [(256 * KIB, &data[1..])]);
    let spare = [BlockAddress::new(1024)];
    #[rustfmt::skip]
    let rows: [Row<'_>; 7] = [
        ("", Some(&base), &right, &[]),
        ("has another base", None, &right, &[]),
        ("has another base", Some(&newer), &right, &[]),
        ("was moved", Some(&moved), &right, &[]),
        ("has another payload", Some(&base), &later, &[]),
        ("has another payload", Some(&base), &shorter, &[]),
        ("asked for 0 blocks", Some(&base), &right, &spare),
    ];
    for (expected, base, payload, blocks) in rows {
        let found = std::panic::catch_unwind(|| {
            let material = Material { blocks, payload, pieces: &pieces, fetched: &|_| &[] };
            let base = base.map(Record::as_ref);
            drop(plan.assemble(base, &material, &mut Kept::default()));
        });
        let why = found.err().map_or("".to_string(), |why| {
            why.downcast_ref::<std::string::String>().unwrap().clone()
        });
        assert!(why.contains(expected) && why.is_empty() == expected.is_empty(), "{why}");
    }
}

/// R12: a replacement takes blocks of its own whatever was there before.
#[test]
fn replacements_are_fresh() {
    let base = record(512 * KIB, BlockClass::new(7).unwrap(), 256 * KIB, &[]);
    let data = [6; 5000];
    let mut change = update(512 * KIB, Change::Replace { len: 300 * KIB });
    change.version = ChunkVersion::new(2);
    let plan = planned(Some(&base), &change, &[(64 * KIB, 5000)]);
    assert_eq!(summary(&plan), (vec!['f'], 0, 2, vec![]));
    assert_eq!(plan.fresh().0.bytes(), 128 * KIB, "the smallest class that holds the data");
    let (done, sink) = assembled(&plan, Some(&base), &[(64 * KIB, &data)], &[]).unwrap();
    let record = done.record.unwrap();
    assert_eq!((record.head.len, record.head.data_end), (300 * KIB, 64 * KIB + 5000));
    assert_eq!((record.words[0], done.dropped.len()), (0, 1));
    assert_eq!(sink.buffers, [[&data[..], &[0; 8192 - 5000]].concat()]);
    let plan = planned(Some(&base), &update(512 * KIB, Change::Replace { len: 9 }), &[]);
    assert_eq!(summary(&plan), (vec!['-'], 0, 0, vec![]));
}
