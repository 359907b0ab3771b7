//! What takeovers took, and how that is printed.

use core::fmt::Write as _;
use core::time::Duration;

/// What one world took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Messages between nodes and managers take up to 200 ms, not 5 ms.
    pub far: bool,
    /// From the death of a node until every follower shows its chains without it.
    pub node_out: Duration,
    /// Longest time for which a target was without a lease because the primary died.
    pub primary_pause: Duration,
    /// From the death of the primary until another manager answered as primary.
    pub primary_answers: Duration,
    /// Longest time for which a target was without a lease during a planned handover.
    pub handover_pause: Duration,
    /// From SIGTERM until somebody, perhaps its next start, answered as primary.
    pub handover_answers: Duration,
    /// As `node_out`, when the primary died at the same time.
    pub both_out: Duration,
    /// Longest time for which a target was without a lease while the KV was away for five seconds.
    pub kv_pause: Duration,
}

/// Takes one of the times out.
type Column = fn(&Times) -> Duration;

/// What is printed, in this order.
const ROWS: [(&str, Column); 7] = [
    ("node dies: out of its chains", |t| t.node_out),
    ("primary dies: a target without lease", |t| t.primary_pause),
    ("primary dies: another one answers", |t| t.primary_answers),
    ("handover: a target without lease", |t| t.handover_pause),
    ("handover: somebody answers again", |t| t.handover_answers),
    ("node and primary die: out of its chains", |t| t.both_out),
    ("KV away for 5 s: a target without lease", |t| t.kv_pause),
];

/// A table of how the times are distributed over worlds, in seconds.
pub fn table(times: &[Times]) -> String {
    let mut out = format!("{:<42}{:>9}{:>9}{:>9}{:>9}\n", "seconds", "min", "median", "p99", "max");
    for (name, of) in ROWS {
        let mut sorted: Vec<Duration> = times.iter().map(of).collect();
        sorted.sort_unstable();
        let at = |permille: usize| {
            let last = sorted.len().saturating_sub(1);
            sorted.get(last * permille / 1_000).copied().unwrap_or_default().as_secs_f64()
        };
        let (min, median, p99, max) = (at(0), at(500), at(990), at(1_000));
        let _ = writeln!(out, "{name:<42}{min:>9.3}{median:>9.3}{p99:>9.3}{max:>9.3}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_names_the_ends_and_the_middle() {
        let seconds = |s| Times { node_out: Duration::from_secs(s), ..Times::default() };
        let printed = table(&[seconds(3), seconds(1), seconds(2)]);
        let line = printed.lines().nth(1).expect("a line for each time");
        let words: Vec<&str> = line.split_whitespace().rev().take(4).collect();
        assert_eq!(words, ["3.000", "2.000", "2.000", "1.000"], "p99 of three is the middle");
        assert!(table(&[]).lines().all(|line| line.len() == 78));
    }
}
