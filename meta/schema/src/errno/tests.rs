use std::string::ToString;

use super::Errno;

/// As in `asm-generic/errno-base.h` and `errno.h`.
#[test]
fn numbers_are_those_of_linux() {
    let rows = [
        (Errno::EPERM, 1),
        (Errno::ENOENT, 2),
        (Errno::EINTR, 4),
        (Errno::EIO, 5),
        (Errno::ENXIO, 6),
        (Errno::E2BIG, 7),
        (Errno::EBADF, 9),
        (Errno::EAGAIN, 11),
        (Errno::ENOMEM, 12),
        (Errno::EACCES, 13),
        (Errno::EBUSY, 16),
        (Errno::EEXIST, 17),
        (Errno::EXDEV, 18),
        (Errno::ENODEV, 19),
        (Errno::ENOTDIR, 20),
        (Errno::EISDIR, 21),
        (Errno::EINVAL, 22),
        (Errno::ETXTBSY, 26),
        (Errno::EFBIG, 27),
        (Errno::ENOSPC, 28),
        (Errno::ESPIPE, 29),
        (Errno::EROFS, 30),
        (Errno::EMLINK, 31),
        (Errno::ERANGE, 34),
        (Errno::EDEADLK, 35),
        (Errno::ENAMETOOLONG, 36),
        (Errno::ENOLCK, 37),
        (Errno::ENOSYS, 38),
        (Errno::ENOTEMPTY, 39),
        (Errno::ELOOP, 40),
        (Errno::ENODATA, 61),
        (Errno::EOVERFLOW, 75),
        (Errno::EOPNOTSUPP, 95),
        (Errno::ETIMEDOUT, 110),
        (Errno::ESTALE, 116),
        (Errno::EDQUOT, 122),
    ];
    assert_eq!(rows.map(|(errno, _)| errno), *Errno::ALL);
    for (errno, code) in rows {
        assert_eq!(errno.code(), code, "{errno}");
        assert_eq!(Errno::from_code(code), Some(errno));
    }
    assert_eq!(Errno::from_code(0), None);
    assert!(Errno::ALL.is_sorted_by_key(|errno| errno.code()));
    assert_eq!(Errno::ENOTEMPTY.to_string(), "ENOTEMPTY: Directory not empty");
}
