//! What differs between two versions of the routing info, as a line.

use std::collections::BTreeMap;

use engine_types::{ChainInfo, RoutingInfo};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::Output;
use crate::words;

/// Things of a kind that a line names before it counts the rest.
const NAMED_MAX: usize = 8;

/// A version and what it changed.
#[derive(Debug, Serialize)]
pub(super) struct Change {
    version: u64,
    timeline: u32,
    /// Differences, each in words; of the first version its size.
    changes: Vec<String>,
}

impl Change {
    /// The version that is shown first.
    pub(super) fn first(info: &RoutingInfo) -> Self {
        let (nodes, chains) = (info.nodes.len(), info.chains.len());
        let tables = info.tables.len();
        let changes = vec![format!("{nodes} nodes, {chains} chains, {tables} tables")];
        Self { version: info.version.get(), timeline: info.timeline.get(), changes }
    }

    /// What `after` changed.
    pub(super) fn between(before: &RoutingInfo, after: &RoutingInfo) -> Self {
        let mut changes = Vec::new();
        if before.timeline != after.timeline {
            changes.push(format!("{}, before {}", after.timeline, before.timeline));
        }
        let node = |node: &engine_types::NodeInfo| words::node_state(node.state).to_owned();
        compare(&before.nodes, &after.nodes, node, "nodes", &mut changes);
        compare(&before.chains, &after.chains, members, "chains", &mut changes);
        let table = |table: &engine_types::ChainTable| table.version.to_string();
        compare(&before.tables, &after.tables, table, "tables", &mut changes);
        let revoked = after.revoked.difference(&before.revoked).count();
        if before.revoked_below != after.revoked_below || 0 < revoked {
            let below = after.revoked_below;
            changes.push(format!("sessions below {below} and {revoked} more are revoked"));
        }
        Self { version: after.version.get(), timeline: after.timeline.get(), changes }
    }

    /// As a line.
    pub(super) fn print(&self, out: &mut Output) -> Result<(), Failure> {
        if out.json {
            return Ok(out.document(self)?);
        }
        let Self { version, timeline, changes } = self;
        Ok(out.line(&format!("r{version} timeline-{timeline}: {}", changes.join("; ")))?)
    }
}

/// A chain in words: `v4 target-1 serving, target-2 syncing`.
fn members(chain: &ChainInfo) -> String {
    let member = |member: &engine_types::Member| {
        format!("{} {}", member.target, words::public_state(member.state))
    };
    let members: Vec<String> = chain.members.iter().map(member).collect();
    format!("{} {}", chain.version, members.join(", "))
}

/// Says of each thing what it is now, or that it is gone.
fn compare<K: Ord + ToString, V: PartialEq>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    shown: impl Fn(&V) -> String,
    kind: &str,
    changes: &mut Vec<String>,
) {
    let changed = after.iter().filter(|(key, value)| before.get(*key) != Some(*value));
    let changed = changed.map(|(key, value)| (key, Some(value)));
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key, None));
    let all: Vec<(&K, Option<&V>)> = changed.chain(gone).collect();
    for (key, value) in all.iter().take(NAMED_MAX) {
        let state = value.map_or_else(|| "is gone".to_owned(), &shown);
        changes.push(format!("{} {state}", key.to_string()));
    }
    if let Some(rest @ 1..) = all.len().checked_sub(NAMED_MAX) {
        changes.push(format!("{rest} more {kind}"));
    }
}

#[cfg(test)]
mod tests;
