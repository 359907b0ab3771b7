//! A scenario: a topology, a workload, a mix of faults and the checks that must hold, under a name.

use core::fmt;

use engine_runtime::sim::{Failure, SimReport};

use crate::check::{CheckFailure, Verdict};
use crate::fault::FaultPlan;
use crate::scenarios;
use crate::world::World;

/// One kind of run; the seed picks which.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What `--scenario` calls it.
    pub name: &'static str,
    /// What it proves, in a line.
    pub about: &'static str,
    /// Builds the world of a seed, runs it to its end and checks it.
    pub play: fn(u64) -> Played,
}

/// A world at its end, and what the checks said.
pub struct Played {
    /// For its trace and counters.
    pub world: World,
    /// The plan, which [`World::stop_faults`] has ended.
    pub plan: FaultPlan,
    /// Operations of clients.
    pub operations: u64,
    /// The first check that failed.
    pub verdict: Verdict,
}

/// One run of one seed, as plain data.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its scenario.
    pub scenario: &'static str,
    /// Its seed.
    pub seed: u64,
    /// What went wrong, one fault per line.
    pub plan: String,
    /// Counters of the world.
    pub report: SimReport,
    /// Operations of clients.
    pub operations: u64,
    /// Faults that took effect.
    pub faults: u64,
    /// Of every message, I/O and timer.
    pub trace_hash: u64,
    /// What did not hold.
    pub failure: Option<CheckFailure>,
    /// The end of the trace.
    pub trace: String,
}

impl Run {
    /// The command that runs this seed again, for scenarios of [`Scenario::all`].
    pub fn replay(&self) -> String {
        format!("cargo x sim --seed {} --scenario {}", self.seed, self.scenario)
    }
}

impl Scenario {
    /// Runs one seed.
    pub fn run(&self, seed: u64) -> Run {
        let Played { world, plan, operations, verdict } = (self.play)(seed);
        let sim = world.sim();
        Run {
            scenario: self.name,
            seed,
            plan: plan.to_string(),
            report: sim.report(),
            operations,
            faults: world.faults(),
            trace_hash: sim.trace_hash(),
            failure: verdict.err(),
            trace: sim.trace_tail(),
        }
    }

    /// Every scenario.
    pub fn all() -> &'static [Self] {
        scenarios::ALL
    }

    /// The scenario of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::all().iter().find(|scenario| scenario.name == name)
    }
}

/// A failure with all that is needed to see it again.
pub struct FailureReport<'a> {
    /// The run.
    pub run: &'a Run,
    /// What [`commit`](crate::commit::commit) says.
    pub commit: &'a str,
    /// The command that runs it again.
    pub replay: &'a str,
}

impl fmt::Display for FailureReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Run { scenario, seed, plan, trace, trace_hash, failure, .. } = self.run;
        writeln!(f, "commit      {}", self.commit)?;
        writeln!(f, "scenario    {scenario}")?;
        writeln!(f, "seed        {seed}")?;
        writeln!(f, "trace hash  {trace_hash:016x}")?;
        if let Some(failure) = failure {
            writeln!(f, "failed      {failure}")?;
        }
        write!(f, "faults\n{plan}end of the trace\n{trace}")?;
        if !trace.ends_with('\n') {
            writeln!(f)?;
        }
        writeln!(f, "replay      {}", self.replay)
    }
}

/// A panic or livelock in a world is a check that failed.
impl From<Failure> for CheckFailure {
    fn from(failure: Failure) -> Self {
        Self { check: "no panic", what: failure.to_string() }
    }
}
