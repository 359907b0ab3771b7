use engine_types::InodeId;
use meta_kv::AtomicOp;
use meta_schema::key;

use super::*;

const DIR: InodeId = InodeId::new(1024);
const MADE: InodeId = InodeId::new(5000);

fn set(key: &[u8]) -> Mutation {
    Mutation::Set { key: key.to_vec(), value: vec![7] }
}

fn entry() -> Vec<u8> {
    [b"DENT".as_slice(), &DIR.get().to_le_bytes(), &[0x12, 3, 4, 5, 6, 7, 8, 8]].concat()
}

/// A create: reads the directory, makes an entry and an inode, adds to the directory.
fn create() -> Taped {
    let dir = KeyRange::single(&key::inode(DIR));
    let add =
        |key: &[u8]| Mutation::Atomic { op: AtomicOp::Add, key: key.to_vec(), operand: vec![1] };
    let record = [b"REQU".as_slice(), &[9; 8], &3_u32.to_le_bytes()].concat();
    let commit = CommitRequest {
        read_version: Some(1),
        read_conflicts: vec![dir],
        mutations: vec![
            set(&entry()),
            set(&key::inode(MADE)),
            add(&key::side_counts(DIR)),
            set(&record),
        ],
        ..CommitRequest::default()
    };
    Taped { rounds: Vec::new(), commit: Some(commit) }
}

fn keys(taped: &Taped, run: Run) -> Vec<Vec<u8>> {
    let fresh = fresh(taped);
    let mutations = taped.commit.as_ref().unwrap().mutations.iter();
    let key = |mutation: &Mutation| match run.mutation(mutation, &fresh) {
        Mutation::Set { key, .. } | Mutation::Atomic { key, .. } => key,
        other => panic!("{other:?}"),
    };
    mutations.map(key).collect()
}

#[test]
fn what_a_transaction_made_is_made_anew_and_what_it_found_stays() {
    let taped = create();
    assert_eq!(fresh(&taped), vec![MADE.get().to_le_bytes()]);
    let run = |pass, channel| Run { shadow: 0x20, pass, channel };
    let (one, two) = (keys(&taped, run(1, 0)), keys(&taped, run(2, 0)));
    assert!(one.iter().all(|key| key[0].is_ascii_lowercase()), "the namespace stays: {one:?}");
    // Another entry, at the same probe of its name, in the same directory.
    assert_ne!(one[0], two[0]);
    assert_eq!(one[0][..ONE], two[0][..ONE]);
    assert_eq!(one[0][TWO - 4..], entry()[TWO - 4..]);
    assert!(one[0][ONE] < 0x80 && two[0][ONE] < 0x80, "slots have 63 bits");
    // Another inode, beside the first in the order of keys.
    assert_ne!(one[1], two[1]);
    assert_eq!(one[1][..LETTERS + 5], two[1][..LETTERS + 5]);
    // The same sums of the directory.
    assert_eq!(one[2], two[2]);
    // Of one channel the same record, of another one another.
    assert_eq!(one[3], two[3]);
    assert_ne!(one[3], keys(&taped, run(1, 1))[3]);
}

#[test]
fn an_inode_that_was_read_is_no_new_one() {
    let mut taped = create();
    let commit = taped.commit.as_mut().unwrap();
    commit.read_conflicts.push(KeyRange::single(&key::inode(MADE)));
    assert_eq!(fresh(&taped), Vec::<[u8; 8]>::new());
}

#[test]
fn ranges_keep_their_order() {
    let run = Run { shadow: 0x80, pass: 300, channel: 0 };
    let mut end = entry();
    *end.last_mut().unwrap() = 16;
    let range = run.shadow_range(&KeyRange::new(entry(), end), &[]);
    assert!(!range.is_empty(), "{range:?}");
}
