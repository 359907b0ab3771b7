//! Bodies of calls to a cluster manager. What is asked and told travels as payload, in the frames
//! of `mgmt-protocol`: records and routing info have lists and texts, and grow by fields that older
//! readers skip.

use super::{Archive, Body, Deserialize, Kind, Serialize};

macro_rules! pairs {
    ($($(#[$doc:meta])* $ask:ident, $told:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
            pub struct $ask {
                /// 0.
                pub reserved: u64,
            }

            /// Its answer, as payload; a refusal if `outcome` is not 0.
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
            pub struct $told {
                /// 0, or the code of the refusal.
                pub outcome: u16,
                /// 0.
                pub reserved: [u8; 6],
            }

            impl MgmtReply for $told {
                fn with_outcome(outcome: u16) -> Self {
                    Self { outcome, reserved: [0; 6] }
                }

                fn outcome(&self) -> u16 {
                    self.outcome
                }
            }
        )*
    };
}

/// The body of an answer of a manager, whatever was asked.
pub trait MgmtReply: Body {
    /// With the code of a refusal, or 0.
    fn with_outcome(outcome: u16) -> Self;
    /// The code of a refusal, or 0.
    fn outcome(&self) -> u16;
}

pairs! {
    /// Asks any manager who is primary, and how the cluster is.
    MgmtStatusRequest, MgmtStatusReply;
    /// A node takes part, or has started again.
    MgmtRegisterRequest, MgmtRegisterReply;
    /// A node lives, and wants leases.
    MgmtBeatRequest, MgmtBeatReply;
    /// Asks for routing info that is newer than the known one, and waits for it.
    MgmtRoutingRequest, MgmtRoutingReply;
    /// Opens, extends or closes the session of a client.
    MgmtSessionRequest, MgmtSessionReply;
    /// An operator wants something done.
    MgmtCommandRequest, MgmtCommandReply;
    /// An operator or a node wants to know something.
    MgmtQueryRequest, MgmtQueryReply;
}

bodies! {
    MgmtStatusRequest = MGMT_STATUS, 1;
    MgmtStatusReply = MGMT_STATUS, 1;
    MgmtRegisterRequest = MGMT_REGISTER, 1;
    MgmtRegisterReply = MGMT_REGISTER, 1;
    MgmtBeatRequest = MGMT_BEAT, 1;
    MgmtBeatReply = MGMT_BEAT, 1;
    MgmtRoutingRequest = MGMT_ROUTING, 1;
    MgmtRoutingReply = MGMT_ROUTING, 1;
    MgmtSessionRequest = MGMT_SESSION, 1;
    MgmtSessionReply = MGMT_SESSION, 1;
    MgmtCommandRequest = MGMT_COMMAND, 1;
    MgmtCommandReply = MGMT_COMMAND, 1;
    MgmtQueryRequest = MGMT_QUERY, 1;
    MgmtQueryReply = MGMT_QUERY, 1;
}
