use super::*;
use crate::tree;

#[test]
fn rules_are_told_from_other_marks() {
    assert!(["R14: a", "L6: a", "W2: a"].iter().all(|mark| is_of_rule(mark)));
    assert!(!["E342: a", "L4: a", "W21: a", "R: a", "Rather"].iter().any(|mark| is_of_rule(mark)));
}

#[test]
fn marks_outside_comments_are_found() {
    let text = "// reached!(\"not\")\nreached!(\"E1: a\");\nreached!(\n    \"E2: b\"\n);";
    assert_eq!(marks_in(text), ["E1: a", "E2: b"]);
}

#[test]
fn what_is_exempt_exists() {
    let wanted = of_tree(&tree::root().unwrap()).unwrap();
    assert!(20 < wanted.len(), "{wanted:?}");
    let unknown: Vec<_> = EXEMPT.iter().filter(|(mark, _)| !wanted.contains(*mark)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn seldom_is_rare_and_exempt_is_not() {
    let wanted: BTreeSet<String> = ["E1: a", "E2: b"].map(str::to_owned).into();
    let reached = BTreeMap::from([("E1: a".to_owned(), OFTEN), ("E2: b".to_owned(), OFTEN - 1)]);
    assert_eq!(judge(&reached, &wanted).rare, ["E2: b"]);
}
