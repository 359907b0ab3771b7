//! Hundreds of worlds, and worlds with a planted bug.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::println;
use std::vec::Vec;

use super::World;
use crate::planted::Bug;

/// Worlds without a bug.
const WORLDS: u64 = 400;

#[test]
fn worlds_hold() {
    let (mut served, mut acked) = (0, 0);
    for seed in 0..WORLDS {
        let world = match catch_unwind(AssertUnwindSafe(|| World::run(seed, None))) {
            Ok(world) => world,
            Err(_) => panic!("seed {seed}"),
        };
        served += world.served;
        acked += world.acked;
    }
    println!("{served} reads, {acked} writes");
    assert!(1000 < served && 1000 < acked, "worlds are busy: {served} reads, {acked} writes");
}

fn first_found(bug: Bug, worlds: u64) -> Option<u64> {
    let fails =
        |seed: &u64| catch_unwind(AssertUnwindSafe(|| World::run(*seed, Some(bug)))).is_err();
    (0..worlds).find(fails)
}

#[test]
fn planted_bugs_are_found() {
    let mut missed = Vec::new();
    for (bug, worlds) in Bug::ALL {
        let found = first_found(*bug, *worlds);
        println!("{bug:?}: {found:?}");
        if found.is_none() {
            missed.push((bug, worlds));
        }
    }
    assert!(missed.is_empty(), "not found within these numbers of worlds: {missed:?}");
}
