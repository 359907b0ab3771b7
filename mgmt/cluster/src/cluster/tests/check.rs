//! What must hold in every world, said without the words of the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::String;

use engine_types::{
    ChainId, ChainVersion, Incarnation, PublicState, RoutingInfo, RoutingVersion, TargetId,
};

use super::super::Cluster;
use crate::delta::RoutingUpdate;
use crate::record::ChainRecord;

/// Remembers every committed version.
#[derive(Default)]
pub(super) struct Checker {
    versions: BTreeMap<(ChainId, ChainVersion), ChainRecord>,
    newest: BTreeMap<ChainId, ChainVersion>,
    /// Of all primaries.
    pub(super) published: RoutingVersion,
    /// The present primary has published.
    started: bool,
    shown: BTreeMap<ChainId, ChainVersion>,
    /// Targets that the operator has let serve although data may be lost.
    pub(super) given_up: BTreeSet<(ChainId, TargetId)>,
    /// So that a test sees that something happened.
    pub(super) writes: u64,
}

type Outcome = Result<(), String>;

impl Checker {
    pub(super) fn newest(&self, chain: ChainId) -> Option<&ChainRecord> {
        self.versions.get(&(chain, *self.newest.get(&chain)?))
    }

    pub(super) const fn new_primary(&mut self) {
        self.started = false;
    }

    /// A record is in the KV. Versions rise and are never used for two memberships.
    pub(super) fn committed(&mut self, id: ChainId, record: &ChainRecord) -> Outcome {
        let newest = self.newest.get(&id).copied().unwrap_or_default();
        if record.version < newest {
            return Err(format!("E266: {id} falls from {newest} to {}", record.version));
        }
        let former = self.versions.insert((id, record.version), record.clone());
        if let Some(former) = former.filter(|former| former.members != record.members) {
            return Err(format!("E266: {id}: {former:?} and {record:?}"));
        }
        self.newest.insert(id, record.version);
        Ok(())
    }

    /// R4, exactly: whoever can serve a version serves in it, and in every later one that anybody
    /// can serve, as the same start.
    pub(super) fn leases(&self, leases: &[(ChainId, TargetId, u64, ChainVersion)]) -> Outcome {
        for &(chain, target, start, version) in leases {
            let start = Incarnation::new(start);
            let later = leases.iter().filter(|l| l.0 == chain && version <= l.3);
            for &(_, other, _, held) in later {
                let record = self.versions.get(&(chain, held));
                let Some(record) = record else {
                    return Err(format!("E273: a lease for {chain} {held}, never committed"));
                };
                if !record.serves(target, start) {
                    return Err(format!(
                        "E273: {target} {start} can serve {chain} {version} while {other} can \
                         serve {held}: {record:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// What a primary shows is valid, and nothing in it ever falls.
    pub(super) fn published(&mut self, cluster: &Cluster) -> Outcome {
        let info = cluster.routing();
        if cluster.routing_update(info.timeline, RoutingVersion::new(0)).is_none() {
            return Ok(());
        }
        if self.started && info.version == self.published {
            return Ok(());
        }
        if info.version <= self.published {
            let (found, last) = (info.version, self.published);
            return Err(format!("E271: {found} is published after {last}"));
        }
        self.published = info.version;
        self.started = true;
        info.validate().map_err(|why| format!("E272: {why}"))?;
        for (&id, chain) in &info.chains {
            let shown = self.shown.insert(id, chain.version).unwrap_or_default();
            if chain.version < shown {
                return Err(format!("E275: {id} falls from {shown} to {}", chain.version));
            }
            let committed = self.versions.get(&(id, chain.version));
            if committed.is_none_or(|record| record.members != chain.members) {
                return Err(format!("E270: {id} {} is shown, not committed", chain.version));
            }
        }
        Ok(())
    }

    /// Deltas lead to what the full routing info says.
    pub(super) fn follow(
        &self,
        cluster: &Cluster,
        follower: &mut RoutingInfo,
        short: bool,
    ) -> Outcome {
        match cluster.routing_update(follower.timeline, follower.version) {
            None | Some(RoutingUpdate::Current) => {}
            Some(RoutingUpdate::Full(info)) => follower.clone_from(info),
            Some(RoutingUpdate::Delta(mut delta)) => {
                if short {
                    delta.chains.pop_first();
                }
                delta.apply(follower).map_err(|why| format!("E267: {why}"))?;
            }
        }
        if follower.version == cluster.routing().version && follower != cluster.routing() {
            return Err(format!("E267: the follower of {} differs", follower.version));
        }
        Ok(())
    }

    /// Chains of which some member does not serve.
    pub(super) fn broken(&self) -> impl Iterator<Item = (ChainId, &ChainRecord)> {
        let records =
            self.newest.iter().map(|(&id, &version)| (id, &self.versions[&(id, version)]));
        records.filter(|(_, r)| r.members.iter().any(|m| m.state != PublicState::Serving))
    }
}
