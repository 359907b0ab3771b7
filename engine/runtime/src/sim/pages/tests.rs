use super::*;

/// Ranges against one flag per byte.
#[test]
fn ranges_agree_with_a_plain_set() {
    let mut rng = Rng::new(1);
    for _ in 0..200 {
        let (mut ranges, mut plain) = (Ranges::default(), [false; 64]);
        for _ in 0..40 {
            let start = rng.below(64);
            let end = rng.range(start..=64);
            let bytes = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
            let missing = plain[bytes.clone()].iter().filter(|inside| !**inside).count();
            assert_eq!(ranges.missing(start, end), missing as u64);
            let insert = rng.chance(600);
            plain[bytes].fill(insert);
            if insert {
                ranges.insert(start, end);
            } else {
                ranges.remove(start, end);
            }
            let total = plain.iter().filter(|inside| **inside).count();
            assert_eq!(ranges.total(), total as u64);
        }
        let touching = ranges.map.values().zip(ranges.map.keys().skip(1));
        assert!(touching.into_iter().all(|(end, start)| end < start), "{ranges:?}");
    }
}

fn stamp(seq: u8, forget: bool) -> Stamp {
    Stamp { seq: seq.into(), forget }
}

fn page(byte: u8) -> [u8; PAGE] {
    [byte; PAGE]
}

#[test]
fn a_crash_keeps_any_version_that_no_flush_covered_and_no_other() {
    let mut rng = Rng::new(1);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let (mut pages, mut free) = (Pages::default(), Vec::new());
        for seq in 1..=4u8 {
            pages.write(5, stamp(seq, false), &page(seq), WHOLE, &mut free);
        }
        pages.flushed(2, &mut free);
        pages.crash(CrashMode::PerSector, &mut rng, &mut free);
        let mut out = page(0);
        pages.read(5, &mut out);
        for sector in out.chunks(SECTOR) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "sectors do not tear");
            seen.insert(sector[0]);
        }
    }
    assert_eq!(Vec::from_iter(seen), [2, 3, 4], "E44");
}

#[test]
fn forgotten_versions_do_not_touch_the_first_and_the_last() {
    let (mut pages, mut free) = (Pages::default(), Vec::new());
    for seq in 1..=50u8 {
        pages.write(0, stamp(seq, true), &page(seq), WHOLE, &mut free);
    }
    assert_eq!(pages.map[&0].versions.len(), VERSIONS_MAX);
    pages.crash(CrashMode::KeepAll, &mut Rng::new(1), &mut free);
    let mut out = page(0);
    pages.read(0, &mut out);
    assert_eq!(out, page(50));
}

#[test]
fn a_mask_changes_its_sectors_only() {
    let (mut pages, mut free) = (Pages::default(), vec![Box::new(page(0xEE))]);
    pages.write(0, stamp(1, false), &page(1), 0b1000_0001, &mut free);
    let mut out = page(9);
    pages.read(0, &mut out);
    for (index, sector) in out.chunks(SECTOR).enumerate() {
        let expected = u8::from(index == 0 || index == SECTORS - 1);
        assert!(sector.iter().all(|byte| *byte == expected), "sector {index}");
    }
    pages.zero(0, stamp(2, false), &mut free);
    pages.read(0, &mut out);
    assert_eq!(out, page(0));
}
