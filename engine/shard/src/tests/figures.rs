//! What a store counts about its device, also while the device does not answer.

use std::cell::RefCell;
use std::rc::Rc;

use engine_runtime::sim::DiskFaults;

use super::*;
use crate::{Io, Metrics};

/// A store that is at rest on a healthy device.
struct Rested {
    ground: Ground,
    store: ChunkStore<SimEnv>,
    env: SimEnv,
}

fn rested(seed: u64) -> Rested {
    let ground = Ground::new(seed);
    let place: Rc<RefCell<Option<_>>> = Rc::default();
    let found = place.clone();
    ground.sim.start(ground.node, move |env| async move {
        let store = create(&env).await;
        write(&env, &store, key(0), 1, (0, &pattern(300 * KIB, 1))).await;
        store.sync().await.unwrap();
        *place.borrow_mut() = Some((store, env.clone()));
        env.sleep_until(env.now().saturating_add(HOUR)).await;
    });
    ground.sim.run_while(HOUR, |_| found.borrow().is_none()).unwrap();
    ground.sim.run_for(Duration::from_secs(2)).unwrap();
    let (store, env) = found.take().unwrap();
    Rested { ground, store, env }
}

fn in_flight(metrics: &Metrics) -> u64 {
    Io::ALL.iter().map(|kind| metrics.io(*kind).in_flight).sum()
}

#[test]
fn a_store_at_rest_has_nothing_under_way() {
    let Rested { store, .. } = rested(1);
    let metrics = store.metrics();
    assert_eq!(in_flight(&metrics), 0);
    assert!(Io::ALL.iter().all(|kind| metrics.io(*kind).oldest.is_none()));
    assert_eq!(metrics.warnings, 0);
    assert_eq!(metrics.io(Io::Data).bytes, 300 << 10);
    assert!(0 < metrics.io(Io::Flush).operations && 0 < metrics.io(Io::Journal).bytes);
}

#[test]
fn a_device_that_hangs_is_seen_before_it_answers() {
    let Rested { ground, store, env } = rested(2);
    let slow = DiskFaults { slow_factor: 10_000_000, ..DiskFaults::default() };
    ground.sim.set_disk(ground.node, slow);
    let before = store.metrics();
    let handle = store.clone();
    drop(env.spawn(async move { handle.sync().await }));
    ground.sim.run_for(Duration::from_secs(35)).unwrap();
    let metrics = store.metrics();
    assert_eq!(in_flight(&metrics), 1, "one operation does not end");
    let oldest = Io::ALL.iter().filter_map(|kind| metrics.io(*kind).oldest).max().unwrap();
    assert!(Duration::from_secs(34) < oldest && oldest <= Duration::from_secs(35), "{oldest:?}");
    assert_eq!(metrics.io(Io::Journal).slow, before.io(Io::Journal).slow, "none has ended");
    // At once, and after that every ten seconds.
    assert!((3..=4).contains(&metrics.warnings), "{} warnings", metrics.warnings);
}

#[test]
fn slow_operations_are_counted_and_said_sparingly() {
    let Rested { ground, store, env } = rested(3);
    let disk = DiskFaults { slow_factor: 20_000, ..DiskFaults::default() };
    ground.sim.set_disk(ground.node, disk);
    let reads = 12;
    for index in 0..reads {
        let handle = store.clone();
        let read = Read {
            key: key(0),
            offset: index * 4096,
            len: 4096,
            version: Which::Committed,
            verify: false,
        };
        drop(env.spawn(async move { drop(handle.read(read).await) }));
    }
    ground.sim.run_for(Duration::from_millis(500)).unwrap();
    assert_eq!(store.metrics().io(Io::Read).in_flight, u64::from(reads));
    ground.sim.run_while(HOUR, |_| 0 < store.metrics().io(Io::Read).in_flight).unwrap();
    let metrics = store.metrics();
    let read = metrics.io(Io::Read);
    assert_eq!((read.operations, read.slow, read.errors), (12, 12, 0));
    assert!(read.latency_us.min() > 1_000_000, "{}", read.latency_us.min());
    assert!((1..=2).contains(&metrics.warnings), "{} warnings", metrics.warnings);
}

#[test]
fn errors_are_counted_by_kind_and_do_not_count_as_done() {
    let Rested { ground, store, env } = rested(4);
    let before = store.metrics();
    let disk = DiskFaults { read_error_permille: 1000, ..DiskFaults::default() };
    ground.sim.set_disk(ground.node, disk);
    let handle = store.clone();
    let read = Read { key: key(0), offset: 0, len: 4096, version: Which::Committed, verify: false };
    drop(env.spawn(async move { drop(handle.read(read).await) }));
    ground.sim.run_for(Duration::from_secs(1)).unwrap();
    let metrics = store.metrics();
    let (read, old) = (metrics.io(Io::Read), before.io(Io::Read));
    assert_eq!((read.errors - old.errors, read.operations - old.operations), (1, 0));
    assert_eq!(metrics.user_bytes_read, before.user_bytes_read);
    assert_eq!(in_flight(&metrics), 0);
    assert_eq!(store.failure(), None, "a failed read is an error of that read");
}

/// What is moved was read and written, and belongs to what the device is given to write.
#[test]
fn moves_are_read_and_written_apart() {
    let ground = Ground::new(5);
    ground.run(|env| async move {
        let store = create(&env).await;
        write(&env, &store, key(0), 1, (0, &pattern(MIB, 1))).await;
        store.sync().await.unwrap();
        let before = store.metrics();
        let moved = crate::space::move_chunk(&store.inner, &key(0), |_| true).await;
        assert!(matches!(moved, crate::space::Moved::Done));
        store.sync().await.unwrap();
        let after = store.metrics();
        let more = |kind| after.io(kind).bytes - before.io(kind).bytes;
        assert_eq!((more(Io::MoveRead), more(Io::Move)), (1 << 20, 1 << 20));
        let written = after.device_bytes_written() - before.device_bytes_written();
        assert!(1 << 20 < written, "{written}: the copy and a group");
        assert_eq!(read_all(&store, key(0)).await, pattern(MIB, 1));
    });
}
