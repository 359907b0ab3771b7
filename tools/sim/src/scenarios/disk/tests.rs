use engine_runtime::sim::Count;

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
    let beyond = [Kind::FlushLies, Kind::Misdirected, Kind::BitFlip, Kind::ReadFlips, Kind::Rot];
    for kind in beyond {
        let found = found(60, &[kind]);
        assert!(found.iter().any(|check| check.starts_with("T2")), "{kind:?}: {found:?}");
    }
}

#[test]
fn devices_vanish_in_the_usual_mix() {
    let met = |seed| play(seed).world.sim().report().count(Count::DeviceGone);
    assert!((0..30).any(|seed| 0 < met(seed)));
}
