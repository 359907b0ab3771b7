use super::*;
use crate::testing::Paper;

fn target(target: u64, (state, leased, local): (u8, u8, u8)) -> TargetStatus {
    TargetStatus {
        store: 7,
        target,
        incarnation: 3,
        reads: 1200,
        updates: 40,
        refused: 2,
        shipped_chunks: 5,
        shipped_bytes: 5 << 20,
        received_chunks: 6,
        chain: 9,
        chain_version: 12,
        in_flight: 1,
        state,
        leased,
        local,
        ..TargetStatus::default()
    }
}

fn shard(targets: Vec<TargetStatus>) -> Shard<Vec<TargetStatus>> {
    Shard { core: Some(2), address: ([10, 0, 0, 1], 7300).into(), told: Ok(targets) }
}

#[test]
fn each_target_has_a_row() {
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), false);
    let waits = TargetStatus { waits: 1, ..target(22, (2, 0, 2)) };
    let shards = [shard(vec![target(1, (1, 1, 1)), waits])];
    assert_eq!(print(&mut out, &shards, false).unwrap(), Exit::Problem);
    let expected = [
        "target     chain    version  core  state    local            lease  in flight  reads  \
         updates  refused  shipped  bytes  received",
        "target-1   chain-9       12     2  serving  up-to-date       valid          1   1200  \
         \u{20}    40        2        5  5 MiB         6",
        "target-22  chain-9       12     2  syncing  online, no room  none           1   1200  \
         \u{20}    40        2        5  5 MiB         6",
    ];
    assert_eq!(paper.lines(), expected);
}

#[test]
fn whole_targets_can_be_left_out() {
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), true);
    let whole = target(1, (1, 1, 1));
    assert_eq!(print(&mut out, &[shard(vec![whole])], true).unwrap(), Exit::Ok);
    assert!(paper.lines().is_empty());
    for bad in [(1, 0, 1), (1, 1, 2), (2, 1, 1), (5, 0, 3)] {
        let shards = [shard(vec![whole, target(2, bad)])];
        assert_eq!(print(&mut out, &shards, true).unwrap(), Exit::Problem, "{bad:?}");
    }
    assert_eq!(paper.lines().len(), 4);
}

#[test]
fn programs_get_a_document_for_each_target() {
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), true);
    print(&mut out, &[shard(vec![target(1, (4, 0, 9))])], false).unwrap();
    let document: serde_json::Value = serde_json::from_str(&paper.lines()[0]).unwrap();
    let expected = serde_json::json!({
        "target": "target-1", "chain": "chain-9", "core": 2, "address": "10.0.0.1:7300",
        "store": "00000000-0000-0000-0000-000000000007", "incarnation": 3, "chain_version": 12,
        "state": "last-serving", "local": "unknown-9", "leased": false, "waits_for_room": false,
        "in_flight": 1,
        "reads": 1200, "updates": 40, "refused": 2, "shipped_chunks": 5, "shipped_bytes": 5 << 20,
        "received_chunks": 6,
    });
    assert_eq!(document, expected);
}

#[test]
fn a_shard_that_does_not_answer_is_a_problem() {
    let mut out = Output::to(Paper::default(), false);
    let silent = Shard { told: Err("it is silent".to_owned()), ..shard(Vec::new()) };
    assert_eq!(print(&mut out, &[shard(Vec::new()), silent], false).unwrap(), Exit::Problem);
}
