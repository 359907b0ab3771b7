//! The life of a store as an operator leads it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use meta_kv::{Kv as _, Transaction as _, TransactionOptions};
use rustix::process::Signal;

use crate::client::with_store;
use crate::ground::{Ground, bad, good, run};

/// Writes `k/0` to `k/{count - 1}` in one transaction each.
fn write(ground: &Ground, address: core::net::SocketAddr, count: u32) {
    with_store(&ground.cluster, address, move |_, kv| async move {
        for n in 0..count {
            let t = kv.begin(TransactionOptions::default());
            t.set(format!("k/{n}").as_bytes(), &[n.to_le_bytes().as_slice(), b"\\\xff"].concat())
                .unwrap();
            t.commit().await.unwrap();
        }
    });
}

#[test]
fn a_store_is_made_served_looked_at_and_stopped() {
    let ground = Ground::new("life");
    let (dir, cluster) = (&*ground.dir, &*ground.cluster);
    let server = ground.serve();
    assert_eq!(server.ready["process"].as_u64(), Some(server.pid().into()));
    write(&ground, server.address, 5);

    let address = &*server.address.to_string();
    let there = ["--address", address, "--cluster", cluster];
    let asked = |verb: &[&str]| good(&[&["kv"], verb, &there].concat());
    let [status] = asked(&["status", "--json"]).documents().try_into().unwrap();
    assert_eq!(status["store"], server.ready["store"]);
    assert_eq!((status["commits"].as_u64(), status["starts"].as_u64()), (Some(5), Some(1)));
    assert!(asked(&["status"]).out.contains("commits    5 in 5 groups since the start"));
    assert_eq!(asked(&["get", "k/3"]).out, "\\x03\\x00\\x00\\x00\\\\\\xff\n");
    let listed = asked(&["range", "k/", "--limit", "2"]).out;
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert!(listed.ends_with("and more: --limit was 2\n"), "{listed}");
    bad(&[&["kv", "get", "k/9"][..], &there].concat(), 1, "there is no key \"k/9\"");

    // It has one owner.
    let owner = format!("is in use by process {}", server.pid());
    bad(&["kv", "serve", "--dir", dir, "--cluster", cluster, "--listen", "127.0.0.1:0"], 3, &owner);
    bad(&["kv", "check", "--dir", dir], 3, &owner);
    bad(&["kv", "get", "k/3", "--dir", dir], 3, &owner);
    bad(&["kv", "create", "--dir", dir, "--cluster", cluster], 1, "is not empty");
    asked(&["status"]);
    server.stop();

    let [checked] = good(&["kv", "check", "--dir", dir, "--json"]).documents().try_into().unwrap();
    assert_eq!((checked["keys"].as_u64(), checked["starts"].as_u64()), (Some(5), Some(2)));
    assert!(checked["version"].as_u64() > status["version"].as_u64());
    assert_eq!(Ground::entries(dir, "").len(), 5);
}

#[test]
fn a_configuration_file_serves_as_flags_do() {
    let ground = Ground::new("config");
    let config = ground.folder.path("kv.toml");
    let text = "[cluster]\nfile = 'cluster.toml'\n[kv]\ndir = 'kv'\ncache = '16MiB'\n";
    fs::write(&config, text).unwrap();
    good(&["config", "validate", &config]);
    let [told] = good(&["config", "validate", &config, "--json"]).documents().try_into().unwrap();
    assert_eq!(told["kv"]["cache"].as_u64(), Some(16 << 20));
    assert_eq!(told["kv"]["dir"].as_str(), Some(&*ground.dir));

    fs::write(&config, text.replace("cache", "cahce")).unwrap();
    let line = "kv.toml:5:1: unknown key \"cahce\" in [kv]; did you mean \"cache\"?";
    bad(&["config", "validate", &config], 2, line);
    bad(&["kv", "serve", "--config", &config], 2, line);
    fs::write(&config, "[kv]\ndir = 'kv'\n").unwrap();
    bad(&["kv", "serve", "--config", &config], 2, "has no section [cluster]");

    fs::set_permissions(&ground.cluster, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&config, text).unwrap();
    bad(&["config", "validate", &config], 2, "hint: chmod 600 ");
    bad(&["kv", "serve", "--config", &config], 2, "others can use ");
    let ended = run(&["kv", "serve", "--config", &config, "--json"]);
    let [told] = ended.documents().try_into().unwrap();
    assert_eq!(told["exit_code"].as_u64(), Some(2));
}

#[test]
fn an_interrupt_stops_as_a_term_does() {
    let ground = Ground::new("interrupt");
    let server = ground.serve();
    server.signal(Signal::HUP);
    write(&ground, server.address, 1);
    server.signal(Signal::INT);
    let ended = server.wait();
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""), "{}", ended.err);
    assert!(ended.err.contains("SIGHUP: nothing can be changed"), "{}", ended.err);
}

/// Both signals wait while the process is stopped, so that the second comes before it has drained;
/// now and then it does not.
#[test]
fn a_second_signal_ends_it_at_once() {
    let ground = Ground::new("twice");
    for _ in 0..20 {
        let server = ground.serve();
        for signal in [Signal::STOP, Signal::TERM, Signal::INT, Signal::CONT] {
            server.signal(signal);
        }
        let ended = server.wait();
        assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
        if ended.code == Some(3) {
            assert!(ended.err.contains("emberfs kv: ended at once"), "{}", ended.err);
            good(&["kv", "check", "--dir", &ground.dir]);
            return;
        }
    }
    panic!("a second signal never ended it");
}

#[test]
fn a_backup_is_restored_elsewhere() {
    let ground = Ground::new("backup");
    let server = ground.serve();
    write(&ground, server.address, 50);
    server.stop();
    let (file, copy) = (&*ground.folder.path("b"), &*ground.folder.path("copy"));
    // What a killed backup left is in nobody's way; one under way is.
    let partial = fs::File::create(format!("{file}.partial")).unwrap();
    partial.set_len(5_000).unwrap();
    partial.lock().unwrap();
    bad(&["kv", "backup", file, "--dir", &ground.dir], 3, "another backup writes ");
    drop(partial);
    let [made] = good(&["kv", "backup", file, "--dir", &ground.dir, "--json"])
        .documents()
        .try_into()
        .unwrap();
    assert_eq!(made["keys"].as_u64(), Some(50));
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    bad(&["kv", "backup", file, "--dir", &ground.dir], 2, "is not overwritten");
    assert!(!fs::exists(format!("{file}.partial")).unwrap());
    good(&["kv", "verify", file]);
    good(&["kv", "restore", file, "--dir", copy]);
    bad(&["kv", "restore", file, "--dir", copy], 1, "is not empty: it holds");
    assert_eq!(Ground::entries(copy, ""), Ground::entries(&ground.dir, ""));
    let [checked] = good(&["kv", "check", "--dir", copy, "--json"]).documents().try_into().unwrap();
    assert_eq!(checked["store"], made["store"]);
    assert_eq!(checked["restores"].as_u64(), Some(1));
    assert!(made["version"].as_u64() < checked["version"].as_u64());
    assert!(checked["cluster"].is_null(), "whoever serves it first says of which it is");
}
