//! Managers on one clock and one KV; drifting clocks and dying processes are the simulator's.

use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_runtime::{First, until};
use engine_types::{Incarnation, NodeId};
use meta_kv::engine::memory::MemoryEngine;
use meta_kv::{Embedded, Faults, Faulty, OwnKv};

use super::*;
use crate::records::{WriteError, write_guarded};

type Store = OwnKv<SimEnv, Faulty<SimEnv, Embedded<SimEnv, MemoryEngine>>>;
type Manager = Rc<Election<SimEnv, Store>>;

/// Runs `main` with a KV, on one simulated node, to its end.
fn with_kv<F: Future<Output = ()> + 'static>(
    seed: u64,
    main: impl FnOnce(SimEnv, Store) -> F + 'static,
) {
    let sim = Sim::new(SimConfig::new(seed));
    let node = sim.add_node(NodeSpec::new("managers"));
    let done = Rc::new(Cell::new(false));
    let seen = done.clone();
    sim.start(node, move |env| async move {
        let (store, _task) = Embedded::start(&env, MemoryEngine::new()).unwrap();
        let faulty = Faulty::new(env.clone(), store, Faults::default());
        main(env.clone(), OwnKv::new(env, faulty)).await;
        seen.set(true);
    });
    sim.run_for(Duration::from_secs(3600)).unwrap();
    assert!(done.get(), "seed {seed}: the test did not end");
}

fn manager(env: &SimEnv, kv: &Store, node: u32) -> Manager {
    let addresses = vec![format!("manager-{node}:7000")];
    let me = Contact { node: NodeId::new(node), incarnation: Incarnation::new(1), addresses };
    Election::new(env, kv.clone(), me, LeaseTimes::DEFAULT)
}

/// Starts a manager; the token hands over, the other one kills.
fn start(env: &SimEnv, kv: &Store, node: u32) -> (Manager, CancelToken, CancelToken) {
    let (manager, stop, kill) =
        (manager(env, kv, node), CancelToken::default(), CancelToken::default());
    let (runs, stopped, killed) = (manager.clone(), stop.clone(), kill.clone());
    drop(env.spawn(async move {
        if let First::Right(()) = first(runs.clone().run(stopped), killed.cancelled()).await {
            *runs.holder.borrow_mut() = None;
        }
    }));
    (manager, stop, kill)
}

fn give_up(manager: &Manager) {
    if let Some(term) = manager.with_holder(Holder::term) {
        manager.step_down(term);
    }
}

async fn becomes_valid(env: &SimEnv, manager: &Manager) -> Instant {
    while !manager.valid() {
        env.sleep_until(env.now() + Duration::from_millis(1)).await;
    }
    env.now()
}

#[test]
fn one_is_primary_and_a_handover_takes_no_lease_time() {
    with_kv(1, |env, kv| async move {
        let (one, stop, _) = start(&env, &kv, 1);
        becomes_valid(&env, &one).await;
        let (two, _, _) = start(&env, &kv, 2);
        for _ in 0..600 {
            env.sleep_until(env.now() + Duration::from_millis(100)).await;
            assert!(one.valid() && !two.valid(), "a minute of renewals");
        }
        let Standing::Standby(Some(record)) = two.standing() else { panic!("a standby") };
        assert_eq!(record.holder.node, NodeId::new(1));
        let began = env.now();
        stop.cancel();
        let took = becomes_valid(&env, &two).await.saturating_since(began);
        assert!(took < POLL_EVERY * 3, "{took:?}");
        assert!(!one.valid());
        assert_eq!(one.standing(), Standing::Standby(None));
    });
}

#[test]
fn a_dead_primary_is_replaced_when_its_lease_has_run_out() {
    with_kv(2, |env, kv| async move {
        let (one, _, kill) = start(&env, &kv, 1);
        becomes_valid(&env, &one).await;
        let (two, _, _) = start(&env, &kv, 2);
        env.sleep_until(env.now() + Duration::from_secs(15)).await;
        let until = one.with_holder(Holder::valid_until).unwrap();
        kill.cancel();
        let took = becomes_valid(&env, &two).await;
        assert!(until < took, "E287: {took} is before {until}");
        let late = took.saturating_since(until);
        assert!(late < Duration::from_millis(600), "{late:?} after the lease's end");
    });
}

/// E322: the write of a former primary does not take effect, though its clock says nothing.
#[test]
fn a_former_primary_writes_nothing() {
    with_kv(3, |env, kv| async move {
        let (one, _, kill) = start(&env, &kv, 1);
        becomes_valid(&env, &one).await;
        let former = one.holder.borrow().clone().unwrap();
        let put = async |t: &<Store as Kv>::Transaction| Ok(t.set(b"k", b"v")?);
        write_guarded(&kv, &former, put).await.unwrap();
        kill.cancel();
        let (two, _, _) = start(&env, &kv, 2);
        becomes_valid(&env, &two).await;
        let refused = write_guarded(&kv, &former, put).await;
        assert!(matches!(refused, Err(WriteError::NotPrimary(_))), "{refused:?}");
        let present = two.holder.borrow().clone().unwrap();
        write_guarded(&kv, &present, put).await.unwrap();
    });
}

/// L5: a KV that is away for seconds deposes nobody; one that stays away ends the primary in time.
#[test]
fn a_primary_outlives_a_short_absence_of_the_kv() {
    with_kv(4, |env, kv| async move {
        let (one, _, _) = start(&env, &kv, 1);
        let began = becomes_valid(&env, &one).await;
        kv.source().set_down(true);
        env.sleep_until(began + Duration::from_secs(7)).await;
        assert!(one.valid());
        kv.source().set_down(false);
        env.sleep_until(env.now() + Duration::from_secs(5)).await;
        let term = one.with_holder(Holder::term).unwrap();
        kv.source().set_down(true);
        env.sleep_until(env.now() + Duration::from_secs(11)).await;
        assert!(!one.valid(), "E286");
        kv.source().set_down(false);
        becomes_valid(&env, &one).await;
        assert_eq!(
            one.with_holder(Holder::term),
            Some(term),
            "its record was still the stored one"
        );
    });
}

/// Two managers while answers get lost, late ones included: never both, and never nobody for long.
#[test]
fn lost_answers_make_no_second_primary() {
    for seed in 0..4 {
        with_kv(10 + seed, |env, kv| async move {
            let faults = Faults {
                conflict: 50,
                lost_applied: 100,
                lost_dropped: 50,
                lost_late: 100,
                unavailable: 50,
                late_max: Duration::from_secs(2),
                latency_max: Duration::from_millis(50),
                ..Faults::default()
            };
            kv.source().set(faults);
            let managers = [1, 2].map(|node| start(&env, &kv, node));
            let mut seen = 0;
            let end = env.now() + Duration::from_secs(200);
            while env.now() < end {
                let valid = managers.iter().filter(|(manager, ..)| manager.valid()).count();
                assert!(valid < 2, "E287");
                seen += valid;
                if env.random().is_multiple_of(2_000) {
                    give_up(&managers[0].0);
                    give_up(&managers[1].0);
                }
                let pause = until(&env, env.now() + Duration::from_millis(20), async {
                    managers[0].0.changed().notified().await;
                });
                let _changed_or_not = pause.await;
            }
            assert!(2_000 < seen, "{seen} looks found a primary");
        });
    }
}

/// A record that makes no sense is named, and nobody becomes primary over it.
#[test]
fn a_damaged_lease_record_is_refused() {
    with_kv(5, |env, kv| async move {
        let t = kv.begin(TransactionOptions::default());
        t.set(LEASE_KEY, b"garbage").unwrap();
        t.commit().await.unwrap();
        let (one, _, _) = start(&env, &kv, 1);
        env.sleep_until(env.now() + Duration::from_secs(30)).await;
        assert!(!one.valid());
        let error = one.read().await.unwrap_err();
        assert!(error.to_string().starts_with("the lease record: "), "{error}");
    });
}
