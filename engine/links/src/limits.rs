//! Limits of a link, with the reason for each number.

use core::time::Duration;

use engine_types::limits::{
    BODY_BYTES_MAX, CHECKSUM_BLOCK_BYTES_MAX, CHUNK_BYTES_MAX, INFLIGHT_REQUESTS_MAX,
    SEGMENT_BYTES_MAX,
};

/// Messages of one request: 72 KiB of body, a turn of a tenth of a millisecond at the receiver.
pub(crate) const MESSAGES_MAX: usize = 512;
/// Runs of bytes of one request: up to so many are copied behind their header and need no system
/// call of their own, and the receiver takes as many for any length of payload.
pub(crate) const PARTS_MAX: usize = 64;
/// Bytes of payload of one request that carries more than one piece: a segment's worth, so that
/// what follows is not kept waiting longer than by one segment of anybody else.
pub(crate) const BATCH_BYTES_MAX: u64 = SEGMENT_BYTES_MAX as u64;

/// Requests without payload in flight. Each is answered at once, so 32 of 512 messages are more
/// than a round trip of 100 us can use.
pub(crate) const PLAIN_INFLIGHT_MAX: u32 = 32;
/// Requests with payload in flight: 48 MiB of them, more than credit allows to be on the way. With
/// the others, probes and openings they fit the connection's window.
pub(crate) const PAYLOAD_INFLIGHT_MAX: u32 = 192;
/// Requests that arrived before their turn: as many as can be in flight.
pub(crate) const HOLD_BACK_MAX: u64 = 256;

/// Messages that wait to be sent. A replica has 1,024 versions in flight and says a handful of
/// things of each, so this is a store of a dozen busy targets whose peer stands still; 12 MiB.
pub(crate) const QUEUED_MESSAGES_MAX: usize = 64 << 10;
/// Bytes that wait to be sent: twice the credit that a shard gives to its clients. They are in
/// memory anyway, so this bound only tells a mistake of the owner.
pub(crate) const QUEUED_BYTES_MAX: u64 = 128 << 20;

/// Bytes of a list: 1,024 entries of 48 bytes make 48 KiB.
pub(crate) const LIST_BYTES_MAX: usize = 256 << 10;
/// Extents of a chunk: one per checksum block at most.
pub(crate) const EXTENTS_MAX: usize = (CHUNK_BYTES_MAX / CHECKSUM_BLOCK_BYTES_MAX) as usize;

/// Time of one attempt to open a link, connecting included. As long as a lease: a peer that takes
/// longer is about to leave the chain.
pub(crate) const OPEN_TIME_MAX: Duration = Duration::from_secs(2);
/// For so long the lower side of a link prefers its own attempt to that of the peer: several round
/// trips, and short beside the pauses between attempts to connect to a peer that was away.
pub(crate) const COLLISION_TIME: Duration = Duration::from_millis(100);
/// First pause before opening again.
pub(crate) const REOPEN_PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest pause before opening again: writes wait for it when a node is back.
pub(crate) const REOPEN_PAUSE_MAX: Duration = Duration::from_millis(500);
/// A link that stood for so long is opened again without a pause.
pub(crate) const STEADY_TIME: Duration = Duration::from_secs(1);

/// A link on which nothing was answered for so long is probed, at the latest after twice that. Two
/// small requests per second and link cost nothing, and half a second is short beside the lease.
/// What the other side has lost is thus lost here after `2 * PROBE_EVERY + PROBE_TIME_MAX`: 3 s.
pub(crate) const PROBE_EVERY: Duration = Duration::from_millis(500);
/// A probe that is not answered for so long takes the link down: the time of a lease.
pub(crate) const PROBE_TIME_MAX: Duration = Duration::from_secs(2);
/// A request is answered when its turn has come, and the network may take `FRAME_TIME_MAX` (30 s)
/// for the bytes of one before it. Probes find the dead and the frozen; this only finds a peer that
/// lives and never answers.
pub(crate) const RELAY_TIME_MAX: Duration = Duration::from_secs(45);

const _: () = assert!(MESSAGES_MAX * 144 + 64 <= BODY_BYTES_MAX as usize);
const _: () = assert!(PLAIN_INFLIGHT_MAX + PAYLOAD_INFLIGHT_MAX + 2 <= INFLIGHT_REQUESTS_MAX);
const _: () = assert!((PLAIN_INFLIGHT_MAX + PAYLOAD_INFLIGHT_MAX) as u64 <= HOLD_BACK_MAX);
