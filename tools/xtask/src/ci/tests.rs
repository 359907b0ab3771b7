use super::*;

#[test]
fn the_test_step_is_the_command_of_the_readme() {
    assert_eq!(test_command(), "cargo test --workspace");
    let runs = STEPS.iter().any(|step| match step.action {
        Action::Cargo { words, env } => words == TEST && env.is_empty(),
        Action::Tidy => false,
    });
    assert!(runs, "the README's command runs as it stands");
}

#[test]
fn steps_are_chosen_by_name() {
    let chosen = ["fmt".to_owned(), "doc".to_owned()];
    let names = |chosen: &[String]| {
        STEPS.iter().map(|s| s.name).filter(|name| wanted(name, chosen)).collect::<Vec<_>>()
    };
    assert_eq!(names(&chosen), ["fmt", "doc"]);
    assert_eq!(names(&[]).len(), STEPS.len());
}

#[test]
fn the_table_tells_failures_and_sums_up() {
    let done = [
        Done { name: "fmt", passed: true, took: Duration::from_millis(1_500) },
        Done { name: "test", passed: false, took: Duration::from_secs(60) },
    ];
    let text = table(&done, Paint::plain());
    let expected =
        "fmt      passed     1.5 s\ntest     FAILED    60.0 s\ntotal              61.5 s\n";
    assert_eq!(text, expected);
}
