//! A process of the plan: where it lives, and what runs there if anything does.

use core::net::SocketAddr;
use core::time::Duration;
use std::process::Command;

use crate::child::Running;
use crate::clock::Stopwatch;
use crate::error::ClusterError;
use crate::folder::Home;
use crate::name::Name;
use crate::plan::Plan;
use crate::starter::Starter;

/// What a process that listened nowhere before is told: the kernel chooses from the ports that it
/// keeps apart from those of connections, so that the port is free again at a restart.
const ANY_PORT: &str = "127.0.0.1:0";

/// A process of the plan.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: Name,
    pub(crate) home: Home,
    pub(crate) running: Option<Running>,
    /// Where it listens, or will again.
    pub(crate) address: Option<SocketAddr>,
    /// Whether it is to run.
    pub(crate) wanted: bool,
    /// Since its last start.
    pub(crate) life: Stopwatch,
    /// Until it is started again, after the last end that nobody wanted.
    pub(crate) pause: Duration,
    /// Since that end.
    pub(crate) dead: Option<Stopwatch>,
}

impl Slot {
    pub(crate) fn new(name: Name, home: Home) -> Result<Self, ClusterError> {
        let address = home.address()?;
        let life = Stopwatch::start();
        let (pause, dead) = (Duration::ZERO, None);
        Ok(Self { name, home, running: None, address, wanted: false, life, pause, dead })
    }

    /// Where it is told to listen.
    pub(crate) fn listen(&self) -> String {
        self.address.map_or_else(|| ANY_PORT.to_owned(), |address| address.to_string())
    }

    /// Starts it with a configuration; it does not serve yet.
    pub(crate) fn begin(
        &mut self,
        starter: &Starter,
        plan: &Plan,
        config: &str,
    ) -> Result<(), ClusterError> {
        assert!(self.running.is_none(), "a process runs once");
        self.home.write("config.toml", config)?;
        let mut command = Command::new(&plan.binary);
        command.args([self.name.noun(), "serve", "--json", "--config"]);
        command.arg(self.home.path("config.toml"));
        if let Some(level) = &plan.log {
            command.args(["--log", level]);
        }
        if let (Name::Manager(_), Some(lease)) = (self.name, plan.test_primary_lease) {
            command.args(["--test-primary-lease", &format!("{}ms", lease.as_millis())]);
        }
        let (ready, log) = (self.home.path("ready"), self.home.path("log"));
        self.wanted = true;
        self.dead = None;
        self.life = Stopwatch::start();
        self.running = Some(Running::start(self.name, starter, command, &ready, &log)?);
        Ok(())
    }

    /// Waits until it serves. One that does not is ended.
    pub(crate) fn until_ready(&mut self, patience: Duration) -> Result<SocketAddr, ClusterError> {
        let name = self.name;
        let running = self.running.as_mut();
        let running = running.ok_or(ClusterError::State { name, what: "has not been started" })?;
        let ready = running.until_ready(patience);
        let kept = ready.and_then(|address| self.home.remember(address).map(|()| address));
        match kept {
            Ok(address) => {
                self.address = Some(address);
                Ok(address)
            }
            Err(error) => {
                self.running = None; // drops it, which kills it
                Err(error)
            }
        }
    }
}
