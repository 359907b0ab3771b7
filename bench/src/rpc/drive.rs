//! The client's core: measures row after row, subject and limit in turns (B1).

use std::rc::Rc;
use std::sync::mpsc;

use engine_runtime::Env;

use super::calls::{self, Callers};
use super::echo;
use super::serve::Endpoints;
use super::shape::Shape;
use crate::meter::{Measured, slice};
use crate::runtime::{Main, Runtime};
use crate::stats::{self, Division, Side};
use crate::suite::{Event, Row};

/// What a client measures.
pub(super) struct Job {
    pub(super) pair: (Runtime, Runtime),
    pub(super) shapes: Vec<Shape>,
    pub(super) division: Division,
    pub(super) endpoints: Endpoints,
}

/// Measures the rows of `job`. Nobody left to read `events` ends it.
pub(super) struct Drive {
    pub(super) job: Job,
    pub(super) events: mpsc::Sender<Event>,
}

impl Main for Drive {
    type Output = ();

    async fn run<E: Env>(self, env: E) {
        drive(env, self.job, self.events).await;
    }
}

async fn drive<E: Env>(env: E, job: Job, events: mpsc::Sender<Event>) {
    for &shape in &job.shapes {
        let name = shape.heading(job.pair).name;
        if events.send(Event::Starting(name.clone())).is_err() {
            return;
        }
        let event = match measure(&env, &job, shape).await {
            Ok(row) => Event::Measured(row),
            Err(reason) => Event::Failed { name, reason },
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

async fn measure<E: Env>(env: &E, job: &Job, shape: Shape) -> Result<Row, String> {
    let division = &job.division;
    let callers = Callers::new(env, job.endpoints.rpc, shape);
    let callers = Rc::new(callers.map_err(|error| format!("client: {error}"))?);
    let mut links = Vec::with_capacity(shape.connections);
    for _ in 0..shape.connections {
        let link = echo::connect(env, job.endpoints.echo, shape).await;
        links.push(link.map_err(|error| format!("bare echo: {error}"))?);
    }
    let (mut subject, mut limit) = (Side::new(), Side::new());
    for round in 0..=division.pairs {
        let calls =
            |callers: Rc<_>| slice(env, division, 0, |meter| calls::flood(callers, shape, meter));
        let echoes = |links| slice(env, division, 0, |meter| echo::flood(links, shape, meter));
        // Whoever comes second finds a warmer machine or a more tired one: they take turns (B1).
        let (called, echoed) = if round.is_multiple_of(2) {
            let called = calls(callers.clone()).await?;
            (called, echoes(links).await?)
        } else {
            let echoed = echoes(links).await?;
            (calls(callers.clone()).await?, echoed)
        };
        if 0 < round {
            // The first pair filled pools, caches and windows (B4).
            add(&mut subject, &called);
            add(&mut limit, &echoed);
        }
        links = echoed.output;
    }
    callers.close(env).await;
    Ok(stats::row(shape.heading(job.pair), division, &subject, &limit))
}

fn add<T>(side: &mut Side, measured: &Measured<T>) {
    side.add(measured.slice, &measured.latency);
}
