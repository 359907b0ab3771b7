use engine_types::Rng;

use super::*;

fn size() -> ChunkSize {
    ChunkSize::new(64 << 10).expect("a chunk size")
}

/// The bytes alone, where holes do not matter.
#[derive(Default)]
struct Plain(Vec<u8>);

impl Plain {
    fn write(&mut self, offset: usize, data: &[u8]) {
        let len = self.0.len().max(offset + data.len());
        self.0.resize(len, 0);
        self.0[offset..offset + data.len()].copy_from_slice(data);
    }

    fn zero(&mut self, offset: usize, len: usize) {
        let end = self.0.len();
        self.0[offset.min(end)..(offset + len).min(end)].fill(0);
    }
}

#[test]
fn bytes_are_what_anyone_expects_and_holes_are_zeros() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let (mut body, mut plain) = (Body::new(size()), Plain::default());
        for _ in 0..60 {
            let whole = u64::from(size().bytes());
            let offset = u32::try_from(rng.below(whole)).expect("small");
            let most = whole - u64::from(offset);
            let len = u32::try_from(rng.range(1..=most.min(20_000))).expect("small");
            match rng.below(6) {
                0..=2 => {
                    let mut data = vec![0; len as usize];
                    rng.fill_bytes(&mut data);
                    body.write(offset, &data);
                    plain.write(offset as usize, &data);
                }
                3 => {
                    body.zero(offset, len);
                    plain.zero(offset as usize, len as usize);
                }
                4 => {
                    body.truncate(offset);
                    plain.0.resize(offset as usize, 0);
                }
                _ => {
                    body.extend(offset);
                    let len = plain.0.len().max(offset as usize);
                    plain.0.resize(len, 0);
                }
            }
            assert_eq!(body.range(0, body.len()), plain.0, "seed {seed}");
            assert_eq!(body.differs(0, &plain.0), None, "seed {seed}");
            if !plain.0.is_empty() {
                let at = usize::try_from(rng.below(plain.0.len() as u64)).expect("an index");
                plain.0[at] ^= 1;
                assert_eq!(body.differs(0, &plain.0), Some(at), "seed {seed}");
                plain.0[at] ^= 1;
            }
            check(&body, seed);
        }
    }
}

/// Holes hold zeros, the last data is no hole, the map covers everything.
fn check(body: &Body, seed: u64) {
    assert_eq!(body.blocks.len(), body.block_count(body.data_end), "seed {seed}");
    assert!(body.blocks.last() != Some(&None), "E101: seed {seed}");
    assert!(body.data_end <= body.len(), "E100: seed {seed}");
    let mut at = 0;
    for (range, data) in body.data_map(0..body.len()) {
        assert_eq!(range.start, at, "seed {seed}");
        at = range.end;
        let bytes = body.range(range.start, range.end - range.start);
        assert!(data || bytes.iter().all(|&byte| byte == 0), "seed {seed}");
    }
    assert_eq!(at, body.len(), "seed {seed}");
    let again = Body::replaced(body.size(), body.len(), &body.extents());
    assert_eq!(*body, again, "a replica that gets the extents is equal, seed {seed}");
}

#[test]
fn digests_tell_versions_bytes_lengths_and_holes_apart() {
    let chunk = ChunkId { inode: engine_types::InodeId::new(5), index: 1 };
    let one = ChunkVersion::new(1);
    let mut body = Body::new(size());
    body.write(0, &[7; 20_000]);
    let digest = body.digest(chunk, one);
    assert_ne!(digest, body.digest(chunk, ChunkVersion::new(2)));
    assert_ne!(digest, body.digest(ChunkId { index: 2, ..chunk }, one));
    let changed = |change: &dyn Fn(&mut Body)| {
        let mut other = body.clone();
        change(&mut other);
        other.digest(chunk, one)
    };
    assert_ne!(digest, changed(&|body| body.write(3, &[8])));
    assert_ne!(digest, changed(&|body| body.extend(30_000)));
    assert_ne!(digest, changed(&|body| body.truncate(19_999)));
    let written = changed(&|body| body.write(8192, &[0; 8192]));
    let holes = changed(&|body| body.zero(8192, 8192));
    assert_ne!(written, holes, "zeros that were written are no hole");
    assert_eq!(digest, changed(&|body| body.write(0, &[7; 100])), "the same bytes");
}
