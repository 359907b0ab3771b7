use super::*;
use crate::testing::Paper;

fn shards() -> Vec<Shard<Vec<StoreSpace>>> {
    let store = |id: u128| StoreSpace {
        store: id,
        total: 10 << 30,
        live: 1 << 30,
        free: 8 << 30,
        index: 5 << 20,
        index_max: 64 << 20,
        chunks: 12,
        targets: 3,
        remembered: 7,
        remembered_max: 65_536,
        ..StoreSpace::default()
    };
    let address = |port: u16| ([10, 0, 0, 1], port).into();
    let bad = StoreSpace { damaged: 1, ..store(2) };
    vec![
        Shard { core: Some(2), address: address(7300), told: Ok(vec![store(1), bad]) },
        Shard { core: Some(3), address: address(7301), told: Err("it is silent".to_owned()) },
    ]
}

#[test]
fn each_store_has_a_row() {
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), false);
    assert_eq!(print(&mut out, &shards()).unwrap(), Exit::Problem);
    let lines = paper.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let expected = "00000000-0000-0000-0000-000000000002     2  damaged  10 GiB  1 GiB  8 GiB  \
                    5 MiB of 64 MiB      12        3  7 of 65536";
    assert_eq!(lines[2], expected);
    assert_eq!(print(&mut out, &[]).unwrap(), Exit::Ok);
}

#[test]
fn programs_get_a_document_for_each_store() {
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), true);
    print(&mut out, &shards()).unwrap();
    let lines = paper.lines();
    assert_eq!(lines.len(), 2);
    let expected = "{\"store\":\"00000000-0000-0000-0000-000000000001\",\"core\":2,\
                    \"address\":\"10.0.0.1:7300\",\"state\":\"good\",";
    assert!(lines[0].starts_with(expected), "{}", lines[0]);
}

#[test]
fn a_failed_store_is_not_called_damaged() {
    let space = |failed, damaged| StoreSpace { failed, damaged, ..StoreSpace::default() };
    for (failed, damaged, expected) in
        [(0, 0, "good"), (0, 1, "damaged"), (1, 0, "failed"), (1, 1, "failed")]
    {
        assert_eq!(state(&space(failed, damaged)), expected);
    }
}
