use super::*;

#[test]
fn hashes_are_found_in_the_output() {
    #[rustfmt::skip]
    let rows: [(&str, &[&str]); 4] = [
        ("seed 1\ntrace hash: 0xAb12\nops 3",       &["0xAb12"]),
        ("a: Trace hash 12cd, 3 ops\nb: trace hash = 34ef", &["12cd", "34ef"]),
        ("no hash here",                            &[]),
        ("trace hash:",                             &[]),
    ];
    for (printed, expected) in rows {
        assert_eq!(hashes_in(printed), expected, "{printed:?}");
    }
}

#[test]
fn a_difference_names_the_profiles() {
    let hashes = ["a", "a", "b"].map(|hash| vec![hash.to_owned()]);
    assert_eq!(verdict(false, &hashes), "DIFFERS: dev a, sim a, release b");
}
