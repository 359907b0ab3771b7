//! What arrives over links, and what links do.

use std::rc::Rc;

use engine_craq::{Event, Local, Message, Peer, Received};
use engine_links::{Arrived, Item, Owner, Room, ShardId};
use engine_runtime::Env;
use engine_types::{ChainVersion, TargetId};

use crate::shard::{Arriving, Shard};
use crate::stream::Stream;
use crate::target::Target;

impl<E: Env> Owner<E> for Shard<E> {
    fn link_up(&self, peer: ShardId) {
        tracing::info!(%peer, "link is up");
        self.lanes_up(peer);
        for (target, theirs) in self.neighbours(peer) {
            target.step(Event::LinkUp { peer: theirs });
        }
    }

    fn link_down(&self, peer: ShardId) {
        tracing::info!(%peer, "link is down");
        self.lanes.link_down(peer);
        for Arriving { target, payload, stream } in self.take_arriving(peer) {
            // Before the machine hears of the link: what was arriving has ended (R3).
            if stream.end(false).is_some() {
                target.step(Event::PayloadEnded { payload, complete: false });
            }
        }
        for (target, theirs) in self.neighbours(peer) {
            target.step(Event::LinkDown { peer: theirs });
        }
    }

    fn arrived(&self, from: ShardId, arrived: Arrived<E>) {
        // What the bytes need here was reserved before they left (E388).
        let Arrived { item, segments } = arrived;
        match item {
            Item::Message { from: sender, to, chain, message, payload } => {
                let Some(target) = self.addressee(to) else { return };
                let payload = payload.map(|(id, description)| {
                    let stream = Rc::new(Stream::new(description));
                    let payload = self.new_stream(target.own.target, stream.clone());
                    let arriving = Arriving { target: target.clone(), payload, stream };
                    self.arriving(from, id, arriving);
                    payload
                });
                self.hear(&target, sender, chain, message, payload);
            }
            Item::Piece { stream: id, end } => {
                let Some(found) = self.arrives(from, id, end.is_some()) else { return };
                let Arriving { target, payload, stream } = found;
                let mut whole = true;
                for segment in segments {
                    whole &= stream.push(segment).is_ok();
                }
                let end = if whole { end } else { Some(false) };
                if let Some(complete) = end.and_then(|complete| stream.end(complete)) {
                    target.step(Event::PayloadEnded { payload, complete });
                }
            }
            Item::Room { lane, said, bytes } => self.room_said(from, lane, said, bytes),
            Item::ListAsk { from: sender, to, chain, walk, after } => {
                if let Some(target) = self.addressee(to) {
                    target.list_asked(sender, chain, walk, after);
                }
            }
            Item::Listed { to, chain, walk, after, upto, entries, .. } => {
                let target = self.addressee(to);
                if let Some(target) = target.filter(|target| target.version() == chain) {
                    target.listed((walk, after), (entries, upto));
                }
            }
            Item::Outcomes { from: sender, to, chain, walk, last, entries } => {
                if let Some(target) = self.addressee(to) {
                    target.outcomes_told(sender, chain, walk, entries, last);
                }
            }
            Item::OutcomesStored { to, chain, walk, .. } => {
                let target = self.addressee(to);
                if let Some(target) = target.filter(|target| target.version() == chain) {
                    target.step(Event::OutcomesShipped { walk });
                }
            }
        }
    }
}

impl<E: Env> Shard<E> {
    fn lanes_up(&self, peer: ShardId) {
        let Some(links) = self.links() else { return };
        self.lanes.link_up(peer, move |lane, bytes| {
            links.send(peer, Item::Room { lane, said: Room::Grant, bytes }, Vec::new());
        });
    }

    /// A peer speaks of room: of ours, which it wants and uses, or of its own, which it gives.
    fn room_said(&self, from: ShardId, lane: u8, said: Room, bytes: u32) {
        let taken = match said {
            Room::Want => self.lanes.want(from, lane, bytes),
            Room::Back => self.lanes.back(from, lane, bytes),
            Room::Begin(stream) => self.lanes.begin(from, lane, bytes).map(|reserved| {
                if let Some(found) = self.arrives(from, stream, false) {
                    found.stream.begin(lane, reserved);
                }
            }),
            Room::Grant => self.lanes.granted(from, lane, bytes).map(|answer| {
                if let (Some((said, bytes)), Some(links)) = (answer, self.links()) {
                    links.send(from, Item::Room { lane, said, bytes }, Vec::new());
                }
            }),
        };
        if let (Err(why), Some(links)) = (taken, self.links()) {
            tracing::error!(peer = %from, %why, "a peer does not keep to the room it was given");
            links.cut(from);
        }
    }

    /// The target in the start that is meant; nobody else is spoken to (R5, R7).
    fn addressee(&self, to: Peer) -> Option<Rc<Target<E>>> {
        let found = self.target(to.target);
        found.filter(|target| target.own == to)
    }

    /// Targets with neighbours on a shard.
    fn neighbours(&self, shard: ShardId) -> Vec<(Rc<Target<E>>, Peer)> {
        let there = |target: TargetId| self.shard_of(target) == Some(shard);
        let mut found = Vec::new();
        for target in self.all_targets() {
            let peers = target.peers().into_iter().filter(|peer| there(peer.target));
            found.extend(peers.map(|peer| (target.clone(), peer)));
        }
        found
    }

    fn hear(
        &self,
        target: &Rc<Target<E>>,
        from: Peer,
        chain: ChainVersion,
        message: Message,
        payload: Option<engine_craq::Payload>,
    ) {
        let local = match message {
            Message::Forward { at, tag, .. } => target.local(at.chunk, tag),
            Message::Ship { at, .. } => target.local(at.chunk, None),
            Message::Query { chunk, .. } => target.local(chunk, None),
            _ => Local::default(),
        };
        target.step(Event::Received(Received { from, chain, message, payload, local }));
    }
}
