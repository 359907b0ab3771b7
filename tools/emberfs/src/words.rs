//! Words for roles and states, the same in tables and JSON.

use engine_types::{NodeRole, NodeState, PublicState};
use mgmt_cluster::chain::LocalState;
use mgmt_cluster::record::Leaving;
use mgmt_cluster::session::{RevokeReason, SessionState};
use mgmt_protocol::StandingSaid;

/// A role.
pub(crate) const fn role(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Storage => "storage",
        NodeRole::Meta => "meta",
        NodeRole::Manager => "manager",
        NodeRole::Kv => "kv",
        NodeRole::Client => "client",
        NodeRole::Operator => "operator",
    }
}

/// The role of a word.
pub(crate) fn parse_role(text: &str) -> Result<NodeRole, String> {
    let found = NodeRole::ALL.into_iter().find(|known| role(*known) == text);
    found.ok_or_else(|| {
        let all: Vec<&str> = NodeRole::ALL.into_iter().map(role).collect();
        format!("expected one of {}", all.join(", "))
    })
}

/// Whether a node takes part.
pub(crate) const fn node_state(state: NodeState) -> &'static str {
    match state {
        NodeState::Alive => "alive",
        NodeState::Draining => "draining",
        NodeState::Dead => "dead",
    }
}

/// What the cluster thinks of a target.
pub(crate) const fn public_state(state: PublicState) -> &'static str {
    match state {
        PublicState::Serving => "serving",
        PublicState::Syncing => "syncing",
        PublicState::Waiting => "waiting",
        PublicState::LastServing => "last-serving",
        PublicState::Offline => "offline",
    }
}

/// What a node says about its target; a dash if it said nothing.
pub(crate) const fn local_state(state: Option<LocalState>) -> &'static str {
    match state {
        None => "-",
        Some(LocalState::UpToDate) => "up-to-date",
        Some(LocalState::Online) => "online",
        Some(LocalState::Offline) => "offline",
    }
}

/// Whether a target is to leave its chain.
pub(crate) fn leaving(leaving: Leaving) -> String {
    match leaving {
        Leaving::No => "stays".to_owned(),
        Leaving::Drained => "drained".to_owned(),
        Leaving::ReplacedBy(target) => format!("replaced by {target}"),
    }
}

/// What a manager is.
pub(crate) const fn standing(standing: StandingSaid) -> &'static str {
    match standing {
        StandingSaid::Standby => "standby",
        StandingSaid::TakingOver => "taking-over",
        StandingSaid::Primary => "primary",
    }
}

/// Whether a session may write, and why not.
pub(crate) const fn session_state(state: SessionState) -> &'static str {
    match state {
        SessionState::Live => "live",
        SessionState::Revoked { reason: RevokeReason::Closed, .. } => "closed",
        SessionState::Revoked { reason: RevokeReason::Expired, .. } => "expired",
        SessionState::Revoked { reason: RevokeReason::Operator, .. } => "revoked",
        SessionState::Revoked { reason: RevokeReason::Superseded, .. } => "superseded",
        SessionState::Revoked { reason: RevokeReason::Restored, .. } => "restored",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_as_they_are_printed() {
        for known in NodeRole::ALL {
            assert_eq!(parse_role(role(known)), Ok(known));
        }
        let why = parse_role("managers").unwrap_err();
        assert_eq!(why, "expected one of storage, meta, manager, kv, client, operator");
    }
}
