use super::*;
use crate::testing::Paper;

fn shards() -> Vec<Shard<Vec<StoreSpace>>> {
    let space = |failed| StoreSpace {
        total: 10 << 30,
        live: 1 << 30,
        free: 8 << 30,
        chunks: 12,
        targets: 3,
        failed,
        ..StoreSpace::default()
    };
    let address = |port: u16| ([10, 0, 0, 1], port).into();
    vec![
        Shard { core: Some(2), address: address(7300), told: Ok(vec![space(0), space(0)]) },
        Shard { core: Some(3), address: address(7301), told: Ok(vec![space(1)]) },
        Shard { core: Some(4), address: address(7302), told: Err("it is silent".to_owned()) },
    ]
}

#[test]
fn each_shard_has_a_row() {
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), false);
    assert_eq!(print(&mut out, &shards()[..1]).unwrap(), Exit::Ok);
    assert_eq!(print(&mut out, &shards()).unwrap(), Exit::Problem);
    let lines = paper.lines();
    let expected = [
        "core  address        stores  targets  chunks   total   live    free  state",
        "   2  10.0.0.1:7300       2        6      24  20 GiB  2 GiB  16 GiB  good",
        "   3  10.0.0.1:7301       1        3      12  10 GiB  1 GiB   8 GiB  1 failed",
        "   4  10.0.0.1:7302       0        0       0     0 B    0 B     0 B  it is silent",
    ];
    assert_eq!(lines[2..], expected);
}

#[test]
fn programs_get_a_document_for_each_shard() {
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), true);
    print(&mut out, &shards()).unwrap();
    let lines = paper.lines();
    assert_eq!(lines.len(), 3);
    assert!(lines[1].contains("\"failed\":1,\"damaged\":0"), "{}", lines[1]);
    assert!(lines[2].contains("\"error\":\"it is silent\""), "{}", lines[2]);
}
