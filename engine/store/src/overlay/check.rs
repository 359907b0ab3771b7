//! The invariants that can be seen from outside; what tests and audits call.

use super::Overlay;
use super::images::{Id, State};

impl<T: Clone> Overlay<T> {
    /// Every invariant that can be seen; costs a walk over all images. For tests and audits.
    ///
    /// # Panics
    /// With the number of the one that does not hold.
    pub fn check(&self) {
        self.images.check();
        let mut listed = 0;
        for (key, chunk) in &self.chunks {
            assert!(!chunk.images.is_empty(), "E134: {key} is listed without images");
            assert!(chunk.images.is_sorted_by_key(|&(sector, _)| sector), "E134: {key} is sorted");
            listed += chunk.images.len();
            let mut pending = 0;
            for run in chunk.images.chunk_by(|(a, _), (b, _)| a == b) {
                let images = || run.iter().map(|&(_, id)| self.images.get(id));
                let sector = run[0].0;
                assert!(images().all(|i| i.key == *key && i.sector == sector), "E134: {key}");
                assert!(images().is_sorted_by_key(|image| image.order), "E134: {key} {sector}");
                let of = |is: fn(State) -> bool| images().filter(|image| is(image.state)).count();
                assert!(of(State::is_committed) <= 1, "E131: {key} sector {sector}");
                assert!(of(State::is_writing) <= 1, "E132: {key} sector {sector}");
                pending += of(|state| state == State::Pending);
            }
            assert_eq!(pending, chunk.pending.len(), "E134: pending images of {key}");
            let version = chunk.pending_version;
            let known = |&id: &Id| {
                let image = self.images.get(id);
                image.state == State::Pending && image.version == version
            };
            assert!(chunk.pending.iter().all(known), "E131: pending images of {key}");
        }
        assert_eq!(listed, self.images.len(), "E134: every image is in its chunk's list");
    }
}
