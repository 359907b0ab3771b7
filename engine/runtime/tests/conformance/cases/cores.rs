//! E34 and E39: other cores, mailboxes, blocking calls, randomness.

use core::future::pending;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use engine_runtime::{
    CoreEnd, CoreSpec, Env, File as _, Listener as _, OpenOptions, Reader as _, Refused, Sender,
};

use crate::ground::{
    BLOCKING_MAX, Ground, SECTOR, a_moment, after, bytes, check, eventually, far, spec,
};

/// A core has a clock, tasks and memory of its own.
pub(crate) async fn a_core_runs_and_finishes<E: Env>(env: E, _: Ground) {
    let (sender, receiver) = env.mailbox(1);
    let end = env.on_core(spec("other"), move |env: E| async move {
        let part = env.spawn(async { 20 }).await;
        a_moment(&env).await;
        assert_eq!(env.pool().held(), 0);
        let rest = env.blocking(|| 22).await;
        sender.send(part + rest).await.unwrap();
    });
    assert_eq!(receiver.recv().await, Some(42));
    assert_eq!(end.unwrap().await, CoreEnd::Finished);
    assert_eq!(receiver.recv().await, None, "its sender went with the core");
}

/// Own mistakes end a core and are told. (In simulation they end the whole run as a failure.)
pub(crate) async fn a_panic_is_the_end_of_a_core<E: Env>(env: E, ground: Ground) {
    if !ground.real {
        return;
    }
    let end = env.on_core(spec("other"), |env: E| async move {
        a_moment(&env).await;
        panic!("mistake number {}", 1);
    });
    assert_eq!(end.unwrap().await, CoreEnd::Panicked("mistake number 1".to_owned()));
}

/// Also a mistake of a task whose end nobody waits for.
pub(crate) async fn a_panic_in_a_task_is_the_end_of_its_core<E: Env>(env: E, ground: Ground) {
    if !ground.real {
        return;
    }
    let end = env.on_core(spec("other"), |env: E| async move {
        drop(env.spawn(async { panic!("mistake number 2") }));
        pending::<()>().await;
    });
    assert_eq!(end.unwrap().await, CoreEnd::Panicked("mistake number 2".to_owned()));
}

/// Real machines only: simulation has as many CPUs as are asked for.
pub(crate) async fn an_unknown_cpu_is_refused<E: Env>(env: E, ground: Ground) {
    if ground.real {
        let refused = env.on_core(CoreSpec::new("other").on_cpu(100_000), |_: E| async {});
        assert!(refused.err().unwrap().to_string().contains("100000"));
    }
}

/// S5: the end of a core drops its tasks and waits for I/O: what was submitted happens (E34).
pub(crate) async fn a_core_ends_with_work_pending<E: Env>(env: E, ground: Ground) {
    const WRITTEN: usize = 300 * SECTOR; // by more operations than are started at once
    for round in 0..3 {
        let (address, path) = (ground.address, ground.path("file"));
        let end = env.on_core(spec("other"), move |env: E| async move {
            let mut listener = env.listen(address).unwrap();
            let connecting = env.connect(listener.address(), far(&env));
            let mut server = listener.accept().await.unwrap();
            let client = connecting.await.unwrap();
            let buf = env.pool().alloc(4096).unwrap();
            drop(env.spawn(async move {
                let _client = client;
                let (_, answer) = server.reader.read(buf, 0..4096).await;
                panic!("nothing was sent, yet there is {answer:?}");
            }));
            drop(env.spawn(async move { listener.accept().await.map(drop).unwrap() }));
            let never = after(&env, Duration::from_secs(3600));
            drop(env.spawn(env.sleep_until(never)));
            let options = OpenOptions { write: true, create: true, ..Default::default() };
            let file = env.open(&path, options).await.unwrap();
            for start in (0..WRITTEN).step_by(2 * SECTOR) {
                drop(file.write(start as u64, bytes(&env, round, start, 2 * SECTOR).await));
            }
        });
        assert_eq!(end.unwrap().await, CoreEnd::Finished);
        let file = env.open(&ground.path("file"), OpenOptions::default()).await.unwrap();
        check(&file.read(0, WRITTEN).await.unwrap(), round, 0);
    }
}

/// E39.
pub(crate) async fn a_mailbox_is_bounded<E: Env>(env: E, _: Ground) {
    let (sender, receiver) = env.mailbox(2);
    let mut taken = 0;
    for message in 0..100 {
        match sender.try_send(message) {
            Ok(()) => taken += 1,
            Err(refused) => assert_eq!(refused, Refused::Full(message), "it comes back"),
        }
    }
    assert!(taken <= 2, "{taken} messages in a mailbox of 2");
    let mut found = 0;
    while receiver.try_recv().is_some() {
        found += 1;
    }
    assert_eq!(found, taken);
    let sending = env.spawn({
        let sender = sender.clone();
        async move {
            for message in 0..1000 {
                sender.send(message).await.unwrap();
            }
        }
    });
    let mut sum = 0;
    for _ in 0..1000 {
        sum += receiver.recv().await.unwrap();
    }
    assert_eq!(sum, 999 * 1000 / 2);
    sending.await;
    drop(sender);
    assert_eq!(receiver.recv().await, None);
}

/// E39.
pub(crate) async fn a_mailbox_without_receiver_is_closed<E: Env>(env: E, _: Ground) {
    let (sender, receiver) = env.mailbox(1);
    drop(receiver);
    assert_eq!(sender.send(1).await, Err(1));
    eventually(&env, || sender.try_send(2) == Err(Refused::Closed(2))).await; // or plays full
}

/// E39: requests to another core and its answers.
pub(crate) async fn a_mailbox_carries_between_cores<E: Env>(env: E, _: Ground) {
    let (requests, incoming) = env.mailbox::<u64>(4);
    let (outgoing, answers) = env.mailbox::<u64>(4);
    let end = env.on_core(spec("other"), move |_: E| async move {
        while let Some(request) = incoming.recv().await {
            outgoing.send(request + 1).await.unwrap();
        }
    });
    let end = end.unwrap();
    for request in 0..500 {
        requests.send(request).await.unwrap();
        assert_eq!(answers.recv().await, Some(request + 1));
    }
    drop(requests);
    assert_eq!(end.await, CoreEnd::Finished);
}

/// E39: what a stopped core had not looked at is dropped with it.
pub(crate) async fn a_stopped_core_drops_its_messages<E: Env>(env: E, _: Ground) {
    let (sender, receiver) = env.mailbox(3);
    let message = Arc::new(());
    let end = env.on_core(spec("other"), move |env: E| async move {
        let first = receiver.recv().await;
        assert!(first.is_some());
        a_moment(&env).await;
    });
    sender.send(message.clone()).await.unwrap();
    let _ = sender.try_send(message.clone());
    assert_eq!(end.unwrap().await, CoreEnd::Finished);
    eventually(&env, || matches!(sender.try_send(message.clone()), Err(Refused::Closed(_)))).await;
    drop(sender);
    eventually(&env, || Arc::strong_count(&message) == 1).await;
}

/// E34.
pub(crate) async fn blocking_calls_answer<E: Env>(env: E, _: Ground) {
    let joins: Vec<_> = (0..50_u64).map(|index| env.blocking(move || index * index)).collect();
    for (index, join) in joins.into_iter().enumerate() {
        assert_eq!(join.await, (index * index) as u64);
    }
}

/// E34: also those that wait in line.
pub(crate) async fn blocking_calls_are_not_cancelled<E: Env>(env: E, _: Ground) {
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..4 * BLOCKING_MAX {
        let ran = ran.clone();
        drop(env.blocking(move || ran.fetch_add(1, Ordering::SeqCst)));
    }
    eventually(&env, || ran.load(Ordering::SeqCst) == 4 * BLOCKING_MAX).await;
}

/// The limit of `CoreSpec` holds.
pub(crate) async fn blocking_calls_are_limited<E: Env>(env: E, ground: Ground) {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let open = Arc::new(AtomicBool::new(!ground.real)); // inline in simulation: nobody could wait
    let joins: Vec<_> = (0..4 * BLOCKING_MAX)
        .map(|_| {
            let (running, most, open) = (running.clone(), most.clone(), open.clone());
            env.blocking(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                while !open.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                running.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .collect();
    if ground.real {
        eventually(&env, || running.load(Ordering::SeqCst) == BLOCKING_MAX).await;
        a_moment(&env).await; // one too many would start now
    }
    open.store(true, Ordering::SeqCst);
    for join in joins {
        join.await;
    }
    assert!(most.load(Ordering::SeqCst) <= BLOCKING_MAX);
}

/// V5: the same seed, the same numbers.
pub(crate) async fn random_numbers_follow_the_seed<E: Env>(env: E, _: Ground) {
    async fn numbers<E: Env>(env: &E, seed: u64) -> Vec<u64> {
        let (sender, receiver) = env.mailbox(8);
        let main = move |env: E| send_numbers(env, sender);
        let end = env.on_core(CoreSpec { seed: Some(seed), ..spec("other") }, main).unwrap();
        let mut numbers = Vec::new();
        while let Some(number) = receiver.recv().await {
            numbers.push(number);
        }
        assert_eq!(end.await, CoreEnd::Finished);
        numbers
    }
    async fn send_numbers<E: Env>(env: E, sender: Sender<u64>) {
        for _ in 0..8 {
            sender.send(env.random()).await.unwrap();
        }
    }
    let (one, again, two) =
        (numbers(&env, 1).await, numbers(&env, 1).await, numbers(&env, 2).await);
    assert_eq!(one.len(), 8);
    assert_eq!(one, again);
    assert_ne!(one, two);
    assert!(one.windows(2).all(|pair| pair[0] != pair[1]));
}

/// Nonces are never the same, not even of one length and one moment.
pub(crate) async fn secrets_differ<E: Env>(env: E, _: Ground) {
    let (mut one, mut two) = ([0; 32], [0; 32]);
    env.random_secret(&mut one);
    env.random_secret(&mut two);
    env.random_secret(&mut []);
    assert_ne!(one, two);
    assert_ne!(one, [0; 32]);
}
