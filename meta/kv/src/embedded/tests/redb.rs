//! The embedded store on the engine that ships: the rules, crashes, a full disk, a long flush.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};

use crate::api::{Kv, RangeRead, ReadMode, Transaction, TransactionOptions};
use crate::conformance::{Suite, run};
use crate::embedded::Embedded;
use crate::engine::redb::RedbEngine;
use crate::engine::simdisk::SimDisk;
use crate::engine::tests::{BIRTH, TestDirectory, on_disk, options};
use crate::error::KvError;
use crate::key::KeyRange;
use crate::transaction::OwnKv;

mod crash;
mod flush;
mod full;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Runs `main` on one simulated node to its end; what it returned.
fn on_node<T: 'static, F: Future<Output = T> + 'static>(
    seed: u64,
    main: impl FnOnce(SimEnv) -> F + 'static,
) -> T {
    let sim = Sim::new(SimConfig::new(seed));
    let node = sim.add_node(NodeSpec::new("kv"));
    let returned = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&returned);
    sim.start(node, move |env| async move {
        let value = main(env).await;
        *slot.borrow_mut() = Some(value);
    });
    let ran = sim.run_for(Duration::from_secs(3600));
    assert!(ran.is_ok(), "seed {seed}: {:?}", ran.err());
    returned.take().unwrap_or_else(|| panic!("seed {seed}: it did not end"))
}

/// Every entry, page by page, in one transaction.
async fn all<K: Kv>(kv: &K) -> Result<Map, KvError> {
    let transaction = kv.begin(TransactionOptions::default());
    let (mut found, mut read) = (Map::new(), RangeRead::new(KeyRange::all()));
    loop {
        let page = transaction.range(read.clone(), ReadMode::Snapshot).await?;
        if let Some((last, _)) = page.entries.last() {
            read = read.behind(last);
        }
        found.extend(page.entries);
        if !page.more {
            return Ok(found);
        }
    }
}

fn check_suite(seed: u64, engine: RedbEngine) {
    let suite = Suite { prefix: b"suite/".to_vec(), slow: true, rounds: 400, seed };
    let passed = on_node(seed, move |env| async move {
        let (store, task) = Embedded::start(&env, engine).unwrap();
        let mut passed = 0;
        run(&OwnKv::new(env, store), &suite, |_| passed += 1).await;
        task.await; // which closes the engine
        passed
    });
    assert!(30 <= passed, "{passed} cases");
}

#[test]
fn the_suite_passes_on_a_simulated_disk() {
    check_suite(1, on_disk(&SimDisk::new()));
}

#[test]
fn the_suite_passes_on_a_file() {
    let directory = TestDirectory::new();
    let path = directory.0.join("store");
    RedbEngine::create(&path, BIRTH).unwrap();
    check_suite(2, RedbEngine::open(&path, options()).unwrap());
    RedbEngine::open(&path, options()).expect("it was closed");
}
