//! Receiving: requests in their turn become items with their bytes.

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
use crate::item::{Arrived, Item, Owner, ShardId};
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

async fn taken<E: Env>(request: Request<E>) {
    if is(Bug::CreditKept) && request.payload_len() != 0 {
        return core::mem::forget(request);
    }
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

    /// Hands on every request whose turn has come; they are to be answered (E364).
    fn take_turns(&self, peer: &Peer<E>, link: &Rc<Link<E>>) -> Vec<Request<E>> {
        let mut done = Vec::new();
        while let Some(entry) = link.next_in_turn() {
            let Entry { messages, segments, request } = entry;
            match items(&messages, segments) {
                Ok(items) => {
                    let mut notices = self.notices.borrow_mut();
                    for (item, segments) in items {
                        let arrived = Arrived { item, segments };
                        notices.push_back(Notice::Arrived(link.clone(), arrived));
                    }
                }
                Err(why) => self.take_down_of(peer, link, &why),
            }
            done.push(request);
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
