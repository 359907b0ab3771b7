use super::*;

const LIST: [&str; 3] = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"];

#[test]
fn expressions_are_evaluated() {
    #[rustfmt::skip]
    let rows = [
        ("MIT",                                                    true),
        ("GPL-3.0",                                                false),
        ("MIT OR GPL-3.0",                                         true),
        ("MIT/GPL-3.0",                                            true),
        ("MIT AND GPL-3.0",                                        false),
        ("MIT AND (GPL-3.0 OR Apache-2.0)",                        true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0",                    false),
        ("GPL-3.0 OR MIT AND GPL-2.0",                             false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0",              true),
        ("MIT WITH LLVM-exception",                                false),
        ("GPL-2.0 WITH Classpath-exception-2.0",                   false),
        ("mit",                                                    false),
    ];
    for (expression, expected) in rows {
        assert_eq!(allowed(expression, &LIST), Ok(expected), "{expression}");
    }
}

#[test]
fn nonsense_is_an_error() {
    for expression in ["", "MIT OR", "(MIT", "MIT)", "AND MIT", "MIT MIT", "MIT WITH", "()"] {
        assert!(allowed(expression, &LIST).is_err(), "{expression:?}");
    }
}
