use super::*;
use crate::id::{Gid, Uid};
use crate::inode::{DirectoryData, InodeKind};
use crate::mode::Mode;

fn at(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn directory() -> Inode {
    let kind = InodeKind::Directory(DirectoryData::default());
    Inode::new(Mode::new(0o755), Uid::ROOT, Gid::ROOT, at(100), kind)
}

/// What the KV does with `Add`: numbers of 128 bits, little-endian.
fn add(value: [u8; 16], operand: [u8; 16]) -> [u8; 16] {
    u128::from_le_bytes(value).wrapping_add(u128::from_le_bytes(operand)).to_le_bytes()
}

/// What the KV does with `Max`.
fn max(value: [u8; 16], operand: [u8; 16]) -> [u8; 16] {
    u128::from_le_bytes(value).max(u128::from_le_bytes(operand)).to_le_bytes()
}

#[test]
fn golden_side_keys() {
    let counts = SideCounts { change: 0x0102, nlink: -2 };
    let bytes = [2, 1, 0, 0, 0, 0, 0, 0, 254, 255, 255, 255, 255, 255, 255, 255];
    assert_eq!(counts.encode(), bytes);
    assert_eq!(SideCounts::decode(Some(&bytes)), Ok(counts));
    let times = SideTimes::event(3, at(0x0102));
    let bytes = [2, 1, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(times.encode(), bytes);
    assert_eq!(SideTimes::decode(Some(&bytes)), Ok(times));
    assert_eq!(SideCounts::decode(None), Ok(SideCounts::default()));
    assert_eq!(SideTimes::decode(None), Ok(SideTimes::default()));
    assert_eq!(SideCounts::decode(Some(&bytes[1..])), Err(SideLength { found: 15 }));
    assert_eq!(SideTimes::decode(Some(&[])), Err(SideLength { found: 0 }));
}

#[test]
fn sums_of_events_count_changes_and_links() {
    let mut value = [0; 16];
    for nlink in [1, 0, 1, -1, 0, -1, -1] {
        value = add(value, SideCounts::event(nlink).encode());
    }
    assert_eq!(SideCounts::decode(Some(&value)), Ok(SideCounts { change: 7, nlink: -1 }));
    let inode = directory();
    let counts = SideCounts { change: 7, nlink: 3 };
    let stat = DirectoryStat::of(&inode, counts, SideTimes::default());
    assert_eq!((stat.nlink, stat.change), (5, 8));
    let none = SideCounts { change: 0, nlink: -5 };
    assert_eq!(DirectoryStat::of(&inode, none, SideTimes::default()).nlink, 0);
}

/// M6: a `utimens` into the future holds until the next event; before any, no time goes back.
#[test]
fn e407_times_of_a_directory() {
    let mut inode = directory();
    let mut value = [0; 16];
    let event = |value: &mut [u8; 16], inode: &Inode, now| {
        let epoch = inode.directory().unwrap().time_epoch;
        *value = max(*value, SideTimes::event(epoch, at(now)).encode());
    };
    let times = |value: &[u8; 16], inode: &Inode| {
        let times = SideTimes::decode(Some(value)).unwrap();
        let stat = DirectoryStat::of(inode, SideCounts::default(), times);
        (stat.mtime.nanos(), stat.ctime.nanos())
    };
    assert_eq!(times(&value, &inode), (100, 100));
    event(&mut value, &inode, 90);
    assert_eq!(times(&value, &inode), (100, 100), "a clock that is behind");
    event(&mut value, &inode, 120);
    event(&mut value, &inode, 110);
    assert_eq!(times(&value, &inode), (120, 120));

    let set = |value: &[u8; 16], inode: &mut Inode, to, now| {
        assert!(set_mtime(inode, SideTimes::decode(Some(value)).unwrap(), at(to)));
        inode.changed(at(now));
    };
    set(&value, &mut inode, 5000, 105);
    assert_eq!(times(&value, &inode), (5000, 120), "ctime does not go back");
    event(&mut value, &inode, 130);
    assert_eq!(times(&value, &inode), (130, 130), "the next event wins over the future");
    event(&mut value, &inode, 125);
    assert_eq!(times(&value, &inode), (130, 130));
    set(&value, &mut inode, 7, 140);
    assert_eq!(times(&value, &inode), (7, 140));
    event(&mut value, &inode, 135);
    assert_eq!(times(&value, &inode), (135, 140));
    event(&mut value, &inode, -50);
    assert_eq!(times(&value, &inode), (135, 140), "a clock that is not set");
}

#[test]
fn time_epochs_run_out_without_a_change() {
    let mut inode = directory();
    inode.directory_mut().unwrap().time_epoch = u32::MAX;
    let before = inode.clone();
    assert!(!set_mtime(&mut inode, SideTimes::default(), at(1)));
    assert_eq!(inode, before);
    let mut fifo = Inode { kind: InodeKind::Fifo, ..before };
    assert!(!set_mtime(&mut fifo, SideTimes::default(), at(1)));
}
