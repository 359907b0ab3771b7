use std::collections::BTreeMap;

use engine_types::Rng;

use super::*;

fn fair(running_max: u32, [client_weight, resync_weight, scrub_weight]: [u32; CLASSES]) -> Fair {
    let settings = AdmissionSettings::default();
    let settings = AdmissionSettings { client_weight, resync_weight, scrub_weight, ..settings };
    Fair::new(AdmissionSettings { running_max, ..settings })
}

/// Runs all that waits, one at a time; who ran, in order.
fn drain(fair: &mut Fair, cost: &BTreeMap<u64, (u128, u64)>) -> Vec<u128> {
    // All of clients.
    let mut order = Vec::new();
    while let Some(ticket) = fair.next() {
        let (who, cost) = cost[&ticket];
        order.push(who);
        fair.done(Class::Client, cost);
    }
    order
}

#[test]
fn what_has_room_runs_at_once() {
    let mut fair = fair(2, [1; CLASSES]);
    assert_eq!(fair.ask(Class::Client, 1, 1), Asked::Now);
    assert_eq!(fair.ask(Class::Scrub, 2, 100), Asked::Now, "what is larger than the room as well");
    assert_eq!(fair.ask(Class::Client, 1, 1), Asked::Wait(1));
    assert_eq!(fair.next(), None);
    fair.done(Class::Scrub, 100);
    assert_eq!((fair.next(), fair.load()), (Some(1), (0, 2)));
    fair.done(Class::Client, 1);
    fair.done(Class::Client, 1);
    assert_eq!(fair.ask(Class::Client, 1, 1), Asked::Now);
}

/// One client with ten thousand requests, one with a single one that comes last.
#[test]
fn a_single_request_waits_one_turn_only() {
    for (many, one) in [(1, 1), (1, 30), (64, 1)] {
        let mut fair = fair(1, [8, 2, 1]);
        assert_eq!(fair.ask(Class::Client, 9, 1), Asked::Now);
        let mut tickets = BTreeMap::new();
        for _ in 0..10_000 {
            let Asked::Wait(ticket) = fair.ask(Class::Client, 1, many) else { panic!() };
            tickets.insert(ticket, (1, many));
        }
        let Asked::Wait(ticket) = fair.ask(Class::Client, 2, one) else { panic!() };
        tickets.insert(ticket, (2, one));
        fair.done(Class::Client, 1);
        let order = drain(&mut fair, &tickets);
        assert_eq!(order.len(), 10_001);
        let place = order.iter().position(|who| *who == 2).unwrap() as u64;
        assert!(place * many <= 4 * QUANTUM.max(many), "{many}, {one}: at {place}");
    }
}

#[test]
fn classes_share_by_their_weights_when_all_wait() {
    let weights = [8, 2, 1];
    let mut fair = fair(4, weights);
    // Each has its own place; the turns are for the fourth one.
    for class in [Class::Client, Class::Client, Class::Resync, Class::Scrub] {
        assert_eq!(fair.ask(class, 9, 1), Asked::Now);
    }
    let mut tickets = BTreeMap::new();
    for class in [Class::Scrub, Class::Resync, Class::Client] {
        for number in 0..4000_u64 {
            let cost = 1 + number % 5;
            let Asked::Wait(ticket) = fair.ask(class, 100 + class as u128, cost) else { panic!() };
            tickets.insert(ticket, (class, cost));
        }
    }
    fair.done(Class::Client, 1);
    let mut paid = [0; CLASSES];
    for _ in 0..4000 {
        let (who, cost) = tickets[&fair.next().unwrap()];
        paid[who as usize] += cost;
        fair.done(who, cost);
    }
    let all: u64 = paid.iter().sum();
    for (class, weight) in weights.into_iter().enumerate() {
        let share = paid[class] * 11 * 100 / all;
        let expected = u64::from(weight) * 100;
        assert!(share.abs_diff(expected) <= 10 * u64::from(weight), "{class}: {share}, {expected}");
    }
}

#[test]
fn lines_are_bounded_and_who_leaves_is_not_chosen() {
    let settings = AdmissionSettings { client_waiting_max: 30, ..AdmissionSettings::default() };
    let settings = AdmissionSettings { running_max: 1, waiting_max: 40, ..settings };
    let mut fair = Fair::new(settings);
    assert_eq!(fair.ask(Class::Client, 1, 1), Asked::Now);
    for _ in 0..30 {
        assert!(matches!(fair.ask(Class::Client, 1, 1), Asked::Wait(_)));
    }
    assert_eq!(fair.ask(Class::Client, 1, 1), Asked::Full);
    let Asked::Wait(other) = fair.ask(Class::Client, 2, 1) else { panic!() };
    assert!(fair.leave(Class::Client, 2, other));
    assert!(!fair.leave(Class::Client, 2, other));
    for client in 3..13 {
        assert!(matches!(fair.ask(Class::Client, client, 1), Asked::Wait(_)));
    }
    assert_eq!(fair.ask(Class::Client, 13, 1), Asked::Full, "of all together");
    assert_eq!(fair.load(), (40, 1), "who is refused leaves nothing behind");
    assert!(fair.leave(Class::Client, 1, 1));
    fair.done(Class::Client, 1);
    assert_eq!(fair.next(), Some(2));
}

/// Everything that waits is chosen once, in the order of its client, whatever happens in between.
#[test]
fn nothing_is_lost_and_clients_keep_their_order() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let limit = 1 + u32::try_from(rng.below(40)).unwrap();
        let mut fair = fair(limit, [3, 2, 1]);
        let classes = [Class::Client, Class::Resync, Class::Scrub];
        let (mut waiting, mut running) = (BTreeMap::new(), Vec::new());
        for _ in 0..2000 {
            let class = classes[usize::try_from(rng.below(3)).unwrap()];
            let (client, cost) = (u128::from(rng.below(4)), 1 + rng.below(50));
            match rng.below(5) {
                0 | 1 => match fair.ask(class, client, cost) {
                    Asked::Now => running.push((class, cost)),
                    Asked::Wait(ticket) => {
                        let sum: u64 = running.iter().map(|one| one.1).sum();
                        assert!(!waiting.is_empty() || u64::from(limit) <= sum, "E389");
                        assert!(running.iter().any(|one| one.0 == class), "E389: its own place");
                        waiting.insert(ticket, (class, client, cost));
                    }
                    Asked::Full => panic!("it is far from full"),
                },
                2 if !waiting.is_empty() => {
                    let skip = usize::try_from(rng.below(waiting.len() as u64)).unwrap();
                    let (&ticket, &(class, client, _)) = waiting.iter().nth(skip).unwrap();
                    assert!(fair.leave(class, client, ticket));
                    waiting.remove(&ticket);
                }
                _ if !running.is_empty() => {
                    let place = usize::try_from(rng.below(running.len() as u64)).unwrap();
                    let (class, cost) = running.swap_remove(place);
                    fair.done(class, cost);
                }
                _ => {}
            }
            while let Some(ticket) = fair.next() {
                let (class, client, cost) = waiting.remove(&ticket).expect("chosen once");
                let mut before = waiting.range(..ticket);
                let same = |other: &(Class, u128, u64)| (other.0, other.1) == (class, client);
                assert!(!before.any(|(_, other)| same(other)), "in the order of its client");
                running.push((class, cost));
            }
            for (class, ..) in waiting.values() {
                assert!(running.iter().any(|one| one.0 == *class), "E389: its own place");
            }
            assert_eq!(fair.load(), (waiting.len(), running.iter().map(|one| one.1).sum()));
        }
    }
}

/// Updates that wait for a replica that catches up, and what is read for it (found in simulation).
#[test]
fn what_a_resync_reads_does_not_wait_for_updates_that_wait_for_it() {
    let mut fair = fair(8, [8, 2, 1]);
    for client in 0..100 {
        fair.ask(Class::Client, client, 1);
    }
    assert_eq!(fair.load(), (92, 8), "no update ends");
    assert_eq!(fair.ask(Class::Resync, 1, 5), Asked::Now);
    let Asked::Wait(second) = fair.ask(Class::Resync, 1, 5) else { panic!("one place") };
    assert_eq!(fair.next(), None);
    fair.done(Class::Resync, 5);
    assert_eq!(fair.next(), Some(second), "one after the other");
    assert_eq!(fair.next(), None);
}
