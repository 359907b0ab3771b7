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
