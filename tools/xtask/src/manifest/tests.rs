use super::*;

#[test]
fn every_way_to_write_a_dependency_is_read() {
    let text = "[package] # the crate\nname = \"engine-net\"\n\n[package.metadata]\nlayer = 2\n\n\
        [dependencies]\na.workspace = true\n\
        b = { workspace = true, features = [\n  \"x\", # y\n] }\n\
        c = \"1\"\nd = { version = \"1\", package = \"real-d\" }\n\n\
        [dependencies.e]\nversion = \"1\"\n\n[target.'cfg(unix)'.dev-dependencies]\n\
        a.workspace = true\n\n[build-dependencies]\nf.version = \"1\"\n";
    let manifest = parse("engine/net", text);
    assert_eq!(manifest.name.as_deref(), Some("engine-net"));
    assert_eq!(manifest.layer, Some(2));
    assert!(manifest.is_member());
    use DependencyKind::{Build, Dev, Normal};
    let found: Vec<_> = manifest
        .dependencies
        .iter()
        .map(|d| (d.package.as_str(), d.kind, d.inherited, d.line))
        .collect();
    #[rustfmt::skip]
    assert_eq!(found, [
        ("a",      Normal, true,  8),
        ("b",      Normal, true,  9),
        ("c",      Normal, false, 12),
        ("real-d", Normal, false, 13),
        ("e",      Normal, false, 16),
        ("a",      Dev,    true,  19),
        ("f",      Build,  false, 22),
    ]);
}

#[test]
fn a_workspace_shares_versions_and_is_no_member() {
    let text = "[workspace]\nmembers = [\n  \"a\",\n]\n[workspace.dependencies]\n\
        x = \"1\"\ny = { package = \"z\", version = \"1\" }\n";
    let manifest = parse("", text);
    assert!(!manifest.is_member());
    assert!(manifest.dependencies.is_empty());
    let shared = [("x", "x", 6), ("y", "z", 7)];
    assert_eq!(manifest.shared, shared.map(|(a, b, line)| (a.to_owned(), b.to_owned(), line)));
}
