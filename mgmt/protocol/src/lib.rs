//! What the cluster manager is asked and what it tells, as messages and as bytes.
//!
//! One [`Call`] per kind of frame: a message as payload of the request, its answer or a
//! [`Refusal`] as payload of the response. Encodings are frames of `mgmt_cluster::fields`, which
//! grow by fields that older readers skip.
//!
//! Invariants
//!   E330  what was encoded decodes to the same message, with any tail behind the known fields;
//!         no bytes make a decoder panic, or take more memory than a small multiple of their length
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod call;
mod codec;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod message;
mod refusal;

pub use call::{Call, Message};
pub use message::{
    Answer, Beat, BeatAnswer, ChainMember, ChainRow, ClusterSummary, Done, ManagerStatus, NodeRow,
    Operation, Question, Register, Registered, RoutingAsk, RoutingTold, SESSIONS_ASKED_MAX,
    SessionAsk, SessionRow, SessionTold, StandingSaid, StatusAsk,
};
pub use refusal::{Refusal, RefusalCode};
