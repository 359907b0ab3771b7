//! Times and limits the manager decides by. They come from the cluster's configuration.

use core::time::Duration;

use crate::lease::LeaseTimes;

/// What the decisions of this crate depend on besides records and reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long leases last, and what clocks may differ by.
    pub times: LeaseTimes,
    /// Targets of one node that are synced at a time: each is read, sent and written at device
    /// speed, so a few saturate a node and more only make each of them last longer.
    pub syncing_per_node_max: usize,
    /// Targets of the cluster that are synced at a time.
    pub syncing_max: usize,
    /// Bring chains back to their preferred order without being asked. Each step costs one
    /// member's resync, therefore off by default.
    pub restore_order: bool,
    /// A mistake that a test plants.
    #[cfg(any(test, feature = "planted"))]
    pub(crate) planted: Option<crate::cluster::planted::Planted>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            times: LeaseTimes::DEFAULT,
            syncing_per_node_max: 4,
            syncing_max: 256,
            restore_order: false,
            #[cfg(any(test, feature = "planted"))]
            planted: crate::cluster::planted::planted(),
        }
    }
}

impl Rules {
    /// `D_s * (1 + e)`, rounded up: a lease asked for before a moment has run out by its holder's
    /// clock when this much has passed since on the manager's.
    pub fn wait(&self) -> Duration {
        self.times.stretched(self.times.storage())
    }
}
