use super::*;
use crate::testing::Paper;

fn shards() -> Vec<Shard<Told>> {
    let space = |failed| StoreSpace {
        total: 10 << 30,
        live: 1 << 30,
        free: 8 << 30,
        chunks: 12,
        targets: 3,
        failed,
        ..StoreSpace::default()
    };
    let scrub = StoreScrub {
        bytes: 3 << 20,
        chunks: 4,
        damaged: 5,
        repaired: 6,
        running: 1,
        ..StoreScrub::default()
    };
    let address = |port: u16| ([10, 0, 0, 1], port).into();
    vec![
        Shard {
            core: Some(2),
            address: address(7300),
            told: Ok((vec![space(0), space(0)], vec![scrub; 2])),
        },
        Shard { core: Some(3), address: address(7301), told: Ok((vec![space(1)], vec![scrub])) },
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
        "core  address        stores  targets  chunks   total   live    free  scrubbed  damaged  \
         repaired  state",
        "   2  10.0.0.1:7300       2        6      24  20 GiB  2 GiB  16 GiB     6 MiB       10  \
         \x20     12  good",
        "   3  10.0.0.1:7301       1        3      12  10 GiB  1 GiB   8 GiB     3 MiB        5  \
         \x20      6  1 failed",
        "   4  10.0.0.1:7302       0        0       0     0 B    0 B     0 B       0 B        0  \
         \x20      0  it is silent",
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
    let scrubbed =
        "\"scrubbed_bytes\":6291456,\"scrubbed_chunks\":8,\"scrub_passes\":0,\"scrubbing\":2";
    assert!(lines[0].contains(scrubbed), "{}", lines[0]);
    assert!(lines[2].contains("\"error\":\"it is silent\""), "{}", lines[2]);
}
