//! What changed in the routing info since a version: the manager remembers which entries each
//! version touched, and a delta holds their present contents.
//!
//! A delta from v leads from *every* version in v..to to the newest one, because what changed
//! since a later version is among what changed since v, and contents are those of the newest.
//!
//! Invariants
//!   E267  applying a delta gives exactly the full routing info of its version
//!   E268  the history holds at most `HISTORY_KEYS_MAX` keys; who is older gets everything

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use engine_types::{
    ChainId, ChainInfo, ChainTable, ChainTableId, ClusterId, NodeId, NodeInfo, RoutingInfo,
    RoutingVersion, SessionId, TargetId, TargetInfo, Timeline,
};

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
    Revoked,
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
    /// The timeline of that version.
    pub timeline: Timeline,
    /// Changed nodes.
    pub nodes: BTreeMap<NodeId, Option<NodeInfo>>,
    /// Changed targets.
    pub targets: BTreeMap<TargetId, Option<TargetInfo>>,
    /// Changed chains.
    pub chains: BTreeMap<ChainId, Option<ChainInfo>>,
    /// Changed tables.
    pub tables: BTreeMap<ChainTableId, Option<ChainTable>>,
    /// All revocations, if they changed.
    pub revoked: Option<Revoked>,
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

/// What `info` has that version `since` had not.
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
    for key in touched {
        match key {
            RoutingKey::Timeline => {} // every delta says it
            RoutingKey::Node(id) => drop(delta.nodes.insert(id, info.nodes.get(&id).cloned())),
            RoutingKey::Target(id) => {
                delta.targets.insert(id, info.targets.get(&id).copied());
            }
            RoutingKey::Chain(id) => drop(delta.chains.insert(id, info.chains.get(&id).cloned())),
            RoutingKey::Table(id) => drop(delta.tables.insert(id, info.tables.get(&id).cloned())),
            RoutingKey::Revoked => {
                let sessions = info.revoked.clone();
                delta.revoked = Some(Revoked { below: info.revoked_below, sessions });
            }
        }
    }
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
        let (from, to) = (self.from, self.to);
        if info.version < from || to <= info.version {
            return Err(DeltaError::OtherVersion { found: info.version, from, to });
        }
        info.version = to;
        info.timeline = self.timeline;
        merge(&mut info.nodes, self.nodes);
        merge(&mut info.targets, self.targets);
        merge(&mut info.chains, self.chains);
        merge(&mut info.tables, self.tables);
        if let Some(revoked) = self.revoked {
            info.revoked_below = revoked.below;
            info.revoked = revoked.sessions;
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
