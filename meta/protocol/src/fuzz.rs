//! The harness of every decoder (E400, E410): panics when a promise is broken.
//!
//! `tools/fuzz` runs [`messages`] under libFuzzer, `cargo test` with samples and noise. There is
//! no checksum to get past: only the frame's head is put right. The values of the KV are among
//! them, as a KV is not trusted either.

use alloc::vec::Vec;
use core::fmt::Debug;

use meta_schema::codec::Record;
use meta_schema::{
    Acl, Deletion, Dirent, Inode, Key, LockTable, RequestRecord, Shrink, SideCounts, SideTimes,
    Superblock, WriteSession,
};

use crate::{Answer, Operation, Refusal, Request, ServiceStatus, StatusAsk};

/// Every kind of message and value, one after the other.
const DECODERS: &[fn(&[u8]) -> bool] = &[
    message::<Request>,
    message::<Operation>,
    message::<Answer>,
    message::<Refusal>,
    message::<StatusAsk>,
    message::<ServiceStatus>,
    message::<Inode>,
    message::<Dirent>,
    message::<WriteSession>,
    message::<RequestRecord>,
    message::<Deletion>,
    message::<Shrink>,
    message::<LockTable>,
    message::<Superblock>,
];

/// The first byte says what it is to be: a message or value, of whose frame the others are the
/// body; or a key, an ACL of Linux or a side key, as they are. True if they are one.
///
/// # Panics
/// When a decoder or encoder does, or something that was decoded does not come back.
pub fn messages(data: &[u8]) -> bool {
    let Some((&kind, body)) = data.split_first() else { return false };
    let kind = usize::from(kind) % (DECODERS.len() + 3);
    let Some(decoder) = DECODERS.get(kind) else { return bare(kind - DECODERS.len(), body) };
    let Ok(length) = u32::try_from(body.len()) else { return false };
    let mut bytes = Vec::with_capacity(5 + body.len());
    bytes.push(1);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(body);
    decoder(&bytes)
}

fn bare(kind: usize, bytes: &[u8]) -> bool {
    match kind {
        0 => Key::parse(bytes).is_ok_and(|key| {
            assert_eq!(key.encode(), bytes, "E401: {key:?}");
            true
        }),
        1 => Acl::from_xattr(bytes).is_ok_and(|acl| {
            let again = acl.as_ref().map(Acl::to_xattr);
            assert_eq!(again.as_deref().map(Acl::from_xattr), acl.map(|acl| Ok(Some(acl))));
            true
        }),
        _ => {
            let counts = SideCounts::decode(Some(bytes));
            let times = SideTimes::decode(Some(bytes));
            if let (Ok(counts), Ok(times)) = (counts, times) {
                assert_eq!(counts.encode(), bytes, "E400: {counts:?}");
                assert_eq!(SideTimes::decode(Some(&times.encode())), Ok(times), "E400");
            }
            counts.is_ok()
        }
    }
}

/// What decodes is a message like any other: its own encoding decodes to it, and is not longer.
/// True if `bytes` decode.
///
/// # Panics
/// As [`messages`].
pub fn message<M: Record + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(message) = M::decode(bytes) else { return false };
    let again = message.encode();
    assert_eq!(M::decode(&again), Ok(message), "E410: {}", M::NAME);
    assert!(again.len() <= bytes.len(), "E410: {}: more bytes than it came from", M::NAME);
    true
}
