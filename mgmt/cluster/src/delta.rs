//! What changed in the routing info since a version: the manager remembers which entries each
//! version touched, and a delta holds their present contents.
//!
//! A delta from v leads from *every* version in v..to to the newest one, because what changed
//! since a later version is among what changed since v, and contents are those of the newest.
//!
//! A version names contents only together with its timeline: a KV that came back from a backup
//! publishes numbers again that were published before, with other contents, until the operator
//! raises the timeline (R20). So whoever follows says both, a delta leads from one version to
//! another of the same timeline, and who comes from another one gets everything.
//!
//! Invariants
//!   E267  applying a delta gives exactly the full routing info of its version; its timeline is
//!         that of the version it is applied to
//!   E268  the history holds at most `HISTORY_KEYS_MAX` keys; who is older gets everything

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use engine_types::{
    ChainId, ChainInfo, ChainTable, ChainTableId, ClusterId, NodeId, NodeInfo, RoutingInfo,
    RoutingVersion, SessionId, TargetId, TargetInfo, Timeline, reached,
};

use crate::cluster::Cluster;
use crate::publish::Publisher;

/// Entries remembered over all versions. A delta of this many entries is about as large as half of
/// everything in a cluster of that size, and 12 bytes each are nothing for a manager.
pub const HISTORY_KEYS_MAX: usize = 65_536;

/// An entry of the routing info.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RoutingKey {
    Timeline,
    Node(NodeId),
    Target(TargetId),
    Chain(ChainId),
    Table(ChainTableId),
    /// Revoked sessions, in no known relation to those before.
    Revoked,
    /// The floor of sessions has risen.
    RevokedBelow,
    /// A session above the floor was revoked.
    RevokedOne(SessionId),
}

/// Which entries each of the last versions touched.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Everything since this version is remembered.
    base: RoutingVersion,
    versions: VecDeque<(RoutingVersion, Vec<RoutingKey>)>,
    keys: usize,
}

impl History {
    /// Remembers nothing before `base`.
    pub(crate) const fn starting_at(base: RoutingVersion) -> Self {
        Self { base, versions: VecDeque::new(), keys: 0 }
    }

    /// Version `version` differs from the one before it in `keys`.
    pub(crate) fn push(&mut self, version: RoutingVersion, keys: Vec<RoutingKey>) {
        if keys.contains(&RoutingKey::Timeline) {
            reached!("E267: no delta leads into a raised timeline");
            *self = Self::starting_at(version);
            return;
        }
        self.keys += keys.len();
        self.versions.push_back((version, keys));
        while HISTORY_KEYS_MAX < self.keys {
            let (version, keys) = self.versions.pop_front().expect("keys belong to versions");
            self.base = version;
            self.keys -= keys.len();
        }
    }

    /// What was touched since `since`, or nothing if that is not remembered.
    fn touched_since(&self, since: RoutingVersion) -> Option<BTreeSet<RoutingKey>> {
        if since < self.base {
            return None;
        }
        let newer = self.versions.iter().rev().take_while(|(version, _)| since < *version);
        Some(newer.flat_map(|(_, keys)| keys).copied().collect())
    }
}

/// Sessions that are revoked (L6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Sessions below it are.
    pub below: SessionId,
    /// So are these.
    pub sessions: BTreeSet<SessionId>,
}

/// What became of revocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevokedChange {
    /// These are all.
    Whole(Revoked),
    /// Those before stay, as far as they are not below the new floor; these sessions are added.
    Added(Revoked),
}

/// The way from an earlier version of the routing info to a later one. Entries without contents
/// are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// It can be applied to this version and every later one before `to`.
    pub from: RoutingVersion,
    /// The version it leads to.
    pub to: RoutingVersion,
    /// The timeline of all these versions.
    pub timeline: Timeline,
    /// Changed nodes.
    pub nodes: BTreeMap<NodeId, Option<NodeInfo>>,
    /// Changed targets.
    pub targets: BTreeMap<TargetId, Option<TargetInfo>>,
    /// Changed chains.
    pub chains: BTreeMap<ChainId, Option<ChainInfo>>,
    /// Changed tables.
    pub tables: BTreeMap<ChainTableId, Option<ChainTable>>,
    /// Revocations, if they changed.
    pub revoked: Option<RevokedChange>,
}

/// What somebody with an earlier version needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutingUpdate<'a> {
    /// Nothing: his version is the newest.
    Current,
    /// What changed since.
    Delta(Delta),
    /// Everything: his version is too old, or comes from somewhere else.
    Full(&'a RoutingInfo),
}

/// Why a delta does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// It describes another cluster.
    #[error("delta of cluster {found}, expected {expected}")]
    OtherCluster {
        /// Of the delta.
        found: ClusterId,
        /// Of the routing info.
        expected: ClusterId,
    },
    /// It is of another timeline: its versions name other contents.
    #[error("delta of {found}, expected {expected}")]
    OtherTimeline {
        /// Of the delta.
        found: Timeline,
        /// Of the routing info.
        expected: Timeline,
    },
    /// It starts after the present version, or ends before it: what lies between is not known.
    #[error("delta from {from} to {to} does not lead on from {found}")]
    OtherVersion {
        /// Of the routing info.
        found: RoutingVersion,
        /// The earliest it fits.
        from: RoutingVersion,
        /// Where it leads.
        to: RoutingVersion,
    },
}

impl Cluster {
    /// What somebody needs who has version `since` of `timeline`, or nothing before something was
    /// published.
    pub fn routing_update(
        &self,
        timeline: Timeline,
        since: RoutingVersion,
    ) -> Option<RoutingUpdate<'_>> {
        let Publisher { info, history, started, .. } = &self.publisher;
        if *started && timeline != info.timeline {
            return Some(RoutingUpdate::Full(info));
        }
        started.then(|| update_since(info, history, since))
    }
}

/// What differs between revocations that are published and those to be published next. One that is
/// missing although the floor did not pass it makes it all new.
pub(crate) fn revocation_keys(before: &RoutingInfo, after: &Revoked) -> Vec<RoutingKey> {
    let mut kept = before.revoked.range(after.below..);
    if after.below < before.revoked_below || !kept.all(|id| after.sessions.contains(id)) {
        return Vec::from([RoutingKey::Revoked]);
    }
    let new = after.sessions.difference(&before.revoked);
    let mut keys: Vec<RoutingKey> = new.map(|&id| RoutingKey::RevokedOne(id)).collect();
    if before.revoked_below < after.below {
        keys.push(RoutingKey::RevokedBelow);
    }
    keys
}

/// What `info` has that version `since` of the same timeline had not.
pub(crate) fn update_since<'a>(
    info: &'a RoutingInfo,
    history: &History,
    since: RoutingVersion,
) -> RoutingUpdate<'a> {
    if since == info.version {
        return RoutingUpdate::Current;
    }
    // A version above ours was published by a successor; only its full info can help.
    let touched = if since < info.version { history.touched_since(since) } else { None };
    let Some(touched) = touched else { return RoutingUpdate::Full(info) };
    let mut delta = Delta {
        cluster: info.cluster,
        from: since,
        to: info.version,
        timeline: info.timeline,
        nodes: BTreeMap::new(),
        targets: BTreeMap::new(),
        chains: BTreeMap::new(),
        tables: BTreeMap::new(),
        revoked: None,
    };
    let (mut whole, mut added) = (None, None);
    for key in touched {
        match key {
            RoutingKey::Timeline => panic!("E267: the history begins anew with a timeline"),
            RoutingKey::Node(id) => drop(delta.nodes.insert(id, info.nodes.get(&id).cloned())),
            RoutingKey::Target(id) => {
                delta.targets.insert(id, info.targets.get(&id).copied());
            }
            RoutingKey::Chain(id) => drop(delta.chains.insert(id, info.chains.get(&id).cloned())),
            RoutingKey::Table(id) => drop(delta.tables.insert(id, info.tables.get(&id).cloned())),
            RoutingKey::Revoked => {
                let sessions = info.revoked.clone();
                whole = Some(Revoked { below: info.revoked_below, sessions });
            }
            RoutingKey::RevokedBelow => drop(added.get_or_insert_default()),
            RoutingKey::RevokedOne(id) => {
                let added: &mut BTreeSet<SessionId> = added.get_or_insert_default();
                added.extend(info.revoked.get(&id)); // or the floor has passed it
            }
        }
    }
    let added = added.map(|sessions| Revoked { below: info.revoked_below, sessions });
    delta.revoked = whole.map(RevokedChange::Whole).or(added.map(RevokedChange::Added));
    RoutingUpdate::Delta(delta)
}

impl Delta {
    /// Brings `info` to version `to`.
    ///
    /// # Errors
    /// A delta that does not fit; nothing changes then.
    pub fn apply(self, info: &mut RoutingInfo) -> Result<(), DeltaError> {
        if self.cluster != info.cluster {
            return Err(DeltaError::OtherCluster { found: self.cluster, expected: info.cluster });
        }
        if self.timeline != info.timeline {
            let (found, expected) = (self.timeline, info.timeline);
            return Err(DeltaError::OtherTimeline { found, expected });
        }
        let (from, to) = (self.from, self.to);
        if info.version < from || to <= info.version {
            return Err(DeltaError::OtherVersion { found: info.version, from, to });
        }
        info.version = to;
        merge(&mut info.nodes, self.nodes);
        merge(&mut info.targets, self.targets);
        merge(&mut info.chains, self.chains);
        merge(&mut info.tables, self.tables);
        match self.revoked {
            None => {}
            Some(RevokedChange::Whole(revoked)) => {
                info.revoked_below = revoked.below;
                info.revoked = revoked.sessions;
            }
            Some(RevokedChange::Added(mut revoked)) => {
                info.revoked_below = revoked.below;
                info.revoked = info.revoked.split_off(&revoked.below);
                info.revoked.append(&mut revoked.sessions);
            }
        }
        Ok(())
    }
}

fn merge<K: Ord, V>(into: &mut BTreeMap<K, V>, changes: BTreeMap<K, Option<V>>) {
    for (key, change) in changes {
        match change {
            Some(value) => drop(into.insert(key, value)),
            None => drop(into.remove(&key)),
        }
    }
}

#[cfg(test)]
mod tests;
