//! Where seeds come from: a fixed set, an environment variable, or the operating system.

use std::fs::File;
use std::io::{self, Read};

/// Sets how many seeds a test runs.
pub const SEEDS_VARIABLE: &str = "EMBERFS_SIM_SEEDS";

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

/// The number that the environment asks for, else `default`.
///
/// # Panics
/// When the variable is not a number: a campaign that silently runs fewer seeds proves nothing.
pub fn count(default: u64) -> u64 {
    match std::env::var(SEEDS_VARIABLE) {
        Err(_) => default,
        Ok(text) => match text.parse() {
            Ok(count) => count,
            Err(_) => panic!("{SEEDS_VARIABLE} must be a number, found {text:?}"),
        },
    }
}
