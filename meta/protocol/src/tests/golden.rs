//! Version 1 of each message as it was released: what these bytes say never changes.

use core::fmt::{Debug, Write};
use std::string::String;
use std::vec;
use std::vec::Vec;

use engine_types::{ChainTableId, ChainTableVersion, ChannelId, ChunkSize, InodeId, SessionId};
use meta_schema::change::{AttrChange, TimeChange};
use meta_schema::fallocate::{FallocateMode, FallocatePlan, RangeWork};
use meta_schema::lock::Lock;
use meta_schema::superblock::FsId;
use meta_schema::xattr::XattrSet;
use meta_schema::{
    AccessMask, Caller, Errno, FileType, Gid, LayoutTemplate, LockFamily, LockKind, LockOwner,
    LockRange, Mode, Timestamp, TruncateEpoch, Uid,
};

use crate::op::*;
use crate::status::OperationCount;
use crate::{
    Answer, Attr, Cause, Entry, FsSpace, LayoutTold, LockTold, OpenMode, Operation, Record,
    Refusal, Request, ServiceStatus, StatusAsk, Tag,
};

/// The body of a frame of version 1: blanks in `golden` are for people.
fn check<M: Record + PartialEq + Debug>(message: &M, golden: &str) {
    let golden: String = golden.split_whitespace().collect();
    let bytes = message.encode();
    let mut hex = String::new();
    for byte in &bytes {
        write!(hex, "{byte:02x}").unwrap();
    }
    let length = u32::try_from(bytes.len() - 5).unwrap().swap_bytes();
    assert_eq!(hex, std::format!("01{length:08x}{golden}"), "{message:?}");
    assert_eq!(M::decode(&bytes).as_ref(), Ok(message));
}

fn operation(asked: impl Into<Operation>, golden: &str) {
    check(&asked.into(), golden);
}

/// Inode 1 to 9, and how it stands there.
const INO: InodeId = InodeId::new(5);
const I: &str = "0500000000000000";

fn ab() -> Vec<u8> {
    b"ab".to_vec()
}

const AB: &str = "020000006162";

fn template() -> LayoutTemplate {
    let chunk_size = ChunkSize::new(1 << 20).unwrap();
    LayoutTemplate { chunk_size, stripe: 3, table: ChainTableId::new(4) }
}

const TEMPLATE: &str = "0c00 00001000 03000000 04000000";

fn ask() -> LockAsk {
    let range = LockRange::new(8, 9).unwrap();
    let kind = Some(LockKind::Write);
    LockAsk { family: LockFamily::Posix, owner: 6, pid: 7, kind, range }
}

const ASK: &str = "2100 02 0600000000000000 07000000 01 02
    1000 0800000000000000 0900000000000000";

fn hint() -> Hint {
    Hint { truncate_epoch: TruncateEpoch::new(6), end: 7, modified: true, in_doubt: false }
}

const HINT: &str = "0e00 06000000 0700000000000000 01 00";

#[test]
fn golden_request() {
    let caller = Caller {
        uid: Uid::new(1),
        gid: Gid::new(2),
        groups: vec![Gid::new(3), Gid::new(4)],
        pid: 6,
    };
    let request = Request {
        caller,
        session: SessionId::new(7),
        tag: Some(Tag { channel: ChannelId::new(8), seq: 9 }),
        operation: Stat { ino: INO }.into(),
    };
    check(
        &request,
        "1800 01000000 02000000 02000000 03000000 04000000 06000000
         0700000000000000
         01 0c00 08000000 0900000000000000
         0e000000 01 09000000 03 0500000000000000",
    );
}

#[test]
fn golden_names() {
    let (parent, name, umask) = (INO, ab(), Mode::new(0o022));
    let of = |tag: &str, tail: &str| [tag, I, AB, tail].concat();
    operation(Lookup { parent, name: ab() }, &of("01", ""));
    operation(Walk { start: INO, path: ab(), follow: true }, &of("02", "01"));
    operation(Stat { ino: INO }, &["03", I].concat());
    let batch = StatBatch { inos: vec![INO, INO] };
    operation(batch, &["04 02000000", I, I].concat());
    operation(Access { ino: INO, wanted: AccessMask::WRITE }, &["05", I, "02"].concat());
    let open = OpenMode { read: true, write: false, truncate: true, append: false };
    let create = Create {
        parent,
        name: ab(),
        mode: Mode::new(0o644),
        umask,
        exclusive: true,
        open: Some(open),
        layout: Some(template()),
    };
    let tail = ["a401 1200 01 01 0400 01 00 01 00 01", TEMPLATE].concat();
    operation(create, &of("06", &tail));
    operation(Open { ino: INO, mode: open }, &["07", I, "0400 01 00 01 00"].concat());
    let mkdir = Mkdir { parent, name: ab(), mode: Mode::new(0o755), umask, layout: None };
    operation(mkdir, &of("08", "ed01 1200 00"));
    let mknod = Mknod { parent, name: ab(), mode: 0o020_644, umask, rdev: 7 };
    operation(mknod, &of("09", "a4210000 1200 07000000"));
    operation(Symlink { parent, name: ab(), target: ab() }, &of("0a", AB));
    operation(Readlink { ino: INO }, &["0b", I].concat());
    operation(Link { ino: INO, parent, name: ab() }, &["0c", I, I, AB].concat());
    operation(Unlink { parent, name: ab(), hold: true }, &of("0d", "01"));
    operation(Rmdir { parent, name: ab() }, &of("0e", ""));
    let rename = Rename {
        from: INO,
        from_name: ab(),
        to: INO,
        to_name: name,
        no_replace: false,
        exchange: true,
        hold: false,
    };
    operation(rename, &of("0f", &[I, AB, "00 01 00"].concat()));
    let readdir = Readdir { dir: INO, cookie: 8, limit: 9, plus: true };
    operation(readdir, &["10", I, "0800000000000000 09000000 01"].concat());
    operation(RemoveTree { parent, name: ab() }, &of("21", ""));
}

#[test]
fn golden_attributes() {
    let change = AttrChange {
        mode: Some(Mode::new(0o7777)),
        uid: Some(Uid::new(1)),
        gid: None,
        size: Some(2),
        atime: TimeChange::Now,
        mtime: TimeChange::At(Timestamp::from_nanos(-1)),
        by_open_handle: true,
    };
    let tail = "1d00 01 ff0f 01 01000000 00 01 0200000000000000 01 02 ffffffffffffffff 01";
    operation(SetAttr { ino: INO, change }, &["11", I, tail].concat());
    let mode = FallocateMode::PUNCH_HOLE;
    let fallocate = Fallocate { ino: INO, mode, offset: 6, length: 7 };
    operation(fallocate, &["12", I, "02000000 0600000000000000 0700000000000000"].concat());
    operation(GetXattr { ino: INO, name: ab() }, &["13", I, AB].concat());
    let set = SetXattr { ino: INO, name: ab(), value: vec![9], set: XattrSet::Replace };
    operation(set, &["14", I, AB, "01000000 09 02"].concat());
    operation(ListXattr { ino: INO }, &["15", I].concat());
    operation(RemoveXattr { ino: INO, name: ab() }, &["16", I, AB].concat());
    operation(GetLayout { ino: INO }, &["1b", I].concat());
    let set = SetLayout { ino: INO, layout: Some(template()) };
    operation(set, &["1c", I, "01", TEMPLATE].concat());
    operation(StatFs {}, "24");
}

#[test]
fn golden_locks_and_sessions() {
    let (ino, lock) = (INO, ask());
    operation(GetLock { ino, lock }, &["17", I, ASK].concat());
    operation(SetLock { ino, lock, wait: LockWait::Queue }, &["18", I, ASK, "0100 01"].concat());
    let wait = LockWait::Ticket { ticket: 4 };
    let unlock = LockAsk { kind: None, ..lock };
    let bare = "2000 02 0600000000000000 07000000 00 1000 0800000000000000 0900000000000000";
    let tail = "0900 02 0400000000000000";
    operation(SetLock { ino, lock: unlock, wait }, &["18", I, bare, tail].concat());
    let cancel = CancelLock { ino, owner: 6, ticket: 7 };
    operation(cancel, &["19", I, "0600000000000000 0700000000000000"].concat());
    let release = ReleaseLocks { ino, family: LockFamily::Flock, owner: 6 };
    operation(release, &["1a", I, "01 0600000000000000"].concat());
    let atime = Some(Timestamp::from_nanos(8));
    let tail = ["01", HINT, "01 0800000000000000"].concat();
    operation(Close { ino, hint: Some(hint()), atime }, &["1d", I, &tail].concat());
    operation(Sync { ino, hint: None, atime: None }, &["1e", I, "00 00"].concat());
    operation(Append { ino, length: 6 }, &["1f", I, "0600000000000000"].concat());
    let blocks = SetBlocks { ino, at_change: 6, bytes: 7 };
    operation(blocks, &["20", I, "0600000000000000 0700000000000000"].concat());
    operation(PruneSession { session: SessionId::new(5) }, &["22", I].concat());
    let epoch = TruncateEpoch::new(6);
    operation(FinishShrink { ino, epoch }, &["23", I, "06000000"].concat());
}

fn attr() -> Attr {
    let at = Timestamp::from_nanos;
    Attr {
        ino: INO,
        kind: FileType::Regular,
        mode: Mode::new(0o644),
        has_acl: true,
        uid: Uid::new(1),
        gid: Gid::new(2),
        nlink: 3,
        size: 4,
        blocks: Some(5),
        atime: at(6),
        mtime: at(7),
        ctime: at(8),
        btime: at(9),
        rdev: 10,
        change: 11,
        truncate_epoch: TruncateEpoch::new(12),
        layout: Some(template().layout(ChainTableVersion::new(13), 14, 15)),
    }
}

const LAYOUT: &str = "1c00 00001000 03000000 04000000 0d000000 0e000000 0f00000000000000";
const ATTR: &str = "7800 0500000000000000 08 a401 01 01000000 02000000 03000000 0400000000000000
    01 0500000000000000 0600000000000000 0700000000000000 0800000000000000 0900000000000000
    0a000000 0b00000000000000 0c000000
    01 1c00 00001000 03000000 04000000 0d000000 0e000000 0f00000000000000";

#[test]
fn golden_answers() {
    let attr = attr();
    // As the only field of an answer it stands without the length of a row.
    let (_, bare) = ATTR.split_at(5);
    check(&Answer::Done, "01");
    check(&Answer::Attr(attr), &["02", bare].concat());
    check(&Answer::Attrs(vec![None, Some(attr)]), &["03 02000000 00 01", ATTR].concat());
    check(&Answer::Walked { parent: INO, attr }, &["04", I, ATTR].concat());
    check(&Answer::Opened { attr, created: true }, &["05", ATTR, "01"].concat());
    check(&Answer::Target(ab()), &["06", AB].concat());
    let entry = |attr| Entry { cookie: 8, ino: INO, kind: FileType::Directory, name: ab(), attr };
    let entries = vec![entry(None), entry(Some(attr))];
    let head = ["0800000000000000", I, "04", AB].concat();
    let golden = ["07 02000000 1800", &head, "00 9200", &head, "01", ATTR, "01"].concat();
    check(&Answer::Entries { entries, end: true }, &golden);
    let plan = FallocatePlan { work: RangeWork::Zero, start: 6, end: 7, length: 8 };
    let tail = "1900 03 0600000000000000 0700000000000000 0800000000000000";
    check(&Answer::Fallocated { attr, plan }, &["08", ATTR, tail].concat());
    check(&Answer::Value(ab()), &["09", AB].concat());
    check(&Answer::Names(b"a\0".to_vec()), "0a 02000000 6100");
    let LockAsk { family, pid, range, .. } = ask();
    let owner = LockOwner { session: SessionId::new(5), owner: 6 };
    let lock = Lock { family, owner, pid, kind: LockKind::Read, range };
    let golden = "0b 01 2a00 02 1000 0500000000000000 0600000000000000 07000000 01
        1000 0800000000000000 0900000000000000";
    check(&Answer::Conflict { lock: Some(lock) }, golden);
    check(&Answer::Conflict { lock: None }, "0b 00");
    check(&Answer::Lock(LockTold::Granted), "0c 00");
    check(&Answer::Lock(LockTold::Waiting { ticket: 6 }), "0c 01 0600000000000000");
    check(&Answer::Lock(LockTold::Busy), "0c 02");
    check(&Answer::Lock(LockTold::Cancelled), "0c 03");
    let layout = attr.layout.unwrap();
    check(&Answer::Layout(LayoutTold::File(layout)), &["0d 01", &LAYOUT[5..]].concat());
    let told = LayoutTold::Directory(template());
    check(&Answer::Layout(told), &["0d 02", &TEMPLATE[5..]].concat());
    let appended = Answer::Appended { offset: 6, attr };
    check(&appended, &["0e 0600000000000000", ATTR].concat());
    check(&Answer::Pruned { more: true }, "0f 01");
    let space = FsSpace {
        bytes: 1,
        bytes_free: 2,
        bytes_available: 3,
        files: 4,
        files_free: 5,
        age_ms: 6,
        stores: 7,
        stores_silent: 8,
    };
    let golden = "10 0100000000000000 0200000000000000 0300000000000000 0400000000000000
        0500000000000000 06000000 07000000 08000000";
    check(&Answer::Space(space), golden);
}

#[test]
fn golden_refusals_and_status() {
    let refusal = Refusal { errno: Errno::ESTALE, cause: Cause::Fenced, text: "no".into() };
    check(&refusal, "7400 03 02000000 6e6f");
    check(&StatusAsk {}, "");
    let status = ServiceStatus {
        fs: Some(FsId::new(1)),
        ready: true,
        in_flight: 2,
        retries: 3,
        unknown: 4,
        operations: vec![OperationCount {
            done: 5,
            refused: 6,
            failed: 7,
            p50_us: 8,
            p99_us: 9,
            max_us: 10,
        }],
    };
    let golden = "01 01000000000000000000000000000000 01 02000000 0300000000000000
        0400000000000000 01000000 2400 0500000000000000 0600000000000000 0700000000000000 08000000
        09000000 0a000000";
    check(&status, golden);
}
