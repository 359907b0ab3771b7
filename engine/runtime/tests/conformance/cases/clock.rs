//! E35: the clock and its timers.

use core::cell::Cell;
use core::future::pending;
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::{Elapsed, Env, until};
use engine_types::Rng;

use crate::ground::{Ground, SEED, a_moment, after, eventually};

/// E35, R8.
pub(crate) async fn the_clock_never_goes_back_and_advances<E: Env>(env: E, _: Ground) {
    let start = env.now();
    let mut last = start;
    for _ in 0..100 {
        let now = env.now();
        assert!(last <= now, "{now:?} after {last:?}");
        last = now;
    }
    a_moment(&env).await;
    assert!(start < env.now());
    assert!(0 < env.wall().nanos());
}

/// E35: by the clock that the caller reads.
pub(crate) async fn timers_never_fire_early<E: Env>(env: E, _: Ground) {
    let micros = [0, 1, 49, 50, 200, 999, 1000, 1001, 1999, 2500, 7000, 15_000];
    let sleepers: Vec<_> = micros
        .into_iter()
        .map(|micros| {
            let (env, at) = (env.clone(), after(&env, Duration::from_micros(micros)));
            env.clone().spawn(async move {
                env.sleep_until(at).await;
                let now = env.now();
                assert!(at <= now, "{micros} us: fired at {now:?}, due at {at:?}");
            })
        })
        .collect();
    for sleeper in sleepers {
        sleeper.await;
    }
}

/// E35.
pub(crate) async fn a_past_time_fires_at_once<E: Env>(env: E, _: Ground) {
    a_moment(&env).await;
    env.sleep_until(env.now()).await;
    env.sleep_until(env.now().saturating_sub(Duration::from_millis(3))).await;
    env.sleep_until(engine_types::Instant::ZERO).await;
}

/// E35: far more timers than tasks usually have.
pub(crate) async fn many_timers_all_fire<E: Env>(env: E, _: Ground) {
    let fired = Rc::new(Cell::new(0));
    let mut rng = Rng::new(SEED);
    for _ in 0..5000 {
        let at = after(&env, Duration::from_micros(rng.range(0..=50_000)));
        let (env, fired) = (env.clone(), fired.clone());
        drop(env.clone().spawn(async move {
            env.sleep_until(at).await;
            assert!(at <= env.now());
            fired.set(fired.get() + 1);
        }));
    }
    eventually(&env, || fired.get() == 5000).await;
}

/// Dropping a timer stops it, whatever became of its neighbours.
pub(crate) async fn dropped_timers_disturb_nobody<E: Env>(env: E, _: Ground) {
    let at = after(&env, Duration::from_millis(10));
    for round in 0..100 {
        let early = env.sleep_until(at.saturating_sub(Duration::from_micros(round)));
        assert_eq!(until(&env, env.now(), early).await, Err(Elapsed), "round {round}");
    }
    env.sleep_until(at).await;
    assert!(at <= env.now());
}

/// E34, V2: what is given up is the wait.
pub(crate) async fn a_deadline_ends_the_wait_and_not_the_work<E: Env>(env: E, _: Ground) {
    let soon = after(&env, Duration::from_millis(2));
    assert_eq!(until(&env, soon, pending::<()>()).await, Err(Elapsed));
    let done = Rc::new(Cell::new(false));
    let later = after(&env, Duration::from_millis(20));
    let work = env.spawn({
        let (env, done) = (env.clone(), done.clone());
        async move {
            env.sleep_until(later).await;
            done.set(true);
        }
    });
    assert_eq!(until(&env, env.now(), work).await, Err(Elapsed));
    assert!(!done.get());
    eventually(&env, || done.get()).await;
    assert_eq!(until(&env, env.now(), async { 3 }).await, Ok(3), "an answer wins over a deadline");
}
