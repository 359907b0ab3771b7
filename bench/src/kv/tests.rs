use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use meta_kv::engine::seam::Event as FileEvent;

use super::place::Watch;
use super::*;
use crate::suite::{KvTold, Storage};

/// The variables that make a test binary the child of another one.
const VICTIM: &str = "BENCH_KV_VICTIM";
const VICTIM_KEYS: &str = "BENCH_KV_VICTIM_KEYS";

/// Not a test: what [`child`] starts.
#[test]
fn victim_of_another_test() {
    if let (Some(path), Ok(keys)) = (std::env::var_os(VICTIM), std::env::var(VICTIM_KEYS)) {
        panic!("{}", victim(Path::new(&path), keys.parse().unwrap()));
    }
}

fn child(path: &Path, keys: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kv::tests::victim_of_another_test", "--nocapture"]);
    command.env(VICTIM, path).env(VICTIM_KEYS, keys.to_string());
    command
}

/// Measures the rows that contain `filter` for a moment on few keys.
fn measure(filter: &str) -> Vec<Row> {
    let storage = Storage { dir: std::env::temp_dir(), memory_dir: "".into(), bytes: 0 };
    let keys = Keys { tasks: 4, stored: 10_000, reopened: 10_000 };
    let seconds = Duration::from_millis(100);
    let plan = Plan { seconds, filter: filter.to_owned(), storage, keys };
    let (mut started, mut rows) = (Vec::new(), Vec::new());
    run_with(&plan, child, &mut |event| match event {
        Event::Preparing(what) => assert!(what.contains("10000 keys"), "{what}"),
        Event::Starting(name) => started.push(name),
        Event::Measured(row) => rows.push(row),
        Event::Failed { name, reason } => panic!("{name}: {reason}"),
    });
    assert_eq!(started, plan.names(&SUITE), "every wanted row is measured once, in order");
    assert_eq!(rows.len(), started.len());
    rows
}

fn commits(row: &Row) -> crate::suite::Commits {
    let Some(KvTold { commits: Some(commits), .. }) = row.kv.as_deref() else {
        panic!("{}: no commits", row.name)
    };
    *commits
}

#[test]
fn every_layer_has_all_its_figures() {
    for filter in ["flush", "bare/set3-near/b16", "/get1-set3-spread/q4", "/page100/q4"] {
        let rows = measure(filter);
        assert!(!rows.is_empty(), "{filter}");
        for row in &rows {
            for figure in [&row.subject, &row.limit] {
                assert!(0.0 < figure.value && 0.0 < figure.client_cpu_us_per_op, "{row:?}");
                let latency = figure.latency_us.expect("every operation is timed");
                assert!(0.0 < latency.p50 && latency.p50 <= latency.p99, "{row:?}");
            }
            if row.unit == "txn/s" {
                let shared = commits(row);
                assert!(0 < shared.groups && shared.groups <= shared.commits, "{row:?}");
                assert!(shared.flushes.is_none_or(|flushes| shared.groups <= flushes), "{row:?}");
            }
        }
    }
}

#[test]
fn a_killed_store_opens_again_with_all_that_was_acknowledged() {
    let rows = measure("reopen/cold");
    let Some(KvTold { reopening: Some(reopening), .. }) = rows[0].kv.as_deref() else {
        panic!("{rows:?}")
    };
    assert!(9 <= reopening.acknowledged, "{reopening:?}");
    assert!(0.0 < reopening.seconds && reopening.seconds <= reopening.seconds_max);
    assert!(0 < reopening.file_bytes);
}

#[test]
fn an_acknowledgement_before_the_flush_is_found() {
    let write = FileEvent::Write { offset: 0, bytes: 1 };
    let applied = FileEvent::Applied { version: 7 };
    for (events, expected) in [
        (vec![write, FileEvent::SyncBegin, FileEvent::SyncEnd, applied], true),
        (vec![write, FileEvent::SyncBegin, write, FileEvent::SyncEnd, applied], false),
        (vec![write, applied], false),
        (vec![write, FileEvent::SyncBegin, FileEvent::SyncEnd], false),
    ] {
        let watch = Arc::new(Watch::default());
        let _trace = watch.trace();
        events.iter().for_each(|&event| watch.see(event));
        assert_eq!(watch.acknowledged(7).is_ok(), expected, "{events:?}");
        assert_eq!(watch.acknowledged(8).ok(), None, "never applied");
    }
}

#[test]
fn goals_stand_where_they_are_asked_for() {
    let asked = |tasks| {
        let keys = Keys { tasks, ..Keys::default() };
        let settings = Setting::all_of(Engine::Redb).into_iter();
        let goals = settings.flat_map(|setting| {
            setting.shapes(&keys).into_iter().filter_map(move |shape| setting.value_goal(shape))
        });
        goals.count()
    };
    assert_eq!((asked(64), asked(63)), (4, 0));
}
