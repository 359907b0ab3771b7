use engine_types::{ChainId, NodeId, TargetId};

use super::*;

const STORE: &str = "01234567-89ab-cdef-0123-456789abcdef";

#[test]
fn a_file_has_a_chain_in_each_line() {
    let text = format!("# head first\n1/{STORE} 2/{STORE}\n\n  3/{STORE}/1/2\n");
    let chains = parse(Path::new("f"), &text).unwrap();
    let nodes: Vec<Vec<NodeId>> =
        chains.iter().map(|chain| chain.iter().map(|place| place.node).collect()).collect();
    assert_eq!(nodes, [vec![NodeId::new(1), NodeId::new(2)], vec![NodeId::new(3)]]);
    for (text, expected) in [
        (format!("1/{STORE}\n1/x"), "f:2: found \"1/x\", \"x\" is no store"),
        ("# nothing\n".to_owned(), "f names no chain"),
    ] {
        let failure = parse(Path::new("f"), &text).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.error.to_string().starts_with(expected), "{}", failure.error);
    }
}

#[test]
fn parts_are_as_large_as_a_change_may_be() {
    let place = place::parse(&format!("1/{STORE}")).unwrap();
    for (chains, members, expected) in [
        (1, 3, vec![1]),
        (1023, 3, vec![1023]),
        (1024, 3, vec![1023, 1]),
        (2047, 1, vec![2047]),
        (2048, 1, vec![2047, 1]),
        (2, 5000, vec![1, 1]),
    ] {
        let all = vec![vec![place; members]; chains];
        let parts = parts(&all);
        let sizes: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        assert_eq!(sizes, expected, "{chains} chains of {members}");
    }
}

#[test]
fn what_was_created_is_said() {
    let done = |chains: &[u32], targets: &[u64]| Done {
        changed: true,
        chains: chains.iter().filter_map(|raw| ChainId::new(*raw)).collect(),
        targets: targets.iter().map(|raw| TargetId::new(*raw)).collect(),
        ..Done::default()
    };
    assert_eq!(said(&[done(&[5], &[7, 8])]), "created chain-5 of target-7, target-8");
    let two = [done(&[5, 6], &[7, 8]), done(&[7], &[9])];
    assert_eq!(said(&two), "created 3 chains, chain-5 to chain-7, of 3 targets");
    assert_eq!(said(&[]), "created nothing");
}
