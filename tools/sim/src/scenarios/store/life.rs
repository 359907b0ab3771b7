//! One life of the process: format or open, compare, work until the end.

use std::path::Path;
use std::rc::Rc;

use core::time::Duration;
use engine_runtime::Env;
use engine_shard::{
    ChunkStore, CreateOptions, DecisionError, Read, StoreConfig, StoreError, Which,
};
use engine_store::{ChunkKey, Fence, Outcome, Slot, Tag, TargetRecord, UpdateError};
use engine_types::limits::PAYLOAD_BYTES_MAX;
use engine_types::{ChannelId, ChunkVersion, Rng, SessionId, reached};

use super::ledger::{Phase, Shared, Tolerance, Wish};
use super::model::Begun;
use super::perform::Context;
use super::recovered::Trouble;
use super::request::{self, Expected};

/// What does not change between the lives of one world.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The file or device.
    pub path: &'static str,
    /// How it is formatted.
    pub create: CreateOptions,
    /// How it is opened.
    pub config: StoreConfig,
    /// Requests in flight at most.
    pub in_flight_max: usize,
    /// Longest pause between two requests, microseconds.
    pub pause_us_max: u64,
    /// The first chunk of each life that has a pending version keeps it until the end.
    pub stubborn: bool,
}

/// Runs one life, until it is told to end or ends by itself.
pub async fn live<E: Env>(
    env: E,
    shared: Shared,
    setting: Rc<Setting>,
    note: impl Fn(String) + 'static,
) {
    shared.borrow_mut().enter(Phase::Opening);
    let path = Path::new(setting.path);
    if !shared.borrow().formatted {
        match ChunkStore::format(&env, path, &setting.create).await {
            Ok(_) => shared.borrow_mut().formatted = true,
            Err(why) => return failed(&shared, "format", &why),
        }
    }
    let (store, opened) = match ChunkStore::open(&env, path, setting.config.clone()).await {
        Ok(opened) => opened,
        Err(why) => return failed(&shared, "open", &why),
    };
    shared.borrow_mut().enter(Phase::Checking);
    engine_runtime::yield_now().await; // the device is healthy from here on (T58)
    let note = Rc::new(note);
    let context = Context { env: env.clone(), store, shared: shared.clone(), note };
    if let Err(why) = prepare(&context).await {
        return failed(&shared, "first targets", &StoreError::OutOfService(why));
    }
    let damages = shared.borrow().damages;
    let looked = match damages {
        true => context.adopt().await,
        false => context.check_recovered(&opened).await,
    };
    match looked {
        Ok(()) => shared.borrow_mut().recoveries += 1,
        Err(Trouble::Unreadable) => return shared.borrow_mut().enter(Phase::Failed),
        Err(Trouble::Broken(check, what)) => return shared.borrow_mut().broken(check, what),
    }
    let worker = Worker { context, setting, rng: Rng::new(env.random()), held: None };
    worker.work().await;
}

/// The targets that every chunk needs are put once.
async fn prepare<E: Env>(context: &Context<E>) -> Result<(), String> {
    let slots = context.shared.borrow().slots();
    for slot in slots {
        if context.shared.borrow().model.targets.contains_key(&slot) {
            continue;
        }
        if context.store.target(slot).is_none() {
            let target = first_target(slot);
            context.store.set_target(slot, Some(target)).await.map_err(|why| why.to_string())?;
        }
    }
    let ledger = &mut *context.shared.borrow_mut();
    for slot in ledger.slots() {
        let target = super::doubt::Doubt::new(Some(first_target(slot)));
        ledger.model.targets.entry(slot).or_insert(target);
    }
    Ok(())
}

/// A target of the workload as it is put first.
pub fn first_target(slot: Slot) -> TargetRecord {
    TargetRecord {
        target: engine_types::TargetId::new(u64::from(slot.get()) + 100),
        chain: engine_types::ChainId::new(u32::from(slot.get()) + 1).expect("not 0"),
        chain_version: engine_types::ChainVersion::new(1),
        incarnation: engine_types::Incarnation::default(),
        named: None,
        phase: engine_store::TargetPhase::Active,
    }
}

/// A store that could not be had: tolerated when the device was made to fail.
fn failed(shared: &Shared, what: &'static str, why: &StoreError) {
    let mut ledger = shared.borrow_mut();
    let tolerance = ledger.tolerance;
    let Tolerance { read_errors, write_errors, no_space, damage } = tolerance;
    if !(read_errors || write_errors || no_space || damage || ledger.rotten) {
        ledger.broken("T47 opens", format!("{what}: {why}"));
    }
    ledger.failure = Some(format!("{what}: {why}"));
    ledger.enter(Phase::Failed);
}

struct Worker<E: Env> {
    context: Context<E>,
    setting: Rc<Setting>,
    rng: Rng,
    /// The chunk whose pending version is left alone.
    held: Option<ChunkKey>,
}

/// What a task does.
enum Deed {
    Update(request::Request, Option<Begun>),
    Commit(ChunkKey),
    Abort(ChunkKey),
    Erase(ChunkKey),
    Read(Read),
    Map(ChunkKey, u32, u32),
    Lists,
    Scrub,
    Fence(Fence),
    Drop(SessionId),
    Outcome(Slot, Tag, Outcome, u64),
    Target(Slot, TargetRecord),
    Sync,
}

impl<E: Env> Worker<E> {
    /// Does what is wished until the process is to end.
    async fn work(mut self) {
        let shared = self.context.shared.clone();
        loop {
            if let Some(why) = self.context.store.failure() {
                return self.out_of_service(why).await;
            }
            let wish = shared.borrow().wish;
            if wish == Wish::Work && shared.borrow().broken.is_none() {
                shared.borrow_mut().enter(Phase::Working);
                self.step().await;
                continue;
            }
            self.drain().await;
            if wish == Wish::Inspect {
                self.context.inspect().await;
                let wish = &mut shared.borrow_mut().wish;
                *wish = if *wish == Wish::Inspect { Wish::Rest } else { *wish };
                continue;
            }
            match wish {
                Wish::Work | Wish::Rest | Wish::Inspect => {
                    self.context.check_audit();
                    shared.borrow_mut().enter(Phase::Resting);
                    changed(&shared).await;
                }
                Wish::Leave => return shared.borrow_mut().enter(Phase::Ended),
                Wish::Close => return self.close().await,
            }
        }
    }

    async fn step(&mut self) {
        let shared = self.context.shared.clone();
        if self.setting.in_flight_max <= shared.borrow().in_flight {
            return changed(&shared).await;
        }
        if let Some(deed) = self.draw() {
            self.begin(deed);
        }
        let pause = self.rng.below(self.setting.pause_us_max + 1);
        let env = &self.context.env;
        env.sleep_until(env.now() + Duration::from_micros(pause)).await;
    }

    /// Waits for everything under way.
    async fn drain(&self) {
        while 0 < self.context.shared.borrow().in_flight {
            changed(&self.context.shared).await;
        }
    }

    async fn out_of_service(&self, why: String) {
        self.drain().await;
        let mut ledger = self.context.shared.borrow_mut();
        if !ledger.tolerance.write_errors {
            ledger.broken("T47 opens", format!("out of service: {why}"));
        }
        reached!("T47: the store left service because of the device");
        ledger.failure = Some(why);
        ledger.enter(Phase::Failed);
    }

    async fn close(&self) {
        let shared = &self.context.shared;
        match self.context.store.close().await {
            Ok(()) => {
                let mut ledger = shared.borrow_mut();
                ledger.closed = true;
                ledger.enter(Phase::Ended);
            }
            Err(why) => failed(shared, "close", &why),
        }
    }

    fn begin(&mut self, deed: Deed) {
        let context = self.context.clone();
        let mut rng = self.rng.fork("task");
        self.rng.next_u64();
        {
            let mut ledger = context.shared.borrow_mut();
            ledger.begun += 1;
            ledger.operations += 1;
            ledger.in_flight += 1;
        }
        let env = context.env.clone();
        drop(env.spawn(async move {
            context.perform(deed, &mut rng).await;
            let mut ledger = context.shared.borrow_mut();
            ledger.in_flight -= 1;
            ledger.changed.notify();
        }));
    }

    /// The next deed; nothing when the chunk that was picked is busy.
    fn draw(&mut self) -> Option<Deed> {
        let rng = &mut self.rng;
        let ledger = &mut *self.context.shared.borrow_mut();
        let keys: Vec<ChunkKey> = ledger.model.chunks.keys().copied().collect();
        let key = *rng.pick(&keys)?;
        let (busy, size) = {
            let chunk = ledger.model.chunk(&key);
            (chunk.busy, chunk.size.bytes())
        };
        match rng.below(1000) {
            0..=149 => return Some(Deed::Read(draw_read(rng, key, size))),
            150..=164 => return Some(Deed::Lists),
            165..=179 => {
                let from = u32::try_from(rng.below(u64::from(size))).expect("below u32");
                return Some(Deed::Map(key, from, size));
            }
            180..=186 => return Some(Deed::Sync),
            187..=189 => return Some(Deed::Scrub),
            190..=204 => return draw_decision(rng, ledger, key),
            _ if busy => return None,
            _ => {}
        }
        let pending = ledger.model.chunk(&key).now().pending.is_some();
        if pending && self.setting.stubborn && *self.held.get_or_insert(key) == key {
            return None;
        }
        let deed = match rng.below(100) {
            0..=2 => Deed::Erase(key),
            3..=12 if pending => Deed::Abort(key),
            13..=22 if pending => Deed::Update(request::draw_busy(rng, &ledger.model, key), None),
            _ if pending => return Some(Deed::Commit(key)),
            _ => {
                let request = request::draw(rng, &ledger.model, &mut ledger.sessions, key);
                // At once, so that nobody else uses its channel.
                let stores = request.expected == Expected::Stored;
                let begun = stores.then(|| ledger.model.begin(key, request.becomes.clone()));
                Deed::Update(request, begun)
            }
        };
        ledger.model.chunk_mut(&key).busy = true;
        Some(deed)
    }
}

fn draw_read(rng: &mut Rng, key: ChunkKey, size: u32) -> Read {
    let version = if rng.chance(250) { Which::Pending } else { Which::Committed };
    let verify = rng.chance(300);
    let (offset, len) = match rng.below(4) {
        0 => (0, size.min(PAYLOAD_BYTES_MAX)),
        1 => {
            let offset = rng.below(u64::from(size)) / 4096 * 4096;
            (u32::try_from(offset).expect("below u32"), 4096)
        }
        _ => {
            let offset = u32::try_from(rng.below(u64::from(size))).expect("below u32");
            let most = u64::from((size - offset).clamp(1, 128 << 10));
            (offset, u32::try_from(rng.range(1..=most)).expect("below u32"))
        }
    };
    Read { key, offset, len, version, verify }
}

/// Decisions about sessions and targets, each about something that nobody uses now.
fn draw_decision(rng: &mut Rng, ledger: &mut super::ledger::Ledger, key: ChunkKey) -> Option<Deed> {
    let model = &ledger.model;
    match rng.below(4) {
        0 if 2 < ledger.sessions.live.len() => {
            let oldest = ledger.sessions.live[0];
            let next = SessionId::new(oldest.get() + 1);
            let newest = ledger.sessions.live.last()?.get();
            ledger.sessions.live.push(SessionId::new(newest + 1));
            let fence = if rng.chance(500) { Fence::One(oldest) } else { Fence::Below(next) };
            Some(Deed::Fence(fence))
        }
        1 => {
            let session = *rng.pick(&ledger.sessions.fenced)?;
            Some(Deed::Drop(session))
        }
        2 => {
            let session = *ledger.sessions.live.last()?;
            if model.is_fenced(session) != Some(false) {
                return None;
            }
            // A channel that only this uses: another replica's clients.
            let channel = ChannelId::new(40);
            if !model.is_known(&(key.slot, session, channel)) {
                return None;
            }
            ledger.sessions.seq += 1;
            let tag = Tag { session, channel, seq: ledger.sessions.seq };
            let outcome = Outcome { seq: tag.seq, key, version: ChunkVersion::new(9), len: 77 };
            // At once, so that no other is put meanwhile.
            let id = ledger.model.put_outcome((key.slot, session, channel), Some(outcome));
            Some(Deed::Outcome(key.slot, tag, outcome, id))
        }
        _ => {
            let target = ledger.model.targets.get_mut(&key.slot)?;
            let mut record = (*target.newest()).filter(|_| target.is_settled())?;
            record.chain_version = record.chain_version.next()?;
            target.begin(Some(record));
            Some(Deed::Target(key.slot, record))
        }
    }
}

async fn changed(shared: &Shared) {
    let waiting = shared.borrow().changed.notified();
    waiting.await;
}

impl<E: Env> Context<E> {
    async fn perform(&self, deed: Deed, rng: &mut Rng) {
        match &deed {
            Deed::Fence(fence) => self.note(|| format!("asks {fence:?}")),
            Deed::Drop(session) => self.note(|| format!("drops {session}")),
            Deed::Outcome(slot, tag, ..) => self.note(|| format!("puts {slot} {tag:?}")),
            Deed::Target(slot, record) => self.note(|| format!("puts {slot} {record:?}")),
            _ => {}
        }
        match deed {
            Deed::Update(request, begun) => self.update(request, begun, rng).await,
            Deed::Commit(key) => self.commit(key),
            Deed::Abort(key) => self.abort(key).await,
            Deed::Erase(key) => self.erase(key).await,
            Deed::Read(read) => self.read(read).await,
            Deed::Map(key, from, to) => self.check_map(key, from..to),
            Deed::Lists => self.check_lists(),
            Deed::Scrub => self.scrub().await,
            Deed::Fence(fence) => self.fence(fence).await,
            Deed::Drop(session) => self.drop_session(session).await,
            Deed::Outcome(slot, tag, outcome, id) => {
                if self.store.put_outcome(slot, tag, outcome).await.is_ok() {
                    let channel = (slot, tag.session, tag.channel);
                    self.shared.borrow_mut().model.outcome_durable(channel, id);
                }
            }
            Deed::Target(slot, record) => self.set_target(slot, record).await,
            Deed::Sync => self.sync().await,
        }
    }

    /// Forgets what is remembered of a fenced session (R16).
    async fn drop_session(&self, session: SessionId) {
        let dropped: Vec<_> = {
            let model = &mut self.shared.borrow_mut().model;
            let channels = model.channels_of(session).into_iter();
            channels.map(|channel| (channel, model.put_outcome(channel, None))).collect()
        };
        if self.store.drop_session(session).await.is_ok() {
            let model = &mut self.shared.borrow_mut().model;
            dropped.into_iter().for_each(|(channel, id)| model.outcome_durable(channel, id));
        }
    }

    /// Installs a higher chain version; a lower one is refused (R20).
    async fn set_target(&self, slot: Slot, record: TargetRecord) {
        let answer = self.store.set_target(slot, Some(record)).await;
        let ledger = &mut *self.shared.borrow_mut();
        match answer {
            Ok(()) => ledger.model.targets.get_mut(&slot).expect("it was begun").durable(),
            Err(DecisionError::Update(UpdateError::OutOfService)) => {} // in doubt
            Err(why) => ledger.broken("T41 answers", format!("target of {slot}: {why}")),
        }
    }
}
