//! A load that knows every acknowledged operation.
//!
//! Each worker has a directory of its own with a model of it in memory, so that every answer is
//! known beforehand: an operation that is lost, or done twice, is refused or seen. All of them
//! append to one file: each range is given once.

use core::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use core::time::Duration;

use engine_runtime::{Env, all};
use engine_types::{InodeId, Rng};
use meta_protocol::{Caller, op};
use meta_schema::INODE_ROOT;
use tools_cluster::Cluster;

use crate::client::Whereabouts;
use crate::ground::{Meta, create, mkdir, names, with_mount};
use crate::support::pause;

/// Workers of a load.
const WORKERS: u64 = 6;
/// Files of a worker at most.
const FILES_MAX: usize = 40;
/// Longest wait for progress.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shared with the thread of the load.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    done: AtomicU64,
}

/// A load that runs until it is stopped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<u64>>,
}

/// What a worker knows.
struct Worker {
    meta: Meta,
    dir: InodeId,
    shared: InodeId,
    files: RefCell<BTreeSet<String>>,
    appended: RefCell<Vec<(u64, u64)>>,
}

impl Worker {
    async fn step(&self, rng: &mut Rng, number: u64) {
        let root = Caller::root();
        let count = self.files.borrow().len();
        let some = {
            let files = self.files.borrow();
            let at = usize::try_from(rng.range(0..=u64::MAX)).unwrap() % count.max(1);
            files.iter().nth(at).cloned()
        };
        let parent = self.dir;
        match (rng.range(0..=9), some) {
            (0..=3, _) if count < FILES_MAX => {
                let name = format!("f{number}");
                self.meta.opened(&root, create(parent, &name)).await.unwrap();
                self.files.borrow_mut().insert(name);
            }
            (4 | 5, Some(name)) => {
                let ask = op::Unlink { parent, name: name.as_bytes().to_vec(), hold: false };
                self.meta.done(&root, ask).await.unwrap();
                self.files.borrow_mut().remove(&name);
            }
            (6 | 7, Some(name)) => {
                let new = format!("r{number}");
                let ask = op::Rename {
                    from: parent,
                    from_name: name.as_bytes().to_vec(),
                    to: parent,
                    to_name: new.as_bytes().to_vec(),
                    no_replace: true,
                    exchange: false,
                    hold: false,
                };
                self.meta.done(&root, ask).await.unwrap();
                let mut files = self.files.borrow_mut();
                files.remove(&name);
                files.insert(new);
            }
            (8, Some(name)) => {
                let ask = op::Lookup { parent, name: name.as_bytes().to_vec() };
                self.meta.attr(&root, ask).await.unwrap();
            }
            _ => {
                let length = rng.range(1..=100);
                let ask = op::Append { ino: self.shared, length };
                let (offset, _) = self.meta.appended(&root, ask).await.unwrap();
                self.appended.borrow_mut().push((offset, length));
            }
        }
    }

    /// The directory is what the model says.
    async fn check(&self) {
        let found: BTreeSet<String> = names(&self.meta, self.dir).await.into_iter().collect();
        assert_eq!(found, *self.files.borrow());
    }
}

impl Load {
    pub(crate) fn start(cluster: &Cluster, seed: u64) -> Self {
        let (shared, at) = (Arc::new(Shared::default()), Whereabouts::of(cluster));
        let told = shared.clone();
        let body = move || {
            with_mount(at, async move |member, meta| run(&member.env, meta, seed, &told).await)
        };
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(body).unwrap();
        Self { shared, thread: Some(thread) }
    }

    /// Waits until so many further operations are done.
    pub(crate) fn until_done(&self, more: u64) {
        let goal = self.shared.done.load(Ordering::Relaxed) + more;
        let mut waited = Duration::ZERO;
        while self.shared.done.load(Ordering::Relaxed) < goal {
            let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            assert!(!ended, "the load has ended");
            assert!(waited < PATIENCE, "the load makes no progress");
            pause(Duration::from_millis(20));
            waited += Duration::from_millis(20);
        }
    }

    /// Ends it, and checks everything; how many operations were done.
    pub(crate) fn stop(mut self) -> u64 {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

async fn run(env: &impl Env, meta: Meta, seed: u64, shared: &Shared) -> u64 {
    let root = Caller::root();
    let name = format!("appended-{seed}");
    let (file, _) = meta.opened(&root, create(INODE_ROOT, &name)).await.unwrap();
    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        let dir = mkdir(&meta, INODE_ROOT, &format!("dir-{seed}-{worker}")).await;
        let (meta, shared) = (meta.clone(), file.ino);
        let (files, appended) = (RefCell::default(), RefCell::default());
        workers.push(Rc::new(Worker { meta, dir, shared, files, appended }));
    }
    let steps = workers.iter().enumerate().map(async |(at, worker)| {
        let mut rng = Rng::new(seed * 100 + at as u64);
        for number in 0_u64.. {
            if shared.stop.load(Ordering::Relaxed) {
                return;
            }
            worker.step(&mut rng, number).await;
            shared.done.fetch_add(1, Ordering::Relaxed);
            // One core has two services, a store and nodes beside this.
            env.sleep_until(env.now() + Duration::from_millis(2)).await;
        }
    });
    all(steps).await;
    let mut appended = Vec::new();
    for worker in &workers {
        worker.check().await;
        appended.extend(worker.appended.borrow().iter().copied());
    }
    appended.sort_unstable();
    let mut end = 0;
    for (offset, length) in appended {
        assert_eq!(offset, end, "M5: each range is given once");
        end += length;
    }
    let size = meta.attr(&root, op::Stat { ino: file.ino }).await.unwrap().size;
    assert_eq!(size, end);
    let metrics = meta.metrics();
    assert!(metrics.failed.is_empty() && metrics.refused.is_empty(), "{metrics:?}");
    shared.done.load(Ordering::Relaxed)
}
