//! The text form: `name = value` lines, a subset of TOML with dotted keys and without tables.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::time::Duration;

use super::{ConfigError, Range, Setting, Value, is_name};

/// Longest text of a role: 32 KiB of lines fit into one value of any KV, and nobody reads more.
pub const CONFIG_TEXT_BYTES_MAX: usize = 32 << 10;

/// Units of durations, each with its microseconds.
const TIME_UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("min", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1000),
    ("us", 1),
];
/// Units of amounts of data.
const BYTE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A value as it is written, before its type is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    Text(String),
    Number(u64),
    Bool(bool),
}

/// One setting of a text.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) raw: Raw,
}

/// Takes a text apart; every name is there once.
pub(super) fn lines(text: &str) -> Result<Vec<Line>, ConfigError> {
    let (found, limit) = (text.len(), CONFIG_TEXT_BYTES_MAX);
    if limit < found {
        return Err(ConfigError::TooLong { what: "the settings", found, limit });
    }
    let mut found = Vec::new();
    let mut seen = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let error = |found: &str, expected| {
            Err(ConfigError::Syntax { line: number, found: found.into(), expected })
        };
        let Some((name, value)) = line.split_once('=') else {
            return error(line, "name = value");
        };
        let name = name.trim();
        if !is_name(name) {
            return error(name, "a name of lower-case words with dots, such as lease.storage");
        }
        let raw = match raw(value.trim()) {
            Ok(raw) => raw,
            Err(expected) => return error(value.trim(), expected),
        };
        if let Some(first) = seen.insert(name, number) {
            return Err(ConfigError::Double { key: name.into(), first, second: number });
        }
        found.push(Line { name: name.into(), raw });
    }
    Ok(found)
}

/// A value, and perhaps a comment behind it.
pub(super) fn raw(value: &str) -> Result<Raw, &'static str> {
    if let Some(rest) = value.strip_prefix('"') {
        let (text, rest) = quoted(rest)?;
        let rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with('#') {
            return Ok(Raw::Text(text));
        }
        return Err("nothing behind the closing quote");
    }
    let word = value.split('#').next().unwrap_or("").trim_end();
    match word {
        "true" => Ok(Raw::Bool(true)),
        "false" => Ok(Raw::Bool(false)),
        _ => number(word)
            .map(Raw::Number)
            .ok_or("a number from 0 to 2^64 - 1, true, false or a text in double quotes"),
    }
}

/// The text up to the closing quote, and what stands behind it.
fn quoted(from: &str) -> Result<(String, &str), &'static str> {
    let mut text = String::new();
    let mut chars = from.chars();
    while let Some(char) = chars.next() {
        text.push(match char {
            '"' => return Ok((text, chars.as_str())),
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(same @ ('"' | '\\')) => same,
                _ => return Err("one of \\\" \\\\ \\n \\t"),
            },
            plain => plain,
        });
    }
    Err("a closing quote")
}

/// Digits, with `_` between them.
fn number(word: &str) -> Option<u64> {
    let ends = |end: Option<char>| end.is_some_and(|c| c.is_ascii_digit());
    if !ends(word.chars().next()) || !ends(word.chars().next_back()) || word.contains("__") {
        return None;
    }
    word.replace('_', "").parse().ok()
}

/// A number with a unit, in the smallest unit.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '_')?;
    let (count, unit) = text.split_at(split);
    let &(_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number(count)?.checked_mul(factor)
}

/// Gives a written value the type of its setting.
pub(super) fn value(setting: &Setting, raw: &Raw) -> Result<Value, ConfigError> {
    let error =
        |expected| Err(ConfigError::Type { key: setting.name, found: raw.to_string(), expected });
    match (&setting.range, raw) {
        (Range::Duration { .. }, Raw::Text(text)) => match with_unit(text, &TIME_UNITS) {
            Some(us) => Ok(Value::Duration(Duration::from_micros(us))),
            None => error("a time such as \"500 ms\" (units us, ms, s, min, h, d)"),
        },
        (Range::Duration { .. }, _) => {
            error("a time with a unit, such as \"500 ms\" (units us, ms, s, min, h, d)")
        }
        (Range::Bytes { .. }, Raw::Number(bytes)) => Ok(Value::Bytes(*bytes)),
        (Range::Bytes { .. }, Raw::Text(text)) => match with_unit(text, &BYTE_UNITS) {
            Some(bytes) => Ok(Value::Bytes(bytes)),
            None => error("an amount such as \"64 MiB\" (units B, KiB, MiB, GiB, TiB)"),
        },
        (Range::Bytes { .. }, _) => error("an amount such as \"64 MiB\" or a number of bytes"),
        (Range::Count { .. }, Raw::Number(count)) => Ok(Value::Count(*count)),
        (Range::Permille { .. }, Raw::Number(count)) => match u32::try_from(*count) {
            Ok(permille) => Ok(Value::Permille(permille)),
            Err(_) => error("a number of thousandths"),
        },
        (Range::Count { .. }, _) => error("a number"),
        (Range::Permille { .. }, _) => error("a number of thousandths"),
        (Range::Bool { .. }, Raw::Bool(value)) => Ok(Value::Bool(*value)),
        (Range::Bool { .. }, _) => error("true or false"),
        (Range::Text { .. }, Raw::Text(text)) => Ok(Value::Text(text.clone())),
        (Range::Text { .. }, _) => error("a text in double quotes"),
    }
}

fn write_quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for char in text.chars() {
        match char {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            plain => f.write_char(plain)?,
        }
    }
    f.write_char('"')
}

/// In the largest unit that divides the amount.
fn write_unit(amount: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let fits = |&&(_, factor): &&(&str, u64)| amount != 0 && amount.is_multiple_of(factor);
    let unit = units.iter().find(fits).or(units.last());
    let &(name, factor) = unit.expect("there are units");
    write!(f, "\"{} {name}\"", amount / factor)
}

/// As it would be written in a text.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duration(value) => {
                let us = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
                write_unit(us, &TIME_UNITS, f)
            }
            Self::Bytes(value) => write_unit(*value, &BYTE_UNITS, f),
            Self::Count(value) => write!(f, "{value}"),
            Self::Permille(value) => write!(f, "{value}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Text(value) => write_quoted(value, f),
        }
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write_quoted(text, f),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests;
