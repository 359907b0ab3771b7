//! Suite `storage`: replicated storage through its client, beside the layers that it stands on.
//!
//! Everything runs in this process: a key-value store and a manager, storage nodes with a core
//! each, a client's core, and for the limits servers and stores that are placed as the nodes are
//! (B2). Stores are on loop devices over memory. What the layers below do alone is measured in
//! turns with the whole; the limit of a row is what they could do one after the other.
//!
//! Owner: the main thread starts the cores of a setting, asks one side after the other for a
//! slice, and sleeps while it is measured. Failure: what cannot start fails the rows of its
//! setting; a core that does not answer in time ends the process.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

pub(crate) mod caller;
mod ground;
mod moved;
pub(crate) mod nodes;
mod relay;
mod shape;
pub(crate) mod threads;
mod worker;

use ground::Ground;
use moved::Moved;
use shape::{Setting, Shape, Side, Work};

use crate::cores::stuck;
use crate::cpu::KernelThreads;
use crate::meter::Taken;
use crate::stats::{self, Division, Slice, latency_histogram, median};
use crate::suite::{Event, LayerFigure, Plan, Row, Shown, StorageTold, Suite};

#[cfg(test)]
mod tests;

/// The entry of this suite.
pub(crate) const SUITE: Suite = Suite {
    name: "storage",
    about: "replicated storage through its client: one shard, three replicas, loop devices",
    limit: "1 / sum(1 / layer) of rpc and store; for 1m-write min(fio, bare TCP) / 3",
    shown: Shown { cpu_shares: ["client", "rest"], device_bytes: true, sized: true },
    rows,
    run,
};

/// Longest slice: fio is a process per slice, and shorter ones would be mostly its start.
const SLICE_MAX: Duration = Duration::from_secs(1);
/// A core that takes longer for one thing is stuck: it formats, fills, registers, or measures.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(180);
/// Ranks by which latencies of layers are added.
const RANKS: u32 = 1000;

fn rows(_: &Plan) -> Vec<String> {
    let of = |setting: Setting| {
        setting.shapes().into_iter().map(move |shape| setting.heading(shape).name)
    };
    Setting::ALL.into_iter().flat_map(of).collect()
}

fn run(plan: &Plan, report: &mut dyn FnMut(Event)) {
    for setting in Setting::ALL {
        let wanted = |shape: &Shape| plan.wants(&setting.heading(*shape).name);
        let shapes: Vec<Shape> = setting.shapes().into_iter().filter(wanted).collect();
        if shapes.is_empty() {
            continue;
        }
        // A row has as many slices per round as it has sides; a division is made for two.
        let sides = shapes.iter().map(|shape| 1 + shape.limits().len()).max().unwrap_or(2);
        let sides = u32::try_from(sides).unwrap_or(2);
        let division = Division::of(plan.seconds * 2 / sides, SLICE_MAX);
        let ground = Ground::start(setting, &shapes, plan, division, report);
        let ground = match ground {
            Ok(ground) => ground,
            Err(reason) => {
                for shape in shapes {
                    let name = setting.heading(shape).name;
                    report(Event::Failed { name, reason: reason.clone() });
                }
                continue;
            }
        };
        for shape in shapes {
            let name = setting.heading(shape).name;
            report(Event::Starting(name.clone()));
            report(match row(&ground, setting, shape, division) {
                Ok(row) => Event::Measured(row),
                Err(reason) => Event::Failed { name, reason },
            });
        }
        if let Err(reason) = ground.stop() {
            eprintln!("bench: {reason}");
        }
    }
}

/// What a core answers; nobody waits for one that hangs.
pub(crate) fn answer<T>(from: &Receiver<T>, what: &str) -> Result<T, String> {
    match from.recv_timeout(ANSWER_TIME_MAX) {
        Ok(answer) => Ok(answer),
        Err(RecvTimeoutError::Disconnected) => Err(format!("{what} has ended")),
        Err(RecvTimeoutError::Timeout) => stuck(&format!("{what} does not answer")),
    }
}

fn row(ground: &Ground, setting: Setting, shape: Shape, division: Division) -> Result<Row, String> {
    let limits = shape.limits();
    let mut rounds = Rounds::default();
    let mut kernel = KernelThreads::default();
    for round in 0..=division.pairs {
        // Whoever comes second finds a warmer machine or a more tired one: they take turns (B1).
        let mut order: Vec<Side> = [&[Side::Subject], limits].concat();
        if !round.is_multiple_of(2) {
            order.reverse();
        }
        let mut taken: BTreeMap<Side, Taken> = BTreeMap::new();
        for side in order {
            let moved = ground.devices()?;
            let before = threads::read(&mut kernel)?;
            let measured = ground.slice(side, shape)?;
            let after = threads::read(&mut kernel)?;
            // The first round fills pools and caches and is not counted (B4).
            if side == Side::Subject && 0 < round {
                threads::add(&mut rounds.threads, &before, &after);
                rounds.ops += measured.all_ops;
                rounds.moved = rounds.moved + (ground.devices()? - moved);
            }
            taken.insert(side, measured);
        }
        if 0 < round {
            rounds.add(shape, taken)?;
        }
    }
    rounds.row(setting, shape, &division)
}

/// What the rounds of a row have given.
#[derive(Default)]
struct Rounds {
    taken: Vec<(BTreeMap<Side, Taken>, Taken)>,
    of_layers: Vec<f64>,
    threads: threads::Times,
    moved: Moved,
    ops: u64,
}

impl Rounds {
    fn add(&mut self, shape: Shape, taken: BTreeMap<Side, Taken>) -> Result<(), String> {
        let of = |side: Side| taken.get(&side).ok_or("a side was not measured");
        let layers = [Side::Rpc, Side::Store].into_iter().filter_map(|side| taken.get(&side));
        let layers = one_after_the_other(layers);
        let subject = of(Side::Subject)?;
        self.of_layers.push(rate(&subject.slice) / rate(&layers.slice));
        let limit = if shape.work == Work::LargeWrite {
            let each =
                [Side::Device, Side::Tcp].map(|side| of(side).map(|taken| third(side, taken)));
            let [device, tcp] = each;
            let (device, tcp) = (device?, tcp?);
            if rate(&device.slice) < rate(&tcp.slice) { device } else { tcp }
        } else {
            layers
        };
        self.taken.push((taken, limit));
        Ok(())
    }

    fn row(self, setting: Setting, shape: Shape, division: &Division) -> Result<Row, String> {
        let (mut subject, mut limit) = (stats::Side::new(), stats::Side::new());
        for (taken, bound) in &self.taken {
            let taken = taken.get(&Side::Subject).ok_or("nothing was measured")?;
            subject.add(taken.slice, &taken.latency);
            limit.add(bound.slice, &bound.latency);
        }
        let mut layers = Vec::new();
        for &side in shape.limits() {
            let mut all = stats::Side::new();
            for taken in self.taken.iter().filter_map(|(taken, _)| taken.get(&side)) {
                let taken = third(side, taken);
                all.add(taken.slice, &taken.latency);
            }
            layers.push(LayerFigure { name: side.name(), figure: all.figure(1.0) });
        }
        let ops = self.ops.max(1) as f64;
        let per_op = self.threads.into_iter().map(|(name, used)| (name, used as f64 / ops / 1e3));
        let told = StorageTold {
            layers,
            of_layers: median(self.of_layers.into_iter()),
            // What sleeps between two heartbeats is not worth a column.
            threads_us_per_op: per_op.filter(|(_, us)| 0.01 < *us).collect(),
        };
        let row = stats::row(setting.heading(shape), division, &subject, &limit);
        let device = self.moved.per(self.ops, shape.work.bytes(), setting.replicas());
        Ok(Row { device: Some(device), storage: Some(Box::new(told)), ..row })
    }
}

fn rate(slice: &Slice) -> f64 {
    slice.ops as f64 / slice.nanos.max(1) as f64
}

/// What a side gives for all replicas, where it was measured for one.
fn third(side: Side, taken: &Taken) -> Taken {
    let slice = Slice { nanos: taken.slice.nanos * side.per_op(), ..taken.slice };
    Taken { slice, latency: taken.latency.clone(), all_ops: taken.all_ops }
}

/// What could be done if each layer did its part alone, one after the other: the times of as many
/// operations add up, CPU times too, and latencies of equal rank.
fn one_after_the_other<'a>(layers: impl Iterator<Item = &'a Taken>) -> Taken {
    let layers: Vec<&Taken> = layers.collect();
    let ops = layers.iter().map(|taken| taken.slice.ops).min().unwrap_or(0);
    let mut slice = Slice { ops, ..Slice::default() };
    let mut latency = latency_histogram();
    for taken in &layers {
        let part = &taken.slice;
        let share = ops as f64 / part.ops.max(1) as f64;
        #[expect(clippy::cast_possible_truncation, reason = "at most what it was")]
        let scaled = |nanos: u64| (nanos as f64 * share) as u64;
        slice.nanos += scaled(part.nanos);
        slice.cpu.client_nanos += scaled(part.cpu.client_nanos);
        slice.cpu.server_nanos += scaled(part.cpu.server_nanos);
    }
    for rank in 0..RANKS {
        let at = (f64::from(rank) + 0.5) / f64::from(RANKS);
        let sum: u64 = layers.iter().map(|taken| taken.latency.value_at_quantile(at)).sum();
        latency.saturating_record(sum);
    }
    Taken { slice, latency, all_ops: ops }
}
