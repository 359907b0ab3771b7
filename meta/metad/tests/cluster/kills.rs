//! Services come and go while clients work: no operation is lost or done twice.

use core::time::Duration;
use std::collections::BTreeSet;
use std::rc::Rc;

use engine_runtime::{Env, Signal, all};
use engine_types::InodeId;
use meta_client::{MetaConfig, MetaError};
use meta_protocol::{Caller, OpenMode, op};
use meta_schema::{INODE_ROOT, Mode};

use crate::ground::{Ground, META, Meta, User};

/// Tasks that work at the same time.
const WORKERS: u64 = 4;
/// Operations of each.
const ROUNDS: u64 = 60;

pub(crate) const WRITE: OpenMode =
    OpenMode { read: true, write: true, truncate: false, append: false };

pub(crate) fn create(parent: InodeId, name: &str) -> op::Create {
    op::Create {
        parent,
        name: name.as_bytes().to_vec(),
        mode: Mode::new(0o644),
        umask: Mode::default(),
        exclusive: true,
        open: Some(WRITE),
        layout: None,
    }
}

/// Names in a directory.
pub(crate) async fn names(meta: &Meta, dir: InodeId) -> BTreeSet<String> {
    let ask = op::Readdir { dir, cookie: 0, limit: 4096, plus: false };
    let (entries, end) = meta.entries(&Caller::root(), ask).await.unwrap();
    assert!(end, "a small directory is one page");
    entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()).collect()
}

/// What one worker had acknowledged.
#[derive(Default)]
struct Done {
    names: BTreeSet<String>,
    appended: Vec<(u64, u64)>,
}

/// Creates files, removes and renames some, and appends to a file that all share.
async fn work(user: &User, meta: &Meta, worker: u64, shared: InodeId) -> Done {
    let root = Caller::root();
    let mut done = Done::default();
    for round in 0..ROUNDS {
        let name = format!("w{worker}-{round}");
        meta.opened(&root, create(INODE_ROOT, &name)).await.unwrap();
        done.names.insert(name.clone());
        let length = 100 + worker;
        let append = op::Append { ino: shared, length };
        done.appended.push((meta.appended(&root, append).await.unwrap().0, length));
        // Each of these says ENOENT or EEXIST if it is done a second time.
        if round % 3 == 0 {
            let (parent, old) = (INODE_ROOT, name.as_bytes().to_vec());
            meta.done(&root, op::Unlink { parent, name: old, hold: false }).await.unwrap();
            done.names.remove(&name);
        } else if round % 3 == 1 {
            let new = format!("{name}-new");
            let rename = op::Rename {
                from: INODE_ROOT,
                from_name: name.as_bytes().to_vec(),
                to: INODE_ROOT,
                to_name: new.as_bytes().to_vec(),
                no_replace: true,
                exchange: false,
                hold: false,
            };
            meta.done(&root, rename).await.unwrap();
            done.names.remove(&name);
            done.names.insert(new);
        }
        user.pause(Duration::from_millis(user.env.random() % 100)).await;
    }
    done
}

async fn work_all(user: Rc<User>) -> u64 {
    let meta = user.mount().await;
    let (shared, _) = meta.opened(&Caller::root(), create(INODE_ROOT, "shared")).await.unwrap();
    let done = all((0..WORKERS).map(|worker| work(&user, &meta, worker, shared.ino))).await;
    let mut expected: BTreeSet<String> = BTreeSet::from(["shared".to_owned()]);
    let mut appended = Vec::new();
    for done in done {
        expected.extend(done.names);
        appended.extend(done.appended);
    }
    assert_eq!(names(&meta, INODE_ROOT).await, expected);
    appended.sort_unstable();
    let mut end = 0;
    for (offset, length) in appended {
        assert_eq!(offset, end, "M5: a range is given once, and none is lost");
        end += length;
    }
    let attr = meta.attr(&Caller::root(), op::Stat { ino: shared.ino }).await.unwrap();
    assert_eq!(attr.size, end);
    let metrics = meta.metrics();
    assert!(metrics.failed.is_empty(), "{metrics:?}");
    metrics.failovers
}

#[test]
fn services_that_are_killed_cost_no_operation() {
    for seed in 1..=3 {
        let ground = Ground::new(seed);
        let done = ground.spawn(0, work_all);
        ground.run(Duration::from_millis(500));
        for round in 0..6 {
            let node = META[round % 2];
            ground.sim.kill(node);
            ground.run(Duration::from_millis(300 * round as u64));
            ground.meta(node);
            ground.run(Duration::from_millis(400));
        }
        let failovers = ground.finish(&done);
        assert!(0 < failovers, "seed {seed}: nobody had to ask elsewhere");
        assert_eq!(ground.ended(), [""; 0]);
    }
}

#[test]
fn services_that_stop_in_order_cost_no_operation_and_end_their_sessions() {
    let ground = Ground::new(11);
    let done = ground.spawn(0, work_all);
    for round in 0..4 {
        ground.run(Duration::from_millis(700));
        let node = META[round % 2];
        ground.sim.signal(node, Signal::Terminate);
        ground.run(Duration::from_secs(3));
        assert_eq!(ground.ended().len(), round + 1, "it drains and ends");
        ground.meta(node);
    }
    ground.finish(&done);
    assert!(ground.ended().iter().all(|end| end.ends_with("Ok(())")), "{:?}", ground.ended());
}

/// Both are gone: nothing is done, nothing is lost, and what was given up never happens later.
#[test]
fn what_is_given_up_is_overtaken() {
    let ground = Ground::new(21);
    let ready = ground.spawn(0, async |user| {
        let meta = user.meta(&user.session().await, MetaConfig::default());
        let root = Caller::root();
        meta.opened(&root, create(INODE_ROOT, "before")).await.unwrap();
        user.pause(Duration::from_secs(2)).await;
        let by = user.env.now() + Duration::from_secs(2);
        let late = meta.call_by(&root, create(INODE_ROOT, "late"), by).await.unwrap_err();
        assert!(matches!(late, MetaError::DeadlineExceeded { .. }), "{late}");
        // They are back: the channel is overtaken before it is used again.
        user.pause(Duration::from_secs(60)).await;
        let found = names(&meta, INODE_ROOT).await;
        assert!(!found.contains("late"), "nobody was there to do it: {late}");
        meta.opened(&root, create(INODE_ROOT, "after")).await.unwrap();
        let metrics = meta.metrics();
        assert_eq!(metrics.abandoned, metrics.overtaken, "{metrics:?}");
    });
    ground.run(Duration::from_millis(1500));
    META.into_iter().for_each(|node| ground.sim.kill(node));
    ground.run(Duration::from_secs(6));
    META.into_iter().for_each(|node| ground.meta(node));
    ground.finish(&ready);
}

/// Its answer is lost, the call is given up, and the effect is there: the channel still comes back.
#[test]
fn a_request_of_unknown_effect_frees_its_channel() {
    let ground = Ground::new(22);
    let done = ground.spawn(0, async |user| {
        let config = MetaConfig { channels: 1, ..MetaConfig::default() };
        let meta = user.meta(&user.session().await, config);
        let root = Caller::root();
        for round in 0..40_u64 {
            // Dropped at some point between sending and answer.
            let name = format!("dropped-{round}");
            let by = user.env.now() + Duration::from_micros(200 * round);
            let call = meta.call(&root, create(INODE_ROOT, &name));
            let _given_up = engine_runtime::until(&user.env, by, call).await;
        }
        // The only channel is free again, and numbers on it are good.
        meta.opened(&root, create(INODE_ROOT, "last")).await.unwrap();
        let before = names(&meta, INODE_ROOT).await;
        user.pause(Duration::from_secs(30)).await;
        assert_eq!(names(&meta, INODE_ROOT).await, before, "E472: nothing comes later");
        let metrics = meta.metrics();
        assert!(0 < metrics.abandoned, "{metrics:?}");
        assert_eq!(metrics.abandoned, metrics.overtaken, "{metrics:?}");
    });
    ground.finish(&done);
}
