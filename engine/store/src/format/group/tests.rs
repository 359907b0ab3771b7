use alloc::vec;
use std::panic::catch_unwind;

use engine_types::{ChunkSize, ChunkVersion, Rng};

use super::*;
use crate::address::{ChunkKey, Slot};
use crate::format::testing::{self, SALT, STORE, group, hex, identity};

fn commit(version: u32) -> Entry {
    let key = ChunkKey::new(Slot::new(1), 7, 3);
    Entry::Commit { key, version: ChunkVersion::new(version) }
}

fn expected(lsn: u64, prev_hash: u64) -> Expected {
    Expected {
        store: STORE,
        salt: SALT,
        mount_gen_min: Incarnation::new(2),
        lsn: Lsn::new(lsn),
        prev_hash,
    }
}

/// Header and two entries; zeros follow to the end of the page.
const GOLDEN: &str = "\
    454d4247000000000010000030000000020000000000000017e9d28c00000000\
    ffeeddccbbaa9988776655443322110003000000000000000700000000000000\
    0807060504030201050000000000000000000000000000000000000000000000\
    00000000000000000000000000000000cb56e2c4e783c811000000001abb9a42\
    0200180001000000070000000000000003000000050000000200180001000000\
    07000000000000000300000006000000";

#[test]
fn golden_bytes() {
    let bytes = group(identity(7, 0x0102_0304_0506_0708), &[commit(5), commit(6)]);
    assert_eq!(bytes.len(), 4096);
    let end = GROUP_HEADER_BYTES + 2 * COMMIT_BYTES;
    assert_eq!(hex(&bytes[..end]), GOLDEN);
    assert!(bytes[end..].iter().all(|&byte| byte == 0));
    let found = parse(&bytes, &expected(7, 0x0102_0304_0506_0708)).unwrap();
    assert_eq!(found.entries, [commit(5), commit(6)]);
    assert_eq!(first_hash(SALT), 0xbd9e_38f9_45f8_ed87);
}

/// What was written comes back, with each image at its PUT and sector, and only as it was written.
#[test]
fn random_groups_come_back() {
    let mut rng = Rng::new(0xe108);
    let mut images = 0;
    for lsn in 1..200 {
        let size_max = ChunkSize::new(1 << 20).unwrap();
        let count = rng.below(12);
        let entries: Vec<Entry> = (0..count).map(|_| testing::entry(&mut rng, size_max)).collect();
        let prev_hash = rng.next_u64();
        let bytes = group(identity(lsn, prev_hash), &entries);
        let found = parse(&bytes, &expected(lsn, prev_hash)).unwrap();
        assert_eq!(found.entries, entries);
        assert_eq!(found.header.identity, identity(lsn, prev_hash));
        assert_eq!(found.header.bytes(), bytes.len());
        assert_eq!(peek(&bytes[..4096], STORE, SALT), Some(found.header));
        let sectors = entries.iter().filter_map(|entry| match entry {
            Entry::Put(put) => Some(put),
            _ => None,
        });
        let sectors = sectors.flat_map(|put| put.images.iter().map(move |&s| (put.key, s)));
        let mut number = 0;
        for ((put, sector, image), (key, s)) in found.images().zip(sectors) {
            assert_eq!((put.key, sector, image.len()), (key, s, 4096));
            assert_eq!(usize::from(image[0]), number % 251);
            assert_eq!(bytes[found.header.image_offset(number)..][..4096], *image);
            number += 1;
        }
        assert_eq!(number, found.header.image_count as usize);
        images += number;
    }
    assert!(200 < images, "{images} images");
}

/// The body's checksum, made piece by piece, is that of the bytes in the ring.
#[test]
fn a_body_is_summed_up_in_pieces() {
    let entries = testing::encoded(&[commit(1)]);
    let mut body = Body::new(&entries, 1);
    body.image(&[7; PAGE]);
    body.image(&[8; PAGE]);
    let header = body.header(identity(1, 2));
    let mut bytes = header.encode(SALT).to_vec();
    bytes.extend_from_slice(&entries);
    bytes.resize(PAGE, 0);
    bytes.extend_from_slice(&[7; PAGE]);
    bytes.extend_from_slice(&[8; PAGE]);
    assert_eq!(header.verify(&bytes), Ok(()));
    let mut filled = vec![1; header.bytes()];
    let images = [&[7; PAGE][..], &[8; PAGE]];
    fill(&mut filled, identity(1, 2), SALT, (&entries, 1), images.into_iter());
    assert_eq!(filled, bytes);
    // Its PUTs name no images: such a group is as written, and makes no sense.
    let found = parse(&bytes, &expected(1, 2));
    assert_eq!(found, Err(GroupError::ImageCount { found: 0, expected: 2 }));
    assert!(found.unwrap_err().is_unreadable());
}

#[test]
fn what_is_not_the_expected_group_is_told_apart() {
    use GroupError as E;
    let bytes = group(identity(7, 70), &[commit(5)]);
    let good = expected(7, 70);
    assert!(parse(&bytes, &good).is_ok());
    let other = StoreId::new(1);
    let hash = parse_header(&bytes, &good).unwrap().hash(SALT);
    let (three, nine) = (Incarnation::new(3), Incarnation::new(9));
    #[rustfmt::skip]
    let rows = [
        (Expected { store: other, ..good }, E::OtherStore { found: STORE, expected: other }),
        (Expected { lsn: Lsn::new(8), ..good },
            E::OtherLsn { found: Lsn::new(7), expected: Lsn::new(8) }),
        (Expected { mount_gen_min: Incarnation::new(4), ..good },
            E::OtherGeneration { found: three, min: Incarnation::new(4) }),
        (Expected { mount_gen_min: nine, ..good },
            E::OtherGeneration { found: three, min: nine }),
        (Expected { prev_hash: 71, ..good }, E::OtherChain { found: 70, expected: 71 }),
    ];
    for (expected, error) in rows {
        assert_eq!(parse(&bytes, &expected), Err(error));
        assert!(!error.is_torn() && !error.is_unreadable());
    }
    let found = parse(&bytes, &Expected { salt: SALT + 1, ..good });
    assert!(matches!(found, Err(E::OtherSalt { found, .. }) if found == hash), "{found:?}");
    let found = parse(&bytes[..2048], &good);
    assert_eq!(found, Err(E::Short { needed: 4096, found: 2048 }));
    for junk in [&[][..], &[0; 100], &[0; 4096], &bytes[..127], &bytes[1..]] {
        assert_eq!(parse(junk, &good), Err(E::NoHeader));
        assert_eq!(peek(junk, STORE, SALT), None);
    }
}

/// E108: whichever bit flips, the group is no longer taken for one.
#[test]
fn no_flipped_bit_passes() {
    let mut rng = Rng::new(8);
    let entries = [commit(5), Entry::Put(testing::put(&mut rng, ChunkSize::MIN).into())];
    let good = group(identity(7, 70), &entries);
    let header_bits = GROUP_HEADER_BYTES * 8;
    let body_bits = (header_bits..good.len() * 8).step_by(97);
    for bit in (0..header_bits).chain(body_bits) {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match parse(&bytes, &expected(7, 70)) {
            Err(GroupError::NoHeader) => assert!(bit < header_bits, "bit {bit}"),
            Err(why) if why.is_torn() => assert!(header_bits <= bit, "bit {bit}"),
            other => panic!("bit {bit}: {other:?}"),
        }
    }
}

/// S7: group 8 reached the device, group 7 before it did not. After recovery another 7 is written;
/// the old 8 is whole, has the right number, and is a ghost.
#[test]
fn a_ghost_does_not_follow() {
    let lost = group(identity(7, 70), &[commit(5)]);
    let lost_hash = parse_header(&lost, &expected(7, 70)).unwrap().hash(SALT);
    let ghost = group(identity(8, lost_hash), &[commit(6)]);
    let mut anew = identity(7, 70);
    anew.mount_gen = Incarnation::new(4);
    let anew = group(anew, &[commit(5)]);
    let header = parse_header(&anew, &expected(7, 70)).unwrap();
    let next = Expected {
        mount_gen_min: header.identity.mount_gen,
        prev_hash: header.hash(SALT),
        ..expected(8, 0)
    };
    assert!(parse(&ghost, &next).is_err());
    let by_chain = Expected { mount_gen_min: Incarnation::new(0), ..next };
    assert!(matches!(parse(&ghost, &by_chain), Err(GroupError::OtherChain { .. })));
    // A dropped group may stand behind the last one, its successor at the start of the ring.
    let (old, new) = (parse(&lost, &expected(7, 70)), parse(&anew, &expected(7, 70)));
    let (old, new) = (old.unwrap(), new.unwrap());
    assert_eq!(old.clone().newer(new.clone()), new);
    assert_eq!(new.clone().newer(old), new);
}

/// A client that knows everything but the salt writes a sector that looks like a group.
#[test]
fn a_forged_group_is_not_seen() {
    let forged = group(identity(u64::MAX, 0), &[commit(5)]);
    assert!(peek(&forged, STORE, SALT).is_some());
    assert!(peek(&forged, STORE, 0x1234).is_none());
}

#[test]
fn headers_that_cannot_be_are_refused() {
    let good = Body::new(&testing::encoded(&[commit(1)]), 1).header(identity(1, 0));
    let rows = [
        GroupHeader { entry_bytes: u32::MAX, ..good },
        GroupHeader { image_count: u32::MAX, ..good },
        GroupHeader { image_count: 256, ..good },
        GroupHeader { entry_count: 4, ..good },
    ];
    for header in rows {
        // The lengths of an impossible header may not even fit their field.
        let Ok(bytes) = catch_unwind(|| header.encode(SALT)) else { continue };
        assert_eq!(peek(&bytes, STORE, SALT), None, "{header:?}");
    }
    assert_eq!(peek(&good.encode(SALT), STORE, SALT), Some(good));
    let (mut bytes, crc_at) = (good.encode(SALT), CRC_AT);
    bytes[8] = 1;
    let crc = crc32c(&bytes[..crc_at]);
    bytes[crc_at..].copy_from_slice(&crc.get().to_le_bytes());
    assert_eq!(peek(&bytes, STORE, SALT), None);
}

#[test]
fn sizes_are_whole_pages() {
    let rows = [(0, 0, 4096), (3968, 0, 4096), (3969, 0, 8192), (24, 3, 4 * 4096)];
    for (entries, images, expected) in rows {
        assert_eq!(group_bytes(entries, images), expected, "{entries} {images}");
    }
    let mut rng = Rng::new(0x9b);
    for _ in 0..500 {
        let put = testing::put(&mut rng, ChunkSize::MAX);
        let words = put.record.as_ref().map_or(0, |record| record.words.len());
        if words + put.images.len() < put.direct.len() {
            continue; // more ranges than checksum blocks: no plan makes that
        }
        let images = put.images.len();
        let entry_bytes = entry::encoded_len(&Entry::Put(put.into())) + COMMIT_BYTES;
        let bytes = group_bytes(entry_bytes, images) as u64;
        assert!(bytes <= put_bytes_max(words, images), "{words} words, {images} images");
    }
}

#[test]
#[should_panic(expected = "E107: no group is like")]
fn a_group_beyond_the_limit_is_not_written() {
    let mut body = Body::new(&[], 0);
    (0..256).for_each(|_| body.image(&[0; PAGE]));
    body.header(identity(1, 0));
}

#[test]
#[should_panic(expected = "S2: an image is a whole sector")]
fn half_a_sector_is_no_image() {
    Body::new(&[], 0).image(&[0; 512]);
}
