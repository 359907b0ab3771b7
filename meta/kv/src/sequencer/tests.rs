use super::*;
use crate::key::KeyRange;

fn request(read: Option<(u64, &str)>, written: &[&str]) -> CommitRequest {
    let mutations =
        written.iter().map(|key| Mutation::Set { key: key.as_bytes().to_vec(), value: Vec::new() });
    CommitRequest {
        epoch: 0,
        read_version: read.map(|(version, _)| version),
        read_conflicts: read.iter().map(|(_, key)| KeyRange::single(key.as_bytes())).collect(),
        write_conflicts: Vec::new(),
        mutations: mutations.collect(),
    }
}

#[test]
fn requests_of_one_group_see_each_other() {
    let mut sequencer = Sequencer::new(100);
    let now = Instant::ZERO;
    let mut group = sequencer.open_group(now);
    let mut admit = |request| sequencer.admit(&mut group, request, now);
    let first = admit(request(Some((100, "x")), &["y"])).unwrap();
    assert_eq!(first, Committed { version: 101, stamp: Some(Versionstamp::new(101, 0)) });
    assert_eq!(admit(request(Some((100, "y")), &["x"])), Err(KvError::Conflict), "write skew");
    let second = admit(request(Some((100, "z")), &["y"])).unwrap();
    assert_eq!(second.stamp, Some(Versionstamp::new(101, 1)));
    assert_eq!(group.commits(), 2);
    assert_eq!(group.into_batch().mutations.len(), 2);
}

#[test]
fn versions_from_before_the_start_are_too_old_for_reads_alone() {
    let mut sequencer = Sequencer::new(100);
    let mut group = sequencer.open_group(Instant::ZERO);
    let mut admit = |request| sequencer.admit(&mut group, request, Instant::ZERO);
    assert_eq!(admit(request(Some((99, "x")), &["x"])), Err(KvError::TooOld), "E205");
    assert!(admit(request(None, &["x"])).is_ok(), "blind writes have no age");
    let future = admit(request(Some((101, "x")), &["x"])).unwrap_err();
    assert_eq!(
        future.to_string(),
        "the key-value store failed: read version 101 was never handed out"
    );
}

#[test]
fn writes_are_forgotten_when_no_transaction_can_be_that_old() {
    let mut sequencer = Sequencer::new(0);
    let mut now = Instant::ZERO;
    for _ in 0..100 {
        let mut group = sequencer.open_group(now);
        sequencer.admit(&mut group, request(None, &["a", "b", "c"]), now).unwrap();
        now += Duration::from_secs(1);
    }
    assert_eq!(sequencer.remembered(), 3);
    let mut group = sequencer.open_group(now);
    let mut admit =
        |version| sequencer.admit(&mut group, request(Some((version, "other")), &["d"]), now);
    assert_eq!(admit(90), Err(KvError::TooOld));
    assert!(admit(95).is_ok());
}

#[test]
fn a_group_takes_one_of_any_size_and_others_up_to_its_limits() {
    let mut sequencer = Sequencer::new(0);
    let mut group = sequencer.open_group(Instant::ZERO);
    assert!(group.has_room(BATCH_BYTES_MAX));
    sequencer.admit(&mut group, request(None, &["a"]), Instant::ZERO).unwrap();
    assert!(!group.has_room(BATCH_BYTES_MAX));
    for _ in 1..BATCH_COMMITS_MAX {
        assert!(group.has_room(1));
        sequencer.admit(&mut group, request(None, &["a"]), Instant::ZERO).unwrap();
    }
    assert!(!group.has_room(1));
}

#[test]
fn a_request_without_a_version_for_its_reads_is_refused() {
    let mut bad = request(Some((1, "x")), &["x"]);
    bad.read_version = None;
    let mut sequencer = Sequencer::new(1);
    let mut group = sequencer.open_group(Instant::ZERO);
    assert!(sequencer.admit(&mut group, bad, Instant::ZERO).is_err());
}
