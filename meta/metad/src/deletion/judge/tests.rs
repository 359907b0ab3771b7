use engine_types::{ChainTableId, ChainTableVersion, ChunkSize, SessionId};
use meta_schema::inode::{DirectoryData, FileData};
use meta_schema::{Gid, Layout, Mode, Timestamp, TruncateEpoch, Uid};

use super::*;

const CHUNK: u64 = 4096;

fn inode(kind: InodeKind, nlink: u32) -> Inode {
    let (uid, gid) = (Uid::new(1), Gid::new(1));
    let mut inode = Inode::new(Mode::new(0o644), uid, gid, Timestamp::EPOCH, kind);
    inode.nlink = nlink;
    inode
}

fn file(length: u64, nlink: u32) -> Inode {
    let layout = Layout {
        chunk_size: ChunkSize::new(4096).unwrap(),
        stripe: 2,
        table: ChainTableId::new(1),
        table_version: ChainTableVersion::new(1),
        base: 0,
        seed: 0,
    };
    let truncate_epoch = TruncateEpoch::FIRST;
    inode(InodeKind::File(FileData { length, truncate_epoch, layout, allocated: None }), nlink)
}

#[test]
fn entries_are_judged_by_the_table() {
    let shrink = Shrink {
        epoch: TruncateEpoch::new(1),
        new_length: 0,
        old_length: 9,
        owner: SessionId::new(4),
    };
    let directory = InodeKind::Directory(DirectoryData::default());
    #[rustfmt::skip]
    let rows = [
        // inode, sessions, shrink, exact                          verdict
        (None, false, false, true,                                  Verdict::Gone),
        (None, true, true, false,                                   Verdict::Gone),
        (Some(file(9, 1)), false, false, true,                      Verdict::Linked),
        (Some(file(9, 0)), true, true, true,                        Verdict::Kept),
        (Some(file(9, 0)), false, true, true,                       Verdict::Cut),
        (Some(file(0, 0)), false, false, true,                      Verdict::Record),
        (Some(file(1, 0)), false, false, true,                      Verdict::Few(1)),
        (Some(file(64 * CHUNK, 0)), false, false, true,             Verdict::Few(64)),
        (Some(file(65 * CHUNK, 0)), false, false, true,         Verdict::Many(Some(65 * CHUNK))),
        (Some(file(1 << 62, 0)), false, false, true,                Verdict::Many(Some(1 << 62))),
        (Some(file(0, 0)), false, false, false,                     Verdict::Many(None)),
        (Some(inode(InodeKind::Fifo, 0)), false, false, true,       Verdict::Record),
        (Some(inode(InodeKind::Fifo, 0)), true, false, true,        Verdict::Kept),
        (Some(inode(directory.clone(), 0)), false, false, true,     Verdict::Entries),
        (Some(inode(directory, 2)), false, false, true,             Verdict::Linked),
    ];
    for (inode, has_sessions, cut, is_exact, expected) in rows {
        let shrink = cut.then_some(&shrink);
        let facts = Facts { inode: inode.as_ref(), has_sessions, shrink, is_exact };
        assert_eq!(judge(&facts), expected, "E451: {inode:?}");
    }
}

#[test]
fn waits_double_up_to_a_bound() {
    let settings = DeletionSettings::default();
    let secs = |attempts| wait(&settings, Verdict::Kept, attempts).as_secs();
    assert_eq!([secs(0), secs(1), secs(7), secs(100)], [10, 20, 1280, 1280]);
    assert_eq!(wait(&settings, Verdict::Many(None), 0), settings.chunk_wait);
}
