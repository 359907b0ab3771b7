use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use engine_types::{NodeId, Rng};

use super::{Positions, Share, Spread, report};
use crate::search::Grid;
use crate::shape::Shape;
use crate::tests::random_topology;
use crate::{Table, Topology, solve};

type Failed = (NodeId, Option<u16>);

/// The largest share of each kind, counted from the table as it is told in the module header of the
/// crate: for each failed disk or node, which peers its reads go to.
fn naive(topology: &Topology, table: &Table) -> [Option<(u64, u64)>; 4] {
    let domain = |id: NodeId| -> String {
        let node = topology.nodes.iter().find(|node| node.id == id).unwrap();
        node.domain.clone().unwrap_or_else(|| id.to_string())
    };
    let mut parts: [BTreeMap<Failed, BTreeMap<Failed, u64>>; 4] = Default::default();
    for chain in &table.chains {
        for a in &chain.members {
            for b in chain.members.iter().filter(|&b| b != a) {
                assert_ne!(domain(a.node), domain(b.node));
                let (a_disk, b_disk) = ((a.node, Some(a.disk)), (b.node, Some(b.disk)));
                let (a_node, b_node) = ((a.node, None), (b.node, None));
                let kinds =
                    [(a_disk, b_disk), (a_disk, b_node), (a_node, b_disk), (a_node, b_node)];
                for (parts, (failed, peer)) in parts.iter_mut().zip(kinds) {
                    *parts.entry(failed).or_default().entry(peer).or_insert(0) += 1;
                }
            }
        }
    }
    parts.map(|parts| {
        let worst = |peers: &BTreeMap<Failed, u64>| {
            (*peers.values().max().unwrap(), peers.values().sum::<u64>())
        };
        parts.values().map(worst).max_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1)))
    })
}

#[test]
fn shares_are_those_counted_naively() {
    for seed in 0..200 {
        let topology = random_topology(&mut Rng::new(seed));
        let Ok(solution) = solve(&topology, 3, seed) else { continue };
        let report = solution.report;
        let spreads =
            [report.disk_on_disk, report.disk_on_node, report.node_on_disk, report.node_on_node];
        for (spread, expected) in spreads.into_iter().zip(naive(&topology, &solution.table)) {
            let share = spread.map(|spread| spread.worst);
            let fraction = share.map(|s| (u64::from(s.parts), u64::from(s.slots)));
            let equal = |(a, b): ((u64, u64), (u64, u64))| a.0 * b.1 == b.0 * a.1;
            assert_eq!(fraction.is_some(), expected.is_some(), "seed {seed}");
            assert!(
                fraction.zip(expected).is_none_or(equal),
                "seed {seed}: {share:?} {expected:?}"
            );
            let bound = |s: Share| s.bound == s.slots.div_ceil(s.peers) && s.bound <= s.parts;
            assert!(share.is_none_or(bound), "seed {seed}: {share:?}");
        }
    }
}

/// Four disks, of which two always meet: the report must show what is bad about it.
#[test]
fn a_bad_arrangement_is_seen() {
    let shape = Shape::new(&Topology::uniform(4, 1, 3)).unwrap();
    let members = [0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3].to_vec();
    let report = report(&shape, &Grid { replicas: 2, members });
    let share = |spread: Option<Spread>| {
        let share: Share = spread.unwrap().worst;
        (share.parts, share.slots, share.peers, share.bound)
    };
    assert_eq!(share(report.disk_on_disk), (3, 3, 3, 1));
    assert_eq!(share(report.node_on_node), (3, 3, 3, 1));
    assert!(!report.disk_on_disk.unwrap().worst.is_within(299));
    assert!(report.disk_on_disk.unwrap().worst.is_within(300));
    assert_eq!(report.heads, Positions { min: 0, max: 3, imbalance: 1 });
    assert_eq!(report.tails, Positions { min: 0, max: 3, imbalance: 1 });
}

/// The largest share and the one farthest above its bound need not be the same.
#[test]
fn a_small_disk_does_not_hide_a_bad_one() {
    let share = |slots, parts, bound| {
        let node = NodeId::new(slots);
        Share { node, disk: None, slots, peers: 1, parts, bound }
    };
    let shares: Vec<_> = [share(2, 1, 1), share(30, 4, 1), share(20, 3, 1)].to_vec();
    let mut spread = None;
    for share in shares {
        Spread::join(&mut spread, share);
    }
    let spread = spread.unwrap();
    assert_eq!((spread.worst.slots, spread.farthest.slots), (2, 30));
}
