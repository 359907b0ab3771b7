//! The one RPC layer: many requests in flight per connection, written once over [`Env`].
//!
//! A [`Client`] is a handle to one peer: it connects on first use, reconnects with jittered
//! backoff, and never retries a request by itself (M9): a connection lost after sending means
//! "result unknown". A [`Server`] answers through a [`Service`]. Both sides of a connection are two
//! tasks: one reads, one writes (V2); everything else reaches them through the shared link.
//!
//! Bulk bytes are named as parts of pooled buffers, which know their [`Region`]: TCP sends them,
//! an RDMA transport can move them one-sided without its callers noticing.
//!
//! Numbered invariants
//!   E50  a request id (slot, generation) has one request in flight; its slot is used again only
//!        after the answer, or with the connection: a late answer never meets another request
//!   E51  window permits return by completions: the answer or the end of the connection, not by
//!        a deadline or a dropped call (S5)
//!   E52  bulk above [`UNCREDITED_PAYLOAD_BYTES_MAX`] is sent only against byte credit, and the
//!        credit of a server never exceeds its budget (W3)
//!   E53  an answer's payload never exceeds the room that its requester reserved
//!   E54  an expired or dropped call ends the waiting, not the work: the server is told, and may
//!        finish (S5)
//!   E55  a frame is written whole or the connection ends; payload segments of one request keep
//!        their order, those of different requests interleave (R3)
//!   E56  a payload given up half-way is ended by an `aborted` segment or by the connection, and
//!        its receiver learns it before it sees `complete` (R3)
//!   E57  a draining connection takes no new request, answers those in flight, then closes
//!   E58  a request that has arrived has a worker that is awake for it
//!   E59  of the rooms for answers of calls that were given up, a connection keeps one at most, a
//!        segment large unless an answer had begun to land: a reader never waits for memory to
//!        receive what nobody wants, and giving up calls holds nothing that grows
//!
//! [`Env`]: engine_runtime::Env
//! [`Region`]: engine_runtime::Region
//! [`UNCREDITED_PAYLOAD_BYTES_MAX`]: engine_types::limits::UNCREDITED_PAYLOAD_BYTES_MAX

mod calls;
mod client;
mod config;
mod connect;
mod control;
mod credit;
mod keeper;
mod link;
mod metrics;
mod outbox;
mod payload;
mod receive;
mod request;
mod send;
mod server;

pub use calls::{CallError, Reply};
pub use client::{Call, Client};
pub use config::{LimitError, NetConfig, NetLimits};
pub use credit::{Account, CreditPool, Overdrawn};
pub use link::EndReason;
pub use metrics::{MethodSnapshot, Metrics, MetricsSnapshot};
pub use payload::{Crcs, Part, Segment, pooled};
pub use request::{Request, Service};
pub use server::Server;
