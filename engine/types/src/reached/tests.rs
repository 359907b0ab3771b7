use std::thread;

use super::*;

/// One test, because the counters belong to the process.
#[test]
fn marks_count_from_every_thread_and_are_listed_once() {
    fn rare() {
        reached!("E46: test path");
    }
    let count = |name| {
        let found: std::vec::Vec<u64> =
            marks().filter(|mark| mark.0 == name).map(|mark| mark.1).collect();
        assert!(found.len() <= 1, "E46: {name} is listed {} times", found.len());
        found.first().copied()
    };
    assert_eq!(count("E46: test path"), None, "never hit");

    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).for_each(|_| rare()));
        }
    });
    assert_eq!(count("E46: test path"), Some(4000));

    reached!("E46: another path");
    reset_all();
    assert_eq!(count("E46: test path"), Some(0));
    assert_eq!(count("E46: another path"), Some(0));
    rare();
    assert_eq!(count("E46: test path"), Some(1), "counted again after a reset, still one entry");
}
