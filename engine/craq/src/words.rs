//! Names that only replication uses. Raw numbers come from the owner and mean nothing here.

macro_rules! token {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $raw);
    };
}

token!(/// An update that a client sent, to be answered once. Never used again by the owner.
    UpdateId(u64));
token!(/// A read that a client sent, to be answered once. Never used again by the owner.
    ReadId(u64));
token!(/// The bytes of an update while they arrive and are stored. Never used again by the owner.
    Payload(u64));
token!(/// A question to the tail; counts up within one replica.
    QueryId(u64));
token!(/// One dialogue between a predecessor and its successor, from a `Hello` to the next one.
    /// The predecessor counts it up, so that nothing of an older dialogue is taken for new.
    Walk(u64));
token!(/// Digest of a version of a chunk (R13), as the store computes it: over id, version, length,
    /// holes and content. Removals have one that the owner makes up of id and version.
    Digest(u64));
