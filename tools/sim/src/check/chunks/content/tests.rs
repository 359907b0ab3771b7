//! What stands for bytes, made of runs, against the bytes themselves.

use engine_types::Rng;

use super::*;

/// The bytes of a write, one after the other.
fn plain(stamp: Stamp, offset: u32, bytes: &mut [u8]) {
    for (at, byte) in (offset..).zip(bytes) {
        *byte = byte_of(stamp, at);
    }
}

#[test]
fn a_write_is_its_bytes() {
    for (offset, len) in (0..24).flat_map(|offset| (0..40).map(move |len| (offset, len))) {
        let (mut fast, mut slow) = (vec![0; len], vec![0; len]);
        fill(0x1234_5678_9abc_def0, offset, &mut fast);
        plain(0x1234_5678_9abc_def0, offset, &mut slow);
        assert_eq!(fast, slow, "{len} bytes from {offset}");
    }
}

fn change(rng: &mut Rng, size: u64) -> Change {
    let offset = u32::try_from(rng.below(size)).unwrap();
    let len = u32::try_from(rng.range(1..=size - u64::from(offset))).unwrap();
    match rng.below(8) {
        0 => Change::Truncate { len: offset },
        1 => Change::Extend { len: offset },
        2 => Change::Zero { offset, len },
        _ => Change::Write { offset, len: len.min(30), stamp: rng.below(5) + 1 },
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match *change {
        Change::Write { offset, len, stamp } => {
            let end = (offset + len) as usize;
            bytes.resize(bytes.len().max(end), 0);
            plain(stamp, offset, &mut bytes[offset as usize..end]);
        }
        Change::Truncate { len } => bytes.resize(len as usize, 0),
        Change::Extend { len } => bytes.resize(bytes.len().max(len as usize), 0),
        Change::Zero { offset, len } => {
            let end = bytes.len().min((offset + len) as usize);
            let start = end.min(offset as usize);
            bytes[start..end].fill(0);
        }
        Change::Remove => unreachable!("none is asked for"),
    }
}

/// Few stamps and small chunks: runs of one write lie beside each other, and words are of several.
#[test]
fn runs_print_what_their_bytes_print() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let size = rng.range(9..=120);
        let (mut body, mut bytes) = (Body::default(), Vec::new());
        for _ in 0..20 {
            let change = change(&mut rng, size);
            body.changed(&change);
            apply(&mut bytes, &change);
            assert_eq!(body.len as usize, bytes.len());
            let offset = u32::try_from(rng.below(size)).unwrap();
            let len = u32::try_from(rng.below(2 * size)).unwrap();
            for (offset, len) in [(0, u32::MAX), (offset, len)] {
                let end = bytes.len().min(offset.saturating_add(len) as usize);
                let read = &bytes[end.min(offset as usize)..end];
                let (print, shown) = seen(offset, read);
                assert_eq!(body.print(offset, len), print, "seed {seed}: {offset} {len} {shown:?}");
            }
        }
    }
}

#[test]
fn any_other_byte_prints_otherwise() {
    let mut bytes = [0; 64];
    plain(7, 3, &mut bytes[3..50]);
    let (print, _) = seen(5, &bytes[5..]);
    for at in 5..64 {
        bytes[at] ^= 0x10;
        assert_ne!(seen(5, &bytes[5..]).0, print, "byte {at}");
        bytes[at] ^= 0x10;
    }
    assert_ne!(seen(5, &bytes[5..63]).0, print, "a byte less");
}
