//! The way to the managers of a cluster, for every verb that asks them or tells them something.
//!
//! Which managers and by what right comes from flags, else from a manager's configuration file,
//! else from the environment. A verb gets an [`Access`], which finds the primary by itself and
//! makes a [`Failure`] of what keeps it from an answer.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::path::PathBuf;

use anyhow::anyhow;
use engine_runtime::Env;
use engine_types::Instant;
use mgmt_client::{ManagerError, Managers as Client};
use mgmt_protocol::{Answer, Call, Done, Operation, Question};

use crate::cluster::ClusterFile;
use crate::config::{Config, HostPort, duration};
use crate::exit::Failure;
use crate::mgmt::listen_default;
use crate::output::warn;
use crate::reach::{self, CLUSTER_VARIABLE};
pub(crate) use done::{did, did_all};
use failure::failure;

mod done;
mod failure;
mod pages;

#[cfg(test)]
mod tests;

/// How long a manager may be silent before the client looks for the primary without it.
const REACH_TIME: Duration = Duration::from_secs(1);
/// What names the managers where no flag does.
const MANAGERS_VARIABLE: &str = "EMBERFS_MANAGERS";

/// Which managers, and how they are asked.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Managers {
    /// Some or all managers; the primary is found through any of them. By default what the
    /// variable EMBERFS_MANAGERS says, else 127.0.0.1:7200.
    #[arg(long, value_name = "HOST:PORT,..", value_delimiter = ',', help_heading = "Cluster")]
    managers: Vec<HostPort>,

    /// Cluster file; by default what the variable EMBERFS_CLUSTER says.
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    cluster: Option<PathBuf>,

    /// Take both from the configuration file of a manager: sections cluster and mgmt.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["managers", "cluster"])]
    #[arg(help_heading = "Cluster")]
    config: Option<PathBuf>,

    /// Give up after this time without an answer.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    #[arg(help_heading = "Cluster")]
    pub(crate) timeout: Duration,

    /// Print JSON, one document per line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The managers of a cluster, ready to be asked.
pub(crate) struct Access<E: Env> {
    pub(crate) env: E,
    pub(crate) client: Client<E>,
    /// The managers that were named.
    pub(crate) seeds: Vec<SocketAddr>,
    /// Its id and secret.
    pub(crate) cluster: ClusterFile,
    timeout: Duration,
    /// The cluster file, for hints.
    file: PathBuf,
}

impl Managers {
    /// The managers that are meant, one of which takes connections. That nobody does is found out
    /// at once: a request would be tried for as long as it may take.
    pub(crate) async fn access<E: Env>(&self, env: &E) -> Result<Access<E>, Failure> {
        let access = self.open(env)?;
        access.reach().await?;
        Ok(access)
    }

    /// The managers that are meant; nothing is sent yet.
    pub(crate) fn open<E: Env>(&self, env: &E) -> Result<Access<E>, Failure> {
        let (managers, file) = self.named(|name| std::env::var_os(name))?;
        let cluster = ClusterFile::read(&file)?;
        let seeds = resolve(&managers)?;
        let client = Client::new(env, cluster.operator(env), seeds.clone());
        Ok(Access { env: env.clone(), client, seeds, cluster, timeout: self.timeout, file })
    }

    /// Managers and cluster file; `variable` gives what the environment says.
    fn named(
        &self,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<(Vec<HostPort>, PathBuf), Failure> {
        if let Some(path) = &self.config {
            let config = Config::read(path)?;
            let file = config.cluster_file(path)?;
            let mgmt = config.mgmt.unwrap_or_default();
            let listen = mgmt.listen.unwrap_or_else(listen_default).reachable();
            let told = mgmt.advertise;
            return Ok((if told.is_empty() { vec![listen] } else { told }, file));
        }
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let file = self.cluster.clone().or_else(|| set(CLUSTER_VARIABLE).map(PathBuf::from));
        let file = file.ok_or_else(|| reach::no_cluster("manager"))?;
        let managers = match set(MANAGERS_VARIABLE) {
            _ if !self.managers.is_empty() => self.managers.clone(),
            Some(text) => of_variable(&text)?,
            None => vec![listen_default()],
        };
        Ok((managers, file))
    }
}

fn of_variable(text: &OsString) -> Result<Vec<HostPort>, Failure> {
    let text = text.to_string_lossy();
    let parse = |word: &str| {
        word.parse().map_err(|why| {
            Failure::usage(anyhow!("{MANAGERS_VARIABLE}: found {word:?}, {why}"))
                .hint("addresses are separated by commas: 10.0.0.1:7200,10.0.0.2:7200")
        })
    };
    text.split(',').map(str::trim).map(parse).collect()
}

/// The addresses of all that can be found. A host that has addresses of both kinds is asked at
/// those of the first kind only: they are the same process.
fn resolve(managers: &[HostPort]) -> Result<Vec<SocketAddr>, Failure> {
    let mut found = Vec::new();
    let mut lost = Vec::new();
    for manager in managers {
        match manager.resolve() {
            Ok(addresses) => {
                let kind = addresses.first().map(SocketAddr::is_ipv6);
                found.extend(addresses.into_iter().filter(|a| Some(a.is_ipv6()) == kind));
            }
            Err(error) => lost.push(format!("{manager}: {error}")),
        }
    }
    if found.is_empty() {
        let why = anyhow!("cannot find the managers: {}", lost.join(", "));
        return Err(Failure::environment(why).hint("is the name right, and known to this machine?"));
    }
    for why in lost {
        warn(&format!("cannot find a manager, asking others: {why}"));
    }
    let mut seen = BTreeSet::new();
    found.retain(|address| seen.insert(*address));
    Ok(found)
}

impl<E: Env> Access<E> {
    /// How long is waited for an answer.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Fails if every manager that is named refuses connections. One that is silent may have
    /// become slow, and may have told the others of a primary: that is for the client to find out.
    async fn reach(&self) -> Result<(), Failure> {
        let tries: Vec<_> = self.seeds.iter().map(|address| self.try_connect(*address)).collect();
        let mut tried = Vec::new();
        for one in tries {
            match one.await {
                (_, Ok(())) => return Ok(()),
                (_, Err(error)) if error.kind() == ErrorKind::TimedOut => return Ok(()),
                (address, Err(error)) => tried.push((address, error.to_string())),
            }
        }
        Err(failure(ManagerError::Unreachable { tried }, &self.file, None))
    }

    fn try_connect(&self, address: SocketAddr) -> E::Join<(SocketAddr, io::Result<()>)> {
        let patience = REACH_TIME.min(self.timeout);
        self.env
            .blocking(move || (address, TcpStream::connect_timeout(&address, patience).map(drop)))
    }

    /// When a request that is sent now is given up.
    pub(crate) fn deadline(&self) -> Instant {
        self.env.now() + self.timeout
    }

    /// Has something done. `look` is the command that shows whether it was done, for when the
    /// answer is lost.
    pub(crate) async fn operate(&self, asked: Operation, look: &str) -> Result<Done, Failure> {
        let told = self.call(&asked).await;
        told.map_err(|error| failure(error, &self.file, Some(look)))
    }

    /// Asks the primary.
    pub(crate) async fn ask(&self, asked: Question) -> Result<Answer, Failure> {
        let told = self.call(&asked).await;
        told.map_err(|error| failure(error, &self.file, None))
    }

    async fn call<C: Call>(&self, asked: &C) -> Result<C::Answer, ManagerError> {
        self.client.call(asked, self.deadline()).await
    }
}
