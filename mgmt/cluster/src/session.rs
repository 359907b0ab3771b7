//! Client sessions: who may write, and when nothing of a revoked one can arrive any more (L6).
//!
//! Everything that a client owns hangs on its session: locks, open files, dedup records, the writes
//! that it has on the way. A session ends in two steps. **Revoking** puts it into the routing info
//! of version `R`; stores that installed `R` refuse it. Only when it is **fenced** may its locks be
//! given away, its dedup records be dropped and its chunks be collected: until then a store that
//! has not heard of it may execute a write that was sent long ago.
//!
//! A session is fenced when, for every storage node, either
//!   - the node reported that it installed `R` *and* that no admitted write of the sessions revoked
//!     up to `R` is left in it (`drained >= R`, one number for all of them), or
//!   - its lease has run out by the manager's clock, so it can neither admit nor commit (R8).
//!
//! The second case alone is not enough: a node that was cut off or frozen comes back, is granted a
//! lease for the same chain version, and goes on with a write that it admitted before. So the
//! highest `R` that counts as fenced is written to the KV first (`fenced_to`), and **no lease is
//! granted to a node that has not drained `fenced_to`** (E294). Nodes that were there when it was
//! fenced have drained it; the rule stops only those that were not. It needs no memory of who was
//! passed over, so it survives a takeover. A standby that grants leases keeps the same rule in its
//! transaction, and the one that raises `fenced_to` re-reads what standbys granted.
//!
//! Ids ascend. All ids below the lowest live one are revoked or closed and are one number, the
//! floor; revoked ids above are listed one by one until the floor passes them. Closing is revoking:
//! the client has nothing left to lose, and there is one mechanism instead of two.
//!
//! Decisions come out as a [`SessionChange`], rows for one KV transaction; nothing has happened
//! until `committed`. One change is under way at a time. When its result is unknown the manager
//! renews its lease, which the transaction conflicts with (`lease::Holder::guard`), and then loads
//! everything anew, as after a takeover.
//!
//! **A raised timeline** (R20). A KV that came back from a backup does not know the sessions that
//! were opened since, and takes some for live that have ended; ids and routing versions would be
//! used again. So when the timeline is raised one change ends every session below an id that is far
//! above what the lost history can have used, and the next one is that id. Until it is committed
//! none is opened, and what nodes say that they drained in another timeline counts as nothing.
//!
//! Invariants
//!   E291  ids ascend: floor <= every live id < next; nothing below the floor is live
//!   E292  rows never exceed `SESSIONS_MAX`, so revoking always has room
//!   E293  nothing of a fenced session is admitted or committed anywhere
//!   E294  no lease is granted to a node that has not drained `fenced_to`
//!   E295  one change is planned at a time, and ends as committed or failed
//!
//! Crash: rows and summary are in the KV. Who was heard last is memory: after a takeover every
//! session is taken for just extended, every node's lease for just granted.

mod fence;
mod record;

pub use fence::{FenceError, Fences, Waiting};
pub use record::{
    Client, NAME_BYTES_MAX, RevokeReason, SessionRecord, SessionState, SessionSummary,
};

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Bound;
use core::time::Duration;

use engine_types::{Instant, RoutingInfo, RoutingVersion, SessionId, StoreId, Timeline, reached};

use crate::delta::Revoked;

/// Silence after which a client counts as dead. Others wait that long for its locks. A client
/// behind a dead primary is out of touch for 13 s, behind a KV that restarts too for 20 s: three
/// times that keeps the sessions of clients whose only fault was a bad minute.
pub const SESSION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// Shortest: one takeover with the defaults must not cost a session.
pub const SESSION_TIMEOUT_MIN: Duration = Duration::from_secs(20);
/// Longest: a dead client's locks hold others up for a day.
pub const SESSION_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
/// A client extends its session this many times in a timeout, so that a few may be lost.
pub const EXTENDS_PER_TIMEOUT: u32 = 6;
/// Live and revoked sessions that are kept one by one: six for each of 10,000 clients. Stores hold
/// as many revoked ids. Only a very old live session lets revoked ones pile up above it.
pub const SESSIONS_MAX: usize = 1 << 16;
/// Rows of one change: 1,000 of 300 bytes are far below the 10 MB of a transaction.
pub const SESSION_ROWS_PER_CHANGE_MAX: usize = 1000;
/// By how much ids are lifted with each timeline: no cluster opens that many sessions, so each one
/// has ids of its own, also if an older backup is restored later; there are as many timelines.
pub const SESSION_ID_LIFT: u64 = 1 << 32;

/// A session command is refused; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Never opened.
    #[error("{session} was never opened, the next one is {next}")]
    Unknown {
        /// The session.
        session: SessionId,
        /// The lowest id that is not used.
        next: SessionId,
    },
    /// Revoked, closed or expired: the client opens another one.
    #[error("{session} is revoked")]
    Revoked {
        /// The session.
        session: SessionId,
    },
    /// A client that was replaced by a later start of itself.
    #[error("client {client}: epoch {found} is over, {session} is of epoch {live}")]
    StaleEpoch {
        /// The client.
        client: StoreId,
        /// Its epoch.
        found: u32,
        /// The live session.
        session: SessionId,
        /// The epoch of that.
        live: u32,
    },
    /// No room: the oldest live session holds up the floor.
    #[error("{live} live and {revoked} revoked sessions, at most {limit}; oldest live: {oldest:?}")]
    TooMany {
        /// Live sessions.
        live: usize,
        /// Revoked ones above the floor or not fenced.
        revoked: usize,
        /// The limit of both.
        limit: usize,
        /// Revoking it lets the floor rise.
        oldest: Option<SessionId>,
    },
    /// The timeline was raised and the sessions of the former one are not ended yet: ask again.
    #[error("sessions are of {found}, the cluster is in {expected}")]
    FormerTimeline {
        /// Of the sessions.
        found: Timeline,
        /// Of the cluster.
        expected: Timeline,
    },
    /// A change is under way (E295): ask again when it has ended.
    #[error("another change of sessions is under way")]
    Busy,
    /// Stores may have drained that version, so a revocation would be missed (E293): ask again with
    /// one that is above the published and the fenced version.
    #[error("a revocation in {found}, but {fenced} is fenced already")]
    StaleVersion {
        /// Asked for.
        found: RoutingVersion,
        /// Fenced.
        fenced: RoutingVersion,
    },
    /// Too many sessions in one command.
    #[error("{found} sessions in one change, at most {limit}")]
    TooManyAtOnce {
        /// Asked for.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A name that is too long.
    #[error("{field} of the client has {found} bytes, at most {limit}")]
    NameTooLong {
        /// Which name.
        field: &'static str,
        /// Its bytes.
        found: usize,
        /// The limit.
        limit: usize,
    },
}

/// Rows that do not belong together were loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionLoadError {
    /// A row of an id that the summary says is not given out.
    #[error("{session} has a row, but the next one is {next}")]
    BeyondNext {
        /// The row's session.
        session: SessionId,
        /// The summary's next one.
        next: SessionId,
    },
    /// A live session below the floor.
    #[error("{session} is live below the floor {floor}")]
    LiveBelowFloor {
        /// The row's session.
        session: SessionId,
        /// The summary's floor.
        floor: SessionId,
    },
    /// The floor is above what was given out.
    #[error("floor {floor} is above the next session {next}")]
    Floor {
        /// The summary's floor.
        floor: SessionId,
        /// The summary's next session.
        next: SessionId,
    },
    /// Two live sessions of one client.
    #[error("client {client} has two live sessions, {first} and {second}")]
    TwoLive {
        /// The client.
        client: StoreId,
        /// One.
        first: SessionId,
        /// The other.
        second: SessionId,
    },
    /// Sessions of a later timeline than the cluster's.
    #[error("sessions are of {found}, the cluster is in {expected}")]
    Timeline {
        /// The summary's.
        found: Timeline,
        /// The cluster's.
        expected: Timeline,
    },
    /// More rows than there can be.
    #[error("{found} sessions, at most {limit}")]
    TooMany {
        /// Rows.
        found: usize,
        /// The limit.
        limit: usize,
    },
}

/// What one KV transaction writes. The transaction also guards the primary's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionChange {
    /// Rows to write.
    pub put: Vec<(SessionId, SessionRecord)>,
    /// Rows to delete.
    pub remove: Vec<SessionId>,
    /// The singleton to write.
    pub summary: SessionSummary,
    /// Whether routing info changes: the change is committed with the version that its rows name.
    pub revokes: bool,
}

/// The answer to a client that wants a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It has one: the answer to its first request was lost.
    Existing(SessionId),
    /// This one, once the change is committed.
    New(SessionId, SessionChange),
}

/// All sessions, in the memory of the primary.
#[derive(Clone, Debug)]
pub struct Sessions {
    rows: BTreeMap<SessionId, SessionRecord>,
    /// Live sessions by client.
    clients: BTreeMap<StoreId, SessionId>,
    /// Live sessions, and when each was heard last.
    heard: BTreeMap<SessionId, Instant>,
    /// The same, the longest silence first.
    silent: BTreeSet<(Instant, SessionId)>,
    /// Revoked sessions that are not fenced.
    unfenced: BTreeSet<(RoutingVersion, SessionId)>,
    summary: SessionSummary,
    /// The cluster's; `summary` is of an earlier one until it is lifted.
    timeline: Timeline,
    timeout: Duration,
    planned: bool,
    fences: Fences,
}

impl Sessions {
    /// What the KV holds, after a takeover or in a new cluster (then `summary` is a new one and
    /// there are no rows). `timeline` is the cluster's. `leases_until` is when all leases of
    /// predecessors are over (L3).
    ///
    /// # Errors
    /// When rows and summary do not belong together.
    pub fn load(
        summary: SessionSummary,
        rows: impl IntoIterator<Item = (SessionId, SessionRecord)>,
        timeline: Timeline,
        timeout: Duration,
        now: Instant,
        leases_until: Instant,
    ) -> Result<Self, SessionLoadError> {
        let SessionSummary { next, floor, fenced_to, .. } = summary;
        if timeline < summary.timeline {
            let (found, expected) = (summary.timeline, timeline);
            return Err(SessionLoadError::Timeline { found, expected });
        }
        if next < floor {
            return Err(SessionLoadError::Floor { floor, next });
        }
        let mut fences = Fences::new(fenced_to, leases_until);
        fences.raise(timeline);
        let mut sessions = Self {
            rows: BTreeMap::new(),
            clients: BTreeMap::new(),
            heard: BTreeMap::new(),
            silent: BTreeSet::new(),
            unfenced: BTreeSet::new(),
            summary,
            timeline,
            timeout,
            planned: false,
            fences,
        };
        sessions.await_lifted();
        for (session, mut record) in rows {
            if next <= session {
                return Err(SessionLoadError::BeyondNext { session, next });
            }
            summary.end_lifted(session, &mut record);
            if record.is_live() {
                if session < floor {
                    return Err(SessionLoadError::LiveBelowFloor { session, floor });
                }
                let client = record.client.uuid;
                if let Some(&first) = sessions.clients.get(&client) {
                    return Err(SessionLoadError::TwoLive { client, first, second: session });
                }
            }
            sessions.put(session, record, now);
        }
        let (found, limit) = (sessions.rows.len(), SESSIONS_MAX);
        if limit < found {
            return Err(SessionLoadError::TooMany { found, limit });
        }
        Ok(sessions)
    }

    /// The storage nodes, their leases and what they have drained.
    pub const fn fences(&self) -> &Fences {
        &self.fences
    }

    /// The same, to report heartbeats and leases to.
    pub const fn fences_mut(&mut self) -> &mut Fences {
        &mut self.fences
    }

    /// Another timeout from now on.
    pub const fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// A client wants a session. `at` is the routing version that a change would be committed with,
    /// `opened` the one in force. An earlier session of the same client is revoked with it.
    ///
    /// # Errors
    /// Before a raised timeline is followed, when a later start of the client has one, when names
    /// are too long, when there is no room,
    /// while another change is under way, or when `at` is too low to end the earlier session in.
    pub fn plan_open(
        &mut self,
        client: Client,
        opened: RoutingVersion,
        at: RoutingVersion,
    ) -> Result<Opening, SessionError> {
        client.check()?;
        let (found, expected) = (self.summary.timeline, self.timeline);
        if found < expected {
            return Err(SessionError::FormerTimeline { found, expected });
        }
        let before = self.clients.get(&client.uuid).copied();
        if let Some(session) = before {
            let live = self.rows[&session].client.epoch;
            let found = client.epoch;
            if found < live {
                let client = client.uuid;
                return Err(SessionError::StaleEpoch { client, found, session, live });
            }
            if found == live {
                reached!("L6: a session is asked for twice");
                return Ok(Opening::Existing(session));
            }
        }
        self.check_free()?;
        let (live, limit) = (self.heard.len(), SESSIONS_MAX);
        if limit <= self.rows.len() {
            let revoked = self.rows.len() - live;
            let oldest = self.heard.keys().next().copied();
            return Err(SessionError::TooMany { live, revoked, limit, oldest });
        }
        let session = self.summary.next;
        let mut change = self.change();
        change.summary.next = session.next().expect("E291: 2^64 sessions are never opened");
        let record = SessionRecord { client, opened, state: SessionState::Live };
        if let Some(before) = before {
            self.revoke_in(&mut change, &[before], RevokeReason::Superseded, at)?;
        }
        change.put.push((session, record));
        self.plan(&change);
        Ok(Opening::New(session, change))
    }

    /// Ends live sessions; those that are revoked already are left out. `at` is the routing version
    /// that the change is committed with.
    ///
    /// # Errors
    /// When one was never opened, when there are too many at once, while another change is under
    /// way, or when `at` is too low.
    pub fn plan_revoke(
        &mut self,
        sessions: &[SessionId],
        reason: RevokeReason,
        at: RoutingVersion,
    ) -> Result<Option<SessionChange>, SessionError> {
        let (found, limit) = (sessions.len(), SESSION_ROWS_PER_CHANGE_MAX);
        if limit < found {
            return Err(SessionError::TooManyAtOnce { found, limit });
        }
        let next = self.summary.next;
        if let Some(&session) = sessions.iter().find(|&&session| next <= session) {
            return Err(SessionError::Unknown { session, next });
        }
        let live: BTreeSet<SessionId> =
            sessions.iter().copied().filter(|id| self.heard.contains_key(id)).collect();
        if live.is_empty() {
            return Ok(None);
        }
        self.check_free()?;
        let live: Vec<SessionId> = live.into_iter().collect();
        let mut change = self.change();
        self.revoke_in(&mut change, &live, reason, at)?;
        self.plan(&change);
        Ok(Some(change))
    }

    /// Ends the sessions that were silent for the timeout, the longest silent first; the next call
    /// finds those that had no room in this one. Costs nothing while all are heard of.
    ///
    /// # Errors
    /// While another change is under way, or when `at` is too low; only if there is something to
    /// do.
    pub fn plan_expire(
        &mut self,
        now: Instant,
        at: RoutingVersion,
    ) -> Result<Option<SessionChange>, SessionError> {
        let silent: Vec<SessionId> = self
            .silent
            .iter()
            .take_while(|&&(heard, _)| heard + self.timeout <= now)
            .map(|&(_, session)| session)
            .take(SESSION_ROWS_PER_CHANGE_MAX)
            .collect();
        self.plan_revoke(&silent, RevokeReason::Expired, at)
    }

    /// The cluster's timeline was raised: [`plan_lift`](Self::plan_lift) is to be committed next.
    /// Lower ones and the same change nothing.
    pub fn raise_timeline(&mut self, timeline: Timeline) {
        if self.timeline < timeline {
            self.timeline = timeline;
            self.fences.raise(timeline);
        }
    }

    /// Ends all sessions of former timelines and lifts the ids, if the timeline was raised since
    /// that was done last; in one row, however many they are. `at` as for
    /// [`plan_revoke`](Self::plan_revoke).
    ///
    /// # Errors
    /// While another change is under way, or when `at` is too low.
    pub fn plan_lift(&mut self, at: RoutingVersion) -> Result<Option<SessionChange>, SessionError> {
        if self.summary.timeline == self.timeline {
            return Ok(None);
        }
        self.check_free()?;
        self.check_version(at)?;
        let mut change = self.change();
        let timelines = self.timeline.get() - self.summary.timeline.get();
        let lifted = u64::from(timelines) * SESSION_ID_LIFT;
        let lifted = self.summary.next.get().checked_add(lifted);
        let below = SessionId::new(lifted.expect("E291: the ids of a timeline are its own"));
        (change.summary.next, change.summary.floor) = (below, below);
        change.summary.timeline = self.timeline;
        (change.summary.lifted_below, change.summary.lifted_in) = (below, at);
        change.revokes = true;
        self.plan(&change);
        Ok(Some(change))
    }

    /// Declares sessions fenced as far as the nodes allow; nothing when none is. From this call on
    /// nodes that have not drained them get no lease (E294), whatever becomes of the change.
    ///
    /// # Errors
    /// While another change is under way, if there is something to do.
    pub fn plan_fence(&mut self, now: Instant) -> Result<Option<SessionChange>, SessionError> {
        let done = self.fences.done_to(now);
        let drained = self.unfenced.iter().map(|&(at, _)| at).take_while(|&at| at <= done);
        let Some(fenced) = drained.last() else { return Ok(None) };
        self.check_free()?;
        self.fences.require(fenced);
        let mut change = self.change();
        change.summary.fenced_to = fenced;
        self.plan(&change);
        Ok(Some(change))
    }

    /// Deletes rows that say nothing any more: fenced, and below the floor.
    ///
    /// # Errors
    /// While another change is under way, if there is something to do.
    pub fn plan_sweep(&mut self) -> Result<Option<SessionChange>, SessionError> {
        let mut change = self.change();
        change.remove = self
            .rows
            .range(..self.summary.floor)
            .filter(|(_, record)| self.is_fenced(record))
            .map(|(&session, _)| session)
            .take(SESSION_ROWS_PER_CHANGE_MAX)
            .collect();
        if change.remove.is_empty() {
            return Ok(None);
        }
        self.check_free()?;
        self.plan(&change);
        Ok(Some(change))
    }

    /// The change is in the KV.
    pub fn committed(&mut self, change: SessionChange, now: Instant) {
        assert!(self.planned, "E295: a change is planned before it is committed");
        self.planned = false;
        for (session, record) in change.put {
            self.put(session, record, now);
        }
        for session in change.remove {
            self.rows.remove(&session);
        }
        let lifts = self.summary.timeline < change.summary.timeline;
        self.summary = change.summary;
        if lifts {
            reached!("L6: all sessions of a former timeline end");
            let (summary, live) = (self.summary, self.heard.keys().copied());
            for session in live.collect::<Vec<_>>() {
                let mut record = self.rows[&session].clone();
                summary.end_lifted(session, &mut record);
                self.put(session, record, now);
            }
            self.await_lifted();
        }
        let fenced = self.summary.fenced_to;
        while self.unfenced.first().is_some_and(|&(at, _)| at <= fenced) {
            self.unfenced.pop_first();
        }
        self.check();
    }

    /// The change is not in the KV, for certain.
    pub fn failed(&mut self, _: SessionChange) {
        assert!(self.planned, "E295: a change is planned before it fails");
        self.planned = false;
    }

    /// A client was heard. Gives the time until the session expires.
    ///
    /// # Errors
    /// When the session is not live: the client must stop what it does under it.
    pub fn extend(&mut self, session: SessionId, now: Instant) -> Result<Duration, SessionError> {
        match self.heard.get_mut(&session) {
            Some(heard) if *heard < now => {
                self.silent.remove(&(*heard, session));
                self.silent.insert((now, session));
                *heard = now;
                Ok(self.timeout)
            }
            Some(_) => Ok(self.timeout),
            None => Err(self.not_live(session)),
        }
    }

    /// Clients were not listened to for a while that ends at `now`: the manager was away, or its
    /// lease had lapsed. Silence that nobody listened to ends no session, so every live one counts
    /// as heard.
    pub fn resumed(&mut self, now: Instant) {
        for (session, heard) in &mut self.heard {
            if *heard < now {
                self.silent.remove(&(*heard, *session));
                self.silent.insert((now, *session));
                *heard = now;
            }
        }
    }

    fn not_live(&self, session: SessionId) -> SessionError {
        let next = self.summary.next;
        if session < next {
            SessionError::Revoked { session }
        } else {
            SessionError::Unknown { session, next }
        }
    }

    /// Whether nothing of the session can happen any more. Never true for one that is live or was
    /// not opened.
    pub fn fenced(&self, session: SessionId) -> bool {
        match self.rows.get(&session) {
            Some(record) => self.is_fenced(record),
            None if session < self.summary.lifted_below => {
                self.summary.lifted_in <= self.summary.fenced_to
            }
            None => session < self.summary.next, // its row was swept
        }
    }

    /// Sessions without a row ended when the timeline was raised: they are fenced with that version
    /// too.
    fn await_lifted(&mut self) {
        let SessionSummary { fenced_to, lifted_below, lifted_in, .. } = self.summary;
        if fenced_to < lifted_in {
            self.unfenced.insert((lifted_in, lifted_below));
        }
    }

    fn is_fenced(&self, record: &SessionRecord) -> bool {
        match record.state {
            SessionState::Live => false,
            SessionState::Revoked { at, .. } => at <= self.summary.fenced_to,
        }
    }

    /// The nodes that keep a revoked session from being fenced, in order of ids; empty when they
    /// do not, or when it is not revoked.
    pub fn waits_for(&self, session: SessionId, now: Instant) -> Vec<Waiting> {
        match self.rows.get(&session).map(|record| record.state) {
            Some(SessionState::Revoked { at, .. }) if self.summary.fenced_to < at => {
                self.fences.waiting(now, at)
            }
            _ => Vec::new(),
        }
    }

    /// Floor and revoked ids, as `Cluster::publish_revoked` takes them.
    pub fn revoked(&self) -> Revoked {
        let below = self.summary.floor;
        let above = self.rows.range(below..).filter(|(_, record)| !record.is_live());
        Revoked { below, sessions: above.map(|(&session, _)| session).collect() }
    }

    /// Puts them into routing info.
    pub fn publish(&self, routing: &mut RoutingInfo) {
        let Revoked { below, sessions } = self.revoked();
        (routing.revoked_below, routing.revoked) = (below, sessions);
    }

    /// All rows in order of ids, live ones with the silence since they were heard.
    pub fn list(
        &self,
        now: Instant,
    ) -> impl Iterator<Item = (SessionId, &SessionRecord, Option<Duration>)> {
        self.list_after(None, now)
    }

    /// The row of a session, unless it was never opened or was swept.
    pub fn row(&self, session: SessionId) -> Option<&SessionRecord> {
        self.rows.get(&session)
    }

    /// What [`list`](Self::list) gives, from the first session behind `after` on.
    pub fn list_after(
        &self,
        after: Option<SessionId>,
        now: Instant,
    ) -> impl Iterator<Item = (SessionId, &SessionRecord, Option<Duration>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.rows.range((from, Bound::Unbounded)).map(move |(&session, record)| {
            let heard = self.heard.get(&session);
            (session, record, heard.map(|&heard| now.saturating_since(heard)))
        })
    }

    /// The singleton as it is in the KV.
    pub const fn summary(&self) -> SessionSummary {
        self.summary
    }

    /// Sessions that are live.
    pub fn live_count(&self) -> usize {
        self.heard.len()
    }

    const fn check_free(&self) -> Result<(), SessionError> {
        if self.planned { Err(SessionError::Busy) } else { Ok(()) }
    }

    fn check_version(&self, at: RoutingVersion) -> Result<(), SessionError> {
        let fenced = self.summary.fenced_to;
        if at <= fenced {
            return Err(SessionError::StaleVersion { found: at, fenced });
        }
        Ok(())
    }

    fn change(&self) -> SessionChange {
        let (put, remove) = (Vec::new(), Vec::new());
        SessionChange { put, remove, summary: self.summary, revokes: false }
    }

    fn plan(&mut self, change: &SessionChange) {
        assert!(!self.planned, "E295: one change at a time");
        let SessionSummary { next, floor, .. } = change.summary;
        assert!(floor <= next && self.summary.floor <= floor, "E291: the floor rises up to next");
        self.planned = true;
    }

    /// Adds the revocation of live `sessions`, in ascending order, and raises the floor.
    fn revoke_in(
        &self,
        change: &mut SessionChange,
        sessions: &[SessionId],
        reason: RevokeReason,
        at: RoutingVersion,
    ) -> Result<(), SessionError> {
        self.check_version(at)?;
        for &session in sessions {
            let mut record = self.rows[&session].clone();
            record.state = SessionState::Revoked { at, reason };
            change.put.push((session, record));
        }
        let live = self.heard.keys().find(|id| sessions.binary_search(id).is_err());
        // A session that is opened by the same change has the highest id of all.
        change.summary.floor = live.copied().unwrap_or(self.summary.next);
        change.revokes = true;
        Ok(())
    }

    fn put(&mut self, session: SessionId, record: SessionRecord, now: Instant) {
        match record.state {
            SessionState::Live => {
                if let Some(before) = self.heard.insert(session, now) {
                    self.silent.remove(&(before, session));
                }
                self.silent.insert((now, session));
                self.clients.insert(record.client.uuid, session);
            }
            SessionState::Revoked { at, .. } => {
                if let Some(heard) = self.heard.remove(&session) {
                    self.silent.remove(&(heard, session));
                }
                let uuid = record.client.uuid;
                if self.clients.get(&uuid) == Some(&session) {
                    self.clients.remove(&uuid);
                }
                if self.summary.fenced_to < at {
                    self.unfenced.insert((at, session));
                }
            }
        }
        self.rows.insert(session, record);
    }

    fn check(&self) {
        let SessionSummary { next, floor, .. } = self.summary;
        let live = self.heard.keys();
        let (first, last) = (live.clone().next(), live.clone().next_back());
        assert!(first.is_none_or(|&id| floor <= id), "E291: {first:?} is live below {floor}");
        assert!(last.is_none_or(|&id| id < next), "E291: {last:?} is live, next is {next}");
        assert!(self.rows.len() <= SESSIONS_MAX, "E292: {} rows", self.rows.len());
        assert_eq!(self.heard.len(), self.clients.len(), "E291: one live session per client");
        assert_eq!(self.heard.len(), self.silent.len(), "E291: every live session may expire");
    }
}

#[cfg(test)]
mod tests;
