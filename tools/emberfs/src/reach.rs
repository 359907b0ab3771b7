//! One process of the cluster, asked by whoever operates it.
//!
//! What is wrong (nobody listens, another cluster, another secret) is found out at once, not when a
//! request has been tried for as long as it may take: a connection is tried first, and the first
//! failed handshake ends the question.

use core::net::SocketAddr;
use core::time::Duration;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use engine_net::{Call, CallError, Client};
use engine_runtime::{Env, First, first};
use engine_types::Status;
use engine_wire::bodies::{self, Body};

use crate::config::HostPort;
use crate::exit::Failure;

/// How often a failed handshake is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What names the cluster file where no flag does.
pub(crate) const CLUSTER_VARIABLE: &str = "EMBERFS_CLUSTER";

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AskError {
    /// It does not know the question.
    Unsupported,
    /// In words.
    Failed(String),
}

/// The first address of the host that takes a connection. `noun` is the command that serves there.
pub(crate) fn connect(
    address: &HostPort,
    timeout: Duration,
    noun: &str,
) -> Result<SocketAddr, Failure> {
    let found = address.resolve().with_context(|| format!("cannot find {address}"));
    let found = found.map_err(|error| {
        Failure::environment(error).hint("is the name right, and known to this machine?")
    })?;
    let mut last = None;
    for address in found {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(_) => return Ok(address),
            Err(error) => last = Some(error),
        }
    }
    let last = last.expect("a host has an address");
    let refused = last.kind() == std::io::ErrorKind::ConnectionRefused;
    let error = anyhow::Error::new(last).context(format!("cannot connect to {address}"));
    Err(Failure::environment(error).hint(if refused {
        format!("nothing listens there: is `emberfs {noun} serve` running, and on this port?")
    } else {
        "is the machine up, and does a firewall let it through?".to_owned()
    }))
}

/// Asks once.
pub(crate) async fn ask<E: Env, Q: Body, A: Body>(
    env: &E,
    client: &Client<E>,
    question: &Q,
    timeout: Duration,
) -> Result<A, AskError> {
    let asked = client.call(Call::new(question, env.now() + timeout));
    let failed = async {
        loop {
            if let Some(why) = client.metrics().last_failure {
                return why;
            }
            env.sleep_until(env.now() + LOOK_EVERY).await;
        }
    };
    match first(asked, failed).await {
        First::Left(Ok(reply)) => {
            let told = reply.body::<A>().and_then(bodies::to_owned::<A>);
            told.map_err(|error| AskError::Failed(format!("its answer makes no sense: {error}")))
        }
        First::Left(Err(CallError::Refused(Status::UnsupportedKind))) => Err(AskError::Unsupported),
        First::Left(Err(error)) => Err(AskError::Failed(error.to_string())),
        First::Right(why) => Err(AskError::Failed(why)),
    }
}

impl AskError {
    /// In words; `unsupported` says what it means that it does not know the question.
    pub(crate) fn words(self, unsupported: &str) -> String {
        match self {
            Self::Unsupported => unsupported.to_owned(),
            Self::Failed(why) => why,
        }
    }

    /// The failure of a process that takes connections and does not answer. `what` it should be,
    /// and the cluster file by which it was asked.
    pub(crate) fn failure(self, address: SocketAddr, what: &str, cluster: &Path) -> Failure {
        let why = match self {
            Self::Failed(why) => why,
            Self::Unsupported => {
                let error = anyhow!("the process at {address} is no {what}");
                return Failure::environment(error).hint(
                    "another role of the same cluster listens there, or an older version: compare \
                     the ports, and `emberfs --version` there",
                );
            }
        };
        let error = anyhow!("the process at {address} did not let us in: {why}");
        let file = cluster.display();
        Failure::environment(error).hint(format!(
            "is it a {what} of the cluster of {file}? compare with `emberfs cluster show` there; \
             the secrets must be the same, too"
        ))
    }
}

/// The cluster file that the environment names.
pub(crate) fn cluster_variable() -> Option<PathBuf> {
    std::env::var_os(CLUSTER_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The failure of a command that says nowhere which cluster is meant. `whose` configuration file
/// would say it.
pub(crate) fn no_cluster(whose: &str) -> Failure {
    Failure::usage(anyhow!("no cluster is named")).hint(format!(
        "give --cluster, or set {CLUSTER_VARIABLE}, to the file that `emberfs cluster create` \
         made; --config names the file of a {whose} instead"
    ))
}
