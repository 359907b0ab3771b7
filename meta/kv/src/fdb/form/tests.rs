use super::*;
use crate::limits::VERSIONSTAMP_BYTES;

#[test]
fn the_offset_follows_in_little_endian() {
    assert_eq!(with_offset(b"k0123456789", 1), b"k0123456789\x01\0\0\0");
    assert_eq!(with_offset(b"", 0x1_0203), b"\x03\x02\x01\0");
}

/// E225: no timeout becomes the 0 that switches it off.
#[test]
fn a_timeout_is_never_zero() {
    let cases = [
        (Duration::ZERO, 1),
        (Duration::from_micros(10), 1),
        (Duration::from_millis(2), 2),
        (Duration::from_secs(10), 10_000),
        (Duration::MAX, i32::MAX),
    ];
    for (timeout, expected) in cases {
        assert_eq!(timeout_ms(timeout), expected, "{timeout:?}");
    }
}

/// E227: the library counts the offset, so stamped keys and values are four bytes shorter.
#[test]
fn the_offset_counts_for_the_limits() {
    let key = |length| Mutation::StampedKey { key: vec![b'k'; length], offset: 1, value: vec![] };
    let value =
        |length| Mutation::StampedValue { key: vec![b'k'], value: vec![0; length], offset: 0 };
    assert_eq!(check(&key(KEY_BYTES_MAX - OFFSET_BYTES)), Ok(()));
    assert_eq!(
        check(&key(KEY_BYTES_MAX - OFFSET_BYTES + 1)),
        Err(KvError::KeyTooLong { found: KEY_BYTES_MAX + 1, limit: KEY_BYTES_MAX })
    );
    assert_eq!(check(&value(VALUE_BYTES_MAX - OFFSET_BYTES)), Ok(()));
    assert_eq!(
        check(&value(VALUE_BYTES_MAX - OFFSET_BYTES + 1)),
        Err(KvError::ValueTooLong { found: VALUE_BYTES_MAX + 1, limit: VALUE_BYTES_MAX })
    );
    // The trait's own checks come first.
    assert_eq!(
        check(&key(VERSIONSTAMP_BYTES)),
        Err(KvError::StampPosition { offset: 1, length: VERSIONSTAMP_BYTES })
    );
    let plain = Mutation::Set { key: vec![b'k'; KEY_BYTES_MAX], value: vec![0; VALUE_BYTES_MAX] };
    assert_eq!(check(&plain), Ok(()));
}
