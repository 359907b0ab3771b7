//! Ordered links between the shards of storage nodes, over RPC.
//!
//! Replication wants one thing of the network: what one shard says to another arrives in order and
//! without a gap, or the link is down and both sides know it. A link gives that on top of requests
//! that run beside each other and are never repeated:
//!
//! ```text
//!   shard A                                                  shard B
//!   send(item) -> queue -> batch --- relay(a, b, seq 0) --->  turn 0 -> items -> arrived()
//!                            |  `--- relay(a, b, seq 1) --.   ..
//!                            `------ relay(a, b, seq 2) ---->  early: waits for 1
//!                                                          `->  turn 1, then 2
//!            the answer  <--- with the turn of the request: nobody waits for its bytes (W2)
//!            the other direction is the same, with names and numbers of its own
//! ```
//!
//! A link has two names, one chosen at random by each side, and ends for good when anything goes
//! wrong with it: a request that fails or is refused, a probe without an answer, bytes without a
//! meaning, a queue that overflows, the owner's wish. Each request carries both names, and a side
//! that does not know them says so, upon which the other side ends its link, too. Whoever wants
//! the link opens it again, under new names:
//!
//! ```text
//!   A: link(a) ---> B: ends its old link, takes (b, a), not up yet
//!   A: (a, b) up <--- answer: b          B: relay(b, a, probe) ---> A knows it: (b, a) up at B
//! ```
//!
//! If both sides open at once, the attempt of the lower [`ShardId`] counts. A side that hears its
//! own name `a` in a relay before it has the answer takes the relay for the answer. Both know a
//! dead, frozen or unreachable peer after three seconds (`limits`), and a restarted one when it
//! opens its link. The link of a shard to itself takes no way through the network, as the
//! handshake of connections refuses oneself, and holds nothing back.
//!
//! Requests are not repeated, so nothing arrives twice. What was on its way when a link ended may
//! have arrived or not: replication begins its dialogue anew when a link is up.
//!
//! Invariants
//!   E360  what arrives on a link is the beginning of what was sent on it, in order, without a gap
//!   E361  nothing arrives, and nothing is sent, on a link whose owner was told of its end, or not
//!         of its beginning
//!   E362  `link_up` and `link_down` of a peer alternate, beginning with `link_up`
//!   E363  queues, requests in flight, requests before their turn, and lists have limits
//!   E364  a request is answered when its turn has come, whoever needs its bytes: the sender's
//!         credit returns (W3), and no link waits for another one (W2)
//!   E365  a request is taken in only by the link of both its names
//!   E366  there is at most one link to a peer, and it stands only when both sides know both names
//!   E367  a link that is gone on one side goes on the other one, in bounded time
//!   E368  pieces of a stream travel only on the link on which it began, and only until its end
//!
//! Crash: nothing is durable. A new start has no links, and chooses names that nobody knows.

mod codec;
mod item;
mod limits;
mod link;
mod links;

pub use item::{Arrived, Chunklet, Description, Item, OutcomeSaid, Owner, Room, ShardId, StreamId};
pub use links::Links;
