use super::*;

#[test]
fn the_share_in_use_is_of_what_can_be_used() {
    let rows = [(0, 0, 0), (0, 10, 0), (1, 999, 1), (50, 50, 50), (10, 0, 100)];
    for (used, available, expected) in rows {
        assert_eq!(percent(used, available), expected, "{used} used, {available} available");
    }
    assert_eq!(percent(u64::MAX, u64::MAX), 50);
}

#[test]
fn a_row_says_what_is_used() {
    let space = FsSpace {
        bytes: 100,
        bytes_free: 40,
        bytes_available: 30,
        files: 9,
        files_free: 7,
        age_ms: 1234,
        stores: 3,
        stores_silent: 1,
    };
    let report = Report::of(&space);
    assert_eq!((report.used, report.available, report.files_used), (60, 30, 2));
    assert_eq!(report.cells().len(), COLUMNS.len());
}
