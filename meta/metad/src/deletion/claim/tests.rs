use super::*;

const US: SessionId = SessionId::new(1);
const THEM: SessionId = SessionId::new(2);

fn at(millis: u64) -> Instant {
    Instant::from_nanos(1_000_000_000_000 + millis * 1_000_000)
}

#[test]
fn a_free_shard_is_taken_and_kept_by_beats() {
    let mut claims = Claims::new(US);
    assert_eq!(claims.judge(3, None, at(0)), Stand::Write(0));
    claims.written(3, 0, at(1));
    assert!(claims.is_ours(3, at(2_000)));
    assert_eq!(claims.judge(3, Some((US, 0)), at(2_000)), Stand::Ours);
    assert!(!claims.is_ours(3, at(3_001)));
    assert_eq!(claims.judge(3, Some((US, 0)), at(3_001)), Stand::Write(1));
}

#[test]
fn a_shard_of_another_is_taken_after_its_silence_alone() {
    let mut claims = Claims::new(US);
    for step in 0..20 {
        // It beats: never ours.
        let stand = claims.judge(0, Some((THEM, step)), at(step * 3_000));
        assert_eq!(stand, Stand::Theirs);
    }
    let last = 19 * 3_000;
    assert_eq!(claims.judge(0, Some((THEM, 19)), at(last + 14_999)), Stand::Theirs);
    assert_eq!(claims.judge(0, Some((THEM, 19)), at(last + 15_000)), Stand::Write(20));
}

#[test]
fn shards_are_not_taken_all_at_once() {
    let mut claims = Claims::new(US);
    assert_eq!(claims.judge(0, None, at(0)), Stand::Write(0));
    assert_eq!(claims.judge(1, None, at(100)), Stand::Theirs);
    assert_eq!(claims.judge(1, None, at(500)), Stand::Write(0));
}

#[test]
fn a_shard_that_was_lost_is_not_ours() {
    let mut claims = Claims::new(US);
    claims.written(5, 7, at(0));
    assert_eq!(claims.judge(5, Some((THEM, 8)), at(10)), Stand::Theirs);
    assert!(!claims.is_ours(5, at(11)));
}
