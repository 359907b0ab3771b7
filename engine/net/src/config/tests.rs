use super::{LimitError, NetLimits};

#[test]
fn limits_out_of_range_are_named_with_both_values() {
    assert_eq!(NetLimits::default().check(), Ok(()));
    let rows = [
        (NetLimits { requests: 0, ..NetLimits::default() }, "requests: found 0, expected 1 to 256"),
        (
            NetLimits { requests: 257, ..NetLimits::default() },
            "requests: found 257, expected 1 to 256",
        ),
        (
            NetLimits { small_bytes: 65_535, ..NetLimits::default() },
            "small_bytes: found 65535, expected 65536 to 4194304",
        ),
        (
            NetLimits { connections: 0, ..NetLimits::default() },
            "connections: found 0, expected 1 to 16384",
        ),
    ];
    for (limits, expected) in rows {
        let error: LimitError = limits.check().unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
