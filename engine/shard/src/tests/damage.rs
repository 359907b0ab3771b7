//! Stores that are not as they were written: what opens, what is said, what is kept.

use engine_runtime::OpenOptions;
use engine_runtime::sim::DiskFaults;
use engine_store::allocator::AdoptError;
use engine_store::format::group::peek;
use engine_store::format::{Item, PAGE_BYTES, PageWriter, Superblock};
use engine_store::record::checksum_word;
use engine_store::ring::Position;
use engine_store::{BlockAddress, BlockClass, Head, Lsn, Record};
use engine_types::{Crc32c, crc32c};

use super::*;
use crate::device::Device;
use crate::open::read_superblock;
use crate::store::write_superblock;
use crate::{DamageKind, ReadError, RepairError, ScrubLimits};

const CLASS: BlockClass = BlockClass::new(0).unwrap();

async fn device(env: &SimEnv) -> Device<SimEnv> {
    let options = OpenOptions { write: true, create: false, truncate: false, lock: false };
    let file = env.open(Path::new(PATH), options).await.unwrap();
    Device::new(env, file, Duration::MAX, true)
}

/// The record of a chunk of 4 KiB that holds `data`, whose blocks are these.
fn record(key: ChunkKey, block: u32, class: BlockClass, data: &[u8]) -> Record {
    let head = Head {
        len: 4 * KIB,
        data_end: 4 * KIB,
        version: ChunkVersion::new(3),
        chain_version: ChainVersion::new(1),
        epoch: TruncateEpoch::new(0),
        size: ChunkSize::new(if class == CLASS { 4 * KIB } else { MIB }).unwrap(),
        class,
    };
    let plain: Crc32c = crc32c(data);
    let words = vec![checksum_word(key.chunk, 0, plain)];
    Record { head, block: BlockAddress::new(block), words }
}

/// Makes a store whose checkpoint holds these records.
async fn forge(env: &SimEnv, records: &[(ChunkKey, Record)]) -> Superblock {
    ChunkStore::format(env, Path::new(PATH), &options()).await.unwrap();
    let device = device(env).await;
    let (mut superblock, _) = read_superblock(&device).await.unwrap();
    let half = superblock.layout.halves[0];
    let start = Lsn::new(1);
    let mut writer = PageWriter::new(superblock.store, 1, 0, half.len, start);
    let _ = writer.push(&Item::Target { slot: SLOT, record: target() });
    for (key, record) in records {
        let _ = writer.push_chunk(key, record.as_ref());
    }
    let (sealed, reference, _) = writer.finish();
    assert!(sealed.bytes.len() <= PAGE_BYTES);
    let page = bytes(env, sealed.bytes).await;
    device.write(crate::Io::Checkpoint, half.offset, page).await.unwrap();
    superblock.checkpoint = Some(reference);
    let prev_hash = engine_store::format::group::first_hash(superblock.salt);
    superblock.tail = Position { lsn: start, offset: 0, prev_hash };
    superblock.sequence += 1;
    write_superblock(env, &device, &superblock).await.unwrap();
    superblock
}

#[test]
fn s_a_a_block_that_two_chunks_name_stays_with_the_first() {
    let ground = Ground::new(1);
    ground.run(move |env| async move {
        let data = [5; 4 << 10];
        let large = BlockClass::new(1).unwrap();
        let forged = [
            (key(0), record(key(0), 7, CLASS, &data)),
            (key(1), record(key(1), 7, CLASS, &data)),
            (key(2), record(key(2), 8, CLASS, &data)),
            (key(3), record(key(3), 10, large, &data)),
            (key(4), record(key(4), u32::MAX - 1, CLASS, &data)),
        ];
        let superblock = forge(&env, &forged).await;
        {
            let device = device(&env).await;
            let home = superblock.layout.block_offset(BlockAddress::new(7));
            device.write(crate::Io::Data, home, bytes(&env, &data).await).await.unwrap();
        }
        for read_only in [true, false] {
            let config = StoreConfig { read_only, ..config() };
            let (store, opened) = ChunkStore::open(&env, Path::new(PATH), config).await.unwrap();
            assert!(opened.damaged && !opened.journal_damaged);
            let found: Vec<_> =
                opened.clashes.iter().map(|clash| (clash.key, clash.other)).collect();
            let expected = [(key(1), Some(key(0))), (key(3), Some(key(0))), (key(4), None)];
            assert_eq!((found, opened.lost), (expected.to_vec(), 3));
            let block = BlockAddress::new(7);
            assert_eq!(opened.clashes[0].why, AdoptError::Shared { block, class: CLASS });
            let both = [key(0), key(1)].map(|key| key.to_string());
            let said = format!("{}: {}", opened.clashes[0].key, opened.clashes[0]);
            assert!(both.iter().all(|name| said.contains(name)), "{said}");
            assert_eq!(read_all(&store, key(0)).await, data);
            let read =
                Read { key: key(1), offset: 0, len: 1, version: Which::Committed, verify: true };
            let gone = store.read(read).await;
            assert!(matches!(gone, Err(ReadError::NoSuchChunk { .. })), "{gone:?}");
            assert_eq!(store.audit().unwrap().chunks, 2);
            if !read_only {
                write(&env, &store, key(9), 1, (0, &data)).await;
            }
            store.close().await.unwrap();
        }
    });
    // The flag stays until the caller takes it away; the chunks are gone for good.
    ground.run(move |env| async move {
        let (store, opened) = open(&env).await;
        assert_eq!((opened.damaged, opened.lost, opened.chunks), (true, 0, 3));
        store.clear_damage().await.unwrap();
        store.audit().unwrap();
        store.close().await.unwrap();
    });
    ground.run(move |env| async move { assert!(!open(&env).await.1.damaged) });
}

/// Byte of the device at which a checksum block of 64 KiB of a chunk lies.
fn home(store: &ChunkStore<SimEnv>, key: ChunkKey, block: u32) -> u64 {
    let state = store.inner.state.borrow();
    let record = state.committed(&key).unwrap();
    store.inner.layout.block_offset(record.block(0)) + u64::from(block * 64 * KIB)
}

#[test]
fn s15_a_repair_takes_as_many_checksum_blocks_as_are_damaged() {
    let ground = Ground::new(2);
    let places = ground.run(move |env| async move {
        let store = create(&env).await;
        write(&env, &store, key(0), 1, (0, &pattern(1000 * KIB, 3))).await;
        let places = [2, 3, 15].map(|block| home(&store, key(0), block) + 100);
        store.close().await.unwrap();
        places
    });
    for place in places {
        ground.sim.flip_bit(ground.node, PATH, place, 3);
    }
    ground.run(move |env| async move {
        let (store, _) = open(&env).await;
        let data = pattern(1000 * KIB, 3);
        let seen = store.scrub(None, ScrubLimits::default(), |_| {}).await.unwrap();
        let blocks: Vec<u32> = seen.damage.iter().map(|damage| damage.block).collect();
        assert_eq!((blocks, seen.damaged, seen.errors), (vec![2, 3, 15], 3, 0));
        assert!(seen.damage.iter().all(|damage| damage.kind == DamageKind::Checksum));
        let version = ChunkVersion::new(1);
        let good = |block: u32| {
            let start = (block * 64 * KIB) as usize;
            (block, &data[start..data.len().min(start + (64 << 10))])
        };
        let wrong = store.repair(key(0), version, &[good(2), (3, good(4).1)]).await;
        assert!(matches!(wrong, Err(RepairError::Mismatch { block: 3, .. })), "{wrong:?}");
        let more = store.repair(key(0), version, &[good(2), good(15)]).await;
        let Err(RepairError::Read(ReadError::Corrupt { block: 3, .. })) = more else {
            panic!("{more:?}");
        };
        store.audit().unwrap();
        store.repair(key(0), version, &[good(15), good(2), good(3)]).await.unwrap();
        assert_eq!(read_all(&store, key(0)).await, data);
        let seen = store.scrub(None, ScrubLimits::default(), |_| {}).await.unwrap();
        assert_eq!(seen.damaged, 0);
        store.audit().unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn s15_the_scrubber_lists_what_cannot_be_read() {
    let ground = Ground::new(3);
    ground.sim.start(ground.node, move |env| async move {
        let store = create(&env).await;
        write(&env, &store, key(0), 1, (0, &pattern(300 * KIB, 3))).await;
        env.sleep_until(env.now().saturating_add(HOUR)).await;
        let seen = store.scrub(None, ScrubLimits::default(), |_| {}).await.unwrap();
        let found: Vec<_> = seen.damage.iter().map(|it| (it.block, it.kind)).collect();
        assert_eq!(found, [0, 1, 2, 3, 4].map(|block| (block, DamageKind::Unreadable)));
        assert_eq!((seen.damaged, seen.errors, seen.finished), (0, 5, true));
    });
    ground.sim.run_for(HOUR / 2).unwrap();
    let faults = DiskFaults { read_error_permille: 1000, ..DiskFaults::default() };
    ground.sim.set_disk(ground.node, faults);
    ground.sim.run_for(HOUR).unwrap();
    assert!(!ground.sim.is_running(ground.node));
}

/// Where the group with the highest number lies on the device.
async fn newest_group(env: &SimEnv) -> (Lsn, u64) {
    let device = device(env).await;
    let (superblock, _) = read_superblock(&device).await.unwrap();
    let ring = superblock.layout.ring;
    let bytes = device.read(crate::Io::Journal, ring.offset, ring.len as usize).await.unwrap();
    let pages = bytes.chunks_exact(4096).zip(0u64..);
    let groups = pages.filter_map(|(page, at)| {
        let header = peek(page, superblock.store, superblock.salt)?;
        Some((header.identity.lsn, ring.offset + at * 4096))
    });
    groups.max().unwrap()
}

#[test]
fn s11_a_torn_group_proves_the_data_of_the_one_before_it() {
    for torn in [true, false] {
        let ground = Ground::new(4);
        let place = ground.run(move |env| async move {
            let store = create(&env).await;
            let payload = Payload::new(0, bytes(&env, &pattern(256 * KIB, 3)).await);
            let change = Change::Write { offset: 0, len: 256 * KIB };
            store.update(update(key(0), 1, MIB, change), payload).await.unwrap();
            let place = {
                let state = store.inner.state.borrow();
                let record = state.pending(&key(0)).unwrap().record.as_ref().unwrap();
                store.inner.layout.block_offset(record.block) + u64::from(64 * KIB)
            };
            if torn {
                store.commit(&key(0), ChunkVersion::new(1)).unwrap();
                store.sync().await.unwrap();
            }
            place
        });
        let (_, group) = ground.run(move |env| async move { newest_group(&env).await });
        // The data of the PUT is not as it was written, and the group behind it is not whole.
        ground.sim.flip_bit(ground.node, PATH, place, 3);
        if torn {
            ground.sim.flip_bit(ground.node, PATH, group + 130, 3); // its entry
        }
        ground.run(move |env| async move {
            let (store, opened) = open(&env).await;
            assert_eq!((opened.damaged, opened.dropped_group), (false, !torn));
            let expected = if torn { vec![(key(0), ChunkVersion::new(1))] } else { Vec::new() };
            assert_eq!(opened.pendings, expected);
            for (key, version) in opened.pendings {
                store.commit(&key, version).unwrap();
                let read =
                    Read { key, offset: 0, len: MIB, version: Which::Committed, verify: true };
                let damaged = store.read(read).await;
                assert!(matches!(damaged, Err(ReadError::Corrupt { block: 1, .. })));
            }
        });
    }
}
