use std::format;

use super::*;

fn full() -> FrameHeader {
    FrameHeader {
        class: Priority::Resync,
        trace: TraceId::new(0x1122_3344_5566_7788),
        deadline_us: 1_500_000,
        payload_len: 4096,
        reply_bytes_max: 65536,
        ..FrameHeader::request(Kind::ECHO, 1, RequestId::new(5, 9))
    }
    .with_body(b"capability", b"body")
}

fn reseal(bytes: &mut [u8; FRAME_HEADER_BYTES]) {
    let crc = crc32c(&bytes[..60]);
    bytes[60..].copy_from_slice(&crc.get().to_le_bytes());
}

/// Version 1 as it was released. A difference is a new protocol version, never a new number here.
#[test]
fn golden_bytes() {
    let rows = [
        (full(), GOLDEN_REQUEST),
        (FrameHeader::response(&full(), 1, Status::Busy), GOLDEN_RESPONSE),
        (FrameHeader::one_way(Kind::GOODBYE, 1), GOLDEN_ONE_WAY),
    ];
    for (header, golden) in rows {
        let bytes = header.encode();
        assert_eq!(crate::tests_hex(&bytes), golden, "{header:?}");
        assert_eq!(FrameHeader::decode(&bytes, &Limits::session(1)), Ok(header));
    }
}

const GOLDEN_REQUEST: &str = "\
    454d425201002000010101000000000005000000090000008877665544332211\
    60e316000400000000100000000001000a000000000000000763b75213cca373";
const GOLDEN_RESPONSE: &str = "\
    454d425201002000010201000000060005000000090000008877665544332211\
    000000000000000000000000000000000000000000000000000000000ae4bb89";
const GOLDEN_ONE_WAY: &str = "\
    454d4252010015000103000000000000ffffffffffffffff0000000000000000\
    000000000000000000000000000000000000000000000000000000004571e2bd";

#[test]
fn hostile_headers_are_refused() {
    use WireError as E;
    type Damage = fn(&mut [u8; FRAME_HEADER_BYTES]);
    let too_large = |part, found, limit| E::TooLarge { part, found, limit };
    let not_zero = |field, found| E::NotZero { field, found };
    #[rustfmt::skip]
    let rows: [(Damage, WireError); 20] = [
        (|b| b[0] = 0, E::Magic { found: MAGIC & !0xff, expected: MAGIC }),
        (|b| b[4] = 2, E::Protocol { found: 2, min: 1, max: 1 }),
        (|b| b[4] = 0, E::Protocol { found: 0, min: 1, max: 1 }),
        (|b| b[9] = 0, E::FrameType { found: 0 }),
        (|b| b[9] = 4, E::FrameType { found: 4 }),
        (|b| b[10] = 3, E::Priority { found: 3 }),
        (|b| b[11] = 1, not_zero("reserved byte 11", 1)),
        (|b| b[12] = 1, not_zero("flags", 1)),
        (|b| b[13] = 0x80, not_zero("flags", 0x8000)),
        (|b| b[14] = 6, not_zero("status of a frame that answers nothing", 6)),
        (|b| b[36..40].copy_from_slice(&(limits::BODY_BYTES_MAX + 1).to_le_bytes()),
            too_large(Part::Body, limits::BODY_BYTES_MAX + 1, limits::BODY_BYTES_MAX)),
        (|b| b[36..40].fill(0xff), too_large(Part::Body, u32::MAX, limits::BODY_BYTES_MAX)),
        (|b| b[40..44].fill(0xff), too_large(Part::Payload, u32::MAX, limits::PAYLOAD_BYTES_MAX)),
        (|b| b[44..48].fill(0xff), too_large(Part::Reply, u32::MAX, limits::PAYLOAD_BYTES_MAX)),
        (|b| b[48..50].fill(0xff), too_large(Part::Capability, 0xffff, 256)),
        (|b| b[50] = 1, not_zero("reserved bytes 50 to 51", 1)),
        (|b| b[55] = 1, not_zero("reserved bytes 52 to 55", 1 << 24)),
        (|b| b[9] = 2, not_zero("deadline of a frame without answer", 1_500_000)),
        (|b| { b[9] = 2; b[32..36].fill(0) },
            not_zero("reply room of a frame without answer", 65536)),
        (|b| { b[9] = 3; b[32..36].fill(0); b[44..48].fill(0) },
            not_zero("capability of a frame without answer", 10)),
    ];
    for (damage, expected) in rows {
        let mut bytes = full().encode();
        damage(&mut bytes);
        reseal(&mut bytes);
        let found = FrameHeader::decode(&bytes, &Limits::session(1));
        assert_eq!(found, Err(expected.clone()));
        assert!(expected.closes() && !expected.status().is_ok(), "{expected}");
    }
    let mut bytes = FrameHeader::one_way(Kind::PING, 1).encode();
    bytes[16] = 0;
    reseal(&mut bytes);
    let expected = not_zero("complement of a one-way frame's id", 0xff);
    assert_eq!(FrameHeader::decode(&bytes, &Limits::session(1)), Err(expected));
}

/// E1: whichever bit flips, the header CRC or the magic number tells.
#[test]
fn no_flipped_bit_passes() {
    let good = full().encode();
    for bit in 0..FRAME_HEADER_BYTES * 8 {
        let mut bytes = good;
        bytes[bit / 8] ^= 1 << (bit % 8);
        match FrameHeader::decode(&bytes, &Limits::session(1)) {
            Err(WireError::Magic { .. }) => assert!(bit < 32, "bit {bit}"),
            Err(WireError::HeaderChecksum { .. }) => assert!(32 <= bit, "bit {bit}"),
            other => panic!("bit {bit}: {other:?}"),
        }
    }
}

#[test]
fn strangers_have_less_room() {
    let mut header = FrameHeader::one_way(Kind::HELLO, 1);
    header.body_len = limits::HANDSHAKE_BODY_BYTES_MAX + 1;
    let found = FrameHeader::decode(&header.encode(), &Limits::HANDSHAKE);
    assert!(matches!(found, Err(WireError::TooLarge { part: Part::Body, .. })), "{found:?}");
    header.body_len = 0;
    header.payload_len = 1;
    let found = FrameHeader::decode(&header.encode(), &Limits::HANDSHAKE);
    assert!(matches!(found, Err(WireError::TooLarge { part: Part::Payload, .. })), "{found:?}");
    let found = FrameHeader::decode(&header.encode(), &Limits::session(1));
    assert_eq!(found, Ok(header));
}

#[test]
#[should_panic(expected = "E4: a frame breaks its own rules: status of a frame")]
fn our_own_frames_keep_the_rules() {
    let mut header = FrameHeader::request(Kind::ECHO, 1, RequestId::new(0, 0));
    header.status = Status::Busy;
    header.encode();
}

#[test]
fn an_unknown_kind_is_a_frame_like_any_other() {
    let header = FrameHeader::request(Kind::new(0xbeef), 7, RequestId::new(0, 0));
    assert_eq!(FrameHeader::decode(&header.encode(), &Limits::session(1)), Ok(header));
    assert_eq!(header.kind.name(), None);
    assert_eq!(format!("{} {}", header.kind, Kind::ECHO), "kind 0xbeef ECHO");
    assert!(Kind::REFUSAL.is_handshake() && !Kind::PING.is_handshake());
}

#[test]
fn kind_numbers_never_change() {
    let codes: std::vec::Vec<u16> = Kind::ALL.iter().map(|kind| kind.code()).collect();
    let connection = [1, 2, 3, 4, 5, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x20];
    let storage = [0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x107, 0x110, 0x111];
    let meta = [0x200, 0x201];
    let mgmt = [0x300, 0x301, 0x302, 0x303, 0x304, 0x305, 0x306];
    let kv = [0x400, 0x401, 0x402, 0x403, 0x404, 0x405];
    let expected = [&connection[..], &storage, &meta, &mgmt, &kv].concat();
    assert_eq!(codes, expected);
}
