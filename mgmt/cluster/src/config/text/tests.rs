use super::*;

#[test]
fn values_as_they_are_written() {
    let text = |text: &str| Ok(Raw::Text(text.into()));
    let rows = [
        ("12", Ok(Raw::Number(12))),
        ("1_000 # many", Ok(Raw::Number(1000))),
        ("18446744073709551615", Ok(Raw::Number(u64::MAX))),
        ("true#", Ok(Raw::Bool(true))),
        ("\"\"", text("")),
        ("\"a # b\" # c", text("a # b")),
        ("\"\\\"\\\\\\n\\t\"", text("\"\\\n\t")),
        ("\"open", Err("a closing quote")),
        ("\"\\x\"", Err("one of \\\" \\\\ \\n \\t")),
        ("\"a\" b", Err("nothing behind the closing quote")),
    ];
    for (written, expected) in rows {
        assert_eq!(raw(written), expected, "{written}");
    }
    for bad in ["", "-1", "1.5", "_1", "1_", "1__0", "18446744073709551616", "yes", "# 7"] {
        assert!(raw(bad).is_err(), "{bad}");
    }
}

#[test]
fn units() {
    let rows = [
        ("500 ms", Some(500_000)),
        ("2min", Some(120_000_000)),
        ("1_000  us", Some(1000)),
        ("213503982 d", Some(213_503_982 * 86_400_000_000)),
        ("213503983 d", None),
        ("1.5 s", None),
        ("s", None),
        ("5", None),
        ("5 S", None),
    ];
    for (written, expected) in rows {
        assert_eq!(with_unit(written, &TIME_UNITS), expected, "{written}");
    }
    let printed = [(0, "\"0 us\""), (1500, "\"1500 us\""), (7_200_000_000, "\"2 h\"")];
    for (us, expected) in printed {
        assert_eq!(Value::Duration(Duration::from_micros(us)).to_string(), expected);
    }
    assert_eq!(Value::Bytes(3 << 20).to_string(), "\"3 MiB\"");
}
