//! Sizes on the command line and in tables.
//!
//! Operators mean powers of 1024 when they say `10G` and when they say `10GiB`; vendors mean powers
//! of 1000 when they print `10GB`. All three are understood, and none is guessed.

use core::fmt;
use core::str::FromStr;

#[cfg(test)]
mod tests;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(pub(crate) u64);

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ParseSizeError {
    /// Nothing, or a unit alone.
    NoNumber,
    /// A unit that nobody knows, or something behind it.
    Unit(String),
    /// A fraction of a byte.
    Fraction,
    /// Beyond 2^64 bytes.
    TooLarge,
}

impl fmt::Display for ParseSizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNumber => f.write_str("expected a number with a unit, as in 512MiB or 1.5T"),
            Self::Unit(unit) => write!(
                f,
                "unknown unit {unit:?}; K, M, G, T, P and KiB, MiB, GiB, TiB, PiB are powers of \
                 1024, KB, MB, GB, TB, PB powers of 1000, B or nothing is bytes"
            ),
            Self::Fraction => f.write_str("that is not a whole number of bytes"),
            Self::TooLarge => f.write_str("that is more than 2^64 bytes"),
        }
    }
}

impl core::error::Error for ParseSizeError {}

/// Letters of the units, each 1024 or 1000 times the one before it.
const UNITS: [char; 5] = ['k', 'm', 'g', 't', 'p'];

/// Bytes of a unit.
fn unit(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    if ["", "b"].contains(&lower.as_str()) {
        return Some(1);
    }
    let mut letters = lower.chars();
    let letter = letters.next()?;
    let power = u32::try_from(UNITS.iter().position(|unit| *unit == letter)? + 1).ok()?;
    match letters.as_str() {
        "" | "ib" => Some(1024_u64.pow(power)),
        "b" => Some(1000_u64.pow(power)),
        _ => None,
    }
}

impl FromStr for ByteSize {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, ParseSizeError> {
        let text = text.trim();
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, rest) = text.split_at(text.find(|c| !is_number(c)).unwrap_or(text.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || number.ends_with('.') || fraction.contains('.') {
            return Err(ParseSizeError::NoNumber);
        }
        let name = rest.trim_start();
        let unit = unit(name).ok_or_else(|| ParseSizeError::Unit(name.to_owned()))?;
        let whole: u64 = whole.parse().map_err(|_| ParseSizeError::TooLarge)?;
        let bytes = whole.checked_mul(unit).ok_or(ParseSizeError::TooLarge)?;
        let bytes = bytes.checked_add(part(fraction, unit)?).ok_or(ParseSizeError::TooLarge)?;
        Ok(Self(bytes))
    }
}

/// Bytes of the digits behind the point.
fn part(fraction: &str, unit: u64) -> Result<u64, ParseSizeError> {
    let digits = fraction.trim_end_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    // A unit of 2^50 has at most 50 decimals; beyond 19 they do not fit, and nobody types them.
    let count = u32::try_from(digits.len()).ok().filter(|count| *count <= 19);
    let count = count.ok_or(ParseSizeError::Fraction)?;
    let digits: u128 = digits.parse().map_err(|_| ParseSizeError::NoNumber)?;
    let scaled = digits * u128::from(unit);
    let divisor = 10_u128.pow(count);
    if !scaled.is_multiple_of(divisor) {
        return Err(ParseSizeError::Fraction);
    }
    Ok(u64::try_from(scaled / divisor).expect("a part of a unit is less than the unit"))
}

/// In the largest unit, exact if one decimal is: `10 GiB`, `1.5 TiB`, `about 3.9 GiB`, `512 B`.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
        let bytes = self.0;
        let power = if bytes < 1024 { 0 } else { (bytes.ilog2() / 10).min(5) };
        let (unit, name) = (1024_u64.pow(power), NAMES[power as usize]);
        if bytes.is_multiple_of(unit) {
            return write!(f, "{} {name}", bytes / unit);
        }
        let tenths = u128::from(bytes) * 10;
        let exact = tenths.is_multiple_of(u128::from(unit));
        let tenths = tenths / u128::from(unit);
        let about = if exact { "" } else { "about " };
        write!(f, "{about}{}.{} {name}", tenths / 10, tenths % 10)
    }
}
