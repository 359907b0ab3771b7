//! Suite `meta`: what mdtest does, through a client and metadata services over the served store.
//!
//! Everything runs in this process, on cores of their own: manager, storage node, the kv role on
//! redb, one or two services, a client. What a row is measured beside runs on the same cores: the
//! transactions of the services once more without client and services (the store's share), their
//! commits alone, and a service that only reads and answers.
//!
//! Owner: the main thread asks one side after the other for a slice, and sleeps while it is
//! measured. Failure: what cannot start fails the rows of its setting; a core that does not answer
//! in time ends the process.

use core::time::Duration;
use std::collections::BTreeMap;

mod client;
mod ground;
mod null;
mod replay;
mod service;
mod shape;
mod tape;
#[cfg(test)]
mod tests;

use ground::Ground;
use replay::Averages;
use shape::{Shape, Side};

use crate::meter::Taken;
use crate::stats::{self, Division};
use crate::storage::threads;
use crate::suite::{Event, LayerFigure, MetaTold, Plan, Row, Shown, Suite};

/// The entry of this suite.
pub(crate) const SUITE: Suite = Suite {
    name: "meta",
    about: "metadata operations as mdtest does them, on one and on two services",
    limit: "the same transactions on the served store alone; of stats a service without logic",
    shown: Shown { cpu_shares: ["caller", "rest"], device_bytes: false, sized: false },
    rows,
    run,
};

/// Longest slice: a hundred groups of the store.
const SLICE_MAX: Duration = Duration::from_millis(500);
/// Services at the same time, in the order of the table.
const SERVICES: [u32; 2] = [1, 2];

fn rows(_: &Plan) -> Vec<String> {
    let of = |services: u32| {
        Shape::all(services).into_iter().map(move |shape| shape.heading(services).name)
    };
    SERVICES.into_iter().flat_map(of).collect()
}

fn run(plan: &Plan, report: &mut dyn FnMut(Event)) {
    for services in SERVICES {
        let wanted = |shape: &Shape| plan.wants(&shape.heading(services).name);
        let shapes: Vec<Shape> = Shape::all(services).into_iter().filter(wanted).collect();
        if shapes.is_empty() {
            continue;
        }
        // A row has three slices per round at most; a division is made for two.
        let division = Division::of(plan.seconds * 2 / 3, SLICE_MAX);
        let ground = match Ground::start(services, plan, division, report) {
            Ok(ground) => ground,
            Err(reason) => {
                for shape in shapes {
                    let name = shape.heading(services).name;
                    report(Event::Failed { name, reason: reason.clone() });
                }
                continue;
            }
        };
        for shape in shapes {
            let name = shape.heading(services).name;
            report(Event::Starting(name.clone()));
            report(match row(&ground, services, shape, division) {
                Ok(row) => Event::Measured(row),
                Err(reason) => Event::Failed { name, reason },
            });
        }
        if let Err(reason) = ground.stop() {
            eprintln!("bench: {reason}");
        }
    }
}

fn row(ground: &Ground, services: u32, shape: Shape, division: Division) -> Result<Row, String> {
    let averages = ground.prepare(shape)?;
    let mut rounds = Rounds::default();
    for round in 0..=division.pairs {
        // Whoever comes second finds a warmer machine or a more tired one: they take turns (B1).
        let mut order: Vec<Side> = [&[Side::Subject], shape.layers()].concat();
        if !round.is_multiple_of(2) {
            order.reverse();
        }
        let mut taken = BTreeMap::new();
        for side in order {
            let told = ground.slice(side, shape)?;
            // The first round fills pools and caches and is not counted (B4).
            if side == Side::Subject && 0 < round {
                threads::add(&mut rounds.threads, &threads::Times::new(), &told.threads);
                rounds.ops += told.taken.all_ops;
                rounds.commits += told.commits;
                rounds.groups += told.groups;
            }
            taken.insert(side, told.taken);
        }
        if 0 < round {
            rounds.taken.push(taken);
        }
    }
    rounds.row(services, shape, &division, averages)
}

/// What the rounds of a row have given.
#[derive(Default)]
struct Rounds {
    taken: Vec<BTreeMap<Side, Taken>>,
    threads: threads::Times,
    ops: u64,
    commits: u64,
    groups: u64,
}

impl Rounds {
    fn side(&self, side: Side) -> Result<stats::Side, String> {
        let mut all = stats::Side::new();
        for taken in &self.taken {
            let taken = taken.get(&side).ok_or("a side was not measured")?;
            all.add(taken.slice, &taken.latency);
        }
        Ok(all)
    }

    fn row(
        self,
        services: u32,
        shape: Shape,
        division: &Division,
        averages: Averages,
    ) -> Result<Row, String> {
        let limit = *shape.layers().first().ok_or("a row has a limit")?;
        let mut layers = Vec::new();
        for &side in shape.layers() {
            layers.push(LayerFigure { name: side.name(), figure: self.side(side)?.figure(1.0) });
        }
        let ops = self.ops.max(1) as f64;
        let mut threads_us_per_op: BTreeMap<String, f64> = BTreeMap::new();
        for (name, used) in &self.threads {
            *threads_us_per_op.entry(role_of(name)).or_default() += *used as f64 / ops / 1e3;
        }
        // What sleeps between two heartbeats is not worth a column.
        threads_us_per_op.retain(|_, us| 0.05 < *us);
        let changes = shape.work.is_change();
        let told = MetaTold {
            layers,
            threads_us_per_op,
            commits: if changes { self.commits } else { 0 },
            groups: if changes { self.groups } else { 0 },
            reads: averages.reads,
            rounds: averages.rounds,
            conflicts: averages.conflicts,
            mutations: averages.mutations,
            commit_bytes: averages.bytes,
        };
        let (subject, limit) = (self.side(Side::Subject)?, self.side(limit)?);
        let row = stats::row(shape.heading(services), division, &subject, &limit);
        Ok(Row { meta: Some(Box::new(told)), ..row })
    }
}

/// What a thread works for: those of blocking calls are the engine's, of the store.
fn role_of(thread: &str) -> String {
    let name = thread.strip_prefix("bench-").unwrap_or(thread);
    if name.starts_with("blocking-") { "engine".to_owned() } else { name.to_owned() }
}
