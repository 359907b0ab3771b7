use std::string::String;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::bodies::Encoder;

/// Writes, compares with the golden bytes, reads back.
fn check<B: Body + PartialEq + core::fmt::Debug>(body: &B, golden: &[&str]) {
    let mut encoder = Encoder::new();
    let mut bytes = rkyv::util::AlignedVec::<16>::new();
    bytes.extend_from_slice(encoder.encode(body));
    let golden: String = golden.concat();
    assert_eq!(crate::tests_hex(&bytes), golden, "{body:?}");
    assert_eq!(B::decode(B::VERSION, &bytes).as_ref(), Ok(body));
}

fn read() -> ReadItem {
    let (chain_version, index, offset, len) = (0x11, 0x22, 0x33, 0x44);
    ReadItem { target: 1, inode: 2, chain_version, index, offset, len, what: 2, reserved: [0; 7] }
}

fn update() -> UpdateItem {
    UpdateItem {
        target: 1,
        inode: 2,
        session: 3,
        seq: 4,
        from_inode: 5,
        channel: 6,
        chain_version: 7,
        index: 8,
        offset: 9,
        len: 10,
        epoch: 11,
        bytes: 12,
        from_index: 13,
        to_offset: 14,
        change: 15,
        size_shift: 16,
        reserved: [0; 2],
    }
}

fn message() -> RelayMessage {
    RelayMessage {
        from: 1,
        from_incarnation: 2,
        to: 3,
        to_incarnation: 4,
        walk: 5,
        inode: 6,
        digest: 7,
        session: 8,
        seq: 9,
        space_bytes: 10,
        space_records: 11,
        stream: 12,
        chain_version: 13,
        channel: 14,
        index: 15,
        version: 16,
        offset: 17,
        len: 18,
        epoch: 19,
        bytes: 20,
        extents: 21,
        code: 22,
        why: 23,
        change: 24,
        size_shift: 25,
        flags: 26,
        reserved: [0; 5],
    }
}

/// Version 1 as it was released. What differs is a new version of its body.
#[test]
fn golden_bytes() {
    check(&StorageReadRequest { items: vec![read()] }, &GOLDEN_READ);
    let answer = ReadAnswer {
        version: 1,
        chunk_len: 2,
        bytes: 3,
        chain_version: 4,
        status: 5,
        reserved: [0; 6],
    };
    check(&StorageReadReply { items: vec![answer] }, &GOLDEN_READ_REPLY);
    check(&StorageUpdateRequest { items: vec![update()] }, &GOLDEN_UPDATE);
    let answer =
        UpdateAnswer { version: 1, chunk_len: 2, chain_version: 3, status: 4, reserved: 0 };
    check(&StorageUpdateReply { items: vec![answer] }, &GOLDEN_UPDATE_REPLY);
    let query =
        StorageQueryRequest { target: 1, inode: 2, chain_version: 3, first: 4, end: 5, list: 1 };
    check(&query, &GOLDEN_QUERY);
    let link = StorageLinkRequest { generation: 1 << 100, node: 2, core: 3, reserved: [0; 10] };
    check(&link, &GOLDEN_LINK);
    let relay = StorageRelayRequest {
        generation: 1,
        known: 2,
        sequence: 3,
        node: 4,
        core: 5,
        reserved: 0,
        messages: vec![message()],
    };
    check(&relay, &GOLDEN_RELAY);
    let shards = vec![ShardAt { core: 1, port: 7000 }, ShardAt { core: 2, port: 7001 }];
    check(&StorageShardsReply { shards }, &GOLDEN_SHARDS);
    let scrub = StorageScrubRequest { store: 1, begin: 1, reserved: [0; 15] };
    check(&scrub, &GOLDEN_SCRUB);
    let (store, bytes, chunks, passes, damaged) = (1, 2, 3, 4, 5);
    let (repaired, failed, under_way, running, reserved) = (6, 7, 8, 1, [0; 7]);
    let scrub = StoreScrub {
        store,
        bytes,
        chunks,
        passes,
        damaged,
        repaired,
        failed,
        under_way,
        running,
        reserved,
    };
    check(&StorageScrubReply { stores: vec![scrub] }, &GOLDEN_SCRUB_REPLY);
}

#[test]
fn the_largest_batch_fits_a_body() {
    let items: Vec<UpdateItem> = vec![update(); 1024];
    let mut encoder = Encoder::new();
    let len = encoder.encode(&StorageUpdateRequest { items }).len();
    assert!(len <= engine_types::limits::BODY_BYTES_MAX as usize, "{len}");
}
const GOLDEN_READ: [&str; 2] = [
    "0100000000000000020000000000000011000000220000003300000044000000",
    "0200000000000000d8ffffff01000000",
];
const GOLDEN_READ_REPLY: [&str; 1] =
    ["010000000200000003000000040000000500000000000000e8ffffff01000000"];
const GOLDEN_UPDATE: [&str; 3] = [
    "0100000000000000020000000000000003000000000000000400000000000000",
    "0500000000000000060000000700000008000000090000000a0000000b000000",
    "0c0000000d0000000e0000000f100000b0ffffff01000000",
];
const GOLDEN_UPDATE_REPLY: [&str; 1] = ["01000000020000000300000004000000f0ffffff01000000"];
const GOLDEN_QUERY: [&str; 1] =
    ["0100000000000000020000000000000003000000040000000500000001000000"];
const GOLDEN_LINK: [&str; 1] = ["0000000000000000000000001000000002000000030000000000000000000000"];
const GOLDEN_RELAY: [&str; 7] = [
    "0100000000000000020000000000000003000000000000000400000000000000",
    "0500000000000000060000000000000007000000000000000800000000000000",
    "09000000000000000a000000000000000b000000000000000c00000000000000",
    "0d0000000e0000000f0000001000000011000000120000001300000014000000",
    "150000001600170018191a000000000001000000000000000000000000000000",
    "0200000000000000000000000000000003000000000000000400000005000000",
    "40ffffff010000000000000000000000",
];
const GOLDEN_SHARDS: [&str; 1] = ["0100581b0200591bf8ffffff02000000"];
const GOLDEN_SCRUB: [&str; 1] =
    ["0100000000000000000000000000000001000000000000000000000000000000"];
const GOLDEN_SCRUB_REPLY: [&str; 4] = [
    "0100000000000000000000000000000002000000000000000300000000000000",
    "0400000000000000050000000000000006000000000000000700000000000000",
    "08000000000000000100000000000000",
    "b0ffffff01000000",
];
