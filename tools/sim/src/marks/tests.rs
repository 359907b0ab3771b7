use super::*;

#[test]
fn marks_are_found_in_code_and_not_in_comments() {
    let text = "reached!(\"E1: one\");\n    // reached!(\"E2: talk\")\n \
        engine_types::reached!(\n\"E3: three\");";
    assert_eq!(marks_in(text), ["E1: one", "E3: three"]);
}

#[test]
fn a_mark_that_was_hit_is_in_the_table() {
    engine_types::reached!("T99: hit by a test");
    assert!(1 <= table()["T99: hit by a test"]);
}

#[test]
fn marks_of_the_simulators_own_workloads_are_known() {
    let mark = "T20: a torn sector was found after a crash";
    assert!(known().iter().any(|known| known == mark), "{:?}", known());
}
