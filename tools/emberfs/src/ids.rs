//! Ids as people write them: as they are printed (`node-3`), or the number alone (`3`).

use core::num::IntErrorKind;

use engine_types::{ChainId, ChainTableId, ChainTableVersion, NodeId, SessionId, TargetId};
use mgmt_cluster::config::ConfigVersion;

/// An id that is printed as a prefix and a number.
pub(crate) trait Numbered: Sized {
    /// What stands before the number.
    const PREFIX: &'static str;
    /// The largest number.
    const MAX: u64;

    /// The id of a number that is not above `MAX`; nothing if it has no meaning.
    fn from_number(number: u64) -> Option<Self>;
}

macro_rules! numbered {
    ($($name:ident: $raw:ty, $prefix:literal, $make:expr;)*) => {
        $(impl Numbered for $name {
            const PREFIX: &'static str = $prefix;
            const MAX: u64 = <$raw>::MAX as u64;

            fn from_number(number: u64) -> Option<Self> {
                <$raw>::try_from(number).ok().and_then($make)
            }
        })*
    };
}

numbered! {
    NodeId: u32, "node-", |raw| Some(Self::new(raw));
    TargetId: u64, "target-", |raw| Some(Self::new(raw));
    ChainId: u32, "chain-", Self::new;
    ChainTableId: u32, "table-", |raw| Some(Self::new(raw));
    ChainTableVersion: u32, "v", |raw| Some(Self::new(raw));
    SessionId: u64, "session-", |raw| Some(Self::new(raw));
    ConfigVersion: u64, "config-", |raw| Some(Self::new(raw));
}

/// Parses an id.
pub(crate) fn parse<T: Numbered>(text: &str) -> Result<T, String> {
    let prefix = T::PREFIX;
    let digits = text.strip_prefix(prefix).unwrap_or(text);
    let expected = || format!("expected {prefix}7 or 7");
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(expected());
    }
    let number: u64 = digits.parse().map_err(|error: core::num::ParseIntError| {
        let large = *error.kind() == IntErrorKind::PosOverflow;
        if large { format!("at most {}", T::MAX) } else { expected() }
    })?;
    if T::MAX < number {
        return Err(format!("at most {}", T::MAX));
    }
    T::from_number(number).ok_or_else(|| format!("{prefix}{number} never exists"))
}

/// Chains as a list names them: one, or a first and a last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChainSpan {
    /// The first.
    pub(crate) first: ChainId,
    /// The last, not before the first.
    pub(crate) last: ChainId,
}

impl ChainSpan {
    /// All of them.
    pub(crate) fn chains(self) -> impl Iterator<Item = ChainId> {
        let numbers = self.first.get()..=self.last.get();
        numbers.map(|raw| ChainId::new(raw).expect("numbers begin at one that a chain has"))
    }

    /// How many they are.
    pub(crate) const fn count(self) -> u64 {
        self.last.get() as u64 - self.first.get() as u64 + 1
    }
}

/// Parses `chain-7`, `7` or `chain-1..chain-64`.
pub(crate) fn chain_span(text: &str) -> Result<ChainSpan, String> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let (first, last): (ChainId, ChainId) = (parse(first)?, parse(last)?);
    if last < first {
        return Err(format!("{last} comes before {first}"));
    }
    Ok(ChainSpan { first, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_printed() {
        let node = NodeId::new(3);
        assert_eq!((parse("3"), parse("node-3")), (Ok(node), Ok(node)));
        assert_eq!(parse(&node.to_string()), Ok(node));
        let target = TargetId::new(u64::MAX);
        assert_eq!(parse(&target.to_string()), Ok(target));
        assert_eq!(parse("chain-5"), Ok(ChainId::new(5).unwrap()));
        assert_eq!(parse("v4"), Ok(ChainTableVersion::new(4)));
        assert_eq!(parse("config-9"), Ok(ConfigVersion::new(9)));
        for (text, why) in [
            ("", "expected node-7 or 7"),
            ("node-", "expected node-7 or 7"),
            ("target-3", "expected node-7 or 7"),
            ("-3", "expected node-7 or 7"),
            ("+3", "expected node-7 or 7"),
            ("4294967296", "at most 4294967295"),
            ("node-99999999999999999999", "at most 4294967295"),
        ] {
            assert_eq!(parse::<NodeId>(text), Err(why.to_owned()), "{text}");
        }
        assert_eq!(parse::<ChainId>("chain-0"), Err("chain-0 never exists".to_owned()));
    }

    #[test]
    fn a_span_of_chains_has_both_ends() {
        let ids = |text| chain_span(text).map(|span| span.chains().map(ChainId::get).collect());
        assert_eq!(ids("7"), Ok(vec![7]));
        assert_eq!(ids("chain-2..4"), Ok(vec![2, 3, 4]));
        assert_eq!(ids("chain-4..chain-4"), Ok(vec![4]));
        assert_eq!(ids("4..2"), Err("chain-2 comes before chain-4".to_owned()));
        assert_eq!(ids("4.."), Err("expected chain-7 or 7".to_owned()));
        assert_eq!(chain_span("1..4294967295").unwrap().count(), u64::from(u32::MAX));
    }
}
