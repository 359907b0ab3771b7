//! E34 and E38: tasks of one core.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::Poll;
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::{Env, Listener as _, Notify, Reader as _, Refused, Writer as _};

use crate::ground::{Ground, a_moment, after, bytes, check, eventually, far};

/// E34.
pub(crate) async fn a_spawned_task_runs_without_being_awaited<E: Env>(env: E, _: Ground) {
    let ran = Rc::new(Cell::new(false));
    let _join = env.spawn({
        let ran = ran.clone();
        async move { ran.set(true) }
    });
    eventually(&env, || ran.get()).await;
}

/// E38: nothing is assumed about which runs first.
pub(crate) async fn joins_give_results_in_any_order<E: Env>(env: E, _: Ground) {
    let order = Rc::new(RefCell::new(Vec::new()));
    let mut joins: Vec<_> = (0..100)
        .map(|index| {
            let order = order.clone();
            env.spawn(async move {
                order.borrow_mut().push(index);
                index * 2
            })
        })
        .collect();
    while let Some(join) = joins.pop() {
        let index = joins.len();
        assert_eq!(join.await, index * 2, "awaited backwards");
    }
    let mut order = order.take();
    order.sort_unstable();
    assert!(order.into_iter().eq(0..100), "each ran exactly once");
}

/// E34.
pub(crate) async fn a_dropped_join_detaches<E: Env>(env: E, _: Ground) {
    let steps = Rc::new(Cell::new(0));
    drop(env.spawn({
        let (env, steps) = (env.clone(), steps.clone());
        async move {
            for _ in 0..3 {
                a_moment(&env).await;
                steps.set(steps.get() + 1);
            }
        }
    }));
    eventually(&env, || steps.get() == 3).await;
}

/// Tasks that spawn tasks, all waiting for one condition.
pub(crate) async fn ten_thousand_tasks_end<E: Env>(env: E, _: Ground) {
    let (go, open, ended) = (Notify::default(), Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    for _ in 0..100 {
        let (inner, go, open, ended) = (env.clone(), go.clone(), open.clone(), ended.clone());
        drop(env.spawn(async move {
            for _ in 0..100 {
                let (go, open, ended) = (go.clone(), open.clone(), ended.clone());
                drop(inner.spawn(async move {
                    go.until(|| open.get()).await;
                    ended.set(ended.get() + 1);
                }));
            }
        }));
    }
    a_moment(&env).await;
    open.set(true);
    go.notify();
    eventually(&env, || ended.get() == 10_000).await;
}

/// E38: neither other tasks, nor timers, nor sockets, nor other threads, nor main. monoio 0.2.4
/// by itself runs nothing but the first task that does this.
pub(crate) async fn a_task_that_wakes_itself_starves_nobody<E: Env>(env: E, ground: Ground) {
    let stop = Rc::new(Cell::new(false));
    let spinners: Vec<_> = (0..3).map(|_| env.spawn(spin(stop.clone()))).collect();

    let plain = env.spawn(async { 1 });
    assert_eq!(plain.await, 1, "another task");
    let at = after(&env, Duration::from_millis(3));
    env.sleep_until(at).await;
    assert_eq!(env.blocking(|| 2).await, 2, "a call on another thread");
    let mut listener = env.listen(ground.address).unwrap();
    let connecting = env.connect(listener.address(), far(&env));
    let mut server = listener.accept().await.unwrap();
    let mut client = connecting.await.unwrap();
    client.writer.write_all(&[bytes(&env, 1, 0, 100).await]).await.unwrap();
    let mut done = 0;
    let mut buf = env.pool().alloc(100).unwrap();
    while done < 100 {
        let (back, count) = server.reader.read(buf, done..100).await;
        buf = back;
        done += count.unwrap();
    }
    buf.set_len(100);
    check(&buf, 1, 0);

    stop.set(true);
    for spinner in spinners {
        assert!(0 < spinner.await, "it ran as well");
    }
}

/// Wakes itself until told to stop; answers how often it ran.
fn spin(stop: Rc<Cell<bool>>) -> impl Future<Output = u64> {
    let mut polls = 0;
    poll_fn(move |cx| {
        polls += 1;
        if stop.get() {
            return Poll::Ready(polls);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// E34, E39: a task that sleeps in its mailbox hears of a message from a thread of its own.
pub(crate) async fn a_wake_from_another_thread_arrives<E: Env>(env: E, _: Ground) {
    let (sender, receiver) = env.mailbox::<u32>(1);
    for round in 0..200 {
        let sender = sender.clone();
        drop(env.blocking(move || {
            while let Err(Refused::Full(_)) = sender.try_send(round) {} // simulation refuses (E39)
        }));
        assert_eq!(receiver.recv().await, Some(round));
    }
}
