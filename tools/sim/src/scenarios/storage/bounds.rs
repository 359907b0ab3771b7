//! T101: what a process holds stays below a bound that follows from what it is configured to do.
//!
//! The pool of a process bears what it receives, sends, and has asked room for, so it shows every
//! queue that holds bytes; its peak is exact. Tasks are requests under way, connections, and
//! whatever else waits for something; they are counted every 20 ms, as supervisors look.
//!
//! Each bound is the sum of what the parts of a process may hold by limits of their own. It is some
//! times what worlds show, and a small part of what a queue without a limit reaches.

use engine_types::limits::{INFLIGHT_REQUESTS_MAX, PAYLOAD_BYTES_MAX};

use super::setting::Setting;
use super::{MANAGERS, T101};
use crate::check::{Verdict, fail};
use crate::world::{Usage, World};

const MIB: usize = 1 << 20;
/// One connection: a buffer that is read into and grows, one that is written from, the bulk that
/// may wait beside it with a segment more, and the scrap for answers that nobody wants (E59).
const CONNECTION_BYTES: usize = 2 * MIB;
/// Tasks of one connection beside those of its requests: reader, writer, keeper, goodbye, making it
/// on either side, and two that wait for it.
const CONNECTION_TASKS: usize = 8;
/// Connections of one peer: the present one, and one whose end nobody has noticed.
const CONNECTIONS_EACH: usize = 2;
/// Room for an answer of a manager (E328).
const ANSWER_BYTES: usize = 2 * MIB;
/// Heartbeats whose answers a node waits for (E336), and the poll for routing info.
const NODE_ANSWERS: usize = 8 + 1;
/// A store: a group, a checkpoint page, superblocks and zeros that are always there (E154), the
/// checkpoint and both ends of a device that are read when it is opened.
const STORE_BYTES: usize = 6 * MIB;
/// Copies of what an operation carries in one process: as it came, as it is merged with what was
/// there, as it is sent on, and once more for an attempt before it.
const COPIES: usize = 4;
/// Chunks under way to a replica that catches up (`SHIPS_MAX` of engine/craq).
const SHIPS: usize = 16;
/// What a process does whoever asks it: its roles, timers, stores and targets.
const OWN_TASKS: usize = 128;

/// The most that a process of a role may hold.
fn bound(role: &str, setting: &Setting) -> Usage {
    let lines = setting.users * setting.in_flight;
    let size = setting.size.bytes() as usize;
    let (nodes, users) = (setting.nodes, setting.users);
    // Who is connected to it, and what it holds beside connections.
    let (peers, own) = match role {
        "kv" => (MANAGERS, PAYLOAD_BYTES_MAX as usize),
        "manager" => (nodes + users + MANAGERS + 2, MANAGERS * PAYLOAD_BYTES_MAX as usize),
        "storage" => {
            let stores = setting.stores * (STORE_BYTES + setting.config.overlay_bytes_max);
            let carried = (COPIES * lines + SHIPS * setting.chains.len()) * size;
            (2 * nodes + users + MANAGERS, NODE_ANSWERS * ANSWER_BYTES + stores + carried)
        }
        "user" => (nodes + MANAGERS, 2 * ANSWER_BYTES + COPIES * setting.in_flight * size),
        // Commands, a page of a question, and the poll.
        _ => (nodes + MANAGERS, 2 * ANSWER_BYTES + PAYLOAD_BYTES_MAX as usize),
    };
    let requests = INFLIGHT_REQUESTS_MAX as usize;
    Usage {
        pool_bytes: peers * CONNECTIONS_EACH * CONNECTION_BYTES + own,
        tasks: peers * CONNECTIONS_EACH * CONNECTION_TASKS + peers * requests + OWN_TASKS,
    }
}

/// No process has held more than its role may.
pub(super) fn judge(world: &World, setting: &Setting) -> Verdict {
    judge_by(world, |role| bound(role, setting))
}

fn judge_by(world: &World, bound: impl Fn(&str) -> Usage) -> Verdict {
    for role in ["kv", "manager", "storage", "user", "operator"] {
        let most = bound(role);
        for node in world.role(role) {
            let held = world.usage(node);
            if most.pool_bytes < held.pool_bytes || most.tasks < held.tasks {
                let name = world.sim().name(node);
                return fail(T101, format!("{name} has held {held:?}, at most {most:?}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use engine_runtime::Env;
    use engine_types::Rng;

    use super::*;
    use crate::scenarios::storage::play;
    use crate::topology::Topology;

    /// Each part of each bound is one: a world that keeps the true ones breaks any that is too low.
    #[test]
    fn a_world_keeps_its_bounds_and_breaks_lower_ones() {
        let seed = 11;
        let setting = Setting::draw(&mut Rng::new(seed).fork("storage"));
        let played = play(seed);
        assert_eq!(played.verdict, Ok(()));
        assert_eq!(judge(&played.world, &setting), Ok(()));
        for role in ["kv", "manager", "storage", "user", "operator"] {
            for lower in [Usage { pool_bytes: 4096, ..MOST }, Usage { tasks: 1, ..MOST }] {
                let bound = |other: &str| if other == role { lower } else { MOST };
                let found = judge_by(&played.world, bound).expect_err("too low");
                assert_eq!(found.check, T101);
                assert!(found.what.contains(role), "{}", found.what);
            }
        }
    }

    const MOST: Usage = Usage { pool_bytes: usize::MAX, tasks: usize::MAX };

    /// A client that asks again and again whom nobody answers, with room for each answer; `keeps`
    /// plants the leak: rooms of what was given up are kept.
    fn asks_in_vain(keeps: bool) -> Verdict {
        const ASKS: usize = 40;
        let setting = Setting::draw(&mut Rng::new(1).fork("storage"));
        let mut world = World::new(1, Topology::of(&[("user", 1)]));
        let user = world.role("user")[0];
        world.start(user, move |env| async move {
            let mut kept = Vec::new();
            for _ in 0..ASKS {
                let room = env.pool().try_reserve(ANSWER_BYTES).expect("the pool has 128 MiB");
                env.sleep_until(env.now() + Duration::from_millis(50)).await;
                if keeps {
                    kept.push(room);
                }
            }
        });
        world.run(Duration::from_secs(6))?;
        judge(&world, &setting)
    }

    #[test]
    fn rooms_of_what_was_given_up_break_the_bound_when_they_are_kept() {
        assert_eq!(asks_in_vain(false), Ok(()));
        let found = asks_in_vain(true).expect_err("80 MiB are kept");
        assert_eq!(found.check, T101);
    }
}
