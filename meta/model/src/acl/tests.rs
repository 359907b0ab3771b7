//! Lists of acl(5) and POSIX.1e's examples.

use alloc::vec;
use alloc::vec::Vec;

use super::{Acl, Parsed};
use meta_schema::Gid;

use crate::who::Who;

/// Entries as (tag, rights, id).
fn bytes(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    for (tag, rights, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(rights.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

const NO: u32 = u32::MAX;

fn list() -> Acl {
    Acl {
        owner: 7,
        users: vec![(5, 6)],
        group: 4,
        groups: vec![(50, 3), (60, 6)],
        mask: Some(6),
        other: 1,
    }
}

#[test]
fn bytes_of_linux_are_read_and_written() {
    let entries = bytes(&[
        (1, 7, NO),
        (2, 6, 5),
        (4, 4, NO),
        (8, 3, 50),
        (8, 6, 60),
        (0x10, 6, NO),
        (0x20, 1, NO),
    ]);
    assert_eq!(Acl::parse(&entries), Parsed::List(list()));
    assert_eq!(list().bytes(), entries);
    assert_eq!(list().mode(), 0o761, "E464: the group class is the mask");
    assert_eq!(Acl::of_mode(0o754).bytes(), bytes(&[(1, 7, NO), (4, 5, NO), (0x20, 4, NO)]));
}

#[test]
fn what_is_no_list_is_refused() {
    assert_eq!(Acl::parse(&[]), Parsed::Nothing);
    assert_eq!(Acl::parse(&bytes(&[])), Parsed::Nothing);
    assert_eq!(Acl::parse(&[1, 0, 0, 0]), Parsed::Version);
    #[rustfmt::skip]
    let rows: [(&str, Vec<u8>); 9] = [
        ("cut head", vec![2, 0, 0]),
        ("cut entry", bytes(&[(1, 7, NO), (4, 5, NO), (0x20, 4, NO)])[..27].to_vec()),
        ("no owner", bytes(&[(4, 5, NO), (0x20, 4, NO)])),
        ("no other", bytes(&[(1, 7, NO), (4, 5, NO)])),
        ("named user without mask", bytes(&[(1, 7, NO), (2, 1, 5), (4, 5, NO), (0x20, 4, NO)])),
        ("order", bytes(&[(4, 5, NO), (1, 7, NO), (0x20, 4, NO)])),
        ("twice", bytes(&[(1, 7, NO), (1, 7, NO), (4, 5, NO), (0x20, 4, NO)])),
        ("rights", bytes(&[(1, 8, NO), (4, 5, NO), (0x20, 4, NO)])),
        ("tag", bytes(&[(1, 7, NO), (3, 7, NO), (4, 5, NO), (0x20, 4, NO)])),
    ];
    for (what, bytes) in rows {
        assert_eq!(Acl::parse(&bytes), Parsed::Bad, "{what}");
    }
}

#[test]
fn rights_are_those_of_acl_5() {
    // uid, gid, groups, rights -> granted; the file is of 1 and 10.
    #[rustfmt::skip]
    let rows: [(u32, u32, &[u32], u16, bool); 12] = [
        (1, 99, &[], 7, true),          // owner: the mask does not count
        (5, 99, &[], 6, true),          // named user
        (5, 10, &[60], 1, false),       // named user stops the search
        (2, 10, &[], 4, true),          // owning group
        (2, 10, &[], 2, false),
        (2, 99, &[60], 6, true),        // named group
        (2, 50, &[], 1, false),         // masked
        (2, 50, &[], 2, true),
        (2, 10, &[50], 6, false),       // rights of two entries do not add up
        (2, 10, &[60], 6, true),        // one of several entries has them all
        (2, 99, &[], 1, true),          // other
        (2, 10, &[], 1, false),         // a member never falls back to other
    ];
    for (uid, gid, groups, rights, granted) in rows {
        let groups: Vec<Gid> = groups.iter().copied().map(Gid::new).collect();
        let who = Who { uid, gid, groups: &groups };
        assert_eq!(list().grants(&who, 1, 10, rights), granted, "{who:?} {rights:o}");
    }
    let who = Who { uid: 2, gid: 10, groups: &[] };
    assert!(!Acl::of_mode(0o707).grants(&who, 1, 10, 4), "group class before other");
}

#[test]
fn e464_chmod_and_inheritance_keep_mode_and_list_in_step() {
    let mut acl = list();
    acl.chmod(0o640);
    assert_eq!((acl.owner, acl.group, acl.mask, acl.other), (6, 4, Some(4), 0));
    let (acl, mode) = list().inherited(0o2606);
    assert_eq!((acl.owner, acl.group, acl.mask, acl.other), (6, 4, Some(0), 0));
    assert_eq!(mode, 0o2600);
    let (acl, mode) = Acl::of_mode(0o750).inherited(0o666);
    assert_eq!((acl.is_mode(), mode), (true, 0o640));
}
