use serde_json::json;

use super::*;

fn package(id: &str, licence: Option<&str>, source: Option<&str>) -> Value {
    json!({ "id": id, "name": id, "version": "1.0.0", "license": licence, "source": source })
}

fn node(id: &str, edges: &[(&str, Option<&str>)]) -> Value {
    let edges: Vec<Value> = edges
        .iter()
        .map(|(to, kind)| json!({ "pkg": to, "dep_kinds": [{ "kind": kind }] }))
        .collect();
    json!({ "id": id, "deps": edges })
}

fn graph(packages: &[Value], nodes: &[Value]) -> Graph {
    let metadata = json!({
        "packages": packages, "resolve": { "nodes": nodes },
        "workspace_members": ["ours"], "workspace_default_members": ["ours"],
    });
    Graph::parse(&metadata.to_string()).expect("the shape of cargo metadata")
}

#[test]
fn licences_and_sources_are_judged_with_their_line() {
    let crates_io = Some(SOURCES[0]);
    #[rustfmt::skip]
    let rows = [
        // licence, source, part of what is found
        (Some("MIT"),     crates_io,                          None),
        (Some("MIT"),     Some(SOURCES[1]),                   None),
        (Some("GPL-3.0"), crates_io,                          Some("`GPL-3.0`, not on the list")),
        (Some("MIT OR"),  crates_io,                          Some("ends too early")),
        (None,            crates_io,                          Some("no licence")),
        (Some("MIT"),     Some("git+https://example.com/x"),  Some("git+https")),
        (Some("MIT"),     None,                               Some("outside the workspace")),
    ];
    let lock =
        "[[package]]\nname = \"x\"\nversion = \"0.9.0\"\n\nname = \"x\"\nversion = \"1.0.0\"";
    for (licence, source, expected) in rows {
        let packages = [package("ours", Some("Apache-2.0"), None), package("x", licence, source)];
        let nodes = [node("ours", &[("x", None)]), node("x", &[])];
        let found = check(&graph(&packages, &nodes), lock);
        assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
        for finding in found {
            assert_eq!(finding.line, 5);
            assert!(finding.what.contains(expected.unwrap_or_default()), "{}", finding.what);
        }
    }
}

#[test]
fn an_exception_is_for_one_crate_and_one_licence() {
    let (name, licence, _) = EXCEPTIONS[0];
    let rows = [(name, licence, 0), ("x", licence, 1), (name, "GPL-3.0", 1)];
    for (name, licence, expected) in rows {
        let packages = [package(name, Some(licence), Some(SOURCES[0]))];
        let found = check(&graph(&packages, &[node(name, &[])]), "");
        assert_eq!(found.len(), expected, "{name} under {licence}: {found:?}");
    }
}

#[test]
fn packages_of_other_platforms_are_not_judged() {
    let packages = [package("ours", Some("MIT"), None), package("x", Some("GPL-3.0"), None)];
    assert_eq!(check(&graph(&packages, &[node("ours", &[])]), ""), []);
}

#[test]
fn the_default_build_is_counted_without_dependencies_of_tests() {
    let names: Vec<String> = (0..DEFAULT_BUILD_CRATES_MAX).map(|n| format!("x{n}")).collect();
    let count = |last_kind: Option<&str>| {
        let mut edges: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
        edges.last_mut().expect("there are many").1 = last_kind;
        let mut nodes = vec![node("ours", &edges)];
        nodes.extend(names.iter().map(|name| node(name, &[])));
        check(&graph(&[], &nodes), "").len()
    };
    assert_eq!(count(None), 1, "199 and ours are too many");
    assert_eq!(count(Some("build")), 1);
    assert_eq!(count(Some("dev")), 0);
}

#[test]
fn metadata_of_another_shape_is_an_error() {
    assert!(Graph::parse("{}").is_err());
    assert!(Graph::parse("not JSON").is_err());
}
