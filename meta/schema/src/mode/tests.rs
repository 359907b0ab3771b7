use std::format;

use super::*;

#[test]
fn types_are_those_of_st_mode_and_d_type() {
    let rows = [
        (FileType::Fifo, 0o010_000, 1),
        (FileType::CharDevice, 0o020_000, 2),
        (FileType::Directory, 0o040_000, 4),
        (FileType::BlockDevice, 0o060_000, 6),
        (FileType::Regular, 0o100_000, 8),
        (FileType::Symlink, 0o120_000, 10),
        (FileType::Socket, 0o140_000, 12),
    ];
    for (kind, bits, code) in rows {
        assert_eq!((kind.mode_bits(), kind.code()), (bits, code));
        assert_eq!(FileType::from_mode_bits(bits | 0o7777), Some(kind));
        assert_eq!(FileType::from_code(code), Some(kind));
        assert_eq!(Mode::new(0o644).with_type(kind), bits | 0o644);
    }
    for mode in [0, 0o644, 0o030_000, 0o170_000] {
        assert_eq!(FileType::from_mode_bits(mode), None);
    }
    assert_eq!((FileType::from_code(16), FileType::from_code(0x18)), (None, None));
}

#[test]
fn modes_are_twelve_bits_in_classes() {
    let mode = Mode::new(0o170_000 | 0o4751);
    assert_eq!(mode.bits(), 0o4751);
    assert_eq!(format!("{} {mode:?}", mode), "4751 0o4751");
    let classes = [mode.owner(), mode.group(), mode.other()];
    assert_eq!(classes.map(AccessMask::bits), [7, 5, 1]);
    let [owner, group, other] = classes;
    assert_eq!(mode.with_classes(other, owner, group), Mode::new(0o4175));
    assert!(mode.has(Mode::SETUID) && !mode.has(Mode::SETUID.with(Mode::SETGID)));
    assert_eq!(mode.without(Mode::SETUID), Mode::new(0o751));
    assert_eq!(format!("{group}{other}"), "r-x--x");
    assert_eq!(AccessMask::new(8), None);
    assert!(AccessMask::ALL.has(AccessMask::READ.or(AccessMask::WRITE)));
    assert!(AccessMask::NONE.has(AccessMask::NONE) && !group.has(AccessMask::WRITE));
}
