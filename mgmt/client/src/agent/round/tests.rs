//! Whom a heartbeat is sent to, and when.

use super::*;

const PATIENCE: Duration = Duration::from_millis(250);

fn at(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 7000))
}

const fn ms(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// Walks through a round in which nobody is heard: who got a heartbeat, at which millisecond.
fn walk(favourites: [Option<u8>; 2], hints: &[(u8, u8)], answers: bool) -> Vec<(u8, u64)> {
    let list: Vec<SocketAddr> = (1..=4).map(at).collect();
    let favourites = favourites.map(|number| number.map(at));
    let known = |cursor| Known { favourites, list: &list, cursor };
    let number = |address: SocketAddr| {
        let found = (0..10).find(|&number| at(number) == address);
        found.expect("one of them")
    };
    let (mut cursor, mut sequence, mut now) = (0, 1, ms(0));
    let address = Round::first_address(&known(cursor));
    let mut round = Round::begin(sequence, address, now + PATIENCE);
    let mut sent = vec![(number(address), 0)];
    while sent.len() < 7 {
        if answers {
            let here = number(round.address());
            let hint = hints.iter().find(|(from, _)| *from == here).map(|(_, to)| at(*to));
            assert!(!round.judge(sequence, Verdict::Unheard { hint }, now));
        }
        assert!(!round.judge(sequence - 1, Verdict::Unheard { hint: None }, now), "left behind");
        now = round.step_at();
        let (address, next) = round.next(&known(cursor)).unwrap();
        cursor = next;
        sequence += 1;
        round.went_on(sequence, address, now + PATIENCE);
        sent.push((number(address), now.nanos() / 1_000_000));
    }
    assert!(!round.judge(0, Verdict::Heard, now), "of the round before");
    assert!(round.judge(1, Verdict::Heard, now), "a late answer to the first one");
    sent
}

#[test]
fn the_primary_comes_first_and_the_others_follow_in_turn() {
    // Silence.
    let silent = [(3, 0), (1, 250), (2, 500), (4, 750), (3, 1000), (1, 1250), (2, 1500)];
    assert_eq!(walk([Some(3), None], &[], false), silent);
    // Who renewed leases before comes next.
    let standby = [(3, 0), (4, 250), (1, 500), (2, 750), (3, 1000), (4, 1250), (1, 1500)];
    assert_eq!(walk([Some(3), Some(4)], &[], false), standby);
    // Refusals: the second one at once, the others after pauses.
    let refused = [(1, 0), (2, 0), (3, 50), (4, 100), (1, 150), (2, 200), (3, 250)];
    assert_eq!(walk([None, None], &[], true), refused);
    // Hints are followed at once, but not in circles.
    let hints = [(1, 4), (4, 9), (9, 1), (2, 4)];
    let hinted = [(1, 0), (4, 0), (9, 0), (2, 50), (3, 100), (1, 150), (4, 150)];
    assert_eq!(walk([Some(1), None], &hints, true), hinted);
}

#[test]
fn the_only_manager_is_not_asked_again_while_it_is_silent() {
    let list = [at(1)];
    let known = Known { favourites: [Some(at(1)), None], list: &list, cursor: 0 };
    let mut round = Round::begin(1, at(1), ms(250));
    assert_eq!(round.next(&known), None);
    assert_eq!(round.step_at(), Instant::NEVER);
    assert!(!round.judge(1, Verdict::Unheard { hint: None }, ms(300)));
    assert_eq!(round.step_at(), ms(300), "a refusal is something else");
    assert_eq!(round.next(&known), Some((at(1), 0)));
    round.went_on(2, at(1), ms(550));
    assert_eq!(round.next(&known), None);
}
