//! E34, E36, S5, V8–V10: files.

use std::io::ErrorKind;

use engine_runtime::{Env, File as _, FileKind, FileOperation, OpenOptions};
use engine_types::Rng;

use crate::ground::{Ground, SECTOR, SEED, a_moment, bytes, check, eventually, fill, pattern};

const WRITE: OpenOptions = OpenOptions { write: true, create: true, truncate: false, lock: false };
const LOCKED: OpenOptions = OpenOptions { lock: true, ..WRITE };
const READ: OpenOptions = OpenOptions { write: false, create: false, truncate: false, lock: false };

async fn a_file<E: Env>(env: &E, ground: &Ground) -> E::File {
    env.open(&ground.path("file"), WRITE).await.unwrap()
}

/// Errors name the file.
pub(crate) async fn what_cannot_be_opened_is_an_error<E: Env>(env: E, ground: Ground) {
    for options in [READ, OpenOptions { create: false, ..WRITE }] {
        let error = env.open(&ground.path("missing"), options).await.err().unwrap();
        assert_eq!(error.operation, FileOperation::Open);
        assert_eq!(error.source.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("missing"), "{error}");
    }
    if ground.real {
        assert!(env.open(&ground.directory, READ).await.is_err(), "a directory");
    }
}

/// A store is never opened twice; its lock ends with it.
pub(crate) async fn a_lock_is_taken_once<E: Env>(env: E, ground: Ground) {
    let path = ground.path("file");
    for _ in 0..3 {
        let mut first = env.open(&path, LOCKED).await;
        while first.is_err() {
            a_moment(&env).await; // a close may take its time
            first = env.open(&path, LOCKED).await;
        }
        let refused = env.open(&path, LOCKED).await.err().unwrap();
        assert_eq!(refused.source.kind(), ErrorKind::WouldBlock, "{refused}");
        let cut = OpenOptions { truncate: true, ..LOCKED };
        assert!(env.open(&path, cut).await.is_err(), "locked before it is cut");
        first.unwrap().write(0, bytes(&env, 1, 0, SECTOR).await).await.unwrap();
    }
}

/// V10: never below the sector.
pub(crate) async fn geometry_tells_size_and_alignment<E: Env>(env: E, ground: Ground) {
    let file = a_file(&env, &ground).await;
    let geometry = file.geometry();
    assert_eq!((geometry.kind, geometry.size), (FileKind::Regular, 0));
    assert!(SECTOR <= geometry.align as usize && geometry.align.is_power_of_two());
    assert!(geometry.logical_block <= geometry.align && 512 <= geometry.logical_block);
    assert!(geometry.volatile_cache, "a file system's own metadata need a flush on any device");
    file.write(0, bytes(&env, 1, 0, 3 * SECTOR).await).await.unwrap();
    drop(file);
    let path = ground.path("file");
    let reopened = env.open(&path, READ).await.unwrap();
    assert_eq!(reopened.geometry().size, 3 * SECTOR as u64);
    let cut = env.open(&path, OpenOptions { truncate: true, ..WRITE }).await.unwrap();
    assert_eq!(cut.geometry().size, 0);
}

/// E36.
pub(crate) async fn what_was_written_is_read_back<E: Env>(env: E, ground: Ground) {
    let file = a_file(&env, &ground).await;
    file.flush().await.unwrap();
    let mut position = 0;
    for sectors in [1, 2, 16, 17, 256] {
        let len = sectors * SECTOR;
        file.write(position as u64, bytes(&env, 1, position, len).await).await.unwrap();
        position += len;
    }
    file.flush().await.unwrap();
    let other = env.open(&ground.path("file"), READ).await.unwrap();
    for file in [&file, &other] {
        check(&file.read(0, position).await.unwrap(), 1, 0);
        check(&file.read(3 * SECTOR as u64, SECTOR).await.unwrap(), 1, 3 * SECTOR);
    }
    assert_eq!(file.read(0, 0).await.unwrap().len(), 0);
    file.write(0, bytes(&env, 1, 0, SECTOR).await.slice(0..0)).await.unwrap();
}

/// Whole buffers, parts of them, and parts that start inside a sector of memory.
pub(crate) async fn bytes_at_any_address_are_written<E: Env>(env: E, ground: Ground) {
    let file = a_file(&env, &ground).await;
    let whole = bytes(&env, 1, 0, 8 * SECTOR).await;
    for start in [0, SECTOR, 1, 100, 512, SECTOR - 1, 3 * SECTOR + 7] {
        let part = whole.slice(start..start + 4 * SECTOR);
        file.write(SECTOR as u64, part).await.unwrap();
        check(&file.read(SECTOR as u64, 4 * SECTOR).await.unwrap(), 1, start);
    }
}

/// The answer names both values; nothing reaches the kernel.
pub(crate) async fn misaligned_requests_are_refused<E: Env>(env: E, ground: Ground) {
    let file = a_file(&env, &ground).await;
    let data = bytes(&env, 1, 0, 2 * SECTOR).await;
    let refused = [
        file.read(1, SECTOR).await.map(drop).unwrap_err(),
        file.read(0, 100).await.map(drop).unwrap_err(),
        file.write(512, data.clone()).await.unwrap_err(),
        file.write(0, data.slice(0..5000)).await.unwrap_err(),
        file.preallocate(0, 5000).await.unwrap_err(),
        file.discard(7, SECTOR as u64).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.source.kind(), ErrorKind::InvalidInput, "{error}");
        let text = error.source.to_string();
        assert!(text.contains(&error.position.to_string()), "{text}");
        assert!(text.contains(&error.len.to_string()), "{text}");
    }
    assert_eq!(file.read(0, SECTOR).await.unwrap().len(), 0, "nothing was written");
}

/// Fewer bytes only there.
pub(crate) async fn reads_end_at_the_end_of_the_file<E: Env>(env: E, ground: Ground) {
    let file = a_file(&env, &ground).await;
    file.write(0, bytes(&env, 1, 0, 3 * SECTOR).await).await.unwrap();
    let tail = file.read(2 * SECTOR as u64, 64 * SECTOR).await.unwrap();
    assert_eq!(tail.len(), SECTOR);
    check(&tail, 1, 2 * SECTOR);
    assert_eq!(file.read(3 * SECTOR as u64, SECTOR).await.unwrap().len(), 0);
    assert_eq!(file.read(1 << 40, SECTOR).await.unwrap().len(), 0);
}

/// A file that others wrote need not end with a sector.
pub(crate) async fn a_tail_inside_a_block_is_read<E: Env>(env: E, ground: Ground) {
    if !ground.real {
        return;
    }
    let mut content = vec![0; 2 * SECTOR + 904];
    fill(&mut content, 1, 0);
    std::fs::write(ground.path("file"), &content).unwrap();
    let file = env.open(&ground.path("file"), READ).await.unwrap();
    for (position, expected) in [(0, 2 * SECTOR + 904), (2 * SECTOR, 904)] {
        let found = file.read(position as u64, 16 * SECTOR).await.unwrap();
        assert_eq!(found.len(), expected);
        check(&found, 1, position);
    }
}

/// Access is what was asked for.
pub(crate) async fn a_file_opened_for_reading_is_not_written<E: Env>(env: E, ground: Ground) {
    drop(a_file(&env, &ground).await);
    let file = env.open(&ground.path("file"), READ).await.unwrap();
    let error = file.write(0, bytes(&env, 1, 0, SECTOR).await).await.unwrap_err();
    assert_eq!(error.operation, FileOperation::Write);
}

/// E36: in any order, with any mixture of what overlaps; what comes after them sees the end.
pub(crate) async fn overlapping_operations_all_complete<E: Env>(env: E, ground: Ground) {
    const SECTORS: u64 = 64;
    let file = a_file(&env, &ground).await;
    let all = SECTORS * SECTOR as u64;
    file.write(0, bytes(&env, 0, 0, 64 * SECTOR).await).await.unwrap();
    let mut rng = Rng::new(SEED);
    let (mut reads, mut writes, mut flushes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..200 {
        let start = rng.range(0..=SECTORS - 4);
        let (position, len) = (start * SECTOR as u64, 4 * SECTOR);
        reads.push(file.read(position, len));
        let start = usize::try_from(position).unwrap();
        writes.push(file.write(position, bytes(&env, 0, start, len).await));
        if rng.range(0..=9) == 0 {
            flushes.push(file.flush());
        }
    }
    for read in reads {
        assert_eq!(read.await.unwrap().len(), 4 * SECTOR);
    }
    for done in writes.into_iter().chain(flushes) {
        done.await.unwrap();
    }
    check(&file.read(0, usize::try_from(all).unwrap()).await.unwrap(), 0, 0);
}

/// E34, S5, E32: it is written although nobody waits, and with the bytes that were handed over,
/// although everybody else is given memory meanwhile.
pub(crate) async fn a_dropped_write_lands_with_its_own_bytes<E: Env>(env: E, ground: Ground) {
    let file = a_file(&env, &ground).await;
    let len = 64 * SECTOR;
    for round in 1..10 {
        drop(file.write(0, bytes(&env, round, 0, len).await));
        loop {
            let mut scribble = env.pool().alloc_wait(len).await.unwrap();
            scribble.whole_mut().fill(0xFF);
            let found = file.read(0, len).await.unwrap();
            let landed = (0..found.len()).filter(|&at| found[at] == pattern(round, at)).count();
            if landed == len {
                break;
            }
            for (at, &byte) in found.iter().enumerate() {
                let known = [round - 1, round].map(|stream| pattern(stream, at));
                assert!(round == 1 || known.contains(&byte), "byte {at} of round {round}");
            }
            a_moment(&env).await;
        }
    }
}

/// E32.
pub(crate) async fn a_dropped_read_returns_its_memory<E: Env>(env: E, ground: Ground) {
    let file = a_file(&env, &ground).await;
    file.write(0, bytes(&env, 1, 0, 64 * SECTOR).await).await.unwrap();
    for _ in 0..50 {
        drop(file.read(0, 64 * SECTOR));
    }
    drop(file);
    a_moment(&env).await;
    eventually(&env, || env.pool().held() == 0).await;
}

/// E33; and what never fits is refused instead.
pub(crate) async fn reads_wait_for_memory<E: Env>(env: E, ground: Ground) {
    let file = a_file(&env, &ground).await;
    let len = 64 * SECTOR;
    file.write(0, bytes(&env, 1, 0, len).await).await.unwrap();
    eventually(&env, || env.pool().held() == 0).await;
    let all = env.pool().alloc(env.pool().limit()).unwrap();
    let read = file.read(0, len);
    a_moment(&env).await;
    assert_eq!(env.pool().held(), env.pool().limit(), "E30: no memory beyond the limit");
    drop(all);
    check(&read.await.unwrap(), 1, 0);
    let error = file.read(0, env.pool().limit() + SECTOR).await.map(drop).unwrap_err();
    assert_eq!(error.operation, FileOperation::Read);
}

/// V9: the file grows, and what was never written is zeros.
pub(crate) async fn preallocated_space_reads_as_zeros_and_takes_writes<E: Env>(
    env: E,
    ground: Ground,
) {
    let file = a_file(&env, &ground).await;
    let len = 256 * SECTOR;
    file.preallocate(0, len as u64).await.unwrap();
    file.preallocate(0, 0).await.unwrap();
    let found = file.read(0, len).await.unwrap();
    assert_eq!(found.len(), len);
    assert!(found.iter().all(|&byte| byte == 0));
    file.write(SECTOR as u64, bytes(&env, 1, 0, SECTOR).await).await.unwrap();
    file.flush().await.unwrap();
    let found = file.read(0, 3 * SECTOR).await.unwrap();
    check(&found[SECTOR..2 * SECTOR], 1, 0);
    assert!(found[2 * SECTOR..].iter().all(|&byte| byte == 0));
}

/// V8: of a regular file it reads as zeros, and its length stays.
pub(crate) async fn discarded_space_reads_as_zeros<E: Env>(env: E, ground: Ground) {
    let file = a_file(&env, &ground).await;
    file.write(0, bytes(&env, 1, 0, 4 * SECTOR).await).await.unwrap();
    if let Err(error) = file.discard(SECTOR as u64, 2 * SECTOR as u64).await {
        assert_eq!(error.source.kind(), ErrorKind::Unsupported, "{error}");
        return; // not every file system has holes
    }
    let found = file.read(0, 4 * SECTOR).await.unwrap();
    assert_eq!(found.len(), 4 * SECTOR);
    check(&found[..SECTOR], 1, 0);
    assert!(found[SECTOR..3 * SECTOR].iter().all(|&byte| byte == 0));
    check(&found[3 * SECTOR..], 1, 3 * SECTOR);
}

/// Longer with zeros, shorter for good.
pub(crate) async fn the_length_can_be_changed<E: Env>(env: E, ground: Ground) {
    let file = a_file(&env, &ground).await;
    file.write(0, bytes(&env, 1, 0, 2 * SECTOR).await).await.unwrap();
    file.set_len(SECTOR as u64).await.unwrap();
    assert_eq!(file.read(0, 2 * SECTOR).await.unwrap().len(), SECTOR);
    file.set_len(3 * SECTOR as u64).await.unwrap();
    let found = file.read(0, 4 * SECTOR).await.unwrap();
    assert_eq!(found.len(), 3 * SECTOR);
    check(&found[..SECTOR], 1, 0);
    assert!(found[SECTOR..].iter().all(|&byte| byte == 0), "cut bytes do not come back");
}
