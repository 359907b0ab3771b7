use super::*;

/// A tree made of (path, text) pairs, for the checks' own tests.
pub(crate) fn tree(files: &[(&str, &str)]) -> Tree {
    Tree(
        files
            .iter()
            .map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() })
            .collect(),
    )
}

#[test]
fn a_folder_is_not_a_prefix_of_a_name() {
    let file = File { path: "engine/runtime2/src/lib.rs".to_owned(), text: String::new() };
    assert!(file.is_in("engine/runtime2"));
    assert!(file.is_in("engine"));
    assert!(!file.is_in("engine/runtime"));
}

#[test]
fn this_very_file_is_in_the_tree_and_build_output_is_not() {
    let tree = Tree::read(&root().expect("the root exists")).expect("git lists the tree");
    assert!(tree.get("tools/xtask/src/tree/tests.rs").is_some());
    assert!(tree.0.iter().all(|file| !file.path.starts_with("target/")));
}
