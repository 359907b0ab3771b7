use core::cell::Cell;

use engine_runtime::Env;
use engine_runtime::sim::Count;

use super::*;
use crate::fault::{Fault, FaultEvent, LinkTrouble};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn event(at: u64, lasts: u64, fault: Fault) -> FaultEvent {
    FaultEvent { at: MS(at), lasts: MS(lasts), fault }
}

async fn idle(env: SimEnv) {
    env.sleep_until(Instant::NEVER).await;
}

fn world_of_two() -> World {
    let mut world = World::new(1, Topology::of(&[("a", 1), ("b", 1)]));
    for node in world.nodes().to_vec() {
        world.start(node, idle);
    }
    world
}

#[test]
fn a_node_returns_when_the_last_fault_that_keeps_it_off_has_ended() {
    let mut world = world_of_two();
    let node = world.node(0);
    world.set_plan(FaultPlan::of(vec![
        event(10, 50, Fault::Crash(node)),
        event(20, 80, Fault::Kill(node)),
    ]));
    let up = |world: &World| world.sim().is_running(node);
    for (ms, expected) in [(5, true), (10, false), (50, false), (30, false), (20, true)] {
        world.run(MS(ms)).expect("nothing fails");
        assert_eq!(up(&world), expected, "at {}", world.sim().now());
    }
    assert_eq!(world.sim().starts(node), 2);
}

#[test]
fn links_are_as_bad_as_the_worst_fault_under_way() {
    let mut world = world_of_two();
    let (a, b) = (world.node(0), world.node(1));
    let trouble = |loss| LinkTrouble { loss_permille: loss, ..LinkTrouble::default() };
    world.set_plan(FaultPlan::of(vec![
        event(10, 40, Fault::Link(a, b, trouble(100))),
        event(20, 10, Fault::Link(a, b, trouble(300))),
        event(25, 50, Fault::Partition(vec![a], vec![b])),
        event(60, 50, Fault::OneWayCut(b, a)),
    ]));
    // (until ms, loss and cut from a to b, cut from b to a)
    #[rustfmt::skip]
    let rows = [
        (15, 100, false, false), (22, 300, false, false), (28, 300, true, true),
        (35, 100, true, true), (55, 0, true, true), (80, 0, false, true), (120, 0, false, false),
    ];
    let mut now = 0;
    for (ms, loss, there, back) in rows {
        world.run(MS(ms - now)).expect("nothing fails");
        now = ms;
        let (to, from) = (world.sim().link(a, b), world.sim().link(b, a));
        assert_eq!((to.loss_permille, to.cut, from.cut), (loss, there, back), "at {ms} ms");
    }
}

#[test]
fn what_happens_at_once_needs_no_mending() {
    let mut world = world_of_two();
    let (a, b) = (world.node(0), world.node(1));
    world.set_plan(FaultPlan::of(vec![event(10, 0, Fault::Sever(a, b))]));
    world.run(MS(50)).expect("nothing fails");
    assert_eq!(world.sim().link(a, b), world.sim().link(b, a));
}

#[test]
fn stopping_faults_mends_everything() {
    let mut world = world_of_two();
    let (a, b) = (world.node(0), world.node(1));
    world.set_plan(FaultPlan::of(vec![
        event(0, 10_000, Fault::Crash(a)),
        event(1, 10_000, Fault::Freeze(b)),
        event(2, 10_000, Fault::Partition(vec![a], vec![b])),
        event(500, 10_000, Fault::Crash(b)),
    ]));
    world.run(MS(50)).expect("nothing fails");
    assert!(!world.sim().is_running(a) && world.sim().is_frozen(b) && world.sim().link(a, b).cut);
    world.stop_faults();
    world.run(MS(1_000)).expect("nothing fails");
    assert!(world.sim().is_running(a) && world.sim().is_running(b), "T11");
    assert!(!world.sim().is_frozen(b) && !world.sim().link(a, b).cut, "T11");
    assert_eq!(world.sim().report().count(Count::Crash), 1, "what was to come does not");
}

#[test]
fn a_supervised_process_is_started_again_and_another_is_not() {
    let lives = Rc::new(Cell::new(0));
    let count = |lives: &Rc<Cell<u32>>| {
        let lives = lives.clone();
        move |_: SimEnv| {
            lives.set(lives.get() + 1);
            core::future::ready(())
        }
    };
    let mut world = World::new(1, Topology::of(&[("a", 1), ("b", 1)]));
    let once = Rc::new(Cell::new(0));
    world.start_supervised(world.node(0), count(&lives));
    world.start(world.node(1), count(&once));
    world.run(MS(100)).expect("nothing fails");
    world.stop_faults();
    world.run(MS(100)).expect("nothing fails");
    assert!(5 <= lives.get(), "{}", lives.get());
    assert_eq!(once.get(), 1);
}

#[test]
fn a_panic_in_a_node_is_a_failure_of_the_world() {
    let mut world = World::new(1, Topology::of(&[("a", 1)]));
    world.start(world.node(0), |_| async { panic!("an own mistake") });
    let failure = world.run(MS(10)).expect_err("the task panicked");
    assert!(failure.to_string().contains("an own mistake"), "{failure}");
}
