use std::format;

use super::*;

#[test]
fn ids_print_in_a_stable_short_form() {
    let chunk = ChunkId { inode: InodeId::new(77), index: 3 };
    let rows = [
        (format!("{}", NodeId::new(7)), "node-7"),
        (format!("{}", CoreId::new(1)), "core-1"),
        (format!("{}", TargetId::new(9)), "target-9"),
        (format!("{}", ChainId::new(12).unwrap()), "chain-12"),
        (format!("{}", ChainVersion::new(3)), "v3"),
        (format!("{}", Incarnation::new(2)), "start-2"),
        (format!("{}", SessionId::new(5)), "session-5"),
        (format!("{}", RoutingVersion::new(8)), "r8"),
        (format!("{chunk}"), "chunk-77.3"),
        (format!("{}", RequestId::new(4, 2)), "request-4.2"),
    ];
    for (found, expected) in rows {
        assert_eq!(found, expected);
    }
}

#[test]
fn counters_say_when_they_have_run_out() {
    assert_eq!(ChainVersion::new(1).next(), Some(ChainVersion::new(2)));
    assert_eq!(ChainVersion::new(u32::MAX).next(), None);
    assert_eq!(SessionId::new(u64::MAX).next(), None);
}

#[test]
fn no_chain_is_number_zero() {
    assert_eq!(ChainId::new(0), None);
    assert_eq!(ChainId::new(1).map(ChainId::get), Some(1));
}

#[test]
fn request_ids_survive_the_wire() {
    for raw in [0, 1, 1 << 32, u64::MAX, 0x0123_4567_89ab_cdef] {
        assert_eq!(RequestId::from_u64(raw).to_u64(), raw);
    }
    let id = RequestId::new(5, 1);
    assert_eq!(id.to_u64(), 5 | 1 << 32);
    assert_eq!(RequestId::NONE.to_u64(), u64::MAX);
}

#[test]
fn uuids_print_and_parse() {
    let text = "01234567-89ab-cdef-0123-456789abcdef";
    let id: ClusterId = text.parse().unwrap();
    assert_eq!(id.get(), 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    assert_eq!(format!("{id}"), text);
    assert_eq!(format!("{id:?}"), format!("ClusterId({text})"));
    assert_eq!(text.to_uppercase().parse(), Ok(id));
    for raw in [0, 1, u128::MAX, 1 << 64] {
        assert_eq!(format!("{}", StoreId::new(raw)).parse(), Ok(StoreId::new(raw)));
    }
}

#[test]
fn bad_uuids_are_refused_with_the_place() {
    let place = |position, expected, found| ParseIdError::Character { position, expected, found };
    let rows = [
        ("", ParseIdError::Length { found: 0 }),
        ("0123456789abcdef0123456789abcdef", ParseIdError::Length { found: 32 }),
        ("01234567-89ab-cdef-0123-456789abcdef0", ParseIdError::Length { found: 37 }),
        ("0123456789ab-cdef-0123-456789abcdef00", ParseIdError::Length { found: 37 }),
        ("01234567_89ab-cdef-0123-456789abcdef", place(8, "a dash", '_')),
        ("0123456g-89ab-cdef-0123-456789abcdef", place(7, "a hexadecimal digit", 'g')),
        ("0123456é-89ab-cdef-0123-456789abcdef", place(7, "a hexadecimal digit", 'é')),
        ("-1234567-89ab-cdef-0123-456789abcdef", place(0, "a hexadecimal digit", '-')),
    ];
    for (text, expected) in rows {
        assert_eq!(text.parse::<ClusterId>(), Err(expected), "{text:?}");
    }
}
