use alloc::vec::Vec;

use engine_types::{ChainId, ChainVersion, Incarnation, Retry, Rng, TargetId};

use super::{SLOTS_MAX, Targets};
use crate::address::Slot;
use crate::request::{TargetPhase, TargetRecord};
use crate::tables::TableError;

fn slot(raw: u16) -> Slot {
    Slot::new(raw)
}

fn record(target: u64, chain: u32, version: u32, start: u64, phase: TargetPhase) -> TargetRecord {
    TargetRecord {
        target: TargetId::new(target),
        chain: ChainId::new(chain).unwrap(),
        chain_version: ChainVersion::new(version),
        incarnation: Incarnation::new(start),
        named: None,
        phase,
    }
}

#[test]
fn e190_a_record_changes_only_forward() {
    use TableError as E;
    use TargetPhase::{Active, Dropping};
    let (target, other) = (TargetId::new(1), TargetId::new(2));
    let base = record(1, 5, 10, 3, Active);
    let mut dropping = Targets::new();
    dropping.set(slot(2), Some(record(1, 5, 10, 3, Dropping))).unwrap();
    let mut table = Targets::new();
    table.set(slot(2), Some(base)).unwrap();
    let chain = |raw| ChainId::new(raw).unwrap();
    let (old, installed) = (ChainVersion::new(9), ChainVersion::new(10));
    let (earlier, current) = (Incarnation::new(2), Incarnation::new(3));
    let max = SLOTS_MAX;
    let beyond = E::NoSuchSlot { slot: slot(max), max };
    let stale_chain = E::StaleChain { target, found: old, installed };
    let stale_start = E::StaleIncarnation { target, found: earlier, current };
    let other_chain = E::OtherChain { target, found: chain(6), held: chain(5) };
    let taken = E::SlotTaken { slot: slot(2), found: other, held: target };
    let elsewhere = E::HeldElsewhere { target, found: slot(3), held: slot(2) };
    #[rustfmt::skip]
    let rows = [
        (&table, 2, record(1, 5, 10, 3, Active), Ok(())),
        (&table, 2, record(1, 5, 11, 4, Active), Ok(())),
        (&table, 2, record(1, 5, 10, 3, Dropping), Ok(())),
        (&table, 3, record(2, 5, 1, 1, Active), Ok(())),
        (&table, 2, record(1, 5, 9, 3, Active), Err(stale_chain)),
        (&table, 2, record(1, 5, 10, 2, Active), Err(stale_start)),
        (&table, 2, record(1, 6, 10, 3, Active), Err(other_chain)),
        (&table, 2, record(2, 5, 10, 3, Active), Err(taken)),
        (&table, 3, record(1, 5, 10, 3, Active), Err(elsewhere)),
        (&dropping, 2, record(1, 5, 10, 3, Active), Err(E::Dropping { target })),
        (&dropping, 2, record(1, 5, 11, 3, Dropping), Ok(())),
        (&table, max, record(2, 5, 1, 1, Active), Err(beyond)),
    ];
    for (before, at, new, expected) in rows {
        let mut after = before.clone();
        assert_eq!(after.set(slot(at), Some(new)), expected, "{at}: {new:?}");
        let Err(why) = expected else {
            assert_eq!(after.get(slot(at)), Some(&new));
            continue;
        };
        assert_eq!(after, *before, "a refusal changes nothing");
        assert_ne!(why.retry(), Retry::SameTarget);
    }
}

#[test]
fn a_slot_that_was_emptied_takes_any_target() {
    let mut table = Targets::new();
    assert!(table.is_empty() && table.get(slot(7)).is_none());
    table.set(slot(0), Some(record(1, 5, 10, 3, TargetPhase::Active))).unwrap();
    assert_eq!((table.vacant(), table.find(TargetId::new(1))), (Some(slot(1)), Some(slot(0))));
    table.set(slot(0), None).unwrap();
    assert_eq!((table.vacant(), table.find(TargetId::new(1))), (Some(slot(0)), None));
    table.set(slot(0), Some(record(2, 6, 1, 1, TargetPhase::Active))).unwrap();
    table.set(slot(9), None).unwrap();
    assert_eq!(table.len(), 1);
}

/// The last entry decides, whatever the rules of run time say; the order is that of the slots.
#[test]
fn replay_overwrites_blindly() {
    for seed in 0..4 {
        let mut rng = Rng::new(seed);
        let mut table = Targets::new();
        let mut reference = alloc::collections::BTreeMap::new();
        for _ in 0..2_000 {
            let at = slot(u16::try_from(rng.below(40)).unwrap());
            let version = u32::try_from(rng.below(9)).unwrap();
            let new = record(rng.below(50), 1 + version, version, 1, TargetPhase::Active);
            let new = Some(new).filter(|_| rng.chance(700));
            table.replay(at, new);
            match new {
                Some(new) => reference.insert(at, new),
                None => reference.remove(&at),
            };
            let target = TargetId::new(rng.below(50));
            let found = reference.iter().find(|(_, record)| record.target == target);
            assert_eq!(table.find(target), found.map(|(&at, _)| at), "seed {seed}");
            assert_eq!(table.len(), reference.len(), "seed {seed}");
            let vacant = (0..).map(slot).find(|at| !reference.contains_key(at));
            assert_eq!(table.vacant(), vacant, "seed {seed}");
        }
        let all: Vec<_> = table.iter().collect();
        assert_eq!(all, reference.into_iter().collect::<Vec<_>>(), "seed {seed}");
    }
    let mut table = Targets::new();
    table.replay(slot(u16::MAX), Some(record(1, 1, 1, 1, TargetPhase::Active)));
    assert_eq!(table.iter().count(), 1, "a slot that is beyond today's limit");
}
