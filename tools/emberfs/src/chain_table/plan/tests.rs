use super::*;
use crate::testing::Paper;

const NODES: &str = "\
# number  domain  disks  targets
node-1  rack-a  2  3
2       rack-b  2  3
3       -       2  3
";

fn args(line: &str) -> Args {
    use clap::Parser as _;
    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }
    Alone::try_parse_from(line.split(' ')).unwrap().args
}

#[test]
fn nodes_are_read_from_a_file() {
    let topology = parse(Path::new("f"), NODES).unwrap();
    let [one, two, three] = &*topology.nodes else { panic!("{topology:?}") };
    assert_eq!((one.id, one.domain.as_deref()), (NodeId::new(1), Some("rack-a")));
    assert_eq!((two.id, two.disks.len()), (NodeId::new(2), 2));
    assert_eq!((&three.domain, three.disks[1]), (&None, Disk { index: 1, targets: 3 }));
    for (line, why) in [
        ("1 a 2", "f:1: found 3 words, expected node, domain, disks, targets"),
        ("x a 2 3", "f:1: \"x\": expected node-7 or 7"),
        ("1 a b 3", "f:1: found \"b\", expected a number of disks"),
        ("1 a 2 -3", "f:1: found \"-3\", expected a number of targets"),
    ] {
        let failure = parse(Path::new("f"), line).unwrap_err();
        assert_eq!((failure.exit, failure.error.to_string()), (Exit::Usage, why.to_owned()));
    }
}

#[test]
fn a_plan_says_how_even_it_is() {
    let topology = parse(Path::new("f"), NODES).unwrap();
    let solution = solve(&topology, 3, 0).unwrap();
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), false);
    print(&mut out, &args("plan --chains"), &topology, &solution).unwrap();
    let text = paper.lines().join("\n");
    for line in ["chains        6", "targets       18", "a disk fails: busiest disk"] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(text.matches("chain-").count(), 6, "{text}");
    let paper = Paper::default();
    let mut out = Output::to(paper.clone(), true);
    document(&mut out, &args("plan --chains"), &topology, &solution).unwrap();
    let told: serde_json::Value = serde_json::from_str(&paper.lines()[0]).unwrap();
    assert_eq!((&told["chains"], &told["used"]), (&6.into(), &18.into()), "{told}");
    assert_eq!(told["table"].as_array().unwrap().len(), 6, "{told}");
    assert!(told["node_on_node"]["share"].as_f64().unwrap() <= 1.0, "{told}");
}
