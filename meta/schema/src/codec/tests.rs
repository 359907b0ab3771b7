use core::fmt::{Debug, Write as _};
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use engine_types::fields::check_decoder;
use engine_types::{ChainTableId, ChainTableVersion, Rng};

use super::*;
use crate::access::OpenMode;
use crate::acl::{Acl, AclEntry, AclTag};
use crate::change::{AttrChange, TimeChange};
use crate::delete::{Deletion, Shrink};
use crate::dirent::Dirent;
use crate::fallocate::{FallocateMode, FallocatePlan, RangeWork};
use crate::inode::{
    AllocatedBytes, DeviceData, DirectoryData, FileData, Inode, InodeKind, SymlinkData,
};
use crate::layout::{Layout, LayoutTemplate};
use crate::lock::{Lock, LockFamily, LockKind, LockOwner, LockRange, LockTable, Waiter};
use crate::sample::Sample;
use crate::session::{RequestRecord, WriteSession};
use crate::slot::HashKey;
use crate::superblock::{FsId, Superblock};
use crate::xattr::XattrSet;

/// Does something with each value of the KV.
macro_rules! each_value {
    (@of ($call:ident $arguments:tt) $($value:ident)*) => {
        $($call::<$value> $arguments;)*
    };
    ($($call:tt)*) => {
        each_value!(@of ($($call)*)
            Inode Dirent WriteSession RequestRecord Deletion Shrink LockTable Superblock
        );
    };
}

fn comes_back<R: Record + Sample + PartialEq + Debug>(rng: &mut Rng) {
    for _ in 0..300 {
        let value = R::sample(rng);
        assert_eq!(R::decode(&value.encode()), Ok(value), "{}", R::NAME);
    }
}

#[test]
fn e400_every_value_comes_back() {
    let rng = &mut Rng::new(1);
    each_value!(comes_back(rng));
}

fn withstands<R: Record + Sample + PartialEq + Debug>(rng: &mut Rng) {
    for _ in 0..20 {
        check_decoder(&R::sample(rng).encode(), R::decode);
    }
}

#[test]
fn e400_cuts_are_errors_and_tails_are_skipped() {
    let rng = &mut Rng::new(2);
    each_value!(withstands(rng));
}

/// With numbers of every size wherever a count or length may stand.
fn refuses_counts<R: Record + Sample + PartialEq + Debug>(rng: &mut Rng) {
    for _ in 0..20 {
        let bytes = R::sample(rng).encode();
        for at in 5..bytes.len().saturating_sub(3) {
            for count in [u32::MAX, 1 << 16, 1 << 10, 65] {
                let mut hostile = bytes.clone();
                hostile[at..at + 4].copy_from_slice(&count.to_le_bytes());
                if let Ok(value) = R::decode(&hostile) {
                    let again = value.encode();
                    assert!(again.len() <= hostile.len(), "E400: {}", R::NAME);
                    assert_eq!(R::decode(&again), Ok(value), "E400: {}", R::NAME);
                }
            }
        }
    }
}

#[test]
fn e400_no_count_makes_a_decoder_panic() {
    let rng = &mut Rng::new(3);
    each_value!(refuses_counts(rng));
}

/// Within a value, with bytes of a later version behind its fields and something behind it; and it
/// takes what its type says at least.
fn grows<T: Fields + Sample + PartialEq + Debug>(rng: &mut Rng) {
    for _ in 0..50 {
        let value = T::sample(rng);
        let mut out = Writer::new(1);
        out.row(|row| {
            value.write_fields(row);
            row.text("of a later version");
        });
        out.u32(0x0102_0304);
        let bytes = out.finish();
        let mut from = Reader::new("row", &bytes).unwrap();
        assert_eq!(T::read("row", &mut from).as_ref(), Ok(&value));
        assert_eq!(from.u32("behind it"), Ok(0x0102_0304));
    }
    fits_its_minimum::<T>(rng);
}

fn fits_its_minimum<T: Field + Sample>(rng: &mut Rng) {
    let name = core::any::type_name::<T>();
    for _ in 0..50 {
        let bytes = T::sample(rng).encoded_bytes();
        assert!(T::BYTES_MIN <= bytes, "{name}: {bytes} bytes, at least {}", T::BYTES_MIN);
    }
}

/// Memory of a list is taken by its count, so by the bytes that are there: not many times as much.
#[test]
fn e400_elements_are_not_much_larger_than_their_bytes() {
    fn check<T: Field>() {
        let (memory, bytes) = (size_of::<T>(), T::BYTES_MIN);
        let name = core::any::type_name::<T>();
        assert!(memory <= 2 * bytes, "{name}: {memory} bytes of memory for {bytes}");
    }
    check::<Lock>();
    check::<Waiter>();
    check::<Gid>();
}

#[test]
fn e400_rows_grow_and_keep_their_minimum() {
    macro_rules! rows {
        ($rng:expr, $($row:ident)*) => { $(grows::<$row>($rng);)* };
    }
    macro_rules! bare {
        ($rng:expr, $($field:ty)*) => { $(fits_its_minimum::<$field>($rng);)* };
    }
    let rng = &mut Rng::new(4);
    rows!(rng, AllocatedBytes FileData Layout LayoutTemplate Lock LockOwner LockRange Waiter);
    rows!(rng, OpenMode AttrChange FallocatePlan DeviceData);
    bare!(rng, u16 u32 u64 u128 bool InodeId SessionId ChannelId ChainTableId ChainTableVersion);
    bare!(rng, Uid Gid TruncateEpoch FsId HashKey Timestamp Mode AccessMask FileType Errno Slot);
    bare!(rng, ChunkSize Acl TimeChange XattrSet RangeWork LockFamily LockKind FallocateMode);
}

fn error_of<R: Record + Debug>(write: impl FnOnce(&mut Writer)) -> String {
    let mut out = Writer::new(1);
    write(&mut out);
    R::decode(&out.finish()).unwrap_err().to_string()
}

/// Memory is taken only for elements that have bytes, so these are told before any is.
#[test]
fn e400_counts_without_bytes_are_refused() {
    let table = |count| {
        error_of::<LockTable>(|out| {
            out.u64(1);
            out.u32(count);
        })
    };
    let expected = "lock table: held: 1024 elements of at least 44 bytes, 0 are left";
    assert_eq!(table(1024), expected);
    assert_eq!(table(1025), "lock table: held: found 1025 elements, at most 1024");
}

#[test]
fn e400_numbers_without_meaning_are_refused() {
    let dirent = |kind| {
        error_of::<Dirent>(|out| {
            out.u64(1);
            out.u8(kind);
            out.bytes(b"name");
        })
    };
    assert_eq!(dirent(3), "directory entry: kind: found 3, expected a file type");
    assert_eq!(dirent(24), "directory entry: kind: found 24, expected a file type");
    let error = error_of::<WriteSession>(|out| {
        out.u32(1);
        out.u64(1);
        out.u8(2);
    });
    assert_eq!(error, "write session: hidden: found 2, expected 0 or 1");
    let error = error_of::<Inode>(|out| out.u16(0o10_000));
    assert_eq!(error, "inode: mode: found 4096, expected at most 0o7777");
    let template = |chunk, stripe| {
        error_of::<Superblock>(|out| {
            out.u32(1);
            out.u128(2);
            out.u128(3);
            out.u64(4);
            out.row(|row| {
                row.u32(chunk);
                row.u32(stripe);
            });
        })
    };
    let expected = "superblock: chunk_size: found 4097, expected a power of two of 4 KiB to 64 MiB";
    assert_eq!(template(4097, 1), expected);
}

/// A stripe of no chains, or an ACL out of order, is an error of the decoder: nobody divides by the
/// one or judges by the other.
#[test]
fn e400_contradictions_are_refused() {
    let rng = &mut Rng::new(5);
    let layout = |stripe: u32| Layout { stripe, ..Sample::sample(&mut Rng::new(6)) };
    for stripe in [0, 1025, u32::MAX] {
        let bytes = FileRecord(layout(stripe)).encode();
        let error = FileRecord::decode(&bytes).unwrap_err().to_string();
        assert_eq!(error, std::format!("file: stripe: found {stripe}, expected 1 to 1024"));
    }
    let mut inode: Inode = Sample::sample(rng);
    inode.acl = Some(Acl::of_mode(inode.mode));
    let good = inode.encode();
    // The tag of its first entry: behind mode, ids, links, times, flag, counter, option and count.
    let at = 5 + 2 + 4 + 4 + 4 + 4 * 8 + 1 + 8 + 1 + 4;
    let mut bad = good.clone();
    assert_eq!(bad[at], 1);
    bad[at] = 32;
    assert_eq!(Inode::decode(&good).unwrap(), inode);
    let error = Inode::decode(&bad).unwrap_err().to_string();
    assert_eq!(error, "inode: acl: is no valid ACL");
}

#[derive(Debug, PartialEq)]
struct FileRecord(Layout);

impl Fields for FileRecord {
    const FIELDS_BYTES_MIN: usize = Layout::FIELDS_BYTES_MIN;

    fn write_fields(&self, out: &mut Writer) {
        self.0.write_fields(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Layout::read_fields(from).map(Self)
    }
}

crate::records! {
    FileRecord = "file";
}

/// Version 1 of each value as it was released: what these bytes say never changes. The body of the
/// frame; blanks are for people.
fn golden<R: Record + PartialEq + Debug>(value: &R, golden: &str) {
    let golden: String = golden.split_whitespace().collect();
    let bytes = value.encode();
    let mut hex = String::new();
    for byte in &bytes {
        write!(hex, "{byte:02x}").unwrap();
    }
    let length = u32::try_from(bytes.len() - 5).unwrap().swap_bytes();
    assert_eq!(hex, std::format!("01{length:08x}{golden}"), "{value:?}");
    assert_eq!(R::decode(&bytes).as_ref(), Ok(value));
}

fn template() -> LayoutTemplate {
    let chunk_size = ChunkSize::new(1 << 20).unwrap();
    LayoutTemplate { chunk_size, stripe: 3, table: ChainTableId::new(4) }
}

fn inode(kind: InodeKind) -> Inode {
    let at = Timestamp::from_nanos;
    Inode {
        atime: at(1),
        mtime: at(2),
        ctime: at(3),
        btime: at(-1),
        change: 5,
        ..Inode::new(Mode::new(0o1755), Uid::new(6), Gid::new(7), at(0), kind)
    }
}

#[test]
fn golden_inodes() {
    let head = "ed03 06000000 07000000 01000000 0100000000000000 0200000000000000
        0300000000000000 ffffffffffffffff 00 0500000000000000 00";
    let check = |kind, tail: &str| golden(&inode(kind), &std::format!("{head}{tail}"));
    let file = FileData {
        length: 8,
        truncate_epoch: TruncateEpoch::new(9),
        layout: template().layout(ChainTableVersion::new(10), 11, 12),
        allocated: Some(AllocatedBytes { at_change: 13, bytes: 14 }),
    };
    check(
        InodeKind::File(file),
        "3e00 08 0800000000000000 09000000
         1c00 00001000 03000000 04000000 0a000000 0b000000 0c00000000000000
         01 1000 0d00000000000000 0e00000000000000",
    );
    check(InodeKind::Symlink(SymlinkData { target: b"ab".to_vec() }), "0700 0a 02000000 6162");
    check(InodeKind::Fifo, "0100 01");
    check(InodeKind::Socket, "0100 0c");
    check(InodeKind::CharDevice(DeviceData { rdev: 0x0103 }), "0500 02 03010000");
    check(InodeKind::BlockDevice(DeviceData { rdev: 0x0800 }), "0500 06 00080000");

    let acl = Acl::new(vec![
        AclEntry { tag: AclTag::Owner, allowed: AccessMask::ALL },
        AclEntry { tag: AclTag::User(Uid::new(9)), allowed: AccessMask::READ },
        AclEntry { tag: AclTag::OwningGroup, allowed: AccessMask::EXECUTE },
        AclEntry { tag: AclTag::Group(Gid::new(10)), allowed: AccessMask::WRITE },
        AclEntry { tag: AclTag::Mask, allowed: AccessMask::ALL },
        AclEntry { tag: AclTag::Other, allowed: AccessMask::NONE },
    ])
    .unwrap();
    let entries = "06000000 010700000000 020409000000 040100000000 08020a000000 100700000000
        200000000000";
    let data =
        DirectoryData { time_epoch: 8, layout: Some(template()), acl_default: Some(acl.clone()) };
    let directory =
        Inode { acl: Some(acl), mtime_set: true, change: 6, ..inode(InodeKind::Directory(data)) };
    let head = "ed03 06000000 07000000 02000000 0100000000000000 0200000000000000
        0300000000000000 ffffffffffffffff 01 0600000000000000 01";
    let kind = "3d00 04 08000000 01 0c00 00001000 03000000 04000000 01";
    golden(&directory, &[head, entries, kind, entries].concat());
}

#[test]
fn golden_entries_and_sessions() {
    let (ino, kind) = (InodeId::new(1024), FileType::Directory);
    let dirent = Dirent { ino, kind, name: b"abc".to_vec() };
    golden(&dirent, "0004000000000000 04 03000000 616263");
    let session = WriteSession {
        truncate_epoch: TruncateEpoch::new(1),
        opened_at: Timestamp::from_nanos(2),
        hidden: true,
    };
    golden(&session, "01000000 0200000000000000 01");
    let record = RequestRecord { seq: 3, answer: vec![4, 5] };
    golden(&record, "0300000000000000 02000000 0405");
    let deletion = Deletion { queued_at: Timestamp::from_nanos(1), attempts: 2, length: 3 };
    golden(&deletion, "0100000000000000 02000000 0300000000000000");
    let shrink = Shrink {
        epoch: TruncateEpoch::new(1),
        new_length: 2,
        old_length: 3,
        owner: SessionId::new(4),
    };
    golden(&shrink, "01000000 0200000000000000 0300000000000000 0400000000000000");
    let superblock = Superblock {
        format: 1,
        fs: FsId::new(2),
        hash_key: HashKey::new(3 << 64),
        created: Timestamp::from_nanos(4),
        root_layout: template(),
    };
    golden(
        &superblock,
        "01000000 02000000000000000000000000000000 00000000000000000300000000000000
         0400000000000000 0c00 00001000 03000000 04000000",
    );
}

#[test]
fn golden_locks() {
    let lock = |family, owner, kind, range| Lock {
        family,
        owner: LockOwner { session: SessionId::new(1), owner },
        pid: 3,
        kind,
        range,
    };
    let mut table = LockTable::new(5);
    let some = LockRange::new(6, 7).unwrap();
    table.set(lock(LockFamily::Posix, 2, LockKind::Read, some), false).unwrap();
    table.set(lock(LockFamily::Posix, 4, LockKind::Write, some), true).unwrap();
    table.set(lock(LockFamily::Flock, 4, LockKind::Write, some), true).unwrap();
    golden(
        &table,
        "0600000000000000
         02000000
         2a00 01 1000 0100000000000000 0400000000000000 03000000 02
              1000 0000000000000000 ffffffffffffff7f
         2a00 02 1000 0100000000000000 0200000000000000 03000000 01
              1000 0600000000000000 0700000000000000
         01000000
         3400 0500000000000000
              2a00 02 1000 0100000000000000 0400000000000000 03000000 02
                   1000 0600000000000000 0700000000000000",
    );
}

#[test]
fn texts_for_people_are_cut_between_characters() {
    assert_eq!(cut("a\u{e9}b", 2), "a");
    assert_eq!(cut("a\u{e9}b", 3), "a\u{e9}");
    assert_eq!(cut("ab", 9), "ab");
}

/// A number that a newer service answers means that something went wrong.
#[test]
fn unknown_errors_are_eio() {
    let mut out = Writer::new(1);
    out.u16(9999);
    let bytes = out.finish();
    assert_eq!(Errno::read("errno", &mut Reader::new("answer", &bytes).unwrap()), Ok(Errno::EIO));
}

/// Values of the KV have at most 100,000 bytes (`meta_kv::limits`): the largest of each kind does.
#[test]
fn the_largest_values_fit_into_the_kv() {
    const VALUE_BYTES_MAX: usize = 100_000;
    let lock = |index| Lock {
        family: LockFamily::Posix,
        owner: LockOwner { session: SessionId::new(1), owner: index },
        pid: 1,
        kind: LockKind::Write,
        range: LockRange::new(2 * index, 2 * index).unwrap(),
    };
    let mut table = LockTable::new(1);
    for index in 0..1024 {
        table.set(lock(index), false).unwrap();
    }
    for index in 0..512 {
        let owner = LockOwner { session: SessionId::new(2), owner: index };
        table.set(Lock { owner, ..lock(index) }, true).unwrap();
    }
    let bytes = table.encode().len();
    assert!(bytes <= VALUE_BYTES_MAX, "{bytes}");
    assert_eq!(LockTable::decode(&table.encode()), Ok(table));
    let user = AclEntry { tag: AclTag::User(Uid::new(1)), allowed: AccessMask::ALL };
    let mut entries: Vec<AclEntry> = Acl::of_mode(Mode::ALL).entries().to_vec();
    entries.insert(2, AclEntry { tag: AclTag::Mask, ..user });
    entries.splice(1..1, [user; 60]);
    let acl = Acl::new(entries).unwrap();
    let data = DirectoryData { acl_default: Some(acl.clone()), ..DirectoryData::default() };
    let directory = Inode { acl: Some(acl), ..inode(InodeKind::Directory(data)) };
    assert!(directory.encode().len() < 1500);
}
