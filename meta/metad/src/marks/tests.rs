use super::*;

#[test]
fn values_are_read_as_written() {
    let session = SessionId::new(7 << 40);
    assert_eq!(decode_claim(&encode_claim(session, 9)), Some((session, 9)));
    for wrong in [&[][..], &[1; 7], &[1; 9], &[1; 24]] {
        assert_eq!(decode_claim(wrong), None);
    }
}

/// Golden bytes: stores of today are read for ever.
#[test]
fn values_stay() {
    assert_eq!(encode_claim(SessionId::new(3), 4), b"\x03\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0");
}

#[test]
fn stamps_only_rise() {
    let now = Timestamp::from_nanos(100);
    let first = stamp(None, now);
    let second = stamp(Some(&first), now);
    let third = stamp(Some(&second), Timestamp::from_nanos(50));
    let read = |stamp: [u8; 8]| u64::from_le_bytes(stamp);
    assert_eq!([first, second, third].map(read), [100, 101, 102]);
    let damaged = stamp(Some(b"abc"), now);
    assert_eq!(read(damaged), 100);
}
