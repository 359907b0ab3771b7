use alloc::vec;
use alloc::vec::Vec;

use engine_types::Rng;

use super::{chain_count, quotas, room};
use crate::shape::Shape;
use crate::tests::{chains_possible, random_topology};
use crate::{Disk, Topology};

/// A cluster of one node for each list, with a disk for each number of slots.
fn shape(nodes: &[&[u16]]) -> Shape {
    let mut topology = Topology::uniform(u32::try_from(nodes.len()).unwrap(), 0, 0);
    for (node, disks) in topology.nodes.iter_mut().zip(nodes) {
        let disks = (0..).zip(disks.iter());
        node.disks = disks.map(|(index, &targets)| Disk { index, targets }).collect();
    }
    Shape::new(&topology).unwrap()
}

/// Slots of the disks of each node, replicas, chains expected, quotas expected.
type Row = (&'static [&'static [u16]], usize, usize, &'static [u32]);

#[test]
fn quotas_follow_slots_and_domains() {
    #[rustfmt::skip]
    let rows: [Row; 6] = [
        // slots                            replicas chains quotas
        (&[&[5], &[5], &[5], &[5]],         2,       10,    &[5, 5, 5, 5]),
        (&[&[5], &[5], &[5]],               2,       7,     &[5, 5, 4]),
        (&[&[6, 6], &[6], &[6]],            3,       6,     &[3, 3, 6, 6]), // one in each chain
        (&[&[9, 3], &[3], &[3]],            3,       3,     &[2, 1, 3, 3]),
        (&[&[4, 2], &[4, 2], &[4, 2]],      3,       6,     &[4, 2, 4, 2, 4, 2]),
        (&[&[100], &[1], &[1]],             2,       2,     &[2, 1, 1]),
    ];
    for (nodes, replicas, chains, expected) in rows {
        let shape = shape(nodes);
        assert_eq!(chain_count(&shape, replicas), chains, "{nodes:?}");
        let quotas = quotas(&shape, chains, replicas, &vec![0; shape.disks.len()]);
        assert_eq!(quotas, expected, "{nodes:?}");
    }
}

/// Half of the slots: who holds a target already keeps it.
#[test]
fn rounding_keeps_what_is_held() {
    let shape = shape(&[&[3, 3], &[3, 3], &[3, 3]]);
    let held = [1, 2, 2, 1, 1, 2];
    assert_eq!(quotas(&shape, 3, 3, &held), [1, 2, 2, 1, 1, 2]);
    let held = [3, 0, 0, 3, 3, 3];
    assert_eq!(quotas(&shape, 3, 3, &held), [2, 1, 1, 2, 2, 1]);
}

/// E305, for any number of chains that fits; both sums are asserted within.
#[test]
fn random_quotas_add_up() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let topology = random_topology(&mut rng);
        let shape = Shape::new(&topology).unwrap();
        let replicas = usize::try_from(rng.range(1..=5)).unwrap();
        let most = chain_count(&shape, replicas);
        assert_eq!(most, chains_possible(&topology, replicas), "seed {seed}");
        for chains in 0..=most {
            let held: Vec<_> =
                shape.disks.iter().map(|_| u32::try_from(rng.below(9)).unwrap()).collect();
            let quotas = quotas(&shape, chains, replicas, &held);
            let mut domains = vec![0; shape.domain_slots.len()];
            for (disk, quota) in shape.disks.iter().zip(quotas) {
                domains[disk.domain as usize] += quota as usize;
            }
            assert!(domains.iter().all(|&sum| sum <= chains), "E305: seed {seed}");
        }
    }
}

#[test]
#[should_panic(expected = "E305: 8 chains do not fit")]
fn too_many_chains_are_noticed() {
    let shape = shape(&[&[5], &[5], &[5]]);
    assert_eq!(room(&shape, 8), 15);
    quotas(&shape, 8, 2, &[0; 3]);
}
