use engine_types::Rng;
use meta_schema::inode::{AllocatedBytes, DeviceData, DirectoryData, FileData, InodeKind};
use meta_schema::sample::any;

use super::*;

const INO: InodeId = InodeId::new(1024);

fn at(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn inode(kind: InodeKind) -> Inode {
    Inode::new(Mode::new(0o640), Uid::new(1), Gid::new(2), at(10), kind)
}

fn plain(inode: &Inode) -> Attr {
    Attr::of(INO, inode, SideCounts::default(), SideTimes::default())
}

/// `st_blocks`: of a file what the chains said, as long as nothing has changed since.
#[test]
fn blocks_are_known_until_the_next_change() {
    let data = FileData {
        length: 5000,
        truncate_epoch: TruncateEpoch::new(3),
        layout: any(&mut Rng::new(1)),
        allocated: None,
    };
    let mut file = inode(InodeKind::File(data));
    let attr = plain(&file);
    assert_eq!((attr.size, attr.blocks, attr.truncate_epoch.get()), (5000, None, 3));
    assert_eq!(attr.layout, Some(data.layout));
    file.file_mut().unwrap().allocated = Some(AllocatedBytes { at_change: 1, bytes: 4097 });
    assert_eq!(plain(&file).blocks, Some(9));
    file.changed(at(11));
    assert_eq!(plain(&file).blocks, None);
    file.file_mut().unwrap().length = 0;
    assert_eq!(plain(&file).blocks, Some(0));
    assert_eq!(plain(&inode(InodeKind::Fifo)).blocks, Some(0));
}

#[test]
fn directories_show_their_side_keys() {
    let dir = inode(InodeKind::Directory(DirectoryData::default()));
    let (counts, times) = (SideCounts { change: 7, nlink: 3 }, SideTimes::event(0, at(90)));
    let attr = Attr::of(INO, &dir, counts, times);
    assert_eq!((attr.nlink, attr.change, attr.kind), (5, 8, FileType::Directory));
    assert_eq!((attr.mtime, attr.ctime, attr.btime), (at(90), at(90), at(10)));
    // What is no directory has none, whatever a caller passes.
    let device = inode(InodeKind::BlockDevice(DeviceData { rdev: 0x0801 }));
    let attr = Attr::of(INO, &device, counts, times);
    assert_eq!((attr.nlink, attr.change, attr.mtime, attr.rdev), (1, 1, at(10), 0x0801));
    assert_eq!((attr.layout, attr.ino), (None, INO));
}
