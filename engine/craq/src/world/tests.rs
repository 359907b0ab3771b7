//! Hundreds of worlds, and worlds with a planted bug.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::println;
use std::vec::Vec;

use super::World;
use crate::planted::Bug;

/// Worlds without a bug; `CRAQ_WORLDS` asks for another number.
const WORLDS: u64 = 1000;

#[test]
fn worlds_hold() {
    let (mut served, mut acked) = (0, 0);
    let mut by = [(0, 0); 5];
    let worlds = std::env::var("CRAQ_WORLDS").map_or(WORLDS, |count| count.parse().unwrap());
    for seed in 0..worlds {
        let world = match catch_unwind(AssertUnwindSafe(|| World::run(seed, None, false))) {
            Ok(world) => world,
            Err(_) => panic!("seed {seed}"),
        };
        by[usize::try_from(seed % 5).unwrap()].0 += world.served;
        by[usize::try_from(seed % 5).unwrap()].1 += world.acked;
        served += world.served;
        acked += world.acked;
    }
    for (name, count) in engine_types::reached::marks() {
        println!("{count} {name}");
    }
    println!("{by:?} {served} reads, {acked} writes");
    assert!(1000 < served && 1000 < acked, "worlds are busy: {served} reads, {acked} writes");
}

fn first_found(bug: Bug, worlds: u64) -> Option<u64> {
    let fails = |seed: &u64| {
        catch_unwind(AssertUnwindSafe(|| World::run(*seed, Some(bug), false))).is_err()
    };
    (0..worlds).find(fails)
}

#[test]
fn planted_bugs_are_found() {
    all_found(Bug::ALL);
}

/// About ten seconds: `CRAQ_RARE=1 cargo test -p engine-craq rare`.
#[test]
fn rare_planted_bugs_are_found() {
    if std::env::var("CRAQ_RARE").is_ok() {
        all_found(Bug::RARE);
    }
}

fn all_found(bugs: &[(Bug, u64)]) {
    let mut missed = Vec::new();
    for (bug, worlds) in bugs {
        let found = first_found(*bug, *worlds);
        println!("{bug:?}: {found:?}");
        if found.is_none() {
            missed.push((bug, worlds));
        }
    }
    assert!(missed.is_empty(), "not found within these numbers of worlds: {missed:?}");
}

/// Prints the life of one world: `CRAQ_SEED=7 cargo test -p engine-craq one_world -- --nocapture`.
#[test]
fn one_world() {
    let Ok(seed) = std::env::var("CRAQ_SEED") else { return };
    World::run(seed.parse().unwrap(), None, true);
}
