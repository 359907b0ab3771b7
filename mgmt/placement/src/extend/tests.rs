use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use engine_types::{ChainId, NodeId, Rng};

use super::{ExtendError, Plan, extend};
use crate::tests::{chains_possible, print, random_topology};
use crate::{Disk, Seat, SolveError, Table, Topology, solve, verify};

/// Executes a plan on a table. Before each step its place is free and within the slots of the new
/// topology, and no other member of the chain is in that failure domain (E300, E308).
fn replay(table: &Table, topology: &Topology, plan: &Plan, name: &str) {
    let mut domains: BTreeMap<NodeId, String> = BTreeMap::new();
    let mut slots: BTreeMap<(NodeId, u16), u16> = BTreeMap::new();
    for node in &topology.nodes {
        domains.insert(node.id, node.domain.clone().unwrap_or_else(|| node.id.to_string()));
        slots.extend(node.disks.iter().map(|disk| ((node.id, disk.index), disk.targets)));
    }
    let members = |chain: &crate::Chain| (chain.id, chain.members.iter().copied().collect());
    let mut chains: BTreeMap<ChainId, BTreeSet<Seat>> = table.chains.iter().map(members).collect();
    let mut taken: BTreeSet<Seat> = chains.values().flatten().copied().collect();
    for step in &plan.steps {
        let chain = chains.get_mut(&step.chain).expect(name);
        assert!(chain.remove(&step.from), "E308: {name}: {step:?} moves a member");
        assert!(taken.insert(step.to), "E308: {name}: {step:?} finds its slot free");
        assert!(taken.remove(&step.from));
        assert!(step.to.slot < slots[&(step.to.node, step.to.disk)], "E302: {name}: {step:?}");
        let domain = |seat: &Seat| domains.get(&seat.node);
        let clash = chain.iter().any(|other| domain(other) == domain(&step.to));
        assert!(!clash, "E300: {name}: {step:?} joins {chain:?}");
        chain.insert(step.to);
    }
    let after: BTreeMap<_, _> = plan.table.chains.iter().map(members).collect();
    assert_eq!(chains, after, "{name}: the steps lead to the table");
    verify(topology, &plan.table).expect(name);
    assert_eq!((plan.after.heads.imbalance, plan.after.tails.imbalance), (0, 0), "{name}");
}

fn members(table: &Table) -> usize {
    table.chains.len() * table.replicas
}

#[test]
fn a_sixth_node_takes_a_sixth() {
    for (disks, targets) in [(5, 6), (5, 12), (16, 6), (1, 6), (4, 5)] {
        for seed in 0..4 {
            let name = format!("5 to 6 nodes of {disks} x {targets}, seed {seed}");
            let table = solve(&Topology::uniform(5, disks, targets), 3, seed).unwrap().table;
            let grown = Topology::uniform(6, disks, targets);
            let plan = extend(&table, &grown, seed).unwrap();
            replay(&table, &grown, &plan, &name);
            print(&format!("{name}, {} moves", plan.steps.len()), &plan.after);
            let sixth = members(&table) / 6;
            assert!(sixth <= plan.steps.len(), "{name}");
            assert!(plan.steps.len() * 10 <= members(&table) * 12 / 6, "{name}: {plan:?}");
            let load = |id| {
                let seats = plan.table.chains.iter().flat_map(|chain| &chain.members);
                seats.filter(|seat| seat.node.get() == id).count()
            };
            assert!((1..=6).all(|id| load(id).abs_diff(sixth) <= 1), "{name}: even loads");
            let disk = plan.after.disk_on_disk.unwrap().farthest;
            let node = plan.after.node_on_node.unwrap().farthest;
            assert!(disk.parts <= disk.bound + 1, "{name}: {disk:?}");
            assert!(node.parts <= node.bound + 1, "{name}: {node:?}");
        }
    }
}

/// The table that a fresh cluster of six would have is at the bound; so is one that has grown.
#[test]
fn a_grown_cluster_is_at_its_bound() {
    let table = solve(&Topology::uniform(5, 5, 6), 3, 1).unwrap().table;
    let plan = extend(&table, &Topology::uniform(6, 5, 6), 1).unwrap();
    let node = plan.before.node_on_node.unwrap().worst;
    assert_eq!((node.parts, node.slots, node.bound), (15, 60, 12), "the new node is empty yet");
    let node = plan.after.node_on_node.unwrap().worst;
    assert_eq!((node.parts, node.slots, node.bound), (10, 50, 10));
    let disk = plan.after.disk_on_disk.unwrap().worst;
    assert_eq!((disk.parts, disk.slots, disk.bound), (1, 10, 1));
}

#[test]
fn large_clusters_grow_and_shrink() {
    for targets in [6, 32] {
        let (small, large) =
            (Topology::uniform(180, 16, targets), Topology::uniform(181, 16, targets));
        let table = solve(&small, 3, 1).unwrap().table;
        let plan = extend(&table, &large, 1).unwrap();
        replay(&table, &large, &plan, "180 to 181 nodes");
        print(
            &format!("180 to 181 nodes of 16 x {targets}, {} moves", plan.steps.len()),
            &plan.after,
        );
        assert!(plan.steps.len() * 181 * 10 <= members(&table) * 12);
        assert!(plan.after.disk_on_disk.unwrap().farthest.is_within(110));
        assert!(plan.after.node_on_node.unwrap().farthest.is_within(110));
        let back = extend(&plan.table, &small, 1).unwrap();
        replay(&plan.table, &small, &back, "181 to 180 nodes");
        print(
            &format!("181 to 180 nodes of 16 x {targets}, {} moves", back.steps.len()),
            &back.after,
        );
        // Every slot is needed again, and nothing but the removed node's targets may move: close.
        let node = back.after.node_on_node.unwrap().farthest;
        assert!(node.parts <= node.bound + 1, "{node:?}");
    }
}

/// Nodes come, go, lose disks and change racks at once.
#[test]
fn random_changes_are_planned_safely() {
    let mut counts = BTreeMap::new();
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let topology = random_topology(&mut rng);
        let replicas = usize::try_from(rng.range(1..=4)).unwrap();
        let Ok(solution) = solve(&topology, replicas, seed) else { continue };
        let mut table = solution.table;
        // Not every table is full.
        let chains = table.chains.len();
        table.chains.truncate(chains - chains * usize::try_from(rng.below(3)).unwrap() / 4);
        let mut changed = topology.clone();
        for node in &mut changed.nodes {
            if rng.chance(100) {
                node.domain = Some(format!("rack-{}", rng.below(5)));
            }
            for disk in &mut node.disks {
                if rng.chance(100) {
                    disk.targets = u16::try_from(rng.below(12)).unwrap();
                }
            }
        }
        changed.nodes.retain(|_| rng.chance(900));
        for node in random_topology(&mut rng).nodes.iter_mut().skip(5) {
            node.id = NodeId::new(node.id.get() + 1_000);
            changed.nodes.push(node.clone());
        }
        let name = format!("seed {seed}, {replicas} replicas of {topology:?} to {changed:?}");
        let room = chains_possible(&changed, replicas);
        let outcome = match extend(&table, &changed, seed) {
            Ok(plan) => {
                replay(&table, &changed, &plan, &name);
                assert_eq!(extend(&table, &changed, seed), Ok(plan), "E304: {name}");
                "planned"
            }
            Err(ExtendError::NoRoom { chains, needed, room: found }) => {
                assert!(room < chains && found < needed, "{name}");
                "no room"
            }
            Err(ExtendError::Solve(SolveError::TooFewDomains { .. })) => "too few domains",
            Err(ExtendError::Stuck { .. }) => "stuck",
            Err(why) => panic!("{name}: {why}"),
        };
        *counts.entry(outcome).or_insert(0) += 1;
    }
    std::eprintln!("{counts:?}");
    assert!(100 < counts["planned"], "{counts:?}");
    let stuck = counts.get("stuck").copied().unwrap_or(0);
    assert!(stuck * 20 < counts["planned"], "{counts:?}");
}

/// Three nodes become four: each chain can take one member on the new node, so which disk gives it
/// is decided chain by chain.
#[test]
fn the_fourth_node_of_three() {
    for seed in 0..20 {
        let table = solve(&Topology::uniform(3, 4, 6), 3, seed).unwrap().table;
        let grown = Topology::uniform(4, 4, 6);
        let plan = extend(&table, &grown, seed).unwrap();
        replay(&table, &grown, &plan, "3 to 4 nodes");
        assert!(plan.after.node_on_node.unwrap().worst.is_within(110), "{:?}", plan.after);
        let back = extend(&plan.table, &Topology::uniform(3, 4, 6), seed).unwrap();
        replay(&plan.table, &Topology::uniform(3, 4, 6), &back, "4 to 3 nodes");
    }
}

#[test]
fn nothing_to_do_is_an_empty_plan() {
    let topology = Topology::uniform(6, 3, 6);
    let solution = solve(&topology, 3, 1).unwrap();
    let plan = extend(&solution.table, &topology, 5).unwrap();
    assert_eq!((plan.steps.len(), &plan.table), (0, &solution.table));
    assert_eq!((&plan.before, &plan.after), (&solution.report, &solution.report));
}

/// A disk without slots is emptied, and no other target moves.
#[test]
fn a_disk_is_drained() {
    let topology = Topology::uniform(6, 4, 6);
    let mut table = solve(&topology, 3, 1).unwrap().table;
    table.chains.truncate(40);
    let even = extend(&table, &topology, 1).unwrap().table;
    let mut drained = topology;
    drained.nodes[2].disks[1] = Disk { index: 1, targets: 0 };
    let plan = extend(&even, &drained, 1).unwrap();
    replay(&even, &drained, &plan, "a drained disk");
    let leaves = |seat: &&Seat| seat.node == NodeId::new(3) && seat.disk == 1;
    let on_disk = even.chains.iter().flat_map(|chain| &chain.members).filter(leaves).count();
    let moved: Vec<_> = plan.steps.iter().filter(|step| leaves(&&step.from)).collect();
    assert!(0 < on_disk && moved.len() == on_disk, "{plan:?}");
}

#[test]
fn what_cannot_be_planned_is_refused() {
    let topology = Topology::uniform(5, 2, 6);
    let table = solve(&topology, 3, 1).unwrap().table;
    let first = ChainId::new(1).unwrap();
    let refused = |topology: &Topology, change: &dyn Fn(&mut Table)| {
        let mut table = table.clone();
        change(&mut table);
        extend(&table, topology, 1).unwrap_err()
    };
    let room = ExtendError::NoRoom { chains: 20, needed: 60, room: 48 };
    assert_eq!(refused(&Topology::uniform(4, 2, 6), &|_| ()), room);
    let few = ExtendError::Solve(SolveError::TooFewDomains { found: 2, expected: 3 });
    assert_eq!(refused(&Topology::uniform(2, 99, 99), &|_| ()), few);
    let short = ExtendError::Members { chain: first, found: 2, expected: 3 };
    assert_eq!(refused(&topology, &|t| t.chains[0].members.truncate(2)), short);
    let twice = refused(&topology, &|t| t.chains[4].id = first);
    assert_eq!(twice, ExtendError::ChainTwice { chain: first });
    let target = table.chains[0].members[0].target();
    let twice = refused(&topology, &|t| t.chains[1].members[2] = t.chains[0].members[0]);
    assert_eq!(twice, ExtendError::SlotTwice { target, chain: ChainId::new(2).unwrap() });
}
