use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use engine_types::Rng;

use super::{PLAN_AGE_MAX, PLANS_MAX, Pin, Pins, READS_MAX, User};

#[test]
fn a_number_has_passed_when_every_plan_before_it_has_ended() {
    let mut pins = Pins::new();
    assert_eq!((pins.next(), pins.oldest(), pins.age()), (0, 0, 0));
    assert!(pins.passed(0), "nobody is under way");
    let (a, b) = (pins.take(), pins.take());
    let moment = pins.next();
    let c = pins.take();
    assert_eq!((a.number(), b.number(), c.number()), (0, 1, 2));
    pins.give(b);
    assert!(!pins.passed(moment), "the oldest is still reading");
    assert_eq!((pins.oldest(), pins.age(), pins.in_flight()), (0, 3, 2));
    pins.give(a);
    assert!(pins.passed(moment), "only a plan made later is left");
    assert!(!pins.passed(pins.next()));
    pins.give(c);
    assert_eq!((pins.oldest(), pins.next(), pins.in_flight()), (3, 3, 0));
}

/// Random plans against a map of the numbers that are out.
#[test]
fn e180_the_window_equals_a_set_of_numbers() {
    for seed in 0..8 {
        let mut rng = Rng::new(seed);
        let mut pins = Pins::new();
        let mut out: BTreeMap<u64, Pin> = BTreeMap::new();
        for step in 0..20_000 {
            // Phases of growth and of draining, and now and then one plan that lasts.
            let grow = if step / 500 % 2 == 0 { 600 } else { 400 };
            if rng.chance(grow) {
                let expected = pins.next();
                let pin = pins.take();
                assert_eq!(pin.number(), expected, "seed {seed}");
                out.insert(expected, pin);
            } else if !out.is_empty() {
                let keys: Vec<u64> =
                    out.keys().skip(usize::from(rng.chance(900))).copied().collect();
                let Some(&number) = rng.pick(&keys) else { continue };
                pins.give(out.remove(&number).unwrap());
            }
            let oldest = out.keys().next().copied().unwrap_or(pins.next());
            assert_eq!(pins.oldest(), oldest, "seed {seed}, step {step}");
            assert_eq!(pins.in_flight(), out.len(), "seed {seed}, step {step}");
            assert_eq!(pins.age(), pins.next() - oldest, "seed {seed}, step {step}");
            let words = usize::try_from(pins.age() / 64).unwrap() + 2;
            assert!(pins.window.len() <= words, "seed {seed}, step {step}: the window is trimmed");
        }
    }
}

#[test]
fn e181_room_ends_with_plans_that_last() {
    let mut pins = Pins::new();
    let out: Vec<Pin> = (0..PLANS_MAX).map(|_| pins.take()).collect();
    assert!(!pins.room());
    out.into_iter().for_each(|pin| pins.give(pin));
    assert!(pins.room());
    // One plan lasts: the numbers behind it run out, in a window of bits. The millions of short
    // plans are skipped by moving the counter.
    let stuck = pins.take();
    pins.next += PLAN_AGE_MAX - 1;
    assert_eq!(pins.oldest(), stuck.number());
    assert!(!pins.room(), "a plan that never ends shows here");
    pins.give(stuck);
    assert!(pins.room());
}

#[test]
#[should_panic(expected = "E181: 65536 plans are out")]
fn e181_taking_without_room_is_noticed() {
    let mut pins = Pins::new();
    for _ in 0..=PLANS_MAX {
        let _ = pins.take();
    }
}

#[test]
#[should_panic(expected = "E180: 0 is not out")]
fn e180_a_pin_of_another_window_is_noticed() {
    let mut pins = Pins::new();
    let first = pins.take();
    let _second = pins.take();
    pins.give(first);
    pins.give(Pins::new().take());
}

#[test]
#[should_panic(expected = "E180: 0 is outside 0..0")]
fn e180_a_pin_that_was_never_taken_is_noticed() {
    let foreign = Pins::new().take();
    Pins::new().give(foreign);
}

#[test]
fn e181_reads_leave_room_for_updates_and_those_for_the_store() {
    let mut pins = Pins::new();
    let users = [User::Read, User::Update, User::Store];
    let room = |pins: &Pins| users.map(|user| pins.room_for(user));
    let mut out = Vec::new();
    for (count, expected) in [
        (READS_MAX - 1, [true, true, true]),
        (READS_MAX, [false, true, true]),
        (PLANS_MAX / 8 * 7, [false, false, true]),
        (PLANS_MAX / 16 * 15, [false, false, false]),
    ] {
        while out.len() < count {
            out.push(pins.take());
        }
        assert_eq!(room(&pins), expected, "{count} plans");
        assert!(pins.room());
    }
    out.drain(1..).for_each(|pin| pins.give(pin));
    assert_eq!(room(&pins), [true; 3]);
    for age in [PLAN_AGE_MAX / 4 * 3 - 1, PLAN_AGE_MAX / 4 * 3] {
        pins.next = age;
        assert_eq!(pins.room_for(User::Read), age < PLAN_AGE_MAX / 4 * 3);
        assert!(pins.room_for(User::Update));
    }
}
