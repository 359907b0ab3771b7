//! The scrubber: what it finds, what it calls whole, and how fast it goes.

use std::cell::RefCell;
use std::rc::Rc;

use engine_runtime::sim::DiskFaults;

use super::*;
use crate::metrics::Io;
use crate::{Damage, DamageKind, ScrubLimits, ScrubProgress};

/// Places of a chunk's checksum block on the device.
fn position(store: &ChunkStore<SimEnv>, key: ChunkKey, block: u32) -> u64 {
    let state = store.inner.state.borrow();
    let record = state.committed(&key).unwrap();
    let at = block * record.head.size.checksum_block_bytes();
    let home = record.blocks().next().unwrap().1;
    store.inner.block_start(home) + u64::from(at)
}

async fn rot(env: &SimEnv, store: &ChunkStore<SimEnv>, key: ChunkKey, block: u32) {
    let data = bytes(env, &[0xee; 4096]).await;
    store.inner.device.write(Io::Data, position(store, key, block), data).await.unwrap();
}

async fn pass(store: &ChunkStore<SimEnv>) -> ScrubProgress {
    store.scrub(None, ScrubLimits::default(), |_| {}).await.unwrap()
}

#[test]
fn every_damaged_block_is_found_and_repaired() {
    let ground = Ground::new(1);
    ground.run(|env| async move {
        let store = create(&env).await;
        write(&env, &store, key(0), 1, (0, &pattern(MIB, 1))).await;
        write(&env, &store, key(1), 1, (0, &pattern(MIB, 2))).await;
        rot(&env, &store, key(1), 3).await;
        let found = pass(&store).await;
        assert!(found.finished);
        let damage = Damage {
            key: key(1),
            version: ChunkVersion::new(1),
            block: 3,
            kind: DamageKind::Checksum,
        };
        assert_eq!((found.chunks, found.damaged, found.errors), (2, 1, 0));
        assert_eq!(found.damage, [damage]);
        let right = pattern(MIB, 2);
        let size = ChunkSize::new(MIB).unwrap().checksum_block_bytes() as usize;
        store
            .repair(damage.key, damage.version, &[(damage.block, &right[3 * size..4 * size])])
            .await
            .unwrap();
        let found = pass(&store).await;
        assert_eq!((found.damaged, found.errors), (0, 0));
        assert_eq!(read_all(&store, key(1)).await, right);
    });
}

/// A device that does not give the bytes, or gives others once, is never called whole.
#[test]
fn reads_that_fail_are_errors_and_never_whole() {
    for (name, disk) in [
        ("errors", DiskFaults { read_error_permille: 600, ..DiskFaults::default() }),
        ("flips", DiskFaults { read_flip_permille: 600, ..DiskFaults::default() }),
    ] {
        let mut steps = (0, 0);
        for seed in 0..20 {
            let ground = Ground::new(seed);
            let store: Rc<RefCell<Option<ChunkStore<SimEnv>>>> = Rc::default();
            let (place, found) = (store.clone(), Rc::new(RefCell::new(None)));
            let answer = found.clone();
            ground.sim.start(ground.node, move |env| async move {
                let store = create(&env).await;
                write(&env, &store, key(0), 1, (0, &pattern(256 * KIB, 1))).await;
                *place.borrow_mut() = Some(store.clone());
                env.sleep_until(env.now().saturating_add(Duration::from_secs(10))).await;
                *answer.borrow_mut() = Some(pass(&store).await);
            });
            ground.sim.run_while(HOUR, |_| store.borrow().is_none()).unwrap();
            ground.sim.run_for(Duration::from_secs(1)).unwrap();
            let before = store.borrow().as_ref().unwrap().metrics();
            ground.sim.set_disk(ground.node, disk);
            ground.sim.run_while(HOUR, |_| found.borrow().is_none()).unwrap();
            let found = found.borrow().clone().unwrap();
            let after = store.borrow().as_ref().unwrap().metrics();
            let failed = after.io(Io::Scrub).errors - before.io(Io::Scrub).errors
                + after.corrupt_blocks
                - before.corrupt_blocks;
            let told = found.errors + found.damaged;
            assert_eq!(0 < failed, 0 < told, "{name}, seed {seed}: {found:?}, {failed} failed");
            steps = (steps.0 + u32::from(told == 0), steps.1 + u32::from(told != 0));
        }
        assert!(0 < steps.0 && 0 < steps.1, "{name}: {steps:?} passes without and with errors");
    }
}

#[test]
fn a_pass_keeps_its_rate_inside_a_large_chunk_too() {
    let ground = Ground::new(3);
    ground.run(|env| async move {
        let store = create(&env).await;
        let size = 16 * MIB;
        for at in 0..4 {
            let offset = at * 4 * MIB;
            let data = bytes(&env, &pattern(4 * MIB, at as u8)).await;
            let change = Change::Write { offset, len: 4 * MIB };
            let written = update(key(0), at + 1, size, change);
            store.update(written, Payload::new(offset, data)).await.unwrap();
            store.commit(&key(0), ChunkVersion::new(at + 1)).unwrap();
        }
        store.sync().await.unwrap();
        let limits = ScrubLimits { bytes_per_second: 4 << 20, chunks: None };
        let handle = store.clone();
        let began = env.now();
        let scrub = env.spawn(async move { handle.scrub(None, limits, |_| {}).await });
        // No second is without its share, and none has much more than that.
        let mut last = store.metrics().io(Io::Scrub).bytes;
        for _ in 0..3 {
            env.sleep_until(env.now().saturating_add(Duration::from_secs(1))).await;
            let now = store.metrics().io(Io::Scrub).bytes;
            assert!((3 << 20..=5 << 20).contains(&(now - last)), "{} in a second", now - last);
            last = now;
        }
        let found = scrub.await.unwrap();
        assert_eq!((found.bytes, found.finished), (16 << 20, true));
        let took = env.now().saturating_since(began);
        let right = Duration::from_millis(3990)..Duration::from_millis(4100);
        assert!(right.contains(&took), "{took:?}");
    });
}

#[test]
fn a_pass_ends_after_its_chunks_and_is_resumed() {
    let ground = Ground::new(4);
    ground.run(|env| async move {
        let store = create(&env).await;
        for index in 0..7 {
            write(&env, &store, key(index), 1, (0, &pattern(5000, index as u8))).await;
        }
        let mut seen = Vec::new();
        let mut after = None;
        let mut passes = Vec::new();
        loop {
            let limits = ScrubLimits { chunks: Some(3), ..ScrubLimits::default() };
            let observe = |progress: &ScrubProgress| seen.push(progress.after.unwrap());
            let found = store.scrub(after, limits, observe).await.unwrap();
            passes.push((found.chunks, found.bytes, found.finished));
            after = found.after;
            if found.finished {
                break;
            }
        }
        assert_eq!(passes, [(3, 15_000, false), (3, 15_000, false), (1, 5_000, true)]);
        assert_eq!(seen, (0..7).map(key).collect::<Vec<_>>());
    });
}

/// A chunk that changes while it is looked at is looked at to its end.
#[test]
fn damage_behind_a_change_is_found() {
    let ground = Ground::new(5);
    ground.run(|env| async move {
        let store = create(&env).await;
        let data = bytes(&env, &pattern(4 * MIB, 1)).await;
        let change = Change::Write { offset: 0, len: 4 * MIB };
        store.update(update(key(0), 1, 4 * MIB, change), Payload::new(0, data)).await.unwrap();
        store.commit(&key(0), ChunkVersion::new(1)).unwrap();
        rot(&env, &store, key(0), 60).await;
        let limits = ScrubLimits { bytes_per_second: 1 << 20, chunks: None };
        let handle = store.clone();
        let scrub = env.spawn(async move { handle.scrub(None, limits, |_| {}).await });
        env.sleep_until(env.now().saturating_add(Duration::from_millis(1500))).await;
        let data = bytes(&env, &[7; 4096]).await;
        let change = Change::Write { offset: 0, len: 4096 };
        store.update(update(key(0), 2, 4 * MIB, change), Payload::new(0, data)).await.unwrap();
        store.commit(&key(0), ChunkVersion::new(2)).unwrap();
        let found = scrub.await.unwrap();
        let damage = Damage {
            key: key(0),
            version: ChunkVersion::new(2),
            block: 60,
            kind: DamageKind::Checksum,
        };
        assert_eq!(found.damage, [damage]);
        assert_eq!(found.bytes, 4 << 20, "everything was looked at once");
    });
}
