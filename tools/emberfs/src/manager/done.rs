//! What is said when something is done.

use engine_types::{ChainId, TargetId};
use mgmt_protocol::Done;
use serde::Serialize;

use crate::exit::Failure;
use crate::output::Output;

/// That it is done, for programs.
#[derive(Serialize)]
struct Report {
    /// False if everything was as wanted already.
    changed: bool,
    /// Created chains.
    chains: Vec<String>,
    /// Created targets.
    targets: Vec<String>,
}

/// Says what was done: `what` in words, or that it was so before.
pub(crate) fn did(out: &mut Output, done: &Done, what: &str) -> Result<(), Failure> {
    if !out.json {
        let nothing = "nothing to do: everything is as wanted already";
        out.line(if done.changed { what } else { nothing })?;
        return Ok(());
    }
    let chains = done.chains.iter().map(ChainId::to_string).collect();
    let targets = done.targets.iter().map(TargetId::to_string).collect();
    Ok(out.document(&Report { changed: done.changed, chains, targets })?)
}

/// Says what several requests did together.
pub(crate) fn did_all(out: &mut Output, all: &[Done], what: &str) -> Result<(), Failure> {
    let mut whole = Done::default();
    for done in all {
        whole.changed |= done.changed;
        whole.chains.extend(&done.chains);
        whole.targets.extend(&done.targets);
    }
    did(out, &whole, what)
}
