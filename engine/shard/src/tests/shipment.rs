//! Versions as a whole, from one store to another.

use std::task::{Context, Waker};

use engine_runtime::sim::DiskFaults;
use engine_store::{Tag, removal_digest};
use engine_types::{ChannelId, Rng, SessionId};

use super::*;
use crate::{Io, PIECE_BYTES_MAX, ReadError, Shipment, Shipped};

const OTHER: &str = "data/other";

const fn version(number: u32) -> ChunkVersion {
    ChunkVersion::new(number)
}

async fn other(env: &SimEnv) -> ChunkStore<SimEnv> {
    ChunkStore::format(env, Path::new(OTHER), &options()).await.unwrap();
    let (store, _) = ChunkStore::open(env, Path::new(OTHER), config()).await.unwrap();
    store.set_target(SLOT, Some(target())).await.unwrap();
    store
}

fn ship(store: &ChunkStore<SimEnv>, key: ChunkKey, which: Which) -> Shipment<SimEnv> {
    store.start_content(key, which).expect("it is there")
}

fn plans(store: &ChunkStore<SimEnv>) -> usize {
    store.inner.state.borrow().plans_under_way()
}

/// Everything that is left of a shipment, as the payload of a replacement.
async fn receive(
    store: &ChunkStore<SimEnv>,
    mut shipment: Shipment<SimEnv>,
) -> (Shipped, Payload<<SimEnv as Env>::Memory>) {
    let mut payload = Payload::NONE;
    let mut extents = shipment.extents.clone().into_iter();
    let mut extent = 0..0;
    while let Some(piece) = shipment.next().await.unwrap() {
        let len = piece.bytes.len() as u32;
        assert!(0 < len && len <= PIECE_BYTES_MAX);
        assert!(store.metrics().io(Io::Ship).in_flight <= 2, "the rest waits");
        if extent.is_empty() {
            let (offset, len) = extents.next().unwrap();
            extent = offset..offset + len;
        }
        assert_eq!(piece.offset, extent.start, "in order, and all of an extent");
        extent.start += len;
        assert!(extent.start <= extent.end, "inside an extent");
        payload.checksums.extend(piece.checksums);
        payload.extents.push((piece.offset, piece.bytes));
    }
    assert!(extent.is_empty() && extents.next().is_none(), "all was brought");
    assert!(shipment.next().await.unwrap().is_none());
    assert_eq!(plans(store), 0, "the pin went with the last piece");
    (shipment.head, payload)
}

/// What a receiver makes of a shipment has the digest of the original.
async fn replace(
    to: &ChunkStore<SimEnv>,
    (head, payload): (Shipped, Payload<<SimEnv as Env>::Memory>),
) {
    let Shipped { key, version, chain_version, epoch, size, len, is_removal, tag, digest } = head;
    let change = if is_removal { Change::Remove } else { Change::Replace { len } };
    let asked = Update { key, version, chain_version, epoch, size, change, tag };
    let stored = to.update(asked, payload).await.unwrap();
    assert_eq!((stored.version, stored.len, stored.digest), (version, len, digest));
    to.commit(&key, version).unwrap();
}

async fn change(
    env: &SimEnv,
    store: &ChunkStore<SimEnv>,
    (key, size, change): (ChunkKey, u32, Change),
) -> Stored {
    let next = store.state(&key).committed.map_or(1, |(version, _)| version.get() + 1);
    let payload = match change {
        Change::Write { offset, len } => {
            Payload::new(offset, bytes(env, &pattern(len, next as u8)).await)
        }
        _ => Payload::NONE,
    };
    store.update(update(key, next, size, change), payload).await.unwrap()
}

fn drawn(rng: &mut Rng, size: u32) -> Change {
    let offset = rng.below(u64::from(size)) as u32;
    let len = 1 + rng.below(u64::from((size - offset).min(400 * KIB))) as u32;
    match rng.below(6) {
        0 => Change::Truncate { len: offset },
        1 => Change::Extend { len: offset + len },
        2 => Change::Zero { offset, len },
        _ => Change::Write { offset, len },
    }
}

#[test]
fn a_shipped_chunk_has_the_same_digest_and_bytes() {
    let ground = Ground::new(1);
    ground.run(|env| async move {
        let (store, other) = (create(&env).await, other(&env).await);
        let mut rng = Rng::new(1);
        for (index, size) in (0..).zip([4 * KIB, 64 * KIB, MIB, 8 * MIB, 64 * MIB]) {
            for round in 0..12 {
                change(&env, &store, (key(index), size, drawn(&mut rng, size))).await;
                let (next, _) = store.state(&key(index)).pending.unwrap();
                if round % 3 == 1 {
                    // The durable version that is not committed yet (R6).
                    let shipment = ship(&store, key(index), Which::Pending);
                    assert_eq!(shipment.head.version, next);
                    replace(&other, receive(&store, shipment).await).await;
                }
                store.commit(&key(index), next).unwrap();
            }
            let shipment = ship(&store, key(index), Which::Committed);
            replace(&other, receive(&store, shipment).await).await;
        }
    });
}

#[test]
fn a_chunk_with_holes_is_shipped_as_it_is() {
    let ground = Ground::new(2);
    ground.run(|env| async move {
        let (store, other) = (create(&env).await, other(&env).await);
        let size = 64 * MIB;
        for (offset, len) in [(0, 5000), (MIB - 100, 700_000), (30 * MIB, 64 * KIB), (MIB, 4096)] {
            change(&env, &store, (key(0), size, Change::Write { offset, len })).await;
            store.commit(&key(0), store.state(&key(0)).pending.unwrap().0).unwrap();
        }
        change(&env, &store, (key(0), size, Change::Extend { len: 40 * MIB })).await;
        store.commit(&key(0), version(5)).unwrap();
        let shipment = ship(&store, key(0), Which::Committed);
        // The first block was completed with zeros when it became an inner one.
        let second = MIB - 64 * KIB..MIB + 704 * KIB;
        let extents = [(0, 64 * KIB), (second.start, second.end - second.start)];
        assert_eq!(shipment.extents[..2], extents);
        assert_eq!(shipment.extents[2..], [(30 * MIB, 64 * KIB)]);
        let head = shipment.head;
        assert_eq!((head.version, head.len, head.size.bytes()), (version(5), 40 * MIB, size));
        assert_eq!((head.is_removal, head.tag, head.epoch.get()), (false, None, 0));
        replace(&other, receive(&store, shipment).await).await;
        for offset in (0..40).map(|at| at * MIB) {
            let read = Read { offset, len: MIB, ..whole(key(0)) };
            let (one, two) = (store.read(read).await.unwrap(), other.read(read).await.unwrap());
            assert_eq!(one.to_vec(), two.to_vec(), "from {offset}");
        }
        assert_eq!(store.allocated_bytes(&key(0)), other.allocated_bytes(&key(0)));
        // Without data nothing is read, and nothing is pinned.
        change(&env, &store, (key(1), MIB, Change::Extend { len: 5 })).await;
        store.commit(&key(1), version(1)).unwrap();
        let shipment = ship(&store, key(1), Which::Committed);
        assert_eq!(plans(&store), 0);
        replace(&other, receive(&store, shipment).await).await;
        for which in [Which::Committed, Which::Pending] {
            let absent = store.start_content(key(9), which).err();
            assert!(matches!(absent, Some(ReadError::NoSuchChunk { .. })));
        }
        assert!(store.start_content(key(0), Which::Pending).is_err());
        let alien = store.start_content(ChunkKey::new(Slot::new(9), 1, 1), Which::Committed).err();
        assert!(matches!(alien, Some(ReadError::NoTarget { .. })));
        store.audit().unwrap();
        other.audit().unwrap();
    });
}

fn whole(key: ChunkKey) -> Read {
    Read { key, offset: 0, len: MIB, version: Which::Committed, verify: true }
}

/// Versions go on while one is sent; its pieces are those of the beginning (S4).
#[test]
fn s4_a_shipment_sees_the_version_that_it_began_with() {
    let ground = Ground::new(3);
    ground.run(|env| async move {
        let (store, other) = (create(&env).await, other(&env).await);
        let size = 4 * MIB;
        for offset in [0, MIB, 2 * MIB] {
            let asked = Change::Write { offset, len: MIB };
            change(&env, &store, (key(0), size, asked)).await;
            store.commit(&key(0), store.state(&key(0)).pending.unwrap().0).unwrap();
        }
        // An image that is not home yet, and one of the pending version.
        for offset in [9000, 2 * MIB + 9000] {
            let asked = Change::Write { offset, len: 5000 };
            change(&env, &store, (key(0), size, asked)).await;
            store.commit(&key(0), store.state(&key(0)).pending.unwrap().0).unwrap();
        }
        change(&env, &store, (key(0), size, Change::Write { offset: 9500, len: 100 })).await;
        let committed = ship(&store, key(0), Which::Committed);
        let pending = ship(&store, key(0), Which::Pending);
        assert_eq!((committed.head.version, pending.head.version), (version(5), version(6)));
        assert_ne!(committed.head.digest, pending.head.digest);
        store.commit(&key(0), version(6)).unwrap();
        for round in 0..30 {
            let offset = (round % 3) * MIB + 9000;
            let asked = Change::Write { offset, len: 5000 };
            change(&env, &store, (key(0), size, asked)).await;
            store.commit(&key(0), store.state(&key(0)).pending.unwrap().0).unwrap();
        }
        store.erase(&key(0)).await.unwrap();
        for index in 1..9 {
            write(&env, &store, key(index), 1, (0, &pattern(MIB, 9))).await;
        }
        assert_eq!(plans(&store), 2);
        let (mut first, mut second) = (committed, pending);
        let mut payloads = (Payload::NONE, Payload::NONE);
        for (shipment, payload) in [(&mut first, &mut payloads.0), (&mut second, &mut payloads.1)] {
            while let Some(piece) = shipment.next().await.unwrap() {
                payload.checksums.extend(piece.checksums);
                payload.extents.push((piece.offset, piece.bytes));
            }
        }
        replace(&other, (first.head, payloads.0)).await;
        replace(&other, (second.head, payloads.1)).await;
        assert_eq!(plans(&store), 0);
        store.sync().await.unwrap();
        store.audit().unwrap();
    });
}

#[test]
fn s5_a_shipment_that_is_given_up_gives_its_pin_back() {
    let ground = Ground::new(4);
    ground.run(|env| async move {
        let store = create(&env).await;
        write(&env, &store, key(0), 1, (0, &pattern(MIB, 1))).await;
        let mut shipment = ship(&store, key(0), Which::Committed);
        // A call that is given up takes nothing away.
        for _ in 0..3 {
            let call = core::pin::pin!(shipment.next());
            let poll = call.poll(&mut Context::from_waker(Waker::noop()));
            assert!(poll.is_pending(), "the device has not answered yet");
        }
        let first = shipment.next().await.unwrap().unwrap();
        assert_eq!((first.offset, first.bytes.len() as u32), (0, PIECE_BYTES_MAX));
        let second = shipment.next().await.unwrap().unwrap();
        assert_eq!(second.offset, PIECE_BYTES_MAX);
        let expected = &pattern(MIB, 1)[second.offset as usize..][..second.bytes.len()];
        assert_eq!(&second.bytes[..], expected);
        drop(shipment);
        assert_eq!(plans(&store), 1, "until the device has answered (S5)");
        store.close().await.unwrap();
        assert_eq!(plans(&store), 0);
    });
}

#[test]
fn a_removal_is_shipped_as_such() {
    let ground = Ground::new(5);
    ground.run(|env| async move {
        let (store, other) = (create(&env).await, other(&env).await);
        for store in [&store, &other] {
            let data = bytes(&env, &pattern(5000, 1)).await;
            let asked = Change::Write { offset: 0, len: 5000 };
            let asked = Update { epoch: TruncateEpoch::new(4), ..update(key(0), 1, MIB, asked) };
            store.update(asked, Payload::new(0, data)).await.unwrap();
            store.commit(&key(0), version(1)).unwrap();
        }
        let tag = Some(Tag { session: SessionId::new(3), channel: ChannelId::new(1), seq: 8 });
        let asked = update(key(0), 2, MIB, Change::Remove);
        let asked = Update { epoch: TruncateEpoch::new(5), tag, ..asked };
        let stored = store.update(asked, Payload::NONE).await.unwrap();
        let shipment = ship(&store, key(0), Which::Pending);
        let head = shipment.head;
        assert_eq!((head.is_removal, head.len, head.tag), (true, 0, tag));
        assert_eq!((head.digest, head.size.bytes()), (stored.digest, MIB));
        assert_eq!(stored.digest, removal_digest(key(0).chunk, version(2)));
        assert!(shipment.extents.is_empty() && plans(&store) == 0);
        replace(&other, receive(&store, shipment).await).await;
        assert_eq!(other.state(&key(0)).committed, None);
        // The committed version beside it is shipped as ever.
        assert_eq!(ship(&store, key(0), Which::Committed).head.version, version(1));
    });
}

#[test]
fn a_piece_that_cannot_be_read_is_asked_for_again() {
    let ground = Ground::new(6);
    let healthy = std::rc::Rc::new(core::cell::Cell::new(false));
    let (place, errors) = (healthy.clone(), std::rc::Rc::new(core::cell::Cell::new(0)));
    let failed = errors.clone();
    ground.sim.start(ground.node, move |env| async move {
        let store = create(&env).await;
        write(&env, &store, key(0), 1, (0, &pattern(MIB, 1))).await;
        store.sync().await.unwrap();
        env.sleep_until(env.now().saturating_add(Duration::from_secs(10))).await;
        let mut shipment = ship(&store, key(0), Which::Committed);
        let mut offset = 0;
        loop {
            match shipment.next().await {
                Ok(Some(piece)) => {
                    assert_eq!(piece.offset, offset);
                    offset += piece.bytes.len() as u32;
                }
                Ok(None) => break,
                Err(ReadError::Io { .. }) => {
                    failed.set(failed.get() + 1);
                    env.sleep_until(env.now().saturating_add(Duration::from_secs(1))).await;
                }
                Err(why) => panic!("{why}"),
            }
        }
        place.set(offset == MIB);
    });
    ground.sim.run_for(Duration::from_secs(9)).unwrap();
    let disk = DiskFaults { read_error_permille: 1000, ..DiskFaults::default() };
    ground.sim.set_disk(ground.node, disk);
    ground.sim.run_for(Duration::from_secs(5)).unwrap();
    assert!(2 < errors.get() && !healthy.get());
    ground.sim.set_disk(ground.node, DiskFaults::default());
    ground.sim.run_while(HOUR, |sim| sim.is_running(ground.node)).unwrap();
    assert!(healthy.get());
}

#[test]
fn s16_damaged_bytes_are_not_shipped() {
    let ground = Ground::new(7);
    let position = ground.run(|env| async move {
        let store = create(&env).await;
        write(&env, &store, key(0), 1, (0, &pattern(MIB, 1))).await;
        store.close().await.unwrap();
        let block = store.inner.state.borrow().committed(&key(0)).unwrap().block;
        store.inner.block_start(block)
    });
    let damaged = 5 * u64::from(64 * KIB) + 77;
    ground.sim.flip_bit(ground.node, PATH, position + damaged, 1);
    ground.run(|env| async move {
        let (store, _) = open(&env).await;
        let mut shipment = ship(&store, key(0), Which::Committed);
        assert_eq!(shipment.next().await.unwrap().unwrap().offset, 0);
        for _ in 0..2 {
            let why = shipment.next().await.unwrap_err();
            let found = matches!(why, ReadError::Corrupt { block: 5, .. }) && !why.is_failure();
            assert!(found, "{why}");
        }
        drop(shipment);
        store.close().await.unwrap();
        assert_eq!(plans(&store), 0);
    });
}
