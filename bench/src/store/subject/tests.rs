use super::*;

#[test]
fn shares_are_of_what_was_counted_since() {
    let before = Counters { user_bytes: 100, writes: 1, read_bytes: 7, ..Counters::default() };
    let after = Counters {
        user_bytes: 1100,
        writes: 31,
        read_bytes: 257,
        written_bytes: 2500,
        flushes: 4,
        journal_bytes: 96,
        ring_bytes: 64,
    };
    let device = (after - before).device_bytes().expect("something was done");
    assert_eq!((device.read_per_byte, device.written_per_byte), (0.25, 2.5));
    assert_eq!(device.ops_per_flush, Some(7.5));
    assert_eq!(device.journal, Some(JournalTurns { ring_bytes: 64, turns: 1.5 }));
    assert!(!(after - before).has_turned() && Counters::default().has_turned());
    assert!(Counters { journal_bytes: 128, ..after }.has_turned());
}

#[test]
fn nothing_done_has_no_share() {
    assert_eq!(Counters::default().device_bytes(), None);
    let reads = Counters { user_bytes: 10, read_bytes: 10, ..Counters::default() };
    assert_eq!(reads.device_bytes().expect("done").ops_per_flush, None);
}
