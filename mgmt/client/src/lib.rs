//! The way of nodes, clients and operators to the cluster manager.
//!
//! [`Managers`] finds the primary among the managers of a cluster and follows it. On top of it: a
//! [`Follower`] of the routing info, the [`Agent`] of a node that registers and sends heartbeats,
//! and the [`Session`] of a client. Each is owned by one core.
//!
//! Invariants
//!   E328  memory for answers is held for calls that somebody waits for (a poll of the follower, a
//!         heartbeat, a question of the session, operators' commands: 2 MiB each at most, 4 MiB
//!         for a page); of all that were given up an address holds one segment, 256 KiB (E59)
//!   E331  a lease counts from a reading of the node's clock that was taken before the report that
//!         the heartbeat carries, and only by the answer that names this very heartbeat
//!   E332  a call that must not be repeated is never sent again once it may have had its effect
//!   E333  an address that does not answer is never waited for longer than a step of the search
//!         takes, unless a call was sent there that must not be repeated
//!   E334  what a follower shows never goes back: (timeline, version) rises with every change
//!   E335  an image is put together from pieces of one version that one manager sent
//!   E336  the schedule of heartbeats waits for no answer, and sequences rise in the order of
//!         reports
//!   E337  an agent ends as replaced only when its registration was refused for it too
//!   E338  a node installs what the newest of its answers told, one installation at a time
//!   E339  a session counts as lost only when a manager said so
//!
//! Crash: nothing here is durable. A heartbeat, a poll or a call that was lost is sent anew by
//! whoever starts next, and what it would have brought comes again.

mod agent;
mod ask;
mod follower;
mod managers;
mod session;
#[cfg(test)]
mod testing;

pub use agent::{Agent, AgentEnd, NodeState, Report};
pub use follower::Follower;
pub use managers::{ManagerError, Managers};
pub use mgmt_cluster::session::Client;
pub use mgmt_protocol::SESSIONS_ASKED_MAX;
pub use session::Session;
