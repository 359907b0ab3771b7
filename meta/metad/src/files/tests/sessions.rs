//! Sessions, lengths and appends.

use super::*;
use crate::bed::Fate;

#[test]
fn a_write_open_leaves_one_session_and_a_read_open_nothing() {
    with_bed(1, async |bed| {
        let chunks = fake(&bed);
        let mount = Mount::new(&service(&bed, &chunks, 1001), 5);
        let file = mount.create("a").await;
        assert_eq!((keys(&bed, "SESS").await, keys(&bed, "SESI").await), (1, 1), "E446");
        mount.open(file.ino, WRITE).await;
        assert_eq!((keys(&bed, "SESS").await, keys(&bed, "SESI").await), (1, 1), "E446");
        let before = bed.dump().await;
        let reader = Mount::new(&mount.service, 6);
        reader.open(file.ino, OpenMode { read: true, ..Default::default() }).await;
        assert_eq!(bed.dump().await, before, "a read-only open writes nothing");
        mount.close(&file).await;
        assert_eq!((keys(&bed, "SESS").await, keys(&bed, "SESI").await), (0, 0), "E446");
        let hint = Mount::hint(&Opened { end: 5, ..file.clone() });
        let late = ask::Sync { ino: file.ino, hint, atime: None };
        assert_eq!(mount.errno(late).await, Errno::EBADF, "M4: who writes has a session");
    });
}

/// M4: the largest of what all sessions told, whoever closes last; no chain is asked.
#[test]
fn the_length_is_the_largest_hint() {
    with_bed(2, async |bed| {
        let chunks = fake(&bed);
        let [one, two] = [1001, 1002].map(|session| service(&bed, &chunks, session));
        let (a, b) = (Mount::new(&one, 5), Mount::new(&two, 6));
        let mut first = a.create("a").await;
        let mut second = b.open(first.ino, WRITE).await;
        a.write(&mut first, 0, b"0123456789").await;
        b.write(&mut second, 3, b"abc").await;
        assert_eq!(b.sync(&second).await.unwrap().size, 6);
        assert_eq!(a.close(&first).await.size, 10);
        assert_eq!(b.close(&second).await.size, 10);
        assert_eq!(b.read(&second).await, b"012abc6789");
        assert!(chunks.calls().is_empty(), "M4: no chain was asked");
    });
}

#[test]
fn many_syncs_of_one_file_share_transactions() {
    with_bed(3, async |bed| {
        let chunks = fake(&bed);
        let one = service(&bed, &chunks, 1001);
        let owner = Mount::new(&one, 5);
        let file = owner.create("a").await;
        let mounts: Vec<Mount> = (10..74).map(|session| Mount::new(&one, session)).collect();
        for mount in &mounts {
            mount.open(file.ino, WRITE).await;
        }
        bed.source().take_log();
        let syncs = mounts.iter().zip(1..).map(async |(mount, end)| {
            mount.sync(&Opened { end, ..file.clone() }).await.unwrap().size
        });
        let sizes = all(syncs).await;
        let log = bed.source().take_log();
        assert!(log.commits.len() <= 3, "64 syncs took {} commits", log.commits.len());
        assert_eq!(log.conflicts(), 0);
        assert_eq!(sizes.iter().max(), Some(&64));
        assert_eq!(owner.stat(file.ino).await.change, 1 + 64, "each is a change");
    });
}

/// M5, M11: ranges of appenders on two services are disjoint and without gaps, through conflicts
/// and lost answers.
#[test]
fn appends_are_disjoint_and_happen_once() {
    for seed in 0..6 {
        with_bed(seed, async move |bed| {
            let chunks = fake(&bed);
            let services = [1001, 1002].map(|session| service(&bed, &chunks, session));
            let file = Mount::new(&services[0], 5).create("a").await;
            let mounts: Vec<Mount> =
                (10u64..18).map(|id| Mount::new(&services[usize::from(id % 2 == 0)], id)).collect();
            for mount in &mounts {
                mount.open(file.ino, WRITE).await;
            }
            bed.source().every_other(Some(match seed % 3 {
                0 => Fate::LostApplied,
                1 => Fate::LostDropped,
                _ => Fate::LostLate(Duration::from_millis(5)),
            }));
            let appends = mounts.iter().zip(1..).map(async |(mount, length)| {
                let mut ranges = Vec::new();
                for _ in 0..10 {
                    let offset = mount.append(file.ino, length).await;
                    ranges.push((offset, offset + length));
                }
                ranges
            });
            let mut ranges: Vec<_> = all(appends).await.into_iter().flatten().collect();
            ranges.sort_unstable();
            bed.source().every_other(None);
            for pair in ranges.windows(2) {
                assert_eq!(pair[0].1, pair[1].0, "M5: a gap or an overlap, seed {seed}");
            }
            let size = mounts[0].stat(file.ino).await.size;
            assert_eq!((ranges[0].0, ranges[79].1), (0, size), "M11: seed {seed}");
        });
    }
}

/// M3: a writer of an older epoch tells bytes that only chunks know.
#[test]
fn an_older_hint_asks_the_chunks() {
    with_bed(4, async |bed| {
        let chunks = fake(&bed);
        let [one, two] = [1001, 1002].map(|session| service(&bed, &chunks, session));
        let (a, b) = (Mount::new(&one, 5), Mount::new(&two, 6));
        let mut first = a.create("a").await;
        a.write(&mut first, 0, &[1; 100]).await;
        a.sync(&first).await.unwrap();
        b.truncate(first.ino, 0).await.unwrap();
        assert_eq!(chunks.count(first.ino), 0);
        // Nothing of what it wrote is there: its hint of 100 bytes says nothing.
        assert_eq!(a.sync(&first).await.unwrap().size, 0, "M3");
        // With the old epoch it makes a chunk where none is: legal as "cut, then written".
        a.write(&mut first, 40, &[2; 20]).await;
        assert_eq!(first.epoch, TruncateEpoch::FIRST);
        assert_eq!(a.close(&first).await.size, 0, "the answer is of the moment of the commit");
        assert_eq!(b.stat(first.ino).await.size, 60, "M3");
        let read = b.read(&first).await;
        assert!(read[..40].iter().all(|&byte| byte == 0) && read[40..] == [2; 20]);
        assert_eq!(keys(&bed, "LENQ").await, 0, "E449");
    });
}

/// M4: a dead chain delays no close, and no sync of other files.
#[test]
fn a_dead_chain_blocks_no_close() {
    with_bed(5, async |bed| {
        let chunks = fake(&bed);
        let mount = Mount::new(&service(&bed, &chunks, 1001), 5);
        let mut file = mount.create("a").await;
        mount.write(&mut file, 0, &[1; 10]).await;
        mount.truncate(file.ino, 0).await.unwrap();
        for &chain in &file.place.chains {
            chunks.set_dead(chain, true);
        }
        let failed = mount.sync(&file).await;
        assert!(matches!(failed, Err(CallError::Halted(_))), "fsync says what is not known");
        let mut other = mount.create("b").await;
        other.end = 7;
        assert_eq!(mount.close(&other).await.size, 7, "M4: another file");
        let closing = bed.env.now();
        mount.close(&file).await;
        assert!(bed.env.now() <= closing + CLOSE_WAIT * 2, "M4: a close waits");
        assert_eq!((keys(&bed, "SESS").await, keys(&bed, "LENQ").await), (0, 1));
        for &chain in &file.place.chains {
            chunks.set_dead(chain, false);
        }
        let by = bed.env.now() + TIME;
        mount.service.measures().settle(file.ino, by).await.unwrap();
        assert_eq!(keys(&bed, "LENQ").await, 0, "E449");
    });
}

/// E455, E456: what a client leaves that died.
#[test]
fn a_pruned_session_leaves_nothing_but_its_fence() {
    with_bed(6, async |bed| {
        let chunks = fake(&bed);
        let one = service(&bed, &chunks, 1001);
        let (dead, alive) = (Mount::new(&one, 5), Mount::new(&one, 6));
        let mut file = dead.create("a").await;
        dead.write(&mut file, 0, &[1; 33]).await;
        for number in 0..70 {
            dead.create(&format!("f{number}")).await;
        }
        let prune = ask::PruneSession { session: dead.session };
        assert_eq!(alive.errno(prune).await, Errno::EBUSY, "L6: not yet over");
        chunks.fence(dead.session);
        alive.ask(prune).await.unwrap();
        alive.ask(prune).await.unwrap();
        assert_eq!(keys(&bed, "LENQ").await, 71, "E456");
        assert_eq!((keys(&bed, "SESS").await, keys(&bed, "SESI").await), (0, 0));
        let requests = key::requests(dead.session);
        assert!(!bed.dump().await.iter().any(|(key, _)| key.starts_with(&requests)));
        let late = dead.ask(ask::Close { ino: file.ino, hint: Mount::hint(&file), atime: None });
        assert!(late.await.is_err(), "E427: a fenced session changes nothing");
        one.measures().settle(file.ino, bed.env.now() + TIME).await.unwrap();
        assert_eq!(alive.stat(file.ino).await.size, 33, "M4: chunks told its length");
    });
}

#[test]
fn requests_of_files_are_answered_once() {
    with_bed(7, async |bed| {
        let chunks = fake(&bed);
        let services = [1001, 1002].map(|session| service(&bed, &chunks, session));
        let mount = Mount::new(&services[0], 5);
        let file = mount.create("a").await;
        let request = mount.request(ask::Append { ino: file.ino, length: 10 });
        let first = services[0].call(&request, TIME).await.unwrap();
        // The answer was lost on the way: another service is asked.
        let again = services[1].call(&request, TIME).await.unwrap();
        assert_eq!(first, again, "M11");
        assert_eq!(mount.stat(file.ino).await.size, 10);
    });
}

/// M3 without a name: who has the file open sees what another synced, links or none.
#[test]
fn the_length_of_a_file_without_links_is_asked_for() {
    with_bed(21, async |bed| {
        let chunks = fake(&bed);
        let [one, two] = [1001, 1002].map(|session| service(&bed, &chunks, session));
        let (a, b) = (Mount::new(&one, 5), Mount::new(&two, 6));
        let mut file = a.create("a").await;
        let other = b.open(file.ino, WRITE).await;
        a.write(&mut file, 0, &[9; 100]).await;
        a.sync(&file).await.unwrap();
        b.truncate(other.ino, 10).await.unwrap();
        b.unlink("a", false).await;
        // In a chunk that the cut did not meet, under the old epoch.
        let (index, _) = file.place.split(3 << 20);
        assert!(chunks.write(file.place.at(index, 0), 0, &[7; 50]));
        file.end = (3 << 20) + 50;
        assert_eq!(a.sync(&file).await.unwrap().size, file.end);
        assert_eq!(b.stat(file.ino).await.size, file.end);
    });
}
