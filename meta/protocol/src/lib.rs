//! What the metadata service is asked and what it tells, as messages and as bytes.
//!
//! A [`Request`] travels as payload of a frame of kind `META_CALL`, its [`Answer`] or a [`Refusal`]
//! as payload of the response; [`StatusAsk`] and [`ServiceStatus`] likewise as `META_STATUS`.
//! Encodings are those of `meta_schema::codec`, which grow by fields that older readers skip.
//!
//! Trouble of transport and of the service's own making (it is not ready, it cannot reach the KV,
//! nobody knows whether it was done) is a `Status` of the frame; a refusal is an answer of POSIX,
//! and nothing was done.
//!
//! Invariants
//!   E410  what was encoded decodes to the same message, with any tail behind the known fields; no
//!         bytes make a decoder panic, or take more memory than a small multiple of their length
//!   E411  a request carries a tag exactly if its operation changes something
//!   E412  an answer to an operation that changes something can be recorded: it has at most
//!         `ANSWER_BYTES_MAX` bytes; an answer of entries or attributes has at most `ROOM_BYTES`
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod answer;
mod attr;
mod call;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod op;
mod operation;
mod refusal;
mod request;
#[cfg(test)]
mod samples;
mod status;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Entry, FsSpace, LayoutTold, LockTold};
pub use attr::Attr;
pub use call::{Call, ROOM_BYTES};
pub use meta_schema::access::{Caller, OpenMode};
pub use meta_schema::change::{AttrChange, TimeChange};
pub use meta_schema::codec::Record;
pub use operation::Operation;
pub use refusal::{Cause, Refusal};
pub use request::{Request, Tag};
pub use status::{OperationCount, ServiceStatus, StatusAsk};
