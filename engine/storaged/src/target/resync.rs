//! What a resync wants of the stores on both sides (R12, R13, R15).

use core::time::Duration;
use std::rc::Rc;

use engine_craq::planted::{Bug, is};
use engine_craq::{Compared, Cursor, Digest, Event, Peer, Walk};
use engine_links::{Item, OutcomeSaid};
use engine_runtime::{Env, yield_now};
use engine_shard::LIST_COUNT_MAX;
use engine_store::{ChunkKey, Outcome, Tag, UpdateError};
use engine_types::{ChainVersion, ChunkId, ChunkVersion, InodeId};

use super::Target;

/// Remembered requests in one message: 40 KiB of them.
const OUTCOMES_AT_ONCE: usize = 1024;
/// Pause before remembered requests are stored again for which there was no room: sessions end in
/// seconds.
const LEARN_PAUSE: Duration = Duration::from_secs(1);

/// A page of committed chunks, and the last chunk of the range if there are more behind.
type Page = (Vec<(ChunkId, ChunkVersion, Digest)>, Option<ChunkId>);

impl<E: Env> Target<E> {
    pub(super) fn compare(&self, to: Peer, walk: Walk, after: Cursor) {
        let (from, chain) = (self.own, self.version());
        self.say(to, Item::ListAsk { from, to, chain, walk, after });
    }

    fn say(&self, to: Peer, item: Item) {
        let Some(shard) = self.shard() else { return };
        if let (Some(links), Some(there)) = (shard.links(), shard.shard_of(to.target)) {
            links.send(there, item, Vec::new());
        }
    }

    /// The predecessor asks for the committed chunks behind a place.
    pub(crate) fn list_asked(&self, from: Peer, chain: ChainVersion, walk: Walk, after: Cursor) {
        let neighbour = self.replica.borrow().standing().predecessor == Some(from);
        if !neighbour || chain != self.version() || self.closed.get() {
            return; // a newer version begins anew
        }
        let (entries, upto) = self.page(after);
        let item = Item::Listed { from: self.own, to: from, chain, walk, after, upto, entries };
        self.say(from, item);
    }

    /// The successor's answer: compared with the own chunks of the same range, read in this turn.
    pub(crate) fn listed(
        self: &Rc<Self>,
        (walk, after): (Walk, Cursor),
        theirs: (Vec<(ChunkId, ChunkVersion, Digest)>, Option<ChunkId>),
    ) {
        let (mut theirs, their_end) = theirs;
        let (mut ours, our_end) = self.page(after);
        let upto = match (their_end, our_end) {
            (Some(theirs), Some(ours)) => Some(theirs.min(ours)),
            (one, other) => one.or(other),
        };
        if let Some(upto) = upto {
            ours.retain(|(chunk, ..)| *chunk <= upto);
            theirs.retain(|(chunk, ..)| *chunk <= upto);
        }
        self.step(Event::Compared(Compared { walk, after, upto, theirs, ours }));
    }

    fn page(&self, after: Cursor) -> Page {
        let behind = match after {
            Cursor::Start => None,
            Cursor::Before(chunk) => before(chunk),
            Cursor::At(chunk) => Some(chunk),
            Cursor::End => return (Vec::new(), None),
        };
        let key = behind.map(|chunk| ChunkKey { slot: self.slot, chunk });
        let listed = self.home.store.list(self.slot, key, LIST_COUNT_MAX);
        // A list may be short because its chunks are large; only an empty one says that it ends.
        let upto = listed.last().map(|last| last.key.chunk);
        let each = listed.into_iter();
        (each.map(|one| (one.key.chunk, one.head.version, Digest(one.digest))).collect(), upto)
    }

    pub(super) fn ship_outcomes(self: &Rc<Self>, to: Peer, walk: Walk) {
        let (from, chain) = (self.own, self.version());
        let mut after = None;
        loop {
            let page = self.home.store.outcomes(self.slot, after, OUTCOMES_AT_ONCE);
            let last = page.len() < OUTCOMES_AT_ONCE;
            after = page.last().map(|(tag, _)| (tag.session, tag.channel));
            let each = page.into_iter();
            let entries = each.map(|(tag, outcome)| (tag, said(&outcome))).collect();
            self.say(to, Item::Outcomes { from, to, chain, walk, last, entries });
            if last {
                return;
            }
        }
    }

    /// The predecessor says what it remembers of requests; answered when that is durable.
    pub(crate) fn outcomes_told(
        self: &Rc<Self>,
        from: Peer,
        chain: ChainVersion,
        walk: Walk,
        entries: Vec<(Tag, OutcomeSaid)>,
        last: bool,
    ) {
        let neighbour = self.replica.borrow().standing().predecessor == Some(from);
        if !neighbour || chain != self.version() || self.closed.get() {
            return;
        }
        let turn = self.learning.get();
        self.learning.set(turn + 1);
        self.learning_walk.set(Some(walk));
        let target = self.clone();
        drop(self.home.env.spawn(async move {
            yield_now().await;
            // One page behind the other: the last one answers for all.
            target.learnt.until(|| target.learnt_count.get() == turn).await;
            let wanted = || {
                let predecessor = target.replica.borrow().standing().predecessor;
                let same = (predecessor, target.version()) == (Some(from), chain);
                same && target.learning_walk.get() == Some(walk) && !target.is_closed()
            };
            let stored = target.learn(entries, &wanted).await;
            target.learnt_count.set(turn + 1);
            target.learnt.notify();
            let Some(stored) = stored else { return }; // another dialogue
            if stored && last {
                let (from_own, to) = (target.own, from);
                target.say(from, Item::OutcomesStored { from: from_own, to, chain, walk });
            } else if !stored {
                target.with_shard(|shard| shard.cut_peer(from.target));
            }
        }));
    }

    /// Stores what the predecessor remembers; whether all of it is stored, or nothing when that
    /// is not wanted any more. A store that remembers as many requests as it can takes no more of
    /// them until sessions have ended (R16): a link that were cut for that would be cut for ever,
    /// so the resync waits in order, which the target's status and the log say.
    async fn learn(
        &self,
        mut entries: Vec<(Tag, OutcomeSaid)>,
        wanted: &impl Fn() -> bool,
    ) -> Option<bool> {
        if is(Bug::OutcomesNotStored) {
            return Some(true);
        }
        let mut told = false;
        loop {
            let stored = engine_runtime::all(entries.iter().map(|one| self.remember(one))).await;
            let full = |error: &UpdateError| matches!(error, UpdateError::TooManySessions { .. });
            let mut errors = stored.iter().filter_map(|stored| stored.as_ref().err());
            if let Some(error) = errors.find(|error| !full(error)) {
                tracing::warn!(target = %self.own.target, %error, "a request is not remembered");
                return Some(false);
            }
            let mut stored = stored.into_iter();
            entries.retain(|_| stored.next().is_some_and(|stored| stored.is_err()));
            self.waits_for_room.set(!entries.is_empty());
            if entries.is_empty() {
                return Some(true);
            }
            if !core::mem::replace(&mut told, true) {
                let (count, max) = self.home.store.remembered();
                let left = entries.len();
                tracing::warn!(target = %self.own.target, store = %self.home.id, count, max, left,
                    "the resync waits: no room for remembered requests until sessions have ended");
            }
            self.home.env.sleep_until(self.home.env.now() + LEARN_PAUSE).await;
            if !wanted() {
                self.waits_for_room.set(false);
                return None;
            }
        }
    }

    async fn remember(&self, (tag, said): &(Tag, OutcomeSaid)) -> Result<(), UpdateError> {
        // Also what is known already: it may have been learnt and not be durable yet.
        let &OutcomeSaid { seq: _, chunk, version, len } = said;
        let outcome = Outcome { seq: tag.seq, key: self.key(chunk), version, len };
        self.home.store.put_outcome(self.slot, *tag, outcome).await
    }
}

fn said(outcome: &Outcome) -> OutcomeSaid {
    let Outcome { seq, key, version, len } = *outcome;
    OutcomeSaid { seq, chunk: key.chunk, version, len }
}

/// The chunk right before `chunk`, nothing before the first.
pub(super) fn before(chunk: ChunkId) -> Option<ChunkId> {
    match chunk.index.checked_sub(1) {
        Some(index) => Some(ChunkId { index, ..chunk }),
        None => {
            let inode = chunk.inode.get().checked_sub(1)?;
            Some(ChunkId { inode: InodeId::new(inode), index: u32::MAX })
        }
    }
}
