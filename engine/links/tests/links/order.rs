//! What is sent arrives: in order, whole, at once.

use std::time::Duration;

use engine_craq::{Cursor, Digest, Walk};
use engine_links::{Item, OutcomeSaid};
use engine_runtime::{Env, all};
use engine_store::Tag;
use engine_types::{ChainVersion, ChannelId, ChunkId, ChunkVersion, InodeId, SessionId};

use crate::ground::{Ground, peer, shard, stream_len, worlds};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn messages_arrive_in_order_under_delays_and_losses() {
    worlds(|seed| {
        let ground = Ground::with(seed, 2, |sim| {
            sim.link.jitter = Duration::from_millis(2);
            sim.link.reorder_permille = 50;
            sim.link.loss_permille = 5;
        });
        ground.until_whole();
        let (one, two) = (ground.shard(0), ground.shard(1));
        for _ in 0..200 {
            for _ in 0..one.env.random() % 20 {
                assert!(one.say(shard(1)));
            }
            assert!(two.say(shard(0)));
            ground.run(Duration::from_micros(seed * 40));
        }
        // A long run in one turn, more than one request takes.
        for _ in 0..2000 {
            assert!(one.say(shard(1)));
        }
        let before = ground.log.arrived.get();
        ground.until(SOON, "all there", |ground| before + 2000 <= ground.log.arrived.get());
        assert_eq!((ground.log.ups.get(), ground.log.downs.get()), (4, 0), "{seed}");
    });
}

#[test]
fn payloads_of_any_size_arrive_whole_and_interleaved() {
    worlds(|seed| {
        let ground = Ground::new(seed, 2);
        ground.until_whole();
        for (from, to) in [(0, 1), (1, 0), (0, 0)] {
            let one = ground.shard(from);
            drop(one.env.clone().spawn(async move {
                let to = shard(to);
                while !one.is_up(to) {
                    one.env.sleep_until(one.env.now() + Duration::from_millis(1)).await;
                }
                let streams: Vec<_> = (0..24).map(|_| one.begin(to).unwrap()).collect();
                let whole = streams.iter().map(|stream| {
                    let give_up = stream.0 % 5 == 0 && 1 < stream_len(stream.0);
                    one.stream(to, *stream, give_up)
                });
                assert!(all(whole).await.into_iter().all(|whole| whole));
            }));
        }
        ground.until(SOON, "all there", |ground| {
            ground.log.complete.get() + ground.log.given_up.get() == 72
        });
        assert_eq!(ground.log.downs.get(), 0);
    });
}

#[test]
fn a_single_message_takes_one_way_through_the_network() {
    worlds(|seed| {
        let ground = Ground::with(seed, 2, |sim| {
            sim.link.jitter = Duration::ZERO;
            sim.net.partial_permille = 0;
        });
        ground.until_whole();
        ground.run(Duration::from_millis(100));
        let one = ground.shard(0);
        let (sent, before) = (ground.sim.now(), ground.log.arrived.get());
        assert!(one.say(shard(1)));
        ground.until(SOON, "there", |ground| before < ground.log.arrived.get());
        let took = ground.sim.now().saturating_since(sent);
        // 30 us of network, and some turns of two executors.
        assert!(took < Duration::from_micros(100), "{took:?}");
    });
}

/// Each brings its bytes in pieces, and none lets go of them before it is whole.
#[test]
fn many_streams_that_run_beside_each_other_all_end() {
    for seed in 0..3 {
        let ground = Ground::new(seed, 2);
        ground.until_whole();
        let one = ground.shard(0);
        one.pause.set(Duration::from_millis(5));
        drop(one.env.clone().spawn(async move {
            let to = shard(1);
            let streams: Vec<_> = (0..320).filter_map(|_| one.begin(to)).collect();
            let large = streams.into_iter().filter(|stream| stream_len(stream.0) == 1 << 20);
            all(large.map(|stream| one.stream(to, stream, false))).await;
        }));
        ground.until(SOON, "all there", |ground| ground.log.complete.get() == 40);
        assert_eq!(ground.log.downs.get(), 0);
    }
}

#[test]
fn lists_arrive_as_they_are_between_messages() {
    worlds(|seed| {
        let ground = Ground::new(seed, 2);
        ground.until_whole();
        let one = ground.shard(0);
        let (from, to, chain, walk) =
            (peer(shard(0)), peer(shard(1)), ChainVersion::new(1), Walk(2));
        let chunk = |n: u64| ChunkId { inode: InodeId::new(n), index: n as u32 };
        let version = ChunkVersion::new(9);
        let mut sent = Vec::new();
        for count in [0u64, 1, 1024, 700, 1024] {
            let (after, upto) = (Cursor::At(chunk(count)), Some(chunk(count + 1)));
            let entries = (0..count).map(|n| (chunk(n), version, Digest(n * n))).collect();
            sent.push(Item::Listed { from, to, chain, walk, after, upto, entries });
            let said = |n| OutcomeSaid { seq: n, chunk: chunk(n), version, len: 7 };
            let tag =
                |n| Tag { session: SessionId::new(n), channel: ChannelId::new(3), seq: n + 1 };
            let entries = (0..count).map(|n| (tag(n), said(n))).collect();
            sent.push(Item::Outcomes { from, to, chain, walk, last: count == 0, entries });
            sent.push(Item::ListAsk { from, to, chain, walk, after });
        }
        for item in sent.clone() {
            one.say(shard(1));
            one.links().send(shard(1), item, Vec::new());
        }
        let all = sent.len();
        ground.until(SOON, "all there", |ground| ground.log.lists.borrow().len() == all);
        assert!(*ground.log.lists.borrow() == sent, "{seed}");
        assert_eq!((ground.log.arrived.get(), ground.log.downs.get()), (all as u64, 0));
    });
}
