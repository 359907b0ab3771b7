//! The first layout of a cluster: which stores hold the members of which chains, and the table that
//! files are laid out over.
//!
//! Members of a chain lie in as many nodes. Chain `i` begins with node `i`, and when all nodes have
//! begun one, the next stores are taken: each node is head of as many chains as any other, and
//! holds as many members, as far as the numbers allow it.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::ClusterError;
use crate::name::Name;
use crate::operator::{Operator, text};
use crate::plan::Plan;

/// Where a member of a chain can be, as `emberfs chain create` is told it.
pub(crate) type Place = String;

/// The table that is laid out over all chains.
const TABLE: &str = "1";

/// Places of the members of `chains` chains; `nodes` has the stores of each node.
pub(crate) fn chains(nodes: &[Vec<Place>], chains: usize, replicas: usize) -> Vec<Vec<&Place>> {
    let count = nodes.len();
    assert!(replicas <= count, "members lie in different nodes");
    let member = |chain: usize, at: usize| {
        let stores = &nodes[(chain + at) % count];
        &stores[chain / count % stores.len()]
    };
    (0..chains).map(|chain| (0..replicas).map(|at| member(chain, at)).collect()).collect()
}

/// Ids of registered storage nodes that are heard, by their domain, which is the name here.
pub(crate) fn registered(operator: &Operator) -> Result<BTreeMap<String, String>, ClusterError> {
    let nodes = operator.ask(&["node", "list", "--role", "storage"])?;
    let alive = nodes.iter().filter(|node| node["state"] == "alive");
    Ok(alive.filter_map(|node| Some((text(node, "domain")?, text(node, "node")?))).collect())
}

/// Places in the stores of a node, which listens at `address`.
pub(crate) fn places(
    operator: &Operator,
    node: &str,
    address: &str,
) -> Result<Vec<Place>, ClusterError> {
    let stores = operator.ask(&["storage", "space", address])?;
    let place = |(disk, store): (usize, &Value)| {
        let core = store["core"].as_u64().unwrap_or(0);
        Some(format!("{node}/{}/{core}/{disk}", text(store, "store")?))
    };
    Ok(stores.iter().enumerate().filter_map(place).collect())
}

/// Ids of all chains.
fn known(operator: &Operator) -> Result<Vec<String>, ClusterError> {
    let chains = operator.ask(&["chain", "list"])?;
    Ok(chains.iter().filter_map(|chain| text(chain, "chain")).collect())
}

/// Creates chains and the table, unless they are there. `addresses` says where each storage node
/// listens; all of them are registered.
pub(crate) fn create(
    operator: &Operator,
    plan: &Plan,
    addresses: &[(Name, String)],
    write: impl FnOnce(&str) -> Result<std::path::PathBuf, ClusterError>,
) -> Result<(), ClusterError> {
    if plan.chains == 0 {
        return Ok(());
    }
    if known(operator)?.is_empty() {
        let nodes = registered(operator)?;
        let mut all = Vec::new();
        for (name, address) in addresses {
            let node = nodes.get(&name.to_string());
            let node =
                node.ok_or(ClusterError::State { name: *name, what: "is not registered" })?;
            let found = places(operator, node, address)?;
            if found.is_empty() {
                return Err(ClusterError::State { name: *name, what: "has no store" });
            }
            all.push(found);
        }
        let mut lines = String::new();
        for chain in chains(&all, plan.chains, plan.replicas) {
            let members: Vec<&str> = chain.iter().map(|place| place.as_str()).collect();
            writeln!(lines, "{}", members.join(" ")).expect("a String takes everything");
        }
        let file = write(&lines)?;
        let arguments = ["chain".as_ref(), "create".as_ref(), "--file".as_ref(), file.as_os_str()];
        operator.ask(&arguments)?;
    }
    // Whoever was interrupted between both has chains and no table.
    if operator.ask(&["table", "show", TABLE]).is_err() {
        let all = known(operator)?;
        let mut arguments = vec!["table", "set", TABLE];
        arguments.extend(all.iter().map(String::as_str));
        operator.ask(&arguments)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize, stores: usize) -> Vec<Vec<Place>> {
        let node = |n| (0..stores).map(|store| format!("{n}/{store}")).collect();
        (0..count).map(node).collect()
    }

    #[test]
    fn chains_are_spread_evenly() {
        for (count, stores, replicas, number) in
            [(3, 1, 3, 6), (3, 2, 3, 6), (5, 2, 3, 10), (4, 3, 2, 12), (1, 1, 1, 1)]
        {
            let nodes = nodes(count, stores);
            let chains = chains(&nodes, number, replicas);
            assert_eq!(chains.len(), number);
            let mut held = BTreeMap::new();
            let mut heads = BTreeMap::new();
            for chain in &chains {
                let node = |place: &Place| place.split_once('/').unwrap().0.to_owned();
                let apart: std::collections::BTreeSet<_> = chain.iter().map(|p| node(p)).collect();
                assert_eq!(apart.len(), replicas, "{chain:?}");
                *heads.entry(node(chain[0])).or_insert(0) += 1;
                chain.iter().for_each(|place| *held.entry((*place).clone()).or_insert(0) += 1);
            }
            let spread =
                |counts: Vec<i32>| counts.iter().max().unwrap() - counts.iter().min().unwrap();
            assert!(spread(heads.into_values().collect()) <= 1, "{chains:?}");
            if number == count * stores {
                assert_eq!(held.len(), count * stores, "{held:?}");
                assert_eq!(spread(held.into_values().collect()), 0, "{chains:?}");
            }
        }
    }
}
