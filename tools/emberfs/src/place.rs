//! Places of new targets, as people write them: `node-3/STORE`, `3/STORE/CORE/DISK`.

use engine_types::{CoreId, NodeId, StoreId};
use mgmt_cluster::command::NewTarget;

use crate::ids;

/// What an argument that is a place says of itself.
pub(crate) const PLACE_HELP: &str = "Where a replica is: NODE/STORE, with the core whose shard \
    owns the store and the number of the disk, which are 0 otherwise: NODE/STORE/CORE/DISK";

const EXPECTED: &str = "expected NODE/STORE or NODE/STORE/CORE/DISK, as in \
    3/01234567-89ab-cdef-0123-456789abcdef/0/2";

/// Parses a place.
pub(crate) fn parse(text: &str) -> Result<NewTarget, String> {
    let (node, rest) = text.split_once('/').ok_or(EXPECTED)?;
    let (store, rest) = rest.split_once('/').unwrap_or((rest, "0/0"));
    let (core, disk) = rest.split_once('/').unwrap_or((rest, "0"));
    let number = |text: &str, what: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<u16>().ok().filter(|_| digits);
        number.ok_or_else(|| format!("{text:?} is no {what}; {EXPECTED}"))
    };
    let node: NodeId = ids::parse(node).map_err(|why| format!("{node:?} is no node: {why}"))?;
    let store: StoreId =
        store.parse().map_err(|why| format!("{store:?} is no store: {why}; {EXPECTED}"))?;
    let core = core.strip_prefix("core-").unwrap_or(core);
    let core = CoreId::new(number(core, "core")?);
    Ok(NewTarget { node, core, store, disk: number(disk, "disk")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: &str = "01234567-89ab-cdef-0123-456789abcdef";

    #[test]
    fn a_place_is_read() {
        let place = |core, disk| NewTarget {
            node: NodeId::new(3),
            core: CoreId::new(core),
            store: STORE.parse().unwrap(),
            disk,
        };
        for (text, expected) in [
            (format!("3/{STORE}"), place(0, 0)),
            (format!("node-3/{STORE}/2"), place(2, 0)),
            (format!("3/{STORE}/2/9"), place(2, 9)),
            (format!("3/{STORE}/core-2/65535"), place(2, 65535)),
        ] {
            assert_eq!(parse(&text), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("3".to_owned(), "expected NODE/STORE"),
            (format!("x/{STORE}"), "\"x\" is no node: expected node-7 or 7"),
            ("3/store".to_owned(), "\"store\" is no store: expected a UUID"),
            (format!("3/{STORE}/+1"), "\"+1\" is no core"),
            (format!("3/{STORE}/1/65536"), "\"65536\" is no disk"),
            (format!("3/{STORE}/1/2/3"), "\"2/3\" is no disk"),
        ] {
            let why = parse(&text).unwrap_err();
            assert!(why.starts_with(expected), "{text}: {why}");
        }
    }
}
