//! Every limit of the system, with the reason for its number.
//!
//! A limit that is reached is answered by backpressure or a clear error, never by growth.

use core::time::Duration;

// --- chunks and blocks -------------------------------------------------------------------------

/// Largest chunk: one segment of a store (64 MiB), so that a chunk never spans segments.
pub const CHUNK_BYTES_MAX: u32 = 64 << 20;
/// Largest block (S18): copy-on-write of more than 4 MiB for one overwrite costs too much.
pub const BLOCK_BYTES_MAX: u32 = 4 << 20;
/// Smallest checksum block: one sector, the unit in which data is written in place (S2).
pub const CHECKSUM_BLOCK_BYTES_MIN: u32 = 4 << 10;
/// Largest checksum block: a verified 4 KiB read has to fetch this much; 64 KiB is about what a
/// device delivers in the time of one 4 KiB access.
pub const CHECKSUM_BLOCK_BYTES_MAX: u32 = 64 << 10;

// --- frames ------------------------------------------------------------------------------------

/// Largest body of a frame. A body holds names and numbers, never file data: 128 KiB carries a
/// path of 4 KiB, a directory batch of 1,000 entries or a delta of 2,000 chains. What is larger
/// is paged by its kind or travels as payload.
pub const BODY_BYTES_MAX: u32 = 128 << 10;
/// Largest body before a peer has authenticated (W12). The handshake's largest body is 96 bytes;
/// 512 leaves room for later versions and keeps the memory of strangers negligible.
pub const HANDSHAKE_BODY_BYTES_MAX: u32 = 512;
/// Largest capability field (C1): a MAC of 32 bytes, a key id and 9 numbers take under 128 bytes;
/// twice that leaves room for a second key.
pub const CAPABILITY_BYTES_MAX: u16 = 256;
/// Largest payload of a frame: one block (S18). Larger transfers are several requests, so that a
/// pool can hand out contiguous buffers of one size and one request never monopolises a link.
pub const PAYLOAD_BYTES_MAX: u32 = BLOCK_BYTES_MAX;
/// Largest segment of a payload (R3): 256 KiB is 20 us at 100 Gbit/s, short enough for
/// cut-through and for an abort to take effect, long enough that 32 B + CRCs do not matter.
pub const SEGMENT_BYTES_MAX: u32 = 256 << 10;
/// Most checksum blocks that a segment can touch: 64 whole ones when its start is aligned, one
/// more when it begins and ends inside a block.
pub const SEGMENT_CRC_COUNT_MAX: usize =
    (SEGMENT_BYTES_MAX / CHECKSUM_BLOCK_BYTES_MIN) as usize + 1;
/// Payloads up to this size are copied into the send buffer beside their header, and out of the
/// receive buffer (V6): copying 16 KiB takes about 0.5 us, another socket call takes longer.
pub const SMALL_PAYLOAD_BYTES_MAX: u32 = 16 << 10;
/// Payloads above this size wait for a byte credit of the receiver (W3); below it they count
/// against the small-byte window only, so that a round trip for a credit is never worth more
/// than the data it admits.
pub const UNCREDITED_PAYLOAD_BYTES_MAX: u32 = 64 << 10;

// --- connections -------------------------------------------------------------------------------

/// Requests in flight on one connection: 256 x 4 KiB fill 100 Gbit/s over 80 us round trips, and
/// their slab stays in the first-level cache.
pub const INFLIGHT_REQUESTS_MAX: u32 = 256;
/// Bytes of requests in flight on one connection that need no credit: every slot of the window
/// with a small payload.
pub const INFLIGHT_SMALL_BYTES_MAX: u32 = INFLIGHT_REQUESTS_MAX * SMALL_PAYLOAD_BYTES_MAX;
/// Bulk bytes one peer may have credit for: 16 blocks, the product of 100 Gbit/s and 5 ms.
pub const BULK_CREDIT_BYTES_MAX: u32 = 16 * PAYLOAD_BYTES_MAX;
/// Connections of one listener whose peer has not authenticated yet (W12). At 16 KiB of receive
/// buffer each they hold 2 MiB; further ones wait in the kernel's queue.
pub const UNAUTHENTICATED_CONNECTIONS_MAX: usize = 128;
/// Connections of one shard (W4): one per client process. 16,384 of them idle hold 256 MiB of
/// receive buffers at worst; further ones wait in the kernel's queue.
pub const CONNECTIONS_PER_SHARD_MAX: usize = 16_384;
/// A peer that has not completed the handshake in this time is cut off: two round trips across
/// continents and a slow scheduler fit into it many times.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// A frame that has begun must be complete within this time, so that a peer which sends a byte a
/// minute cannot hold buffers. 4 MiB in 30 s is 140 KB/s: a peer slower than this is of no use.
pub const FRAME_TIME_MAX: Duration = Duration::from_secs(30);
/// Silence after which a ping is sent. It is well below the minutes after which middleboxes
/// forget a connection.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
/// Silence after which the peer counts as gone, although nothing was closed: three pings.
pub const KEEPALIVE_TIME_MAX: Duration = Duration::from_secs(15);
/// First pause before connecting again, with jitter; it doubles up to `RECONNECT_BACKOFF_MAX`.
pub const RECONNECT_BACKOFF_MIN: Duration = Duration::from_millis(10);
/// Longest pause before connecting again: a returning node is found within a second, as failover
/// must complete in seconds.
pub const RECONNECT_BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Time an orderly drain waits for requests in flight: none of them may wait longer for a device
/// than this before the store leaves service anyway.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);

// --- routing info ------------------------------------------------------------------------------

/// Nodes of a cluster: beyond any published 3FS deployment by a factor of 20.
pub const NODES_MAX: usize = 16_384;
/// Replicas of one chain: five survive four losses; every further one only lengthens the chain.
pub const CHAIN_MEMBERS_MAX: usize = 5;
/// Chains of a cluster: 1,024 nodes of 16 disks with 32 targets each make 174,763 of three
/// replicas.
pub const CHAINS_MAX: usize = 262_144;
/// Targets of a cluster: every chain with every member.
pub const TARGETS_MAX: usize = CHAINS_MAX * CHAIN_MEMBERS_MAX;
/// Chain tables of a cluster: one per kind of medium and replica count, and old ones until their
/// files are rewritten.
pub const CHAIN_TABLES_MAX: usize = 64;
/// Addresses one node is reachable under: two networks, two families, one spare each.
pub const NODE_ADDRESSES_MAX: usize = 8;

const _: () = assert!(PAYLOAD_BYTES_MAX.is_multiple_of(SEGMENT_BYTES_MAX));
const _: () = assert!(SEGMENT_BYTES_MAX.is_multiple_of(CHECKSUM_BLOCK_BYTES_MAX));
const _: () = assert!(SMALL_PAYLOAD_BYTES_MAX <= UNCREDITED_PAYLOAD_BYTES_MAX);
const _: () = assert!(UNCREDITED_PAYLOAD_BYTES_MAX <= SEGMENT_BYTES_MAX);
const _: () = assert!(PAYLOAD_BYTES_MAX <= BULK_CREDIT_BYTES_MAX);
const _: () = assert!(HANDSHAKE_BODY_BYTES_MAX < BODY_BYTES_MAX);
const _: () = assert!(SEGMENT_CRC_COUNT_MAX == 65);
const _: () = assert!(KEEPALIVE_IDLE.as_nanos() < KEEPALIVE_TIME_MAX.as_nanos());
const _: () = assert!(RECONNECT_BACKOFF_MIN.as_nanos() < RECONNECT_BACKOFF_MAX.as_nanos());
