use super::*;
use crate::testing::Paper;

fn shards() -> Vec<Shard<Vec<StoreScrub>>> {
    let scrub = StoreScrub {
        store: 7,
        bytes: 3 << 20,
        chunks: 4,
        passes: 2,
        damaged: 5,
        repaired: 6,
        failed: 1,
        running: 1,
        ..StoreScrub::default()
    };
    let address = |port: u16| ([10, 0, 0, 1], port).into();
    vec![
        Shard { core: Some(2), address: address(7300), told: Ok(vec![scrub]) },
        Shard { core: Some(3), address: address(7301), told: Err("it is silent".to_owned()) },
    ]
}

#[test]
fn each_store_has_a_row_and_silence_is_a_problem() {
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), false);
    assert_eq!(print(&mut out, &shards()[..1], None).unwrap(), Exit::Ok);
    assert_eq!(print(&mut out, &shards(), None).unwrap(), Exit::Problem);
    let expected = [
        "store                                 core  pass   passes before  scrubbed  damaged  \
         repaired",
        "00000000-0000-0000-0000-000000000007     2  begun              2     3 MiB        5  \
         \x20      6",
    ];
    assert_eq!(paper.lines()[..2], expected);
}

#[test]
fn programs_get_a_document_for_each_store() {
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), true);
    print(&mut out, &shards(), None).unwrap();
    let lines = paper.lines();
    assert_eq!(lines.len(), 1);
    let expected = "\"running\":true,\"passes\":2,\"scrubbed_bytes\":3145728";
    assert!(lines[0].contains(expected), "{}", lines[0]);
    assert!(lines[0].contains("\"repaired_blocks\":6,\"unrepaired_blocks\":1"), "{}", lines[0]);
}

#[test]
fn a_store_that_nobody_has_is_a_problem() {
    let mut out = Output::to(Paper::default(), false);
    let address = ([10, 0, 0, 1], 7300).into();
    let none = [Shard { core: None, address, told: Ok(Vec::new()) }];
    assert_eq!(print(&mut out, &none, Some(StoreId::new(7))).unwrap(), Exit::Problem);
    assert_eq!(print(&mut out, &none, None).unwrap(), Exit::Ok);
}
