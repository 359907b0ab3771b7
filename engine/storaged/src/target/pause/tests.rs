use super::*;

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

#[test]
fn pauses_double_up_to_the_longest() {
    let mut pause = Pause::default();
    assert!(pause.is_over(at(0)), "it never left");
    let pauses: Vec<u64> =
        (0..9).map(|_| u64::try_from(pause.left(at(1_000)).as_millis()).expect("small")).collect();
    assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
    assert!(!pause.is_over(at(10_999)));
    assert!(pause.is_over(at(11_000)));
}

#[test]
fn who_served_begins_anew() {
    let mut pause = Pause::default();
    for _ in 0..100 {
        pause.left(at(0));
    }
    pause.served();
    assert!(pause.is_over(at(0)));
    assert_eq!(pause.left(at(0)), PAUSE_MIN);
}
