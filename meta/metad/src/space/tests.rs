use engine_types::{
    ChainInfo, ChainTable, ChainTableId, ChainTableVersion, ChainVersion, ClusterId, CoreId,
    Incarnation, Member, NodeId, TargetId, TargetInfo,
};

use super::*;

use PublicState::{Offline, Serving, Syncing};

const GIB: u64 = 1 << 30;

/// Chains, each of replicas on stores by number; those of `tabled` are in a table.
fn routing(chains: &[&[(u64, PublicState)]], tabled: usize) -> RoutingInfo {
    let mut info = RoutingInfo::empty(ClusterId::new(1));
    let mut target = 0;
    for (number, replicas) in (1..).zip(chains) {
        let chain = ChainId::new(number).unwrap();
        let mut members = Vec::new();
        for &(store, state) in *replicas {
            target += 1;
            let place = TargetInfo {
                node: NodeId::new(1),
                core: CoreId::new(0),
                store: StoreId::new(store.into()),
                chain,
            };
            info.targets.insert(TargetId::new(target), place);
            let incarnation = Incarnation::new(1);
            members.push(Member { target: TargetId::new(target), state, incarnation });
        }
        info.chains.insert(chain, ChainInfo { version: ChainVersion::new(1), members });
    }
    let chains = info.chains.keys().copied().take(tabled).collect();
    let table = ChainTable { version: ChainTableVersion::new(1), chains };
    info.tables.insert(ChainTableId::new(1), table);
    info
}

/// A store with so many GiB in use and free.
fn store(live: u64, free: u64) -> Heard {
    let room = StoreRoom { live: live * GIB, free: free * GIB, index_free: GIB, failed: false };
    Heard { room, at: Instant::ZERO, silent: false }
}

fn heard(stores: &[(u64, Heard)]) -> BTreeMap<StoreId, Heard> {
    stores.iter().map(|&(id, heard)| (StoreId::new(id.into()), heard)).collect()
}

const fn on(store: u64) -> (u64, PublicState) {
    (store, Serving)
}

/// Used and free, in GiB.
fn check(what: &str, routing: &RoutingInfo, stores: &[(u64, Heard)], expected: (u64, u64)) {
    let space = usable(routing, &heard(stores));
    assert_eq!((space.used / GIB, space.free / GIB), expected, "{what}");
}

#[test]
fn replicas_are_counted_out() {
    let three = [on(1), on(2), on(3)];
    let stores = [(1, store(6, 30)), (2, store(6, 30)), (3, store(6, 30))];
    check("three replicas", &routing(&[&three], 1), &stores, (6, 30));
    check("two chains on the same stores", &routing(&[&three, &three], 2), &stores, (6, 30));
    // One replica of each store is in no table: its room is not for files.
    check("a chain in no table", &routing(&[&three, &three], 1), &stores, (6, 30));
    let apart: [&[_]; 3] = [&[on(1)], &[on(2)], &[on(3)]];
    check("one replica each", &routing(&apart, 3), &stores, (18, 90));
    let mixed: [&[_]; 2] = [&[on(1), on(2)], &[on(3)]];
    check("two and one", &routing(&mixed, 2), &stores, (12, 60));
    let six: [&[_]; 6] = [&three; 6];
    let used = |live| {
        let mut one = store(0, 30);
        one.room.live = live;
        usable(&routing(&six, 6), &heard(&[(1, one), (2, one), (3, one)])).used
    };
    assert_eq!([used(1_310_720), used(5), used(0)], [1_310_720, 5, 0], "six parts are the whole");
    check("nobody lays files out", &routing(&[&three], 0), &stores, (0, 0));
}

#[test]
fn the_least_replica_ends_the_growth_of_a_chain() {
    let three = [on(1), on(2), on(3)];
    let stores = [(1, store(6, 30)), (2, store(6, 4)), (3, store(6, 300))];
    check("a full store", &routing(&[&three], 1), &stores, (6, 4));
    // Store 2 has two replicas, the others one each.
    let shared: [&[_]; 2] = [&[on(1), on(2)], &[on(2), on(3)]];
    check("a shared store", &routing(&shared, 2), &stores, (9, 4));
}

#[test]
fn who_does_not_serve_says_nothing_of_what_is_used() {
    let chain = [on(1), on(2), (3, Syncing)];
    let stores = [(1, store(6, 30)), (2, store(6, 30)), (3, store(0, 20))];
    check("a replica that is filled", &routing(&[&chain], 1), &stores, (6, 20));
    let chain = [(1, Offline), (2, Offline)];
    check("nobody serves", &routing(&[&chain], 1), &stores[..2], (6, 30));
}

#[test]
fn failed_and_unheard_stores() {
    let three = [on(1), on(2), on(3)];
    let routing = routing(&[&three], 1);
    let mut failed = store(0, 0);
    failed.room.failed = true;
    let stores = [(1, store(6, 30)), (2, store(6, 30)), (3, failed)];
    check("a store that has failed", &routing, &stores, (6, 30));
    check("one never heard of", &routing, &stores[..2], (6, 30));
    check("none heard of", &routing, &[], (0, 0));
    let mut old = store(6, 10);
    old.silent = true;
    let space = usable(&routing, &heard(&[(1, store(6, 30)), (3, old)]));
    assert_eq!((space.stores, space.silent), (2, 2), "one by its last figures, one not at all");
    assert_eq!(space.free / GIB, 10, "last figures count");
}

#[test]
fn what_is_told() {
    let (at, later) = (Duration::from_secs(7), Duration::from_secs(9));
    let mut one = store(6, 30);
    one.at = Instant::ZERO + at;
    let mut two = one;
    two.at = Instant::ZERO + later;
    let space = usable(&routing(&[&[on(1), on(2)]], 1), &heard(&[(1, one), (2, two)]));
    let told = space.told(1000, Instant::ZERO + Duration::from_secs(10));
    assert_eq!(told.bytes, 36 * GIB, "what is used and what is free");
    assert_eq!((told.bytes_free, told.bytes_available), (30 * GIB, 30 * GIB));
    assert_eq!(told.age_ms, 3000, "the oldest");
    // 30 GiB are 7,864,320 chunks of 4 KiB; the index of 1 GiB has room for more.
    assert_eq!((told.files_free, told.files), (7_864_320, 7_865_320));
    let mut small = one;
    small.room.index_free = 64_000;
    let space = usable(&routing(&[&[on(1), on(2)]], 1), &heard(&[(1, small), (2, two)]));
    assert_eq!(space.told(0, later_than(space)).files_free, 1000, "records run out first");
}

fn later_than(space: Space) -> Instant {
    space.since.unwrap()
}
