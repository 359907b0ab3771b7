//! Routing info for everybody: polls that wait for a newer version, answered with what changed, or
//! with a piece of everything.
//!
//! A full routing info may be larger than one payload, and thousands may ask for the same one at
//! once when a cluster starts. So it is encoded once per version, as an image that is handed out in
//! pieces. Images that somebody may still be fetching are kept for a while; one that is gone is
//! replaced by the newest, from its beginning.

use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use engine_runtime::{Env, until};
use engine_types::{Instant, RoutingVersion};
use meta_kv::Kv;
use mgmt_cluster::delta::RoutingUpdate;
use mgmt_protocol::{Message, Refusal, RoutingAsk, RoutingTold};

use crate::manager::Manager;

/// Bytes of a piece: a quarter of what a payload may have, so that others get their turn.
const PIECE_BYTES: usize = 1 << 20;
/// A delta above this size is sent as an image instead: half a piece.
const DELTA_BYTES_MAX: usize = PIECE_BYTES;
/// Images that are kept at most: the newest and those before it that are being fetched. One of the
/// largest cluster has some 60 MiB.
const IMAGES_MAX: usize = 3;
/// An image is kept for so long after it was asked for last: a client fetches the next piece at
/// once.
const IMAGE_TIME: Duration = Duration::from_secs(10);
/// Encoded deltas of the newest version that are kept: most who ask follow closely and have one of
/// the last few versions.
const DELTAS_MAX: usize = 64;

struct Image {
    bytes: Rc<Vec<u8>>,
    asked: Instant,
}

/// Encoded routing info.
#[derive(Default)]
pub(crate) struct Images {
    images: BTreeMap<RoutingVersion, Image>,
    /// Answers with deltas to `newest`, by the version that they lead on from.
    deltas: BTreeMap<RoutingVersion, Rc<Vec<u8>>>,
    newest: RoutingVersion,
}

impl Images {
    /// Forgets everything: another term has other contents for the same numbers.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn forget_old(&mut self, now: Instant) {
        self.images.retain(|_, image| now < image.asked + IMAGE_TIME);
        while IMAGES_MAX <= self.images.len()
            && let Some((&idle, _)) = self.images.iter().min_by_key(|(_, image)| image.asked)
        {
            self.images.remove(&idle);
        }
    }

    fn at(&mut self, version: RoutingVersion) {
        if self.newest != version {
            self.newest = version;
            self.deltas.clear();
        }
    }

    fn piece(&mut self, version: RoutingVersion, offset: u64, now: Instant) -> Option<RoutingTold> {
        let image = self.images.get_mut(&version)?;
        image.asked = now;
        let total = image.bytes.len();
        let begin = usize::try_from(offset).ok().filter(|&begin| begin <= total)?;
        let end = total.min(begin.saturating_add(PIECE_BYTES));
        let bytes = image.bytes[begin..end].to_vec();
        Some(RoutingTold::Image { version, total: total as u64, offset, bytes })
    }
}

impl<E: Env, K: Kv> Manager<E, K> {
    /// Answers with routing info that is newer than what the asker has, waiting for it.
    pub(crate) async fn tell_routing(&self, asked: RoutingAsk) -> Result<Rc<Vec<u8>>, Refusal> {
        if let Some(told) = self.next_piece(&asked)? {
            return Ok(Rc::new(told.encode()));
        }
        let poll_time = self.as_primary(|tenure, _| tenure.poll_time)?;
        let deadline = self.env.now() + asked.wait.min(poll_time);
        loop {
            let published = self.published.notified();
            if let Some(told) = self.newer(&asked)? {
                return Ok(told);
            }
            if until(&self.env, deadline, published).await.is_err() {
                self.as_primary(|_, _| ())?; // vouched for at this moment
                return Ok(Rc::new(RoutingTold::Current.encode()));
            }
        }
    }

    /// The piece that is asked for, if its image is kept.
    fn next_piece(&self, asked: &RoutingAsk) -> Result<Option<RoutingTold>, Refusal> {
        let Some((version, offset)) = asked.image else { return Ok(None) };
        self.as_primary(|_, now| self.images.borrow_mut().piece(version, offset, now))
    }

    /// What leads on from the asker's version, if there is anything newer. Who fetched an image
    /// that is gone gets the newest.
    fn newer(&self, asked: &RoutingAsk) -> Result<Option<Rc<Vec<u8>>>, Refusal> {
        self.as_primary(|tenure, now| {
            let mut images = self.images.borrow_mut();
            let info = tenure.cluster.routing();
            images.at(info.version);
            let wants_image = asked.image.is_some();
            let same = info.timeline == asked.timeline && !wants_image;
            if same && let Some(told) = images.deltas.get(&asked.since) {
                return Some(told.clone());
            }
            match tenure.cluster.routing_update(asked.timeline, asked.since)? {
                RoutingUpdate::Current if !wants_image => return None,
                RoutingUpdate::Delta(delta) if !wants_image => {
                    let told = Rc::new(RoutingTold::Delta(delta).encode());
                    if told.len() <= DELTA_BYTES_MAX {
                        if images.deltas.len() < DELTAS_MAX {
                            images.deltas.insert(asked.since, told.clone());
                        }
                        return Some(told);
                    }
                }
                _ => {}
            }
            if !images.images.contains_key(&info.version) {
                images.forget_old(now);
                let image = Image { bytes: Rc::new(info.encode()), asked: now };
                images.images.insert(info.version, image);
            }
            let piece = images.piece(info.version, 0, now).expect("encoded above");
            Some(Rc::new(piece.encode()))
        })
    }
}
