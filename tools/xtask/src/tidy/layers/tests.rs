use super::*;
use crate::manifest::parse;

fn member(folder: &str, layer: &str, dependencies: &str) -> Manifest {
    let name = folder.replace('/', "-");
    parse(folder, &format!("[package]\nname = \"{name}\"\n{layer}\n{dependencies}"))
}

#[test]
fn arrows_point_strictly_down() {
    const L: [&str; 4] = ["metadata.layer = 0", "metadata.layer = 1", "metadata.layer = 7", ""];
    #[rustfmt::skip]
    let rows = [
        // layer of engine/a, table, layer of engine/b, findings
        (L[1], "[dependencies]",       L[0], 0),
        (L[1], "[dependencies]",       L[1], 1),
        (L[0], "[dependencies]",       L[1], 1),
        (L[0], "[build-dependencies]", L[1], 1),
        (L[0], "[dev-dependencies]",   L[1], 0),
        (L[0], "[dev-dependencies]",   L[2], 1),
        (L[3], "[dependencies]",       L[0], 1),
    ];
    for (from, table, to, expected) in rows {
        let all = [
            member("engine/a", from, &format!("{table}\nengine-b.workspace = true")),
            member("engine/b", to, ""),
        ];
        let found = check(&all);
        assert_eq!(found.len(), expected, "from {from:?} {table} to {to:?}: {found:?}");
    }
}

#[test]
fn a_name_that_is_not_the_path_is_found() {
    let manifest = parse("engine/net", "[package]\nname = \"net\"\nmetadata.layer = 2\n");
    let found = check(&[manifest]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].fix.contains("engine-net"));
}

#[test]
fn a_package_outside_the_workspace_needs_a_name_but_no_layer() {
    let fuzz = "[package]\nname = \"tools-fuzz\"\n[workspace]\n";
    assert_eq!(check(&[parse("tools/fuzz", fuzz)]), []);
}
