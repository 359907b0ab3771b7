//! The same on the embedded store as it ships, redb on a simulated disk that fails in the midst of
//! requests and forgets what was not flushed. The service starts again on what is left, the request
//! that was under way is asked again with its tag, and the model has seen no crash: what was
//! acknowledged is there, and nothing is done twice (E202, E203, M11).

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_types::{Rng, WallTime};
use meta_kv::Faults;
use meta_kv::engine::redb::{Birth, RedbEngine, RedbOptions};
use meta_kv::engine::simdisk::{SimDisk, Survival};
use meta_model::{Step, Weights};

use super::ground::{Service, Stop, Story};
use super::{seeds, shrunk};

/// Small, so that histories are.
const CACHE_BYTES: usize = 1 << 20;
/// Writes and flushes of a life before its disk fails: some tens of commits.
const FAIL_AFTER_MAX: u64 = 300;
/// Disks that fail; the next one lasts.
const FAILURES_MAX: u32 = 6;
/// Longer than one life takes in the time of its world.
const LIFE_MAX: Duration = Duration::from_secs(3600);

/// How one life of the service ended, and the story.
struct Ended {
    story: Story,
    stop: Result<(), Stop>,
}

/// Lives of the service, one after the other; the number of those whose disk failed.
pub(crate) fn play(seed: u64, steps: &[Step]) -> Result<u32, String> {
    let sim = Sim::new(SimConfig::new(seed));
    let node = sim.add_node(NodeSpec::new("metad"));
    let mut rng = Rng::new(seed).fork("disk");
    let mut disk = SimDisk::new();
    let birth = Birth { store: 7, created: WallTime::from_nanos(1) };
    RedbEngine::create_on(Arc::new(disk.clone()), birth).map_err(|error| error.to_string())?;
    let mut story = Story::new(steps);
    for failures in 0..=FAILURES_MAX {
        disk = SimDisk::holding(disk.crash(Survival::Random(rng.fork("crash"))));
        if failures < FAILURES_MAX {
            disk.crash_at(usize::try_from(rng.below(FAIL_AFTER_MAX)).expect("few"));
        }
        let (slot, done) = (Rc::new(RefCell::new(None)), Rc::new(Cell::new(false)));
        let (put, told, device) = (slot.clone(), done.clone(), disk.clone());
        sim.start(node, move |env| async move {
            let stop = live(&env, device, &mut story).await;
            *put.borrow_mut() = Some(Ended { story, stop });
            told.set(true);
        });
        sim.run_while(LIFE_MAX, |_| !done.get()).map_err(|failure| format!("{failure:?}"))?;
        sim.crash(node);
        let ended: Option<Ended> = slot.take();
        let Some(ended) = ended else { return Err("the history did not end".into()) };
        match ended.stop {
            Ok(()) => return Ok(failures),
            Err(Stop::Wrong(why)) => return Err(format!("after {failures} crashes: {why}")),
            Err(Stop::Dead) => story = ended.story,
        }
    }
    Err("the last disk does not fail, and a request has no answer".into())
}

async fn live(env: &SimEnv, disk: SimDisk, story: &mut Story) -> Result<(), Stop> {
    let options = RedbOptions { cache_bytes: CACHE_BYTES, ..RedbOptions::default() };
    let engine = RedbEngine::open_on(Arc::new(disk), options).map_err(|_| Stop::Dead)?;
    let service = Service::open(env, engine, Faults::default(), 1).await.map_err(|_| Stop::Dead)?;
    story.play(&service).await
}

#[test]
fn crashes_of_the_embedded_store_are_not_seen() {
    let crashes = Cell::new(0);
    for seed in seeds(12) {
        shrunk("on redb", seed, Weights::ALL, |seed, steps| {
            let died = play(seed, steps)?;
            crashes.set(crashes.get() + died);
            Ok(())
        });
    }
    assert!(12 <= crashes.get(), "{} crashes: too few to say anything", crashes.get());
}
