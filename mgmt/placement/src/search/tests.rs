use alloc::vec;
use alloc::vec::Vec;

use engine_types::Rng;

use super::{Grid, Heat, Search};
use crate::quota::{chain_count, quotas};
use crate::shape::{Shape, below};
use crate::tests::random_topology;

/// Each chain on the first disks of as many domains, wherever they are.
fn dealt(shape: &Shape, loads: &[u32], replicas: usize) -> Grid {
    let mut disks: Vec<_> = (0..shape.disks.len()).collect();
    disks.sort_by_key(|&disk| shape.disks[disk].domain);
    let deal: Vec<_> = disks
        .iter()
        .flat_map(|&disk| (0..loads[disk]).map(move |_| u32::try_from(disk).unwrap()))
        .collect();
    let chains = deal.len() / replicas;
    let mut members = vec![0; deal.len()];
    for (at, &disk) in deal.iter().enumerate() {
        members[at % chains * replicas + at / chains] = disk;
    }
    Grid { replicas, members }
}

fn legal(shape: &Shape, grid: &Grid) -> bool {
    (0..grid.members.len()).all(|at| grid.admits(shape, at, grid.members[at]))
}

/// E307, E300: after every exchange, and after a search at any heat.
#[test]
fn counts_follow_the_arrangement() {
    let mut searched = 0;
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let topology = random_topology(&mut rng);
        let shape = Shape::new(&topology).unwrap();
        let replicas = 2 + below(&mut rng, 2);
        let chains = chain_count(&shape, replicas);
        if chains < 2 {
            continue;
        }
        let loads = quotas(&shape, chains, replicas, &vec![0; shape.disks.len()]);
        let mut search = Search::new(&shape, dealt(&shape, &loads, replicas), &loads);
        assert!(legal(&shape, &search.grid), "seed {seed}");
        let start = search.cost;
        for _ in 0..20 {
            let total = search.grid.members.len();
            let (p, q) = (below(&mut rng, total), below(&mut rng, total));
            if search.grid.exchangeable(&shape, p, q) {
                search.exchange(p, q);
                search.audit(&loads);
            }
        }
        search.restore(&dealt(&shape, &loads, replicas).members);
        assert_eq!(search.cost, start, "seed {seed}");
        search.run(&mut rng, 0, 2_000, Heat(300));
        search.audit(&loads);
        assert!(search.cost <= start, "seed {seed}: the best arrangement stays");
        assert!(legal(&shape, &search.grid), "seed {seed}");
        let mut used = vec![0; shape.disks.len()];
        for &disk in &search.grid.members {
            used[disk as usize] += 1;
        }
        assert_eq!(used, loads, "seed {seed}");
        searched += 1;
    }
    assert!(50 < searched, "{searched}");
}

#[test]
#[should_panic(expected = "E307")]
fn a_wrong_cost_is_noticed() {
    let shape = Shape::new(&crate::Topology::uniform(4, 1, 3)).unwrap();
    let loads = [3; 4];
    let mut search = Search::new(&shape, dealt(&shape, &loads, 3), &loads);
    search.cost += 1;
    search.audit(&loads);
}

#[test]
fn heat_falls_to_nothing() {
    let mut rng = Rng::new(1);
    assert!(Heat(0).accepts(0, &mut rng) && Heat(0).accepts(-3, &mut rng));
    assert!(!Heat(0).accepts(1, &mut rng));
    assert!(Heat(400).left(0, 100) == Heat(400) && Heat(400).left(50, 100) == Heat(100));
    assert!(Heat(400).left(100, 100) == Heat(0));
    let taken = (0..10_000).filter(|_| Heat(500).accepts(2, &mut rng)).count();
    assert!((2_200..2_800).contains(&taken), "a quarter: {taken}");
}
