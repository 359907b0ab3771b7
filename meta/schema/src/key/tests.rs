use std::collections::BTreeMap;
use std::string::ToString;
use std::vec;

use engine_types::Rng;

use super::*;
use crate::delete::DeletionClass;
use crate::sample::{Sample, any, number};

impl Sample for Key {
    fn every(rng: &mut Rng) -> Vec<Self> {
        let (ino, session) = (any(rng), any(rng));
        let class = *rng.pick(&DeletionClass::ALL).unwrap();
        let (shard, due_ms) = (any(rng), any(rng));
        let mut name: Vec<u8> = any(rng);
        name.push(any(rng));
        vec![
            Self::Superblock,
            Self::Inode(ino),
            Self::SideCounts(ino),
            Self::SideTimes(ino),
            Self::Parent(ino),
            Self::Dirent { dir: ino, slot: any(rng) },
            Self::WriteSession { ino, session },
            Self::SessionInode { session, ino },
            Self::FencedBelow,
            Self::Fenced(session),
            Self::Request { session, channel: any(rng) },
            Self::Xattr { ino, name },
            Self::Locks(ino),
            Self::SessionLocks { session, ino },
            Self::LockWait { session, owner: any(rng) },
            Self::Deletion { class, shard, due_ms, ino },
            Self::Claim(any(rng)),
            Self::Shrink(ino),
            Self::LengthQuery(ino),
            Self::ServiceStarts(any(rng)),
            Self::InodeIds(any(rng)),
        ]
    }
}

#[test]
fn e401_keys_come_back_and_differ() {
    let rng = &mut Rng::new(1);
    let mut seen = BTreeMap::new();
    for _ in 0..500 {
        for key in Key::every(rng) {
            let bytes = key.encode();
            assert_eq!(Key::parse(&bytes), Ok(key.clone()));
            if let Some(other) = seen.insert(bytes, key.clone()) {
                assert_eq!(other, key, "E401: two keys of the same bytes");
            }
        }
    }
}

/// Whatever bytes parse are those of the key.
#[test]
fn e401_no_bytes_make_it_panic() {
    let rng = &mut Rng::new(2);
    for _ in 0..300 {
        for key in Key::every(rng) {
            let bytes = key.encode();
            for cut in 0..bytes.len() {
                check(&bytes[..cut]);
            }
            let mut changed = bytes.clone();
            let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
            changed[at] = number(rng).to_le_bytes()[0];
            check(&changed);
            changed.push(0);
            check(&changed);
        }
    }
    fn check(bytes: &[u8]) {
        if let Ok(key) = Key::parse(bytes) {
            assert_eq!(key.encode(), bytes, "E401: {key:?}");
        }
    }
}

#[test]
fn golden_keys() {
    let ino = InodeId::new(0x0102);
    let session = SessionId::new(0x0304);
    let slot = Slot::new(0x0506_0708).unwrap();
    let rows: [(Key, &[u8]); 21] = [
        (Key::Superblock, b"SUPR"),
        (Key::Inode(ino), b"INOD\x02\x01\0\0\0\0\0\0"),
        (Key::SideCounts(ino), b"INOD\x02\x01\0\0\0\0\0\0A"),
        (Key::SideTimes(ino), b"INOD\x02\x01\0\0\0\0\0\0T"),
        (Key::Parent(ino), b"PARE\x02\x01\0\0\0\0\0\0"),
        (Key::Dirent { dir: ino, slot }, b"DENT\x02\x01\0\0\0\0\0\0\0\0\0\0\x05\x06\x07\x08"),
        (Key::WriteSession { ino, session }, b"SESS\x02\x01\0\0\0\0\0\0\0\0\0\0\0\0\x03\x04"),
        (Key::SessionInode { session, ino }, b"SESI\0\0\0\0\0\0\x03\x04\x02\x01\0\0\0\0\0\0"),
        (Key::FencedBelow, b"SESX"),
        (Key::Fenced(session), b"SESX\0\0\0\0\0\0\x03\x04"),
        (
            Key::Request { session, channel: ChannelId::new(0x0506) },
            b"REQU\0\0\0\0\0\0\x03\x04\x06\x05\0\0",
        ),
        (Key::Xattr { ino, name: b"user.a".into() }, b"XATT\x02\x01\0\0\0\0\0\0user.a"),
        (Key::Locks(ino), b"LOCK\x02\x01\0\0\0\0\0\0"),
        (Key::SessionLocks { session, ino }, b"LOCS\0\0\0\0\0\0\x03\x04\x02\x01\0\0\0\0\0\0"),
        (Key::LockWait { session, owner: 0x0506 }, b"LOCW\0\0\0\0\0\0\x03\x04\0\0\0\0\0\0\x05\x06"),
        (
            Key::Deletion { class: DeletionClass::Large, shard: 7, due_ms: 0x0809, ino },
            b"DELQ\x01\x07\0\0\0\0\0\0\x08\x09\x02\x01\0\0\0\0\0\0",
        ),
        (Key::Shrink(ino), b"TRUN\x02\x01\0\0\0\0\0\0"),
        (Key::Claim(15), b"DELC\x0f"),
        (Key::LengthQuery(ino), b"LENQ\x02\x01\0\0\0\0\0\0"),
        (Key::ServiceStarts(0x0102), b"METS\x02\x01\0\0"),
        (Key::InodeIds(9), b"IDAL\x09"),
    ];
    for (key, golden) in rows {
        assert_eq!(key.encode(), golden, "{key:?}");
    }
}

#[test]
fn ranges_hold_what_they_should() {
    let ino = InodeId::new(77);
    let (begin, end) = (inode(ino), inode_end(ino));
    let whole = begin.as_slice()..end.as_slice();
    for key in [Key::Inode(ino), Key::SideCounts(ino), Key::SideTimes(ino)] {
        assert!(whole.contains(&key.encode().as_slice()));
    }
    let first = Slot::new(0x7fff_ffff_ffff_fff8).unwrap();
    let range = dirent(ino, first)..dirent_end(ino, first);
    assert!((0..8).all(|probe| range.contains(&dirent(ino, first.probe(probe)))));
    assert!(dirent(ino, first).starts_with(&dirents(ino)));
    assert!(xattr(ino, b"user.a").starts_with(&xattrs(ino)));
    let session = SessionId::new(5);
    assert!(write_session(ino, session).starts_with(&write_sessions(ino)));
    assert!(session_inode(session, ino).starts_with(&session_inodes(session)));
    assert!(request(session, ChannelId::new(3)).starts_with(&requests(session)));
    assert!(session_lock(session, ino).starts_with(&session_locks(session)));
    assert!(lock_wait(session, 3).starts_with(&lock_waits(session)));
    let class = DeletionClass::Tree;
    assert!(deletion(class, 3, 4, ino).starts_with(&deletions(class, 3)));
    assert!(shrink(ino).starts_with(&shrinks()));
    assert!(length_query(ino).starts_with(&length_queries()));
    assert!(deletion(class, 3, 255, ino) < deletion(class, 3, 256, InodeId::new(1)));
}

#[test]
fn errors_show_the_key() {
    let error = |bytes: &[u8]| Key::parse(bytes).unwrap_err().to_string();
    assert_eq!(error(b"ABCD"), "unknown kind of key: [65, 66, 67, 68]");
    assert_eq!(error(b"AB"), "unknown kind of key: [65, 66]");
    assert_eq!(error(b"INOD\x01"), "key INOD: what follows has not its form: [1]");
    assert_eq!(decode_inode(&encode_inode(InodeId::new(5))), Some(InodeId::new(5)));
    assert_eq!(decode_number(&encode_number(6)), Some(6));
    assert_eq!((decode_inode(&[1]), decode_number(&[])), (None, None));
}
