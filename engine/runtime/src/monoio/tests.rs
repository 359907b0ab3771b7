//! What the conformance suite cannot see: how cores begin and end.

use core::cell::RefCell;
use core::future::{pending, poll_fn};
use core::net::{Ipv4Addr, SocketAddr};
use core::task::{Poll, Waker};
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use super::{Driver, MonoioEnv, run, run_on};
use crate::core_spec::{CoreEnd, CoreSpec};
use crate::env::Env;
use crate::stream::{Listener as _, Reader as _, Stream};

const DRIVERS: [Driver; 3] = [Driver::Auto, Driver::Uring, Driver::Legacy];

async fn pair(env: &MonoioEnv) -> (Stream<MonoioEnv>, Stream<MonoioEnv>) {
    let mut listener = env.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let soon = env.now().saturating_add(Duration::from_secs(30));
    let connecting = env.connect(listener.address(), soon);
    let server = listener.accept().await.unwrap();
    (connecting.await.unwrap(), server)
}

#[test]
fn run_answers_what_main_answers_and_can_be_called_again() {
    for driver in DRIVERS {
        for round in 0..3 {
            let main = move |env: MonoioEnv| async move { env.spawn(async move { round }).await };
            assert_eq!(run_on(driver, CoreSpec::new("core"), main).unwrap(), round);
        }
    }
    assert_eq!(run(CoreSpec::new("core"), |_| async { 1 }).unwrap(), 1);
}

#[test]
fn a_panic_leaves_run_after_everything_was_dropped() {
    for driver in DRIVERS {
        let witness = Rc::new(());
        let held = witness.clone();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            run_on(driver, CoreSpec::new("core"), |env| async move {
                let (client, mut server) = pair(&env).await;
                let buf = env.pool().alloc(4096).unwrap();
                drop(env.spawn(async move {
                    let _held = (held, client);
                    server.reader.read(buf, 0..4096).await.1.unwrap()
                }));
                drop(env.spawn(async { panic!("a mistake") }));
                pending::<()>().await;
            })
        }));
        assert_eq!(outcome.unwrap_err().downcast_ref::<&str>().copied(), Some("a mistake"));
        assert_eq!(Rc::strong_count(&witness), 1);
        assert_eq!(run_on(driver, CoreSpec::new("core"), |_| async { 2 }).unwrap(), 2);
    }
}

#[test]
fn ended_cores_leave_no_descriptors() {
    fn descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }
    const CORES: usize = 200;
    let before = descriptors();
    for driver in [Driver::Uring, Driver::Legacy] {
        for _ in 0..CORES {
            let main = |env: MonoioEnv| async move {
                let (client, mut server) = pair(&env).await;
                let buf = env.pool().alloc(4096).unwrap();
                let reading = env.spawn(async move { server.reader.read(buf, 0..4096).await.1 });
                drop(env.spawn(async move { (client, reading.await.unwrap()) }));
                poll_fn(|_| Poll::Ready(())).await;
            };
            run_on(driver, CoreSpec::new("core"), main).unwrap();
        }
    }
    let after = descriptors();
    // Other tests of this process open some meanwhile; each of our cores had at least six.
    assert!(after < before + CORES, "{before} before, {after} after");
}

#[test]
fn e70_a_waker_that_outlives_its_core_is_harmless() {
    for driver in DRIVERS {
        let kept = Arc::new(Mutex::new(None::<Waker>));
        let keep = kept.clone();
        let witness = Rc::new(());
        let held = witness.clone();
        run_on(driver, CoreSpec::new("core"), |env: MonoioEnv| async move {
            let (sender, receiver) = env.mailbox(1);
            drop(env.spawn(async move {
                let _held = held;
                poll_fn(|cx| {
                    *keep.lock().unwrap() = Some(cx.waker().clone());
                    let _ = sender.try_send(());
                    Poll::<()>::Pending
                })
                .await;
            }));
            receiver.recv().await;
        })
        .unwrap();
        assert_eq!(Rc::strong_count(&witness), 1, "the task was dropped with its core");
        let (sender, receiver) = sync_channel(1);
        let wake = move || {
            let waker = kept.lock().unwrap().take().unwrap();
            waker.wake_by_ref();
            drop(waker);
            sender.send(()).unwrap();
        };
        std::thread::Builder::new().spawn(wake).unwrap();
        receiver.recv().unwrap();
    }
}

#[test]
fn what_main_hands_out_may_be_dropped_after_the_core() {
    for driver in DRIVERS {
        let kept = Rc::new(RefCell::new(Vec::new()));
        let keep = kept.clone();
        let main = |env: MonoioEnv| async move {
            let (client, server) = pair(&env).await;
            keep.borrow_mut().extend([client, server]);
            env.pool().alloc(1).unwrap()
        };
        let buf = run_on(driver, CoreSpec::new("core"), main).unwrap();
        kept.borrow_mut().clear();
        drop(buf);
    }
}

#[test]
fn cores_inherit_the_driver() {
    for driver in [Driver::Uring, Driver::Legacy] {
        let main = move |env: MonoioEnv| async move {
            let main = move |env: MonoioEnv| async move { assert_eq!(env.driver(), driver) };
            env.on_core(CoreSpec::new("other"), main).unwrap().await
        };
        assert_eq!(run_on(driver, CoreSpec::new("core"), main).unwrap(), CoreEnd::Finished);
    }
}

#[test]
fn an_earlier_timer_is_not_held_up_by_a_later_one() {
    for driver in DRIVERS {
        run_on(driver, CoreSpec::new("core"), |env: MonoioEnv| async move {
            let hour = env.now().saturating_add(Duration::from_secs(3600));
            drop(env.spawn(env.sleep_until(hour)));
            drop(env.spawn(env.sleep_until(engine_types::Instant::NEVER)));
            for _ in 0..10 {
                let soon = env.now().saturating_add(Duration::from_millis(1));
                env.sleep_until(soon).await;
                assert!(soon <= env.now() && env.now() < hour);
            }
        })
        .unwrap();
    }
}
