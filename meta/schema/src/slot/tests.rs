use std::format;

use super::*;

/// SipHash-2-4 of Aumasson and Bernstein, appendix A: key 00..0f, bytes 00..0e. Names of files
/// that exist are found by it for ever.
#[test]
fn e406_golden_slots() {
    let key = HashKey::new(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100);
    let message: [u8; 15] = core::array::from_fn(|index| u8::try_from(index).unwrap());
    let hash = 0xa129_ca61_49be_45e5_u64;
    let slot = Slot::first_of(key, &message);
    assert_eq!(slot.get(), hash >> 4 << 3);
    let names: [&[u8]; 3] = [b"a", b"checkpoint-000001.safetensors", &[0xff; 255]];
    let golden = [1_572_306_527_531_344_992, 1_582_895_449_888_682_752, 363_097_084_498_715_488];
    assert_eq!(names.map(|name| Slot::first_of(key, name).get()), golden);
}

#[test]
fn e406_slots_have_eight_probes_above_the_cookies_of_dots() {
    let slot = Slot::new(0x1238).unwrap();
    for probe in 0..PROBES {
        let at = slot.probe(probe);
        assert_eq!(at.get(), 0x1238 + u64::from(probe));
        assert_eq!((at.probe(0), at.end()), (slot, 0x1240));
    }
    assert_eq!(Slot::LAST.end(), 1 << 63);
    for raw in [0, 1, 7, 1 << 63, u64::MAX] {
        assert_eq!(Slot::new(raw), None);
    }
    assert!(Slot::COOKIE_SELF < Slot::FIRST.get() && Slot::COOKIE_PARENT < Slot::FIRST.get());
    assert_eq!(format!("{slot} {}", slot.probe(5)), "slot-247.0 slot-247.5");
}

#[test]
fn a_listing_goes_on_behind_a_cookie() {
    for cookie in [0, Slot::COOKIE_SELF, Slot::COOKIE_PARENT, 7] {
        assert_eq!(Slot::behind(cookie), Some(Slot::FIRST));
    }
    assert_eq!(Slot::behind(8), Slot::new(9));
    assert_eq!(Slot::behind(Slot::LAST.get()), None);
    assert_eq!(Slot::behind(u64::MAX), None);
}

#[test]
fn the_key_is_not_shown() {
    assert_eq!(format!("{:?}", HashKey::new(0x1234)), "HashKey(..)");
}
