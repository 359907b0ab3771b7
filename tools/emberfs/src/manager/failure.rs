//! What it means for an operator that a manager does not do what it is asked.

use core::fmt::Write as _;
use std::path::Path;

use anyhow::anyhow;
use mgmt_client::ManagerError;
use mgmt_protocol::{Refusal, RefusalCode};

use crate::exit::Failure;

/// A failure of the cluster of the cluster file `cluster`. `look` is the command that shows
/// whether something was done; questions do nothing and have none.
pub(crate) fn failure(error: ManagerError, cluster: &Path, look: Option<&str>) -> Failure {
    match error {
        ManagerError::Refused(refusal) => refused(refusal, look),
        ManagerError::Unknown { address, why } => {
            let error = anyhow!("the answer of the manager at {address} was lost: {why}");
            unknown(error, look)
        }
        ManagerError::Unreachable { tried } => {
            let mut text = "no manager answers".to_owned();
            for (address, why) in &tried {
                write!(text, "\n  {address}: {why}").expect("a String takes everything");
            }
            let file = cluster.display();
            Failure::environment(anyhow!("{text}")).hint(format!(
                "is `emberfs mgmt serve` running there, in the cluster of {file}? `emberfs mgmt \
                 status` asks each of them"
            ))
        }
        error @ ManagerError::TooLarge { .. } => {
            Failure::usage(error).hint("split it; nothing was done")
        }
        error => Failure::environment(anyhow!("{error}"))
            .hint("compare `emberfs --version` here and there"),
    }
}

/// Whether it was done is not known.
fn unknown(error: anyhow::Error, look: Option<&str>) -> Failure {
    let failure = Failure::environment(error);
    match look {
        Some(look) => failure.hint(format!(
            "it may have been done, or may yet be; look with `{look}` before you repeat it"
        )),
        None => failure,
    }
}

fn refused(refusal: Refusal, look: Option<&str>) -> Failure {
    use RefusalCode as C;
    let code = refusal.code;
    let error = anyhow::Error::new(refusal);
    match code {
        C::NotFound | C::InvalidArgument | C::SessionUnknown => Failure::usage(error),
        C::DataLoss => Failure::problem(error)
            .hint("nothing was done; --accept-data-loss does it, and there is no way back"),
        C::Conflict => Failure::problem(error),
        C::NotPrimary => Failure::environment(error.context("no manager is primary"))
            .hint("one takes over within seconds if the kv answers; see `emberfs mgmt status`"),
        C::NotReady => Failure::environment(error.context("the primary is not ready yet"))
            .hint("it has just taken over, or cannot reach its kv: see `emberfs kv status`"),
        C::Overloaded => Failure::environment(error.context("the primary has too much to do"))
            .hint("nothing was done; repeat it later"),
        C::KvUnavailable => Failure::environment(error.context("the manager cannot reach its kv"))
            .hint("nothing was done; is `emberfs kv serve` running? see `emberfs kv status`"),
        C::UnknownResult => unknown(error.context("the manager does not know the result"), look),
        C::Malformed | C::Unsupported | C::Unrecognised(_) => {
            Failure::environment(error.context(format!("the manager refused it ({code:?})")))
                .hint("compare `emberfs --version` here and there")
        }
        // What is refused to nodes and clients, not to operators.
        _ => Failure::problem(error.context(format!("the manager refused it ({code:?})"))),
    }
}
