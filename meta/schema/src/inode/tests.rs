use super::*;
use engine_types::{ChainTableId, ChainTableVersion, ChunkSize};

fn at(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn new(kind: InodeKind) -> Inode {
    Inode::new(Mode::new(0o644), Uid::new(1), Gid::new(2), at(10), kind)
}

fn file(length: u64) -> InodeKind {
    let template =
        LayoutTemplate { chunk_size: ChunkSize::MIN, stripe: 1, table: ChainTableId::new(1) };
    InodeKind::File(FileData {
        length,
        truncate_epoch: TruncateEpoch::FIRST,
        layout: template.layout(ChainTableVersion::new(1), 0, 0),
        allocated: None,
    })
}

#[test]
fn what_stat_shows_of_each_kind() {
    let device = DeviceData { rdev: 7 };
    let target = b"over/there".to_vec();
    let rows = [
        (file(5), FileType::Regular, 5, 0, 1),
        (InodeKind::Directory(DirectoryData::default()), FileType::Directory, 0, 0, 2),
        (InodeKind::Symlink(SymlinkData { target }), FileType::Symlink, 10, 0, 1),
        (InodeKind::Fifo, FileType::Fifo, 0, 0, 1),
        (InodeKind::Socket, FileType::Socket, 0, 0, 1),
        (InodeKind::CharDevice(device), FileType::CharDevice, 0, 7, 1),
        (InodeKind::BlockDevice(device), FileType::BlockDevice, 0, 7, 1),
    ];
    for (kind, expected, size, rdev, nlink) in rows {
        let inode = new(kind);
        assert_eq!((inode.file_type(), inode.size()), (expected, size));
        assert_eq!((inode.rdev(), inode.nlink, inode.change), (rdev, nlink, 1));
        assert_eq!(inode.file().is_some(), expected == FileType::Regular);
        assert_eq!(inode.directory().is_some(), expected.is_directory());
    }
}

/// POSIX.1-2017 write(): marks for update the last data modification and status change. Ours never
/// go back, unless somebody had set them.
#[test]
fn e407_events_move_no_time_back_that_was_not_set() {
    let mut inode = new(file(0));
    inode.modified(at(20));
    assert_eq!((inode.mtime, inode.ctime, inode.change), (at(20), at(20), 2));
    inode.modified(at(15));
    assert_eq!((inode.mtime, inode.ctime, inode.change), (at(20), at(20), 3));
    inode.changed(at(30));
    assert_eq!((inode.mtime, inode.ctime, inode.change), (at(20), at(30), 4));
    (inode.mtime, inode.mtime_set) = (at(1000), true);
    inode.changed(at(35));
    assert_eq!((inode.mtime, inode.mtime_set), (at(1000), true));
    inode.modified(at(25));
    assert_eq!((inode.mtime, inode.ctime, inode.mtime_set), (at(25), at(35), false));
}
