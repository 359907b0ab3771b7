use engine_types::Rng;

use super::*;

#[test]
fn pauses_double_up_to_their_limit_and_are_half_random() {
    let policy = Policy::default();
    let mut rng = Rng::new(1);
    for attempt in 1..100 {
        let whole = policy.pause_min.saturating_mul(1 << (attempt - 1).min(20));
        let whole = whole.min(policy.pause_max);
        for _ in 0..10 {
            let pause = pause(&policy, attempt, rng.next_u64());
            assert!(whole / 2 <= pause && pause <= whole, "attempt {attempt}: {pause:?}");
        }
    }
}

#[test]
fn only_idempotent_bodies_run_again_after_an_unknown_result() {
    let unknown = KvError::UnknownResult { reason: "lost".to_owned() };
    for (error, idempotent, again) in [
        (KvError::Conflict, false, true),
        (KvError::TooOld, false, true),
        (unknown.clone(), false, false),
        (unknown, true, true),
        (KvError::TimedOut { limit_ms: 1 }, true, false),
        (KvError::TooLarge { found: 2, limit: 1 }, true, false),
    ] {
        assert_eq!(repeatable(&error, idempotent), again, "{error:?}, idempotent {idempotent}");
    }
}
