use engine_types::{ChainTableId, ChainTableVersion, ChunkSize};
use meta_schema::inode::{FileData, InodeKind};
use meta_schema::{Gid, Layout, Mode, Uid};

use super::*;

const NOW: Timestamp = Timestamp::from_nanos(1_000);
const LATER: Timestamp = Timestamp::from_nanos(2_000);

fn file(length: u64, epoch: u32) -> Inode {
    let layout = Layout {
        chunk_size: ChunkSize::MIN,
        stripe: 1,
        table: ChainTableId::new(1),
        table_version: ChainTableVersion::new(1),
        base: 0,
        seed: 0,
    };
    let truncate_epoch = TruncateEpoch::new(epoch);
    let data = FileData { length, truncate_epoch, layout, allocated: None };
    let mode = Mode::new(0o6775);
    Inode::new(mode, Uid::new(7), Gid::new(7), NOW, InodeKind::File(data))
}

fn length(inode: &Inode) -> u64 {
    inode.file().unwrap().length
}

#[test]
fn hints_raise_the_length_or_ask() {
    #[rustfmt::skip]
    let rows = [
        // epoch, end, modified, in doubt       length, changed, told
        ((3, 0, false, false),    (100, false, Told::All)),       // a close without writes
        ((3, 100, true, false),   (100, true, Told::All)),        // an overwrite
        ((3, 101, true, false),   (101, true, Told::All)),
        ((3, 101, false, false),  (101, true, Told::All)),
        ((3, 50, true, true),     (100, true, Told::AskChunks)),  // a write that may have happened
        ((2, 0, false, false),    (100, false, Told::All)),       // opened before, never wrote
        ((2, 500, true, false),   (100, true, Told::AskChunks)),  // M3
        ((2, 0, true, false),     (100, true, Told::AskChunks)),
        ((0, 1, false, false),    (100, false, Told::AskChunks)),
    ];
    for ((epoch, end, modified, in_doubt), (expected, changed, told)) in rows {
        let mut inode = file(100, 3);
        let said = Hint { truncate_epoch: TruncateEpoch::new(epoch), end, modified, in_doubt };
        let answer = hint(&mut inode, &said, &Caller::user(7, 7), LATER).unwrap();
        assert_eq!((length(&inode), answer), (expected, told), "E443: {said:?}");
        assert_eq!(inode.change, 1 + u64::from(changed), "{said:?}");
        assert_eq!(inode.mtime == LATER, changed, "{said:?}");
        assert_eq!(inode.mode.has(Mode::SETUID), !changed, "{said:?}");
    }
}

#[test]
fn senseless_hints_change_nothing() {
    let most = file(0, 0).file().unwrap().layout.file_bytes_max();
    for (epoch, end, errno) in [(4, 0, Errno::EINVAL), (3, most + 1, Errno::EFBIG)] {
        let mut inode = file(100, 3);
        let said = Hint {
            truncate_epoch: TruncateEpoch::new(epoch),
            end,
            modified: true,
            in_doubt: false,
        };
        assert_eq!(hint(&mut inode, &said, &Caller::user(7, 7), LATER), Err(errno));
        assert_eq!(inode, file(100, 3));
    }
}

#[test]
fn what_chunks_said_counts_for_its_epoch_alone() {
    for (epoch, end, expected) in [(3, 150, 150), (3, 50, 100), (2, 150, 100), (4, 150, 100)] {
        let mut inode = file(100, 3);
        let changed = asked(&mut inode, TruncateEpoch::new(epoch), end, LATER);
        assert_eq!((length(&inode), changed), (expected, expected != 100), "{epoch} {end}");
    }
}

#[test]
fn cuts_raise_the_epoch_and_say_what_goes() {
    #[rustfmt::skip]
    let rows = [
        // length, exact    epoch, work item: old length
        (99, true,          4, Some(100)),
        (99, false,         4, Some(u64::MAX)),
        (0, true,           4, Some(100)),
        (100, true,         3, None),
        (100, false,        4, Some(u64::MAX)), // what writers have not told goes, too
        (101, false,        3, None),
    ];
    for (to, exact, epoch, old) in rows {
        let mut inode = file(100, 3);
        let shrink = resize(&mut inode, to, exact).unwrap();
        let epoch = TruncateEpoch::new(epoch);
        let found = inode.file().unwrap();
        assert_eq!((found.length, found.truncate_epoch), (to, epoch), "E442: {to} {exact}");
        assert_eq!(shrink.map(|shrink| shrink.old_length), old, "E442: {to} {exact}");
        assert!(shrink.is_none_or(|shrink| shrink.epoch == epoch && shrink.new_length == to));
    }
}

#[test]
fn epochs_and_lengths_end() {
    let mut last = file(100, u32::MAX - 1);
    assert_eq!(resize(&mut last, 0, true), Err(Errno::EFBIG), "E442");
    let most = last.file().unwrap().layout.file_bytes_max();
    let mut full = file(most, 0);
    assert_eq!(append(&mut full, 1, &Caller::root(), LATER), Err(Errno::EFBIG));
    assert_eq!(append(&mut full, u64::MAX, &Caller::root(), LATER), Err(Errno::EFBIG));
    assert_eq!(append(&mut full, 0, &Caller::root(), LATER), Ok(most));
    for end in [most + 1, u64::MAX] {
        let mut inode = file(0, 0);
        assert_eq!(resize(&mut inode, end, true), Err(Errno::EFBIG));
    }
}

#[test]
fn appends_lie_one_behind_the_other() {
    let mut inode = file(10, 0);
    let offsets = [3, 0, 5].map(|bytes| append(&mut inode, bytes, &Caller::root(), NOW).unwrap());
    assert_eq!((offsets, length(&inode)), ([10, 13, 13], 18));
}
