//! Records against the allocator.

use std::vec::Vec;

use super::super::{AdoptError, AuditError, BlockState, Purpose};
use super::{BIG, SMALL, big, dense, fill};
use crate::address::{BlockAddress, Lsn};

#[test]
fn e111_an_audit_finds_what_is_shared_leaked_or_not_live() {
    let mut store = dense(4);
    let blocks = fill(&mut store, BIG, 18);
    let small = fill(&mut store, SMALL, 2);
    let reserved = store.reserve(BIG, Purpose::Write).unwrap();
    let dropped = fill(&mut store, BIG, 1)[0];
    store.quarantine(dropped, Lsn::new(1), 0);

    let all = blocks.iter().map(|&block| (block, BIG)).chain(small.iter().map(|&it| (it, SMALL)));
    let all = all.collect::<Vec<_>>();
    assert_eq!(store.audit(all.iter().copied()), Ok(()));
    assert_eq!(store.audit(all.iter().rev().copied()), Ok(()), "in any order");

    let with = |block, class| store.audit(all.iter().copied().chain([(block, class)]));
    let not_live = |block, class, state| Err(AuditError::NotLive { block, class, state });
    let (beyond, odd) = (big(4, 0), BlockAddress::new(1));
    assert_eq!(with(reserved, BIG), not_live(reserved, BIG, BlockState::Reserved));
    assert_eq!(with(dropped, BIG), not_live(dropped, BIG, BlockState::Quarantined));
    assert_eq!(with(big(1, 15), BIG), not_live(big(1, 15), BIG, BlockState::Free));
    assert_eq!(with(big(3, 0), BIG), not_live(big(3, 0), BIG, BlockState::Free));
    let misplaced = [
        (beyond, BIG, AdoptError::OutOfRange { block: beyond, segments: 4 }),
        (odd, BIG, AdoptError::Unaligned { block: odd, class: BIG }),
        (small[0], BIG, AdoptError::Class { block: small[0], found: BIG, expected: SMALL }),
        (blocks[3], BIG, AdoptError::Shared { block: blocks[3], class: BIG }),
    ];
    for (block, class, expected) in misplaced {
        assert_eq!(with(block, class), Err(AuditError::Misplaced(expected)));
    }

    for missing in [0, 7, 17, 19] {
        let (block, class) = all[missing];
        let rest = all.iter().copied().filter(|&(it, _)| it != block);
        let leaked = AuditError::Leaked { block, class, found: 20, named: 19 };
        assert_eq!(store.audit(rest), Err(leaked));
    }
}
