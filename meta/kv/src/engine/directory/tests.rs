use super::*;
use crate::engine::tests::TestDirectory;

#[test]
fn what_is_there_decides() {
    let test = TestDirectory::new();
    let path = test.0.join("store");
    assert_eq!(Directory::take(&path).unwrap_err(), OpenError::Missing { path: path.clone() });
    let directory = Directory::prepare(&path).unwrap();
    assert_eq!(directory.store(), Err(OpenError::Missing { path: path.clone() }));
    for name in [CREATE_FILE, RESTORE_FILE] {
        fs::write(directory.file(name), "half").unwrap();
        let unfinished = OpenError::Unfinished { path: directory.file(name) };
        assert_eq!(directory.store(), Err(unfinished));
        fs::remove_file(directory.file(name)).unwrap();
    }
    fs::write(directory.file(RESTORE_FILE), "whole").unwrap();
    directory.publish(RESTORE_FILE).unwrap();
    assert_eq!(fs::read(directory.store().unwrap()).unwrap(), b"whole");
    drop(directory);
    let error = Directory::prepare(&path).unwrap_err();
    assert_eq!(error, OpenError::NotEmpty { path, found: STORE_FILE.to_owned() });
}

/// E213: a name is durable when the directory that holds it is, so each one on the way that was
/// made is flushed in its parent, and so is what an interrupted attempt may have made last.
#[test]
fn every_directory_that_is_made_is_flushed_in_its_parent() {
    let test = TestDirectory::new();
    let made = |path: &Path| {
        let mut flushed = Vec::new();
        make(path, |parent| {
            let names = fs::read_dir(parent).unwrap();
            flushed.push((parent.to_path_buf(), names.count()));
            Ok(())
        })
        .unwrap();
        flushed
    };
    let root = &test.0;
    let (outer, inner, store) = (root.join("a"), root.join("a/b"), root.join("a/b/store"));
    let above = (root.parent().unwrap().to_path_buf(), 0);
    let mut flushed = made(&store);
    assert_eq!(flushed.remove(0).0, above.0, "where it began may be new as well");
    // Each after the name came into it.
    assert_eq!(flushed, [(root.clone(), 1), (outer.clone(), 1), (inner.clone(), 1)]);
    assert_eq!(made(&store), [(inner.clone(), 1)]);
    assert!(store.is_dir());
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&inner).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
    // What cannot be flushed is not there to rely on; above all that was made it does not matter.
    let broken = || Err(OpenError::Missing { path: PathBuf::new() });
    make(&root.join("c/store"), |_| broken()).unwrap_err();
    let near = |parent: &Path| if parent == above.0 { broken() } else { Ok(()) };
    make(&root.join("d/store"), near).unwrap();
    fs::write(root.join("file"), "").unwrap();
    let error = make(&root.join("file"), |_| Ok(())).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

/// Paths are relative to where the process is, too.
#[test]
fn parents_of_relative_paths() {
    for (path, parent) in [("store", "."), ("a/store", "a"), ("/store", "/"), ("/", "/")] {
        assert_eq!(holder(Path::new(path)), Path::new(parent));
    }
}

/// E213: what an interrupted attempt left makes way for the next.
#[test]
fn leftovers_are_removed() {
    let test = TestDirectory::new();
    for name in [CREATE_FILE, RESTORE_FILE, LOCK_FILE] {
        fs::write(test.0.join(name), "half").unwrap();
    }
    let directory = Directory::prepare(&test.0).unwrap();
    assert!(!directory.file(CREATE_FILE).exists() && !directory.file(RESTORE_FILE).exists());
    let error = Directory::prepare(&test.0).unwrap_err();
    let holder = std::process::id().to_string();
    assert_eq!(error, OpenError::Locked { path: test.0.clone(), holder });
    assert_eq!(
        fs::read_to_string(directory.file(LOCK_FILE)).unwrap().trim().parse(),
        Ok(std::process::id())
    );
}
