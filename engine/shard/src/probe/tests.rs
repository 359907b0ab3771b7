use core::time::Duration;

use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_runtime::{Bytes, OpenOptions};
use engine_store::format::{FormatOptions, Layout, Superblock};
use engine_types::WallTime;

use super::*;

/// Size of what is looked at, unless a row says otherwise: not a multiple of anything large.
const SIZE: u64 = (64 << 20) + (36 << 10);

/// Bytes and their places.
type Put<'a> = &'a [(i64, &'a [u8])];

/// Something of `size` bytes, zeros but for what is put there. Positions below 0 count from the
/// end.
fn identified(size: u64, put: Put<'_>) -> Content {
    let mut whole = vec![0; usize::try_from(size).unwrap()];
    for (position, bytes) in put {
        let from = match u64::try_from(*position) {
            Ok(from) => from,
            Err(_) => size - position.unsigned_abs(),
        };
        let from = usize::try_from(from).unwrap();
        whole[from..from + bytes.len()].copy_from_slice(bytes);
    }
    let first = &whole[..whole.len().min(FIRST_BYTES)];
    let last = &whole[whole.len().saturating_sub(LAST_BYTES)..];
    identify(first, size, last)
}

fn check(put: Put<'_>, expected: Content) {
    let begins = put.iter().map(|(at, bytes)| (at, &bytes[..bytes.len().min(16)]));
    assert_eq!(identified(SIZE, put), expected, "{:02x?}", Vec::from_iter(begins));
}

/// A superblock page of a store, as it stands on the device.
fn own_page(flags: StoreFlags, sequence: u64) -> [u8; SUPERBLOCK_BYTES] {
    let layout = Layout::plan(&FormatOptions::new(1 << 30)).unwrap();
    let created = WallTime::from_nanos(1);
    let fresh = Superblock::fresh(cluster(7), StoreId::new(9), created, layout, 1);
    let mut page = [0; SUPERBLOCK_BYTES];
    Superblock { flags, sequence, ..fresh }.encode(&mut page);
    page
}

const fn own(retired: bool) -> Content {
    Content::EmberStore { cluster: cluster(7), store: StoreId::new(9), retired }
}

const fn cluster(raw: u128) -> ClusterId {
    ClusterId::new(raw)
}

#[test]
fn every_signature_is_found_and_only_where_it_belongs() {
    for signature in SIGNATURES {
        let parts: Vec<(i64, &[u8])> = signature
            .parts
            .iter()
            .map(|&(at, magic)| (i64::try_from(at).unwrap(), magic))
            .collect();
        let expected = match signature.kind {
            Kind::Volume => Content::Volume(signature.name),
            Kind::FileSystem => Content::FileSystem(signature.name),
        };
        check(&parts, expected);
        for (number, &(at, magic)) in parts.iter().enumerate() {
            // One bit off, one byte further on, or not at all: something else, but never nothing.
            let mut other = magic.to_vec();
            other[magic.len() - 1] ^= 0x10;
            for (at, bytes) in [(at, other.as_slice()), (at + 1, magic)] {
                let mut wrong = parts.clone();
                wrong[number] = (at, bytes);
                let found = identified(SIZE, &wrong);
                assert_ne!(found, Content::Empty, "{}", signature.name);
                assert_ne!(found, expected, "{} by {at} and {bytes:02x?}", signature.name);
            }
        }
        let end = signature.parts.iter().map(|&(at, magic)| at + magic.len() as u64).max().unwrap();
        assert!(end <= FIRST_BYTES as u64, "{} lies beyond what is read", signature.name);
    }
}

#[test]
fn zeros_are_empty_and_anything_else_is_not() {
    check(&[], Content::Empty);
    for size in [0, 1, 511, 512, 4095, 4096, 8191, 65536, 1 << 20, 3 << 20] {
        assert_eq!(identified(size, &[]), Content::Empty, "{size} bytes");
        if 0 < size {
            assert_eq!(identified(size, &[(0, &[1])]), Content::Unknown, "{size} bytes");
            assert_eq!(identified(size.min(2 << 20), &[(-1, &[1])]), Content::Unknown);
        }
    }
    let last = i64::try_from(FIRST_BYTES).unwrap() - 1;
    check(&[(last, &[1])], Content::Unknown);
    check(&[(last + 1, &[1])], Content::Empty); // nobody reads a whole disk for this
}

#[test]
fn extended_file_systems_are_told_apart_by_their_features() {
    let magic: (i64, &[u8]) = (1080, &[0x53, 0xef]);
    #[rustfmt::skip]
    let rows: [(&[u8], &[u8], &str); 7] = [
        // compatible     incompatible
        (&[0, 0, 0, 0],    &[0, 0, 0, 0],    "ext2"),
        (&[0x38, 0, 0, 0], &[2, 0, 0, 0],    "ext2"),
        (&[4, 0, 0, 0],    &[2, 0, 0, 0],    "ext3"),
        (&[4, 0, 0, 0],    &[0x42, 0, 0, 0], "ext4"),
        (&[0, 0, 0, 0],    &[0, 2, 0, 0],    "ext4"),
        (&[0x3c, 0, 0, 0], &[0xc2, 2, 0, 0], "ext4"),
        (&[0, 0, 0, 0],    &[8, 0, 0, 0],    "journal of ext3 or ext4"),
    ];
    for (compatible, incompatible, name) in rows {
        check(&[magic, (1116, compatible), (1120, incompatible)], Content::FileSystem(name));
    }
}

#[test]
fn members_are_found_by_their_superblock_at_the_end() {
    let md = Content::Volume("Linux software RAID member");
    let drbd = Content::Volume("DRBD device");
    let sizes = [SIZE, 64 << 20, (64 << 20) + 512, (64 << 20) + 4096, (65 << 20) - 512, 256 << 10];
    for size in sizes {
        let old = i64::try_from((size & !0xffff) - 0x10000).unwrap();
        let new = i64::try_from((size & !0xfff) - 0x2000).unwrap();
        #[rustfmt::skip]
        let rows: [(i64, &[u8], Content); 7] = [
            (old,       &[0xfc, 0x4e, 0x2b, 0xa9, 0, 0, 0, 0, 90], md),
            (old,       &[0xa9, 0x2b, 0x4e, 0xfc, 0, 0, 0, 0, 0, 0, 0, 90], md),
            (new,       &[0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0], md),
            (-4096 + 60, &[0x83, 0x74, 0x02, 0x6b], drbd),
            (-4096 + 60, &[0x83, 0x74, 0x02, 0x6c], drbd),
            (-4096 + 60, &[0x83, 0x74, 0x02, 0x6d], drbd),
            (-4096 + 60, &[0x83, 0x74, 0x02, 0x6a], Content::Unknown),
        ];
        for (position, bytes, expected) in rows {
            let found = identified(size, &[(position, bytes)]);
            assert_eq!(found, expected, "{size} bytes, {bytes:02x?} at {position}");
            // It says more than what the array shows at its start.
            let mirrored = identified(size, &[(position, bytes), (0, b"XFSB")]);
            let is_member = matches!(expected, Content::Volume(_));
            let content = Content::FileSystem("XFS");
            assert_eq!(mirrored, if is_member { expected } else { content });
        }
    }
}

#[test]
fn labels_of_zfs_are_found_at_both_ends_in_both_byte_orders() {
    const BLOCKS: [[u8; 8]; 2] = [ZFS_UBERBLOCK, ZFS_UBERBLOCK_BIG];
    for block in &BLOCKS {
        for size in [SIZE, 64 << 20, (64 << 20) + 512] {
            let end = i64::try_from(size - size % (256 << 10)).unwrap();
            for label in [0, 256 << 10, end - (512 << 10), end - (256 << 10)] {
                for number in [0, 4, 127] {
                    let at = label + (128 << 10) + number * 1024;
                    let found = identified(size, &[(at, block)]);
                    assert_eq!(found, Content::Volume("ZFS pool member"), "{size} bytes, {at}");
                }
            }
        }
        check(&[((128 << 10) + 8, block)], Content::Unknown);
    }
}

/// An entry of a partition table: state, kind, first sector, sectors.
fn entry(status: u8, kind: u8, start: u32, len: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    (bytes[0], bytes[4]) = (status, kind);
    bytes[8..12].copy_from_slice(&start.to_le_bytes());
    bytes[12..].copy_from_slice(&len.to_le_bytes());
    bytes
}

#[test]
fn partition_tables_are_plausible_or_unknown() {
    let mark: (i64, &[u8]) = (510, &[0x55, 0xaa]);
    let linux = entry(0x80, 0x83, 2048, 65536);
    let protective = entry(0, 0xee, 1, u32::MAX);
    let sectors = u32::try_from(SIZE / 512).unwrap();
    let mbr = Content::PartitionTable("MBR");
    #[rustfmt::skip]
    let rows: [(Put<'_>, Content); 8] = [
        (&[mark, (446, &linux)],                                  mbr),
        (&[mark, (494, &entry(0, 7, 1, 1))],                      mbr),
        (&[mark, (446, &protective)],                             mbr),
        (&[mark],                                                 Content::Unknown),
        (&[(446, &linux)],                                        Content::Unknown),
        (&[mark, (446, &entry(0x42, 0x83, 2048, 65536))],         Content::Unknown),
        (&[mark, (446, &entry(0, 0x83, sectors, 1))],             Content::Unknown),
        (&[mark, (446, &entry(0, 0x83, 2048, 0))],                Content::Unknown),
    ];
    for (put, expected) in rows {
        check(put, expected);
    }
    let gpt = Content::PartitionTable("GPT");
    for header in [512, 4096, -512, -4096] {
        check(&[(header, b"EFI PART")], gpt);
        check(
            &[mark, (446, &protective), (header, b"EFI PART")],
            if 0 < header { gpt } else { mbr },
        );
    }
    check(&[(-513, b"EFI PART")], Content::Unknown);
}

/// A boot sector is often a file system's, with the mark of a table.
#[test]
fn a_boot_sector_of_a_file_system_is_no_table() {
    let mark: (i64, &[u8]) = (510, &[0x55, 0xaa]);
    let linux = entry(0x80, 0x83, 2048, 65536);
    for (at, name, expected) in [(0x52, b"FAT32   ", "FAT32"), (3, b"NTFS    ", "NTFS")] {
        check(&[mark, (446, &linux), (at, name)], Content::FileSystem(expected));
    }
}

#[test]
fn a_store_is_recognised_by_either_superblock() {
    let page = own_page(StoreFlags::NONE, 0);
    let retired = own_page(StoreFlags::RETIRED, 1);
    let damaged = |byte: usize| {
        let mut page = page;
        page[byte] ^= 1;
        page
    };
    let (bad, no_magic, newer) = (damaged(2000), damaged(0), damaged(8));
    #[rustfmt::skip]
    let rows: [(Put<'_>, Content); 12] = [
        (&[(0, &page), (0x10000, &page)],                     own(false)),
        (&[(0, &page)],                                       own(false)),
        (&[(0x10000, &page)],                                 own(false)),
        (&[(0, &bad), (0x10000, &page)],                      own(false)),
        (&[(0, &page), (0x10000, &retired)],                  own(true)),
        (&[(0, &page), (0x20000, &retired)],                  own(false)),
        (&[(0, &bad), (0x10000, &bad)],                       Content::UnreadableStore),
        (&[(0, &newer)],                                      Content::UnreadableStore),
        (&[(0, &MAGIC)],                                      Content::UnreadableStore),
        (&[(0x10000, &MAGIC)],                                Content::UnreadableStore),
        (&[(0, &no_magic)],                                   Content::Unknown),
        (&[(0x20000, &page)],                                 Content::Unknown),
    ];
    for (put, expected) in rows {
        check(put, expected);
    }
    // A younger file system above an old second superblock is a file system, whatever cluster
    // the superblock names.
    check(&[(0, b"XFSB"), (0x10000, &page)], Content::FileSystem("XFS"));
    // What a former use left at the end is not of interest any more, a live mirror is.
    check(&[(0, &page), (-512, b"EFI PART")], own(false));
    let member = [0x83, 0x74, 0x02, 0x6b];
    check(&[(0, &page), (-4096 + 60, &member)], Content::Volume("DRBD device"));
}

#[test]
fn only_nothing_and_the_own_cluster_may_be_formatted() {
    let rows = [
        (Content::Empty, None),
        (own(true), None),
        (own(false), Some("store 00000000-0000-0000-0000-000000000009 of EmberFS cluster")),
        (Content::UnreadableStore, Some("a store of EmberFS that is damaged, or of a newer")),
        (Content::FileSystem("ext4"), Some("a file system (ext4)")),
        (Content::Volume("swap space"), Some("a raw volume (swap space)")),
        (Content::PartitionTable("GPT"), Some("a partition table (GPT)")),
        (Content::Unknown, Some("data of an unknown kind")),
    ];
    for (content, expected) in rows {
        let reason = content.blocks_format(cluster(8)).map(|foreign| foreign.to_string());
        match (&reason, expected) {
            (None, None) => {}
            (Some(reason), Some(expected)) => {
                assert!(reason.starts_with(&format!("it holds {expected}")), "{reason}");
            }
            _ => panic!("{content:?}: {reason:?}"),
        }
    }
    assert_eq!(own(false).blocks_format(cluster(7)), None);
}

#[test]
fn short_reads_are_no_reason_to_panic() {
    for first in [0, 1, 7, 8, 100, 4096, 70_000] {
        for last in [0, 1, 8, 4096, 300_000] {
            for size in [0, 1, 4096, 1 << 40, u64::MAX] {
                let (first, last) = (vec![0; first], vec![0; last]);
                assert_eq!(identify(&first, size, &last), Content::Empty);
                let _ = identify(&vec![0xff; first.len()], size, &vec![0xff; last.len()]);
            }
        }
    }
}

/// Runs on a node with a large device and one that is smaller than what is looked at.
fn on_devices<F: Future<Output = ()> + 'static>(main: impl FnOnce(SimEnv) -> F + 'static) {
    let sim = Sim::new(SimConfig::new(1));
    let node = sim.add_node(NodeSpec::new("n"));
    sim.add_device(node, "/large", SIZE, 512);
    sim.add_device(node, "/small", SMALL, 4096);
    sim.start(node, main);
    assert!(sim.run_while(Duration::from_secs(60), |sim| !sim.is_finished(node)).unwrap());
}

const SMALL: u64 = 8 << 10;
const WRITE: OpenOptions = OpenOptions { write: true, create: false, truncate: false, lock: false };

/// Zeros with `magic` at `at`.
fn page(env: &SimEnv, at: usize, magic: &[u8]) -> Bytes<<SimEnv as Env>::Memory> {
    let mut buf = env.pool().alloc(4096).unwrap();
    buf.set_len(4096);
    buf.fill(0);
    buf[at..at + magic.len()].copy_from_slice(magic);
    buf.freeze()
}

#[test]
fn both_ends_of_a_device_are_read() {
    on_devices(|env| async move {
        for (path, size) in [("/large", SIZE), ("/small", SMALL)] {
            let file = env.open(path.as_ref(), WRITE).await.unwrap();
            assert_eq!(look::<SimEnv>(&file).await.unwrap(), Content::Empty);
            for (position, at, magic, expected) in [
                (0, 0, b"XFSB    ".as_slice(), Content::FileSystem("XFS")),
                (size - 4096, 4096 - 512, b"EFI PART", Content::PartitionTable("GPT")),
                (size - 4096, 60, &[0x83, 0x74, 0x02, 0x6d], Content::Volume("DRBD device")),
            ] {
                if size == SMALL && matches!(expected, Content::Volume(_)) {
                    continue; // too small to be one
                }
                file.write(position, page(&env, at, magic)).await.unwrap();
                assert_eq!(look::<SimEnv>(&file).await.unwrap(), expected, "{path}");
                file.write(position, page(&env, 0, &[])).await.unwrap();
            }
        }
    });
}

/// The ends of a disk say whether somebody misses it; a file is looked at inside as well.
#[test]
fn data_inside_a_file_is_seen() {
    on_devices(|env| async move {
        let create = OpenOptions { create: true, ..WRITE };
        for (size, at, len) in [
            (8 << 20, 5 << 20, 1),
            (SIZE, (2 << 20) + 4096, 1),
            (1 << 30, 300 << 20, 512),
            (1 << 30, (1 << 30) - 4096, 1),
        ] {
            let path = format!("file-{size}-{at}");
            let file = env.open(path.as_ref(), create).await.unwrap();
            file.set_len(size).await.unwrap();
            let file = env.open(path.as_ref(), WRITE).await.unwrap();
            assert_eq!(look::<SimEnv>(&file).await.unwrap(), Content::Empty);
            for block in 0..len {
                file.write(at + block * 4096, page(&env, 4000, b"x")).await.unwrap();
            }
            assert_eq!(look::<SimEnv>(&file).await.unwrap(), Content::Unknown, "{path}");
        }
        let disk = env.open("/large".as_ref(), WRITE).await.unwrap();
        disk.write(8 << 20, page(&env, 0, b"x")).await.unwrap();
        assert_eq!(look::<SimEnv>(&disk).await.unwrap(), Content::Empty);
    });
}

#[test]
fn wiping_clears_both_ends_and_nothing_else() {
    on_devices(|env| async move {
        for (path, size) in [("/large", SIZE), ("/small", SMALL)] {
            let file = env.open(path.as_ref(), WRITE).await.unwrap();
            let first = size.min(FIRST_BYTES as u64);
            let last = first.max(size - size.min(LAST_BYTES as u64));
            let kept = [first, last - 4096].into_iter().filter(|at| first <= *at && *at < last);
            let kept: Vec<u64> = kept.collect();
            let wiped = [0, first - 4096, last, size - 4096].into_iter().filter(|at| *at < size);
            for position in wiped.chain(kept.iter().copied()) {
                file.write(position, page(&env, 0, b"data")).await.unwrap();
            }
            file.write(size - 4096, page(&env, 60, &[0x83, 0x74, 0x02, 0x6d])).await.unwrap();
            assert_ne!(look::<SimEnv>(&file).await.unwrap(), Content::Empty);
            wipe(&env, &file).await.unwrap();
            assert_eq!(look::<SimEnv>(&file).await.unwrap(), Content::Empty, "{path}");
            for position in kept {
                assert_eq!(file.read(position, 4096).await.unwrap()[..4], *b"data", "{position}");
            }
        }
    });
}
