//! Which kind of refusal the errors of the cluster are. Their text becomes the message.

use alloc::string::ToString;

use mgmt_cluster::command::CommandError;
use mgmt_cluster::config::ConfigError;
use mgmt_cluster::fields::DecodeError;
use mgmt_cluster::heartbeat::HeartbeatError;
use mgmt_cluster::registry::RegisterError;
use mgmt_cluster::session::SessionError;

use super::{Refusal, RefusalCode};

/// Without `_`, so that a new error is not given a kind by accident.
macro_rules! refusals {
    ($($error:ident { $($code:ident: $($variant:ident)*;)* })*) => {
        $(impl From<&$error> for Refusal {
            fn from(error: &$error) -> Self {
                let code = match error {
                    $($($error::$variant { .. })|* => RefusalCode::$code,)*
                };
                Self::new(code, error.to_string())
            }
        })*
    };
}

refusals! {
    HeartbeatError {
        NotReady: NotReady;
        Unregistered: Unknown;
        Disabled: Disabled;
        OtherStart: OtherStart;
        Stale: Stale;
        ClockAway: ClockAway;
    }
    RegisterError {
        Overloaded: Busy;
        Unregistered: Unknown;
        OtherStart: Outdated Twin;
        Conflict: OtherRole OtherNode RunOut;
        InvalidArgument: Count;
    }
    CommandError {
        Overloaded: Busy;
        NotReady: NotReady;
        InvalidArgument: Tag Count Order;
        NotFound: NoNode NoTarget NoChain;
        DataLoss: DataLoss;
        Conflict: NotStorage SameStore Withheld Ahead State OnlyMember Leaves Replaces Rotation
            Served Unfit HasTargets RunOut TooEarly;
    }
    SessionError {
        SessionUnknown: Unknown;
        SessionRevoked: Revoked;
        SessionEpoch: StaleEpoch;
        Conflict: TooMany;
        Overloaded: FormerTimeline Busy StaleVersion;
        InvalidArgument: TooManyAtOnce NameTooLong;
    }
    ConfigError {
        Conflict: Conflict;
        NotFound: NoSuchVersion NoSchema;
        InvalidArgument: Syntax TooLong Unknown Double Type Bounds Together;
    }
    DecodeError {
        Malformed: Version Length Short Number Text;
    }
}

#[cfg(test)]
mod tests;
