//! The embedded key-value store, served to several processes over RPC.
//!
//! ```text
//!   meta, mgmt, tools                              the kv role (one process, one disk)
//!   OwnKv ─ Remote ── view: newest version ──────> Views: versions kept for 6 s
//!                  ── read at a version ─────────>   snapshot
//!                  ── commit (staged if large) ──> Embedded: one order, groups, one flush each
//! ```
//!
//! It makes several managers and metadata services real on one machine and in small clusters. It
//! restarts safely and does not replicate: that is FoundationDB's job.
//!
//! Invariants
//!   E240 `views`
//!   E241 a commit is sent once: a connection lost before its answer is an unknown result (M9), and
//!        nothing here sends it again
//!   E242 versions of another start of the store mean nothing: reads and commits at them are "too
//!        old" (M10)
//!   E243 a request from the wire is checked like a local one before it is ordered
//!   E244 memory for commits of peers, staged or under way, is bounded, and given back in time
//!   E245 `backup`

pub mod backup;
pub mod codec;
pub mod remote;
pub mod role;
pub mod server;
mod stage;
mod views;

pub use remote::{Remote, RemoteView, Status};
pub use role::{Role, run};
pub use server::{KvService, ServedEngine};
