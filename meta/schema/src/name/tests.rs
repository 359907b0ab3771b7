use std::vec;
use std::vec::Vec;

use super::*;

/// POSIX.1-2017 4.13 and path_resolution(7).
#[test]
fn names() {
    let long = [b'a'; 256];
    let rows: [(&[u8], Result<(), Errno>); 12] = [
        (b"", Err(Errno::ENOENT)),
        (b"a", Ok(())),
        (b" ", Ok(())),
        (b"\xff\xfe", Ok(())),
        (b"...", Ok(())),
        (&long[..255], Ok(())),
        (&long, Err(Errno::ENAMETOOLONG)),
        (b"a/b", Err(Errno::EINVAL)),
        (b"/", Err(Errno::EINVAL)),
        (b"a\0", Err(Errno::EINVAL)),
        (b".", Err(Errno::EINVAL)),
        (b"..", Err(Errno::EINVAL)),
    ];
    for (name, expected) in rows {
        assert_eq!(check(name), expected, "{name:?}");
    }
    assert_eq!(component(b"."), Ok(Component::Current));
    assert_eq!(component(b".."), Ok(Component::Parent));
    assert_eq!(component(b"..."), Ok(Component::Name(b"...")));
}

#[test]
fn paths_and_targets() {
    let long = vec![b'a'; 4096];
    let rows: [(&[u8], Result<(), Errno>); 5] = [
        (b"", Err(Errno::ENOENT)),
        (b"../a//b", Ok(())),
        (&long[..4095], Ok(())),
        (&long, Err(Errno::ENAMETOOLONG)),
        (b"a\0b", Err(Errno::EINVAL)),
    ];
    for (text, expected) in rows {
        assert_eq!((check_path(text), check_target(text)), (expected, expected), "{text:?}");
    }
}

#[test]
fn components_of_paths() {
    let of = |path: &'static [u8]| components(path).collect::<Vec<_>>();
    assert_eq!(of(b"/"), Vec::<&[u8]>::new());
    assert_eq!(of(b"a"), [b"a"]);
    assert_eq!(of(b"//a///b/"), [b"a", b"b"]);
    assert_eq!(of(b"./.."), [&b"."[..], b".."]);
    assert!(wants_directory(b"a/") && wants_directory(b"/") && !wants_directory(b"a"));
}

/// setxattr(2): ERANGE for a name that is empty or too long.
#[test]
fn names_of_attributes() {
    let long = [b'a'; 256];
    assert_eq!(check_xattr(b""), Err(Errno::ERANGE));
    assert_eq!(check_xattr(&long), Err(Errno::ERANGE));
    assert_eq!(check_xattr(&long[..255]), Ok(()));
    assert_eq!(check_xattr(b"user.\0"), Err(Errno::EINVAL));
}
