//! Random traffic under random faults; the checker of `ground` looks at all that arrives.

use std::time::Duration;

use engine_runtime::Env;
use engine_types::NodeId;

use crate::ground::{Ground, shard};

const NODES: u32 = 3;

fn traffic(ground: &Ground, random: &mut impl FnMut(u64) -> u64) {
    let shards: Vec<_> = ground.shards.borrow().values().cloned().collect();
    for one in shards {
        let to = shard(random(u64::from(NODES)) as u32);
        for _ in 0..random(30) {
            one.say(to);
        }
        if random(4) == 0
            && let Some(stream) = one.begin(to)
        {
            let give_up = random(6) == 0;
            drop(one.env.clone().spawn(async move { one.stream(to, stream, give_up).await }));
        }
    }
}

fn fault(ground: &Ground, random: &mut impl FnMut(u64) -> u64) {
    let node = random(u64::from(NODES)) as u32;
    let other = random(u64::from(NODES)) as u32;
    let (this, that) = (NodeId::new(node), NodeId::new(other));
    match random(14) {
        0 | 1 if ground.shards.borrow().contains_key(&node) => ground.stop(node, random(2) == 0),
        2 | 3 if !ground.sim.is_running(this) => ground.start(node),
        4 => ground.sim.freeze(this, Duration::from_millis(random(4000))),
        5 if node != other => ground.sim.partition(&[this], &[that]),
        6 if node != other => ground.sim.cut(this, that),
        7..=9 => ground.sim.heal_all(),
        10 => {
            if let Some(one) = ground.shards.borrow().get(&node) {
                one.links().cut(shard(other));
            }
        }
        _ => {}
    }
}

#[test]
fn whatever_happens_a_link_delivers_a_prefix_of_what_was_said() {
    let mut downs = 0;
    for seed in 0..24 {
        let ground = Ground::with(seed, NODES, |sim| {
            sim.link.loss_permille = (seed % 4) as u32 * 5;
            sim.link.reorder_permille = (seed % 3) as u32 * 20;
            sim.link.jitter = Duration::from_micros(seed % 5 * 200);
        });
        let mut rng = ground.sim.random("faults");
        let mut random = |below: u64| rng.next_u64() % below.max(1);
        for _ in 0..120 {
            traffic(&ground, &mut random);
            if random(3) == 0 {
                fault(&ground, &mut random);
            }
            let pause = Duration::from_micros(random(4) * random(100_000));
            ground.run(pause);
        }
        ground.sim.heal_all();
        for node in 0..NODES {
            ground.sim.wake(NodeId::new(node));
            if !ground.sim.is_running(NodeId::new(node)) {
                ground.start(node);
            }
        }
        ground.run(Duration::from_secs(3));
        ground.until_whole();
        // Everything works afterwards, on all links.
        ground.run(Duration::from_secs(5));
        assert!(ground.is_whole(), "{seed}\n{}", ground.sim.trace_tail());
        for a in 0..NODES {
            for b in 0..NODES {
                let before = ground.log.arrived.get();
                assert!(ground.shard(a).say(shard(b)), "{seed}: {a} to {b}");
                let what = format!("there: seed {seed}, {a} to {b} at {:?}", ground.sim.now());
                ground.until(Duration::from_secs(5), &what, |g| before < g.log.arrived.get());
            }
        }
        downs += ground.log.downs.get();
    }
    assert!(100 < downs, "{downs} links went down in all worlds");
}
