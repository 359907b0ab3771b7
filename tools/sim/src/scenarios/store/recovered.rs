//! After every opening: is everything there that was acknowledged, whole, and nothing by halves?
//!
//! Checks
//!   T43  each chunk is in one of the states that a crash may leave, with the bytes of exactly that
//!        state: an acknowledged version is there, a lost commit leaves its version pending
//!   T44  the newest request of each channel is that of the newest commit which survived (R15)
//!   T45  targets with their chain versions, and fences, are as they were acknowledged (R20, L6)
//!   T46  the audit holds: no block is leaked, none shared (S-a); the store is not called damaged

use std::collections::BTreeMap;

use engine_runtime::Env;
use engine_shard::{Opened, ReadError, Which};
use engine_store::store::ChunkState;
use engine_store::{ChunkKey, Tag};
use engine_types::{SessionId, reached};

use super::model::{ChannelKey, State, Version};
use super::perform::{Context, Whole, whole_difference};

const VERSIONS: &str = "T43 acknowledged versions";
const OUTCOMES: &str = "T44 requests";
const TABLES: &str = "T45 targets and fences";
const AUDIT: &str = "T46 audit";

/// A check that did not hold, or a device that did not let itself be looked at.
#[derive(Debug)]
pub enum Trouble {
    /// Not as it must be.
    Broken(&'static str, String),
    /// A read failed, which is tolerated now.
    Unreadable,
}

fn broken<T>(check: &'static str, what: String) -> Result<T, Trouble> {
    Err(Trouble::Broken(check, what))
}

impl<E: Env> Context<E> {
    /// Compares the whole store with the reference, which from then on knows what survived.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub async fn check_recovered(&self, opened: &Opened) -> Result<(), Trouble> {
        if opened.damaged && self.shared.borrow().rotten {
            return Err(Trouble::Unreadable); // T57
        }
        if opened.damaged {
            return broken(AUDIT, "the store says that it is damaged".to_owned());
        }
        let audit = self.store.audit().or_else(|why| broken(AUDIT, why))?;
        let mut found = BTreeMap::new();
        let keys: Vec<ChunkKey> = self.shared.borrow().model.chunks.keys().copied().collect();
        for key in keys {
            found.insert(key, self.check_chunk(key).await?);
        }
        self.check_pendings(opened, &found)?;
        let there = found.iter().filter(|(key, number)| self.is_there(key, **number)).count();
        if audit.chunks != there as u64 {
            return broken(AUDIT, format!("{} chunks, expected {there}", audit.chunks));
        }
        let outcomes = self.check_outcomes(&found)?;
        self.check_tables()?;
        self.shared.borrow_mut().model.found(&found, &outcomes);
        self.check_lists();
        Ok(())
    }

    /// Blocks are accounted for while nothing is under way, too (T46).
    pub fn check_audit(&self) {
        if let Err(why) = self.store.audit() {
            self.broken(AUDIT, why);
        }
    }

    fn is_there(&self, key: &ChunkKey, number: u64) -> bool {
        self.shared.borrow().model.chunk(key).at(number).committed.is_some()
    }

    /// The number of the state that the chunk is in.
    async fn check_chunk(&self, key: ChunkKey) -> Result<u64, Trouble> {
        let is = self.store.state(&key);
        let committed = self.bytes(key, Which::Committed, is.committed.is_some()).await?;
        let has_bytes = is.pending.is_some_and(|(_, len)| len.is_some());
        let pending = self.bytes(key, Which::Pending, has_bytes).await?;
        let ledger = self.shared.borrow();
        let chunk = ledger.model.chunk(&key);
        let mut why = Vec::new();
        for (number, state) in chunk.survivors() {
            match differs::<E>(state, &is, committed.as_ref(), pending.as_ref()) {
                None => {
                    if state.pending.is_some() {
                        reached!("T43: a version was pending after a crash");
                    }
                    return Ok(number);
                }
                Some(what) => why.push(format!("state {number}: {what}")),
            }
        }
        broken(VERSIONS, format!("{key} is {is:?}; {}", why.join("; ")))
    }

    async fn bytes(
        &self,
        key: ChunkKey,
        which: Which,
        there: bool,
    ) -> Result<Option<Whole<E>>, Trouble> {
        if !there {
            return Ok(None);
        }
        match self.whole(key, which).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ReadError::Io { .. }) if self.shared.borrow().tolerance.read_errors => {
                Err(Trouble::Unreadable)
            }
            Err(ReadError::OutOfService) if self.shared.borrow().tolerance.write_errors => {
                Err(Trouble::Unreadable)
            }
            Err(why) => broken(VERSIONS, format!("{key} {which:?}: {why}")),
        }
    }

    fn check_pendings(
        &self,
        opened: &Opened,
        found: &BTreeMap<ChunkKey, u64>,
    ) -> Result<(), Trouble> {
        let ledger = self.shared.borrow();
        let right: Vec<_> = found
            .iter()
            .filter_map(|(key, number)| {
                let state = ledger.model.chunk(key).at(*number);
                state.pending.as_ref().map(|version| (*key, version.number))
            })
            .collect();
        if opened.pendings != right || self.store.pendings() != right {
            let what = format!("pending are {:?}, expected {right:?}", opened.pendings);
            return broken(VERSIONS, what);
        }
        Ok(())
    }

    fn check_outcomes(
        &self,
        found: &BTreeMap<ChunkKey, u64>,
    ) -> Result<BTreeMap<ChannelKey, Option<engine_store::Outcome>>, Trouble> {
        let ledger = self.shared.borrow();
        let mut outcomes = BTreeMap::new();
        for key in ledger.model.channels() {
            let (slot, session, channel) = key;
            let seqs = ledger.model.requests_of(&key).into_iter();
            let mut newest =
                seqs.map(|seq| self.store.outcome(slot, Tag { session, channel, seq }));
            let outcome = newest.find_map(|outcome| outcome);
            let allowed = ledger.model.allowed_outcomes(&key, found);
            if !allowed.contains(&outcome) {
                let what = format!("{slot} {session} {channel}: {outcome:?}, allowed {allowed:?}");
                return broken(OUTCOMES, what);
            }
            outcomes.insert(key, outcome);
        }
        Ok(outcomes)
    }

    fn check_tables(&self) -> Result<(), Trouble> {
        let ledger = &mut *self.shared.borrow_mut();
        for (slot, target) in &mut ledger.model.targets {
            let found = self.store.target(*slot);
            if let Err(why) = target.found(&found) {
                return broken(TABLES, format!("{slot}: {why}"));
            }
        }
        let sessions: Vec<SessionId> =
            ledger.sessions.live.iter().chain(&ledger.sessions.fenced).copied().collect();
        for session in sessions {
            let fenced = self.store.is_fenced(session);
            let known = ledger.model.is_fenced(session);
            if known.is_some_and(|known| known != fenced) {
                return broken(TABLES, format!("{session}: fenced {fenced}, expected {known:?}"));
            }
            ledger.model.found_fence(session, fenced);
        }
        ledger.model.forget_open_fences();
        let model = &ledger.model;
        let (fenced, live): (Vec<SessionId>, _) =
            ledger.sessions.live.iter().partition(|s| model.is_fenced(**s) == Some(true));
        ledger.sessions.live = live;
        ledger.sessions.fenced.extend(fenced);
        Ok(())
    }
}

/// Why the chunk is not in this state.
fn differs<E: Env>(
    state: &State,
    is: &ChunkState,
    committed: Option<&Whole<E>>,
    pending: Option<&Whole<E>>,
) -> Option<String> {
    let right = state.committed.as_ref().map(|version| (version.number, version.len()));
    if is.committed != right {
        return Some(format!("committed {right:?}"));
    }
    let right = state
        .pending
        .as_ref()
        .map(|version| (version.number, version.body.as_ref().map(|body| body.len())));
    if is.pending != right {
        return Some(format!("pending {right:?}"));
    }
    let bytes = |version: &Version, found: Option<&Whole<E>>| {
        whole_difference::<E>(version.body.as_ref()?, found?)
    };
    let committed = state.committed.as_ref().and_then(|version| bytes(version, committed));
    let pending = state.pending.as_ref().and_then(|version| bytes(version, pending));
    match (committed, pending) {
        (None, None) => None,
        (Some(at), _) => Some(format!("the committed bytes differ from byte {at} on")),
        (None, Some(at)) => Some(format!("the pending bytes differ from byte {at} on")),
    }
}
