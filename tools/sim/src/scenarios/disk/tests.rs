use super::*;

/// The checks that failed in `0..seeds`, with `beyond` among the faults.
fn found(seeds: u64, beyond: &[Kind]) -> Vec<&'static str> {
    let verdicts = (0..seeds).map(|seed| play_with(seed, beyond).verdict);
    verdicts.filter_map(Result::err).map(|failure| failure.check).collect()
}

#[test]
fn a_healthy_device_passes() {
    assert!(found(30, &[]).is_empty());
}

#[test]
fn lies_misdirected_writes_and_flipped_bits_are_found() {
    for kind in [Kind::FlushLies, Kind::Misdirected, Kind::BitFlip, Kind::ReadFlips] {
        let found = found(60, &[kind]);
        assert!(found.iter().any(|check| check.starts_with("T2")), "{kind:?}: {found:?}");
    }
}
