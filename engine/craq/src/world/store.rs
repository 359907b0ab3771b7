//! A store: a journal of which a crash keeps what was flushed, and any part of the rest from its
//! beginning.

use super::*;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    pub(super) version: Option<ChunkVersion>,
    pub(super) state: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) version: ChunkVersion,
    pub(super) state: u64,
    pub(super) removal: bool,
    pub(super) tag: Option<Tag>,
}

/// What is known at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) chunks: BTreeMap<ChunkId, Held>,
    pub(super) pendings: BTreeMap<ChunkId, Pending>,
    pub(super) outcomes: BTreeMap<(SessionId, ChannelId), (u64, Version)>,
    pub(super) chain: ChainVersion,
}

#[derive(Clone, Debug)]
pub(super) enum Record {
    Put(ChunkId, Pending),
    Commit(ChunkId, bool),
    Abort(ChunkId),
    Chain(ChainVersion),
    /// The chunk is gone; the state that its absence stands for.
    Erase(ChunkId, u64),
    Learn(SessionId, ChannelId, u64, Version),
}

/// Told when the journal is durable up to a place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Done {
    Stored(Version),
    Aborted(Version),
    Erased(ChunkId),
    Learnt(usize, Walk),
}

#[derive(Debug, Default)]
pub(super) struct Store {
    /// With everything in the journal.
    pub(super) now: Image,
    /// Durable, without the journal.
    base: Image,
    journal: Vec<Record>,
    waiting: Vec<(usize, Done)>,
    /// Updates that the store works at.
    pub(super) working: Vec<(Version, Option<Tag>, Content)>,
}

impl Image {
    fn apply(&mut self, record: &Record) {
        match record {
            Record::Put(chunk, pending) => {
                let former = self.pendings.insert(*chunk, *pending);
                assert!(former.is_none(), "{chunk}: a record over a pending one");
            }
            Record::Commit(chunk, remember) => {
                let Pending { version, state, removal, tag } =
                    self.pendings.remove(chunk).expect("committed is what was pending");
                self.chunks.insert(*chunk, Held { version: (!removal).then_some(version), state });
                if let Some(Tag { session, channel, seq }) = tag.filter(|_| *remember) {
                    let at = Version { chunk: *chunk, version };
                    let known = self.outcomes.entry((session, channel)).or_insert((seq, at));
                    if known.0 < seq {
                        *known = (seq, at);
                    }
                }
            }
            Record::Abort(chunk) => {
                self.pendings.remove(chunk).expect("given up is what was pending");
            }
            Record::Chain(version) => self.chain = *version,
            Record::Erase(chunk, state) => {
                self.pendings.remove(chunk);
                self.chunks.insert(*chunk, Held { version: None, state: *state });
            }
            Record::Learn(session, channel, seq, at) => {
                let known = self.outcomes.entry((*session, *channel)).or_insert((*seq, *at));
                if known.0 < *seq {
                    *known = (*seq, *at);
                }
            }
        }
    }
}

impl Store {
    pub(super) fn log(&mut self, record: Record) {
        self.now.apply(&record);
        self.journal.push(record);
    }

    pub(super) fn log_and_tell(&mut self, record: Record, done: Done) {
        self.log(record);
        self.waiting.push((self.journal.len(), done));
    }

    /// Committed chunks behind a place, up to another.
    pub(super) fn list(
        &self,
        after: Cursor,
        upto: Option<ChunkId>,
    ) -> Vec<(ChunkId, ChunkVersion, Digest)> {
        let within =
            |chunk: &ChunkId| !after.covers(*chunk) && upto.is_none_or(|upto| *chunk <= upto);
        let all = self.now.chunks.iter().filter(|(chunk, _)| within(chunk));
        all.filter_map(|(chunk, held)| Some((*chunk, held.version?, Digest(held.state)))).collect()
    }

    /// Everything is durable; returns who waits for that.
    pub(super) fn flush(&mut self) -> Vec<Done> {
        self.base = self.now.clone();
        self.journal.clear();
        core::mem::take(&mut self.waiting).into_iter().map(|(_, done)| done).collect()
    }

    /// Whether somebody waits for a flush.
    pub(super) fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Power is lost.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        let kept = usize::try_from(rng.below(self.journal.len() as u64 + 1)).unwrap();
        for record in &self.journal[..kept] {
            self.base.apply(record);
        }
        self.now = self.base.clone();
        self.journal.clear();
        self.waiting.clear();
        self.working.clear();
    }

    /// Facts for the replica.
    pub(super) fn local(&self, chunk: ChunkId, tag: Option<Tag>) -> Local {
        let held = self.now.chunks.get(&chunk).copied().unwrap_or_default();
        let committed = held.version.map(|version| (version, Digest(held.state)));
        let known = tag.map_or(Known::Fresh, |Tag { session, channel, seq }| {
            match self.now.outcomes.get(&(session, channel)) {
                Some((newest, at)) if *newest == seq => Known::Repeated(Outcome {
                    seq,
                    key: ChunkKey { slot: Slot::new(0), chunk: at.chunk },
                    version: at.version,
                    len: 0,
                }),
                Some((newest, _)) if seq < *newest => Known::Old { newest: *newest },
                _ => Known::Fresh,
            }
        });
        Local { committed, known, fenced: false }
    }
}
