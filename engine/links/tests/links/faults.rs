//! Peers that die, freeze or cannot be reached.

use std::collections::BTreeMap;
use std::time::Duration;

use engine_types::NodeId;

use crate::ground::{Ground, shard, worlds};

const SOON: Duration = Duration::from_secs(30);
/// Within this a side finds that the other one does not hold the link up any more: two pauses
/// between probes, the time of one, and some slack.
const NOTICED: Duration = Duration::from_millis(3_100);

#[test]
fn both_sides_open_at_once_and_agree() {
    for seed in 0..60 {
        let ground = Ground::new(seed, 3);
        ground.until_whole();
        ground.run(Duration::from_secs(3));
        assert!(ground.is_whole());
        for (a, b) in [(0, 1), (1, 0), (0, 2), (2, 1), (1, 2), (2, 0)] {
            assert!(ground.shard(a).say(shard(b)), "{seed}");
        }
        ground.until(SOON, "all there", |ground| ground.log.arrived.get() == 6);
        assert_eq!(ground.log.ups.get(), 9 + ground.log.downs.get());
    }
}

#[test]
fn a_side_that_restarts_gets_a_new_link() {
    worlds(|seed| {
        let ground = Ground::new(seed, 2);
        ground.until_whole();
        for round in 0..4 {
            for _ in 0..50 {
                ground.shard(0).say(shard(1));
                ground.shard(1).say(shard(0));
            }
            ground.run(Duration::from_micros(200 * round));
            ground.stop(1, round % 2 == 0);
            ground.run(Duration::from_millis(300 * round));
            ground.start(1);
            ground.run(Duration::from_millis(5));
            ground.until_whole();
            // Also the side that stayed has noticed: what it says arrives from its beginning.
            let before = ground.log.arrived.get();
            ground.until(SOON, "there", |ground| {
                ground.shard(0).say(shard(1));
                before < ground.log.arrived.get()
            });
        }
    });
}

#[test]
fn a_frozen_side_does_not_keep_the_link_up() {
    worlds(|seed| {
        let ground = Ground::new(seed, 2);
        ground.until_whole();
        ground.sim.freeze(NodeId::new(1), Duration::from_secs(8));
        if seed % 2 == 0 {
            assert!(ground.shard(0).say(shard(1)));
        }
        ground.run(NOTICED);
        assert!(!ground.shard(0).is_up(shard(1)), "{seed}");
        ground.run(Duration::from_secs(6));
        ground.until_whole();
        assert!(ground.shard(1).say(shard(0)));
        let before = ground.log.arrived.get();
        ground.until(SOON, "there", |ground| before < ground.log.arrived.get());
    });
}

#[test]
fn a_partition_takes_both_sides_down_and_heals() {
    worlds(|seed| {
        let ground = Ground::new(seed, 2);
        ground.until_whole();
        let (one, two) = (NodeId::new(0), NodeId::new(1));
        match seed % 3 {
            0 => ground.sim.partition(&[one], &[two]),
            1 => ground.sim.cut(one, two),
            _ => ground.sim.cut(two, one),
        }
        ground.run(NOTICED);
        assert!(!ground.shard(0).is_up(shard(1)), "{seed}");
        assert!(!ground.shard(1).is_up(shard(0)), "{seed}");
        ground.sim.heal_all();
        ground.until_whole();
    });
}

#[test]
fn a_cut_link_goes_down_on_both_sides_and_is_opened_again() {
    worlds(|seed| {
        let ground = Ground::new(seed, 2);
        ground.until_whole();
        ground.run(Duration::from_secs(2)); // a link that lasted
        for (round, side) in [0, 1, 1, 0].into_iter().enumerate() {
            for _ in 0..20 {
                ground.shard(0).say(shard(1));
                ground.shard(1).say(shard(0));
            }
            ground.run(Duration::from_micros(50 * seed));
            let downs = ground.log.downs.get();
            ground.shard(side).links().cut(shard(1 - side));
            assert!(!ground.shard(side).is_up(shard(1 - side)));
            ground.until(SOON, "noticed", |ground| downs + 2 <= ground.log.downs.get());
            ground.until_whole();
            let lost = ground.log.ups.get() - ground.log.downs.get();
            assert_eq!(lost, 4, "round {round}: two sides are up, and two links to oneself");
        }
    });
}

#[test]
fn who_is_not_wanted_gets_no_link() {
    worlds(|seed| {
        let ground = Ground::new(seed, 2);
        ground.until_whole();
        let address = ground.sim.address(NodeId::new(1), crate::ground::PORT);
        ground.shard(0).links().want(BTreeMap::new());
        ground.until(SOON, "down", |ground| ground.log.downs.get() == 3);
        ground.run(Duration::from_secs(5));
        assert_eq!(ground.log.ups.get(), 4, "the other side tries in vain");
        ground.shard(0).links().want(BTreeMap::from([(shard(1), address)]));
        ground.until_whole();
        // A peer that moves gets a new link, and one that stays keeps it.
        ground.run(Duration::from_secs(2));
        let ups = ground.log.ups.get();
        ground.shard(0).links().want(BTreeMap::from([(shard(1), address)]));
        ground.run(Duration::from_secs(1));
        assert_eq!(ground.log.ups.get(), ups);
    });
}

#[test]
fn a_closed_side_says_nothing_more_and_the_other_notices() {
    worlds(|seed| {
        let ground = Ground::new(seed, 2);
        ground.until_whole();
        ground.shard(0).links().close();
        assert!(!ground.shard(0).say(shard(1)));
        ground.run(NOTICED);
        assert!(!ground.shard(1).is_up(shard(0)), "{seed}");
        assert_eq!(ground.log.downs.get(), 1, "who closes is not told");
    });
}
