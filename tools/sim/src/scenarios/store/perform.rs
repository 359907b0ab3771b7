//! Carries requests out and compares every answer with the reference.
//!
//! Checks
//!   T40  a read gives the bytes of a version that was in force while it ran, whole
//!   T41  a right request is stored, with the length that it must have; a wrong one is refused for
//!        its reason, and a repeated one answered as the first time (R14)
//!   T59  an update is refused for lack of space only when no segment could be had for it, were
//!        those in use moved together
//!   T42  what the store says of a chunk, a list, a digest, a data map is what the reference says

use std::collections::BTreeMap;
use std::rc::Rc;

use core::time::Duration;
use engine_runtime::{Bytes, Env, Memory, until};
use engine_shard::{
    ChunkStore, Content, Damage, DamageKind, DecisionError, Payload, Read, ReadError, ScrubLimits,
    Stored, Which,
};
use engine_store::{BlockClass, ChunkKey, Fence, SEGMENT_BYTES, Update, UpdateError};
use engine_types::limits::PAYLOAD_BYTES_MAX;
use engine_types::{ChunkVersion, Rng, reached};

use super::body::Body;
use super::ledger::{Ledger, Shared};
use super::model::{Begun, State, Version};
use super::request::{Expected, Request, Wrong};

/// What a task of the workload needs.
#[derive(Clone)]
pub struct Context<E: Env> {
    /// The core.
    pub env: E,
    /// The store.
    pub store: ChunkStore<E>,
    /// The reference.
    pub shared: Shared,
    /// Writes a line into the trace of the world.
    pub note: Rc<dyn Fn(String)>,
}

/// Reads that cover a version, and their answers.
pub type Whole<E> = Vec<(Read, Content<<E as Env>::Memory>)>;

/// The first byte of a whole version that is not as it must be.
pub fn whole_difference<E: Env>(body: &Body, whole: &Whole<E>) -> Option<usize> {
    whole.iter().find_map(|(read, content)| {
        difference(body, read, content).map(|at| at + read.offset as usize)
    })
}

/// Segments that writes leave alone in a store of a few.
const RESERVE: u64 = 2;

const SPACE: &str = "T59 space";
const ANSWERS: &str = "T41 answers";
const READS: &str = "T40 reads";
const SAYS: &str = "T42 what the store says";

impl<E: Env> Context<E> {
    /// What is asked and answered stands between the operations of the device that it causes.
    pub fn note(&self, text: impl FnOnce() -> String) {
        (self.note)(text());
    }

    /// Notes a check that failed.
    pub fn broken(&self, check: &'static str, what: impl Into<String>) {
        self.shared.borrow_mut().broken(check, what);
    }

    // --- updates -------------------------------------------------------------------------------

    /// One update, and as a rule the commit that follows it. The chunk is busy by now; `begun` is
    /// the state that a right one makes.
    pub async fn update(&self, request: Request, begun: Option<Begun>, rng: &mut Rng) {
        let payload = self.payload(&request, rng).await;
        let Update { key, version, change, .. } = request.update;
        let tag = request.update.tag.map(|tag| (tag.session.get(), tag.channel.get(), tag.seq));
        self.note(|| format!("asks {key} {version} {change:?} {tag:?}"));
        let asked = self.store.update(request.update, payload);
        let Some(begun) = begun else {
            let answer = asked.await;
            self.judge_refused(&request, &answer);
            self.shared.borrow_mut().model.chunk_mut(&request.chunk).busy = false;
            return;
        };
        if rng.chance(985) {
            let answer = asked.await;
            return self.judge_stored(begun, &request, answer, rng);
        }
        // The caller gives up; the update goes on, and nobody hears of it (S5).
        let soon = self.env.now() + Duration::from_micros(rng.range(0..=400));
        match until(&self.env, soon, asked).await {
            Ok(answer) => self.judge_stored(begun, &request, answer, rng),
            Err(_) => {
                reached!("T41: a caller gave up waiting");
                self.follow(begun, &request).await;
            }
        }
    }

    /// The data in buffers of the pool, at times not at their start.
    async fn payload(&self, request: &Request, rng: &mut Rng) -> Payload<E::Memory> {
        let mut extents = Vec::new();
        for (offset, data) in &request.extents {
            let lead = if rng.chance(200) { *rng.pick(&[1, 512, 4096]).expect("three") } else { 0 };
            let buf = self.env.pool().alloc_wait(lead + data.len()).await;
            let mut buf = buf.expect("the pool is larger than a payload");
            buf.set_len(lead);
            buf.extend_from_slice(data);
            let bytes: Bytes<E::Memory> = buf.freeze();
            extents.push((*offset, bytes.slice(lead..lead + data.len())));
        }
        Payload { extents, checksums: request.checksums.clone() }
    }

    /// The answer to a request that had to be stored.
    fn judge_stored(
        &self,
        begun: Begun,
        request: &Request,
        answer: Result<Stored, UpdateError>,
        rng: &mut Rng,
    ) {
        let key = begun.key;
        let pending = request.becomes.pending.clone().expect("an update makes one");
        self.note(|| format!("told {key} {}: {:?}", pending.number, answer.as_ref().err()));
        let mut ledger = self.shared.borrow_mut();
        match answer {
            Ok(stored) => {
                let (version, len) = (pending.number, pending.len());
                // The audit compares digests.
                let digest = stored.digest;
                let right = Stored { version, len, repeated: false, digest };
                if stored != right {
                    ledger.broken(ANSWERS, format!("{key}: {stored:?}, expected {right:?}"));
                }
                ledger.model.acknowledged(begun);
                ledger.model.chunk_mut(&key).busy = false;
                drop(ledger);
                self.check_state(key);
                if rng.chance(850) {
                    self.commit(key);
                }
            }
            Err(UpdateError::OutOfService) => {} // it stays in doubt, and the chunk busy
            Err(why) => {
                if !may_refuse(&ledger, &why) {
                    let what = format!("{:?} was refused: {why}", request.update);
                    ledger.broken(ANSWERS, what);
                }
                let full = matches!(why, UpdateError::NoSpace { .. });
                if full && !ledger.tolerance.no_space && !self.is_full(&ledger) {
                    let what = format!("{key}: {why}, but a segment could be had");
                    ledger.broken(SPACE, what);
                }
                ledger.model.refused(begun);
                ledger.model.chunk_mut(&key).busy = false;
            }
        }
    }

    /// Whether no segment can be had for one more class of blocks, however well those in use are
    /// moved together. What is in doubt, or keeps a segment from being emptied, counts as one that
    /// is needed: chunks with a decision under way, pending versions, commits that are not durable,
    /// whoever reads.
    fn is_full(&self, ledger: &Ledger) -> bool {
        let mut blocks: BTreeMap<BlockClass, u64> = BTreeMap::new();
        for slot in ledger.slots() {
            let mut after = None;
            loop {
                let listed = self.store.list(slot, after, usize::MAX);
                let Some(last) = listed.last() else { break };
                after = Some(last.key);
                for one in &listed {
                    let class = one.head.class;
                    *blocks.entry(class).or_default() += one.allocated / u64::from(class.bytes());
                }
            }
        }
        let packed =
            blocks.iter().map(|(class, count)| count.div_ceil(u64::from(class.per_segment())));
        let chunks = ledger.model.chunks.values();
        let open = chunks.filter(|chunk| chunk.busy || chunk.now().pending.is_some()).count();
        let doubts = (open + ledger.in_flight + ledger.model.lazy_count()) as u64;
        let segments = self.store.space().total / u64::from(SEGMENT_BYTES);
        let needed = packed.sum::<u64>() + 1;
        if needed + RESERVE <= segments {
            reached!("T59: only what was in doubt can explain a lack of space");
        }
        segments < needed + doubts + RESERVE
    }

    /// After the caller gave up: the store still does what was asked, or refuses it.
    async fn follow(&self, begun: Begun, request: &Request) {
        let Begun { key, .. } = begun;
        let Update { version, .. } = request.update;
        let is_there = || self.store.state(&key).pending.is_some_and(|(found, _)| found == version);
        let late = self.env.now() + Duration::from_millis(200);
        while self.env.now() < late && !is_there() {
            self.env.sleep_until(self.env.now() + Duration::from_millis(1)).await;
        }
        if is_there() {
            // Pending for those who look is durable (E145).
            let mut ledger = self.shared.borrow_mut();
            ledger.model.acknowledged(begun);
            ledger.model.chunk_mut(&key).busy = false;
        }
        // Otherwise nobody knows: the chunk stays busy until the next life.
    }

    /// The answer to a request that had to be refused or answered from memory.
    fn judge_refused(&self, request: &Request, answer: &Result<Stored, UpdateError>) {
        let right = match (&request.expected, answer) {
            (Expected::Repeated(outcome), Ok(stored)) => {
                reached!("T41: a request was repeated");
                let Stored { version, len, repeated, .. } = *stored;
                (version, len, repeated) == (outcome.version, outcome.len, true)
            }
            (Expected::Refused(wrong), Err(why)) => is_reason(*wrong, why),
            _ => false,
        };
        // Another reason may have been found first.
        let other = |why: &UpdateError| {
            let ledger = self.shared.borrow();
            // Nor does the channel of a request that is repeated wait for it.
            let is_overtaken = request.update.tag.is_some_and(|tag| {
                let channel = (request.update.key.slot, tag.session, tag.channel);
                ledger.model.outcome(&channel).is_some_and(|newest| tag.seq < newest.seq)
            });
            *why == UpdateError::OutOfService
                || may_refuse(&ledger, why)
                || is_overtaken && matches!(why, UpdateError::OldRequest { .. })
        };
        if !right && !answer.as_ref().is_err_and(other) {
            let Request { update, expected, .. } = request;
            self.broken(ANSWERS, format!("{update:?}: {answer:?}, expected {expected:?}"));
        }
    }

    /// Commits what is pending, at once.
    pub fn commit(&self, key: ChunkKey) {
        let pending = {
            let ledger = self.shared.borrow();
            let chunk = ledger.model.chunk(&key);
            chunk.now().pending.clone().filter(|_| !chunk.busy)
        };
        // Another task may have decided about it meanwhile.
        let Some(pending) = pending else { return };
        self.note(|| format!("commits {key} {}", pending.number));
        match self.store.commit(&key, pending.number) {
            Ok(()) => self.shared.borrow_mut().model.committed(key),
            Err(UpdateError::OutOfService) => return,
            Err(why) => {
                return self.broken(ANSWERS, format!("commit of {key} {}: {why}", pending.number));
            }
        }
        self.check_state(key);
        // Only what is pending can be committed, and only once.
        let again = self.store.commit(&key, pending.number);
        if !matches!(again, Err(UpdateError::NotPending { .. } | UpdateError::OutOfService)) {
            self.broken(ANSWERS, format!("{key} was committed twice: {again:?}"));
        }
    }

    /// Aborts what is pending.
    pub async fn abort(&self, key: ChunkKey) {
        let (number, begun) = {
            let mut ledger = self.shared.borrow_mut();
            let State { committed, pending } = ledger.model.chunk(&key).now().clone();
            let number = pending.expect("something is pending").number;
            (number, ledger.model.begin(key, State { committed, pending: None }))
        };
        self.note(|| format!("aborts {key} {number}"));
        let answer = self.store.abort(&key, number).await;
        self.decided(begun, answer.map_err(DecisionError::Update));
    }

    /// Removes a chunk with all its versions.
    pub async fn erase(&self, key: ChunkKey) {
        let (there, begun) = {
            let mut ledger = self.shared.borrow_mut();
            let there = *ledger.model.chunk(&key).now() != State::default();
            (there, ledger.model.begin(key, State::default()))
        };
        self.note(|| format!("erases {key}"));
        match self.store.erase(&key).await {
            Ok(found) if found != there => {
                self.broken(ANSWERS, format!("erase of {key} says {found}, expected {there}"));
            }
            Ok(false) => {
                // Nothing was decided, so that nothing is known to be durable.
                let model = &mut self.shared.borrow_mut().model;
                model.refused(begun);
                model.chunk_mut(&key).busy = false;
            }
            answer => self.decided(begun, answer.map(drop).map_err(DecisionError::Update)),
        }
    }

    fn decided(&self, begun: Begun, answer: Result<(), DecisionError>) {
        self.note(|| format!("told {}: {:?}", begun.key, answer.as_ref().err()));
        let mut ledger = self.shared.borrow_mut();
        match answer {
            Ok(()) => {
                ledger.model.acknowledged(begun);
                ledger.model.chunk_mut(&begun.key).busy = false;
                drop(ledger);
                self.check_state(begun.key);
            }
            Err(DecisionError::Update(UpdateError::OutOfService)) => {}
            Err(why) => ledger.broken(ANSWERS, format!("a decision about {}: {why}", begun.key)),
        }
    }

    // --- reads ---------------------------------------------------------------------------------

    /// One read, compared with every version that was in force meanwhile.
    pub async fn read(&self, read: Read) {
        let from = {
            let mut ledger = self.shared.borrow_mut();
            let chunk = ledger.model.chunk_mut(&read.key);
            chunk.readers += 1;
            chunk.number()
        };
        let answer = self.store.read(read).await;
        let mut ledger = self.shared.borrow_mut();
        let tolerance = ledger.tolerance;
        let chunk = ledger.model.chunk_mut(&read.key);
        let verdict = match &answer {
            Ok(content) => judge_content(&read, content, chunk.since(from), tolerance.damage),
            Err(ReadError::NoSuchChunk { .. }) => {
                let absent = chunk.since(from).any(|state| wanted(&read, state).is_none());
                if absent { Ok(()) } else { Err("nothing was found".to_owned()) }
            }
            Err(ReadError::OutOfService) => Ok(()),
            Err(ReadError::Io { .. }) if tolerance.read_errors => Ok(()),
            Err(ReadError::Corrupt { .. }) if tolerance.damage => Ok(()),
            Err(why) => Err(why.to_string()),
        };
        chunk.readers -= 1;
        chunk.prune();
        if let Err(why) = verdict {
            ledger.broken(READS, format!("{read:?}: {why}"));
        }
    }

    /// The whole of a version, in one read after another, each with what was asked.
    ///
    /// # Errors
    /// What the store answered.
    pub async fn whole(&self, key: ChunkKey, which: Which) -> Result<Whole<E>, ReadError> {
        let mut whole = Vec::new();
        let mut offset = 0;
        loop {
            let len = PAYLOAD_BYTES_MAX;
            let read = Read { key, offset, len, version: which, verify: true };
            let content = self.store.read(read).await?;
            offset = offset.saturating_add(len);
            let ends = content.chunk_len <= offset;
            whole.push((read, content));
            if ends {
                return Ok(whole);
            }
        }
    }

    // --- what the store says -------------------------------------------------------------------

    /// Committed and pending version of a chunk on which nothing is under way.
    pub fn check_state(&self, key: ChunkKey) {
        let found = self.store.state(&key);
        let mut ledger = self.shared.borrow_mut();
        let chunk = ledger.model.chunk(&key);
        if chunk.busy || self.store.failure().is_some() {
            return;
        }
        let State { committed, pending } = chunk.now();
        let committed = committed.as_ref().map(|version| (version.number, version.len()));
        let pending = pending
            .as_ref()
            .map(|version| (version.number, version.body.as_ref().map(|body| body.len())));
        if (found.committed, found.pending) != (committed, pending) {
            let what = format!("{key}: {found:?}, expected {committed:?} and {pending:?}");
            ledger.broken(SAYS, what);
        }
    }

    /// Lists, counts, digests and data maps of everything, in one turn.
    pub fn check_lists(&self) {
        let mut ledger = self.shared.borrow_mut();
        if self.store.failure().is_some() {
            return;
        }
        for slot in ledger.slots() {
            let found = self.store.list(slot, None, usize::MAX);
            let idle =
                |key: &ChunkKey| ledger.model.chunks.get(key).is_none_or(|chunk| !chunk.busy);
            let found: Vec<_> = found
                .iter()
                .filter(|one| idle(&one.key))
                .map(|one| (one.key, one.head.version, one.head.len, one.digest))
                .collect();
            let right: Vec<_> = ledger
                .model
                .chunks
                .iter()
                .filter(|(key, chunk)| key.slot == slot && !chunk.busy)
                .filter_map(|(key, chunk)| {
                    let version = chunk.now().committed.as_ref()?;
                    let body = version.body.as_ref()?;
                    let digest = body.digest(key.chunk, version.number);
                    Some((*key, version.number, body.len(), digest))
                })
                .collect();
            if found != right {
                let wrong = found.iter().zip(&right).find(|(found, right)| found != right);
                let counts = (found.len(), right.len());
                ledger.broken(SAYS, format!("list of {slot}: {wrong:?} of {counts:?}"));
            }
        }
    }

    /// The data map of one chunk.
    pub fn check_map(&self, key: ChunkKey, range: core::ops::Range<u32>) {
        let mut ledger = self.shared.borrow_mut();
        if self.store.failure().is_some() || ledger.model.chunk(&key).busy {
            return;
        }
        let found = self.store.data_map(&key, range.clone());
        let found: Option<Vec<_>> =
            found.map(|map| map.into_iter().map(|one| (one.range, one.data)).collect());
        let body = ledger.model.chunk(&key).now().committed.as_ref();
        let body = body.and_then(|version| version.body.clone());
        let right = body.map(|body| body.data_map(range));
        if found != right {
            ledger.broken(SAYS, format!("data map of {key}: {found:?}, expected {right:?}"));
        }
    }

    /// The scrubber finds nothing where nothing is damaged, whatever goes on meanwhile (S15).
    pub async fn scrub(&self) {
        let found = self.store.scrub(None, ScrubLimits::default(), |_| {}).await;
        let mut ledger = self.shared.borrow_mut();
        let tolerance = ledger.tolerance;
        // What a device does not give now is not lost, but cannot be told from what is.
        let tolerated = |one: &Damage| {
            tolerance.damage || tolerance.read_errors && one.kind == DamageKind::Unreadable
        };
        match found {
            Ok(found) if !found.damage.iter().all(tolerated) => {
                ledger.broken(SAYS, format!("the scrubber found {:?}", found.damage));
            }
            Ok(found) if found.errors != 0 && !tolerance.read_errors && !tolerance.damage => {
                ledger.broken(SAYS, format!("the scrubber met {} errors", found.errors));
            }
            Ok(found) if !found.finished => ledger.broken(SAYS, "the scrubber did not finish"),
            _ => {}
        }
    }

    // --- sessions, requests, targets -----------------------------------------------------------

    /// Revokes sessions.
    pub async fn fence(&self, fence: Fence) {
        let index = self.shared.borrow_mut().model.begin_fence(fence);
        match self.store.fence(fence).await {
            Ok(()) => {
                let ledger = &mut *self.shared.borrow_mut();
                ledger.model.fence_durable(index);
                let model = &ledger.model;
                let (gone, live) =
                    ledger.sessions.live.iter().partition(|s| model.is_fenced(**s) == Some(true));
                ledger.sessions.live = live;
                let gone: Vec<_> = gone;
                ledger.sessions.fenced.extend(gone);
            }
            Err(DecisionError::Update(UpdateError::OutOfService)) => {}
            Err(why) => self.broken(ANSWERS, format!("{fence:?}: {why}")),
        }
    }

    /// Everything committed so far is durable afterwards.
    pub async fn sync(&self) {
        let at = self.shared.borrow_mut().model.tick();
        match self.store.sync().await {
            Ok(()) => self.shared.borrow_mut().model.settle_before(at),
            Err(UpdateError::OutOfService) => {}
            Err(why) => self.broken(ANSWERS, format!("sync: {why}")),
        }
    }
}

/// Whether a right request may be refused: because of the device, or because what was true when it
/// was drawn had changed by the time it was looked at.
fn may_refuse(ledger: &Ledger, why: &UpdateError) -> bool {
    let tolerance = ledger.tolerance;
    match why {
        UpdateError::NoSpace { .. } => {
            reached!("T41: an update found no space");
            tolerance.no_space || !ledger.room
        }
        UpdateError::Corrupt { .. } => {
            reached!("T41: an update could not read what it changes");
            tolerance.read_errors || tolerance.damage
        }
        // Chains that do not decide hold the room for images (E149): as many as it says, at least.
        UpdateError::TooManyPending { max } => {
            reached!("T41: an update gave up waiting for decisions about others");
            let chunks = ledger.model.chunks.values();
            *max <= chunks.filter(|chunk| chunk.busy || chunk.now().pending.is_some()).count()
        }
        UpdateError::Fenced { session } => ledger.model.is_fenced(*session) != Some(false),
        UpdateError::StaleChain { key, found, .. } => {
            let newest = ledger.model.targets.get(&key.slot).and_then(|target| *target.newest());
            newest.is_some_and(|target| *found < target.chain_version)
        }
        _ => false,
    }
}

fn is_reason(wrong: Wrong, why: &UpdateError) -> bool {
    match wrong {
        Wrong::Version => matches!(why, UpdateError::WrongVersion { .. }),
        Wrong::Busy => matches!(why, UpdateError::Busy { .. }),
        Wrong::Epoch => matches!(why, UpdateError::StaleEpoch { .. }),
        Wrong::Size => matches!(why, UpdateError::SizeMismatch { .. }),
        Wrong::Range => matches!(why, UpdateError::OutOfRange { .. }),
        Wrong::Payload => matches!(why, UpdateError::BadPayload { .. }),
        Wrong::Target => matches!(why, UpdateError::NoTarget { .. }),
        Wrong::Chain => matches!(why, UpdateError::StaleChain { .. }),
        Wrong::Fence => matches!(why, UpdateError::Fenced { .. }),
        Wrong::Old => matches!(why, UpdateError::OldRequest { .. }),
    }
}

/// The version that a read wants of a state; a pending removal cannot be read.
fn wanted<'a>(read: &Read, state: &'a State) -> Option<&'a Rc<Version>> {
    let version = match read.version {
        Which::Committed => state.committed.as_ref(),
        Which::Pending => state.pending.as_ref(),
    };
    version.filter(|version| version.body.is_some())
}

/// Whether some state explains what was read.
fn judge_content<'a, M: Memory>(
    read: &Read,
    content: &Content<M>,
    states: impl Iterator<Item = &'a State>,
    damage: bool,
) -> Result<(), String> {
    let mut seen: Vec<(ChunkVersion, Option<usize>)> = Vec::new();
    for version in states.filter_map(|state| wanted(read, state)) {
        let body = version.body.as_ref().expect("filtered");
        let same = content.version == version.number && content.chunk_len == body.len();
        let differs = match damage && !read.verify {
            true => verified_difference(body, read, content),
            false => difference(body, read, content),
        };
        if same && differs.is_none() {
            return Ok(());
        }
        seen.push((version.number, differs));
    }
    let (version, len) = (content.version, content.chunk_len);
    Err(format!("version {version} of {len} bytes; differences from those in force: {seen:?}"))
}

/// The first byte of an answer that is not the version's; its end when the length is wrong.
pub fn difference<M: Memory>(body: &Body, read: &Read, content: &Content<M>) -> Option<usize> {
    let end = read.offset.saturating_add(read.len).min(body.len());
    let right = end.saturating_sub(read.offset) as usize;
    if content.len() != right {
        return Some(content.len().min(right));
    }
    let mut at = 0;
    for part in &content.parts {
        let offset = read.offset + u32::try_from(at).expect("at most 4 MiB");
        if let Some(within) = body.differs(offset, part) {
            return Some(at + within);
        }
        at += part.len();
    }
    None
}

/// The first difference in checksum blocks that the read covers as a whole.
fn verified_difference<M: Memory>(body: &Body, read: &Read, content: &Content<M>) -> Option<usize> {
    let found = content.to_vec();
    let end = read.offset.saturating_add(read.len).min(body.len());
    if found.len() != end.saturating_sub(read.offset) as usize {
        return Some(found.len());
    }
    let block = body.size().checksum_block_bytes();
    for index in read.offset / block..end.div_ceil(block) {
        let valid = index * block..((index + 1) * block).min(body.data_end()).max(index * block);
        if read.offset <= valid.start && valid.end <= end {
            let within = (valid.start - read.offset) as usize..(valid.end - read.offset) as usize;
            if let Some(at) = body.differs(valid.start, &found[within.clone()]) {
                return Some(within.start + at);
            }
        }
    }
    None
}
