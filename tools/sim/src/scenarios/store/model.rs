//! What a store owes its users: a reference that knows every version, what was acknowledged, and
//! what a crash may have taken.
//!
//! Per chunk there is a list of states in the order of the decisions about it. The store's journal
//! keeps a prefix of them: at least up to the newest state that is known to be durable. So what is
//! found after a crash must be one of the states from there on, and no mixture.
//!
//! A state becomes durable when its decision is acknowledged, or when one is that was taken later:
//! commits are in the very next group (E142), so that an update which was asked for afterwards and
//! is acknowledged proves them durable.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use engine_store::{ChunkKey, Fence, Outcome, Slot, Tag, TargetRecord, TruncateEpoch};
use engine_types::{ChainVersion, ChannelId, ChunkSize, ChunkVersion, SessionId};

use super::body::Body;
use super::doubt::Doubt;

/// One version of a chunk; without a body it is a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number.
    pub number: ChunkVersion,
    /// Its bytes; nothing for a removal.
    pub body: Option<Rc<Body>>,
    /// Truncate epoch of its writer.
    pub epoch: TruncateEpoch,
    /// Chain version under which it was written.
    pub chain_version: ChainVersion,
    /// The request.
    pub tag: Option<Tag>,
}

impl Version {
    /// Length of the chunk; 0 for a removal.
    pub fn len(&self) -> u32 {
        self.body.as_ref().map_or(0, |body| body.len())
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is remembered of the request that made it.
    pub fn outcome(&self, key: ChunkKey) -> Option<Outcome> {
        let seq = self.tag?.seq;
        Some(Outcome { seq, key, version: self.number, len: self.len() })
    }
}

/// A chunk between two decisions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Never a removal: a removed chunk has none.
    pub committed: Option<Rc<Version>>,
    /// The pending version.
    pub pending: Option<Rc<Version>>,
}

/// A chunk and its states.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Size of the chunk when full.
    pub size: ChunkSize,
    /// A decision about it is under way.
    pub busy: bool,
    /// Reads of it under way: states are kept for them.
    pub readers: u32,
    /// Number of the first of `states`.
    first: u64,
    states: VecDeque<State>,
    /// The newest state that is certainly in force.
    effective: u64,
    /// The newest state that no crash takes away.
    durable: u64,
}

impl Chunk {
    fn new(size: ChunkSize) -> Self {
        let states = VecDeque::from([State::default()]);
        Self { size, busy: false, readers: 0, first: 0, states, effective: 0, durable: 0 }
    }

    /// The state that is certainly in force.
    pub fn now(&self) -> &State {
        self.at(self.effective)
    }

    /// The newest state, which may not be in force yet.
    pub fn newest(&self) -> &State {
        self.states.back().expect("never empty")
    }

    /// Number of the state in force.
    pub fn number(&self) -> u64 {
        self.effective
    }

    /// States from number `from` on: what somebody may see who began to look then.
    pub fn since(&self, from: u64) -> impl Iterator<Item = &State> {
        let skip = usize::try_from(from - self.first).expect("few states");
        self.states.iter().skip(skip)
    }

    /// States that a crash may leave, newest first, with their numbers.
    pub fn survivors(&self) -> impl Iterator<Item = (u64, &State)> {
        let numbered = (self.first..).zip(&self.states).filter(|(n, _)| self.durable <= *n);
        let mut all: Vec<_> = numbered.collect();
        all.reverse();
        all.into_iter()
    }

    /// The state with this number.
    pub fn at(&self, number: u64) -> &State {
        &self.states[usize::try_from(number - self.first).expect("few states")]
    }

    fn begin(&mut self, state: State) -> u64 {
        self.states.push_back(state);
        self.first + self.states.len() as u64 - 1
    }

    fn settle(&mut self, number: u64) {
        self.durable = self.durable.max(number);
        self.effective = self.effective.max(number);
        self.prune();
    }

    /// Forgets states that neither a crash nor a reader can bring back.
    pub fn prune(&mut self) {
        while self.readers == 0 && self.first < self.durable {
            self.states.pop_front();
            self.first += 1;
        }
    }

    fn found(&mut self, number: u64) {
        let state = self.at(number).clone();
        (self.first, self.effective, self.durable) = (number, number, number);
        self.states = VecDeque::from([state]);
        (self.busy, self.readers) = (false, 0);
    }
}

/// A decision under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The chunk.
    pub key: ChunkKey,
    /// The state that it makes.
    pub number: u64,
    /// Moment of the model.
    pub at: u64,
}

/// A channel of a session on a slot.
pub type ChannelKey = (Slot, SessionId, ChannelId);

/// The newest request of a channel, as it came to be remembered.
#[derive(Clone, Copy, Debug)]
struct Recorded {
    /// Names it.
    id: u64,
    outcome: Option<Outcome>,
    /// The commit that made it, unless it was put or dropped by itself.
    commit: Option<(ChunkKey, u64)>,
    durable: bool,
}

/// What every version held that was ever acknowledged.
type History = BTreeMap<(ChunkKey, ChunkVersion), Vec<Rc<Version>>>;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Every chunk that the workload knows.
    pub chunks: BTreeMap<ChunkKey, Chunk>,
    /// Targets by slot.
    pub targets: BTreeMap<Slot, Doubt<Option<TargetRecord>>>,
    /// Fences in the order in which they were asked for; whether each is durable.
    fences: Vec<(Fence, bool)>,
    channels: BTreeMap<ChannelKey, Vec<Recorded>>,
    /// Commits that may not be durable: moment, chunk, state.
    lazy: VecDeque<(u64, ChunkKey, u64)>,
    clock: u64,
    /// Every version that was ever asked for, when a device may change bytes by itself.
    history: Option<History>,
}

impl Model {
    /// Chunks that are not there yet.
    pub fn new(chunks: impl IntoIterator<Item = (ChunkKey, ChunkSize)>) -> Self {
        let chunks = chunks.into_iter().map(|(key, size)| (key, Chunk::new(size)));
        Self { chunks: chunks.collect(), ..Self::default() }
    }

    /// Remembers every version from now on.
    pub fn keep_history(&mut self) {
        self.history = Some(BTreeMap::new());
    }

    /// Versions of this number that were ever asked for, newest first.
    pub fn asked(&self, key: ChunkKey, number: ChunkVersion) -> Vec<Rc<Version>> {
        let all = self.history.as_ref().and_then(|history| history.get(&(key, number)));
        all.into_iter().flatten().rev().cloned().collect()
    }

    /// Forgets what was acknowledged: this is what there is.
    pub fn adopt(&mut self, chunks: BTreeMap<ChunkKey, State>) {
        for (key, state) in chunks {
            let chunk = self.chunk_mut(&key);
            *chunk = Chunk { states: VecDeque::from([state]), ..Chunk::new(chunk.size) };
        }
        self.lazy.clear();
        self.channels.clear();
        self.fences.clear();
    }

    /// A chunk of the workload.
    pub fn chunk(&self, key: &ChunkKey) -> &Chunk {
        &self.chunks[key]
    }

    /// A chunk of the workload.
    pub fn chunk_mut(&mut self, key: &ChunkKey) -> &mut Chunk {
        self.chunks.get_mut(key).expect("a chunk of the workload")
    }

    /// The next moment.
    pub fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    // --- decisions about chunks ----------------------------------------------------------------

    /// A decision is asked for that leads to `state`.
    pub fn begin(&mut self, key: ChunkKey, state: State) -> Begun {
        let at = self.tick();
        if let (Some(history), Some(version)) = (&mut self.history, &state.pending) {
            history.entry((key, version.number)).or_default().push(version.clone());
        }
        let number = self.chunk_mut(&key).begin(state);
        Begun { key, number, at }
    }

    /// It is durable, and with it every commit that was made before it was asked for.
    pub fn acknowledged(&mut self, begun: Begun) {
        self.chunk_mut(&begun.key).settle(begun.number);
        self.settle_before(begun.at);
    }

    /// Everything decided before moment `at` that rides in the next group is durable.
    pub fn settle_before(&mut self, at: u64) {
        while let Some(&(committed, key, number)) = self.lazy.front() {
            if at <= committed {
                break;
            }
            self.lazy.pop_front();
            self.chunk_mut(&key).settle(number);
            self.settle_records();
        }
    }

    /// It was refused: the state never was.
    pub fn refused(&mut self, begun: Begun) {
        let chunk = self.chunk_mut(&begun.key);
        assert_eq!(chunk.first + chunk.states.len() as u64 - 1, begun.number, "the newest");
        chunk.states.pop_back();
    }

    /// The pending version is committed: in force at once, durable later.
    pub fn committed(&mut self, key: ChunkKey) {
        let pending = self.chunk(&key).now().pending.clone().expect("something is pending");
        let committed = pending.body.is_some().then(|| pending.clone());
        let begun = self.begin(key, State { committed, pending: None });
        self.chunk_mut(&key).effective = begun.number;
        self.lazy.push_back((begun.at, key, begun.number));
        if let (Some(tag), outcome) = (pending.tag, pending.outcome(key)) {
            let commit = Some((key, begun.number));
            self.record((key.slot, tag.session, tag.channel), outcome, commit);
        }
    }

    /// Commits that may not be durable.
    pub fn lazy_count(&self) -> usize {
        self.lazy.len()
    }

    // --- requests ------------------------------------------------------------------------------

    fn record(
        &mut self,
        channel: ChannelKey,
        outcome: Option<Outcome>,
        commit: Option<(ChunkKey, u64)>,
    ) {
        let recorded = Recorded { id: self.tick(), outcome, commit, durable: false };
        self.channels.entry(channel).or_default().push(recorded);
    }

    /// An outcome is put, or dropped, by itself; returns its name.
    pub fn put_outcome(&mut self, channel: ChannelKey, outcome: Option<Outcome>) -> u64 {
        self.record(channel, outcome, None);
        self.clock
    }

    /// Whether nothing about the channel is in doubt.
    pub fn is_known(&self, channel: &ChannelKey) -> bool {
        self.channels.get(channel).is_none_or(|all| all.iter().all(|record| record.durable))
    }

    /// It is durable.
    pub fn outcome_durable(&mut self, channel: ChannelKey, id: u64) {
        let records = self.channels.get_mut(&channel).expect("it was put");
        // One that a later durable one has replaced is gone.
        if let Some(record) = records.iter_mut().find(|record| record.id == id) {
            record.durable = true;
        }
        prune_records(records);
    }

    /// Channels of a session that have a record.
    pub fn channels_of(&self, session: SessionId) -> Vec<ChannelKey> {
        let keys = self.channels.keys().filter(|(_, of, _)| *of == session);
        keys.copied().collect()
    }

    /// What is remembered of a channel now.
    pub fn outcome(&self, channel: &ChannelKey) -> Option<Outcome> {
        self.channels.get(channel)?.last()?.outcome
    }

    /// Numbers of the requests of a channel that may be remembered.
    pub fn requests_of(&self, channel: &ChannelKey) -> Vec<u64> {
        let records = self.channels.get(channel).into_iter().flatten();
        records.filter_map(|record| Some(record.outcome?.seq)).collect()
    }

    /// Every channel that ever had a record.
    pub fn channels(&self) -> Vec<ChannelKey> {
        self.channels.keys().copied().collect()
    }

    /// Whether no request of the channel is under way or pending.
    pub fn is_idle(&self, channel: &ChannelKey) -> bool {
        let of = |key: &ChunkKey, version: &Version| {
            version.tag.map(|tag| (key.slot, tag.session, tag.channel))
        };
        self.chunks.iter().all(|(key, chunk)| {
            let pending = [chunk.now(), chunk.newest()].map(|state| state.pending.as_deref());
            pending.into_iter().flatten().all(|version| of(key, version) != Some(*channel))
        })
    }

    fn settle_records(&mut self) {
        let chunks = &self.chunks;
        for records in self.channels.values_mut() {
            for record in records.iter_mut() {
                let settled = |(key, number): (ChunkKey, u64)| number <= chunks[&key].durable;
                record.durable |= record.commit.is_some_and(settled);
            }
            prune_records(records);
        }
    }

    // --- sessions ------------------------------------------------------------------------------

    /// A fence is asked for.
    pub fn begin_fence(&mut self, fence: Fence) -> usize {
        self.fences.push((fence, false));
        self.fences.len() - 1
    }

    /// It is durable.
    pub fn fence_durable(&mut self, index: usize) {
        self.fences[index].1 = true;
    }

    /// Whether a session is fenced: for certain, or nobody knows.
    pub fn is_fenced(&self, session: SessionId) -> Option<bool> {
        let covers = |fence: &Fence| match *fence {
            Fence::One(one) => one == session,
            Fence::Below(below) => session < below,
        };
        let mut known = Some(false);
        for (fence, durable) in &self.fences {
            if covers(fence) {
                if *durable {
                    return Some(true);
                }
                known = None;
            }
        }
        known
    }

    /// A session was found fenced, or not, after a crash.
    pub fn found_fence(&mut self, session: SessionId, fenced: bool) {
        if fenced {
            self.fences.push((Fence::One(session), true));
        }
    }

    /// Fences that were not durable and whose sessions have been looked at are known.
    pub fn forget_open_fences(&mut self) {
        self.fences.retain(|(_, durable)| *durable);
    }

    // --- after a crash -------------------------------------------------------------------------

    /// What the outcome of a channel may be, given the states that chunks were found in.
    pub fn allowed_outcomes(
        &self,
        channel: &ChannelKey,
        found: &BTreeMap<ChunkKey, u64>,
    ) -> Vec<Option<Outcome>> {
        let mut allowed = vec![None];
        for record in self.channels.get(channel).into_iter().flatten() {
            let survived = record.commit.map(|(key, number)| number <= found[&key]);
            match (record.durable, survived) {
                (true, _) | (false, Some(true)) => allowed = vec![record.outcome],
                (false, Some(false)) => {}
                (false, None) => allowed.push(record.outcome),
            }
        }
        allowed
    }

    /// Everything was looked at: what was found is what is.
    pub fn found(
        &mut self,
        chunks: &BTreeMap<ChunkKey, u64>,
        outcomes: &BTreeMap<ChannelKey, Option<Outcome>>,
    ) {
        self.lazy.clear();
        for (key, number) in chunks {
            self.chunk_mut(key).found(*number);
        }
        for (channel, outcome) in outcomes {
            let recorded = Recorded { id: 0, outcome: *outcome, commit: None, durable: true };
            self.channels.insert(*channel, vec![recorded]);
        }
    }
}

/// Nothing before the newest durable record matters.
fn prune_records(records: &mut Vec<Recorded>) {
    if let Some(last) = records.iter().rposition(|record| record.durable) {
        records.drain(..last);
    }
}

#[cfg(test)]
mod tests;
