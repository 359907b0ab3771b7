//! What is remembered of sessions, and when it goes (R16).

use core::time::Duration;
use std::rc::Rc;

use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_types::{ChainId, Status, StoreId};
use engine_wire::bodies::storage::{UPDATE_WRITE, UpdateItem};
use mgmt_client::Session;
use mgmt_cluster::session::Client;

use crate::SHIFT;
use crate::ground::{Caller, Ground, NODES};

/// Channels that the smallest table remembers.
const CHANNELS: u32 = 4096;
/// Channels of one session on one target.
const EACH: u32 = 64;

async fn open(caller: &Caller, number: u32) -> Rc<Session<SimEnv>> {
    let client = Client {
        uuid: StoreId::new(100 + u128::from(number)),
        epoch: 1,
        process: number,
        name: "test".to_owned(),
        host: "host".to_owned(),
    };
    let deadline = caller.env.now() + Duration::from_secs(10);
    Session::open(&caller.managers, client, deadline).await.unwrap()
}

/// A byte to a chunk of its own, by channel `channel` of a session.
fn item(session: &Session<SimEnv>, channel: u32) -> UpdateItem {
    UpdateItem {
        inode: session.id().get(),
        index: channel,
        session: session.id().get(),
        channel,
        seq: 1,
        len: 1,
        bytes: 1,
        change: UPDATE_WRITE,
        size_shift: SHIFT,
        ..UpdateItem::default()
    }
}

/// Every channel of some sessions once; how many were refused as busy.
async fn fill(caller: &Caller, chain: ChainId, sessions: &[Rc<Session<SimEnv>>]) -> usize {
    let mut busy = 0;
    for session in sessions {
        let (members, chain_version) = caller.members(chain);
        let target = members[0].get();
        let each = (0..EACH).map(|channel| item(session, channel));
        let items = each.map(|item| UpdateItem { target, chain_version, ..item }).collect();
        for told in caller.updates(items, &[1; EACH as usize]).await {
            let status = Status::from_code(told.status);
            assert!(status == Status::Ok || status == Status::Busy, "{status:?}");
            busy += usize::from(status == Status::Busy);
        }
    }
    busy
}

async fn remembered(caller: &Caller, chain: ChainId) -> Vec<u32> {
    let mut all = Vec::new();
    for member in caller.members(chain).0 {
        all.push(caller.space_at(caller.address(member)).await.remembered);
    }
    all
}

/// E387: a table that is full takes new clients when others have ended; what they repeat is
/// refused, not done again.
#[test]
fn a_full_table_takes_new_sessions_when_others_have_ended() {
    let ground = Ground::with_tables(20, &[Some(CHANNELS); 3]);
    let chain = ground.chain(3);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        let mut sessions = Vec::new();
        for number in 0..CHANNELS / EACH {
            sessions.push(open(&caller, number).await);
        }
        assert_eq!(fill(&caller, chain, &sessions).await, 0);
        assert_eq!(remembered(&caller, chain).await, [CHANNELS; 3]);
        let late = [open(&caller, 1000).await];
        assert_eq!(fill(&caller, chain, &late).await, EACH as usize, "the table is full");
        // The oldest two by one bound, another one in the middle by itself.
        for session in [0, 1, 30] {
            sessions[session].close(caller.env.now() + Duration::from_secs(5)).await.unwrap();
        }
        caller.env.sleep_until(caller.env.now() + Duration::from_secs(10)).await;
        assert_eq!(remembered(&caller, chain).await, [CHANNELS - 3 * EACH; 3]);
        assert_eq!(fill(&caller, chain, &late).await, 0, "there is room again");
        for session in [0, 1, 30] {
            let (members, chain_version) = caller.members(chain);
            let item = item(&sessions[session], 5);
            let item = UpdateItem { target: members[0].get(), chain_version, ..item };
            let told = caller.update(item, &[1]).await;
            assert_eq!(Status::from_code(told.status), Status::Fenced);
        }
        let lives = caller.update_surely(chain, item(&sessions[2], 5), &[1]).await;
        assert_eq!(lives.version, 1, "those that live are remembered");
    });
    // It is dropped durably, on all replicas.
    for node in NODES.into_iter().take(3) {
        ground.sim.crash(node);
    }
    ground.run(Duration::from_secs(3));
    for index in 0..3 {
        ground.node(index);
    }
    ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        assert_eq!(remembered(&caller, chain).await, [CHANNELS - 2 * EACH; 3]);
    });
    assert!(ground.ended().is_empty(), "{:?}", ground.ended());
}

/// A replica whose table is smaller than what its predecessor remembers waits, its link stays, and
/// it catches up when sessions have ended.
#[test]
fn a_resync_waits_for_room_to_remember() {
    let ground = Ground::with_tables(21, &[Some(2 * CHANNELS), Some(2 * CHANNELS), Some(CHANNELS)]);
    let chain = ground.chain(3);
    ground.sim.crash(NODES[2]);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 2).await;
        let mut sessions = Vec::new();
        for number in 0..CHANNELS / EACH + 10 {
            sessions.push(open(&caller, number).await);
        }
        assert_eq!(fill(&caller, chain, &sessions).await, 0);
    });
    ground.node(2);
    // Nobody extends the sessions any more: they end after a minute.
    ground.run(Duration::from_secs(30));
    let back = ground.sim.address(NODES[2], crate::ground::PORT);
    ground.act(move |caller| async move {
        caller.until_serving(chain, 2).await;
        assert_eq!(caller.members(chain).0.len(), 2, "it cannot remember everything");
        assert_eq!(caller.space_at(back).await.remembered, CHANNELS);
        let targets = caller.targets_at(back).await;
        assert_eq!((targets[0].state, targets[0].waits), (2, 1));
        // The others serve, also new clients.
        let session = open(&caller, 1000).await;
        assert_eq!(fill(&caller, chain, &[session]).await, 0);
        caller.until_serving(chain, 3).await;
        assert_eq!(caller.targets_at(back).await[0].waits, 0);
        caller.env.sleep_until(caller.env.now() + Duration::from_secs(20)).await;
        assert_eq!(remembered(&caller, chain).await, [EACH; 3]);
    });
    assert!(ground.ended().is_empty(), "{:?}", ground.ended());
}

/// A node that was away finds sessions revoked by the bound alone, also when the one right below
/// the bound was revoked by itself before.
#[test]
fn a_node_that_was_away_fences_all_below_the_bound() {
    let ground = Ground::with_tables(22, &[Some(CHANNELS); 3]);
    let chain = ground.chain(3);
    ground.in_background(move |caller| async move {
        caller.until_serving(chain, 3).await;
        let mut sessions = Vec::new();
        for number in 0..4 {
            sessions.push(open(&caller, number).await);
        }
        caller.update_surely(chain, item(&sessions[0], 0), &[1]).await;
        assert_eq!(fill(&caller, chain, &sessions).await, 0);
        let soon = || caller.env.now() + Duration::from_secs(5);
        sessions[2].close(soon()).await.unwrap();
        caller.until_serving(chain, 2).await;
        for first in &sessions[..2] {
            first.close(soon()).await.unwrap();
        }
        caller.until_serving(chain, 3).await;
        caller.env.sleep_until(caller.env.now() + Duration::from_secs(20)).await;
        assert_eq!(remembered(&caller, chain).await, [EACH; 3]);
        sessions[3].close(soon()).await.unwrap();
    });
    ground.run(Duration::from_secs(5));
    ground.sim.crash(NODES[1]);
    ground.run(Duration::from_secs(5));
    ground.node(1);
    ground.run(Duration::from_secs(60));
    ground.act(move |caller| async move {
        caller.until_serving(chain, 3).await;
        assert_eq!(remembered(&caller, chain).await, [0; 3]);
    });
    assert!(ground.ended().is_empty(), "{:?}", ground.ended());
}
