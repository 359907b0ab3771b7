//! Which machines a world has, how they are joined and what they are like before anything fails.

use engine_runtime::sim::{ClockSpec, DiskFaults, Link, NetFaults, NodeSpec, SimConfig};

/// A world before its first fault, as data.
#[derive(Clone, Debug)]
pub struct Topology {
    /// Machines; the position of one is its number in fault plans.
    pub nodes: Vec<Machine>,
    /// Between any two machines.
    pub link: Link,
    /// Rules of all connections.
    pub net: NetFaults,
    /// Of every machine without a disk of its own kind.
    pub disk: DiskFaults,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Shown in traces, plans and failures.
    pub name: String,
    /// Its clocks.
    pub clock: ClockSpec,
    /// Its disk, if unlike the topology's.
    pub disk: Option<DiskFaults>,
    /// Limit of the buffer pool of its first core, bytes; `None` is the default of a core.
    pub pool_bytes: Option<usize>,
}

impl Machine {
    /// A machine with true clocks and the topology's disk.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), clock: ClockSpec::default(), disk: None, pool_bytes: None }
    }
}

impl Topology {
    /// `count` machines named `role-0`, `role-1`, … for each `(role, count)`, on healthy links.
    pub fn of(roles: &[(&str, usize)]) -> Self {
        let nodes = roles.iter().flat_map(|&(role, count)| {
            (0..count).map(move |index| Machine::new(&format!("{role}-{index}")))
        });
        Self {
            nodes: nodes.collect(),
            link: Link::default(),
            net: NetFaults::default(),
            disk: DiskFaults::default(),
        }
    }

    pub(crate) fn config(&self, seed: u64) -> SimConfig {
        SimConfig { link: self.link, net: self.net, disk: self.disk, ..SimConfig::new(seed) }
    }
}

impl Machine {
    pub(crate) fn spec(&self) -> NodeSpec {
        let mut spec = NodeSpec { clock: self.clock, ..NodeSpec::new(&self.name) };
        if let Some(bytes) = self.pool_bytes {
            spec.core.pool_bytes = bytes;
        }
        spec
    }
}
