//! Words for people, the same in errors, tables and JSON.

use core::fmt;
use core::time::Duration;

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use engine_types::{NodeRole, NodeState, PublicState};

use crate::record::Leaving;

/// A role.
pub const fn role(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Storage => "storage",
        NodeRole::Meta => "meta",
        NodeRole::Manager => "manager",
        NodeRole::Kv => "kv",
        NodeRole::Client => "client",
        NodeRole::Operator => "operator",
    }
}

/// Whether a node takes part.
pub const fn node_state(state: NodeState) -> &'static str {
    match state {
        NodeState::Alive => "alive",
        NodeState::Draining => "draining",
        NodeState::Dead => "dead",
    }
}

/// What the cluster thinks of a target.
pub const fn public_state(state: PublicState) -> &'static str {
    match state {
        PublicState::Serving => "serving",
        PublicState::Syncing => "syncing",
        PublicState::Waiting => "waiting",
        PublicState::LastServing => "last-serving",
        PublicState::Offline => "offline",
    }
}

/// Whether a target is to leave its chain.
pub fn leaving(leaving: Leaving) -> String {
    match leaving {
        Leaving::No => "stays".to_owned(),
        Leaving::Drained => "drained".to_owned(),
        Leaving::ReplacedBy(target) => format!("replaced by {target}"),
    }
}

/// A length of time, as exact as people want it.
pub fn span(length: &Duration) -> String {
    match length.as_secs() {
        0 => format!("{} ms", length.as_millis()),
        seconds @ 1..60 => format!("{seconds}.{} s", length.subsec_millis() / 100),
        seconds => format!("{} min", seconds / 60),
    }
}

/// Several things, or "none".
pub fn list<T: fmt::Display>(things: &[T]) -> String {
    if things.is_empty() {
        return "none".to_owned();
    }
    let each: Vec<String> = things.iter().map(|thing| format!("{thing}")).collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use engine_types::TargetId;

    use super::*;

    #[test]
    fn lengths_and_lists_are_short() {
        let rows = [(6_041, "6.0 s"), (575, "575 ms"), (59_999, "59.9 s"), (61_000, "1 min")];
        for (ms, expected) in rows {
            assert_eq!(span(&Duration::from_millis(ms)), expected);
        }
        assert_eq!(list(&[TargetId::new(9), TargetId::new(2)]), "target-9, target-2");
        assert_eq!(list::<TargetId>(&[]), "none");
    }
}
