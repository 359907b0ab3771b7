use std::format;

use super::*;

/// The numbers are the wire format: this table only ever grows at its end.
#[test]
fn codes_never_change() {
    use {Retry as R, Status as S};
    #[rustfmt::skip]
    let rows = [
        (0,  S::Ok,                 R::Never),
        (1,  S::InvalidArgument,    R::Never),
        (2,  S::UnsupportedKind,    R::Never),
        (3,  S::UnsupportedVersion, R::Never),
        (4,  S::BadChecksum,        R::AfterBackoff),
        (5,  S::TooLarge,           R::Never),
        (6,  S::Busy,               R::AfterBackoff),
        (7,  S::DeadlineExceeded,   R::IfIdempotent),
        (8,  S::Cancelled,          R::IfIdempotent),
        (9,  S::NotAuthenticated,   R::Never),
        (10, S::WrongCluster,       R::Never),
        (11, S::WrongNode,          R::RefreshRouting),
        (12, S::StaleChain,         R::RefreshRouting),
        (13, S::NotLeased,          R::OtherTarget),
        (14, S::NotFound,           R::Never),
        (15, S::NoSpace,            R::Never),
        (16, S::Draining,           R::OtherTarget),
        (17, S::Internal,           R::IfIdempotent),
        (18, S::UnknownResult,      R::IfIdempotent),
        (19, S::Malformed,          R::Never),
        (20, S::Aborted,            R::AfterBackoff),
        (21, S::UpdateInFlight,     R::SameTarget),
        (22, S::Unreachable,        R::OtherTarget),
        (23, S::Corrupt,            R::OtherTarget),
        (24, S::Fenced,             R::Never),
        (25, S::StaleEpoch,         R::Never),
        (26, S::OldRequest,         R::Never),
    ];
    assert_eq!(rows.len(), S::ALL.len(), "a status without a row");
    for ((code, status, retry), listed) in rows.into_iter().zip(S::ALL) {
        assert_eq!((status, code), (*listed, status.code()));
        assert_eq!(S::from_code(code), status);
        assert_eq!(status.retry(), retry, "{status}");
        assert_eq!(status.is_ok(), code == 0);
    }
}

#[test]
fn a_code_of_a_newer_peer_is_an_error_with_unknown_effect() {
    for code in [27, 999, u16::MAX] {
        let status = Status::from_code(code);
        assert_eq!(status, Status::Unrecognised(code));
        assert_eq!(status.code(), code, "it is passed on as it came");
        assert!(!status.is_ok());
        assert_eq!(status.retry(), Retry::IfIdempotent);
        assert_eq!(format!("{status}"), format!("status unknown to this version ({code})"));
    }
}
