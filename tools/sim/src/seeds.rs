//! Where seeds come from: a fixed set, an environment variable, or the operating system.

use core::ops::RangeInclusive;
use std::fs::File;
use std::io::{self, Read};

/// Sets how many seeds a test runs.
pub const SEEDS_VARIABLE: &str = "EMBERFS_SIM_SEEDS";
/// Makes a test run this seed and no other: the replay of a failure.
pub const SEED_VARIABLE: &str = "EMBERFS_SIM_SEED";

/// `count` seeds that nobody has chosen.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn fresh(count: usize) -> io::Result<Vec<u64>> {
    let mut source = File::open("/dev/urandom")?;
    let mut next = || {
        let mut bytes = [0; 8];
        source.read_exact(&mut bytes)?;
        // 48 bits are enough never to meet one twice, and short enough to be typed.
        Ok(u64::from_le_bytes(bytes) >> 16)
    };
    (0..count).map(|_| next()).collect()
}

/// The seeds that the environment asks for: one, or the first so many, else `0..default`.
///
/// # Panics
/// When a variable is not a number, or no seed is left: a campaign that silently runs fewer seeds
/// proves nothing.
pub fn chosen(default: u64) -> RangeInclusive<u64> {
    range(number(SEED_VARIABLE), number(SEEDS_VARIABLE).unwrap_or(default))
}

fn range(only: Option<u64>, count: u64) -> RangeInclusive<u64> {
    match (only, count.checked_sub(1)) {
        (Some(seed), _) => seed..=seed,
        (None, Some(last)) => 0..=last,
        (None, None) => panic!("{SEEDS_VARIABLE} must be 1 or more: no seed proves nothing"),
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var_os(variable)?;
    match text.to_str().and_then(|text| text.parse().ok()) {
        Some(number) => Some(number),
        None => panic!("{variable} must be a number, found {text:?}"),
    }
}

#[cfg(test)]
mod tests;
