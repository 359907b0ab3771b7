//! Whole tables: what the solver promises, for named clusters and random ones.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use std::eprintln;

use engine_types::limits::{CHAIN_MEMBERS_MAX, CHAINS_MAX, NODES_MAX, TARGETS_MAX};
use engine_types::{NodeId, Rng, TargetId};

use crate::{
    DISKS_PER_NODE_MAX, Disk, Node, Report, Seat, Share, SolveError, Spread, TARGETS_PER_DISK_MAX,
    Table, Topology, TopologyError, solve, verify,
};

/// A small cluster of any form: also nodes without disks, disks without slots, shared domains.
pub(crate) fn random_topology(rng: &mut Rng) -> Topology {
    let (alike, racks) = (rng.chance(300), rng.chance(300));
    let (count, disks, targets) = (rng.range(1..=10), rng.range(1..=4), rng.range(1..=7));
    let node = |id: u64| {
        let rack = rng.below(5);
        let disk = |index: u64| {
            let targets = if alike { targets } else { rng.below(8) };
            Disk { index: u16::try_from(index * 3).unwrap(), targets: targets.try_into().unwrap() }
        };
        let disks = if alike { disks } else { disks + id % 3 };
        let mut disks: Vec<_> = (0..disks).map(disk).collect();
        rng.shuffle(&mut disks);
        let domain = racks.then(|| format!("rack-{rack}"));
        Node { id: NodeId::new(u32::try_from(id * 7).unwrap()), domain, disks }
    };
    Topology { nodes: (0..count).map(node).collect() }
}

/// Chains that the slots of each domain allow, counted one by one.
pub(crate) fn chains_possible(topology: &Topology, replicas: usize) -> usize {
    let mut domains: BTreeMap<String, usize> = BTreeMap::new();
    for node in &topology.nodes {
        let name = node.domain.clone().unwrap_or_else(|| format!("{}", node.id));
        let slots = node.disks.iter().map(|disk| usize::from(disk.targets)).sum::<usize>();
        *domains.entry(name).or_insert(0) += slots;
    }
    let fits = |chains: &usize| {
        replicas * chains <= domains.values().map(|slots| slots.min(chains)).sum::<usize>()
    };
    (1..).take_while(fits).last().unwrap_or(0)
}

/// Chains that each pair of disks shares.
fn pairs(table: &Table) -> BTreeMap<[(NodeId, u16); 2], u32> {
    let mut pairs = BTreeMap::new();
    for chain in &table.chains {
        for a in &chain.members {
            for b in chain.members.iter().filter(|&b| b != a) {
                *pairs.entry([(a.node, a.disk), (b.node, b.disk)]).or_insert(0) += 1;
            }
        }
    }
    pairs
}

/// E306, for every position.
fn check_positions(table: &Table, name: &str) {
    let mut positions: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for chain in &table.chains {
        for (at, seat) in chain.members.iter().enumerate() {
            let counts = positions.entry((seat.node, seat.disk)).or_insert(vec![0; table.replicas]);
            counts[at] += 1;
        }
    }
    for (disk, counts) in positions {
        let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
        assert!(spread <= 1, "E306: {name}: {disk:?} {counts:?}");
    }
}

pub(crate) fn print(name: &str, report: &Report) {
    let text = |spread: Option<Spread>| {
        let text = |s: Share| format!("{}/{} bound {}", s.parts, s.slots, s.bound);
        spread.map_or(String::new(), |s| format!("{} ({})", text(s.worst), text(s.farthest)))
    };
    eprintln!(
        "{name}: {} chains; disk: {} on a disk, {} on a node; node: {} on a disk, {} on a node",
        report.chains,
        text(report.disk_on_disk),
        text(report.disk_on_node),
        text(report.node_on_disk),
        text(report.node_on_node),
    );
}

fn spreads(report: &Report) -> [Spread; 4] {
    let all = [report.disk_on_disk, report.disk_on_node, report.node_on_disk, report.node_on_node];
    all.map(Option::unwrap)
}

/// The example of 3FS's design notes: the (6, 3, 2) design.
#[test]
fn six_disks_share_reads_in_fifths() {
    let topology = Topology::uniform(6, 1, 5);
    for seed in 0..50 {
        let solution = solve(&topology, 3, seed).unwrap();
        verify(&topology, &solution.table).unwrap();
        assert_eq!(solution.table.chains.len(), 10);
        let pairs = pairs(&solution.table);
        assert_eq!(pairs.len(), 30, "every disk meets every other");
        assert!(pairs.values().all(|&count| count == 2), "seed {seed}: {pairs:?}");
        for spread in spreads(&solution.report) {
            assert_eq!((spread.worst.parts, spread.worst.slots), (2, 10));
            assert!((spread.worst.share() - 0.2).abs() < 1e-9, "a fifth");
            assert_eq!(spread.worst.share().to_bits(), spread.worst.bound_share().to_bits());
        }
    }
}

/// Classical designs, and clusters as they are bought: at the bound for every kind of loss.
#[test]
fn clusters_of_equal_nodes_are_at_their_bound() {
    #[rustfmt::skip]
    let rows = [
        // nodes disks targets replicas
        (3,      4,     6,      3),
        (4,      1,     3,      3), // every triple of four
        (5,      5,     6,      3),
        (5,      5,     12,     3),
        (5,      16,    6,      3),
        (6,      1,     10,     3), // two (6, 3, 2) designs
        (7,      1,     3,      3), // Fano plane
        (9,      1,     4,      3), // affine plane of order 3
        (13,     1,     4,      4), // projective plane of order 3
        (8,      2,     6,      2),
        (10,     16,    6,      3),
        (20,     10,    20,     5),
        (180,    16,    6,      3),
        (180,    16,    32,     3),
        (1_000,  16,    6,      3),
        (1_000,  16,    32,     3),
    ];
    for (nodes, disks, targets, replicas) in rows {
        let name = format!("{nodes} x {disks} x {targets}, {replicas} replicas");
        let topology = Topology::uniform(nodes, disks, targets);
        let solution = solve(&topology, replicas, 1).unwrap();
        print(&name, &solution.report);
        verify(&topology, &solution.table).unwrap();
        check_positions(&solution.table, &name);
        let slots = u64::from(nodes) * u64::from(disks) * u64::from(targets);
        let unused = solution.report.unused;
        assert_eq!((unused.by_domain, unused.by_count as u64), (0, slots % replicas as u64));
        for spread in spreads(&solution.report) {
            // 110 % is asked for; integers below ten leave nothing between that and the bound.
            assert!(spread.worst.is_within(100), "{name}: {spread:?}");
            assert!(spread.farthest.is_within(100), "{name}: {spread:?}");
        }
    }
}

/// Racks of four nodes each, and nodes that mix large and small disks: still families.
#[test]
fn racks_and_mixed_disks_are_within_their_bound() {
    let mut racks = Topology::uniform(24, 6, 8);
    for (at, node) in racks.nodes.iter_mut().enumerate() {
        node.domain = Some(format!("rack-{}", at % 6));
    }
    let solution = solve(&racks, 3, 1).unwrap();
    print("6 racks x 4 x 6 x 8", &solution.report);
    verify(&racks, &solution.table).unwrap();
    for spread in spreads(&solution.report) {
        assert!(spread.farthest.is_within(100), "{spread:?}");
    }
    let mut mixed = Topology::uniform(30, 4, 6);
    for node in &mut mixed.nodes {
        node.disks[1].targets = 12;
    }
    let solution = solve(&mixed, 3, 1).unwrap();
    print("30 x (3 x 6 + 12)", &solution.report);
    verify(&mixed, &solution.table).unwrap();
    assert!(solution.report.disk_on_disk.unwrap().farthest.is_within(100));
    assert!(solution.report.node_on_node.unwrap().farthest.is_within(110));
}

/// Nodes of 10, 11 and 12 disks: no node can be at a bound that ignores its peers' sizes, disks
/// are.
#[test]
fn unequal_nodes_come_close_to_their_bound() {
    let mut topology = Topology::uniform(50, 12, 8);
    for (at, node) in topology.nodes.iter_mut().enumerate() {
        node.disks.truncate(12 - at % 3);
    }
    let solution = solve(&topology, 3, 1).unwrap();
    print("50 x (10 to 12) x 8", &solution.report);
    verify(&topology, &solution.table).unwrap();
    let report = solution.report;
    for spread in [report.disk_on_disk, report.disk_on_node, report.node_on_disk] {
        assert!(spread.unwrap().farthest.is_within(100), "{spread:?}");
    }
    let nodes = report.node_on_node.unwrap().farthest;
    assert!(nodes.parts <= nodes.bound + 1, "{nodes:?}");
}

#[test]
fn random_topologies_keep_the_invariants() {
    let mut solved = 0;
    for seed in 0..250 {
        let mut rng = Rng::new(seed);
        let topology = random_topology(&mut rng);
        let replicas = usize::try_from(rng.range(1..=5)).unwrap();
        let name = format!("seed {seed}, {replicas} replicas of {topology:?}");
        let chains = chains_possible(&topology, replicas);
        match solve(&topology, replicas, seed) {
            Ok(solution) => {
                verify(&topology, &solution.table).expect(&name);
                check_positions(&solution.table, &name);
                let report = &solution.report;
                assert_eq!(solution.table.chains.len(), chains, "{name}");
                assert_eq!((report.heads.imbalance, report.tails.imbalance), (0, 0), "{name}");
                let slots = topology.nodes.iter().flat_map(|node| &node.disks);
                let slots: usize = slots.map(|disk| usize::from(disk.targets)).sum();
                let unused = report.unused;
                assert_eq!(report.used + unused.by_domain + unused.by_count, slots, "{name}");
                assert!(unused.by_count < replicas, "{name}: {unused:?}");
                solved += 1;
            }
            Err(SolveError::TooFewDomains { found, expected }) => {
                assert!(found < expected && expected == replicas && chains == 0, "{name}");
            }
            Err(why) => panic!("{name}: {why}"),
        }
    }
    assert!(120 < solved, "most can be solved: {solved}");
}

/// E304.
#[test]
fn the_seed_decides_and_the_order_of_nodes_does_not() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut topology = random_topology(&mut rng);
        let first = solve(&topology, 2, seed);
        rng.shuffle(&mut topology.nodes);
        for node in &mut topology.nodes {
            rng.shuffle(&mut node.disks);
        }
        assert_eq!(first, solve(&topology, 2, seed), "seed {seed}");
    }
    let topology = Topology::uniform(9, 4, 6);
    let tables: BTreeSet<_> = (0..10)
        .map(|seed| {
            let table = solve(&topology, 3, seed).unwrap().table;
            table.chains.into_iter().flat_map(|chain| chain.members).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(tables.len(), 10);
}

#[test]
fn a_single_replica_makes_a_chain_of_each_slot() {
    let topology = Topology::uniform(2, 3, 4);
    let solution = solve(&topology, 1, 1).unwrap();
    assert_eq!(solution.table.chains.len(), 24);
    assert_eq!(solution.report.disk_on_disk, None, "nobody takes over");
}

/// What base blocks leave over comes from the disks that have most: 3 and 1 slots of each node, of
/// which five replicas leave 4, and none of them twice.
#[test]
fn small_nodes_of_unequal_disks() {
    for (large, small, replicas) in [(3, 1, 5), (2, 1, 4), (1, 1, 5), (7, 2, 5), (4, 3, 4)] {
        let mut topology = Topology::uniform(7, 2, large);
        for node in &mut topology.nodes {
            node.disks[1].targets = small;
        }
        let solution = solve(&topology, replicas, 1).unwrap();
        verify(&topology, &solution.table).unwrap();
        let slots = 7 * usize::from(large + small);
        assert_eq!(solution.table.chains.len(), slots / replicas, "{large} + {small}");
    }
}

#[test]
fn an_oversized_domain_leaves_slots_unused() {
    let mut topology = Topology::uniform(4, 2, 5);
    topology.nodes[0].disks = (0..8).map(|index| Disk { index, targets: 10 }).collect();
    let solution = solve(&topology, 3, 1).unwrap();
    verify(&topology, &solution.table).unwrap();
    // 30 slots elsewhere are two members each of 15 chains; the third is always on the large node.
    assert_eq!(solution.table.chains.len(), 15);
    assert_eq!((solution.report.unused.by_domain, solution.report.unused.by_count), (65, 0));
    let large = |chain: &crate::Chain| chain.members.iter().any(|seat| seat.node.get() == 1);
    assert!(solution.table.chains.iter().all(large));
}

#[test]
fn impossible_inputs_are_refused_with_both_values() {
    let refused = |topology: &Topology, replicas| solve(topology, replicas, 1).unwrap_err();
    let plain = Topology::uniform(2, 2, 5);
    let few = SolveError::TooFewDomains { found: 2, expected: 3 };
    assert_eq!(refused(&plain, 3), few);
    let none = SolveError::TooFewDomains { found: 0, expected: 1 };
    assert_eq!(refused(&Topology::default(), 1), none);
    for found in [0, CHAIN_MEMBERS_MAX + 1] {
        let limit = CHAIN_MEMBERS_MAX;
        assert_eq!(refused(&plain, found), SolveError::Replicas { found, limit });
    }
    let chains = u32::try_from(CHAINS_MAX).unwrap();
    let many = Topology::uniform(chains / 1_024 + 1, 1, 1_024);
    let (found, limit) = (CHAINS_MAX + 1_024, CHAINS_MAX);
    assert_eq!(refused(&many, 1), SolveError::TooManyChains { found, limit });
    assert_eq!(format!("{few}"), "2 failure domains have disks, 3 replicas need as many");
}

#[test]
fn contradictory_topologies_are_refused() {
    use TopologyError as E;
    let refused = |change: &dyn Fn(&mut Topology)| {
        let mut topology = Topology::uniform(3, 2, 5);
        change(&mut topology);
        match solve(&topology, 3, 1) {
            Err(SolveError::Topology(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    let node = NodeId::new(1);
    let twice = refused(&|t| t.nodes[2].id = NodeId::new(1));
    assert_eq!(twice, E::NodeTwice { node });
    let twice = refused(&|t| t.nodes[0].disks[1].index = 0);
    assert_eq!(twice, E::DiskTwice { node, disk: 0 });
    let (found, limit) = (DISKS_PER_NODE_MAX + 1, DISKS_PER_NODE_MAX);
    let disk = Disk { index: 0, targets: 1 };
    let many = refused(&|t| t.nodes[0].disks = vec![disk; found]);
    assert_eq!(many, E::TooManyDisks { node, found, limit });
    let (found, limit) = (TARGETS_PER_DISK_MAX + 1, TARGETS_PER_DISK_MAX);
    let many = refused(&|t| t.nodes[0].disks[1].targets = found);
    assert_eq!(many, E::TooManyTargetsOfDisk { node, disk: 1, found, limit });
    let (found, limit) = (NODES_MAX + 1, NODES_MAX);
    let many = refused(&|t| *t = Topology::uniform(u32::try_from(found).unwrap(), 1, 1));
    assert_eq!(many, E::TooManyNodes { found, limit });
    let per_node = 1_024 * usize::from(TARGETS_PER_DISK_MAX);
    let nodes = TARGETS_MAX / per_node + 1;
    let nodes_raw = u32::try_from(nodes).unwrap();
    let many = refused(&|t| *t = Topology::uniform(nodes_raw, 1_024, TARGETS_PER_DISK_MAX));
    assert_eq!(many, E::TooManyTargets { found: nodes * per_node, limit: TARGETS_MAX });
}

#[test]
fn a_target_id_names_its_seat() {
    let seat = Seat { node: NodeId::new(0x0102_0304), disk: 0x0506, slot: 0x0708 };
    assert_eq!(seat.target(), TargetId::new(0x0102_0304_0506_0708));
    assert_eq!(Seat::of_target(seat.target()), seat);
    let last = Seat { node: NodeId::new(u32::MAX), disk: u16::MAX, slot: u16::MAX };
    assert_eq!(Seat::of_target(last.target()), last);
}
