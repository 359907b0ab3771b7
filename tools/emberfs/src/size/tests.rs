use super::*;

#[test]
fn sizes_are_read_as_operators_mean_them() {
    let rows: [(&str, u64); 25] = [
        ("0", 0),
        ("4096", 4096),
        ("17B", 17),
        ("1K", 1 << 10),
        ("1k", 1 << 10),
        ("1KiB", 1 << 10),
        ("1kib", 1 << 10),
        ("1KB", 1000),
        ("1kB", 1000),
        ("512M", 512 << 20),
        ("512MiB", 512 << 20),
        ("10G", 10 << 30),
        ("10GiB", 10 << 30),
        ("10 GiB", 10 << 30),
        (" 10GiB ", 10 << 30),
        ("10GB", 10_000_000_000),
        ("14TiB", 14 << 40),
        ("14T", 14 << 40),
        ("1P", 1 << 50),
        ("1.5T", 3 << 39),
        ("1.50TiB", 3 << 39),
        ("0.25K", 256),
        ("7.68TB", 7_680_000_000_000),
        ("16383P", 16383 << 50),
        ("18446744073709551615", u64::MAX),
    ];
    for (text, expected) in rows {
        assert_eq!(text.parse(), Ok(ByteSize(expected)), "{text:?}");
    }
}

#[test]
fn what_is_no_size_is_refused_with_a_reason() {
    use ParseSizeError::{Fraction, NoNumber, TooLarge};
    let unit = |unit: &str| ParseSizeError::Unit(unit.to_owned());
    let rows = [
        ("", NoNumber),
        ("G", NoNumber),
        ("-1G", NoNumber),
        (".5G", NoNumber),
        ("5.G", NoNumber),
        ("1.2.3G", NoNumber),
        ("ten", NoNumber),
        ("1X", unit("X")),
        ("1GiBs", unit("GiBs")),
        ("1Gi", unit("Gi")),
        ("1G 1", unit("G 1")),
        ("1,5G", unit(",5G")),
        ("1_000", unit("_000")),
        ("0x10", unit("x10")),
        ("1E", unit("E")),
        ("1\u{b5}", unit("\u{b5}")),
        ("1.5", Fraction),
        ("0.1KiB", Fraction),
        ("1.00000000000000000001G", Fraction),
        ("16384P", TooLarge),
        ("18446744073709551616", TooLarge),
        ("99999999999999999999999999", TooLarge),
        ("16383.9999999999P", Fraction),
    ];
    for (text, expected) in rows {
        assert_eq!(text.parse::<ByteSize>(), Err(expected), "{text:?}");
    }
    assert!(unit("X").to_string().contains("KiB"), "the message names what is possible");
}

#[test]
fn sizes_are_printed_exactly_or_say_that_they_are_not() {
    let rows: [(u64, &str); 12] = [
        (0, "0 B"),
        (512, "512 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1537, "about 1.5 KiB"),
        (1 << 20, "1 MiB"),
        (10 << 30, "10 GiB"),
        ((10 << 30) - 1, "about 9.9 GiB"),
        (3 << 39, "1.5 TiB"),
        (1 << 60, "1024 PiB"),
        (u64::MAX, "about 16383.9 PiB"),
    ];
    for (bytes, expected) in rows {
        assert_eq!(ByteSize(bytes).to_string(), expected);
        if let Ok(back) = expected.parse::<ByteSize>() {
            assert_eq!(back.0, bytes, "what is exact is read back");
        }
    }
}
