//! The whole routing info, for programs.

use engine_types::{ChainInfo, ChainTable, NodeInfo, RoutingInfo, SessionId, TargetInfo};
use serde::Serialize;

use crate::words;

#[derive(Serialize)]
struct Node {
    node: String,
    role: &'static str,
    state: &'static str,
    incarnation: u64,
    addresses: Vec<String>,
}

#[derive(Serialize)]
struct Target {
    target: String,
    chain: String,
    node: String,
    core: u16,
    store: String,
}

#[derive(Serialize)]
struct Member {
    target: String,
    state: &'static str,
    incarnation: u64,
}

#[derive(Serialize)]
struct Chain {
    chain: String,
    version: u32,
    members: Vec<Member>,
}

#[derive(Serialize)]
struct Table {
    table: String,
    version: u32,
    chains: Vec<String>,
}

/// One version of everything.
#[derive(Serialize)]
pub(super) struct Report {
    cluster: String,
    version: u64,
    timeline: u32,
    nodes: Vec<Node>,
    targets: Vec<Target>,
    chains: Vec<Chain>,
    tables: Vec<Table>,
    revoked_below: String,
    revoked: Vec<String>,
}

impl Report {
    pub(super) fn of(info: &RoutingInfo) -> Self {
        Self {
            cluster: info.cluster.to_string(),
            version: info.version.get(),
            timeline: info.timeline.get(),
            nodes: info.nodes.iter().map(|(id, info)| node(id.to_string(), info)).collect(),
            targets: info.targets.iter().map(|(id, info)| target(id.to_string(), info)).collect(),
            chains: info.chains.iter().map(|(id, info)| chain(id.to_string(), info)).collect(),
            tables: info.tables.iter().map(|(id, info)| table(id.to_string(), info)).collect(),
            revoked_below: info.revoked_below.to_string(),
            revoked: info.revoked.iter().map(SessionId::to_string).collect(),
        }
    }
}

fn node(node: String, info: &NodeInfo) -> Node {
    let (role, state) = (words::role(info.role), words::node_state(info.state));
    Node {
        node,
        role,
        state,
        incarnation: info.incarnation.get(),
        addresses: info.addresses.clone(),
    }
}

fn target(target: String, info: &TargetInfo) -> Target {
    Target {
        target,
        chain: info.chain.to_string(),
        node: info.node.to_string(),
        core: info.core.get(),
        store: info.store.to_string(),
    }
}

fn chain(chain: String, info: &ChainInfo) -> Chain {
    let member = |member: &engine_types::Member| Member {
        target: member.target.to_string(),
        state: words::public_state(member.state),
        incarnation: member.incarnation.get(),
    };
    Chain { chain, version: info.version.get(), members: info.members.iter().map(member).collect() }
}

fn table(table: String, info: &ChainTable) -> Table {
    let chains = info.chains.iter().map(ToString::to_string).collect();
    Table { table, version: info.version.get(), chains }
}
