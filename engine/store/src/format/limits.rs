//! Limits of a store, with the reason for each number.
//!
//! What bounds the worst case of a checkpoint half (E109) is part of the format: a larger number
//! is a new format version, or at least a reason to look at stores that were planned before.

use crate::address::{SEGMENT_BYTES, SEGMENT_SECTORS};

/// Unit of every region but the data area: what a device writes at once (V10).
pub const SECTOR: u64 = engine_types::SECTOR_BYTES as u64;
/// Unit of the data area and of checkpoint halves.
pub const MIB: u64 = 1 << 20;

// --- geometry ----------------------------------------------------------------------------------

/// Start of the ring: behind both superblocks and the probe page, with room for more of the kind.
pub const RESERVED_BYTES: u64 = MIB;
/// Places of the two copies of the superblock: far enough apart that one bad spot of a medium
/// (or one misdirected write) does not hit both.
pub const SUPERBLOCK_OFFSETS: [u64; 2] = [0, 64 << 10];
/// Place of the page that health checks write and read.
pub const PROBE_OFFSET: u64 = 128 << 10;
/// Fewest segments: one class in use and one for another.
pub const SEGMENTS_MIN: u32 = 2;
/// Most segments: the data area is 16 TiB less one segment, because block addresses are u32 in
/// units of 4 KiB and the highest number means "no block". Larger devices are sliced (S20), which
/// their speed asks for anyway: one core serves each slice.
pub const SEGMENTS_MAX: u32 = u32::MAX / SEGMENT_SECTORS;
/// With default sizes, metadata takes at most this part of a store; the defaults shrink to keep it.
pub const METADATA_PART: u64 = 4;

// --- journal -----------------------------------------------------------------------------------

/// Smallest ring: two of the largest groups, so that any group fits into an empty ring.
pub const JOURNAL_BYTES_MIN: u64 = 2 * MIB;
/// Largest ring: recovery reads up to half of it, 32 GiB, in half a minute at 1 GiB/s.
pub const JOURNAL_BYTES_MAX: u64 = 64 << 30;
/// Default ring: this part of the store ...
pub const JOURNAL_PART: u64 = 2048;
/// ... but not less: a tenth of a second of sequential writing ...
pub const JOURNAL_DEFAULT_MIN: u64 = 64 * MIB;
/// ... and not more: half of it is read at recovery, within the time that loading the index takes.
pub const JOURNAL_DEFAULT_MAX: u64 = 8 << 30;
/// Largest group. 1 MiB is written in a third of a millisecond, so a small update that arrives
/// while one is under way waits little; 7,000 PUTs of 1 MiB chunks fit, more than are in flight.
pub const GROUP_BYTES_MAX: usize = 1 << 20;
/// Most direct sector ranges of a PUT or MOVE: one per checksum block of the largest chunk.
pub const DIRECT_RANGES_MAX: usize = 1024;
/// Most sector images of a PUT: plans log at most 256 KiB per block that they change in place, and
/// an update touches two blocks at most.
pub const IMAGES_PER_PUT_MAX: usize = 128;

// --- checkpoint --------------------------------------------------------------------------------

/// Smallest memory budget of records: 20,000 chunks of 4 KiB, for tests of a full index.
pub const INDEX_BYTES_MIN: u64 = MIB;
/// Largest memory budget of records of one store: 64 GiB is more than one core's share of any
/// machine, and 1.3 G chunks of 4 KiB, a third of what a full store could hold (S17).
pub const INDEX_BYTES_MAX: u64 = 64 << 30;
/// Bytes of memory that a record takes at least, beside 4 for each word. A CHUNK of a checkpoint
/// takes 44: a budget of records is at most 44 / 40 of itself in a checkpoint.
pub const RECORD_MEMORY_BYTES_MIN: u64 = 40;
/// Default budget: this part of the store, enough for chunks of 128 KiB and more ...
pub const INDEX_PART: u64 = 1024;
/// ... but not less: a small store is likely to hold small chunks ...
pub const INDEX_DEFAULT_MIN: u64 = 64 * MIB;
/// ... and not more: one core's share of memory on a node of 64 GiB with 16 stores.
pub const INDEX_DEFAULT_MAX: u64 = 4 << 30;
/// A checkpoint is dumped while the index changes: records that are dumped and then removed give
/// room to others behind the cursor. A half has room for this part of the index on top; a dump
/// that finds more than that is begun again, with growth held back.
pub const INDEX_SLACK_PART: u64 = 8;
/// Targets of one store: 24 per disk are usual, a disk has 1 to 4 stores; the rest is for targets
/// that have left and whose chunks are still being removed.
pub const SLOTS_MAX: u32 = 4096;
/// Revoked sessions that are named one by one; everything below the lowest live session is one
/// further entry (L6).
pub const FENCES_MAX: u32 = 65_536;
/// Pending versions: what the windows of a few busy clients leave in flight, a hundred times over.
pub const PENDINGS_MAX: u32 = 4096;
/// Bytes of all pending versions in a checkpoint: 1 KiB for each, where a chunk of 1 MiB takes 160
/// bytes and the largest of 64 MiB 4.2 KiB.
pub const PENDING_BYTES_MAX: u64 = 4 * MIB;
/// Fewest channels whose newest request is remembered (R14): 64 clients with all their channels.
pub const DEDUP_CHANNELS_MIN: u32 = 4096;
/// Default: 4,096 clients with all their 64 channels; 12 MiB of a half.
pub const DEDUP_CHANNELS_DEFAULT: u32 = 262_144;
/// Most: 10,000 clients with more than 400 channels each; 192 MiB of a half.
pub const DEDUP_CHANNELS_MAX: u32 = 4_194_304;

const _: () = assert!(SEGMENTS_MAX == 262_143);
const _: () = assert!((SEGMENTS_MAX as u64 * SEGMENT_SECTORS as u64) < u32::MAX as u64);
const _: () = assert!((SEGMENT_BYTES as u64).is_multiple_of(MIB));
const _: () = assert!(JOURNAL_BYTES_MIN.is_multiple_of(SECTOR));
const _: () = assert!(2 * GROUP_BYTES_MAX as u64 <= JOURNAL_BYTES_MIN);
const _: () = assert!(RECORD_MEMORY_BYTES_MIN <= crate::index::RECORD_BYTES_MIN);
const _: () = assert!(INDEX_BYTES_MAX <= crate::index::INDEX_BYTES_MAX);
const _: () = assert!(crate::tables::SLOTS_MAX as u32 <= SLOTS_MAX);
const _: () = assert!(crate::tables::FENCES_MAX <= FENCES_MAX as usize);
const _: () = assert!(PROBE_OFFSET + SECTOR <= RESERVED_BYTES);
