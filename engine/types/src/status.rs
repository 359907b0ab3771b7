//! What an answer says about its request, as a number that never changes its meaning.
//!
//! The numbers are part of the wire format: one may be added, none may be reused. A number from a
//! newer peer that is unknown here becomes `Status::Unrecognised` and is retried like `Internal`:
//! never at once, and never taken for success.

use core::fmt;

/// What a caller does next. Client loops are written against this, not against single codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The same request will fail again.
    Never,
    /// The same target will answer once what it waits for has happened; ask it again.
    SameTarget,
    /// Another replica can answer.
    OtherTarget,
    /// The caller's routing info is old: fetch it, then decide anew.
    RefreshRouting,
    /// Nothing is wrong with the request; wait with jitter, then send it again.
    AfterBackoff,
    /// It may or may not have happened. Only a request with an exactly-once channel (R14) or
    /// one without effects is sent again.
    IfIdempotent,
}

macro_rules! status {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $retry:ident, $text:literal;)*) => {
        /// Result of a request. `code` and `from_code` are its form on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Status {
            $($(#[$doc])* $name,)*
            /// A code this build does not know, from a newer peer. Never holds a known code.
            Unrecognised(u16),
        }

        impl Status {
            /// Every status known to this build, in the order of codes.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The number on the wire.
            pub const fn code(self) -> u16 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Unrecognised(code) => code,
                }
            }

            /// Every number is a status; unknown ones become `Unrecognised`.
            pub const fn from_code(code: u16) -> Self {
                match code {
                    $($code => Self::$name,)*
                    code => Self::Unrecognised(code),
                }
            }

            /// What the caller does next.
            pub const fn retry(self) -> Retry {
                match self {
                    $(Self::$name => Retry::$retry,)*
                    Self::Unrecognised(_) => Retry::IfIdempotent,
                }
            }

            const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Unrecognised(_) => "status unknown to this version",
                }
            }
        }
    };
}

status! {
    /// Done.
    Ok = 0, Never, "ok";
    /// The request contradicts itself or its kind's rules.
    InvalidArgument = 1, Never, "invalid argument";
    /// The peer does not serve this kind of request.
    UnsupportedKind = 2, Never, "unsupported kind of request";
    /// No protocol or body version is common to both sides.
    UnsupportedVersion = 3, Never, "unsupported version";
    /// Bytes arrived that do not match their checksum.
    BadChecksum = 4, AfterBackoff, "checksum mismatch";
    /// A length exceeds a declared limit.
    TooLarge = 5, Never, "too large";
    /// A window or pool is full; nothing was done.
    Busy = 6, AfterBackoff, "busy";
    /// The deadline passed before an answer; the effect is unknown.
    DeadlineExceeded = 7, IfIdempotent, "deadline exceeded";
    /// The requester cancelled; the effect is unknown.
    Cancelled = 8, IfIdempotent, "cancelled";
    /// The peer has not proven that it knows the cluster secret.
    NotAuthenticated = 9, Never, "not authenticated";
    /// The peer belongs to another cluster.
    WrongCluster = 10, Never, "wrong cluster";
    /// The address now leads to another node than the one that was meant.
    WrongNode = 11, RefreshRouting, "wrong node";
    /// The request names another chain version than the one installed.
    StaleChain = 12, RefreshRouting, "stale chain version";
    /// The replica holds no valid lease for its chain version (R8).
    NotLeased = 13, OtherTarget, "no valid lease";
    /// The object does not exist.
    NotFound = 14, Never, "not found";
    /// No room for data or records (R18).
    NoSpace = 15, Never, "no space";
    /// The peer is shutting down and takes nothing new; nothing was done.
    Draining = 16, OtherTarget, "draining";
    /// A fault of the peer; the effect is unknown.
    Internal = 17, IfIdempotent, "internal error";
    /// The connection ended between request and answer (M9); the effect is unknown.
    UnknownResult = 18, IfIdempotent, "result unknown";
    /// The frame breaks the wire format.
    Malformed = 19, Never, "malformed frame";
    /// The sender of the payload gave it up (R3); nothing was done.
    Aborted = 20, AfterBackoff, "payload aborted";
    /// The chunk has a pending version; its commit will answer (R9).
    UpdateInFlight = 21, SameTarget, "update in flight";
    /// The peer could not be reached; nothing was sent.
    Unreachable = 22, OtherTarget, "unreachable";
    /// Stored bytes do not match their checksum here; another replica has them.
    Corrupt = 23, OtherTarget, "stored data is corrupt";
    /// The session was revoked (L6).
    Fenced = 24, Never, "session revoked";
    /// The file was truncated since the writer learnt its truncate epoch (M1).
    StaleEpoch = 25, Never, "stale truncate epoch";
    /// The request's channel has done a newer one, or has one under way (R14): this attempt did
    /// nothing, and no later one will.
    OldRequest = 26, Never, "overtaken by a newer request of its channel";
}

impl Status {
    /// True for `Ok` alone: an unknown code is never success.
    pub const fn is_ok(self) -> bool {
        matches!(self, Self::Ok)
    }
}

/// The fact in words, with the number when it is not known here.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unrecognised(code) => write!(f, "{} ({code})", self.text()),
            known => f.write_str(known.text()),
        }
    }
}

#[cfg(test)]
mod tests;
