//! The settings of the manager itself, and what they mean to leases and sessions.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use engine_types::NodeRole;

use super::{Apply, Range, Schema, Setting, Settings, Value};
use crate::lease::{
    BEAT_MAX, BEAT_MIN, DRIFT_PPM_MAX, LeaseTimes, LeaseTimesError, PRIMARY_LEASE_MAX,
    PRIMARY_LEASE_MIN, STORAGE_LEASE_MAX,
};
use crate::rules::Rules;
use crate::session::{SESSION_TIMEOUT_DEFAULT, SESSION_TIMEOUT_MAX, SESSION_TIMEOUT_MIN};

/// Between two heartbeats.
pub const HEARTBEAT_INTERVAL: &str = "heartbeat.interval";
/// D_s.
pub const LEASE_STORAGE: &str = "lease.storage";
/// D_p.
pub const LEASE_PRIMARY: &str = "lease.primary";
/// e, in thousandths.
pub const LEASE_DRIFT: &str = "lease.drift";
/// Chains of one node that sync at once.
pub const SYNCING_NODE_MAX: &str = "syncing.node_max";
/// Chains of the cluster that sync at once.
pub const SYNCING_CLUSTER_MAX: &str = "syncing.cluster_max";
/// Whether chains return to their preferred order by themselves.
pub const RESTORE_ORDER: &str = "chain.restore_order";
/// Silence that ends a client's session.
pub const SESSION_TIMEOUT: &str = "session.timeout";
/// How long a request for newer routing info may wait.
pub const ROUTING_POLL_TIME: &str = "routing.poll_time";

const fn duration(default: Duration, min: Duration, max: Duration) -> Range {
    Range::Duration { default, min, max }
}

const fn count(default: u64, min: u64, max: u64) -> Range {
    Range::Count { default, min, max }
}

const fn hot(name: &'static str, range: Range, help: &'static str) -> Setting {
    Setting { name, range, apply: Apply::Hot, help }
}

const DEFAULT: LeaseTimes = LeaseTimes::DEFAULT;

/// Largest drift bound in thousandths.
const DRIFT_PERMILLE_MAX: u32 = DRIFT_PPM_MAX / 1000;

/// All settings of the manager.
pub const SETTINGS: &[Setting] = &[
    hot(
        HEARTBEAT_INTERVAL,
        duration(DEFAULT.beat(), BEAT_MIN, BEAT_MAX),
        "Between two heartbeats of a node.",
    ),
    hot(
        LEASE_STORAGE,
        duration(DEFAULT.storage(), Duration::from_millis(200), STORAGE_LEASE_MAX),
        "How long a replica may serve after it sent a heartbeat that was answered; a dead node \
         stops writes to its chains for about this long. At least two heartbeat intervals.",
    ),
    hot(
        LEASE_PRIMARY,
        duration(DEFAULT.primary(), PRIMARY_LEASE_MIN, PRIMARY_LEASE_MAX),
        "How long the primary manager is valid after a renewal. A dead primary is replaced after \
         this, a restart of the KV is not noticed for four fifths of it.",
    ),
    hot(
        LEASE_DRIFT,
        Range::Permille { default: DEFAULT.drift_ppm() / 1000, min: 2, max: DRIFT_PERMILLE_MAX },
        "By how many thousandths one clock may run faster than another. All leases rest on it: \
         raise it some minutes before clocks that need it join, lower it after they have left.",
    ),
    // One sync fills a link of 25 Gbit/s by half; four leave room for clients on any faster one.
    hot(
        SYNCING_NODE_MAX,
        count(4, 1, 256),
        "Replicas of one node that are brought up to date at once; the others wait.",
    ),
    // Every node of a large cluster takes part in one.
    hot(
        SYNCING_CLUSTER_MAX,
        count(256, 1, 65_536),
        "Replicas of the cluster that are brought up to date at once; the others wait.",
    ),
    hot(
        RESTORE_ORDER,
        Range::Bool { default: false },
        "Bring chains back to their preferred order without being asked. Each step costs the \
         resync of one replica.",
    ),
    hot(
        SESSION_TIMEOUT,
        duration(SESSION_TIMEOUT_DEFAULT, SESSION_TIMEOUT_MIN, SESSION_TIMEOUT_MAX),
        "Silence after which a client counts as dead and its locks are given away.",
    ),
    // Well below the minutes after which middleboxes forget a silent connection.
    hot(
        ROUTING_POLL_TIME,
        duration(Duration::from_secs(30), Duration::from_secs(1), Duration::from_secs(300)),
        "How long a request for newer routing info may wait for a change.",
    ),
];

/// The schema of the manager.
///
/// # Panics
/// Never: a test makes it.
pub fn schema() -> Schema {
    Schema::new(NodeRole::Manager, SETTINGS, check).expect("E296: the manager's own schema")
}

/// The lease times that settings of the manager say.
///
/// # Errors
/// When they do not fit together.
///
/// # Panics
/// If the settings are of another role.
pub fn lease_times(settings: &Settings) -> Result<LeaseTimes, LeaseTimesError> {
    let permille = settings.number(LEASE_DRIFT);
    let drift_ppm = u32::try_from(1000 * permille).expect("E296: at most 100 thousandths");
    let beat = settings.duration(HEARTBEAT_INTERVAL);
    let (storage, primary) = (settings.duration(LEASE_STORAGE), settings.duration(LEASE_PRIMARY));
    LeaseTimes::new(beat, storage, primary, drift_ppm)
}

/// The rules that settings of the manager say. Leases longer than before are granted only as far as
/// `lease::Holder` says.
///
/// # Errors
/// When times do not fit together.
///
/// # Panics
/// If the settings are of another role.
pub fn rules(settings: &Settings) -> Result<Rules, LeaseTimesError> {
    let count = |name| usize::try_from(settings.number(name)).expect("E296: at most 65,536");
    let mut rules = Rules { times: lease_times(settings)?, ..Rules::default() };
    rules.syncing_per_node_max = count(SYNCING_NODE_MAX);
    rules.syncing_max = count(SYNCING_CLUSTER_MAX);
    rules.restore_order = settings.get(RESTORE_ORDER) == Some(Value::Bool(true));
    Ok(rules)
}

fn check(settings: &Settings) -> Result<(), String> {
    let times = lease_times(settings).map_err(|error| error.to_string())?;
    // A client that hears from no manager during a takeover extends its session right after it.
    let least = times.stretched(times.primary()) + times.stretched(times.storage()) + times.beat();
    let timeout = settings.duration(SESSION_TIMEOUT);
    if timeout < least {
        return Err(format!(
            "{SESSION_TIMEOUT} is {timeout:?}, a takeover of the primary takes {least:?}"
        ));
    }
    let (node, cluster) = (settings.number(SYNCING_NODE_MAX), settings.number(SYNCING_CLUSTER_MAX));
    if cluster < node {
        return Err(format!(
            "{SYNCING_CLUSTER_MAX} is {cluster}, less than {SYNCING_NODE_MAX}, which is {node}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
