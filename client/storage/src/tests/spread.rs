//! Who is asked, in how many messages, and how much at once.

use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use engine_runtime::sim::SimEnv;
use engine_runtime::{Env, all};
use engine_types::limits::PAYLOAD_BYTES_MAX;
use engine_types::{Rng, Status};

use crate::testing::{Act, Ground, What, at, buffer, chain, chunk, ms};
use crate::{Change, Op, Read, Storage, StorageConfig, Update};

/// `count` tasks that read a byte of the chain again and again, `each` times.
async fn readers(env: &SimEnv, storage: &Storage<SimEnv>, count: u32, each: u32) {
    let task = |_| {
        let storage = storage.clone();
        env.spawn(async move {
            for _ in 0..each {
                storage.read(chain(1), chunk(0), 0, 1).await.unwrap();
            }
        })
    };
    let tasks: Vec<_> = (0..count).map(task).collect();
    all(tasks).await;
}

#[test]
fn reads_are_spread_evenly() {
    for seed in 0..8 {
        for tasks in [1, 4, 32] {
            let ground = Ground::new(seed);
            let mut rng = Rng::new(seed);
            ground.fake.script(move |_| {
                Act::Later(Duration::from_micros(rng.below(300)), Box::new(Act::Serve))
            });
            let reads = ground.run(Ground::config(), move |env, storage| async move {
                readers(&env, &storage, tasks, 960 / tasks).await;
                storage.metrics().reads
            });
            assert_eq!(reads.len(), 3);
            for (target, &count) in &reads {
                assert!((304..=336).contains(&count), "{target} of {reads:?}, {tasks} tasks");
            }
        }
    }
}

#[test]
fn a_slow_replica_gets_less() {
    let ground = Ground::new(60);
    ground.fake.script(|asked| {
        let pause = if asked.node == 1 { ms(20) } else { ms(1) };
        Act::Later(pause, Box::new(Act::Serve))
    });
    let reads = ground.run(Ground::config(), |env, storage| async move {
        readers(&env, &storage, 12, 100).await;
        storage.metrics().reads
    });
    let slow = reads[&engine_types::TargetId::new(11)];
    assert!(slow < 300, "{slow} of 1200: {reads:?}");
}

#[test]
fn a_batch_is_one_message_per_shard_and_limit() {
    let ground = Ground::with(61, 2, 2, 4);
    ground.run(Ground::config(), |env, storage| async move {
        let mut updates = vec![];
        for number in 1..=4 {
            for index in 0..20 {
                let change = Change::Write { offset: 0, parts: vec![buffer(&env, &[7; 5])] };
                let update: Update<SimEnv> = at(index).update(change);
                updates.push(Update { chain: chain(number), ..update });
            }
        }
        let made = storage.update_batch(updates).await;
        assert!(made.iter().all(|made| made.as_ref().unwrap().chunk_len == 5));
        assert_eq!(storage.metrics().messages, 2, "all heads are on two shards of one node");

        let read = |index: u32| Read {
            chain: chain(1 + index % 4),
            chunk: chunk(index / 4 % 20),
            offset: 0,
            len: 9,
        };
        let reads: Vec<Read> = (0..2000).map(read).collect();
        let contents = storage.read_batch(&reads).await;
        assert!(contents.iter().all(|content| content.as_ref().unwrap().bytes() == [7; 5]));
        assert_eq!(storage.metrics().ended(Op::Read, Status::Ok), 2000);
        // 500 for each of four shards, 256 at once.
        assert_eq!(storage.metrics().messages, 2 + 8);

        let large = Read { chain: chain(1), chunk: chunk(0), offset: 0, len: 1 << 20 };
        let contents = storage.read_batch(&[large; 9]).await;
        assert!(contents.iter().all(Result::is_ok));
    });
    let mut items = BTreeMap::<u64, Vec<u32>>::new();
    for asked in ground.fake.log() {
        let bytes = match asked.what {
            What::Read(item) => item.len,
            What::Update(item) => item.bytes,
            What::Query(_) => 0,
        };
        items.entry(asked.message).or_default().push(bytes);
    }
    assert!(items.values().all(|items| items.len() <= 256));
    assert!(items.values().all(|items| items.iter().sum::<u32>() <= PAYLOAD_BYTES_MAX));
}

#[test]
fn one_item_of_a_batch_fails_alone() {
    let ground = Ground::new(62);
    ground.fake.script(|asked| match asked.what {
        What::Update(item) if item.index == 3 => Act::Say(Status::NoSpace),
        What::Update(item) if item.index == 4 => Act::Say(Status::Busy),
        _ => Act::Serve,
    });
    ground.run(Ground::config(), |env, storage| async move {
        let removals = (0..6).map(|index| at(index).update(Change::<SimEnv>::Remove)).collect();
        let made = storage.by(env.now() + ms(200)).update_batch(removals).await;
        for (index, made) in made.iter().enumerate() {
            match index {
                3 => assert_eq!(made.as_ref().unwrap_err().status(), Status::NoSpace),
                4 => assert_eq!(made.as_ref().unwrap_err().status(), Status::DeadlineExceeded),
                _ => assert!(made.is_ok(), "{made:?}"),
            }
        }
    });
    let count = |index| ground.fake.updates().iter().filter(|item| item.index == index).count();
    assert_eq!((count(2), count(3)), (1, 1));
    assert!(2 < count(4));
}

#[test]
fn windows_hold_and_are_fair() {
    let ground = Ground::new(63);
    ground.fake.script(|_| Act::Later(ms(5), Box::new(Act::Serve)));
    let config = StorageConfig { window_requests: 4, ..Ground::config() };
    ground.run(config, |env, storage| async move {
        let write = |index| {
            let (env, storage) = (env.clone(), storage.clone());
            async move { storage.write(at(index), 0, vec![buffer(&env, b"x")]).await.unwrap() }
        };
        all((0..40).map(write)).await;
    });
    assert_eq!(ground.fake.peak.get(), 4, "E374");
    let order: Vec<u32> = ground.fake.updates().iter().map(|item| item.index).collect();
    assert_eq!(order.len(), 40);
    let late = |(place, &index): (usize, &u32)| place.abs_diff(index as usize) < 8;
    assert!(order.iter().enumerate().all(late), "first come, first served: {order:?}");

    let ground = Ground::new(64);
    ground.fake.script(|_| Act::Later(ms(5), Box::new(Act::Serve)));
    let config = StorageConfig { window_bytes: 100_000, ..Ground::config() };
    ground.run(config, |env, storage| async move {
        let data = buffer(&env, &[1; 40_000]);
        let write = |index| storage.write(at(index), 0, vec![data.clone()]);
        all((0..10).map(write)).await.into_iter().for_each(|made| assert!(made.is_ok()));
    });
    assert_eq!(ground.fake.peak.get(), 2, "E374: twice 40,000 bytes of 100,000");
}

#[test]
fn no_more_updates_of_a_chain_than_channels() {
    let ground = Ground::new(65);
    ground.fake.script(|_| Act::Later(ms(3), Box::new(Act::Serve)));
    ground.run(Ground::config(), |_, storage| async move {
        let storage = Rc::new(storage);
        let removals = |from| (from..from + 150).map(|index| at(index).update(Change::Remove));
        let batches = [0, 1000, 2000].map(|from| storage.update_batch(removals(from).collect()));
        for made in all(batches).await {
            assert!(made.iter().all(Result::is_ok));
        }
    });
    let executed = ground.fake.executed.borrow();
    assert_eq!(executed.len(), 450);
    let mut newest = BTreeMap::new();
    for item in executed.iter() {
        assert!(item.channel < 64);
        let former = newest.insert(item.channel, item.seq);
        assert!(former.is_none_or(|former| former < item.seq), "E371: numbers ascend");
    }
}

#[test]
fn one_that_does_not_end_holds_up_no_other() {
    let ground = Ground::new(66);
    ground.fake.script(|asked| match asked.what {
        What::Update(item) if item.index == 0 => Act::Say(Status::Busy),
        _ => Act::Serve,
    });
    let config = StorageConfig { channels: 0..8, ..Ground::config() };
    let fake = ground.fake.clone();
    let result = ground.begin(config, |env, storage| async move {
        let removals = (0..100).map(|index| at(index).update(Change::Remove)).collect();
        let made = storage.by(env.now() + ms(2000)).update_batch(removals).await;
        assert!(made[0].is_err() && made[1..].iter().all(Result::is_ok));
    });
    ground.sim.run_for(ms(300)).unwrap();
    assert_eq!(fake.executed.borrow().len(), 99);
    ground.finish(&result);
}

#[test]
fn batches_do_not_wait_in_a_circle() {
    let ground = Ground::with(67, 1, 1, 2);
    ground.fake.script(|_| Act::Later(ms(2), Box::new(Act::Serve)));
    let config = StorageConfig { channels: 0..1, ..Ground::config() };
    ground.run(config, |_, storage| async move {
        let batch = |from: u32| {
            let update = move |index: u32| {
                let chain = chain(1 + (from + index) % 2);
                Update { chain, ..at(100 * from + index).update(Change::<SimEnv>::Remove) }
            };
            storage.update_batch((0..20).map(update).collect())
        };
        for made in all((0..6).map(batch)).await {
            assert!(made.iter().all(Result::is_ok), "{made:?}");
        }
    });
    assert_eq!(ground.fake.executed.borrow().len(), 120);
}
