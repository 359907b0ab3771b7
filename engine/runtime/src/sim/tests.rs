//! The world as a whole: determinism, scheduling, clocks, ends of processes.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;

use super::*;
use crate::buffer::Bytes;
use crate::core_spec::{CoreEnd, CoreSpec};
use crate::env::Env;
use crate::file::{File, OpenOptions};
use crate::mailbox::Refused;
use crate::stream::{Listener, Reader, Writer};

pub(super) const PORT: u16 = 7000;
pub(super) const CREATE: OpenOptions =
    OpenOptions { write: true, create: true, truncate: false, lock: false };
pub(super) const HOUR: Duration = Duration::from_secs(3600);

pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A world of `nodes` nodes.
pub(super) fn world<const NODES: usize>(seed: u64) -> (Sim, [NodeId; NODES]) {
    let sim = Sim::new(SimConfig::new(seed));
    let nodes = core::array::from_fn(|node| sim.add_node(NodeSpec::new(&format!("n{node}"))));
    (sim, nodes)
}

/// Starts a process and gives what it returns once it has.
pub(super) fn run<T: 'static, F: Future<Output = T> + 'static>(
    sim: &Sim,
    node: NodeId,
    main: impl FnOnce(SimEnv) -> F + 'static,
) -> T {
    let result = start(sim, node, main);
    let ended = sim.run_while(HOUR, |sim| sim.is_running(node)).unwrap();
    assert!(ended, "{} hangs:\n{}", sim.name(node), sim.trace_tail());
    result.take().unwrap()
}

/// Starts a process and gives the place of what it returns.
pub(super) fn start<T: 'static, F: Future<Output = T> + 'static>(
    sim: &Sim,
    node: NodeId,
    main: impl FnOnce(SimEnv) -> F + 'static,
) -> Rc<RefCell<Option<T>>> {
    let result = Rc::new(RefCell::new(None));
    let place = result.clone();
    sim.start(node, move |env| async move {
        let value = main(env).await;
        *place.borrow_mut() = Some(value);
    });
    result
}

/// A full buffer of `len` bytes, each `byte`.
pub(super) fn filled(env: &SimEnv, len: usize, byte: u8) -> Bytes<env::Memory> {
    let mut buf = env.pool().alloc(len).unwrap();
    buf.whole_mut()[..len].fill(byte);
    buf.set_len(len);
    buf.freeze()
}

pub(super) async fn sleep(env: &SimEnv, duration: Duration) {
    env.sleep_until(env.now() + duration).await;
}

/// Two clients write to a server that stores what it gets; faults of every area happen.
fn busy_world(seed: u64) -> (u64, SimReport) {
    let (sim, [server, a, b]) = world::<3>(seed);
    sim.set_default_link(Link { loss_permille: 20, duplicate_permille: 20, ..Link::default() });
    let address = sim.address(server, PORT);
    sim.start(server, move |env| async move {
        let mut listener = env.listen(address).unwrap();
        let file = env.open("/store".as_ref(), CREATE).await.unwrap();
        let mut position = 0;
        loop {
            let mut stream = listener.accept().await.unwrap();
            let (file, task) = (file.clone(), env.clone());
            position += 1 << 20;
            env.spawn(async move {
                let mut at = position;
                loop {
                    let buf = task.pool().alloc_wait(4096).await.unwrap();
                    let (mut buf, read) = stream.reader.read(buf, 0..4096).await;
                    if !read.is_ok_and(|read| 0 < read) {
                        return;
                    }
                    buf.set_len(4096);
                    drop(file.write(at, buf.freeze()));
                    file.flush().await.unwrap();
                    at += 4096;
                }
            });
        }
    });
    for client in [a, b] {
        sim.start(client, move |env| async move {
            let stream = env.connect(address, env.now() + HOUR).await;
            let Ok(mut stream) = stream else { return };
            for _ in 0..20 {
                let byte = env.random().to_le_bytes()[0];
                if stream.writer.write_all(&[filled(&env, 5000, byte)]).await.is_err() {
                    return;
                }
                sleep(&env, ms(1)).await;
            }
        });
    }
    sim.run_for(ms(8)).unwrap();
    sim.freeze(a, ms(5));
    sim.run_for(ms(10)).unwrap();
    sim.crash(server);
    sim.run_for(ms(1000)).unwrap();
    (sim.trace_hash(), sim.report())
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let (mut hashes, mut total) = (Vec::new(), SimReport::default());
    for seed in 0..20 {
        let (hash, report) = busy_world(seed);
        assert_eq!((hash, report), busy_world(seed), "seed {seed}");
        total.add(&report);
        hashes.push(hash);
    }
    for count in [Count::Write, Count::Segment, Count::Lost, Count::Duplicated, Count::SectorLost] {
        assert!(0 < total.count(count), "no {}", count.name());
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 20, "every seed gives another world");
}

#[test]
fn ready_tasks_run_in_random_order() {
    let order = |seed| {
        let (sim, [node]) = world::<1>(seed);
        run(&sim, node, |env| async move {
            let order = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = (0..6)
                .map(|task| {
                    let order = order.clone();
                    env.spawn(async move { order.borrow_mut().push(task) })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            order.take()
        })
    };
    let orders: Vec<_> = (0..20).map(order).collect();
    assert!(orders.iter().any(|order| *order != orders[0]));
    assert_eq!(order(3), orders[3]);
}

#[test]
fn timers_are_late_but_never_early() {
    let mut latest = Duration::ZERO;
    for seed in 0..50 {
        let (sim, [node]) = world::<1>(seed);
        let late = run(&sim, node, |env| async move {
            let at = env.now() + ms(10);
            env.sleep_until(at).await;
            env.now().checked_since(at).expect("E35: fired early")
        });
        latest = latest.max(late);
    }
    assert!(ms(1) < latest && latest < ms(4), "{latest:?}");
}

#[test]
fn a_frozen_process_does_nothing_while_its_clock_goes_on() {
    let (sim, [node]) = world::<1>(1);
    let ticks = Rc::new(Cell::new(0));
    let counter = ticks.clone();
    sim.start(node, move |env| async move {
        loop {
            sleep(&env, ms(1)).await;
            counter.set(counter.get() + 1);
        }
    });
    sim.run_for(ms(100)).unwrap();
    let before = ticks.get();
    assert!(20 < before, "{before}");
    let clock = sim.node_now(node);
    sim.freeze(node, HOUR);
    sim.run_for(ms(1000)).unwrap();
    assert_eq!(ticks.get(), before);
    assert!(sim.is_frozen(node) && sim.is_running(node));
    assert_eq!(sim.node_now(node).saturating_since(clock), ms(1000));
    sim.wake(node);
    sim.run_for(ms(100)).unwrap();
    assert!(before < ticks.get());

    sim.freeze(node, ms(50));
    sim.run_for(ms(100)).unwrap();
    assert!(!sim.is_frozen(node), "thaws by itself");
}

#[test]
fn clocks_drift_and_jump_by_what_was_asked() {
    let sim = Sim::new(SimConfig::new(1));
    let clock = ClockSpec {
        drift_ppm: 100_000,
        wall_skew_ns: -5_000_000_000,
        boot: Some(Duration::from_secs(100)),
    };
    let fast = sim.add_node(NodeSpec { clock, ..NodeSpec::new("fast") });
    let right = sim.add_node(NodeSpec::new("right"));
    let walls: Vec<_> = [fast, right]
        .into_iter()
        .map(|node| run(&sim, node, |env| async move { env.wall() }))
        .collect();
    let apart = walls[1].saturating_since(walls[0]);
    assert!(ms(4_990) < apart && apart < ms(5_010), "{apart:?}");

    sim.run_until(Instant::from_nanos(10_000_000_000)).unwrap();
    assert_eq!(sim.node_now(fast), Instant::from_nanos(111_000_000_000));
    let before = sim.node_now(right);
    sim.jump_clock(right, ms(700));
    assert_eq!(sim.node_now(right).saturating_since(before), ms(700));

    // A timer set on a fast clock fires early for the world, and follows a change of rate.
    let slept = start(&sim, fast, |env| async move {
        sleep(&env, ms(11_000)).await;
        env.world_now()
    });
    sim.run_for(ms(5_000)).unwrap();
    sim.set_drift(fast, -500_000);
    sim.run_for(HOUR).unwrap();
    let at = slept.take().unwrap().nanos() / 1_000_000;
    assert!((26_000..26_010).contains(&at), "11 s = 5 s * 1.1 + 11 s * 0.5, ended at {at} ms");
}

#[test]
fn the_monotonic_clock_restarts_with_the_machine_only() {
    let (sim, [node]) = world::<1>(1);
    sim.run_for(HOUR).unwrap();
    let now = |env: SimEnv| async move { (env.now(), env.wall()) };
    let (first, wall) = run(&sim, node, now);
    sim.kill(node);
    let (second, _) = run(&sim, node, now);
    assert!(first <= second, "a process does not restart the clock");
    sim.crash(node);
    let (third, later) = run(&sim, node, now);
    assert!(third < first && wall <= later);
    assert_eq!(sim.starts(node), 3);
}

#[test]
fn a_panic_names_node_and_task() {
    let (sim, [_, node]) = world::<2>(1);
    sim.start(node, |env| async move {
        env.spawn(async { panic!("planted") }).await;
    });
    let failure = sim.run_for(HOUR).unwrap_err();
    assert_eq!(failure.node, Some(node));
    let FailureKind::Panicked { task, message } = &failure.kind else { panic!("{failure}") };
    assert_eq!(message, "planted");
    assert!(task.contains("tests.rs"), "{task}");
    assert_eq!(sim.run_for(HOUR).unwrap_err(), failure, "it stays");
}

#[test]
fn a_livelock_is_found() {
    let (sim, [node]) = world::<1>(1);
    sim.start(node, |_env| async move {
        loop {
            crate::yield_now().await;
        }
    });
    let failure = sim.run_for(ms(10_000)).unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Livelock { .. }), "{failure}");
}

#[test]
fn the_end_of_main_is_the_end_of_the_process() {
    let (sim, [node]) = world::<1>(1);
    let ticks = Rc::new(Cell::new(0));
    let counter = ticks.clone();
    run(&sim, node, |env| async move {
        let task = env.clone();
        drop(env.spawn(async move {
            loop {
                sleep(&task, ms(1)).await;
                counter.set(counter.get() + 1);
            }
        }));
        sleep(&env, ms(20)).await;
    });
    assert!(sim.is_finished(node) && !sim.is_running(node));
    let before = ticks.get();
    assert!(0 < before);
    assert_eq!(Rc::strong_count(&ticks), 1, "its tasks are dropped");
    sim.run_for(ms(100)).unwrap();
    assert_eq!(ticks.get(), before);
}

#[test]
fn a_core_ends_with_its_main_function_after_its_writes() {
    for seed in 0..50 {
        let (sim, [node]) = world::<1>(seed);
        let end = run(&sim, node, |env| async move {
            let main = |env: SimEnv| async move {
                let file = env.open("/f".as_ref(), CREATE).await.unwrap();
                drop(file.write(0, filled(&env, 4096, 7)));
            };
            let end = env.on_core(CoreSpec::new("other"), main).unwrap().await;
            let file = env.open("/f".as_ref(), CREATE).await.unwrap();
            assert_eq!(file.geometry().size, 4096);
            assert_eq!(file.read(0, 4096).await.unwrap()[0], 7);
            end
        });
        assert_eq!(end, CoreEnd::Finished);
    }
}

/// Calls its environment from its destructor, as guards do.
struct Chatty(SimEnv);

impl Drop for Chatty {
    fn drop(&mut self) {
        self.0.note("dropped");
        let clone = self.0.clone();
        drop(self.0.spawn(async move { clone.now() }));
        drop(self.0.sleep_until(self.0.now()));
        drop(self.0.open("/new".as_ref(), CREATE));
    }
}

#[test]
fn destructors_may_call_back_whatever_ends_them() {
    for end in 0..4 {
        let (sim, [node]) = world::<1>(end);
        let dropped = Rc::new(());
        let held = dropped.clone();
        sim.start(node, move |env| async move {
            let _held = (held, Chatty(env.clone()));
            let address = env.listen("0.0.0.0:80".parse().unwrap());
            core::future::pending::<()>().await;
            drop(address);
        });
        sim.run_for(ms(1)).unwrap();
        match end {
            0 => sim.crash(node),
            1 => sim.kill(node),
            2 => drop(sim),
            _ => assert!(sim.is_running(node)),
        }
        assert_eq!(Rc::strong_count(&dropped) == 1, end < 3, "end {end}");
    }
}

#[test]
fn a_task_may_end_its_own_process() {
    let (sim, [node, other]) = world::<2>(1);
    let sim = Rc::new(sim);
    let weak = Rc::downgrade(&sim);
    sim.start(node, move |env| async move {
        let _guard = Chatty(env.clone());
        weak.upgrade().unwrap().crash(node);
        weak.upgrade().unwrap().start(other, |_| async {});
        crate::yield_now().await;
        unreachable!("E45: its process has ended");
    });
    sim.run_for(ms(10)).unwrap();
    assert!(!sim.is_running(node) && sim.is_finished(other));
}

#[test]
fn mailboxes_play_full_at_the_rate_that_was_set() {
    let (sim, [node]) = world::<1>(1);
    let refused = |sim: &Sim| {
        run(sim, node, |env| async move {
            let (sender, receiver) = env.mailbox::<u32>(4);
            let send = |message| {
                let sent = sender.try_send(message);
                assert!(matches!(sent, Ok(()) | Err(Refused::Full(_))));
                let _ = receiver.try_recv();
                sent.is_err()
            };
            (0..1000).filter(|message| send(*message)).count()
        })
    };
    let few = refused(&sim);
    assert!((1..50).contains(&few), "10 permille of 1000: {few}");
    sim.set_mailbox_full(0);
    assert_eq!(refused(&sim), 0);
    assert_eq!(sim.report().count(Count::MailboxFull), few as u64);
}

#[test]
fn signals_reach_everybody_who_asked() {
    let (sim, [node]) = world::<1>(1);
    let got = start(&sim, node, |env| async move {
        let (a, b) = (env.signals().unwrap(), env.signals().unwrap());
        (a.recv().await, b.recv().await)
    });
    sim.run_for(ms(10)).unwrap();
    sim.signal(node, Signal::Terminate);
    sim.run_for(ms(10)).unwrap();
    assert_eq!(got.take(), Some((Some(Signal::Terminate), Some(Signal::Terminate))));
}

#[test]
fn run_while_stops_at_its_condition_or_its_limit() {
    let (sim, [node]) = world::<1>(1);
    sim.start(node, |env| async move { sleep(&env, ms(50)).await });
    assert!(!sim.run_while(ms(20), |sim| sim.is_running(node)).unwrap());
    assert_eq!(sim.now(), Instant::from_nanos(20_000_000));
    assert!(sim.run_while(ms(100), |sim| sim.is_running(node)).unwrap());
    assert!(sim.now() < Instant::from_nanos(60_000_000));
    assert!(!sim.step().unwrap(), "nothing is left");
}

#[test]
fn the_tail_of_the_trace_tells_names_and_notes() {
    let (sim, [node]) = world::<1>(1);
    run(&sim, node, |env| async move {
        env.note("about to write");
        let file = env.open("/f".as_ref(), CREATE).await.unwrap();
        file.write(4096, filled(&env, 4096, 1)).await.unwrap();
    });
    let tail = sim.trace_tail();
    assert!(tail.contains("n0: about to write"), "{tail}");
    assert!(tail.contains("n0: /f: write 4096 at 4096 done, crc"), "{tail}");
}
