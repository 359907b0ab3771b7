//! What arrives over links, and what links do.

use std::rc::Rc;

use engine_craq::{Event, Local, Message, Peer, Received};
use engine_links::{Arrived, Item, Owner, ShardId};
use engine_runtime::Env;
use engine_types::{ChainVersion, TargetId};

use crate::shard::{Arriving, Shard};
use crate::stream::Stream;
use crate::target::Target;

impl<E: Env> Owner<E> for Shard<E> {
    fn link_up(&self, peer: ShardId) {
        tracing::info!(%peer, "link is up");
        for (target, theirs) in self.neighbours(peer) {
            target.step(Event::LinkUp { peer: theirs });
        }
    }

    fn link_down(&self, peer: ShardId) {
        tracing::info!(%peer, "link is down");
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
        let Arrived { item, segments, held } = arrived;
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
                    whole &= stream.push(segment, held.clone()).is_ok();
                }
                let end = if whole { end } else { Some(false) };
                if let Some(complete) = end.and_then(|complete| stream.end(complete)) {
                    target.step(Event::PayloadEnded { payload, complete });
                }
            }
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
