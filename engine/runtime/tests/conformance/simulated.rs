//! Cases in simulated worlds, each with several seeds: another order of tasks and completions,
//! other pieces on connections, other delays.

use core::pin::Pin;
use core::time::Duration;
use std::path::PathBuf;

use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_runtime::{FileLog, Traced};

use crate::ground::{DEVICE_BYTES, Ground, spec};

/// The block device of every node.
const DEVICE: &str = "/device";
/// Its logical block: smaller than what requests are aligned to.
const LOGICAL_BLOCK: u32 = 512;
/// Worlds per case.
const SEEDS: u64 = 8;
/// Cases take seconds of virtual time: what takes this much waits for what never comes.
const VIRTUAL_TIME_MAX: Duration = Duration::from_secs(600);

pub(crate) fn on_sim<F, C>(name: &'static str, case: C)
where
    F: Future<Output = ()> + 'static,
    C: FnOnce(SimEnv, Ground) -> F + Copy + 'static,
{
    for seed in 1..=SEEDS {
        let sim = Sim::new(SimConfig::new(seed));
        let node = sim.add_node(NodeSpec { core: spec("case"), ..NodeSpec::new(name) });
        sim.add_device(node, DEVICE, DEVICE_BYTES, LOGICAL_BLOCK);
        let ground = Ground {
            directory: PathBuf::from("/case"),
            device: Some(PathBuf::from(DEVICE)),
            address: sim.address(node, 0),
            real: false,
            bulk_bytes: 4 << 20,
        };
        sim.start(node, move |env| {
            Box::pin(case(env, ground)) as Pin<Box<dyn Future<Output = ()>>>
        });
        let running = sim.run_while(VIRTUAL_TIME_MAX, |sim| !sim.is_finished(node));
        let ended = running.unwrap_or_else(|failure| panic!("{name}, seed {seed}: {failure}"));
        assert!(ended && sim.is_finished(node), "{name}, seed {seed}: hangs");
    }
}

/// An environment that records its files keeps the rules of the one below it.
pub(crate) fn on_traced_sim<F, C>(name: &'static str, case: C)
where
    F: Future<Output = ()> + 'static,
    C: FnOnce(Traced<SimEnv>, Ground) -> F + Copy + 'static,
{
    on_sim(name, move |env, ground| case(Traced::new(env, FileLog::new()), ground));
}
