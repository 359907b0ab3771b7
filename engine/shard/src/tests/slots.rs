//! A slot and the targets that follow each other in it (E156).

use engine_store::tables::TableError;
use engine_store::{Outcome, Tag, UpdateError};
use engine_types::{ChannelId, SessionId};

use super::*;
use crate::DecisionError;

const NOT_EMPTY: DecisionError = DecisionError::Table(TableError::NotEmpty { slot: SLOT });

fn tag(seq: u64) -> Tag {
    Tag { session: SessionId::new(5), channel: ChannelId::new(1), seq }
}

fn next_target() -> TargetRecord {
    TargetRecord { target: TargetId::new(12), ..target() }
}

/// A write with a request's tag; not committed.
async fn put(env: &SimEnv, store: &ChunkStore<SimEnv>, index: u32, seq: u64) -> Stored {
    let data = bytes(env, &pattern(4096, 1)).await;
    let change = Change::Write { offset: 0, len: 4096 };
    let asked = Update { tag: Some(tag(seq)), ..update(key(index), 1, 4 * KIB, change) };
    store.update(asked, Payload::new(0, data)).await.unwrap()
}

#[test]
fn e149_a_slot_with_chunks_is_not_emptied() {
    let ground = Ground::new(1);
    ground.run(|env| async move {
        let store = create(&env).await;
        put(&env, &store, 0, 7).await;
        assert_eq!(store.set_target(SLOT, None).await, Err(NOT_EMPTY), "a pending version");
        store.commit(&key(0), ChunkVersion::new(1)).unwrap();
        assert_eq!(store.set_target(SLOT, None).await, Err(NOT_EMPTY), "a chunk");
        // Nothing has changed.
        assert_eq!(store.target(SLOT), Some(target()));
        assert!(store.outcome(SLOT, tag(7)).is_some());
        let handle = store.clone();
        let data = bytes(&env, &pattern(4096, 1)).await;
        let change = Change::Write { offset: 0, len: 4096 };
        let asked = update(key(1), 1, 4 * KIB, change);
        store.erase(&key(0)).await.unwrap();
        let under_way = env.spawn(async move { handle.update(asked, Payload::new(0, data)).await });
        while !store.inner.state.borrow().is_slot_busy(SLOT) {
            engine_runtime::yield_now().await;
        }
        assert_eq!(store.set_target(SLOT, None).await, Err(NOT_EMPTY), "an update under way");
        under_way.await.unwrap();
        store.audit().unwrap();
    });
}

#[test]
fn e149_the_next_target_of_a_slot_inherits_nothing() {
    let ground = Ground::new(2);
    ground.run(|env| async move {
        let store = create(&env).await;
        for index in 0..300 {
            put(&env, &store, index, 1 + u64::from(index)).await;
            if index != 299 {
                store.commit(&key(index), ChunkVersion::new(1)).unwrap();
            }
        }
        store.drop_target(SLOT).await.unwrap();
        assert_eq!(store.target(SLOT), None);
        assert!(store.list(SLOT, None, 1).is_empty());
        assert_eq!(store.pendings(), []);
        // What another replica ships late is not kept: the request would be answered, not done.
        let outcome = Outcome { seq: 400, key: key(0), version: ChunkVersion::new(9), len: 1 };
        let late = store.put_outcome(SLOT, tag(400), outcome).await;
        assert_eq!(late, Err(UpdateError::NoTarget { slot: SLOT }));
        store.set_target(SLOT, Some(next_target())).await.unwrap();
        let stored = put(&env, &store, 0, 400).await;
        assert!(!stored.repeated, "executed, not answered for the target before");
        store.audit().unwrap();
        store.close().await.unwrap();
    });
    ground.run(|env| async move {
        let (store, opened) = open(&env).await;
        assert_eq!((opened.chunks, opened.pendings.len()), (0, 1));
        assert_eq!(store.target(SLOT), Some(next_target()));
        assert_eq!(store.outcome(SLOT, tag(299)), None);
    });
}

#[test]
fn e149_an_empty_slot_is_emptied_and_its_requests_forgotten() {
    let ground = Ground::new(3);
    ground.run(|env| async move {
        let store = create(&env).await;
        put(&env, &store, 0, 3).await;
        store.commit(&key(0), ChunkVersion::new(1)).unwrap();
        store.erase(&key(0)).await.unwrap();
        store.set_target(SLOT, None).await.unwrap();
        store.set_target(SLOT, Some(next_target())).await.unwrap();
        assert_eq!(store.outcome(SLOT, tag(3)), None);
        assert_eq!(store.set_target(Slot::new(9), None).await, Ok(()), "there was none");
    });
}

/// A removal that was interrupted goes on where it stood.
#[test]
fn a_target_is_dropped_across_a_power_loss() {
    for seed in 0..10 {
        let ground = Ground::new(seed);
        ground.run(|env| async move {
            let store = create(&env).await;
            for index in 0..40 {
                write(&env, &store, key(index), 1, (0, &pattern(9000, 1))).await;
            }
            store.close().await.unwrap();
        });
        ground.sim.start(ground.node, |env| async move {
            let (store, _) = open(&env).await;
            let _ = store.drop_target(SLOT).await;
            env.sleep_until(env.now().saturating_add(HOUR)).await;
        });
        ground.sim.run_for(Duration::from_micros(500 + 300 * seed)).unwrap();
        ground.sim.crash(ground.node);
        ground.run(|env| async move {
            let (store, opened) = open(&env).await;
            assert!(!opened.damaged);
            if let Some(target) = store.target(SLOT) {
                let begun = target.phase == TargetPhase::Dropping;
                assert!(begun || opened.chunks == 40, "{target:?}, {} chunks", opened.chunks);
            }
            store.drop_target(SLOT).await.unwrap();
            assert_eq!((store.space().chunks, store.target(SLOT)), (0, None));
            store.audit().unwrap();
        });
    }
}
