use std::vec;
use std::vec::Vec;

use engine_types::Rng;

use super::*;
use crate::sample::any;

/// As `setfacl` writes it: `u::rwx,u:7:r--,g::r-x,g:8:-w-,m::rwx,o::---`.
pub(crate) fn entries(text: &str) -> Vec<AclEntry> {
    let entry = |part: &str| {
        let mut fields = part.split(':');
        let mut next = || fields.next().unwrap();
        let (tag, id, bits) = (next(), next(), next());
        let tag = match (tag, id.parse::<u32>()) {
            ("u", Err(_)) => AclTag::Owner,
            ("u", Ok(id)) => AclTag::User(Uid::new(id)),
            ("g", Err(_)) => AclTag::OwningGroup,
            ("g", Ok(id)) => AclTag::Group(Gid::new(id)),
            ("m", _) => AclTag::Mask,
            ("o", _) => AclTag::Other,
            other => panic!("{other:?}"),
        };
        let bits =
            bits.bytes().zip([4, 2, 1]).map(|(letter, bit)| if letter == b'-' { 0 } else { bit });
        AclEntry { tag, allowed: AccessMask::new(bits.sum()).unwrap() }
    };
    if text.is_empty() { Vec::new() } else { text.split(',').map(entry).collect() }
}

pub(crate) fn acl(text: &str) -> Acl {
    Acl::new(entries(text)).unwrap()
}

/// The cases of `posix_acl_valid`.
#[test]
fn e405_lists_are_checked_as_the_kernel_does() {
    let good = [
        "u::rwx,g::r-x,o::---",
        "u::rwx,g::r-x,m::r--,o::---",
        "u::rwx,u:7:r--,g::r-x,m::rwx,o::---",
        "u::rwx,g::r-x,g:8:r--,m::rwx,o::---",
        "u::rwx,u:7:r--,u:7:rwx,g::r-x,m::rwx,o::---",
        "u::rwx,u:9:r--,u:7:rwx,g::r-x,g:8:r--,m::rwx,o::---",
    ];
    let bad = [
        "",
        "u::rwx",
        "u::rwx,g::r-x",
        "g::r-x,u::rwx,o::---",
        "u::rwx,u::rwx,g::r-x,o::---",
        "u::rwx,g::r-x,g::r-x,o::---",
        "u::rwx,g::r-x,o::---,o::---",
        "u::rwx,u:7:r--,g::r-x,o::---",
        "u::rwx,g::r-x,g:8:r--,o::---",
        "u::rwx,g::r-x,u:7:r--,m::rwx,o::---",
        "u::rwx,m::rwx,g::r-x,o::---",
        "u::rwx,g::r-x,m::rwx,m::rwx,o::---",
        "u::rwx,g::r-x,o::---,m::rwx",
        "u::rwx,u:4294967295:r--,g::r-x,m::rwx,o::---",
        "u::rwx,g::r-x,g:4294967295:r--,m::rwx,o::---",
    ];
    for text in good {
        assert!(Acl::new(entries(text)).is_ok(), "{text}");
    }
    for text in bad {
        assert_eq!(Acl::new(entries(text)), Err(Errno::EINVAL), "{text}");
    }
    let many = |count: usize| {
        let mut list = entries("u::rwx,g::r-x,m::rwx,o::---");
        list.splice(1..1, vec![entries("u:7:r--")[0]; count]);
        Acl::new(list)
    };
    assert!(many(60).is_ok());
    assert_eq!(many(61), Err(Errno::E2BIG));
}

/// `linux/posix_acl_xattr.h`, and what `posix_acl_from_xattr` says to each.
#[test]
fn attributes_of_linux() {
    let golden = [
        2, 0, 0, 0, // version
        1, 0, 7, 0, 255, 255, 255, 255, // owner
        2, 0, 4, 0, 7, 0, 0, 0, // user 7
        4, 0, 5, 0, 255, 255, 255, 255, // group
        8, 0, 2, 0, 8, 0, 0, 0, // group 8
        16, 0, 7, 0, 255, 255, 255, 255, // mask
        32, 0, 0, 0, 255, 255, 255, 255, // others
    ];
    let list = acl("u::rwx,u:7:r--,g::r-x,g:8:-w-,m::rwx,o::---");
    assert_eq!(list.to_xattr(), golden);
    assert_eq!(Acl::from_xattr(&golden), Ok(Some(list)));
    assert_eq!(Acl::from_xattr(&golden[..4]), Ok(None));
    assert_eq!(Acl::from_xattr(&[]), Ok(None));
    let changed = |at: usize, byte: u8| {
        let mut value = golden;
        value[at] = byte;
        Acl::from_xattr(&value)
    };
    assert_eq!(changed(0, 1), Err(Errno::EOPNOTSUPP));
    assert_eq!(changed(4, 3), Err(Errno::EINVAL), "tag");
    assert_eq!(changed(5, 1), Err(Errno::EINVAL), "tag of 16 bits");
    assert_eq!(changed(6, 8), Err(Errno::EINVAL), "permissions");
    assert_eq!(changed(7, 1), Err(Errno::EINVAL), "permissions of 16 bits");
    assert_eq!(changed(8, 0).map(|list| list.is_some()), Ok(true), "ids that have no meaning");
    for cut in 0..golden.len() {
        let whole = cut == 0 || cut == 4;
        assert_eq!(Acl::from_xattr(&golden[..cut]).is_ok(), whole, "{cut} bytes");
    }
    let rng = &mut Rng::new(1);
    for _ in 0..300 {
        let list: Acl = any(rng);
        assert_eq!(Acl::from_xattr(&list.to_xattr()), Ok(Some(list)));
    }
}

/// acl(5), "Correspondence between ACL entries and file permission bits".
#[test]
fn e405_mode_and_list_are_in_step() {
    #[rustfmt::skip]
    let rows = [
        // list, mode, chmod to, list afterwards
        ("u::rwx,g::r-x,o::---", 0o750, 0o604, "u::rw-,g::---,o::r--"),
        ("u::rw-,g::rwx,m::r--,o::---", 0o640, 0o771, "u::rwx,g::rwx,m::rwx,o::--x"),
        ("u::rw-,u:7:-wx,g::rwx,m::r--,o::---", 0o640, 0o600,
            "u::rw-,u:7:-wx,g::rwx,m::---,o::---"),
    ];
    for (before, mode, chmod, after) in rows {
        let list = acl(before);
        assert_eq!(list.mode(Mode::new(0o1777)), Mode::new(0o1000 | mode), "{before}");
        assert_eq!(list.with_mode(Mode::new(chmod)), acl(after), "{before}");
        assert_eq!(list.is_minimal(), before.len() == 20, "{before}");
    }
    for bits in 0..0o7777 {
        let mode = Mode::new(bits);
        assert!(Acl::of_mode(mode).is_minimal());
        assert_eq!(Acl::of_mode(mode).mode(mode), mode);
        assert_eq!(Acl::new(Acl::of_mode(mode).entries().to_vec()), Ok(Acl::of_mode(mode)));
    }
    let rng = &mut Rng::new(2);
    for _ in 0..500 {
        let (list, mode): (Acl, Mode) = (any(rng), any(rng));
        assert_eq!(list.with_mode(mode).mode(mode), mode, "{list:?}");
    }
}

/// acl(5), "Object creation and default ACLs"; the cases of `posix_acl_create_masq`.
#[test]
fn e405_new_inodes_inherit() {
    #[rustfmt::skip]
    let rows = [
        // default ACL, mode asked for, mode, ACL
        ("u::rwx,g::r-x,o::---", 0o666, 0o640, None),
        ("u::r--,g::r--,o::r--", 0o2777, 0o2444, None),
        ("u::rwx,u:7:rwx,g::r-x,m::rwx,o::r-x", 0o644, 0o644,
            Some("u::rw-,u:7:rwx,g::r-x,m::r--,o::r--")),
        ("u::rwx,u:7:rwx,g::rwx,m::r-x,o::---", 0o777, 0o750,
            Some("u::rwx,u:7:rwx,g::rwx,m::r-x,o::---")),
        ("u::rwx,g::rwx,m::rw-,o::---", 0o660, 0o660, Some("u::rw-,g::rwx,m::rw-,o::---")),
    ];
    for (default, asked, mode, expected) in rows {
        let born = acl(default).inherit(Mode::new(asked));
        assert_eq!(born, (Mode::new(mode), expected.map(acl)), "{default} {asked:o}");
    }
}

/// acl(5), "Access check algorithm". Owner 1, group 2.
#[test]
fn who_may_what() {
    let list = "u::rw-,u:7:rwx,u:8:---,g::r--,g:20:rw-,g:30:--x,m::rw-,o::r-x";
    #[rustfmt::skip]
    let rows: [(u32, &[u32], u8, bool); 18] = [
        // user, groups, wanted, allowed
        (1, &[], 6, true),
        (1, &[20], 1, false),  // the owner's entry alone counts
        (7, &[], 6, true),
        (7, &[], 1, false),    // masked
        (7, &[2], 4, true),
        (8, &[20], 4, false),  // the user's entry alone counts
        (8, &[20], 0, true),
        (9, &[2], 4, true),
        (9, &[2], 2, false),
        (9, &[2, 20], 2, true),
        (9, &[2, 20], 6, true),
        (9, &[20], 1, false),
        (9, &[30], 1, false),  // masked
        (9, &[20, 30], 3, false), // no single entry has both
        (9, &[30], 4, false),  // a member of some group is not "others"
        (9, &[], 5, true),
        (9, &[], 2, false),
        (9, &[40], 4, true),
    ];
    for (uid, groups, wanted, expected) in rows {
        let in_group = |gid: Gid| groups.contains(&gid.get());
        let wanted = AccessMask::new(wanted).unwrap();
        let found = acl(list).permits(Uid::new(1), Gid::new(2), Uid::new(uid), in_group, wanted);
        assert_eq!(found, expected, "user {uid}, groups {groups:?}, {wanted}");
    }
    let empty = acl("u::rwx,u:7:rwx,g::rwx,m::---,o::r--");
    let found = empty.permits(Uid::new(1), Gid::new(2), Uid::new(7), |_| false, AccessMask::READ);
    assert!(!found, "an empty mask does not turn users of the list into others");
}
