//! Times of takeovers over several worlds, each within its bound.
//!
//! `cargo test` runs a handful of seeds; the campaign `takeover` says by `EMBERFS_SIM_SEEDS` how
//! many are enough, and prints how the times are distributed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tools_sim::scenarios::takeover::{measure, table};
use tools_sim::{seeds, sweep};

/// Seeds that `cargo test` runs.
const SEEDS: u64 = 6;

#[test]
fn times_keep_their_bounds() {
    let chosen = seeds::chosen(SEEDS);
    let next = AtomicU64::new(*chosen.start());
    let found = Mutex::new((Vec::new(), Vec::new()));
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if !chosen.contains(&seed) {
            return;
        }
        let (times, played) = measure(seed);
        let mut found = found.lock().expect("no world has panicked");
        match played.verdict {
            Ok(()) => found.0.push(times),
            Err(failure) => {
                found.0.push(times);
                let replay = format!("cargo x sim --seed {seed} --scenario takeover");
                found.1.push(format!("{failure}\n  {replay}"));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..sweep::threads() {
            scope.spawn(work);
        }
    });
    let (times, failures) = found.into_inner().expect("no world has panicked");
    for (far, name) in [(false, "5 ms"), (true, "200 ms")] {
        let times: Vec<_> = times.iter().filter(|times| times.far == far).copied().collect();
        let worlds = times.len();
        println!("{worlds} worlds, messages to managers take up to {name}\n{}", table(&times));
    }
    assert!(failures.is_empty(), "{} worlds failed:\n{}", failures.len(), failures.join("\n"));
}
