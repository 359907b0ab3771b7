use super::*;

#[test]
fn hosts_and_ports_are_read_and_shown() {
    for (text, host, port) in [
        ("127.0.0.1:7100", "127.0.0.1", 7100),
        ("localhost:0", "localhost", 0),
        ("kv.example:65535", "kv.example", 65535),
        ("[::1]:7100", "::1", 7100),
    ] {
        let read: HostPort = text.parse().unwrap();
        assert_eq!(read, HostPort { host: host.to_owned(), port });
        assert_eq!(read.to_string(), text);
    }
    for text in ["", "7100", ":7100", "::1:7100", "[]:1", "host", "[::1]"] {
        assert_eq!(text.parse::<HostPort>(), Err(ParseHostPortError::Form), "{text}");
    }
    for (text, port) in [("h:65536", "65536"), ("h:", ""), ("h:+1", "+1"), ("h:http", "http")] {
        assert_eq!(text.parse::<HostPort>(), Err(ParseHostPortError::Port(port.to_owned())));
    }
}

#[test]
fn what_listens_everywhere_is_reached_on_this_machine() {
    for (listen, expected) in [
        ("0.0.0.0:7100", "127.0.0.1:7100"),
        ("[::]:7100", "[::1]:7100"),
        ("10.0.0.5:7100", "10.0.0.5:7100"),
        ("kv.example:1", "kv.example:1"),
    ] {
        let listen: HostPort = listen.parse().unwrap();
        assert_eq!(listen.reachable().to_string(), expected);
    }
    let address: HostPort = "127.0.0.1:7".parse().unwrap();
    assert_eq!(address.resolve().unwrap(), ["127.0.0.1:7".parse::<SocketAddr>().unwrap()]);
}

#[test]
fn durations_have_units() {
    for (text, ms) in [
        ("5s", 5_000),
        ("500ms", 500),
        ("1.5s", 1_500),
        ("2m", 120_000),
        ("1h", 3_600_000),
        (" 5 s", 5_000),
    ] {
        assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
    }
    for text in ["", "5", "s", "-5s", "5x", "1.2.3s", "5 days", "1e3s"] {
        assert!(duration(text).is_err(), "{text}");
    }
    assert_eq!(duration("99999999999999999999h"), Err("that is too long".to_owned()));
}
