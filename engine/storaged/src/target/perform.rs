//! Effects of the pure machine, begun in order.
//!
//! What has to happen in the turn of the step does: commits, the pinning of what is read or sent,
//! aborts in memory. Tasks wait for what takes time; each yields once before anything else, as an
//! executor may poll a new task where it is spawned (E380).

use core::time::Duration;
use std::rc::Rc;

use engine_craq::planted::{Bug, is};
use engine_craq::{Digest, Effect, Event, Left, Message, Payload, Peer, Refusal, Source, Version};
use engine_links::{Description, Item, StreamId};
use engine_runtime::{Env, yield_now};
use engine_shard::{Read, Shipped, Which};
use engine_store::{Change, Tag, TargetRecord, Update, UpdateError};
use engine_types::{ChainVersion, ChunkId, ChunkVersion, PublicState, Status, Timeline};

use super::{Found, Installed, Target, Updated, Wanted, What, add};
use crate::refusals;
use crate::relay;
use crate::stream::Stream;

/// Damaged blocks that one update may meet: a write touches two checksum blocks in part.
const MERGE_REPAIRS_MAX: usize = 4;
/// Pause before the store is asked again for what it had no room for.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

impl<E: Env> Target<E> {
    pub(super) fn perform(self: &Rc<Self>, effect: Effect) {
        match effect {
            Effect::Install { timeline, version } => self.install(timeline, version),
            Effect::FetchRouting { version } => {
                tracing::debug!(target = %self.own.target, %version, "wants newer routing info");
                self.with_shard(|shard| shard.nudge());
            }
            Effect::Store { at, chain, tag, replace, payload } => {
                self.store(at, chain, tag, replace, payload);
            }
            Effect::Commit(at) => self.commit(at),
            Effect::Abort(at) => self.abort(at),
            Effect::Discard(payload) => self.with_shard(|shard| shard.discard(payload)),
            Effect::Send { to, chain, message, source } => self.send(to, chain, message, source),
            Effect::AnswerUpdate { id, result } => self.answer_update(id.0, result),
            Effect::Serve(id) => self.serve(id.0),
            Effect::RefuseRead { id, why } => {
                if let Some(wanted) = self.reads.borrow_mut().remove(&id.0) {
                    add(&self.done.refused, 1);
                    wanted.found.tell(Found::Refused(why.status()));
                }
            }
            Effect::Erase(chunk) => self.erase(chunk),
            Effect::Compare { to, walk, after } => self.compare(to, walk, after),
            Effect::ShipOutcomes { to, walk } => self.ship_outcomes(to, walk),
            Effect::UpToDate { version } => {
                tracing::info!(target = %self.own.target, %version, "holds everything");
                self.up_to_date.set(Some(version));
                self.whole.set(true);
                self.with_shard(|shard| shard.report_now());
            }
            Effect::DropSession(session) => self.home.forget(session),
            Effect::Leave(why) => self.leave(why),
        }
    }

    pub(super) fn with_shard(&self, act: impl FnOnce(&Rc<crate::shard::Shard<E>>)) {
        if let Some(shard) = self.shard() {
            act(&shard);
        }
    }

    /// Gives the old leases up at once; the manager hears of the version when it is durable.
    fn install(self: &Rc<Self>, timeline: Timeline, version: ChainVersion) {
        if !is(Bug::LeaseOfAnyVersion) {
            self.lease.borrow_mut().give_up_before(version);
        }
        let state = self.replica.borrow().standing().state;
        self.to_install.set(Installed { timeline, version, state });
        self.with_shard(|shard| shard.peers_changed());
        if self.installing.replace(true) {
            return;
        }
        let target = self.clone();
        drop(self.home.env.spawn(async move {
            yield_now().await;
            target.install_durably().await;
            target.installing.set(false);
        }));
    }

    async fn install_durably(&self) {
        while self.installed.get() != self.to_install.get() {
            let wanted = self.to_install.get();
            if is(Bug::ReportedBeforeDurable) {
                self.installed.set(wanted);
                self.with_shard(|shard| shard.report_now());
            }
            let written = self.write_version(wanted).await;
            if let Err(why) = written {
                tracing::error!(target = %self.own.target, why, "cannot install a chain version");
                return self.with_shard(|shard| shard.report_now());
            }
            self.installed.set(wanted);
            let Installed { version, state, .. } = wanted;
            if state == PublicState::Serving && !self.replica.borrow().has_left() {
                self.pause.borrow_mut().served();
            }
            tracing::info!(target = %self.own.target, %version, ?state, "installed");
            self.with_shard(|shard| shard.report_now());
        }
    }

    async fn write_version(&self, wanted: Installed) -> Result<(), String> {
        let store = &self.home.store;
        if store.superblock().timeline < wanted.timeline {
            store.set_timeline(wanted.timeline).await.map_err(|error| error.to_string())?;
        }
        let record = store.target(self.slot).ok_or("its slot is empty")?;
        if record.chain_version < wanted.version {
            let named = self.named.get().or(record.named);
            let record = TargetRecord { chain_version: wanted.version, named, ..record };
            let set = store.set_target(self.slot, Some(record)).await;
            set.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// A version is made durable and pending.
    fn store(
        self: &Rc<Self>,
        at: Version,
        chain_version: ChainVersion,
        tag: Option<Tag>,
        replace: bool,
        payload: Payload,
    ) {
        let Some(shard) = self.shard() else { return };
        let stream = shard.take_stream(payload).expect("E382: what is stored has arrived");
        let description = stream.description().clone();
        let Description { change, size, epoch, .. } = description;
        add(&self.done.received_chunks, u64::from(replace));
        let target = self.clone();
        drop(self.home.env.spawn(async move {
            yield_now().await;
            let Version { chunk, version } = at;
            let whole = matches!(change, Change::Replace { .. });
            let key = target.key(chunk);
            let result = if replace && !whole {
                Err(Refusal::Invalid(Status::InvalidArgument))
            } else {
                let tag = tag.filter(|_| !is(Bug::RequestNotRecorded));
                let update = Update { key, version, chain_version, epoch, size, change, tag };
                target.store_whole(update, &stream).await
            };
            drop(stream);
            target.measure_space();
            target.step(Event::Stored { chunk, version, result });
        }));
    }

    /// Old bytes that an update merges with may be damaged: they are repaired first (S16).
    async fn store_whole(
        self: &Rc<Self>,
        mut update: Update,
        stream: &Stream<E>,
    ) -> Result<Digest, Refusal> {
        let whole = matches!(update.change, Change::Replace { .. }) && update.tag.is_none();
        let mut repairs = 0;
        loop {
            let error = match self.home.store.update(update, stream.payload()).await {
                Ok(stored) if stored.version == update.version => {
                    return Ok(Digest(stored.digest));
                }
                Ok(stored) => {
                    // The request made another version, of which this replica has only heard.
                    let (found, expected) = (stored.version, update.version);
                    let target = self.own.target;
                    tracing::error!(%target, %found, %expected, "a request was done before");
                    return Err(Refusal::StoreFailed);
                }
                Err(error) => error,
            };
            tracing::debug!(target = %self.own.target, %error, "an update was not stored");
            match error {
                // A newer chain version was installed meanwhile: whether this update still counts
                // is the machine's to say, when it is told of the record.
                UpdateError::StaleChain { installed, .. } => update.chain_version = installed,
                UpdateError::Corrupt { key, block, version } => {
                    let Some(shard) = self.shard() else { return Err(Refusal::StoreFailed) };
                    let block = ((key.chunk, version), block);
                    repairs += 1;
                    if MERGE_REPAIRS_MAX < repairs || !shard.repair(self, block.0, block.1).await {
                        // The last one to serve must not leave: nobody could bring it back.
                        let alone = shard.serves_alone(self);
                        let corrupt = Refusal::Invalid(Status::Corrupt);
                        return Err(if alone { corrupt } else { Refusal::StoreFailed });
                    }
                }
                // What is shipped is refused to nobody: it waits for room in the tables.
                UpdateError::Busy { .. }
                | UpdateError::OutOfMemory { .. }
                | UpdateError::TooManyPending { .. }
                | UpdateError::TooManyPlans { .. }
                    if whole && !self.is_closed() =>
                {
                    self.home.env.sleep_until(self.home.env.now() + RETRY_PAUSE).await;
                }
                other => return Err(refusals::of_update(&other)),
            }
        }
    }

    fn commit(self: &Rc<Self>, at: Version) {
        if let Err(error) = self.home.store.commit(&self.key(at.chunk), at.version) {
            assert!(error.is_failure(), "E386: {at:?} is to be committed: {error}");
            tracing::error!(target = %self.own.target, %error, "a commit was not noted");
            self.with_shard(|shard| shard.store_failed(&self.home));
        }
    }

    fn abort(self: &Rc<Self>, at: Version) {
        let Version { chunk, version } = at;
        let begun = self.home.store.start_abort(&self.key(chunk), version);
        let target = self.clone();
        drop(self.home.env.spawn(async move {
            yield_now().await;
            let ended = match begun {
                Ok(deciding) => deciding.finish().await,
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => target.step(Event::AbortStored { chunk, version }),
                Err(error) => {
                    tracing::error!(target = %target.own.target, %error, "an abort was not noted");
                    target.with_shard(|shard| shard.store_failed(&target.home));
                }
            }
        }));
    }

    fn erase(self: &Rc<Self>, chunk: ChunkId) {
        add(&self.done.received_chunks, 1);
        let target = self.clone();
        drop(self.home.env.spawn(async move {
            yield_now().await;
            let erased = loop {
                match target.home.store.erase(&target.key(chunk)).await {
                    Err(error) if !error.is_failure() && !target.is_closed() => {
                        tracing::debug!(target = %target.own.target, %error, "not erased yet");
                        let again = target.home.env.now() + RETRY_PAUSE;
                        target.home.env.sleep_until(again).await;
                    }
                    other => break other,
                }
            };
            match erased {
                Ok(_) => target.step(Event::Erased { chunk }),
                Err(error) => {
                    tracing::error!(target = %target.own.target, %error, "a chunk was not erased");
                    target.with_shard(|shard| shard.store_failed(&target.home));
                }
            }
        }));
    }

    /// To another replica; without a link it is dropped.
    fn send(self: &Rc<Self>, to: Peer, chain: ChainVersion, message: Message, source: Source) {
        let Some(shard) = self.shard() else { return };
        let (Some(links), Some(there)) = (shard.links(), shard.shard_of(to.target)) else { return };
        if !links.is_up(there) {
            return;
        }
        let from = self.own;
        let item = |payload| Item::Message { from, to, chain, message, payload };
        match (source, message) {
            (Source::Payload(payload), _) => {
                let stream = shard.stream(payload).expect("E382: what passes through is here");
                let id = StreamId(shard.next_id());
                let description = stream.description().clone();
                links.send(there, item(Some((id, description))), Vec::new());
                relay::pass_on(&shard, (there, id), stream);
            }
            (Source::Committed, Message::Ship { at, .. }) => {
                self.send_whole(there, at, (Which::Committed, false), item);
            }
            (Source::Store, Message::Forward { at, removal, .. }) => {
                self.send_whole(there, at, (Which::Pending, removal), item);
            }
            (_, Message::Erase { .. }) => {
                add(&self.done.shipped_chunks, 1);
                links.send(there, item(None), Vec::new());
            }
            _ => links.send(there, item(None), Vec::new()),
        }
    }

    /// A version of the own store as a whole; its blocks are pinned in this turn.
    fn send_whole(
        self: &Rc<Self>,
        there: engine_links::ShardId,
        at: Version,
        (which, removal): (Which, bool),
        item: impl FnOnce(Option<(StreamId, Description)>) -> Item,
    ) {
        let Some(shard) = self.shard() else { return };
        let Some(links) = shard.links() else { return };
        let id = StreamId(shard.next_id());
        let shipment = match self.home.store.start_content(self.key(at.chunk), which) {
            Ok(shipment) => shipment,
            Err(error) => {
                tracing::error!(target = %self.own.target, ?at, %error, "cannot be sent");
                return shard.cut_later(there);
            }
        };
        let Shipped { version, len, size, epoch, is_removal, .. } = shipment.head;
        let same = version == at.version && is_removal == removal;
        assert!(same, "E386: {at:?} is to be sent, the store holds {version}");
        let change = if removal { Change::Remove } else { Change::Replace { len } };
        let extents = if removal { Vec::new() } else { shipment.extents.clone() };
        let description = Description { change, size, epoch, extents };
        links.send(there, item(Some((id, description))), Vec::new());
        if removal {
            return links.send(there, Item::Piece { stream: id, end: Some(true) }, Vec::new());
        }
        let resync = which == Which::Committed;
        if resync {
            let bytes = shipment.extents.iter().map(|extent| u64::from(extent.1)).sum();
            add(&self.done.shipped_chunks, 1);
            add(&self.done.shipped_bytes, bytes);
        }
        relay::send_shipment(self, &shard, (there, id), shipment, resync);
    }

    fn answer_update(&self, id: u64, result: Result<ChunkVersion, Refusal>) {
        let Some(asked) = self.updates.borrow_mut().remove(&id) else { return };
        let updated = match result {
            Ok(version) => {
                add(&self.done.updates, 1);
                let outcome = self.home.store.outcome(self.slot, asked.tag);
                let outcome = outcome.filter(|outcome| outcome.seq == asked.tag.seq);
                let len = outcome.map_or(0, |outcome| outcome.len);
                Updated { status: Status::Ok, version: version.get(), len }
            }
            Err(why) => {
                add(&self.done.refused, 1);
                tracing::debug!(target = %self.own.target, chunk = ?asked.chunk, ?why, "refused");
                Updated { status: why.status(), version: 0, len: 0 }
            }
        };
        asked.answer.tell(updated);
    }

    /// The version that is committed now is what a read gets; its blocks are pinned in this turn.
    fn serve(&self, id: u64) {
        let Some(Wanted { chunk, what, found }) = self.reads.borrow_mut().remove(&id) else {
            return;
        };
        add(&self.done.reads, 1);
        let key = self.key(chunk);
        let Some((version, len)) = self.home.store.state(&key).committed else {
            return found.tell(Found::Absent);
        };
        let version = version.get();
        found.tell(match what {
            What::Head => Found::Head { version, len },
            What::Map { offset, len: wanted } => {
                let range = offset..offset.saturating_add(wanted).min(len).max(offset);
                let extents = self.home.store.data_map(&key, range).unwrap_or_default();
                let data = extents.into_iter().filter(|extent| extent.data);
                let extents = data.map(|e| (e.range.start, e.range.end - e.range.start)).collect();
                Found::Map { version, len, extents }
            }
            What::Bytes { offset, len } => {
                let pending = self.home.store.state(&key).pending.is_some_and(|p| p.1.is_some());
                let dirty = pending && is(Bug::PendingServed);
                let which = if dirty { Which::Pending } else { Which::Committed };
                let read = Read { key, offset, len, version: which, verify: false };
                match self.home.store.start_read(read) {
                    Ok(reading) => Found::Bytes(reading),
                    Err(error) => Found::Refused(refusals::of_read(&error)),
                }
            }
        });
    }

    /// Ends this replica's part in its chain (E384).
    fn leave(&self, why: Left) {
        let now = self.home.env.now();
        let pause = self.pause.borrow_mut().left(now);
        tracing::error!(target = %self.own.target, chain = %self.chain, ?why, ?pause,
            "leaves its chain");
        self.lease.borrow_mut().drop_lease(now);
        self.up_to_date.set(None);
        self.with_shard(|shard| {
            shard.counters.left.set(shard.counters.left.get() + 1);
            shard.report_now();
        });
    }
}
