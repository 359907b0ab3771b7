use core::cell::Cell;
use core::time::Duration;

use engine_runtime::all;
use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};

use super::*;

fn simulate<F: Future<Output = ()> + 'static>(main: impl FnOnce(SimEnv) -> F + 'static) {
    let sim = Sim::new(SimConfig::new(1));
    let node = sim.add_node(NodeSpec::new("meta"));
    sim.start(node, main);
    sim.run_while(Duration::from_secs(600), |sim| !sim.is_finished(node)).unwrap();
    assert!(sim.is_finished(node), "it came to no end");
}

/// E445, and what a batch holds.
#[test]
fn jobs_of_one_inode_are_done_together() {
    simulate(async |env| {
        let merge: Merge<u32, u32> = Merge::default();
        let (batches, busy) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
        let jobs = (0..2000).map(|job| {
            let (env, merge, batches, busy) =
                (env.clone(), merge.clone(), batches.clone(), busy.clone());
            async move {
                let running = env.clone();
                let run = move |jobs: Vec<u32>| {
                    let (env, batches, busy) = (running.clone(), batches.clone(), busy.clone());
                    async move {
                        assert_eq!(busy.replace(1), 0, "E445: one batch at a time");
                        env.sleep_until(env.now() + Duration::from_millis(1)).await;
                        busy.set(0);
                        batches.borrow_mut().push(jobs.len());
                        jobs.into_iter().map(|job| job * 2).collect()
                    }
                };
                let outcome = merge.run(&env, InodeId::new(1), job, run).await;
                assert_eq!(outcome, job * 2);
            }
        });
        all(jobs).await;
        let batches = batches.take();
        assert_eq!(batches.iter().sum::<usize>(), 2000);
        assert_eq!(batches[0], 1, "the first waits for nobody");
        assert!(batches.iter().all(|&count| count <= BATCH_MAX), "{batches:?}");
        assert!(batches.len() <= 2000 / BATCH_MAX + 3, "{} batches", batches.len());
    });
}

/// Who gives up leaves his job behind, and blocks nobody.
#[test]
fn a_job_outlives_its_caller() {
    simulate(async |env| {
        let merge: Merge<u32, ()> = Merge::default();
        let done = Rc::new(RefCell::new(Vec::new()));
        let job = |number: u32| {
            let (env, merge, done) = (env.clone(), merge.clone(), done.clone());
            async move {
                let running = env.clone();
                let run = move |jobs: Vec<u32>| {
                    let (env, done) = (running.clone(), done.clone());
                    async move {
                        env.sleep_until(env.now() + Duration::from_secs(1)).await;
                        let outcomes = jobs.iter().map(|_| ()).collect();
                        done.borrow_mut().extend(jobs);
                        outcomes
                    }
                };
                merge.run(&env, InodeId::new(7), number, run).await;
            }
        };
        let soon = env.now() + Duration::from_millis(10);
        assert!(engine_runtime::until(&env, soon, job(1)).await.is_err());
        job(2).await;
        assert_eq!(*done.borrow(), [1, 2]);
        assert!(merge.0.lanes.borrow().is_empty());
    });
}
