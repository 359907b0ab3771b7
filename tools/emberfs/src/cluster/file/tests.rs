use super::*;
use crate::exit::Exit;
use crate::testing::Folder;

const ID: ClusterId = ClusterId::new(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

#[test]
fn a_file_is_for_its_owner_and_is_read_back() {
    let folder = Folder::new("cluster-file");
    let path = folder.path("c.toml");
    create(&path, ID, &[0xa5; 32]).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let read = ClusterFile::read(&path).unwrap();
    assert_eq!(read.id, ID);
    assert!(read.secret == "a5".repeat(32).parse().unwrap());
    let before = fs::read(&path).unwrap();
    let failure = create(&path, ID, &[1; 32]).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.error.to_string().contains("is not overwritten"));
    assert_eq!(fs::read(&path).unwrap(), before);
    let nowhere = create(&folder.path("no/c.toml"), ID, &[1; 32]).unwrap_err();
    assert_eq!(nowhere.exit, Exit::Environment);
}

#[test]
fn a_file_that_others_can_use_is_refused() {
    let folder = Folder::new("cluster-mode");
    let path = folder.path("c.toml");
    create(&path, ID, &[1; 32]).unwrap();
    for (mode, usable) in [
        (0o600, true),
        (0o400, true),
        (0o640, false),
        (0o604, false),
        (0o620, false),
        (0o777, false),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let read = ClusterFile::read(&path);
        assert_eq!(read.is_ok(), usable, "{mode:o}");
        if let Err(failure) = read {
            assert_eq!(failure.exit, Exit::Usage);
            assert_eq!(failure.hint, Some(format!("chmod 600 {}", path.display())));
        }
    }
}

#[test]
fn a_bad_file_is_told_without_its_secret() {
    let id = "id = '01234567-89ab-cdef-0123-456789abcdef'\n";
    let digits = "c0ffee".repeat(11);
    for (text, expected) in [
        (String::new(), "f has 2 mistakes"),
        (id.to_owned(), "f:1:1: secret is missing, expected 64 hexadecimal digits"),
        (format!("{id}secret = '{digits}'"), "f:2:10: secret: found something else, expected 64"),
        (format!("{id}secret = '{}x'", &digits[..63]), "position 63 is no hexadecimal digit"),
        (format!("{id}secret = '{}'", "0".repeat(64)), "all bytes are zero"),
        (format!("{id}secret = {digits}"), "f:2:1"),
        (format!("{id}secret = '{}'\nkey = 1", &digits[..64]), "f:3:1: unknown key \"key\""),
        (
            format!("id = 'mine'\nsecret = '{}'", &digits[..64]),
            "f:1:6: id: found \"mine\", expected a UUID",
        ),
    ] {
        let error = ClusterFile::parse(Path::new("f"), &text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("c0ffee"), "{error}");
    }
}
