//! Random sequences of updates on the mini store.

use core::ops::Range;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use engine_types::{ChunkSize, Rng, SECTOR_BYTES};

use super::mini::{Counts, Found, Mini, Request, index, short};
use super::mistake::Mistake;
use crate::request::Change;

const OPERATIONS: u64 = 30;

/// Random bytes that all payloads are cut from, so that making payload costs nothing.
fn pool() -> Vec<u8> {
    let mut pool = vec![0; 6 << 20];
    Rng::new(42).fill_bytes(&mut pool);
    pool
}

/// A place in a chunk: mostly at, or just beside, something that makes a difference.
fn point(mini: &mut Mini) -> u32 {
    let size = mini.size.bytes();
    let head = mini.committed.record.as_ref().map(|record| record.head);
    let (len, data_end) = head.map_or((0, 0), |head| (head.len, head.data_end));
    let class = head.map_or(0, |head| head.class.bytes());
    let block = mini.size.checksum_block_bytes();
    let rng = &mut mini.rng;
    let any = u32::try_from(rng.below(u64::from(size) + 1)).unwrap();
    let near = [0, len, data_end, class, size, 4 << 20, any / block * block];
    let near = *rng.pick(&near).unwrap();
    let beside = u32::try_from(rng.below(200)).unwrap();
    let point = match rng.below(10) {
        0..=3 => near,
        4 => near.saturating_sub(beside),
        5 => near + beside,
        6 => near / SECTOR_BYTES * SECTOR_BYTES,
        7 => any / SECTOR_BYTES * SECTOR_BYTES,
        8 => any / block * block,
        _ => any,
    };
    point.min(size)
}

/// Bytes between two places, or a few bytes at one; at least one.
fn span(mini: &mut Mini) -> Range<u32> {
    let size = mini.size.bytes();
    let start = point(mini).min(size - 1);
    let end = if mini.rng.chance(500) {
        point(mini)
    } else {
        start + u32::try_from(mini.rng.range(1..=9000)).unwrap()
    };
    let (start, end) = if end < start { (end, start) } else { (start, end) };
    start..end.clamp(start + 1, size.max(start + 1)).min(start + (4 << 20))
}

fn slice<'a>(mini: &mut Mini, pool: &'a [u8], len: u32) -> &'a [u8] {
    let at = index(&mut mini.rng, pool.len() - len as usize);
    &pool[at..at + len as usize]
}

/// One extent, or several that follow each other.
fn split<'a>(mini: &mut Mini, start: u32, data: &'a [u8]) -> Vec<(u32, &'a [u8])> {
    let mut cuts = vec![0, data.len()];
    if mini.rng.chance(400) {
        for _ in 0..mini.rng.below(4) {
            let cut = index(&mut mini.rng, data.len());
            let aligned = (start as usize + cut) / 4096 * 4096;
            let cut =
                if mini.rng.chance(500) { cut } else { aligned.saturating_sub(start as usize) };
            cuts.push(cut);
        }
        cuts.sort_unstable();
        cuts.dedup();
    }
    let ranges = cuts.windows(2).map(|cut| cut[0]..cut[1]);
    ranges.map(|range| (start + short(range.start), &data[range])).collect()
}

fn replacement<'a>(mini: &mut Mini, pool: &'a [u8]) -> Request<'a> {
    let len = point(mini);
    let block = mini.size.checksum_block_bytes();
    let mut payload = Vec::new();
    let mut at = 0;
    while at < len && payload.len() < 6 {
        let count = u32::try_from(mini.rng.below(3)).unwrap();
        at += count * block;
        if len <= at {
            break;
        }
        let most = (len - at).min(4 * block);
        let bytes = u32::try_from(mini.rng.range(1..=u64::from(most))).unwrap();
        let bytes = if mini.rng.chance(500) { most } else { bytes };
        payload.push((at, slice(mini, pool, bytes)));
        at = (at + bytes).next_multiple_of(block);
    }
    Request { change: Change::Replace { len }, payload, with_checksums: mini.rng.chance(500) }
}

fn request<'a>(mini: &mut Mini, pool: &'a [u8]) -> Request<'a> {
    let plain = |change| Request { change, payload: vec![], with_checksums: false };
    match mini.rng.below(100) {
        0..=8 => plain(Change::Truncate { len: point(mini) }),
        9..=12 => plain(Change::Extend { len: point(mini) }),
        13..=27 => {
            let Range { start, end } = span(mini);
            plain(Change::Zero { offset: start, len: end - start })
        }
        28..=31 => replacement(mini, pool),
        32 => plain(Change::Remove),
        number => {
            let Range { mut start, mut end } = span(mini);
            let len = short(mini.committed.bytes.len());
            if number < 50 && len < mini.size.bytes() {
                // An append.
                end = (len + (end - start)).min(mini.size.bytes());
                start = len;
            }
            let data = slice(mini, pool, end - start);
            Request {
                change: Change::Write { offset: start, len: end - start },
                payload: split(mini, start, data),
                with_checksums: mini.rng.chance(500),
            }
        }
    }
}

/// Reads a random range in both ways.
fn read_some(mini: &mut Mini) -> Found {
    let version = mini.committed.clone();
    if version.record.is_none() {
        return Ok(());
    }
    let range = span(mini);
    mini.read(&version, range.clone(), false)?;
    mini.read(&version, range, true)
}

/// One sequence; a message says what went wrong at which operation.
pub(super) fn sequence(seed: u64, size: ChunkSize, mistake: Mistake, pool: &[u8]) -> Found<Counts> {
    let mut mini = Mini::new(seed, size, mistake);
    for operation in 0..OPERATIONS {
        step(&mut mini, pool)
            .map_err(|why| format!("seed {seed}, {size}, operation {operation}: {why}"))?;
    }
    Ok(mini.counts)
}

fn step(mini: &mut Mini, pool: &[u8]) -> Found {
    let request = request(mini, pool);
    if mini.update(&request)? {
        if mini.rng.chance(150) {
            mini.apply()?;
        }
        if mini.rng.chance(850) { mini.commit() } else { mini.abort() }
    }
    match mini.rng.below(20) {
        0..=5 => mini.sync(),
        6 => mini.crash(),
        7..=9 => mini.apply()?,
        10..=12 => {
            mini.sync();
            mini.apply()?;
        }
        13..=14 => read_some(mini)?,
        _ => {}
    }
    let committed = mini.committed.clone();
    mini.check(&committed)
}

fn run(sequences: &[(u32, u64)], mistake: Mistake) -> Found<Counts> {
    let pool = pool();
    let mut sum = Counts::default();
    for &(bytes, count) in sequences {
        for number in 0..count {
            let seed = u64::from(bytes) << 20 | number;
            let found = sequence(seed, ChunkSize::new(bytes).unwrap(), mistake, &pool)?;
            sum.updates += found.updates;
            sum.images += found.images;
            sum.in_place += found.in_place;
            sum.copied_blocks += found.copied_blocks;
            sum.fetches += found.fetches;
            sum.payload_writes += found.payload_writes;
            sum.torn += found.torn;
            sum.applied += found.applied;
        }
    }
    Ok(sum)
}

/// E120 to E126, under updates, aborts, lazy commits, crashes and applied images.
#[test]
fn random_updates_keep_every_version_that_could_come_back() {
    let sequences =
        [(4 << 10, 600), (8 << 10, 400), (16 << 10, 800), (64 << 10, 1000), (128 << 10, 200)];
    let large = [(1 << 20, 40), (8 << 20, 4)];
    for sequences in [&sequences[..], &large] {
        let counts = run(sequences, Mistake::None).unwrap();
        let Counts { updates, images, in_place, copied_blocks, .. } = counts;
        let Counts { fetches, payload_writes, torn, applied, .. } = counts;
        let all = [images, in_place, copied_blocks, fetches, payload_writes, torn, applied];
        assert!(all.iter().all(|&count| updates < 40 * count), "what hardly ran: {counts:?}");
    }
}

/// Each mistake is found, and by the check that is meant for it.
#[test]
fn planted_mistakes_are_found() {
    let rows = [
        (Mistake::ForgetsOldRecords, "E122"),
        (Mistake::IgnoresImages, "E122"),
        (Mistake::WrongThreshold, "images in one block"),
        (Mistake::SkipsZeroFill, "E123"),
        (Mistake::SkipsGap, "E121"),
        (Mistake::LosesImage, "images"),
        (Mistake::ShiftsPayload, "E121"),
        (Mistake::StaleWord, "differs"),
        (Mistake::ShiftsDirect, "E121"),
    ];
    for (mistake, expected) in rows {
        let found: Found<Counts> = run(&[(64 << 10, 100), (1 << 20, 10)], mistake);
        let why: String = found.map(|_| ()).expect_err("the mistake must be found");
        assert!(why.contains(expected), "{mistake:?}: {why}");
    }
}
