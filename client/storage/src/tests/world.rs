//! Worlds in which everything goes wrong at random: what was acknowledged stays, nothing happens
//! twice, and nothing that was given up comes after what was done later.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use engine_runtime::sim::SimEnv;
use engine_runtime::{Env, all};
use engine_types::{NodeId, Rng, Status};

use crate::testing::{Act, Asked, Ground, at, buffer, chain, chunk, ms};
use crate::{Storage, StorageConfig};

/// What replicas say at random.
const SAID: [Status; 8] = [
    Status::Busy,
    Status::NotLeased,
    Status::Internal,
    Status::StaleChain,
    Status::DeadlineExceeded,
    Status::UnknownResult,
    Status::NoSpace,
    Status::Unreachable,
];

fn misfortune(mut rng: Rng) -> impl FnMut(&Asked) -> Act + 'static {
    move |_| match rng.below(20) {
        0 => Act::Say(*rng.pick(&SAID).unwrap()),
        1 => Act::Refuse(*rng.pick(&SAID).unwrap()),
        2 => Act::ServeSilently,
        3 => Act::Silence,
        4 => Act::Later(ms(rng.below(1500)), Box::new(Act::Serve)),
        5 => Act::Later(ms(rng.below(1500)), Box::new(Act::ServeSilently)),
        6 => Act::Stale(2),
        _ => Act::Serve,
    }
}

/// Writes and reads one chunk; `possible` is what may stand there.
async fn user(env: SimEnv, storage: Storage<SimEnv>, index: u32, mut rng: Rng) -> (u32, u32) {
    let mut possible = BTreeSet::from([vec![]]);
    let (mut done, mut unknown) = (0, 0);
    for number in 0..40_u32 {
        let storage = storage.by(env.now() + ms(400));
        if rng.chance(500) {
            let value = [index.to_le_bytes(), number.to_le_bytes()].concat();
            match storage.write(at(index), 0, vec![buffer(&env, &value)]).await {
                Ok(_) => {
                    possible = BTreeSet::from([value]);
                    done += 1;
                }
                Err(error) if error.may_have_happened() => {
                    possible.insert(value);
                    unknown += 1;
                }
                Err(_) => {}
            }
        } else if let Ok(read) = storage.read(chain(1), chunk(index), 0, 100).await {
            let found = read.bytes();
            assert!(possible.contains(found), "E373: {found:?} is none of {possible:?}");
        }
        env.sleep_until(env.now() + ms(rng.below(50))).await;
    }
    (done, unknown)
}

fn world(seed: u64) -> (u32, u32) {
    let ground = Ground::new(seed);
    let mut rng = Rng::new(seed);
    ground.fake.script(misfortune(rng.fork("misfortune")));
    let config = StorageConfig {
        read_patience: ms(60),
        update_patience: ms(90),
        avoid_min: ms(50),
        avoid_max: ms(400),
        channels: 0..5,
        ..Ground::config()
    };
    let users = rng.fork("users");
    let result = ground.begin(config, move |env, storage| async move {
        let user =
            |index| user(env.clone(), storage.clone(), index, users.fork(&index.to_string()));
        let ended = all((0..6).map(user)).await;
        ended.iter().fold((0, 0), |(done, unknown), user| (done + user.0, unknown + user.1))
    });
    while result.borrow().is_none() {
        ground.sim.run_for(ms(rng.below(400))).unwrap();
        let node = u32::try_from(rng.below(3)).unwrap();
        match rng.below(6) {
            0 if ground.sim.is_running(NodeId::new(node)) => ground.sim.kill(NodeId::new(node)),
            1 => ground.sim.freeze(NodeId::new(node), ms(rng.below(500))),
            2 => {
                let mut members = [10, 11, 12];
                rng.shuffle(&mut members);
                let count = 1 + usize::try_from(rng.below(3)).unwrap();
                ground.routing.members(1, &members[..count]);
            }
            _ => {}
        }
        for node in (0..3).filter(|&node| !ground.sim.is_running(NodeId::new(node))) {
            if rng.chance(500) {
                ground.start(node);
            }
        }
        assert!(ground.sim.now() < engine_types::Instant::ZERO + Duration::from_secs(600));
    }
    let mut newest = BTreeMap::new();
    for item in ground.fake.executed.borrow().iter() {
        let former = newest.insert(item.channel, item.seq);
        assert!(former.is_none_or(|former| former < item.seq), "E371: numbers ascend");
    }
    let mut sent = BTreeMap::new();
    for mut item in ground.fake.updates() {
        (item.target, item.chain_version) = (0, 0);
        let former = sent.insert((item.channel, item.seq), item);
        assert!(former.is_none_or(|former| former == item), "E372: a tag is one request");
    }
    result.take().unwrap()
}

#[test]
fn nothing_is_lost_repeated_or_late() {
    let (mut done, mut unknown) = (0, 0);
    for seed in 0..40 {
        let ended = world(seed);
        (done, unknown) = (done + ended.0, unknown + ended.1);
    }
    assert!(1000 < done && 100 < unknown, "{done} done, {unknown} unknown");
}
