//! Chain replication with apportioned queries (CRAQ): what one replica decides.
//!
//! A [`Replica`] is one target of one chain in one start of its store. Its owner, the shard of a
//! storage node, tells it what happened ([`Event`]) and does what it answers ([`Effect`]), in order
//! and before the next event. Nothing here knows a clock, a socket, a file or a byte of data:
//! payloads are tokens, the lease is a boolean in the events that need it (R8), and what the store
//! knows of a chunk comes along as [`Local`].
//!
//! Invariants of the crate; each assertion names its number
//!   E340  chain versions and timelines that are installed never go down (R20)
//!   E341  a chunk has at most one version in flight, one above the committed one
//!   E342  a version is in flight in memory before its first byte is forwarded (R2)
//!   E343  at most one store operation of a chunk is under way
//!   E344  the trailer of a version is sent only when the own record is durable and that of the
//!         predecessor has arrived, or there is no predecessor (R1)
//!   E345  a version is committed only when the own record is durable, and at the end of the chain
//!         only with the trailer, and by a serving tail under its lease (R1, R8)
//!   E346  an abort is journaled after its record and before the version is used again (R17)
//!   E347  every table stays within its limit
//!   E348  a request is named by at most one version in flight or one queued request (R14)
//!   E349  records of a session are dropped only when it is fenced and nothing of it is admitted
//!   E350  who is not serving answers no client
//!   E351  a tail shows the version before one in flight only if that one came to it while it was
//!         the tail of this chain version
//!   E352  the cursor of a resync passes a chunk only when nothing of it is in flight (R12)
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod effect;
mod entry;
pub mod event;
pub mod limits;
pub mod message;
pub mod planted;
mod read;
pub mod replica;
pub mod standing;
pub mod words;
#[cfg(test)]
mod world;

pub use effect::{Effect, Left, Source};
pub use entry::Recovered;
pub use event::{Compared, Event, Local, Received, Space, Update};
pub use message::{Message, Refusal, Version};
pub use replica::{Cursor, Effects, Replica, Start};
pub use standing::{Peer, Standing};
pub use words::{Digest, Payload, QueryId, ReadId, UpdateId, Walk};
