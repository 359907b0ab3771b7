use alloc::vec;
use alloc::vec::Vec;

use engine_types::Rng;

use super::positions;
use crate::search::Grid;
use crate::shape::below;

/// E306, on chains whose members may repeat disks of other chains in any number.
#[test]
fn any_chains_can_be_put_in_order() {
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let replicas = 1 + below(&mut rng, 5);
        let disks = replicas + below(&mut rng, 12);
        let chains = below(&mut rng, 60);
        let mut members = Vec::new();
        for _ in 0..chains {
            let mut all: Vec<_> = (0..u32::try_from(disks).unwrap()).collect();
            if rng.chance(700) {
                rng.shuffle(&mut all);
            }
            members.extend_from_slice(&all[..replicas]);
        }
        let grid = Grid { replicas, members };
        let mut counts = vec![vec![0usize; replicas]; disks];
        let found = positions(&grid, disks);
        for (row, positions) in found.chunks(replicas).enumerate() {
            let mut sorted = positions.to_vec();
            sorted.sort_unstable();
            assert!((0..).zip(sorted).all(|(a, b)| a == b), "seed {seed}: each member once");
            for (at, &position) in positions.iter().enumerate() {
                let disk = grid.members[row * replicas + position as usize];
                counts[disk as usize][at] += 1;
            }
        }
        for counts in counts {
            let total: usize = counts.iter().sum();
            let range = total / replicas..=total.div_ceil(replicas);
            assert!(counts.iter().all(|count| range.contains(count)), "seed {seed}: {counts:?}");
        }
    }
}

#[test]
fn what_is_even_keeps_its_order() {
    // Two disks in turn, and a cyclic family of seven.
    let rows = [
        (2, 2, vec![0, 1, 1, 0, 0, 1, 1, 0]),
        (3, 7, (0..7).flat_map(|s| [s, (s + 1) % 7, (s + 3) % 7]).collect()),
    ];
    for (replicas, disks, members) in rows {
        let kept: Vec<_> =
            (0..members.len()).map(|at| u32::try_from(at % replicas).unwrap()).collect();
        assert_eq!(positions(&Grid { replicas, members }, disks), kept);
    }
}
