//! Receiving: requests in their turn become items with their bytes.

use core::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use engine_craq::planted::{Bug, is};
use engine_net::{Request, Segment};
use engine_runtime::Env;
use engine_types::{CoreId, NodeId, Status};
use engine_wire::bodies::storage::{RelayMessage, StorageRelayReply, StorageRelayRequest};
use engine_wire::bodies::to_owned;

use super::open::PROBE;
use super::{Links, Notice, Peer};
use crate::codec::{self, CodecError};
use crate::item::{Arrived, Guard, Held, Item, Owner, ShardId};
use crate::limits::HELD_SHARE;
use crate::link::{Entry, Link, Names};

/// Why what has arrived is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Nonsense {
    #[error(transparent)]
    Message(#[from] CodecError),
    #[error("a segment of {segment} bytes where {left} bytes of a message are left")]
    Segment { segment: usize, left: usize },
    #[error("{found} bytes of payload that no message claims")]
    Unclaimed { found: usize },
}

/// A peer and its present link.
type Named<E> = (Rc<Peer<E>>, Rc<Link<E>>);

/// An item with its bytes.
type Filled<E> = (Item, Vec<Segment<E>>);

/// A request whose bytes somebody holds; it is answered when the last one lets go (W3).
struct Ticket<E: Env> {
    env: E,
    request: Option<Request<E>>,
    bytes: u64,
    held_bytes: Rc<Cell<u64>>,
}

impl<E: Env> Guard for Ticket<E> {}

impl<E: Env> Drop for Ticket<E> {
    fn drop(&mut self) {
        self.held_bytes.set(self.held_bytes.get() - self.bytes);
        let request = self.request.take();
        if is(Bug::CreditKept) {
            return core::mem::forget(request);
        }
        if let Some(request) = request {
            drop(self.env.spawn(taken(request)));
        }
    }
}

async fn taken<E: Env>(request: Request<E>) {
    request.respond(&StorageRelayReply::default(), &[]).await;
}

async fn unknown<E: Env>(request: Request<E>) {
    let reply = StorageRelayReply { unknown: 1, ..StorageRelayReply::default() };
    request.respond(&reply, &[]).await;
}

impl<E: Env, O: Owner<E>> Links<E, O> {
    /// Answers a request of kind `STORAGE_RELAY`: a peer says something.
    pub async fn serve_relay(self: Rc<Self>, mut request: Request<E>) {
        let body = match request.body::<StorageRelayRequest>() {
            Ok(body) => to_owned::<StorageRelayRequest>(body),
            Err(error) => Err(error),
        };
        let body = match body {
            Ok(body) => body,
            Err(error) => return request.refuse(error.status()).await,
        };
        let from = ShardId { node: NodeId::new(body.node), core: CoreId::new(body.core) };
        if request.peer().node != from.node {
            return request.refuse(Status::WrongNode).await;
        }
        if self.closed.get() {
            return request.refuse(Status::Draining).await;
        }
        let names = Names { own: body.known, theirs: body.generation };
        let Some((peer, link)) = self.named(from, names) else {
            return unknown(request).await;
        };
        self.confirm(&link);
        if body.sequence == PROBE {
            return taken(request).await;
        }
        let segments = match request.collect().await {
            Ok(segments) => segments,
            Err(status) => {
                // It will not come again, and nothing behind it could ever have its turn.
                self.take_down_of(&peer, &link, &format_args!("payload: {status}"));
                self.tell();
                return request.refuse(status).await;
            }
        };
        if link.is_ended() {
            return unknown(request).await;
        }
        if let Err(why) = link.may_arrive(body.sequence) {
            self.take_down_of(&peer, &link, &why);
            self.tell();
            return unknown(request).await;
        }
        link.arrive(body.sequence, Entry { messages: body.messages, segments, request });
        for request in self.take_turns(&peer, &link) {
            taken(request).await;
        }
    }

    /// The present link of these names (E365). One that the peer uses before its answer to the
    /// opening has come is adopted: this says the same.
    fn named(&self, from: ShardId, names: Names) -> Option<Named<E>> {
        let peer = self.peer(from)?;
        let opening = peer.attempt.get();
        if opening != 0 && opening == names.own && names.theirs != 0 {
            engine_types::reached!("E366: a link is used before its opening is answered");
            drop(self.adopt(&peer, names));
        }
        let present = peer.present.borrow().clone();
        let link = present.filter(|link| link.names == names)?;
        Some((peer, link))
    }

    /// Whether the answer to a request with payload may wait. Streams run beside each other, and
    /// if the beginnings of many held all memory of the connections, none could ever end (W2).
    fn may_hold(&self, bytes: u64) -> bool {
        let fits = self.held_bytes.get() + bytes <= self.env.pool().limit() as u64 / HELD_SHARE;
        if !fits {
            engine_types::reached!("E364: bytes are not held, so that streams can end");
        }
        fits
    }

    /// Hands on every request whose turn has come; gives back those that nobody holds.
    fn take_turns(&self, peer: &Peer<E>, link: &Rc<Link<E>>) -> Vec<Request<E>> {
        let mut done = Vec::new();
        while let Some(entry) = link.next_in_turn() {
            let Entry { messages, segments, request } = entry;
            let bytes = u64::from(request.payload_len());
            let held = if bytes != 0 && self.may_hold(bytes) {
                self.held_bytes.set(self.held_bytes.get() + bytes);
                let (env, held_bytes) = (self.env.clone(), self.held_bytes.clone());
                Some(Held::new(Ticket { env, request: Some(request), bytes, held_bytes }))
            } else {
                done.push(request);
                None
            };
            match items(&messages, segments) {
                Ok(items) => {
                    let mut notices = self.notices.borrow_mut();
                    for (item, segments) in items {
                        let held = held.clone().filter(|_| !segments.is_empty());
                        let arrived = Arrived { item, segments, held };
                        notices.push_back(Notice::Arrived(link.clone(), arrived));
                    }
                }
                Err(why) => self.take_down_of(peer, link, &why),
            }
            drop(held);
            self.tell();
        }
        done
    }
}

/// The items of one request, each with its bytes, which lie behind each other in segments that
/// belong to one message each.
fn items<E: Env>(
    messages: &[RelayMessage],
    segments: Vec<Segment<E>>,
) -> Result<Vec<Filled<E>>, Nonsense> {
    let mut rest = VecDeque::from(segments);
    let mut items = Vec::with_capacity(messages.len());
    for message in messages {
        let mut left = message.bytes as usize;
        let mut own = Vec::new();
        let mut at = 0;
        while 0 < left {
            let segment = rest.pop_front().ok_or(Nonsense::Segment { segment: 0, left })?;
            let len = segment.bytes.len();
            if left < len || len == 0 {
                return Err(Nonsense::Segment { segment: len, left });
            }
            own.push(Segment { offset: at, ..segment });
            left -= len;
            at += u32::try_from(len).expect("segments are 256 KiB at most");
        }
        if message.code == codec::PIECE {
            items.push((codec::decode(message, &[])?, own));
        } else {
            let list: Vec<u8> = own.iter().flat_map(|part| part.bytes.iter().copied()).collect();
            items.push((codec::decode(message, &list)?, Vec::new()));
        }
    }
    match rest.iter().map(|segment| segment.bytes.len()).sum() {
        0 => Ok(items),
        found => Err(Nonsense::Unclaimed { found }),
    }
}
