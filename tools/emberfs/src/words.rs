//! Words for roles and states, the same in tables and JSON.

use engine_types::NodeRole;
use mgmt_cluster::chain::LocalState;
use mgmt_cluster::session::{RevokeReason, SessionState};
pub(crate) use mgmt_cluster::words::{leaving, node_state, public_state, role};
use mgmt_protocol::StandingSaid;

/// The role of a word.
pub(crate) fn parse_role(text: &str) -> Result<NodeRole, String> {
    let found = NodeRole::ALL.into_iter().find(|known| role(*known) == text);
    found.ok_or_else(|| {
        let all: Vec<&str> = NodeRole::ALL.into_iter().map(role).collect();
        format!("expected one of {}", all.join(", "))
    })
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
