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

use engine_runtime::{Env, Gate, until};
use engine_types::{Instant, RoutingVersion};
use meta_kv::Kv;
use mgmt_cluster::delta::RoutingUpdate;
use mgmt_protocol::{Message, Refusal, RoutingAsk, RoutingTold};

use crate::manager::Manager;
use crate::tenure::Tenure;

/// Bytes of a piece: a quarter of what a payload may have, so that others get their turn.
const PIECE_BYTES: usize = 1 << 20;
/// A delta above this size is sent as an image instead, which goes in pieces.
const DELTA_BYTES_MAX: usize = PIECE_BYTES;
/// Pieces that are made and sent at once: what those who start together fetch must not take the
/// memory from which heartbeats are answered, and readers that stall hold a piece each until their
/// connection is cut.
pub(crate) const PIECES_AT_ONCE: u64 = 16;
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

    /// The first piece of an image: of a kept one if a delta leads on from it, for encoding takes
    /// long and changes may follow each other quickly while a cluster starts.
    fn begin(&mut self, tenure: &Tenure, now: Instant) -> RoutingTold {
        let info = tenure.cluster.routing();
        let leads_on = |version: RoutingVersion| {
            let update = tenure.cluster.routing_update(info.timeline, version);
            !matches!(update, None | Some(RoutingUpdate::Full(_)))
        };
        let newest = self.images.keys().next_back().copied();
        let version = newest.filter(|&version| leads_on(version)).unwrap_or_else(|| {
            self.forget_old(now);
            let image = Image { bytes: Rc::new(info.encode()), asked: now };
            self.images.insert(info.version, image);
            info.version
        });
        self.piece(version, 0, now).expect("kept, or encoded above")
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

/// Room for a piece, until it is sent.
pub(crate) struct Room<'a>(&'a Gate);

impl<'a> Room<'a> {
    async fn take(gate: &'a Gate) -> Self {
        gate.take(1).await.expect("the gate of pieces is never closed");
        Self(gate)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.give(1);
    }
}

/// An answer as bytes.
pub(crate) struct Told<'a> {
    pub(crate) bytes: Rc<Vec<u8>>,
    /// Held until it is sent.
    pub(crate) _room: Option<Room<'a>>,
}

impl Told<'_> {
    pub(crate) fn of(message: &impl Message) -> Self {
        Self { bytes: Rc::new(message.encode()), _room: None }
    }
}

/// What is newer than what the asker has.
enum Newer {
    Delta(Rc<Vec<u8>>),
    /// Too much for a delta, or nobody knows what the asker has.
    Everything,
}

impl<E: Env, K: Kv> Manager<E, K> {
    /// Answers with routing info that is newer than what the asker has, waiting for it.
    pub(crate) async fn tell_routing(&self, asked: RoutingAsk) -> Result<Told<'_>, Refusal> {
        if asked.image.is_some() {
            return self.tell_piece(asked.image).await;
        }
        let poll_time = self.as_primary(|tenure, _| tenure.poll_time)?;
        let deadline = self.env.now() + asked.wait.min(poll_time);
        loop {
            let published = self.published.notified();
            match self.newer(&asked)? {
                Some(Newer::Delta(bytes)) => return Ok(Told { bytes, _room: None }),
                Some(Newer::Everything) => return self.tell_piece(None).await,
                None => {}
            }
            if until(&self.env, deadline, published).await.is_err() {
                self.as_primary(|_, _| ())?; // vouched for at this moment
                return Ok(Told::of(&RoutingTold::Current));
            }
        }
    }

    /// The piece that is asked for if its image is kept, else the first one of a newer image.
    async fn tell_piece(&self, asked: Option<(RoutingVersion, u64)>) -> Result<Told<'_>, Refusal> {
        let room = Room::take(&self.pieces).await;
        let piece = self.as_primary(|tenure, now| {
            let mut images = self.images.borrow_mut();
            let piece = asked.and_then(|(version, offset)| images.piece(version, offset, now));
            piece.unwrap_or_else(|| images.begin(tenure, now))
        })?;
        Ok(Told { _room: Some(room), ..Told::of(&piece) })
    }

    /// What leads on from the asker's version, if there is anything newer.
    fn newer(&self, asked: &RoutingAsk) -> Result<Option<Newer>, Refusal> {
        self.as_primary(|tenure, _| {
            let mut images = self.images.borrow_mut();
            let info = tenure.cluster.routing();
            images.at(info.version);
            if info.timeline == asked.timeline
                && let Some(told) = images.deltas.get(&asked.since)
            {
                return Some(Newer::Delta(told.clone()));
            }
            let delta = match tenure.cluster.routing_update(asked.timeline, asked.since)? {
                RoutingUpdate::Current => return None,
                RoutingUpdate::Full(_) => return Some(Newer::Everything),
                RoutingUpdate::Delta(delta) => delta,
            };
            let told = Rc::new(RoutingTold::Delta(delta).encode());
            if DELTA_BYTES_MAX < told.len() {
                return Some(Newer::Everything);
            }
            if images.deltas.len() < DELTAS_MAX {
                images.deltas.insert(asked.since, told.clone());
            }
            Some(Newer::Delta(told))
        })
    }
}
