use super::*;

fn address(text: &str) -> HostPort {
    text.parse().unwrap()
}

#[test]
fn others_can_connect_to_what_they_are_told() {
    let long = format!("{}:7200", "a".repeat(ADDRESS_BYTES_MAX));
    for (listen, advertise, expected) in [
        ("127.0.0.1:7200", &[] as &[&str], None),
        ("127.0.0.1:0", &[], None),
        ("0.0.0.0:7200", &["10.0.0.1:7200"], None),
        ("[::]:0", &["m1:7200", "[fd00::1]:7200"], None),
        ("0.0.0.0:7200", &[], Some(("listen", "nobody can connect to 0.0.0.0:7200"))),
        ("[::]:7200", &[], Some(("listen", "nobody can connect to [::]:7200"))),
        ("h:1", &["0.0.0.0:7200"], Some(("advertise", "nobody can connect to 0.0.0.0:7200"))),
        ("h:1", &["m1:7200", "m1:0"], Some(("advertise", "nobody can connect to m1:0"))),
        ("h:1", &["m1:1"; 9], Some(("advertise", "found 9 addresses, at most 8"))),
        ("h:1", &[&long], Some(("advertise", "found an address of 265 bytes"))),
    ] {
        let told: Vec<HostPort> = advertise.iter().map(|text| address(text)).collect();
        match (check_addresses(&address(listen), &told), expected) {
            (Ok(()), None) => {}
            (Err((key, why)), Some((expected, begins))) => {
                assert!(key == expected && why.starts_with(begins), "{listen}: {key}: {why}");
            }
            (found, _) => panic!("{listen} {advertise:?}: {found:?}, expected {expected:?}"),
        }
    }
}
