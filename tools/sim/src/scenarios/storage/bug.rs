//! Mistakes that a test plants into storage nodes: the checks have to find each of them.
//!
//! Candidates, by rule; each takes one step away or changes the order of two. Those marked * are in
//! `engine-craq` already and found in its model worlds; here they would run in the code that ships.
//!
//! | rule | mistake |
//! |---|---|
//! | R1 * | the tail commits without the trailer of its predecessor |
//! | R1 * | the trailer is passed on before the own record is durable |
//! | R2 | a byte is forwarded before the version is marked as pending |
//! | R3 * | what arrived of an aborted stream is stored |
//! | R4 * | a read is served without a look at the lease; (3FS 1) after it ran out |
//! | R5 * | a start inherits the standing of the one before; an identity file that is not written |
//! | R6 * | pendings are not walked when the chain changes; they survive SYNCING |
//! | R7 * | a message of any chain version counts; a frozen head re-stamps |
//! | R8 | the lease is checked at admission alone, not when the tail commits |
//! | R9 * | the tail's answer counts in another chain version; (3FS 4) nobody asks |
//! | R10 | a damaged store calls itself undamaged and restarts its chain |
//! | R11 | a syncing successor that was told `SyncDone` is dropped from the acknowledgements |
//! | R12 * | the cursor passes what is in flight; digests are computed over two turns |
//! | R13 | equal versions with different digests are taken for equal |
//! | R14 * | a repeated request is executed again; (3FS 3) forgotten at a restart |
//! | R15 * | remembered requests are not shipped in a resync, or not a second time |
//! | R16 * | a repeated request is answered while its version is pending |
//! | R17 * | an abort is not journaled, or not sent down the chain |
//! | R18 | a replica refuses a forward that it could store; the reserve is not kept |
//! | R19 | a resync orders chunks by version instead of by digest, so that a removed one returns |
//! | L1 | a lease counts from the answer of a heartbeat |
//! | L5b | a shard that is stuck goes on reporting progress |
//! | L6 | an update of a revoked session is admitted; its records are dropped before it is fenced |
//! | W2 | forwards and client writes share one quota, so that two heads wait for each other |
//! | W3 | credit is given back before the bytes are stored |
//! | W5 | checksums are computed anew at a hop, over bytes that were damaged on the way |
//! | client | an abandoned update is not overtaken, and takes effect after a later one (E373) |
//! | client | an attempt has a sequence number of its own (E372) |

/// What a node or client does wrong. There are none yet: they need hooks in what ships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {}
