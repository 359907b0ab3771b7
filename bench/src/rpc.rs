//! Suite `rpc`: the RPC layer beside a bare TCP echo of the same shape on the same runtimes.
//!
//! Owner: the main thread starts a server and a client thread per pair of runtimes, each pinned to
//! a CPU of its own, and passes on what the client reports. Both keep running for all rows of
//! their pair; client and server of a row are always the same two threads for subject and limit.
//!
//! Failure: a core that does not start fails the rows of its pair; a row that does not end within
//! its time ends the process, because a thread cannot be ended from outside.

use core::time::Duration;
use std::sync::mpsc::{self, RecvTimeoutError};

mod calls;
mod drive;
pub(crate) mod echo;
mod serve;
pub(crate) mod shape;

use drive::{Drive, Job};
use serve::Serve;
use shape::{PAIRS, Shape};

use crate::cores::{self, join, stuck};
use crate::runtime::Runtime;
use crate::stats::{Division, SLICE_MAX};
use crate::suite::{Event, Plan, Shown, Suite};

#[cfg(test)]
mod tests;

/// The entry of this suite.
pub(crate) const SUITE: Suite = Suite {
    name: "rpc",
    about: "engine-net requests on loopback TCP, server and client runtime named in the row",
    limit: "a bare TCP echo of the same shape on the same two threads",
    shown: Shown { cpu_shares: ["client", "server"], device_bytes: false, sized: false },
    rows,
    run,
};

/// A core that takes longer to start is stuck.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// Time of a row beyond its slices: connecting, warming up, and stalls of a shared machine.
const ROW_TIME_MARGIN: Duration = Duration::from_secs(60);

fn rows(_: &Plan) -> Vec<String> {
    let shapes = Shape::all();
    let of_pair = |pair| shapes.iter().map(move |shape| shape.heading(pair).name);
    PAIRS.into_iter().flat_map(of_pair).collect()
}

fn run(plan: &Plan, report: &mut dyn FnMut(Event)) {
    let cpus = cores::two_cpus();
    if cpus.0 == cpus.1 {
        eprintln!("bench: only one CPU may be used: server and client share it");
    }
    for pair in PAIRS {
        let wanted = |shape: &Shape| plan.wants(&shape.heading(pair).name);
        let shapes: Vec<Shape> = Shape::all().into_iter().filter(wanted).collect();
        if shapes.is_empty() {
            continue;
        }
        let mut left: Vec<String> = shapes.iter().map(|shape| shape.heading(pair).name).collect();
        let mut pass_on = |event: Event| {
            if let Event::Measured(crate::suite::Row { name, .. }) | Event::Failed { name, .. } =
                &event
            {
                left.retain(|other| other != name);
            }
            report(event);
        };
        if let Err(reason) = run_pair(pair, shapes, plan, cpus, &mut pass_on) {
            for name in left {
                report(Event::Failed { name, reason: reason.clone() });
            }
        }
    }
}

fn run_pair(
    pair: (Runtime, Runtime),
    shapes: Vec<Shape>,
    plan: &Plan,
    cpus: (Option<usize>, Option<usize>),
    report: &mut dyn FnMut(Event),
) -> Result<(), String> {
    let (server, client) = pair;
    let (ready, started) = mpsc::channel();
    let server = cores::spawn("bench-server", cpus.0, server, Serve { ready })?;
    let endpoints = match started.recv_timeout(START_TIME_MAX) {
        Ok(endpoints) => endpoints,
        Err(RecvTimeoutError::Disconnected) => {
            join(server)??;
            return Err("the server ended before it served".to_owned());
        }
        Err(RecvTimeoutError::Timeout) => stuck("the server does not start"),
    };
    let division = Division::of(plan.seconds, SLICE_MAX);
    let (events, reported) = mpsc::channel();
    let drive = Drive { job: Job { pair, shapes, division, endpoints }, events };
    let client = cores::spawn("bench-client", cpus.1, client, drive)?;
    cores::pass_on(&reported, plan.seconds + ROW_TIME_MARGIN, report);
    join(client)?;
    join(server)?
}
