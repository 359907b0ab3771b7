//! Bodies of calls to a metadata service. What is asked and told travels as payload, in the frames
//! of `meta-protocol`: operations have names and lists, and grow by fields that older readers skip.

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
                /// 0, or the error number of the refusal.
                pub outcome: u16,
                /// 0.
                pub reserved: [u8; 6],
            }

            impl MetaReply for $told {
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

/// The body of an answer of a metadata service, whatever was asked.
pub trait MetaReply: Body {
    /// With the error number of a refusal, or 0.
    fn with_outcome(outcome: u16) -> Self;
    /// The error number of a refusal, or 0.
    fn outcome(&self) -> u16;
}

pairs! {
    /// An operation on the namespace.
    MetaCallRequest, MetaCallReply;
    /// Asks how the service is.
    MetaStatusRequest, MetaStatusReply;
}

bodies! {
    MetaCallRequest = META_CALL, 1;
    MetaCallReply = META_CALL, 1;
    MetaStatusRequest = META_STATUS, 1;
    MetaStatusReply = META_STATUS, 1;
}
