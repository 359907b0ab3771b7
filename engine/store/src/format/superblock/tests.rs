use std::string::ToString;

use engine_types::Rng;

use super::*;
use crate::format::layout::FormatOptions;
use crate::format::testing::{STORE, hex};

const MIB: u64 = 1 << 20;

fn full() -> Superblock {
    let options = FormatOptions {
        size: 1 << 30,
        journal_bytes: Some(32 * MIB),
        index_bytes: Some(16 * MIB),
        dedup_channels: Some(4096),
    };
    let layout = Layout::plan(&options).unwrap();
    let fresh = Superblock::fresh(
        ClusterId::new(0xc1),
        STORE,
        WallTime::from_nanos(1_700_000_000_000_000_000),
        layout,
        7,
    );
    Superblock {
        features: Features { compat: 0x11, ro_compat: 0, incompat: 0 },
        flags: StoreFlags::DAMAGED,
        sequence: 9,
        timeline: Timeline::new(2),
        mount_gen: Incarnation::new(3),
        tail: Position { lsn: Lsn::new(40), offset: 8192, prev_hash: 0xabcd },
        checkpoint: Some(CheckpointRef {
            generation: 5,
            half: 1,
            start: Lsn::new(50),
            bytes: 2 * MIB + 8192,
            pages: 3,
            items: 40_000,
            digest: 0xd16e,
        }),
        ..fresh
    }
}

fn encode(superblock: &Superblock) -> [u8; SUPERBLOCK_BYTES] {
    let mut page = [0xee; SUPERBLOCK_BYTES];
    superblock.encode(&mut page);
    page
}

fn reseal(page: &mut [u8; SUPERBLOCK_BYTES]) {
    let crc = crc32c(&page[..CRC_AT]);
    put(page, CRC_AT, crc.get().to_le_bytes());
}

const GOLDEN: &str = "\
    454d424653544f52010000000100000009000000000000001100000000000000\
    00000000000000000000000000000000c1000000000000000000000000000000\
    ffeeddccbbaa9988776655443322110000002a36fe9c9717d70d3259e4e1cb63\
    0300000000000000020000000e00000000000040000000000000100000000000\
    000000020000000000001002000000000000a001000000000000b00300000000\
    0000a00100000000000050050000000000000001000000000010000000000000\
    28000000000000000020000000000000cdab0000000000000500000000000000\
    32000000000000000020200000000000409c0000000000006ed1000000000000\
    0300000001000000";
const GOLDEN_CRC: &str = "0aa65bd7";

#[test]
fn golden_bytes() {
    let page = encode(&full());
    assert_eq!(hex(&page[..264]), GOLDEN);
    assert_eq!(hex(&page[CRC_AT..]), GOLDEN_CRC);
    assert!(page[264..CRC_AT].iter().all(|&byte| byte == 0));
    assert_eq!(Superblock::decode(&page), Ok(full()));
}

#[test]
fn a_fresh_store_begins_at_the_first_group() {
    let layout = full().layout;
    let (cluster, now) = (ClusterId::new(1), WallTime::from_nanos(2));
    let a = Superblock::fresh(cluster, STORE, now, layout, 7);
    let b = Superblock { sequence: 1, ..a };
    assert_eq!((a.copy(), a.offset(), b.copy(), b.offset()), (0, 0, 1, 64 << 10));
    assert_eq!(newest(&encode(&a), &encode(&b)), Ok((1, b)));
    assert_eq!(a.tail, Position { lsn: Lsn::new(1), offset: 0, prev_hash: first_hash(a.salt) });
    assert!(a.flags.has(StoreFlags::CLEAN) && !a.flags.has(StoreFlags::DAMAGED));
    let other = Superblock::fresh(cluster, STORE, now, layout, 8);
    assert_ne!(a.salt, other.salt);
}

#[test]
fn flags_are_kept() {
    let flags = StoreFlags::new(0x8000_0000).with(StoreFlags::DAMAGED).with(StoreFlags::CLEAN);
    let flags = flags.without(StoreFlags::CLEAN);
    assert!(flags.has(StoreFlags::DAMAGED) && !flags.has(StoreFlags::CLEAN));
    assert!(!flags.has(StoreFlags::RETIRED) && flags.has(StoreFlags::NONE));
    let page = encode(&Superblock { flags, ..full() });
    assert_eq!(Superblock::decode(&page).unwrap().flags, flags);
}

/// E106: whichever bit flips, it is no superblock.
#[test]
fn no_flipped_bit_passes() {
    let good = encode(&full());
    for bit in (0..300 * 8).chain((300 * 8..CRC_AT * 8).step_by(61)).chain(CRC_AT * 8..4096 * 8) {
        let mut page = good;
        page[bit / 8] ^= 1 << (bit % 8);
        match Superblock::decode(&page) {
            Err(SuperblockError::Magic { .. }) => assert!(bit < 64, "bit {bit}"),
            Err(SuperblockError::Checksum { .. }) => assert!(64 <= bit, "bit {bit}"),
            other => panic!("bit {bit}: {other:?}"),
        }
    }
    let found = Superblock::decode(&good[..4095]);
    assert_eq!(found, Err(SuperblockError::Length { found: 4095 }));
}

#[test]
fn hostile_superblocks_are_refused() {
    use SuperblockError as E;
    let out =
        |field, found, min, max| E::Geometry(LayoutError::OutOfRange { field, found, min, max });
    let unaligned = |field, found, unit| E::Geometry(LayoutError::Unaligned { field, found, unit });
    let Superblock { layout, .. } = full();
    let half = layout.halves[1].len;
    let bytes = 2 * MIB + 8192;
    type Page = [u8; SUPERBLOCK_BYTES];
    type Damage = fn(&mut Page);
    #[rustfmt::skip]
    let rows: [(Damage, SuperblockError); 17] = [
        (|p| p[0] = 0, E::Magic { found: *b"\0MBFSTOR" }),
        (|p| p[8] = 2, E::Version { found: 2 }),
        (|p| p[8] = 0, E::Version { found: 0 }),
        (|p| p[47] = 0x80, E::Incompatible { found: 1 << 63, known: 0 }),
        (|p| p[108..112].fill(0), out("segment count", 0, 2, 262_143)),
        (|p| p[112..120].fill(0), out("length of a checkpoint half", half, half, 0)),
        (|p| p[120] = 1, unaligned("start of the ring", MIB + 1, 4096)),
        (|p| p[192] = 0, out("LSN of the tail", 0, 1, u64::MAX)),
        (|p| p[201] = 0x21, unaligned("place of the tail", 0x2100, 4096)),
        (|p| put(p, 200, u64::MAX.to_le_bytes()),
            out("place of the tail", u64::MAX, 0, 32 * MIB - 4096)),
        (|p| p[224] = 39, out("LSN of the checkpoint", 39, 40, u64::MAX)),
        (|p| p[232..240].fill(0xff), out("checkpoint size", u64::MAX, 4096, half)),
        (|p| p[232] = 1, unaligned("checkpoint size", bytes + 1, 4096)),
        (|p| p[247] = 1, out("number of checkpoint items", 40_000 + (1 << 56), 0, bytes / 16)),
        (|p| p[256] = 2, out("number of checkpoint pages", 2, 3, 3)),
        (|p| p[260] = 2, out("checkpoint half", 2, 0, 1)),
        (|p| p[263] = 1, out("checkpoint half", 1 + (1 << 24), 0, 1)),
    ];
    for (damage, expected) in rows {
        let mut page = encode(&full());
        damage(&mut page);
        reseal(&mut page);
        assert_eq!(Superblock::decode(&page), Err(expected));
    }
}

/// What a later release may add without a new bit: numbers in the reserved part.
#[test]
fn reserved_bytes_are_not_looked_at() {
    let mut page = encode(&full());
    page[264..CRC_AT].fill(0x5a);
    page[188..192].fill(0x5a);
    reseal(&mut page);
    assert_eq!(Superblock::decode(&page), Ok(full()));
}

#[test]
fn features_decide_what_may_be_done() {
    let with = |compat, ro_compat| Superblock {
        features: Features { compat, ro_compat, incompat: 0 },
        ..full()
    };
    let access = |superblock| Superblock::decode(&encode(&superblock)).unwrap().access();
    assert_eq!(access(with(0, 0)), Access::ReadWrite);
    assert_eq!(access(with(u64::MAX, 0)), Access::ReadWrite);
    assert_eq!(access(with(0, 6)), Access::ReadOnly { unknown: 6 });
}

/// E106: the newest whole copy decides, and it alone.
#[test]
fn the_newest_copy_decides() {
    use SuperblockError as E;
    let with = |sequence| Superblock { sequence, ..full() };
    let (old, new) = (encode(&with(8)), encode(&with(9)));
    let torn = {
        let mut torn = new;
        torn[4000] = 1;
        torn
    };
    assert_eq!(newest(&old, &new), Ok((1, with(9))));
    assert_eq!(newest(&new, &old), Ok((0, with(9))));
    assert_eq!(newest(&old, &old), Ok((0, with(8))));
    assert_eq!(newest(&old, &torn), Ok((0, with(8))));
    assert_eq!(newest(&torn, &old), Ok((1, with(8))));
    let found = newest(&[0; 4096], &torn).unwrap_err();
    let NoSuperblock::Neither { a, b } = found else { panic!("{found:?}") };
    assert_eq!(a, E::Magic { found: [0; 8] });
    assert!(matches!(b, E::Checksum { .. }), "{b:?}");
    // An upgraded store: the old copy would be readable, and is a store that no longer exists.
    let mut upgraded = new;
    upgraded[40] = 4;
    reseal(&mut upgraded);
    let why = E::Incompatible { found: 4, known: 0 };
    assert_eq!(newest(&old, &upgraded), Err(NoSuperblock::Newest { copy: 1, why }));
    let text = NoSuperblock::Newest { copy: 1, why }.to_string();
    assert_eq!(
        text,
        "superblock copy 1, the newest: incompatible features 0x4, this release knows 0x0"
    );
    // One that was made compatible again afterwards.
    assert_eq!(newest(&encode(&with(10)), &upgraded), Ok((0, with(10))));
}

#[test]
fn random_superblocks_come_back() {
    let mut rng = Rng::new(0xe106);
    for _ in 0..300 {
        let size = 200 * MIB + rng.below(1 << 42);
        let layout = Layout::plan(&FormatOptions::new(size)).unwrap();
        let lsn = 1 + rng.below(1000);
        let pages = rng.range(1..=layout.halves[0].len / MIB);
        let bytes = (pages - 1) * MIB + 4096 * rng.range(1..=256);
        let checkpoint = CheckpointRef {
            generation: 1 + rng.below(9),
            half: u8::from(rng.chance(500)),
            start: Lsn::new(lsn + rng.below(9)),
            bytes,
            pages: u32::try_from(pages).unwrap(),
            items: rng.below(bytes / 16),
            digest: rng.next_u64(),
        };
        let offset = rng.below(layout.ring.len / 4096) * 4096;
        let superblock = Superblock {
            sequence: rng.next_u64(),
            flags: StoreFlags::new(u32::try_from(rng.below(8)).unwrap()),
            layout,
            tail: Position { lsn: Lsn::new(lsn), offset, prev_hash: rng.next_u64() },
            checkpoint: rng.chance(700).then_some(checkpoint),
            ..full()
        };
        assert_eq!(Superblock::decode(&encode(&superblock)), Ok(superblock));
    }
}

#[test]
#[should_panic(expected = "E106: a superblock breaks its own rules: LSN of the checkpoint is 50")]
fn our_own_superblocks_keep_the_rules() {
    let tail = Position { lsn: Lsn::new(51), ..full().tail };
    encode(&Superblock { tail, ..full() });
}
