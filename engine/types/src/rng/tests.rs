use super::*;

/// From the authors' reference code, with the state 1, 2, 3, 4.
#[test]
fn matches_the_reference_implementation() {
    let mut rng = Rng([1, 2, 3, 4]);
    let expected = [41943041, 58720359, 3588806011781223, 3591011842654386, 9228616714210784205];
    for expected in expected {
        assert_eq!(rng.next_u64(), expected);
    }
}

#[test]
fn numbers_stay_in_range_and_reach_its_ends() {
    let mut rng = Rng::new(1);
    let mut seen = [0u32; 5];
    for _ in 0..5000 {
        seen[usize::try_from(rng.below(5)).unwrap()] += 1;
        assert!((7..=9).contains(&rng.range(7..=9)));
    }
    assert!(seen.iter().all(|&count| (850..1150).contains(&count)), "{seen:?}");
    assert_eq!((rng.below(1), rng.range(4..=4)), (0, 4));
    rng.range(0..=u64::MAX);
    assert!((0..1000).all(|_| rng.chance(1000) && !rng.chance(0)));
    let hits = (0..10_000).filter(|_| rng.chance(100)).count();
    assert!((850..1150).contains(&hits), "{hits} of about 1000");
}

#[test]
fn a_fork_depends_on_seed_and_label_and_changes_nothing() {
    let parent = Rng::new(3);
    let before = parent.clone();
    let mut network = parent.fork("network");
    assert_eq!(parent, before);
    assert_eq!(network, parent.fork("network"));
    assert_ne!(network, parent.fork("disk"));
    assert_ne!(network, Rng::new(4).fork("network"));
    assert_ne!(network.next_u64(), parent.clone().next_u64());
}

#[test]
fn bytes_are_filled_to_the_last() {
    let mut rng = Rng::new(9);
    for length in 0..40 {
        let mut ever = [0u8; 40];
        for _ in 0..16 {
            let mut bytes = [0u8; 40];
            rng.fill_bytes(&mut bytes[..length]);
            assert!(bytes[length..].iter().all(|&b| b == 0));
            ever.iter_mut().zip(bytes).for_each(|(ever, byte)| *ever |= byte);
        }
        assert!(ever[..length].iter().all(|&b| b != 0), "{length}");
    }
}

#[test]
fn picking_and_shuffling_lose_nothing() {
    let mut rng = Rng::new(2);
    let mut items = [0, 1, 2, 3, 4, 5, 6, 7];
    rng.shuffle(&mut items);
    assert_ne!(items, [0, 1, 2, 3, 4, 5, 6, 7]);
    items.sort_unstable();
    assert_eq!(items, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(rng.pick(&items).is_some());
    assert_eq!(rng.pick::<u8>(&[]), None);
}
