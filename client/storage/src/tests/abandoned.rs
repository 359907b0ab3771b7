//! Updates that are given up while they may still happen (E373).

use core::cell::Cell;
use core::time::Duration;

use engine_runtime::{Env, until};
use engine_types::{NodeId, Status};

use crate::testing::{Act, Asked, Ground, What, at, buffer, chain, chunk, ms};
use crate::{Op, StorageConfig};

/// The first update of a chunk waits so long at the head.
fn held_up(pause: Duration) -> impl FnMut(&Asked) -> Act + 'static {
    let seen = Cell::new(false);
    move |asked| match asked.what {
        What::Update(_) if !seen.replace(true) => Act::Later(pause, Box::new(Act::Serve)),
        _ => Act::Serve,
    }
}

#[test]
fn what_was_given_up_never_comes_after_what_was_done_later() {
    for dropped in [false, true] {
        let ground = Ground::new(70);
        ground.fake.script(held_up(ms(2000)));
        ground.run(Ground::config(), move |env, storage| async move {
            let by = env.now() + ms(500);
            let data = vec![buffer(&env, b"old")];
            if dropped {
                let write = storage.write(at(0), 0, data);
                until(&env, by, write).await.unwrap_err();
            } else {
                let error = storage.by(by).write(at(0), 0, data).await.unwrap_err();
                assert!(error.may_have_happened(), "{error}");
            }
            storage.write(at(0), 0, vec![buffer(&env, b"new")]).await.unwrap();
            env.sleep_until(env.now() + ms(5000)).await;
            let read = storage.read(chain(1), chunk(0), 0, 9).await.unwrap();
            assert_eq!(read.bytes(), b"new");
            let metrics = storage.metrics();
            assert_eq!((metrics.abandoned, metrics.fenced), (1, 1));
            assert_eq!(metrics.ended(Op::Fence, Status::Ok), 1);
        });
        let (sent, fences) = (ground.fake.updates(), ground.fake.fences());
        assert_eq!((sent.len(), fences.len()), (2, 1));
        assert_eq!((fences[0].channel, fences[0].seq), (sent[0].channel, sent[0].seq + 1));
    }
}

#[test]
fn the_chunk_waits_and_others_do_not() {
    let ground = Ground::new(71);
    ground.fake.script(|asked| match asked.what {
        What::Update(item) if item.inode == u64::MAX || item.index == 0 => Act::Say(Status::Busy),
        _ => Act::Serve,
    });
    let hold = Cell::new(true);
    let fake = ground.fake.clone();
    ground.run(Ground::config(), move |env, storage| async move {
        assert!(hold.get());
        fake.script(|asked| match asked.what {
            What::Update(item) if item.index == 0 => Act::Silence,
            What::Update(item) if item.inode == u64::MAX => Act::Say(Status::Busy),
            _ => Act::Serve,
        });
        let short = |millis| storage.by(env.now() + ms(millis));
        let error = short(300).remove(at(0)).await.unwrap_err();
        assert!(error.may_have_happened());
        short(300).remove(at(1)).await.unwrap();
        let error = short(300).remove(at(0)).await.unwrap_err();
        assert!(!error.may_have_happened(), "nothing of it was sent: {error}");
        assert!(error.to_string().contains("abandoned update of the chunk"), "{error}");
        fake.script(|_| Act::Serve);
        short(1000).remove(at(0)).await.unwrap();
    });
}

#[test]
fn channels_come_back_when_the_chain_does() {
    let ground = Ground::new(72);
    let config = StorageConfig { channels: 0..4, ..Ground::config() };
    let result = ground.begin(config, |env, storage| async move {
        env.sleep_until(env.now() + ms(100)).await;
        let short = |millis| storage.by(env.now() + ms(millis));
        storage.remove(at(50)).await.unwrap();
        env.sleep_until(env.now() + ms(500)).await; // the head is frozen meanwhile
        for index in 0..4 {
            let error = short(100).remove(at(index)).await.unwrap_err();
            assert!(error.may_have_happened(), "{error}");
        }
        let error = short(100).remove(at(9)).await.unwrap_err();
        assert!(error.to_string().contains("one of the channels of the chain"), "{error}");
        for index in 0..9 {
            storage.remove(at(index)).await.unwrap();
        }
        assert_eq!((storage.metrics().abandoned, storage.metrics().fenced), (4, 4));
    });
    ground.sim.run_for(ms(300)).unwrap();
    ground.sim.freeze(NodeId::new(0), Duration::from_secs(20));
    ground.finish(&result);
    let mut newest = std::collections::BTreeMap::new();
    for item in ground.fake.executed.borrow().iter() {
        let former = newest.insert(item.channel, item.seq);
        assert!(former.is_none_or(|former| former < item.seq), "E371");
    }
}

#[test]
fn closing_ends_everything() {
    let ground = Ground::new(73);
    ground.fake.script(|_| Act::Silence);
    ground.run(Ground::config(), |env, storage| async move {
        let (early, other) = (storage.by(env.now() + ms(50)), storage.clone());
        early.remove(at(0)).await.unwrap_err();
        let waiting = env.spawn(async move { other.remove(at(0)).await.unwrap_err() });
        env.sleep_until(env.now() + ms(10)).await;
        let before = env.now();
        storage.close(env.now() + ms(100)).await;
        let error = waiting.await;
        assert!(error.to_string().contains("is closed"), "{error}");
        assert!(env.now().saturating_since(before) < ms(200));
        let error = storage.read(chain(1), chunk(0), 0, 1).await.unwrap_err();
        assert!(error.to_string().contains("is closed"), "{error}");
    });
}
