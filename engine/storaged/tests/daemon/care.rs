//! Work behind clients' backs: passes over stores, and replicas that catch up slowly.

use core::time::Duration;

use engine_runtime::Env;
use engine_storaged::Settings;
use engine_types::{NodeRole, Status};
use engine_wire::bodies::storage::UpdateItem;

use crate::ground::{Ground, NODES};
use crate::{is_whole, rot, write};

const MIB: usize = 1 << 20;

#[test]
fn an_operator_has_a_store_verified_that_is_not_scrubbed_by_itself() {
    let settings = Settings { scrub_bytes_per_second: 0, ..Settings::default() };
    let ground = Ground::with_settings(40, 3, settings);
    let chain = ground.chain(3);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        caller.update_surely(chain, write(1, 65_536), &[0xa5; 65_536]).await;
    });
    let damaged = rot(&ground, 2, 0xa5);
    assert_ne!(damaged, 0);
    ground.run(Duration::from_secs(150));
    assert!(!is_whole(&ground, 2, 0xa5), "nobody looks at it");
    ground.act(move |caller| async move {
        let address = caller.machine(NODES[2]);
        let refused = caller.scrub_at(address, NodeRole::Client, true).await.unwrap_err();
        assert_eq!(refused, Status::InvalidArgument, "that is the operator's business");
        let before = caller.scrub_at(address, NodeRole::Client, false).await.unwrap();
        assert_eq!((before.running, before.passes, before.chunks, before.repaired), (0, 0, 0, 0));
        let pass = async || {
            let begun = caller.scrub_at(address, NodeRole::Operator, true).await.unwrap();
            assert_eq!(begun.running, 1);
            loop {
                caller.env.sleep_until(caller.env.now() + Duration::from_millis(100)).await;
                let now = caller.scrub_at(address, NodeRole::Operator, false).await.unwrap();
                if now.running == 0 {
                    return now;
                }
            }
        };
        let after = pass().await;
        let blocks = damaged as u64;
        assert_eq!((after.passes, after.chunks, after.bytes), (1, 1, 65_536));
        assert!(1 <= after.damaged && after.damaged <= blocks, "{after:?}");
        assert!(after.damaged <= after.repaired && after.failed == 0, "{after:?}");
        let again = pass().await;
        assert_eq!((again.passes, again.chunks, again.damaged), (2, 2, after.damaged), "repaired");
    });
}

/// S1: a version that is pinned keeps every block from being used again that is dropped later. What
/// waits for its turn at a small rate must not be pinned meanwhile.
#[test]
fn a_slow_resync_keeps_no_blocks_of_others() {
    let settings = Settings { resync_bytes_per_second: 1 << 20, ..Settings::default() };
    let ground = Ground::with_settings(41, 3, settings);
    let chain = ground.chain(3);
    let many = 12;
    ground.sim.crash(NODES[2]);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 2).await;
        for index in 0..many {
            let item = UpdateItem { index, ..write(u64::from(index) + 1, MIB) };
            caller.update_surely(chain, item, &vec![7; MIB]).await;
        }
    });
    ground.node(2);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 2).await;
        let pause = async |time| caller.env.sleep_until(caller.env.now() + time).await;
        let received = async || {
            let all = caller.targets_at(caller.machine(NODES[2])).await;
            all.first().map_or(0, |target| target.received_chunks)
        };
        while received().await == 0 {
            pause(Duration::from_millis(20)).await;
        }
        let free = async || {
            let first = caller.space_at(caller.machine(NODES[0])).await.free;
            let second = caller.space_at(caller.machine(NODES[1])).await.free;
            first.min(second)
        };
        let before = free().await;
        for round in 0..30 {
            let item = UpdateItem { index: 100, ..write(u64::from(many) + 1 + round, MIB) };
            caller.update_surely(chain, item, &vec![9; MIB]).await;
        }
        pause(Duration::from_millis(300)).await;
        let lost = before.saturating_sub(free().await) / MIB as u64;
        assert_eq!(caller.members(chain).0.len(), 2, "it still catches up");
        assert!(lost <= 4, "{lost} MiB of 30 that were overwritten are not free again");
        caller.until_serving(chain, 3).await;
        assert!(u64::from(many) <= received().await);
    });
    assert!(ground.ended().is_empty(), "{:?}", ground.ended());
}

/// W2: a write to a chunk that is being shipped waits at the replica, with its room, until the
/// chunk is there. Such writes must leave room for the shipments.
#[test]
fn writes_to_chunks_that_catch_up_leave_room_for_them() {
    let settings = Settings { resync_bytes_per_second: 1 << 20, ..Settings::default() };
    let ground = Ground::with_settings(42, 2, settings);
    let chain = ground.chain(2);
    let many = 8;
    ground.sim.crash(NODES[1]);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 1).await;
        for index in 0..many {
            let item = UpdateItem { index, ..write(u64::from(index) + 1, MIB) };
            caller.update_surely(chain, item, &vec![7; MIB]).await;
        }
    });
    ground.node(1);
    ground.act(move |caller| async move {
        let back = caller.machine(NODES[1]);
        let count = async || caller.targets_at(back).await.first().map_or(0, |t| t.received_chunks);
        while count().await == 0 {
            caller.env.sleep_until(caller.env.now() + Duration::from_millis(20)).await;
        }
        let writes = (0..many).map(|index| {
            let caller = caller.clone();
            caller.env.clone().spawn(async move {
                let channel = index + 1;
                let item = UpdateItem { index, channel, ..write(u64::from(index) + 1, MIB) };
                caller.update_surely(chain, item, &vec![9; MIB]).await
            })
        });
        for write in writes.collect::<Vec<_>>() {
            assert_eq!(write.await.version, 2);
        }
        caller.until_serving(chain, 2).await;
    });
    assert!(ground.ended().is_empty(), "{:?}", ground.ended());
}
