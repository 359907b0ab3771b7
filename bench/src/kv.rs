//! Suite `kv`: transactions on keys, in this process and served, beside the engine alone and
//! beside what a flush costs; and how long a killed store takes to open.
//!
//! Owner: the main thread fills two stores of each engine, the subject's and the limit's, starts a
//! core per setting, and passes on what it reports. The kv role runs on the first CPU and its
//! client on the second, else the measuring core has the first and the engine's threads roam.
//!
//! Failure: a store that cannot be filled fails its rows with the reason; a row that does not end
//! within its time ends the process. Whatever ends it, the data of redb goes with it (`place`).

use core::time::Duration;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

mod drive;
mod keys;
pub(crate) mod place;
mod reopen;
pub(crate) mod serve;
mod shape;
pub(crate) mod work;

use drive::{Drive, Job};
use place::{Opened, Store};
pub(crate) use reopen::victim;
use reopen::{Cache, Start};
use serve::{Endpoint, Serve};
use shape::{Engine, Layer, Setting, Shape};

use meta_kv::engine::redb::RedbEngine;

use crate::cores::{self, Core, join, stuck};
use crate::runtime::Runtime;
use crate::stats::Division;
use crate::suite::{Event, Keys, Plan, Row, Shown, Suite};

#[cfg(test)]
mod tests;

/// The entry of this suite.
pub(crate) const SUITE: Suite = Suite {
    name: "kv",
    about: "durable transactions on keys, by layer and engine; opening a killed store",
    limit: "bare: a flushed log; embedded: the bare engine; served: embedded; reopen: orderly end",
    shown: Shown { cpu_shares: ["core", "others"], device_bytes: true, sized: false },
    rows,
    run,
};

/// Longest slice: hundreds of groups, however slow the disk is.
const SLICE_MAX: Duration = Duration::from_millis(500);
/// A core that takes longer to start is stuck.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// Time of a row beyond its slices: stalls of the machine and of its disk.
const ROW_TIME_MARGIN: Duration = Duration::from_secs(120);

fn rows(plan: &Plan) -> Vec<String> {
    let settings = Engine::built().iter().flat_map(|&engine| Setting::all_of(engine));
    let rows = settings.flat_map(|setting| names(setting, &setting.shapes(&plan.keys)));
    rows.chain(Cache::ALL.map(Cache::row)).collect()
}

fn names(setting: Setting, shapes: &[Shape]) -> Vec<String> {
    shapes.iter().map(|&shape| setting.heading(shape).name).collect()
}

fn run(plan: &Plan, report: &mut dyn FnMut(Event)) {
    run_with(plan, reopen::child, report);
}

fn run_with(plan: &Plan, child: Start, report: &mut dyn FnMut(Event)) {
    run_engine::<RedbEngine>(Engine::Redb, plan, report);
    #[cfg(feature = "fjall")]
    run_engine::<meta_kv::engine::fjall::FjallEngine>(Engine::Fjall, plan, report);
    #[cfg(not(feature = "fjall"))]
    if plan.wants("fjall") {
        eprintln!("bench: rows of fjall are in builds with --features fjall only");
    }
    run_reopen(plan, child, report);
}

/// Reports what a part of the suite reports, and every row that it leaves out as failed.
fn with_all_rows(
    mut left: Vec<String>,
    report: &mut dyn FnMut(Event),
    part: impl FnOnce(&mut dyn FnMut(Event)) -> Result<(), String>,
) {
    let mut pass_on = |event: Event| {
        if let Event::Measured(Row { name, .. }) | Event::Failed { name, .. } = &event {
            left.retain(|other| other != name);
        }
        report(event);
    };
    if let Err(reason) = part(&mut pass_on) {
        for name in left {
            report(Event::Failed { name, reason: reason.clone() });
        }
    }
}

fn run_engine<G: Opened>(engine: Engine, plan: &Plan, report: &mut dyn FnMut(Event)) {
    let mut stores = None;
    for setting in Setting::all_of(engine) {
        let wanted = |shape: &Shape| plan.wants(&setting.heading(*shape).name);
        let shapes: Vec<Shape> = setting.shapes(&plan.keys).into_iter().filter(wanted).collect();
        if shapes.is_empty() {
            continue;
        }
        with_all_rows(names(setting, &shapes), report, |report| {
            let stores = if setting.layer == Layer::Flush {
                None
            } else {
                let filled = stores.get_or_insert_with(|| filled::<G>(engine, plan, report));
                Some(filled.as_ref().map_err(String::clone)?)
            };
            measure(setting, shapes, plan, stores, report)
        });
    }
}

/// The subject's store and the limit's, equal.
fn filled<G: Opened>(
    engine: Engine,
    plan: &Plan,
    report: &mut dyn FnMut(Event),
) -> Result<[Store<G>; 2], String> {
    let Keys { stored, .. } = plan.keys;
    report(Event::Preparing(format!("{}: writing {stored} keys, twice", engine.name())));
    let store = || Store::filled(&plan.storage.dir, stored);
    Ok([store()?, store()?])
}

fn measure<G: Opened>(
    setting: Setting,
    shapes: Vec<Shape>,
    plan: &Plan,
    stores: Option<&[Store<G>; 2]>,
    report: &mut dyn FnMut(Event),
) -> Result<(), String> {
    let cpus = cores::two_cpus();
    let (server, runtime, cpu) = match (setting.layer, stores) {
        (Layer::Served(server, client), Some([subject, _])) => {
            (Some(serve(subject, server, cpus.0)?), client, cpus.1)
        }
        (Layer::Embedded(runtime), _) => (None, runtime, cpus.0),
        _ => (None, Runtime::Monoio, cpus.0),
    };
    let (endpoint, server) = server.unzip();
    let job = Job {
        setting,
        shapes,
        division: Division::of(plan.seconds, SLICE_MAX),
        folder: plan.storage.dir.clone(),
        keys: plan.keys.stored,
        served: endpoint.as_ref().map(|endpoint: &Endpoint| endpoint.address),
    };
    let stores = stores.map(|stores| stores.each_ref().map(drive::Opened::from));
    let (events, reported) = mpsc::channel();
    let core = cores::spawn("bench-kv", cpu, runtime, Drive { job, stores, events })?;
    cores::pass_on(&reported, plan.seconds + ROW_TIME_MARGIN, report);
    join(core)?;
    drop(endpoint);
    server.map_or(Ok(()), |server| join(server)?)
}

/// Starts the kv role on a core of its own.
fn serve<G: Opened>(
    store: &Store<G>,
    runtime: Runtime,
    cpu: Option<usize>,
) -> Result<(Endpoint, Core<Result<(), String>>), String> {
    let (ready, started) = mpsc::channel();
    let main = Serve { engine: store.engine.clone(), ready };
    let server = cores::spawn("bench-kvd", cpu, runtime, main)?;
    match started.recv_timeout(START_TIME_MAX) {
        Ok(endpoint) => Ok((endpoint, server)),
        Err(RecvTimeoutError::Disconnected) => {
            join(server)??;
            Err("the server ended before it served".to_owned())
        }
        Err(RecvTimeoutError::Timeout) => stuck("the server does not start"),
    }
}

fn run_reopen(plan: &Plan, child: Start, report: &mut dyn FnMut(Event)) {
    let rows: Vec<Cache> =
        Cache::ALL.into_iter().filter(|cache| plan.wants(&cache.row())).collect();
    if rows.is_empty() {
        return;
    }
    let names = rows.iter().map(|cache| cache.row()).collect();
    with_all_rows(names, report, |report| {
        let (events, reported) = mpsc::channel();
        let plan = plan.clone();
        let measuring = thread::Builder::new()
            .name("bench-reopen".to_owned())
            .spawn(move || reopen::run(&rows, &plan, child, &events))
            .map_err(|error| format!("no thread: {error}"))?;
        cores::pass_on(&reported, ROW_TIME_MARGIN, report);
        join_thread(measuring)
    });
}

fn join_thread(thread: thread::JoinHandle<Result<(), String>>) -> Result<(), String> {
    thread.join().unwrap_or_else(|_panic| Err("it panicked; see its message above".to_owned()))
}
