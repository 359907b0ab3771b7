use super::*;

#[test]
fn a_nightly_is_found_or_its_absence_is_said() {
    let listed = "stable-x86_64 (active, default)\nnightly-2026-01-01-x86_64\n1.95.0-x86_64\n";
    assert_eq!(nightly(listed).expect("there is one"), "nightly-2026-01-01-x86_64");
    let why = nightly("stable-x86_64 (default)\n").expect_err("there is none");
    assert!(why.0.contains("nightly toolchain"), "{why}");
}

#[test]
fn targets_are_checked_before_any_runs() {
    let known = ["frame", "handshake"];
    assert_eq!(chosen(&known, &[]).expect("all"), known);
    assert_eq!(chosen(&known, &["frame".to_owned()]).expect("one"), ["frame"]);
    assert!(chosen(&known, &["fram".to_owned()]).is_err());
    assert!(chosen(&[], &[]).is_err());
}
