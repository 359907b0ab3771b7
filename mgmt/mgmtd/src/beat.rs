//! Heartbeats: answered by the primary from memory, or by a standby in its stead (L5).

use core::time::Duration;
use std::collections::BTreeMap;

use engine_runtime::{Env, all};
use engine_types::ChainId;
use meta_kv::{Abort, Kv, Policy, ReadMode, Transaction, TransactionOptions};
use mgmt_cluster::config::ConfigVersion;
use mgmt_cluster::heartbeat::{Heartbeat, HeartbeatError};
use mgmt_cluster::lease::{BEATS_PER_STORAGE_LEASE_MIN, Holder, PrimaryLease};
use mgmt_cluster::record::{ChainRecord, Record, RecordKey};
use mgmt_cluster::session::SessionSummary;
use mgmt_cluster::standby::{self, GrantRecord, Renewal, StandbyError, StandbyInput};
use mgmt_protocol::{BeatAnswer, Refusal, RefusalCode};

use crate::keys::{self, LEASE_KEY};
use crate::manager::Manager;
use crate::records::{READS_AT_ONCE, RecordsError, decode_lease};

/// Time for the transaction of a standby: the node asks again after a quarter of a second, and an
/// answer counts from the sending of its heartbeat.
const RENEWAL_TIME: Duration = Duration::from_secs(1);

/// Why a standby does not renew.
enum NotRenewed {
    Standby(StandbyError),
    Records(RecordsError),
}

impl From<RecordsError> for NotRenewed {
    fn from(error: RecordsError) -> Self {
        Self::Records(error)
    }
}

impl<E: Env, K: Kv> Manager<E, K> {
    /// Answers a heartbeat.
    pub(crate) async fn answer_beat(&self, beat: &Heartbeat) -> Result<BeatAnswer, Refusal> {
        // Who holds the lease answers as primary or not at all: a standby's way is for others.
        if self.election.with_holder(Holder::is_over) == Some(false) {
            return self.beat_as_primary(beat);
        }
        self.beat_as_standby(beat).await
    }

    fn beat_as_primary(&self, beat: &Heartbeat) -> Result<BeatAnswer, Refusal> {
        let answer = self.as_primary(|tenure, now| {
            let answer = tenure.cluster.heartbeat(beat, tenure.sessions.fences_mut(), now);
            let answer = answer.map_err(|error| Refusal::from(&error))?;
            let config = tenure.config_of(beat.node);
            // Longer intervals are told when the longer leases are granted that go with them.
            let beat = tenure.beat.min(answer.lease / BEATS_PER_STORAGE_LEASE_MIN);
            Ok(BeatAnswer { answer, beat, config, by_standby: false })
        })?;
        self.wake();
        answer
    }

    async fn beat_as_standby(&self, beat: &Heartbeat) -> Result<BeatAnswer, Refusal> {
        let Some(observed) = self.election.stands_in() else { return Err(self.not_primary()) };
        let options = TransactionOptions { timeout: RENEWAL_TIME, ..TransactionOptions::default() };
        let policy = Policy { options, time_max: RENEWAL_TIME, ..Policy::default() };
        let body = async |t: &K::Transaction| self.renew(t, &observed, beat).await;
        match meta_kv::transact(&self.kv, &policy, body).await {
            Ok(renewal) => {
                engine_types::reached!("L5: a standby has renewed leases");
                let (beat, config) = (self.beat_interval(), ConfigVersion::default());
                Ok(BeatAnswer { answer: renewal.answer, beat, config, by_standby: true })
            }
            Err(Abort::Own(NotRenewed::Standby(error))) => Err(self.not_renewed(error)),
            Err(Abort::Own(NotRenewed::Records(error))) => {
                tracing::error!(%error, "a standby cannot read the records");
                Err(Refusal::new(RefusalCode::NotReady, error.to_string()))
            }
            Err(Abort::Kv(error)) => {
                Err(Refusal::new(RefusalCode::KvUnavailable, error.to_string()))
            }
        }
    }

    /// Between two heartbeats, as far as a standby knows.
    fn beat_interval(&self) -> Duration {
        self.election.times().beat()
    }

    fn not_renewed(&self, error: StandbyError) -> Refusal {
        match error {
            StandbyError::NoPrimary | StandbyError::PrimaryLives => self.not_primary(),
            // Registrations may be newer than what was read; the primary decides such things.
            StandbyError::Refused(HeartbeatError::Stale { .. }) => {
                Refusal::new(RefusalCode::Stale, error.to_string())
            }
            StandbyError::Refused(error) => Refusal::from(&error),
        }
    }

    /// The transaction of a renewal (E309).
    async fn renew(
        &self,
        t: &K::Transaction,
        observed: &PrimaryLease,
        beat: &Heartbeat,
    ) -> Result<Renewal, Abort<NotRenewed>> {
        let own = |error: RecordsError| Abort::Own(NotRenewed::Records(error));
        let stored = t.get(LEASE_KEY, ReadMode::Conflict).await?;
        let lease = decode_lease(stored).map_err(own)?;
        if lease.as_ref() != Some(observed) {
            return Err(Abort::Own(NotRenewed::Standby(StandbyError::PrimaryLives)));
        }
        let cluster = match read(t, RecordKey::Cluster).await? {
            Some(Record::Cluster(record)) => record,
            _ => return Err(Abort::Own(NotRenewed::Standby(StandbyError::NoPrimary))),
        };
        let node = match read(t, RecordKey::Node(beat.node)).await? {
            Some(Record::Node(record)) => Some(record),
            _ => None,
        };
        let sessions = t.get(keys::SUMMARY_KEY, ReadMode::Conflict).await?;
        let sessions = SessionSummary::decode(&sessions.unwrap_or_default());
        let session_key = || keys::SUMMARY_KEY.to_vec();
        let sessions =
            sessions.map_err(|error| own(RecordsError::Session { key: session_key(), error }))?;
        let chains = read_chains(t, beat).await?;
        let key = keys::grant(beat.node);
        let grant = t.get(&key, ReadMode::Conflict).await?;
        let grant = grant.map(|bytes| GrantRecord::decode(&bytes)).transpose();
        let grant = grant.map_err(|error| own(RecordsError::Grant { node: beat.node, error }))?;
        let renewal = standby::renew(
            &StandbyInput {
                me: (self.config.me.node, self.config.me.incarnation),
                observed,
                lease: lease.as_ref(),
                cluster: &cluster,
                node: node.as_ref(),
                sessions: &sessions,
                chains: &chains,
                grant: grant.as_ref(),
            },
            beat,
        );
        let renewal = renewal.map_err(|error| Abort::Own(NotRenewed::Standby(error)))?;
        if let Some(grant) = &renewal.grant {
            t.set(&key, &grant.encode())?;
        }
        Ok(renewal)
    }
}

/// A record of the cluster; it conflicts.
async fn read<T: Transaction>(t: &T, key: RecordKey) -> Result<Option<Record>, Abort<NotRenewed>> {
    let stored = t.get(&key.encode(), ReadMode::Conflict).await?;
    let record = stored.map(|bytes| Record::decode(&key, &bytes)).transpose();
    record.map_err(|error| Abort::Own(RecordsError::Record { key, error }.into()))
}

/// The chains of targets that serve, some at a time.
async fn read_chains<T: Transaction>(
    t: &T,
    beat: &Heartbeat,
) -> Result<BTreeMap<ChainId, ChainRecord>, Abort<NotRenewed>> {
    let wanted: Vec<ChainId> = standby::chains_of(beat).into_iter().collect();
    let mut chains = BTreeMap::new();
    for some in wanted.chunks(READS_AT_ONCE) {
        let reads = some.iter().map(|&id| async move { (id, read(t, RecordKey::Chain(id)).await) });
        for (id, record) in all(reads).await {
            if let Some(Record::Chain(record)) = record? {
                chains.insert(id, record);
            }
        }
    }
    Ok(chains)
}
