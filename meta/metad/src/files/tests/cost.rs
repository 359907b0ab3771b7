//! What merged operations read in conflict mode, write, and how many round trips they take: their
//! rows of the second table of meta/DESIGN.md.

use std::collections::BTreeMap;

use super::*;
use crate::op::tests::cost::Names;

/// What of an operation on `f`, the caller's own, is counted: round trips, reads, writes.
type Row = (&'static str, Operation, u64, &'static [&'static str], &'static [&'static str]);

#[rustfmt::skip]
fn rows(file: &Opened) -> Vec<Row> {
    let ino = file.ino;
    let truncate_epoch = file.epoch;
    let told = Some(ask::Hint { truncate_epoch, end: 50, modified: true, in_doubt: false });
    let doubt = told.map(|hint| ask::Hint { in_doubt: true, ..hint });
    let plain: &[&str] = &["inode f", "mark f", "session f"];
    let whole: &[&str] = &["cut f", "inode f", "mark f", "sessions f"];
    let sync = |hint| ask::Sync { ino, hint, atime: None };
    let close = |hint| ask::Close { ino, hint, atime: None };
    let mode = AttrChange { mode: Some(Mode::new(0o600)), ..Default::default() };
    vec![
        ("sync", sync(None).into(), 1, plain, &[]),
        ("sync with a hint", sync(told).into(), 1, whole, &["inode f"]),
        ("sync in doubt", sync(doubt).into(), 1, whole, &["inode f", "mark f"]),
        ("close", close(None).into(), 1, plain, &["session f", "session of f"]),
        ("close with a hint", close(told).into(), 1, whole,
            &["inode f", "session f", "session of f"]),
        ("append", ask::Append { ino, length: 7 }.into(), 1, whole, &["inode f"]),
        ("setattr", ask::SetAttr { ino, change: mode }.into(), 1, plain, &["inode f"]),
        ("longer", Mount::size(ino, 90).into(), 1, whole, &["inode f"]),
        ("cut", Mount::size(ino, 5).into(), 1, whole, &["cut f", "inode f"]),
    ]
}

#[test]
fn conflict_sets_and_round_trips_of_merged_operations_are_those_of_the_design() {
    with_bed(1, async |bed| {
        let chunks = fake(&bed);
        let mount = Mount::new(&service(&bed, &chunks, 1001), 5);
        let mut row = 0;
        loop {
            let file = mount.create(&format!("f{row}")).await;
            mount.truncate(file.ino, 20).await.unwrap();
            let Some((what, operation, rounds, reads, writes)) = rows(&file).into_iter().nth(row)
            else {
                break;
            };
            bed.source().take_log();
            mount.ask(operation).await.unwrap_or_else(|why| panic!("{what}: {why}"));
            // What follows the commit (chunks that are asked or cut) is not a part of the row.
            let mut log = bed.source().take_log();
            log.commits.truncate(1);
            let names = Names(BTreeMap::from([(file.ino, "f")]));
            names.check(what, &log, reads, writes);
            if !matches!(what, "longer" | "cut" | "sync in doubt") {
                assert_eq!((log.views, log.rounds), (1, rounds), "{what}: round trips");
            }
            row += 1;
        }
        assert_eq!(row, 9);
    });
}
