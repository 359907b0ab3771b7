//! Descriptors and signals of the process.

use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;

use engine_runtime::{Elapsed, Env, Signal, Watch as _, until};
use rustix::event::{EventfdFlags, eventfd};

use crate::ground::{Ground, after};

fn an_eventfd() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

/// The descriptor is owned, level-triggered, and a dropped wait loses nothing.
pub(crate) async fn a_foreign_descriptor_is_watched<E: Env>(env: E, ground: Ground) {
    let mine = an_eventfd();
    let watched = env.watch(mine.try_clone().unwrap());
    if !ground.real {
        assert_eq!(watched.err().map(|error| error.kind()), Some(io::ErrorKind::Unsupported));
        return;
    }
    let mut watch = watched.unwrap();
    for round in 0..20 {
        let soon = after(&env, Duration::from_millis(1));
        let answer = until(&env, soon, watch.readable()).await;
        assert!(matches!(answer, Err(Elapsed)), "round {round}: nothing to read, {answer:?}");
        let theirs = mine.try_clone().unwrap();
        drop(env.blocking(move || rustix::io::write(&theirs, &1_u64.to_le_bytes()).unwrap()));
        watch.readable().await.unwrap();
        watch.readable().await.unwrap(); // still readable
        rustix::io::read(&mine, &mut [0; 8]).unwrap();
    }
}

/// It would always be readable.
pub(crate) async fn a_regular_file_is_not_watched<E: Env>(env: E, ground: Ground) {
    if ground.real {
        let file = std::fs::File::create(ground.path("file")).unwrap();
        let refused = env.watch(OwnedFd::from(file)).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{refused}");
    }
}

/// Every receiver hears of it. Other cases of this process may raise the same one.
pub(crate) async fn a_signal_arrives<E: Env>(env: E, ground: Ground) {
    if !ground.real {
        return;
    }
    let (one, two) = (env.signals().unwrap(), env.signals().unwrap());
    let myself = rustix::process::getpid();
    rustix::process::kill_process(myself, rustix::process::Signal::HUP).unwrap();
    assert_eq!(one.recv().await, Some(Signal::Reload));
    assert_eq!(two.recv().await, Some(Signal::Reload));
}
