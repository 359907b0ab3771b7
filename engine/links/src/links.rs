//! All links of one shard: which are wanted, who is told what, and the calls of the owner.
//!
//! Owner: one shard. What the owner is told goes through one queue, so that its calls never nest:
//! tasks of this crate empty it themselves, and what the owner's own calls put into it is left to
//! a task. Tasks hold this object until [`Links::close`].

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

use engine_net::{Client, NetConfig};
use engine_runtime::{Env, Notify, yield_now};
use engine_types::Instant;
use engine_wire::bodies::storage::StorageRelayReply;

use crate::item::{Arrived, Chunklet, Item, Owner, ShardId, StreamId};
use crate::limits::STEADY_TIME;
use crate::link::{Link, Names, Queued, pieces};

mod local;
mod open;
mod receive;
mod send;

/// What the owner is told next.
#[expect(clippy::large_enum_variant, reason = "nearly all are the largest, and none stays")]
enum Notice<E: Env> {
    Up(Rc<Link<E>>),
    Down(Rc<Link<E>>),
    Arrived(Rc<Link<E>>, Arrived<E>),
}

/// A shard to which a link is wanted.
struct Peer<E: Env> {
    id: ShardId,
    address: SocketAddr,
    client: RefCell<Client<E>>,
    wanted: Cell<bool>,
    present: RefCell<Option<Rc<Link<E>>>>,
    /// The own name of the link that is being opened; 0 if none is.
    attempt: Cell<u128>,
    /// Since when.
    attempt_since: Cell<Instant>,
    /// Attempts that failed, and links that did not last, since one lasted.
    failures: Cell<u32>,
    /// Told when any of these changes.
    changed: Notify,
}

/// All links of one shard.
pub struct Links<E: Env, O: Owner<E>> {
    env: E,
    net: Rc<NetConfig>,
    me: ShardId,
    owner: Weak<O>,
    this: Weak<Self>,
    peers: RefCell<BTreeMap<ShardId, Rc<Peer<E>>>>,
    notices: RefCell<VecDeque<Notice<E>>>,
    /// Somebody is emptying `notices`.
    telling: Cell<bool>,
    /// The owner believes that it has a link to these.
    told_up: RefCell<BTreeMap<ShardId, u128>>,
    closed: Cell<bool>,
}

impl<E: Env, O: Owner<E>> Links<E, O> {
    /// No links yet. `me` is what peers know this shard by; `net` must name its node.
    pub fn new(env: &E, net: Rc<NetConfig>, me: ShardId, owner: Weak<O>) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            env: env.clone(),
            net,
            me,
            owner,
            this: this.clone(),
            peers: RefCell::default(),
            notices: RefCell::default(),
            telling: Cell::new(false),
            told_up: RefCell::default(),
            closed: Cell::new(false),
        })
    }

    /// Links that are wanted from now on; others are taken down. A peer that listens elsewhere now
    /// gets a new link. The own shard may be among them: what it says to itself does not
    /// use the network.
    pub fn want(&self, peers: BTreeMap<ShardId, SocketAddr>) {
        if self.closed.get() {
            return;
        }
        let stays = |peer: &Peer<E>| peers.get(&peer.id) == Some(&peer.address);
        let known: Vec<_> = self.peers.borrow().values().cloned().collect();
        for peer in known.into_iter().filter(|peer| !stays(peer)) {
            self.peers.borrow_mut().remove(&peer.id);
            self.forget(&peer);
        }
        for (id, address) in peers {
            if self.peers.borrow().contains_key(&id) {
                continue;
            }
            let peer = Rc::new(Peer {
                id,
                address,
                client: RefCell::new(Client::new(&self.env, self.net.clone(), address)),
                wanted: Cell::new(true),
                present: RefCell::new(None),
                attempt: Cell::new(0),
                attempt_since: Cell::new(Instant::ZERO),
                failures: Cell::new(0),
                changed: Notify::default(),
            });
            self.peers.borrow_mut().insert(id, peer.clone());
            drop(self.env.spawn(Self::keep_open(self.shared(), peer)));
        }
        self.tell_soon();
    }

    /// Whether there is a link, of which the owner has been told.
    pub fn is_up(&self, peer: ShardId) -> bool {
        self.present(peer).is_some_and(|link| link.told.get())
    }

    /// Says something after all that was said before. Dropped without a link; never waits. Only a
    /// `Piece` brings bytes, which are at most `PAYLOAD_BYTES_MAX` in one run; it is dropped unless
    /// its stream began on this very link and goes on (E368).
    ///
    /// # Panics
    /// When bytes come with anything else, or a stream is named 0 or begins
    /// twice.
    pub fn send(&self, to: ShardId, item: Item, bytes: Vec<Chunklet<E>>) {
        let Some(link) = self.present(to).filter(|link| link.told.get()) else {
            return; // the owner learns, or has learnt, that the link is gone
        };
        check(&item, &bytes);
        let pushed = match item {
            Item::Piece { stream, end } => {
                if !link.goes_on(stream, end.is_some()) {
                    engine_types::reached!("E368: a stream goes on after its link");
                    return;
                }
                pieces(stream, end, bytes).into_iter().try_for_each(|piece| link.push(piece))
            }
            other => {
                if let Item::Message { payload: Some((stream, _)), .. } = &other {
                    link.begin(*stream);
                }
                link.push(Queued::plain(&other))
            }
        };
        if let Err(overrun) = pushed {
            self.take_down(&link, &overrun);
            self.tell_soon();
        }
    }

    /// Bytes of payload that wait to be sent.
    pub fn queued_bytes(&self, to: ShardId) -> u64 {
        self.present(to).map_or(0, |link| link.queued_bytes())
    }

    /// Waits until at most `bytes` wait to be sent, or the link is gone.
    pub async fn room(&self, to: ShardId, bytes: u64) {
        if let Some(link) = self.present(to) {
            let drained = link.drained.clone();
            drained.until(|| link.is_ended() || link.queued_bytes() <= bytes).await;
        }
    }

    /// Takes the link down, on both sides. The owner is told soon, by a task; nothing is sent or
    /// arrives from here on. A link that is wanted is opened anew.
    pub fn cut(&self, peer: ShardId) {
        if let Some(link) = self.present(peer) {
            self.take_down(&link, &"cut by its owner");
            self.tell_soon();
        }
    }

    /// Takes all links down for good. The owner is not told.
    pub fn close(&self) {
        self.closed.set(true);
        let peers = core::mem::take(&mut *self.peers.borrow_mut());
        for peer in peers.into_values() {
            self.forget(&peer);
        }
        let notices = self.notices.take();
        drop(notices);
    }

    fn shared(&self) -> Rc<Self> {
        self.this.upgrade().expect("whoever calls holds it")
    }

    fn peer(&self, id: ShardId) -> Option<Rc<Peer<E>>> {
        self.peers.borrow().get(&id).cloned()
    }

    fn present(&self, id: ShardId) -> Option<Rc<Link<E>>> {
        self.peers.borrow().get(&id)?.present.borrow().clone()
    }

    /// The peer is not wanted any more, at this address.
    fn forget(&self, peer: &Peer<E>) {
        peer.wanted.set(false);
        peer.attempt.set(0);
        let present = peer.present.borrow().clone();
        if let Some(link) = present {
            self.take_down_of(peer, &link, &"not wanted any more");
        }
        peer.changed.notify();
    }

    /// Both sides have named a link. It stands when the peer is known to know both names.
    fn adopt(&self, peer: &Rc<Peer<E>>, names: Names) -> Rc<Link<E>> {
        let old = peer.present.borrow().clone();
        if let Some(old) = old {
            engine_types::reached!("E366: a link is opened again while the old one stands here");
            self.take_down_of(peer, &old, &"opened again by the peer");
        }
        let link = Rc::new(Link::new(peer.id, names, self.env.now()));
        *peer.present.borrow_mut() = Some(link.clone());
        peer.attempt.set(0);
        if peer.id == self.me {
            drop(self.env.spawn(Self::deliver_all(self.shared(), link.clone())));
        } else {
            drop(self.env.spawn(Self::send_all(self.shared(), peer.clone(), link.clone())));
            drop(self.env.spawn(Self::probe(self.shared(), peer.clone(), link.clone())));
        }
        peer.changed.notify();
        self.tell();
        link
    }

    /// The peer knows both names of a link: the owner is told.
    fn confirm(&self, link: &Rc<Link<E>>) {
        if !link.is_ended() && !link.confirmed.replace(true) {
            tracing::debug!(me = %self.me, peer = %link.peer, "link up");
            self.notices.borrow_mut().push_back(Notice::Up(link.clone()));
            self.tell();
        }
    }

    /// Connects anew after a time-out: the connection may hang in the network's own repetitions
    /// long after the network works again.
    fn connect_anew(&self, peer: &Peer<E>) {
        engine_types::reached!("E367: a connection that hangs is given up");
        let new = Client::new(&self.env, self.net.clone(), peer.address);
        let old = peer.client.replace(new);
        drop(old);
    }

    fn take_down(&self, link: &Rc<Link<E>>, why: &dyn core::fmt::Display) {
        if let Some(peer) = self.peer(link.peer) {
            self.take_down_of(&peer, link, why);
        }
    }

    /// Ends a link here; the other side learns it by a refusal, or when it is opened again.
    fn take_down_of(&self, peer: &Peer<E>, link: &Rc<Link<E>>, why: &dyn core::fmt::Display) {
        let Some(unanswered) = link.end() else { return };
        tracing::info!(me = %self.me, peer = %peer.id, %why, "link down");
        for request in unanswered {
            let gone = StorageRelayReply { unknown: 1, ..StorageRelayReply::default() };
            drop(self.env.spawn(async move { request.respond(&gone, &[]).await }));
        }
        let lasted = STEADY_TIME <= self.env.now().saturating_since(link.since);
        peer.failures.set(if lasted { 0 } else { peer.failures.get().saturating_add(1) });
        let mut present = peer.present.borrow_mut();
        if present.as_ref().is_some_and(|present| Rc::ptr_eq(present, link)) {
            *present = None;
        }
        drop(present);
        self.notices.borrow_mut().push_back(Notice::Down(link.clone()));
        peer.changed.notify();
    }

    /// Tells the owner everything that is due, unless that is being done already.
    fn tell(&self) {
        if self.telling.replace(true) {
            return; // further up this stack: what is new is told when the present call returns
        }
        loop {
            let next = self.notices.borrow_mut().pop_front();
            let Some(notice) = next else { break };
            if let (Some(owner), false) = (self.owner.upgrade(), self.closed.get()) {
                self.tell_one(&owner, notice);
            }
        }
        self.telling.set(false);
    }

    fn tell_one(&self, owner: &O, notice: Notice<E>) {
        match notice {
            // One that ended before the owner heard of it was never there for him.
            Notice::Up(link) if !link.is_ended() => {
                let before = self.told_up.borrow_mut().insert(link.peer, link.names.own);
                assert!(before.is_none(), "E362: {} is up twice", link.peer);
                link.told.set(true);
                owner.link_up(link.peer);
            }
            Notice::Down(link) if link.told.replace(false) => {
                let before = self.told_up.borrow_mut().remove(&link.peer);
                assert_eq!(before, Some(link.names.own), "E362: {} is down twice", link.peer);
                owner.link_down(link.peer);
            }
            Notice::Arrived(link, arrived) if link.told.get() && !link.is_ended() => {
                let known = self.told_up.borrow().get(&link.peer).copied();
                assert_eq!(known, Some(link.names.own), "E361: from {} after its end", link.peer);
                owner.arrived(link.peer, arrived);
            }
            Notice::Up(_) | Notice::Down(_) | Notice::Arrived(..) => {}
        }
    }

    /// Has a task tell the owner, who is in the middle of something.
    fn tell_soon(&self) {
        if !self.notices.borrow().is_empty() {
            let this = self.shared();
            drop(self.env.spawn(async move {
                // An executor may poll a new task where it is spawned: within the owner's turn.
                yield_now().await;
                this.tell();
            }));
        }
    }
}

/// What the owner promises of what it sends.
fn check<E: Env>(item: &Item, bytes: &[Chunklet<E>]) {
    let stream = match item {
        Item::Piece { stream, .. } => Some(*stream),
        Item::Message { payload: Some((stream, _)), message, .. } => {
            use engine_craq::Message::{Forward, Ship};
            let carries = matches!(message, Forward { .. } | Ship { .. });
            assert!(carries, "only Forward and Ship have a payload: {message:?}");
            Some(*stream)
        }
        _ => None,
    };
    assert!(stream != Some(StreamId(0)), "streams have names");
    let piece = matches!(item, Item::Piece { .. });
    assert!(piece || bytes.is_empty(), "only pieces bring bytes: {item:?}");
}
