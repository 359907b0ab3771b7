//! Keys of what managers keep beside the records of `mgmt_cluster::record` (prefix `MGMT`).
//!
//! ```text
//!   MGLEASE                    who is primary (election)
//!   MGSUM                      summary of the sessions
//!   MGSESS  session u64        a session
//!   MGCONF  role u8 version u64   a version of the settings of a role
//!   MGGRNT  node u32           leases that standbys have renewed for a node (L5)
//! ```
//! Numbers are big-endian, so that ranges are in their order.

use engine_types::{NodeId, SessionId};
use mgmt_cluster::config::ConfigEntry;

/// Key of the primary's lease.
pub const LEASE_KEY: &[u8] = b"MGLEASE";
/// Key of the summary of sessions.
pub const SUMMARY_KEY: &[u8] = b"MGSUM";
/// What keys of sessions begin with.
pub const SESSIONS: &[u8] = b"MGSESS";
/// What keys of settings begin with.
pub const SETTINGS: &[u8] = b"MGCONF";
/// What keys of grants begin with.
pub const GRANTS: &[u8] = b"MGGRNT";

#[expect(clippy::big_endian_bytes, reason = "keys are ordered bytewise, and ids by number")]
mod order {
    pub(super) fn u32(prefix: &[u8], id: u32) -> Vec<u8> {
        [prefix, &id.to_be_bytes()].concat()
    }

    pub(super) fn u64(prefix: &[u8], id: u64) -> Vec<u8> {
        [prefix, &id.to_be_bytes()].concat()
    }

    pub(super) fn to_u32(key: &[u8], prefix: &[u8]) -> Option<u32> {
        Some(u32::from_be_bytes(*key.strip_prefix(prefix)?.as_array()?))
    }

    pub(super) fn to_u64(key: &[u8], prefix: &[u8]) -> Option<u64> {
        Some(u64::from_be_bytes(*key.strip_prefix(prefix)?.as_array()?))
    }
}

/// Key of a session.
pub fn session(id: SessionId) -> Vec<u8> {
    order::u64(SESSIONS, id.get())
}

/// The session of a key, if it is one.
pub fn to_session(key: &[u8]) -> Option<SessionId> {
    order::to_u64(key, SESSIONS).map(SessionId::new)
}

/// Key of a version of settings.
pub fn settings(entry: &ConfigEntry) -> Vec<u8> {
    settings_of(entry.role.code(), entry.version.get())
}

/// Key of a version of the settings of a role, by its code.
pub fn settings_of(role: u8, version: u64) -> Vec<u8> {
    order::u64(&[SETTINGS, &[role]].concat(), version)
}

/// Key of what standbys granted to a node.
pub fn grant(node: NodeId) -> Vec<u8> {
    order::u32(GRANTS, node.get())
}

/// The node of a key, if it is one of grants.
pub fn to_grant(key: &[u8]) -> Option<NodeId> {
    order::to_u32(key, GRANTS).map(NodeId::new)
}

#[cfg(test)]
mod tests {
    use mgmt_cluster::record::codec::KEY_PREFIX;

    use super::*;

    #[test]
    fn keys_are_told_apart_and_keep_the_order_of_ids() {
        let keys = [LEASE_KEY, SUMMARY_KEY, SESSIONS, SETTINGS, GRANTS, KEY_PREFIX];
        for (index, one) in keys.iter().enumerate() {
            for other in keys.iter().skip(index + 1) {
                assert!(!one.starts_with(other) && !other.starts_with(one), "{one:?} {other:?}");
            }
        }
        assert!(session(SessionId::new(255)) < session(SessionId::new(256)));
        assert_eq!(to_session(&session(SessionId::new(7))), Some(SessionId::new(7)));
        assert_eq!(to_grant(&grant(NodeId::new(9))), Some(NodeId::new(9)));
        assert_eq!(to_grant(b"MGGRNTx"), None);
        assert_eq!(to_session(SUMMARY_KEY), None);
        assert!(settings_of(3, 9) < settings_of(3, 10));
    }
}
