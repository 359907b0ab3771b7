//! kill -9 of managers and of their KV in a loop, while nodes register and send heartbeats.

use core::time::Duration;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration as Wait;

use engine_types::{Rng, StoreId};

use crate::ground::{Ground, MANAGERS};
use crate::nodes::{self, Seen, Stop};
use crate::support::pause;

/// Kills; each costs up to a lease of the primary, and each kind comes several times.
const ROUNDS: usize = 9;
/// Longest wait for what must happen after a kill.
const LATE: Wait = Wait::from_secs(40);

/// Waits until `done` holds of what the nodes have come to.
fn wait_until(seen: &Mutex<Seen>, what: &str, mut done: impl FnMut(&Seen) -> bool) {
    let steps = LATE.as_millis() / 20;
    for _ in 0..steps {
        let now = seen.lock().unwrap();
        let ended = now.nodes.iter().find_map(|(_, _, end)| end.clone());
        assert_eq!(ended, None, "an agent ended");
        if done(&now) {
            return;
        }
        drop(now);
        pause(Duration::from_millis(20));
    }
    panic!("{what} does not happen within {LATE:?}: {:?}", seen.lock().unwrap().nodes);
}

#[test]
fn managers_survive_kills_of_managers_and_of_their_kv() {
    static SEEN: Mutex<Seen> = Mutex::new(Seen { wanted: 3, nodes: Vec::new() });
    static STOP: AtomicBool = AtomicBool::new(false);
    let mut ground = Ground::new("kills");
    let (cluster, managers) = (ground.cluster.clone(), ground.addresses());
    let mut rng = Rng::new(7);
    std::thread::scope(|scope| {
        scope.spawn(move || nodes::run(&cluster, managers, &SEEN, &STOP));
        let stop = Stop(&STOP);
        let registered = |seen: &Seen| {
            seen.nodes.len() == seen.wanted && seen.nodes.iter().all(|(id, ..)| id.is_some())
        };
        wait_until(&SEEN, "registration", registered);
        let ids: Vec<String> = {
            let seen = SEEN.lock().unwrap();
            seen.nodes.iter().map(|(id, ..)| id.unwrap().get().to_string()).collect()
        };
        create_chains(&ground, &ids);
        let leased = |before: Vec<u64>| {
            move |seen: &Seen| {
                seen.nodes.iter().zip(&before).all(|((_, grants, _), before)| before < grants)
            }
        };
        wait_until(&SEEN, "the first lease", leased(vec![0; 3]));
        for round in 0..ROUNDS {
            pause(Duration::from_millis(rng.range(0..=1_200)));
            match round % 3 {
                0 => ground.kill_kv(),
                index => {
                    let index = (index + round / 3) % MANAGERS;
                    ground.kill_manager(index);
                    pause(Duration::from_millis(rng.range(0..=1_500)));
                    ground.start_manager(index);
                }
            }
            // A node that comes now is registered, once, and those before it get leases again.
            SEEN.lock().unwrap().wanted += 1;
            wait_until(&SEEN, "another registration", registered);
            let before = SEEN.lock().unwrap().nodes.iter().take(3).map(|n| n.1).collect();
            wait_until(&SEEN, "a lease", leased(before));
        }
        let nodes = ground.emberfs(&["node", "list", "--json"]).documents();
        assert_eq!(nodes.len(), 3 + ROUNDS, "{nodes:?}");
        let status = ground.emberfs(&["mgmt", "status"]);
        assert_eq!(status.code, Some(0), "{} {}", status.out, status.err);
        drop(stop);
    });
}

/// Two chains over the first three nodes, by the command line.
fn create_chains(ground: &Ground, ids: &[String]) {
    for number in 1..=2u128 {
        let store = |id: &String| StoreId::new((number << 32) + id.parse::<u128>().unwrap());
        let members: Vec<String> = ids.iter().map(|id| format!("{id}/{}", store(id))).collect();
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let created = ground.json(&[&["chain", "create"], &members[..]].concat());
        assert_eq!(created["chains"].as_array().unwrap().len(), 1, "{created}");
    }
}
