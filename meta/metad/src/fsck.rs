//! Check of the whole file system: metadata against itself, and against the chunks of all chains.
//!
//! ```text
//!   INOD ──> all other keys ──> INOD again ──> judge ──> each suspect: one transaction
//!   (pages of snapshots: the census)             │          well · wrong · mended · busy
//!   chains: pages of chunks ──> inode of each ───┘          again, while anything was mended
//! ```
//! It runs while the system is used. The pages of a census are of different moments, so what does
//! not fit is only a suspect: it is looked at once more in a transaction of its own, which sees
//! one moment and repairs it, if that is wanted, or nothing. What a service did meanwhile is
//! therefore no finding, and a repair never lands on what somebody has changed.
//!
//! Owner: one task. Memory: `census`. Time: three passes over inodes and one over the rest, at the
//! speed of range reads, once more for each round in which something was mended.
//!
//! Invariants
//!   E490  what is reported was wrong at one moment, in one transaction, or was so throughout a
//!         pass (E491)
//!   E491  whoever makes, moves or takes away a name raises `change` of its inode, or its links;
//!         who adds to the sums of a directory raises `change` of its side key: an inode that is
//!         the same before and behind a pass over all names has the names that were seen
//!   E492  a repair reads in conflict mode what it is about; it is done whole or not at all, and
//!         once more it finds nothing to do
//!   E493  an inode that is gone never comes back, and its chunks go before it (E451): chunks that
//!         are there after it was seen to be gone are nobody's. Ids that were handed out and not
//!         used have none: who may write was told so by the transaction that made the inode
//!   E494  a file is judged by its length only if it is the same before and behind the question,
//!         nobody writes or keeps it, no cut of it is unfinished, and its length is exact
//!
//! What it cannot know: which chunks a file should have, as holes are legal. A file is reported to
//! miss chunks only if it took room when its chains were last asked, did not change since, and has
//! no chunk at all now. Contents are the scrubber's. Names that were lost with an entry are lost.

use core::time::Duration;
use std::collections::BTreeSet;

use engine_runtime::Env;
use engine_types::{ChainId, InodeId, SessionId};
use meta_kv::{KeyRange, Kv, RangeRead, ReadMode, Transaction};
use meta_schema::{
    DirectoryData, Dirent, Errno, FileType, Gid, INODE_ROOT, Inode, InodeKind, Key, Mode,
    Timestamp, Uid, key,
};

use crate::call::CallError;
use crate::chunks::{Chunks, ChunksError};
use crate::files::Files;
use crate::halt::refused;
use crate::ids::{Ids, IdsError};
use crate::view::prefix;

pub use cluster::{Cluster, ClusterError, fsck_cluster};
pub use finding::Finding;

mod census;
mod chunks;
mod cluster;
mod finding;
mod mend;
#[cfg(test)]
mod tests;

use census::{Census, Suspect};
use mend::{Mend, Verdict};

/// Rounds of a check that repairs: damage hides damage, and each round shows what the one before
/// uncovered. A tree of lost directories takes one for each kind of finding, not for each level.
const ROUNDS_MAX: u32 = 12;
/// Rounds for inodes that change during each pass.
const BUSY_ROUNDS_MAX: u32 = 3;
/// Findings of one report: 10 MB. Who has more repairs and looks again.
pub const FINDINGS_MAX: usize = 100_000;
/// Name of the directory, in the root, for what has lost its name.
pub const LOST_FOUND: &[u8] = b"lost+found";

/// What a check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsckSettings {
    /// Repair what is found.
    pub repair: bool,
    /// Compare with the chunks of all chains, too.
    pub chunks: bool,
    /// How long a session that is over may take to be ended by a service, before its traces are
    /// a finding: services look for such sessions every few seconds.
    pub grace: Duration,
}

impl Default for FsckSettings {
    fn default() -> Self {
        Self { repair: false, chunks: true, grace: Duration::from_secs(30) }
    }
}

/// What became of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// It was not to be repaired.
    Reported,
    /// It is repaired.
    Repaired,
    /// It cannot be repaired, or was not; why.
    Left(String),
}

/// One finding, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What is, or was, wrong.
    pub finding: Finding,
    /// What became of it.
    pub repair: Repair,
}

/// What a check has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsckReport {
    /// What was wrong, in the order in which it was found.
    pub findings: Vec<Found>,
    /// Findings beyond [`FINDINGS_MAX`], which were not looked at.
    pub more: u64,
    /// Inodes.
    pub inodes: u64,
    /// Keys.
    pub keys: u64,
    /// Chunks.
    pub chunks: u64,
    /// Inodes that did not fit and changed in each pass: not judged by their names.
    pub busy: u64,
    /// Chains that did not answer: nothing is known of their chunks.
    pub unasked: Vec<(ChainId, String)>,
    /// Sessions of which managers did not say whether they are over.
    pub unknown_sessions: u64,
    /// Times that everything was looked at.
    pub rounds: u32,
}

impl FsckReport {
    /// Findings that are still there.
    pub fn left(&self) -> u64 {
        let left = self.findings.iter().filter(|found| found.repair != Repair::Repaired);
        left.count() as u64 + self.more
    }

    /// Whether everything could be looked at.
    pub fn is_whole(&self) -> bool {
        self.unasked.is_empty() && self.unknown_sessions == 0 && self.busy == 0
    }
}

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it is at.
    pub stage: &'static str,
    /// Things it has looked at in this stage: keys, chunks or suspects.
    pub done: u64,
    /// Which round it is, from 1.
    pub round: u32,
}

/// Why a check ended early. What was repaired before is repaired.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FsckError {
    /// The store does not answer.
    #[error("{0}")]
    Store(#[from] CallError),
    /// No number for the inode of lost+found.
    #[error("{0}")]
    Ids(#[from] IdsError),
}

/// A check of one file system.
struct Fsck<E: Env, K: Kv, C: Chunks, P> {
    files: Files<E, K, C>,
    ids: Ids<E, K>,
    settings: FsckSettings,
    progress: P,
    report: FsckReport,
    seen: BTreeSet<Finding>,
}

/// Checks the file system of `files`, and repairs it if that is set; `progress` is told now and
/// then.
///
/// # Errors
/// [`FsckError`].
pub async fn fsck<E: Env, K: Kv, C: Chunks>(
    files: &Files<E, K, C>,
    settings: FsckSettings,
    progress: impl FnMut(Progress),
) -> Result<FsckReport, FsckError> {
    let ids = Ids::new(files.env(), files.store().kv());
    let (report, seen) = (FsckReport::default(), BTreeSet::new());
    let mut fsck = Fsck { files: files.clone(), ids, settings, progress, report, seen };
    let mut busy: Option<BTreeSet<InodeId>> = None;
    loop {
        fsck.report.rounds += 1;
        let round = fsck.round().await?;
        let still = match busy {
            Some(before) => round.busy.intersection(&before).copied().collect(),
            None => round.busy,
        };
        fsck.report.busy = still.len() as u64;
        let again = match (round.mended, still.is_empty()) {
            (true, _) => fsck.report.rounds < ROUNDS_MAX,
            (false, false) => fsck.report.rounds < BUSY_ROUNDS_MAX,
            (false, true) => false,
        };
        if !again {
            return Ok(fsck.report);
        }
        busy = (!round.mended).then_some(still);
    }
}

/// What a round came to.
struct Round {
    mended: bool,
    busy: BTreeSet<InodeId>,
}

impl<E: Env, K: Kv, C: Chunks, P: FnMut(Progress)> Fsck<E, K, C, P> {
    fn tell(&mut self, stage: &'static str, done: u64) {
        (self.progress)(Progress { stage, done, round: self.report.rounds });
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_wall(self.files.env().wall())
    }

    async fn round(&mut self) -> Result<Round, FsckError> {
        let mut census = Census::new(self.files.store().superblock().hash_key);
        self.census(&mut census).await?;
        let judged = census.judge();
        let (mut mended, mut busy) = (false, judged.busy);
        let count = judged.suspects.len() as u64;
        for (number, suspect) in judged.suspects.into_iter().enumerate() {
            if number.is_multiple_of(TELL_EVERY) {
                self.tell("suspects", count - number as u64);
            }
            match self.look(&suspect).await? {
                Verdict::Mended => mended = true,
                Verdict::Busy => busy.extend(suspect.guard.map(|guard| guard.ino)),
                Verdict::Well | Verdict::Wrong => {}
            }
        }
        mended |= self.sessions(&census).await?;
        if self.settings.chunks {
            mended |= self.all_chunks(&mut census).await?;
        }
        self.report.inodes = census.inodes();
        Ok(Round { mended, busy })
    }

    /// Reads all keys: inodes, everything else, inodes again (E491).
    async fn census(&mut self, census: &mut Census) -> Result<(), FsckError> {
        let inodes = prefix(b"INOD");
        let managers = prefix(MANAGERS);
        let all = KeyRange::all();
        let mut keys = 0;
        let range = inodes.clone();
        keys += self.pass("inodes", range, |key, value| census.before(key, value)).await?;
        // In the order of keys, and without what belongs to managers.
        let others = [
            KeyRange::new(all.begin, inodes.begin.clone()),
            KeyRange::new(inodes.end.clone(), managers.begin),
            KeyRange::new(managers.end, all.end),
        ];
        for range in others {
            keys += self.pass("names", range, |key, value| census.saw(key, value)).await?;
        }
        self.pass("inodes again", inodes, |key, value| census.behind(key, value)).await?;
        self.report.keys = keys;
        Ok(())
    }

    async fn pass(
        &mut self,
        stage: &'static str,
        range: KeyRange,
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Result<u64, FsckError> {
        let mut read = RangeRead::new(range);
        let mut keys = 0;
        loop {
            self.tell(stage, keys);
            let page = self.files.transact(async |_, transaction: &K::Transaction| {
                Ok(transaction.range(read.clone(), ReadMode::Snapshot).await?)
            });
            let page = page.await?;
            page.entries.iter().for_each(|(key, value)| each(key, value));
            keys += page.entries.len() as u64;
            match page.entries.last().filter(|_| page.more) {
                Some((last, _)) => read = read.behind(last),
                None => return Ok(keys),
            }
        }
    }

    /// Looks at one suspect, and reports it if it is so.
    async fn look(&mut self, suspect: &Suspect) -> Result<Verdict, FsckError> {
        if self.seen.contains(&suspect.finding) && !self.settings.repair {
            return Ok(Verdict::Well);
        }
        if FINDINGS_MAX <= self.report.findings.len() {
            self.report.more += 1;
            return Ok(Verdict::Well);
        }
        let repair = self.settings.repair && suspect.finding.is_mendable();
        let needs_place =
            matches!(suspect.finding, Finding::Nameless { .. } | Finding::Loop { .. });
        let lost_found = match repair && needs_place {
            true => Some(self.lost_found().await?),
            false => None,
        };
        let now = self.now();
        let looked = self.files.transact(async |view, transaction: &K::Transaction| {
            Mend { view, transaction, now, repair, lost_found }.look(suspect).await
        });
        let verdict = match looked.await {
            Ok(verdict) => verdict,
            Err(CallError::Halted(why)) => {
                self.found(suspect.finding.clone(), Repair::Left(why.to_string()));
                return Ok(Verdict::Wrong);
            }
            Err(error) => return Err(error.into()),
        };
        match verdict {
            Verdict::Wrong => self.found(suspect.finding.clone(), self.unrepaired()),
            Verdict::Mended => self.found(suspect.finding.clone(), Repair::Repaired),
            Verdict::Well | Verdict::Busy => {}
        }
        Ok(verdict)
    }

    fn unrepaired(&self) -> Repair {
        match self.settings.repair {
            true => Repair::Left("there is no repair".to_owned()),
            false => Repair::Reported,
        }
    }

    /// Adds to the report; what was found before and is left is there already.
    fn found(&mut self, finding: Finding, repair: Repair) {
        if self.seen.insert(finding.clone()) || repair == Repair::Repaired {
            tracing::warn!(%finding, ?repair, "fsck");
            self.report.findings.push(Found { finding, repair });
        }
    }

    /// The directory for what has no name; it is made when it is needed.
    async fn lost_found(&mut self) -> Result<InodeId, FsckError> {
        let fresh = self.ids.take().await?;
        let now = self.now();
        let made = self.files.transact(async |view, _| {
            let root = view.known(INODE_ROOT, ReadMode::Conflict).await?;
            let slots = view.slots(INODE_ROOT, LOST_FOUND, ReadMode::Conflict).await?;
            match (slots.found, slots.free) {
                (Some((_, entry)), _) if entry.kind == FileType::Directory => Ok(entry.ino),
                (None, Some(slot)) => {
                    let kind = InodeKind::Directory(DirectoryData::default());
                    let inode = Inode::new(LOST_FOUND_MODE, Uid::ROOT, Gid::ROOT, now, kind);
                    let (kind, name) = (FileType::Directory, LOST_FOUND.to_vec());
                    view.put_entry(INODE_ROOT, slot, &Dirent { ino: fresh, kind, name })?;
                    view.put_inode(fresh, &inode)?;
                    view.put_parent(fresh, INODE_ROOT)?;
                    view.touch(&root, now, 1)?;
                    Ok(fresh)
                }
                _ => Err(refused(Errno::EEXIST, "/lost+found is taken by something else")),
            }
        });
        Ok(made.await?)
    }
}

/// Mode of lost+found, as that of mke2fs: what is in it may be anybody's secret.
const LOST_FOUND_MODE: Mode = Mode::new(0o700);
/// Letters in front of the keys of managers, which keep theirs in the same store.
const MANAGERS: &[u8] = b"MG";
/// Suspects between two words of progress.
const TELL_EVERY: usize = 64;

/// Sessions that are over.
impl<E: Env, K: Kv, C: Chunks, P: FnMut(Progress)> Fsck<E, K, C, P> {
    /// Whether anything was mended.
    async fn sessions(&mut self, census: &Census) -> Result<bool, FsckError> {
        let mut over = Vec::new();
        self.report.unknown_sessions = 0;
        for &session in &census.live {
            match self.is_over(session).await? {
                Ok(true) => over.push(session),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%session, %error, "whether it is over is not known");
                    self.report.unknown_sessions += 1;
                }
            }
        }
        if over.is_empty() {
            return Ok(false);
        }
        // A service may be at it.
        self.tell("sessions", over.len() as u64);
        let env = self.files.env().clone();
        env.sleep_until(env.now() + self.settings.grace).await;
        let mut mended = false;
        for session in over {
            if !self.has_traces(session).await? {
                continue;
            }
            let finding = Finding::EndedSession { session };
            if !self.settings.repair {
                self.found(finding, Repair::Reported);
                continue;
            }
            match self.files.prune(session, env.now() + CALL_TIME).await {
                Ok(()) => {
                    self.found(finding, Repair::Repaired);
                    mended = true;
                }
                Err(error) => self.found(finding, Repair::Left(error.to_string())),
            }
        }
        Ok(mended)
    }

    async fn is_over(&self, session: SessionId) -> Result<Result<bool, ChunksError>, FsckError> {
        let fenced = self.files.transact(async |view, _| {
            crate::op::prune::is_fenced(view, session, ReadMode::Snapshot).await
        });
        if fenced.await? {
            return Ok(Ok(true));
        }
        let by = self.files.env().now() + CALL_TIME;
        Ok(self.files.chunks().is_over(session, by).await)
    }

    async fn has_traces(&self, session: SessionId) -> Result<bool, FsckError> {
        let ranges = [
            key::session_inodes(session),
            key::session_locks(session),
            key::lock_waits(session),
            key::requests(session),
        ];
        let traces = self.files.transact(async |view, _| {
            for range in ranges {
                if !view.entries(prefix(&range), 1, ReadMode::Snapshot).await?.is_empty() {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        Ok(traces.await?)
    }
}

/// Time for one question to managers or chains.
const CALL_TIME: Duration = Duration::from_secs(30);
