use core::time::Duration;
use std::collections::BTreeSet;

use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use meta_kv::engine::memory::MemoryEngine;
use meta_kv::{Embedded, Faults, Faulty, OwnKv};

use super::*;

type Store = Faulty<SimEnv, Embedded<SimEnv, MemoryEngine>>;
type TestKv = OwnKv<SimEnv, Store>;

/// Runs `main` on one simulated node with a store that fails as told.
fn with_store<F: Future<Output = ()> + 'static>(
    seed: u64,
    faults: Faults,
    main: impl FnOnce(SimEnv, TestKv) -> F + 'static,
) {
    let sim = Sim::new(SimConfig::new(seed));
    let node = sim.add_node(NodeSpec::new("meta"));
    sim.start(node, move |env| async move {
        let (store, _) = Embedded::start(&env, MemoryEngine::new()).unwrap();
        let kv = OwnKv::new(env.clone(), Faulty::new(env.clone(), store, faults));
        main(env, kv).await;
    });
    sim.run_while(Duration::from_secs(600), |sim| !sim.is_finished(node)).unwrap();
    assert!(sim.is_finished(node), "seed {seed}: it came to no end");
}

/// E440: two processes, one of which starts again and again, through lost and late commits.
#[test]
fn no_id_is_handed_out_twice() {
    for seed in 0..16 {
        let faults = Faults {
            conflict: 100,
            too_old: 50,
            lost_applied: 150,
            lost_dropped: 100,
            lost_late: 100,
            unavailable: 50,
            late_max: Duration::from_secs(2),
            latency_max: Duration::from_millis(3),
        };
        with_store(seed, faults, move |env, kv| async move {
            let steady = Ids::new(&env, &kv);
            let mut seen = BTreeSet::new();
            for _start in 0..6 {
                let fresh = Ids::new(&env, &kv);
                for turn in 0..2_000 {
                    let id = if turn % 3 == 0 { &steady } else { &fresh }.take().await.unwrap();
                    assert!(1024 <= id.get() && id.get() < 1 << 56, "E441: {id}");
                    assert!(seen.insert(id), "E440: {id} twice, seed {seed}");
                }
            }
        });
    }
}

#[test]
fn ids_are_reserved_ahead_of_need() {
    with_store(1, Faults::default(), |env, kv| async move {
        let ids = Ids::new(&env, &kv);
        ids.take().await.unwrap();
        for _ in 0..100_000 {
            ids.take().await.unwrap();
            env.sleep_until(env.now() + Duration::from_micros(20)).await;
            assert_ne!(ids.left(), 0, "the reserve ran out");
        }
    });
}

#[test]
fn counters_at_their_end_are_an_error() {
    with_store(1, Faults::default(), |env, kv| async move {
        let fill = kv.begin(Default::default());
        for shard in 0..INODE_SHARDS {
            // One batch is left in each.
            fill.set(&key::inode_ids(shard), &((1u64 << 41) - 1).to_le_bytes()).unwrap();
        }
        fill.commit().await.unwrap();
        let ids = Ids::new(&env, &kv);
        for _ in 0..1024 {
            let id = ids.take().await.unwrap();
            assert!(id.get() < 1 << 56, "E441: {id}");
        }
        let mut count = 1024;
        let end = loop {
            match ids.take().await {
                Ok(_) => count += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(count, 32 << 10, "one batch of each counter");
        assert!(matches!(end, IdsError::Exhausted { next, .. } if next == 1 << 41), "{end}");
    });
}

#[test]
fn a_counter_that_is_no_number_is_an_error() {
    with_store(1, Faults::default(), |env, kv| async move {
        let spoil = kv.begin(Default::default());
        for shard in 0..INODE_SHARDS {
            spoil.set(&key::inode_ids(shard), b"abc").unwrap();
        }
        spoil.commit().await.unwrap();
        let error = Ids::new(&env, &kv).take().await.unwrap_err();
        assert!(matches!(error, IdsError::Corrupt { found: 3, .. }), "{error}");
    });
}
