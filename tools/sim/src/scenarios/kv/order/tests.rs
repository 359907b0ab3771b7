use super::*;

fn done(number: u8, round: u32, span: (u64, u64), version: u64, seen: Seen) -> Done {
    let stamp = Versionstamp::new(version, 0);
    Done { number, round, began: span.0, ended: span.1, stamp, seen }
}

fn wrote(value: u8) -> Seen {
    Seen { reads: Vec::new(), writes: vec![(vec![b'k'], vec![value])] }
}

fn read(value: Option<u8>) -> Seen {
    Seen { reads: vec![(vec![b'k'], value.map(|value| vec![value]))], writes: Vec::new() }
}

/// Each history breaks one promise; the first breaks none.
#[test]
fn histories_are_judged() {
    let rows = [
        (vec![done(0, 0, (1, 2), 5, wrote(1)), done(1, 0, (3, 4), 6, read(Some(1)))], None),
        // They overlap: either order explains the read.
        (vec![done(0, 0, (1, 4), 6, wrote(1)), done(1, 0, (2, 3), 5, read(None))], None),
        (
            vec![done(0, 0, (1, 2), 5, wrote(1)), done(1, 0, (3, 4), 6, read(None))],
            Some("T61 serialisable"),
        ),
        (
            vec![done(0, 0, (1, 2), 6, wrote(1)), done(1, 0, (3, 4), 5, read(None))],
            Some("T62 real time"),
        ),
        (
            vec![done(0, 0, (1, 2), 5, wrote(1)), done(1, 0, (3, 4), 5, wrote(2))],
            Some("T60 stamps are unique"),
        ),
    ];
    for (number, (history, broken)) in rows.into_iter().enumerate() {
        let found = check(&history).err().map(|failure| failure.check);
        assert_eq!(found, broken, "row {number}");
    }
}
