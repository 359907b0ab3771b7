//! Full and read-only places.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use meta_kv::{Kv as _, KvError, Transaction as _, TransactionOptions};

use crate::client::with_store;
use crate::ground::{Ground, Server, bad, good};

/// A file system of this size, at `full` in the folder. Nothing where root is to be left out.
fn small_disk(ground: &Ground) -> Option<String> {
    if std::env::var("EMBERFS_SKIP").is_ok_and(|skip| skip.split(',').any(|s| s == "root")) {
        eprintln!("skipped, needs root: EMBERFS_SKIP=root");
        return None;
    }
    let path = ground.folder.path("full");
    fs::create_dir(&path).unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=6m", "emberfs-test", &path];
    let status = Command::new("mount").args(mount).status();
    let mounted = status.as_ref().is_ok_and(std::process::ExitStatus::success);
    assert!(mounted, "mount needs root (EMBERFS_SKIP=root skips this test): {status:?}");
    Some(path)
}

#[test]
fn a_full_disk_refuses_and_harms_nothing() {
    let ground = Ground::new("full");
    let Some(disk) = small_disk(&ground) else { return };
    let dir = format!("{disk}/kv");
    good(&["kv", "create", "--dir", &dir, "--cluster", &ground.cluster]);
    let server = Server::start(&dir, &ground.cluster, "127.0.0.1:0");
    let written = with_store(&ground.cluster, server.address, |_, kv| async move {
        let set = async |n: u32| {
            let t = kv.begin(TransactionOptions::default());
            t.set(format!("k/{n:03}").as_bytes(), &[7; 90_000]).unwrap();
            t.commit().await
        };
        let mut n = 0;
        let refused = loop {
            match set(n).await {
                Ok(_) => n += 1,
                Err(error) => break error,
            }
            assert!(n < 200, "the disk is never full");
        };
        let KvError::Unavailable { reason } = &refused else { panic!("{refused}") };
        assert!(reason.contains("the disk is full"), "{reason}");
        assert!(set(n).await.is_err());
        let t = kv.begin(TransactionOptions::default());
        assert!(t.get(b"k/000", meta_kv::ReadMode::Snapshot).await.unwrap().is_some());
        n
    });
    assert!(5 < written, "{written}");
    let address = server.address.to_string();
    good(&["kv", "status", "--address", &address, "--cluster", &ground.cluster]);
    server.stop();

    // A backup that finds no room leaves nothing; one elsewhere holds what was acknowledged.
    let (elsewhere, inside) = (ground.folder.path("b"), format!("{disk}/b"));
    bad(&["kv", "backup", &inside, "--dir", &dir], 3, "No space left on device");
    assert_eq!(names(&disk), ["kv"]);
    good(&["kv", "backup", &elsewhere, "--dir", &dir]);
    let copy = format!("{disk}/copy");
    bad(&["kv", "restore", &elsewhere, "--dir", &copy], 3, "No space left on device");
    assert_eq!(names(&copy), ["lock"]);
    good(&["kv", "check", "--dir", &dir]);
    assert_eq!(Ground::entries(&dir, "k/").len(), written as usize);
}

fn names(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_read_only_directory_is_refused() {
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root may write into read-only directories");
        return;
    }
    let ground = Ground::new("readonly");
    let set = |mode| fs::set_permissions(&ground.dir, fs::Permissions::from_mode(mode)).unwrap();
    fs::remove_file(format!("{}/lock", ground.dir)).unwrap();
    set(0o500);
    let inside = format!("{}/new", ground.dir);
    bad(&["kv", "check", "--dir", &ground.dir], 3, "Permission denied");
    bad(&["kv", "create", "--dir", &inside, "--cluster", &ground.cluster], 3, "Permission denied");
    bad(&["cluster", "create", &inside], 3, "Permission denied");
    set(0o700);
    good(&["kv", "check", "--dir", &ground.dir]);
}
