use std::string::ToString;

use engine_types::Rng;

use super::*;

const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// The table of the module.
#[test]
fn sizes_follow_from_the_size_of_the_store() {
    let rows: [(u64, [u64; 5]); 8] = [
        // MiB  ring, index, channels, half, metadata
        (145, [2, 1, 4096, 7, 17]),
        (256, [8, 8, 32_768, 17, 43]),
        (1024, [32, 32, 131_072, 51, 135]),
        (2048, [64, 64, 262_144, 97, 259]),
        (64 << 10, [64, 64, 262_144, 97, 259]),
        (1 << 20, [512, 1024, 262_144, 1283, 3079]),
        (14 << 20, [7168, 4096, 262_144, 5077, 17_323]),
        (15 << 20, [7680, 4096, 262_144, 5077, 17_835]),
    ];
    for (mib, expected) in rows {
        let layout = Layout::plan(&FormatOptions::new(mib * MIB)).unwrap();
        let found = [
            layout.ring.len / MIB,
            layout.index_bytes_max / MIB,
            layout.dedup_channels.into(),
            layout.halves[0].len / MIB,
            layout.data_offset / MIB,
        ];
        assert_eq!(found, expected, "{mib} MiB");
        assert_eq!(layout.segment_count as u64, (mib - found[4]) / 64, "{mib} MiB");
    }
}

/// Any size and options: an error, or a layout that passes its check, uses all whole segments, and
/// keeps metadata below a quarter unless it is at its minimum or as asked.
#[test]
fn random_plans_are_good() {
    let mut rng = Rng::new(0xe106);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..4000 {
        let size = rng.next_u64() >> rng.range(18..=40);
        let journal = rng.chance(300).then(|| (rng.below(GIB) >> rng.below(12)) & !4095);
        let index = rng.chance(300).then(|| rng.below(GIB) >> rng.below(12));
        let dedup = rng.chance(200).then(|| u32::try_from(rng.below(5_000_000)).unwrap());
        let options = FormatOptions {
            size,
            journal_bytes: journal,
            index_bytes: index,
            dedup_channels: dedup,
        };
        let Ok(layout) = Layout::plan(&options) else {
            bad += 1;
            continue;
        };
        good += 1;
        assert_eq!(layout.check(), Ok(()), "{options:?}");
        assert!(journal.is_none_or(|journal| journal == layout.ring.len));
        assert!(index.is_none_or(|index| index == layout.index_bytes_max));
        assert!(dedup.is_none_or(|dedup| dedup == layout.dedup_channels));
        let end = layout.data_offset + layout.data_bytes();
        assert!(end <= size && size < end + SEGMENT, "{options:?} {layout:?}");
        let at_minimum = (journal.is_some() || layout.ring.len == JOURNAL_BYTES_MIN)
            && (index.is_some() || layout.index_bytes_max == INDEX_BYTES_MIN)
            && (dedup.is_some() || layout.dedup_channels == DEDUP_CHANNELS_MIN);
        assert!(layout.data_offset <= size / 4 || at_minimum, "{options:?} {layout:?}");
    }
    assert!(1000 < good && 1000 < bad, "{good} good, {bad} bad");
}

#[test]
fn impossible_options_are_refused() {
    use LayoutError as E;
    let with = |size, journal_bytes, index_bytes, dedup_channels| FormatOptions {
        size,
        journal_bytes,
        index_bytes,
        dedup_channels,
    };
    let out = |field, found, min, max| E::OutOfRange { field, found, min, max };
    let (journal, index) = ((2 * MIB, 64 * GIB), (MIB, 64 * GIB));
    let data_offset = Layout::plan(&FormatOptions::new(15 * TIB)).unwrap().data_offset;
    // The ring follows the size up to 16 TiB, where it is at its largest.
    let most = data_offset + 512 * MIB + u64::from(SEGMENTS_MAX) * SEGMENT;
    #[rustfmt::skip]
    let rows = [
        (with(TIB, Some(2 * MIB - 4096), None, None),
            out("journal size", 2 * MIB - 4096, journal.0, journal.1)),
        (with(TIB, Some(u64::MAX), None, None),
            out("journal size", u64::MAX, journal.0, journal.1)),
        (with(TIB, Some(2 * MIB + 512), None, None),
            E::Unaligned { field: "journal size", found: 2 * MIB + 512, unit: 4096 }),
        (with(TIB, None, Some(MIB - 1), None), out("index size", MIB - 1, index.0, index.1)),
        (with(TIB, None, Some(u64::MAX), None), out("index size", u64::MAX, index.0, index.1)),
        (with(TIB, None, None, Some(1)), out("number of channels", 1, 4096, 4_194_304)),
        (with(0, None, None, None), E::TooSmall { size: 0, needed: 145 * MIB }),
        (with(145 * MIB - 1, None, None, None),
            E::TooSmall { size: 145 * MIB - 1, needed: 145 * MIB }),
        (with(GIB, Some(GIB), None, None), E::TooSmall { size: GIB, needed: GIB + 143 * MIB }),
        (with(GIB, None, Some(GIB), None), E::TooSmall { size: GIB, needed: GIB + 143 * MIB }),
        (with(17 * TIB, None, None, None), E::TooLarge { size: 17 * TIB, max: most }),
        (with(u64::MAX, None, None, None), E::TooLarge { size: u64::MAX, max: most }),
    ];
    for (options, expected) in rows {
        let found = Layout::plan(&options).unwrap_err();
        let indexed = options.index_bytes == Some(GIB);
        assert!(found == expected || indexed, "{options:?}: {found:?}");
        assert!(!indexed || matches!(found, E::TooSmall { size: GIB, .. }), "{found:?}");
    }
    let text = E::TooLarge { size: 17 * TIB, max: most }.to_string();
    assert!(text.contains("slice the device"), "{text}");
    let smallest = Layout::plan(&FormatOptions::new(145 * MIB)).unwrap();
    assert_eq!(smallest.segment_count, 2);
    // Block addresses reach the very last sector of the largest store, and "no block" is none.
    let largest = Layout::plan(&FormatOptions::new(most)).unwrap();
    assert_eq!(largest.segment_count, SEGMENTS_MAX);
    assert!(largest.data_bytes() / SECTOR < BlockAddress::NONE.get().into());
    assert!(Layout::plan(&FormatOptions::new(most + SEGMENT)).is_err());
}

/// E106: each rule of a layout, broken by itself.
#[test]
fn a_layout_that_contradicts_itself_is_refused() {
    use LayoutError as E;
    let good = Layout::plan(&FormatOptions::new(4 * GIB)).unwrap();
    assert_eq!(good.check(), Ok(()));
    let half = good.halves[0].len;
    type Damage = fn(&mut Layout);
    let overlap = |first, end, second, start| E::Overlap { first, end, second, start };
    let unaligned = |field, found, unit| E::Unaligned { field, found, unit };
    let out = |field, found, min, max| E::OutOfRange { field, found, min, max };
    let data_end = good.data_offset + good.data_bytes();
    #[rustfmt::skip]
    let rows: [(Damage, LayoutError); 15] = [
        (|l| l.segment_count = 1, out("segment count", 1, 2, 262_143)),
        (|l| l.segment_count = 1 << 18, out("segment count", 1 << 18, 2, 262_143)),
        (|l| l.segment_count += 1, E::TooSmall { size: good.size, needed: data_end + SEGMENT }),
        (|l| l.size -= SEGMENT, E::TooSmall { size: good.size - SEGMENT, needed: data_end }),
        (|l| l.ring.offset = 4096, overlap("the reserved start", MIB, "the ring", 4096)),
        (|l| l.ring.offset += 4096,
            overlap("the ring", 65 * MIB + 4096, "checkpoint half A", 65 * MIB)),
        (|l| l.ring.offset += 512, unaligned("start of the ring", MIB + 512, 4096)),
        (|l| l.ring.offset = u64::MAX - 4095,
            E::TooSmall { size: good.size, needed: u64::MAX }),
        (|l| l.halves[1] = l.halves[0], overlap(
            "checkpoint half A", 65 * MIB + half, "checkpoint half B", 65 * MIB)),
        (|l| l.halves[0].len -= MIB,
            out("length of a checkpoint half", half - MIB, half, good.size)),
        (|l| l.halves[1].len += 1, unaligned("length of a checkpoint half", half + 1, MIB)),
        (|l| l.halves[1].offset += 4096,
            unaligned("start of a checkpoint half", 65 * MIB + half + 4096, MIB)),
        (|l| l.data_offset -= MIB, overlap(
            "checkpoint half B", good.data_offset, "the data area", good.data_offset - MIB)),
        (|l| l.data_offset += 1, unaligned("start of the data", good.data_offset + 1, MIB)),
        (|l| l.index_bytes_max *= 2, out("length of a checkpoint half", half,
            half_bytes(2 * good.index_bytes_max, good.dedup_channels), good.size)),
    ];
    for (damage, expected) in rows {
        let mut layout = good;
        damage(&mut layout);
        assert_eq!(layout.check(), Err(expected));
    }
}

#[test]
fn places_of_blocks() {
    let layout = Layout::plan(&FormatOptions::new(GIB)).unwrap();
    assert_eq!(layout.block_offset(BlockAddress::new(0)), layout.data_offset);
    assert_eq!(layout.block_offset(BlockAddress::new(3)), layout.data_offset + 3 * 4096);
    assert_eq!(layout.segment_offset(SegmentId::new(2)), layout.data_offset + 2 * SEGMENT);
    assert_eq!(layout.group_bytes_max(), GROUP_BYTES_MAX);
    let small = FormatOptions { journal_bytes: Some(2 * MIB), ..FormatOptions::new(GIB) };
    assert_eq!(Layout::plan(&small).unwrap().group_bytes_max(), GROUP_BYTES_MAX);
}

#[test]
#[should_panic(expected = "E106: the block is inside the data area")]
fn no_block_has_no_place() {
    let layout = Layout::plan(&FormatOptions::new(GIB)).unwrap();
    layout.block_offset(BlockAddress::NONE);
}
