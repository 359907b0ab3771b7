//! Kills and orderly ends while clients commit.

use core::cell::Cell;
use core::time::Duration;
use std::fs;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use engine_runtime::Env;
use engine_types::Rng;
use meta_kv::{Kv as _, Transaction as _, TransactionOptions};

use crate::client::{expected, number, with_store};
use crate::ground::{Ground, Server, good, run_while};
use crate::support::pause;

const CHANNELS: u8 = 3;
const ROUNDS: u32 = 8;
/// Longest wait for an acknowledgement.
const WAIT: Duration = Duration::from_secs(50);

/// Waits until `count` transactions were acknowledged.
fn acknowledged(acks: &Receiver<(u8, u32)>, count: u64, last: &mut [u32]) {
    for _ in 0..count {
        let (channel, n) = acks.recv_timeout(WAIT).expect("the store serves");
        last[usize::from(channel)] = n + 1;
    }
}

/// Ends the clients when its test fails.
struct Stop(&'static AtomicBool);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs clients on a thread of their own while `meanwhile` does things to the server; ends them,
/// and then the server by SIGTERM. Every acknowledged transaction must be there once, and nothing
/// else.
fn commit_while(
    ground: &Ground,
    server: Server,
    meanwhile: impl FnOnce(Server, &Receiver<(u8, u32)>, &mut [u32]) -> Server,
) {
    static STOPS: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];
    static NEXT: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);
    let stop = &STOPS[NEXT.fetch_add(1, Ordering::SeqCst)];
    let (cluster, address) = (ground.cluster.clone(), server.address);
    let (tell, acks) = channel();
    let clients = move || {
        with_store(&cluster, address, move |env, kv| async move {
            let unknown = Rc::new(Cell::new(0));
            let tasks: Vec<_> = (0..CHANNELS)
                .map(|channel| {
                    let (tell, unknown) = (tell.clone(), unknown.clone());
                    env.spawn(number(env.clone(), kv.clone(), channel, stop, tell, unknown))
                })
                .collect();
            let mut counts = Vec::new();
            for task in tasks {
                counts.push(task.await);
            }
            (counts, unknown.get())
        })
    };
    let (counts, unknown) = std::thread::scope(|scope| {
        let clients = scope.spawn(clients);
        let end = Stop(stop);
        let mut last = vec![0; CHANNELS.into()];
        let server = meanwhile(server, &acks, &mut last);
        drop(end);
        let (counts, unknown) = clients.join().unwrap();
        for (count, last) in counts.iter().zip(&last) {
            assert!(last <= count, "acknowledged {last} of {count}");
        }
        server.stop();
        (counts, unknown)
    });
    eprintln!("acknowledged {counts:?}, unknown results {unknown}");
    good(&["kv", "check", "--dir", &ground.dir]);
    for (channel, count) in (0..).zip(counts) {
        let found = Ground::entries(&ground.dir, &format!("t/{channel}/"));
        assert_eq!(found, expected(channel, count), "channel {channel}");
    }
}

#[test]
fn acknowledged_commits_survive_kills_and_count_once() {
    let ground = Ground::new("kills");
    let server = ground.serve();
    let mut rng = Rng::new(11);
    commit_while(&ground, server, |mut server, acks, last| {
        for _ in 0..ROUNDS {
            acknowledged(acks, rng.range(1..=60), last);
            // Right after an answer nothing is under way; somewhat later it is.
            pause(Duration::from_micros(rng.range(0..=30_000)));
            let address = server.address.to_string();
            server.kill();
            server = Server::start(&ground.dir, &ground.cluster, &address);
        }
        acknowledged(acks, 20, last);
        server
    });
}

#[test]
fn a_stop_drains_and_the_next_start_goes_on() {
    let ground = Ground::new("stops");
    let server = ground.serve();
    commit_while(&ground, server, |mut server, acks, last| {
        for _ in 0..2 {
            acknowledged(acks, 30, last);
            let address = server.address.to_string();
            server.stop();
            server = Server::start(&ground.dir, &ground.cluster, &address);
        }
        acknowledged(acks, 10, last);
        server
    });
}

/// Writes 120 values, several megabytes, so that a backup has many parts.
fn fill(ground: &Ground, server: &Server) {
    with_store(&ground.cluster, server.address, |_, kv| async move {
        for n in 0..12u8 {
            let t = kv.begin(TransactionOptions::default());
            (0..10u8).for_each(|m| t.set(&[b'z', n, m], &[n; 50_000]).unwrap());
            t.commit().await.unwrap();
        }
    });
}

#[test]
fn a_backup_whose_server_dies_is_whole_or_not_there() {
    let ground = Ground::new("dies");
    let mut server = ground.serve();
    fill(&ground, &server);
    let mut rng = Rng::new(7);
    let mut broken = 0;
    for round in 0..6 {
        let file = ground.folder.path(&format!("b{round}"));
        let address = server.address.to_string();
        let line = ["kv", "backup", &file, "--cluster", &ground.cluster, "--timeout", "500ms"];
        let later = Duration::from_micros(rng.range(0..=150_000));
        let ended = run_while(&[&line[..], &["--address", &address]].concat(), || {
            pause(later);
            server.kill();
        });
        assert!(!fs::exists(format!("{file}.partial")).unwrap(), "{ended:?}");
        match ended.code {
            Some(0) => assert_eq!(good(&["kv", "verify", &file]).err, ""),
            code => {
                assert_eq!(code, Some(3), "{ended:?}");
                assert!(!fs::exists(&file).unwrap(), "{ended:?}");
                broken += 1;
            }
        }
        server = Server::start(&ground.dir, &ground.cluster, &address);
    }
    eprintln!("{broken} of 6 backups broke off");
    server.stop();
}

/// What is restored is one version: of each channel all transactions up to one, and its record.
#[test]
fn a_backup_under_commits_is_one_version() {
    let ground = Ground::new("online");
    let server = ground.serve();
    fill(&ground, &server);
    let (file, copy) = (&*ground.folder.path("b"), &*ground.folder.path("copy"));
    let mut before = Vec::new();
    commit_while(&ground, server, |server, acks, last| {
        acknowledged(acks, 30, last);
        before.extend_from_slice(last);
        let address = server.address.to_string();
        let there = ["--address", &address, "--cluster", &ground.cluster];
        good(&[&["kv", "backup", file][..], &there].concat());
        acknowledged(acks, 30, last);
        server
    });
    good(&["kv", "verify", file]);
    good(&["kv", "restore", file, "--dir", copy]);
    assert_eq!(Ground::entries(copy, "z").len(), 120);
    for (channel, before) in (0..).zip(before) {
        let found = Ground::entries(copy, &format!("t/{channel}/"));
        let count = u32::try_from(found.len()).unwrap();
        assert!(before <= count, "{count} of {before} that were acknowledged before");
        assert_eq!(found, expected(channel, count));
        let last = (count - 1).to_le_bytes();
        let record = (format!("r/{channel}"), last.escape_ascii().to_string());
        assert_eq!(Ground::entries(copy, "r/")[usize::from(channel)], record);
    }
}
