//! Why a manager does not do what it is asked.

mod reasons;

use alloc::string::String;

use mgmt_cluster::lease::Contact;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        /// What kind of refusal it is: what a caller decides by. The numbers never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RefusalCode {
            $($(#[$doc])* $name,)*
            /// Of a newer manager. Never holds a known code.
            Unrecognised(u16),
        }

        impl RefusalCode {
            /// All known ones, in the order of numbers.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The number on the wire; never 0.
            pub const fn code(self) -> u16 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Unrecognised(code) => code,
                }
            }

            /// Every number is a code.
            pub const fn from_code(code: u16) -> Self {
                match code {
                    $($code => Self::$name,)*
                    code => Self::Unrecognised(code),
                }
            }
        }
    };
}

codes! {
    /// Another manager is primary, or none: ask that one, or all of them. Nothing was done.
    NotPrimary = 1;
    /// It has just become primary, or its lease has lapsed: ask again at once. Nothing was done.
    NotReady = 2;
    /// Too much waits to be written: ask again later. Nothing was done.
    Overloaded = 3;
    /// The KV cannot be reached. Nothing was done; a standby may have counted a renewal of leases
    /// that it does not answer, for which the primary waits though nobody holds any by it.
    KvUnavailable = 4;
    /// It may have been done, or may yet be.
    UnknownResult = 5;
    /// It contradicts itself, or a limit.
    InvalidArgument = 6;
    /// What it names does not exist.
    NotFound = 7;
    /// It cannot be done as things are.
    Conflict = 8;
    /// It would lose data, and does not say that it may.
    DataLoss = 9;
    /// Heartbeat or registration: the node is not registered.
    Unregistered = 10;
    /// Heartbeat or registration: another start of the node is registered.
    OtherStart = 11;
    /// Heartbeat: the operator disabled the node.
    Disabled = 12;
    /// Heartbeat: a later one arrived before.
    Stale = 13;
    /// Heartbeat: the node's clock runs away from the manager's.
    ClockAway = 14;
    /// Session: it is revoked; the client opens another one.
    SessionRevoked = 15;
    /// Session: it was never opened.
    SessionUnknown = 16;
    /// Session: a later start of the client has one.
    SessionEpoch = 17;
    /// The bytes of the request make no sense.
    Malformed = 18;
    /// It asks for something that this manager does not know.
    Unsupported = 19;
}

impl RefusalCode {
    /// True if nothing was done that its sender would notice, and the same request may succeed
    /// soon, here or at another manager.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::NotPrimary | Self::NotReady | Self::Overloaded | Self::KvUnavailable)
    }
}

/// Why a manager does not do what it is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of refusal it is; travels as the outcome of the reply's body.
    pub code: RefusalCode,
    /// For people: what was wrong, with ids and both values. At most [`Self::MESSAGE_BYTES_MAX`].
    pub message: String,
    /// Who is primary, as far as is known; with `NotPrimary` only.
    pub primary: Option<Contact>,
}

impl Refusal {
    /// Longest message; longer ones are cut.
    pub const MESSAGE_BYTES_MAX: usize = 4096;

    /// With a text for people.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), primary: None }
    }
}
