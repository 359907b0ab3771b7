//! Wrong paths, addresses and files: an exit code, a message that helps, and nothing harmed.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::FileExt as _;

use engine_types::Crc32cState;
use meta_kv::{Kv as _, Transaction as _, TransactionOptions};

use crate::client::with_store;
use crate::ground::{Ground, Server, bad, good};

/// A store with some pages of data.
fn filled(name: &str) -> Ground {
    let ground = Ground::new(name);
    let server = ground.serve();
    with_store(&ground.cluster, server.address, |_, kv| async move {
        for n in 0..8u8 {
            let t = kv.begin(TransactionOptions::default());
            for m in 0..50u8 {
                t.set(&[b'k', n, m], &[n ^ m; 3_000]).unwrap();
            }
            t.commit().await.unwrap();
        }
    });
    server.stop();
    ground
}

#[test]
fn what_is_no_store_is_refused_and_stays_as_it_is() {
    let ground = Ground::new("nostore");
    let (path, cluster) = (|name: &str| ground.folder.path(name), &*ground.cluster);
    let (missing, file, foreign) = (&*path("missing"), &*path("file"), &*path("foreign"));
    fs::write(file, "notes").unwrap();
    fs::create_dir(foreign).unwrap();
    fs::write(format!("{foreign}/notes"), "mine").unwrap();
    let (backup, not_made) = (&*path("b"), &*path("no/b"));
    for (dir, code, expected) in [
        (missing, 3, "No such file or directory"),
        (missing, 3, "hint: make one: emberfs kv create --dir "),
        (file, 2, "is a file, expected a directory"),
        (foreign, 1, "holds no store"),
    ] {
        bad(&["kv", "serve", "--dir", dir, "--cluster", cluster], code, expected);
        bad(&["kv", "check", "--dir", dir], code, expected);
        bad(&["kv", "range", "", "--dir", dir], code, expected);
        bad(&["kv", "backup", backup, "--dir", dir], code, expected);
    }
    bad(&["kv", "create", "--dir", file, "--cluster", cluster], 2, "expected a directory");
    bad(&["kv", "create", "--dir", foreign, "--cluster", cluster], 1, "it holds \"notes\"");
    bad(&["kv", "create", "--dir", missing, "--cluster", missing], 3, "emberfs cluster create");
    bad(&["kv", "restore", missing, "--dir", missing], 3, "No such file");
    bad(&["kv", "restore", file, "--dir", missing], 1, "the backup is cut");
    bad(&["kv", "restore", foreign, "--dir", missing], 2, "is a directory");
    bad(&["kv", "serve"], 2, "--cluster is missing\n  hint: give --dir and --cluster");
    bad(&["kv", "serve", "--cluster", cluster], 2, "--dir is missing");
    bad(&["kv", "status"], 2, "no cluster is named\n  hint: give --cluster");
    bad(&["kv", "get", "k"], 2, "no store is named\n  hint: give --dir");
    bad(&["kv", "verify", cluster], 1, "not a backup: it begins with \"# Makes \"");
    bad(&["kv", "backup", not_made, "--dir", &ground.dir], 3, "cannot create");
    assert!(!fs::exists(missing).unwrap() && !fs::exists(backup).unwrap());
    assert_eq!(fs::read_dir(foreign).unwrap().count(), 1);
    good(&["kv", "check", "--dir", &ground.dir]);
}

#[test]
fn a_damaged_store_is_refused() {
    let ground = filled("damage");
    let file = format!("{}/kv.redb", ground.dir);
    let whole = fs::read(&file).unwrap();
    let serve = ["kv", "serve", "--dir", &ground.dir, "--cluster", &ground.cluster];
    let check = ["kv", "check", "--dir", &ground.dir];
    let half = whole.len() / 2;
    let changed = |at: usize, bytes: &[u8]| {
        let mut image = whole.clone();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        image
    };
    for (image, expected) in [
        (whole[..half].to_vec(), "is damaged"),
        (whole[..5].to_vec(), "is not a store: it is shorter than any store"),
        (Vec::new(), "is not a store"),
        (changed(0, b"x"), "is not a store: it begins with xedb"),
        (changed(64, &[0xff; 448]), "is damaged"),
    ] {
        fs::write(&file, &image).unwrap();
        bad(&serve, 1, expected);
        bad(&check, 1, expected);
    }

    // One bit of a value: only the check reads it.
    let at = whole.windows(1_000).position(|bytes| bytes == [5; 1_000]).unwrap();
    fs::write(&file, changed(at, &[4])).unwrap();
    bad(&check, 1, "is damaged");
    fs::write(&file, &whole).unwrap();
    good(&check);
    assert_eq!(Ground::entries(&ground.dir, "k").len(), 400);
}

#[test]
fn a_bad_backup_restores_nothing() {
    let ground = filled("badbackup");
    let (file, changed) = (&*ground.folder.path("b"), &*ground.folder.path("changed"));
    good(&["kv", "backup", file, "--dir", &ground.dir]);
    let whole = fs::read(file).unwrap();
    let newer = {
        let mut bytes = whole.clone();
        bytes[8] = 2;
        let mut crc = Crc32cState::new();
        crc.update(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.finish().get().to_le_bytes());
        bytes
    };
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let end = whole.len();
    let dir = ground.folder.path("new");
    for (bytes, expected) in [
        (newer, "format version 2, this program knows up to 1\n  hint: use the newer emberfs"),
        (whole[..end - 1].to_vec(), "the backup is cut"),
        (whole[..40].to_vec(), "the backup is cut"),
        (flipped(100), "the backup is damaged at offset 64: the CRC of a part"),
        (flipped(end - 1), "the backup is damaged"),
        (flipped(20), "the CRC of the header"),
        ([&whole[..], b"x"].concat(), "what follows the footer"),
    ] {
        fs::write(changed, &bytes).unwrap();
        bad(&["kv", "verify", changed], 1, expected);
        bad(&["kv", "restore", changed, "--dir", &dir], 1, expected);
        assert!(!fs::exists(format!("{dir}/kv.redb")).unwrap());
    }
    good(&["kv", "restore", file, "--dir", &dir]);
}

#[test]
fn wrong_addresses_and_secrets_are_told_at_once() {
    let ground = Ground::new("wrong");
    let server = ground.serve();
    let address = &*server.address.to_string();
    let cluster = &*ground.cluster;
    let other = &*ground.folder.path("other.toml");
    good(&["cluster", "create", other]);
    let id = |file: &str| {
        let text = fs::read_to_string(file).unwrap();
        text.lines().find(|line| line.starts_with("id")).unwrap().to_owned()
    };
    // The same cluster by name, another secret.
    let forged = &*ground.folder.path("forged.toml");
    fs::copy(other, forged).unwrap();
    let text = fs::read_to_string(forged).unwrap();
    fs::write(forged, text.replace(&id(other), &id(cluster))).unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = &*silent.local_addr().unwrap().to_string();
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    for (address, cluster, expected) in [
        (address, other, "did not let us in: cluster: found "),
        (address, forged, "did not let us in: refused: not authenticated"),
        (&*nobody, cluster, "Connection refused"),
        (&*nobody, cluster, "hint: nothing listens there: is `emberfs kv serve` running"),
        (silent, cluster, "did not let us in"),
        ("no-such-host.invalid:7100", cluster, "cannot find no-such-host.invalid:7100"),
    ] {
        let there = ["--address", address, "--cluster", cluster, "--timeout", "300ms"];
        bad(&[&["kv", "status"][..], &there].concat(), 3, expected);
        bad(&[&["kv", "get", "k"][..], &there].concat(), 3, expected);
    }

    // A port, and a store, have one owner.
    let dir = &*ground.folder.path("second");
    good(&["kv", "create", "--dir", dir, "--cluster", cluster]);
    let serve = |cluster: &str, address: &str, code: i32, expected: &str| {
        let line = ["kv", "serve", "--dir", dir, "--cluster", cluster, "--listen", address];
        bad(&line, code, expected);
    };
    let used = "Address already in use (os error 98)\n  hint: another process has it";
    serve(cluster, address, 3, used);
    serve(other, "127.0.0.1:0", 1, "belongs to cluster");
    serve(cluster, "192.0.2.1:7100", 3, "no address of this machine");
    server.stop();
    Server::start(dir, cluster, address).stop();
}

/// A store file from elsewhere, half overwritten by hand, is told from a new one.
#[test]
fn an_interrupted_creation_is_told_and_repeated() {
    let ground = Ground::new("unfinished");
    let store = format!("{}/kv.redb", ground.dir);
    fs::rename(&store, format!("{store}.new")).unwrap();
    fs::remove_file(format!("{}/cluster", ground.dir)).unwrap();
    let file = fs::File::options().write(true).open(format!("{store}.new")).unwrap();
    file.write_all_at(&[0; 100], 0).unwrap();
    bad(&["kv", "check", "--dir", &ground.dir], 1, "was never completed");
    good(&["kv", "create", "--dir", &ground.dir, "--cluster", &ground.cluster]);
    good(&["kv", "check", "--dir", &ground.dir]);
}
