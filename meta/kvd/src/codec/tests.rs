use engine_types::Rng;
use meta_kv::Mutation as M;

use super::*;

fn request() -> CommitRequest {
    let (key, value) = (b"key".to_vec(), b"value".to_vec());
    CommitRequest {
        epoch: 0,
        read_version: Some(0x0102_0304),
        read_conflicts: vec![KeyRange::new("a", "b"), KeyRange::single(b"k")],
        write_conflicts: vec![KeyRange::new("c", "d")],
        mutations: vec![
            M::Set { key: key.clone(), value: value.clone() },
            M::Clear { range: KeyRange::new("e", "f") },
            M::Atomic { op: AtomicOp::Max, key: key.clone(), operand: vec![1] },
            M::StampedKey { key: vec![9; 12], offset: 2, value: value.clone() },
            M::StampedValue { key, value: vec![8; 11], offset: 1 },
        ],
    }
}

/// The encoding as it was released; commits of other versions are refused.
#[test]
fn golden_bytes_of_a_commit() {
    let bytes = encode_commit(&request());
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "0101040302010000000002000000010061010062\
         01006b02006b0001000000010063010064\
         050000000103006b65790500000076616c7565\
         02010065010066\
         030c03006b65790100000001\
         040c00090909090909090909090909020000000500000076616c7565\
         0503006b6579010000000b0000000808080808080808080808"
    );
    assert_eq!(decode_commit(&bytes), Ok(request()));
    let mut newer = bytes;
    newer[0] = 2;
    let error = decode_commit(&newer).unwrap_err();
    assert_eq!(error.to_string(), "malformed format of a commit at byte 0 of 128");
}

/// Whatever arrives is an error or a commit, and never a panic or a large reservation.
#[test]
fn damaged_commits_are_errors() {
    let good = encode_commit(&request());
    for length in 0..good.len() {
        assert!(decode_commit(&good[..length]).is_err(), "cut at {length}");
    }
    let mut rng = Rng::new(1);
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..rng.range(1..=4) {
            let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
            bytes[at] = rng.next_u64().to_le_bytes()[0];
        }
        if let Ok(decoded) = decode_commit(&bytes) {
            let _checked = decoded.check();
            assert_eq!(encode_commit(&decoded)[1..2], [bytes[1].min(1)]);
        }
    }
}

#[test]
fn entries_return_as_they_were() {
    let entries = vec![(b"a".to_vec(), vec![]), (vec![], b"empty key".to_vec())];
    let bytes = encode_entries(&entries);
    assert_eq!(bytes.len(), entries.iter().map(|(k, v)| entry_size(k, v)).sum::<usize>());
    assert_eq!(decode_entries(&bytes, 2), Ok(entries));
    assert!(decode_entries(&bytes, 1).is_err(), "an entry is left");
    assert!(decode_entries(&bytes, 3).is_err(), "an entry is missing");
    assert!(decode_entries(&[], u32::MAX).is_err());
}

#[test]
fn errors_return_as_they_were_or_in_words() {
    let reason = || "why".to_owned();
    for error in [
        KvError::Conflict,
        KvError::TooOld,
        KvError::UnknownResult { reason: reason() },
        KvError::TimedOut { limit_ms: 5 },
        KvError::Unavailable { reason: reason() },
        KvError::Overloaded { reason: reason() },
        KvError::TooLarge { found: 2, limit: 1 },
        KvError::KeyTooLong { found: 2, limit: 1 },
        KvError::ValueTooLong { found: 2, limit: 1 },
        KvError::Failed { reason: "the key-value store failed: why".to_owned() },
    ] {
        let (code, details) = encode_error(&error);
        let returned = decode_error(code, &details);
        match error {
            KvError::Failed { .. } => assert!(returned.to_string().contains("why")),
            _ => assert_eq!(returned, error),
        }
    }
    assert!(decode_error(999, b"").to_string().contains("error 999"));
}
