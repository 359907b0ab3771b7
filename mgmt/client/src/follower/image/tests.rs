//! Pieces that fit, and pieces that do not (E335).

use super::*;

fn at(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 7000))
}

fn piece(from: u8, version: u64, total: u64, offset: u64, bytes: &[u8]) -> Piece {
    let version = RoutingVersion::new(version);
    Piece { from: at(from), version, total, offset, bytes: bytes.to_vec() }
}

#[test]
fn pieces_of_one_version_and_manager_make_an_image() {
    let mut image = Image::default();
    assert_eq!(image.wanted(), None);
    assert_eq!(image.take(piece(1, 5, 6, 0, b"ab")), Taken::More);
    assert_eq!(image.wanted(), Some((RoutingVersion::new(5), 2)));
    assert_eq!(image.take(piece(1, 5, 6, 2, b"c")), Taken::More);
    // Another version, then another manager with the same one: each begins anew.
    assert_eq!(image.take(piece(1, 6, 4, 0, b"xy")), Taken::More);
    assert_eq!(image.take(piece(2, 6, 4, 0, b"z")), Taken::More);
    assert_eq!(image.wanted(), Some((RoutingVersion::new(6), 1)));
    assert_eq!(image.take(piece(2, 6, 4, 1, b"yxw")), Taken::Whole(b"zyxw".to_vec()));
    assert_eq!(image.wanted(), None);
    assert_eq!(image.take(piece(2, 6, 4, 0, b"zyxw")), Taken::Whole(b"zyxw".to_vec()));
    assert_eq!(image.take(piece(2, 7, 0, 0, b"")), Taken::Whole(Vec::new()));
}

#[test]
fn pieces_that_do_not_fit_are_refused() {
    #[rustfmt::skip]
    let rows = [
        ("behind a gap", piece(1, 5, 9, 4, b"e")),
        ("once more", piece(1, 5, 9, 1, b"bc")),
        ("from the beginning", piece(1, 5, 9, 0, b"abc")),
        ("beyond the end", piece(1, 5, 9, 3, b"defghij")),
        ("nothing", piece(1, 5, 9, 3, b"")),
        ("of another manager", piece(2, 5, 9, 3, b"def")),
        ("of another version", piece(1, 6, 9, 3, b"def")),
        ("of another length", piece(1, 5, 10, 3, b"def")),
        ("at the end of numbers", piece(1, 5, 9, u64::MAX, b"def")),
        ("of a huge image", piece(1, 6, IMAGE_BYTES_MAX + 1, 0, b"def")),
    ];
    for (what, next) in rows {
        let mut image = Image::default();
        assert_eq!(image.take(piece(1, 5, 9, 0, b"abc")), Taken::More);
        assert!(matches!(image.take(next), Taken::Nonsense(_)), "{what}");
        assert_eq!(image.wanted(), None, "{what}: it begins anew");
    }
}
