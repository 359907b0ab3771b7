use std::string::String;
use std::vec;
use std::vec::Vec;

use super::*;

fn aligned(bytes: &[u8]) -> AlignedVec<BODY_ALIGN> {
    let mut out = AlignedVec::new();
    out.extend_from_slice(bytes);
    out
}

/// Writes, compares with the golden bytes, reads back.
fn check<B: Body + PartialEq + core::fmt::Debug>(encoder: &mut Encoder, body: &B, golden: &str) {
    let bytes = aligned(encoder.encode(body));
    assert_eq!(crate::tests_hex(&bytes), golden, "{body:?}");
    assert_eq!(B::decode(B::VERSION, &bytes).as_ref(), Ok(body));
}

/// Version 1 as it was released. What differs is a new version of its body.
#[test]
fn golden_bytes() {
    let identity = IdentityBody {
        process: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
        incarnation: 3,
        node: 7,
        role: 1,
        reserved: [0; 3],
    };
    let hello = Hello {
        cluster: 9,
        identity,
        nonce: [0xaa; 32],
        peer_node: 8,
        protocol_min: 1,
        protocol_max: 2,
        reserved: [0; 8],
    };
    let challenge =
        Challenge { cluster: 9, identity, nonce: [0xbb; 32], protocol: 1, reserved: [0; 14] };
    let welcome = Welcome {
        mac: [0xcc; 32],
        bulk_credit_bytes: 1,
        inflight_requests: 2,
        small_bytes: 3,
        body_bytes_max: 4,
        payload_bytes_max: 5,
    };
    let refusal = Refusal {
        cluster: 9,
        status: 10,
        protocol_min: 1,
        protocol_max: 2,
        reserved: [0; 2],
        node: 7,
        reserved_end: 0,
    };
    let e = &mut Encoder::new();
    check(e, &hello, GOLDEN_HELLO);
    check(e, &challenge, GOLDEN_CHALLENGE);
    check(e, &Proof { mac: [0xdd; 32] }, &"dd".repeat(32));
    check(e, &welcome, GOLDEN_WELCOME);
    check(e, &refusal, GOLDEN_REFUSAL);
    check(e, &Ping { sequence: 1 }, "0100000000000000");
    check(e, &Pong { sequence: 2 }, "0200000000000000");
    check(e, &Credit { bytes: 1 << 32 }, "0000000001000000");
    check(e, &CreditWant { bytes: 4096 }, "0010000000000000");
    check(e, &Cancel::new(RequestId::new(5, 1)), "0500000001000000");
    check(e, &Goodbye { drain_ms: 10_000, reason: 16 }, "1027000010000000");
    let echo = EchoRequest { sequence: 1, reply_bytes: 4096, delay_us: 5 };
    check(e, &echo, "01000000000000000010000005000000");
    check(e, &EchoResponse { sequence: 1 }, "0100000000000000");
    assert_eq!(Cancel::new(RequestId::new(5, 1)).request(), RequestId::new(5, 1));
}

const GOLDEN_HELLO: &str = "\
    09000000000000000000000000000000100f0e0d0c0b0a090807060504030201\
    03000000000000000700000001000000aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa08000000010002000000000000000000";
const GOLDEN_CHALLENGE: &str = "\
    09000000000000000000000000000000100f0e0d0c0b0a090807060504030201\
    03000000000000000700000001000000bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\
    bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb01000000000000000000000000000000";
const GOLDEN_WELCOME: &str = "\
    cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc\
    010000000000000002000000030000000400000005000000";
const GOLDEN_REFUSAL: &str = "090000000000000000000000000000000a000100020000000700000000000000";

/// Bodies of the key-value store, as they were released.
#[test]
fn golden_bytes_of_the_key_value_store() {
    let e = &mut Encoder::new();
    check(e, &KvViewRequest { reserved: 0 }, "0000000000000000");
    let view = KvViewReply { epoch: 1, version: 2, outcome: 3, reserved: [0; 6] };
    check(e, &view, "010000000000000002000000000000000300000000000000");
    let read = KvReadRequest {
        epoch: 1,
        version: 2,
        limit: 3,
        begin_bytes: 4,
        reverse: 1,
        reserved: [0; 7],
    };
    check(e, &read, "0100000000000000020000000000000003000000040000000100000000000000");
    let read = KvReadReply { count: 1, outcome: 2, more: 1, reserved: 0 };
    check(e, &read, "0100000002000100");
    let stage = KvStageRequest { upload: 1, offset: 2, total: 3 };
    check(e, &stage, "01000000000000000200000003000000");
    check(e, &KvStageReply { held: 1, outcome: 2, reserved: 0 }, "0100000002000000");
    check(e, &KvCommitRequest { epoch: 1, upload: 2 }, "01000000000000000200000000000000");
    let commit = KvCommitReply { version: 1, order: 2, outcome: 3, reserved: 0 };
    check(e, &commit, "01000000000000000200030000000000");
    check(e, &KvStatusRequest { reserved: 0 }, "0000000000000000");
    let status = KvStatusReply {
        store: 1,
        version: 2,
        starts: 3,
        restores: 4,
        bytes: 5,
        commits: 6,
        groups: 7,
        conflicts: 8,
        too_old: 9,
        remembered: 10,
        views: 11,
    };
    check(e, &status, GOLDEN_KV_STATUS);
    let backup = KvBackupRequest { session: 1, sequence: 2 };
    check(e, &backup, "01000000000000000200000000000000");
    let backup =
        KvBackupReply { session: 1, sequence: 2, keys: 3, outcome: 4, last: 1, reserved: [0; 5] };
    check(e, &backup, "0100000000000000020000000000000003000000000000000400010000000000");
}

const GOLDEN_KV_STATUS: &str = "\
    0100000000000000000000000000000002000000000000000300000000000000\
    0400000000000000050000000000000006000000000000000700000000000000\
    080000000000000009000000000000000a000000000000000b00000000000000";

/// Bodies of the cluster manager, as they were released: all calls have the same two.
#[test]
fn golden_bytes_of_the_cluster_manager() {
    fn call<A: Body + PartialEq + core::fmt::Debug, T: MgmtReply + PartialEq + core::fmt::Debug>(
        kind: u16,
        ask: &A,
    ) {
        let e = &mut Encoder::new();
        check(e, ask, "0000000000000000");
        let told = T::with_outcome(0x0102);
        assert_eq!(told.outcome(), 0x0102);
        check(e, &told, "0201000000000000");
        assert_eq!((A::KIND.code(), T::KIND.code()), (kind, kind));
        assert_eq!((A::VERSION, T::VERSION), (1, 1));
    }
    call::<_, MgmtStatusReply>(0x0300, &MgmtStatusRequest { reserved: 0 });
    call::<_, MgmtRegisterReply>(0x0301, &MgmtRegisterRequest { reserved: 0 });
    call::<_, MgmtBeatReply>(0x0302, &MgmtBeatRequest { reserved: 0 });
    call::<_, MgmtRoutingReply>(0x0303, &MgmtRoutingRequest { reserved: 0 });
    call::<_, MgmtSessionReply>(0x0304, &MgmtSessionRequest { reserved: 0 });
    call::<_, MgmtCommandReply>(0x0305, &MgmtCommandRequest { reserved: 0 });
    call::<_, MgmtQueryReply>(0x0306, &MgmtQueryRequest { reserved: 0 });
}

/// Bodies of the metadata service, as they were released: both calls have the same two.
#[test]
fn golden_bytes_of_the_metadata_service() {
    fn call<A: Body + PartialEq + core::fmt::Debug, T: MetaReply + PartialEq + core::fmt::Debug>(
        kind: u16,
        ask: &A,
    ) {
        let e = &mut Encoder::new();
        check(e, ask, "0000000000000000");
        let told = T::with_outcome(0x0102);
        assert_eq!(told.outcome(), 0x0102);
        check(e, &told, "0201000000000000");
        assert_eq!((A::KIND.code(), T::KIND.code()), (kind, kind));
        assert_eq!((A::VERSION, T::VERSION), (1, 1));
    }
    call::<_, MetaCallReply>(0x0200, &MetaCallRequest { reserved: 0 });
    call::<_, MetaStatusReply>(0x0201, &MetaStatusRequest { reserved: 0 });
}

/// A body that is not fixed, in two versions: what a changed struct looks like.
#[derive(Debug, PartialEq, Archive, Serialize, Deserialize)]
struct NameV1 {
    name: String,
}

#[derive(Debug, PartialEq, Archive, Serialize, Deserialize)]
struct Name {
    name: String,
    aliases: Vec<String>,
}

impl Body for NameV1 {
    const KIND: Kind = Kind::TEST_FIRST;
    const VERSION: u8 = 1;
    const FIXED: bool = false;
}

impl Body for Name {
    const KIND: Kind = Kind::TEST_FIRST;
    const VERSION: u8 = 2;
    const FIXED: bool = false;

    fn decode(kind_version: u8, bytes: &[u8]) -> Result<Self, WireError> {
        match kind_version {
            1 => Ok(Self { name: NameV1::decode(1, bytes)?.name, aliases: vec![] }),
            2 => to_owned::<Self>(access::<Self>(bytes)?),
            found => Err(WireError::BodyVersion { kind: Self::KIND, found, expected: 2 }),
        }
    }
}

#[test]
fn older_versions_are_converted() {
    let mut encoder = Encoder::new();
    let old = aligned(encoder.encode(&NameV1 { name: "a name of some length".into() }));
    let new = Name { name: "x".into(), aliases: vec!["y".into(), "z".into()] };
    let current = aligned(encoder.encode(&new));
    let expected = Name { name: "a name of some length".into(), aliases: vec![] };
    assert_eq!(Name::decode(1, &old), Ok(expected));
    assert_eq!(Name::decode(2, &current), Ok(new));
    let newer = WireError::BodyVersion { kind: Kind::TEST_FIRST, found: 3, expected: 2 };
    assert_eq!(Name::decode(3, &current), Err(newer));
    let ping = WireError::BodyVersion { kind: Kind::PING, found: 2, expected: 1 };
    assert_eq!(Ping::decode(2, &aligned(&[0; 8])), Err(ping));
}

#[test]
fn hostile_bodies_are_refused() {
    let kind = Kind::PING;
    for found in [0, 7, 9, 16] {
        let bytes = aligned(&vec![0; found]);
        let expected = Err(WireError::BodyLength { kind, found, expected: 8 });
        assert_eq!(access::<Ping>(&bytes).map(|_| ()), expected, "{found} bytes (W1)");
    }
    let bytes = aligned(&[0; 32]);
    for found in 1..8 {
        let expected = Err(WireError::BodyMisaligned { kind, found, expected: 8 });
        assert_eq!(access::<Ping>(&bytes[found..found + 8]).map(|_| ()), expected);
    }
    let mut encoder = Encoder::new();
    let name = NameV1 { name: "longer than a pointer, so out of line".into() };
    let good = aligned(encoder.encode(&name));
    let invalid = WireError::BodyInvalid { kind: Kind::TEST_FIRST };
    let mut refused = 0;
    for at in 0..good.len() {
        for flip in [0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= flip;
            refused += usize::from(NameV1::decode(1, &bytes) == Err(invalid.clone()));
        }
    }
    assert!(good.len() / 2 < refused, "{refused} of {} damaged archives refused", 2 * good.len());
    for error in [invalid, WireError::BodyLength { kind, found: 1, expected: 8 }] {
        assert!(!error.closes() && !error.status().is_ok(), "{error}");
    }
}

#[test]
fn memory_is_reused_and_leaves_no_trace() {
    let mut encoder = Encoder::new();
    let dirty = NameV1 { name: String::from_utf8(vec![0x7f; 400]).unwrap() };
    encoder.encode(&dirty);
    let capacity = encoder.bytes.capacity();
    let clean = Encoder::new().encode(&Goodbye { drain_ms: 1, reason: 2 }).to_vec();
    for _ in 0..100 {
        encoder.encode(&dirty);
        assert_eq!(encoder.encode(&Goodbye { drain_ms: 1, reason: 2 }), clean);
    }
    assert_eq!(encoder.bytes.capacity(), capacity);
}
