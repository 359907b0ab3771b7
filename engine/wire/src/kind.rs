//! Numbers of message kinds. They are part of the wire format and never change their meaning.
//!
//! `0x0001..0x0100` belong to connections themselves, then 256 numbers to each role; numbers from
//! `0xf000` on are never shipped and belong to tests.

use core::fmt;

/// What a frame is about. A request and its response have the same kind.
///
/// Every number is a kind; one that nobody serves is answered by `Status::UnsupportedKind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(u16);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl Kind {
            $($(#[$doc])* pub const $name: Self = Self($code);)*

            /// Every kind this crate defines a body for.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name, or nothing for a number without a body here.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// Client: who I am, which versions I speak.
    HELLO = 0x0001;
    /// Server: who I am, the version we speak, prove yourself.
    CHALLENGE = 0x0002;
    /// Client: the proof.
    PROOF = 0x0003;
    /// Server: my proof, and your windows.
    WELCOME = 0x0004;
    /// Server: why the handshake failed.
    REFUSAL = 0x0005;
    /// Are you there?
    PING = 0x0010;
    /// I am.
    PONG = 0x0011;
    /// Bulk bytes that may be sent.
    CREDIT = 0x0012;
    /// Bulk bytes that wait for credit.
    CREDIT_WANT = 0x0013;
    /// Nobody waits for the answer any more.
    CANCEL = 0x0014;
    /// No new requests, please: the sender will close.
    GOODBYE = 0x0015;
    /// Sends back what it is told to: for tests and measurements.
    ECHO = 0x0020;
    /// Storage: reads of chunks.
    STORAGE_READ = 0x0100;
    /// Storage: updates of chunks.
    STORAGE_UPDATE = 0x0101;
    /// Storage: what a chain holds of a file.
    STORAGE_QUERY = 0x0102;
    /// Storage: where the shards of a node listen.
    STORAGE_SHARDS = 0x0103;
    /// Storage: room of the stores.
    STORAGE_SPACE = 0x0104;
    /// Storage: the targets of a shard.
    STORAGE_TARGETS = 0x0105;
    /// Storage: what was verified and repaired; a pass is begun.
    STORAGE_SCRUB = 0x0107;
    /// Storage: a shard opens a link to another one.
    STORAGE_LINK = 0x0110;
    /// Storage: messages between replicas.
    STORAGE_RELAY = 0x0111;
    /// Metadata: an operation on the namespace.
    META_CALL = 0x0200;
    /// Metadata: how the service is.
    META_STATUS = 0x0201;
    /// Manager: who is primary, and how the cluster is.
    MGMT_STATUS = 0x0300;
    /// Manager: a node takes part.
    MGMT_REGISTER = 0x0301;
    /// Manager: a node lives.
    MGMT_BEAT = 0x0302;
    /// Manager: newer routing info.
    MGMT_ROUTING = 0x0303;
    /// Manager: the session of a client.
    MGMT_SESSION = 0x0304;
    /// Manager: what an operator wants done.
    MGMT_COMMAND = 0x0305;
    /// Manager: what somebody wants to know.
    MGMT_QUERY = 0x0306;
    /// Key-value store: the newest version to read at.
    KV_VIEW = 0x0400;
    /// Key-value store: a key, or a page of a range.
    KV_READ = 0x0401;
    /// Key-value store: a part of a large commit.
    KV_STAGE = 0x0402;
    /// Key-value store: a commit.
    KV_COMMIT = 0x0403;
    /// Key-value store: how it is.
    KV_STATUS = 0x0404;
    /// Key-value store: the next piece of a backup.
    KV_BACKUP = 0x0405;
}

impl Kind {
    /// First of the numbers that are never shipped.
    pub const TEST_FIRST: Self = Self(0xf000);

    /// Wraps any number.
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// True for the kinds that pass before a peer is authenticated.
    pub const fn is_handshake(self) -> bool {
        0 < self.0 && self.0 < Self::PING.0
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "kind {:#06x}", self.0),
        }
    }
}
