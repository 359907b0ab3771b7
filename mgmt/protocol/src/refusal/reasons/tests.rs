use alloc::string::ToString;

use mgmt_cluster::command::CommandError;
use mgmt_cluster::config::ConfigError;
use mgmt_cluster::heartbeat::HeartbeatError;
use mgmt_cluster::registry::RegisterError;
use mgmt_cluster::session::SessionError;

use crate::{Message, Refusal, RefusalCode, StatusAsk};
use engine_types::{NodeId, NodeRole};

#[test]
fn errors_keep_their_text_and_get_a_kind() {
    use RefusalCode as Code;
    let node = NodeId::new(7);
    let refusals = [
        (Refusal::from(&HeartbeatError::Unknown { node }), Code::Unregistered),
        (Refusal::from(&RegisterError::Busy), Code::Overloaded),
        (Refusal::from(&CommandError::NoNode { node }), Code::NotFound),
        (Refusal::from(&SessionError::Busy), Code::Overloaded),
        (Refusal::from(&ConfigError::NoSchema { role: NodeRole::Kv }), Code::NotFound),
        (Refusal::from(&StatusAsk::decode(&[]).unwrap_err()), Code::Malformed),
    ];
    for (refusal, code) in refusals {
        assert_eq!(refusal.code, code, "{refusal}");
        assert_eq!(refusal.primary, None);
    }
    let error = HeartbeatError::Unknown { node };
    assert_eq!(Refusal::from(&error).message, error.to_string());
}
