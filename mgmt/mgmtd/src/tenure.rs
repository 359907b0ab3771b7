//! What a primary keeps in memory during its term: the cluster, the sessions of clients, the
//! settings, and what standbys granted. Loaded when the lease was taken, dropped with it.

use core::time::Duration;

use engine_types::{ClusterId, Instant, NodeId, NodeRole};
use mgmt_cluster::cluster::{Cluster, LoadError};
use mgmt_cluster::config::{
    ClusterConfig, ConfigError, ConfigLoadError, ConfigVersion, SchemaError, manager,
};
use mgmt_cluster::fields::DecodeError;
use mgmt_cluster::lease::{LeaseTimes, LeaseTimesError, StorageLeases, Term};
use mgmt_cluster::record::{Record, RecordKey};
use mgmt_cluster::rules::Rules;
use mgmt_cluster::session::{SessionLoadError, Sessions};

use crate::records::{Grants, Loaded, RecordsError};

/// Records were loaded that this manager cannot act on.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// The KV belongs to another cluster.
    #[error("the KV holds cluster {found}, this manager belongs to {expected}")]
    OtherCluster {
        /// In the KV.
        found: ClusterId,
        /// Of this process.
        expected: ClusterId,
    },
    /// A cluster without its sessions' summary, or the other way round.
    #[error("the KV lacks {0}: part of the cluster's records is gone")]
    Incomplete(&'static str),
    /// Records that make no sense by themselves.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The name of the cluster that would be founded.
    #[error("the cluster's name: {0}")]
    Name(DecodeError),
    /// Records contradict each other.
    #[error(transparent)]
    Cluster(#[from] LoadError),
    /// Sessions contradict each other.
    #[error(transparent)]
    Sessions(#[from] SessionLoadError),
    /// Settings make no sense.
    #[error(transparent)]
    Settings(#[from] ConfigLoadError),
    /// Settings contradict their schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The manager's settings cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Lease times do not fit together.
    #[error(transparent)]
    Times(#[from] LeaseTimesError),
}

/// What a primary keeps in memory.
pub(crate) struct Tenure {
    pub(crate) term: Term,
    pub(crate) cluster: Cluster,
    pub(crate) sessions: Sessions,
    pub(crate) config: ClusterConfig,
    pub(crate) grants: Grants,
    /// Name of the cluster.
    pub(crate) name: String,
    /// Changes written in this term.
    pub(crate) changes: u64,
    /// Between two heartbeats.
    pub(crate) beat: Duration,
    /// How long a request for routing info may wait.
    pub(crate) poll_time: Duration,
    /// Lapses of attention that sessions were told of.
    pub(crate) lapses: u64,
    /// Silence that ends a session.
    pub(crate) session_timeout: Duration,
}

/// The settings of the manager as they are loaded, and what they mean.
pub(crate) struct Settings {
    pub(crate) config: ClusterConfig,
    pub(crate) rules: Rules,
    pub(crate) session_timeout: Duration,
    pub(crate) poll_time: Duration,
}

impl Settings {
    /// `times` replaces what the settings say of leases, in tests.
    pub(crate) fn load(
        entries: &[mgmt_cluster::config::ConfigEntry],
        times: Option<LeaseTimes>,
    ) -> Result<Self, TakeoverError> {
        let mut config = ClusterConfig::new();
        config.register(manager::schema())?;
        for entry in entries {
            config.load(entry.clone())?;
        }
        Self::of(config, times)
    }

    /// What the settings in force mean.
    pub(crate) fn of(
        config: ClusterConfig,
        times: Option<LeaseTimes>,
    ) -> Result<Self, TakeoverError> {
        let (_, settings) = config.current(NodeRole::Manager)?;
        let mut rules = manager::rules(settings)?;
        rules.times = times.unwrap_or(rules.times);
        let session_timeout = settings.duration(manager::SESSION_TIMEOUT);
        let poll_time = settings.duration(manager::ROUTING_POLL_TIME);
        Ok(Self { config, rules, session_timeout, poll_time })
    }
}

impl Tenure {
    /// Takes over at `now`, which was read after `loaded` was.
    pub(crate) fn load(
        loaded: Loaded,
        settings: Settings,
        cluster: ClusterId,
        (term, leases): (Term, StorageLeases),
        now: Instant,
    ) -> Result<Self, TakeoverError> {
        let Loaded { records, summary, sessions, grants, .. } = loaded;
        let found = records.iter().find_map(|(key, record)| match (key, record) {
            (RecordKey::Cluster, Record::Cluster(record)) => Some(record.clone()),
            _ => None,
        });
        let record = found.ok_or(TakeoverError::Incomplete("the record of the cluster"))?;
        if record.id != cluster {
            return Err(TakeoverError::OtherCluster { found: record.id, expected: cluster });
        }
        let summary = summary.ok_or(TakeoverError::Incomplete("the summary of sessions"))?;
        let Settings { config, rules, session_timeout, poll_time } = settings;
        let beat = rules.times.beat();
        let mut cluster = Cluster::load(records, rules, now, leases.until)?;
        cluster.set_lease(leases.lasts);
        let timeline = cluster.timeline();
        let sessions =
            Sessions::load(summary, sessions, timeline, session_timeout, now, leases.until)?;
        let revoked = sessions.revoked();
        cluster.load_revoked(revoked.below, revoked.sessions);
        Ok(Self {
            term,
            cluster,
            sessions,
            config,
            grants,
            name: record.name,
            changes: 0,
            beat,
            poll_time,
            session_timeout,
            lapses: 0,
        })
    }

    /// Standbys have renewed leases meanwhile; each counts like a heartbeat that was received now.
    pub(crate) fn standbys_granted(&mut self, moved: Grants, until: Instant, now: Instant) {
        for (node, grant) in moved {
            self.cluster.standby_granted(node, until, self.sessions.fences_mut(), now);
            self.grants.insert(node, grant);
        }
    }

    /// Sessions that nobody listened to count as heard.
    pub(crate) fn hear_all_after_a_lapse(&mut self, now: Instant) {
        if self.cluster.is_away(now) {
            self.cluster.resumed(now);
        }
        if self.lapses != self.cluster.lapses() {
            self.lapses = self.cluster.lapses();
            self.sessions.resumed(now);
        }
    }

    /// Version of the settings that processes of the node's role have to have.
    pub(crate) fn config_of(&self, node: NodeId) -> ConfigVersion {
        let role = self.cluster.routing().nodes.get(&node).map(|info| info.role);
        let newest = role.and_then(|role| self.config.newest(role));
        newest.map_or(ConfigVersion::default(), |entry| entry.version)
    }
}
