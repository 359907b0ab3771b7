//! Limits of one replica, with the reason for each number. What meets a limit is told to come
//! again; nothing grows beyond it.

/// Versions in flight on one replica: a store of 4,096 pendings (`engine_store`) that holds four
/// busy targets. A 4 KiB write is in flight for 100 us, so this is ten million of them per second.
pub const ENTRIES_MAX: usize = 1024;
/// Of them, those that clients may start at the head: the other half is for what predecessors
/// forward, so that a position never waits for one before it (W2).
pub const CLIENT_ENTRIES_MAX: usize = ENTRIES_MAX / 2;
/// Updates that wait for the same chunk: a client that writes a chunk in 4 KiB pieces keeps its
/// window of 64 channels (R14) busy.
pub const CHUNK_QUEUE_MAX: usize = 64;
/// Updates of all chunks that wait: as many as may be in flight. Their payloads wait in the
/// sender's window or in the owner's pool, both of which are bounded by themselves.
pub const QUEUED_MAX: usize = 1024;
/// Requests that wait for the same version: a client repeats one through a second connection, so
/// two are common, and eight of one request are a mistake of the client.
pub const JOINED_MAX: usize = 8;
/// Reads that wait for the tail or for a commit: as many as four busy connections have in flight.
pub const READS_MAX: usize = 1024;
/// Times that one read asks the tail. The chunk changed meanwhile each time, so that waiting for
/// the commit of what is in flight is shorter from then on.
pub const ASKS_MAX: u8 = 2;

/// Chunks on their way to a syncing successor: 16 of 1 MiB are the product of 25 Gbit/s and 5 ms.
pub const SHIPS_MAX: usize = 16;

const _: () = assert!(CLIENT_ENTRIES_MAX < ENTRIES_MAX);
