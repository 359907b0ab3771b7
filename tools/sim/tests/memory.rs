//! What worlds leave behind in memory. A test of its own process: others would grow it meanwhile.

use tools_sim::scenario::Scenario;

/// Megabytes that this process holds.
fn resident_mb() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    (pages.expect("the second number counts pages") * 4096) >> 20
}

/// A world that a cycle of references keeps alive costs a megabyte or more: a search over many
/// seeds would end for lack of memory.
#[test]
fn a_world_leaves_no_memory_behind() {
    /// The largest of so many worlds is as large as any: the allocator keeps what it needed.
    const BEFORE: u64 = 20;
    const WORLDS: u64 = 200;
    const GROWTH_MB_MAX: u64 = 64;
    /// Worlds of a dozen processes take half a second each, and hold some ten megabytes.
    const LARGE: [&str; 3] = ["manager", "takeover", "storage"];
    const LARGE_COUNTS: (u64, u64) = (8, 20);
    for scenario in Scenario::all() {
        let is_large = LARGE.contains(&scenario.name);
        let (first, worlds) = if is_large { LARGE_COUNTS } else { (BEFORE, WORLDS) };
        (0..first).for_each(|seed| drop(scenario.run(seed)));
        let before = resident_mb();
        (first..first + worlds).for_each(|seed| drop(scenario.run(seed)));
        let grown = resident_mb().saturating_sub(before);
        assert!(grown < GROWTH_MB_MAX, "{}: {worlds} worlds leave {grown} MB", scenario.name);
    }
}
