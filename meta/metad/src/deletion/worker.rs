//! The collector: one worker per class goes through the shards that this process has claimed.
//!
//! Which entries are due, what is to be done about each and how long it waits otherwise is decided
//! by [`judge`](super::judge), [`claim`](super::claim) and [`rate`](super::rate); this is the order
//! of reads, removals and transactions around them.

use core::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use engine_runtime::{CancelToken, Env, all, first};
use engine_types::{InodeId, Instant, SessionId};
use meta_kv::{KeyRange, Kv, RangeRead, ReadMode, Transaction};
use meta_schema::codec::Record;
use meta_schema::limits::DELETION_SHARDS;
use meta_schema::{Deletion, DeletionClass, Inode, Key, Shrink, Timestamp, key};

use super::DeletionSettings;
use super::claim::{Claims, Stand};
use super::collect::{self, Item};
use super::judge::{Verdict, wait};
use super::rate::Rate;
use crate::call::CallError;
use crate::chunks::sweep::{Cut, Pace, Place, cut, remove_first};
use crate::chunks::{Chunks, ChunksError};
use crate::driver::jittered;
use crate::driver::turn::Turns;
use crate::files::Files;
use crate::marks;

/// Entries that a worker takes at once: they end in one transaction of some 100 kB.
const PAGE: usize = 64;
/// Shards that a worker sees to at the same time: while one waits for chunks, another one's
/// transaction is under way. Four pages have at most 256 files under way, one request each.
const SHARDS_AT_ONCE: u8 = 4;
/// Large files of a shard whose chunks are removed at the same time.
const LARGE_AT_ONCE: usize = 4;
/// Time for one call to a chain: an entry whose chain answers nothing must not hold the others of
/// its page up for long; it comes again later.
const CALL_TIME: core::time::Duration = core::time::Duration::from_secs(10);
/// Marks and cuts that one round of the sweep looks at.
const SWEEP_PAGE: usize = 64;
/// Pause between rounds of the sweep: what it finds is what others have left behind.
const SWEEP_PAUSE: core::time::Duration = core::time::Duration::from_secs(5);

struct Inner<E, K, C> {
    files: Files<E, K, C>,
    settings: DeletionSettings,
    claims: RefCell<Claims>,
    /// Where this process stands among all services, for an inode.
    rank: Box<dyn Fn(InodeId) -> u32>,
    stop: CancelToken,
}

/// Background removal of one core. Dropping it stops the workers after what they are at.
pub struct Collector<E: Env, K: Kv, C: Chunks>(Rc<Inner<E, K, C>>);

impl<E: Env, K: Kv, C: Chunks> Drop for Collector<E, K, C> {
    fn drop(&mut self) {
        self.0.stop.cancel();
    }
}

impl<E: Env, K: Kv, C: Chunks> Collector<E, K, C> {
    /// Starts the workers of a process that is alone, as far as it knows.
    pub fn start(files: &Files<E, K, C>, settings: DeletionSettings) -> Self {
        Self::ranked(files, settings, |_| 0)
    }

    /// Starts the workers. `rank` is where this process stands among all services for an inode: the
    /// first sees to what somebody has left behind, the others in case that it does not.
    pub fn ranked(
        files: &Files<E, K, C>,
        settings: DeletionSettings,
        rank: impl Fn(InodeId) -> u32 + 'static,
    ) -> Self {
        let claims = RefCell::new(Claims::new(files.chunks().session()));
        let (files, rank) = (files.clone(), Box::new(rank));
        let inner = Rc::new(Inner { files, settings, claims, rank, stop: CancelToken::default() });
        let env = inner.files.env().clone();
        for class in DeletionClass::ALL {
            let rate = Rate::new(inner.settings.per_second(class));
            let worker = Worker { inner: inner.clone(), class, rate: RefCell::new(rate) };
            drop(env.spawn(async move { worker.run().await }));
        }
        let sweeper = inner.clone();
        drop(env.spawn(async move { sweeper.sweep().await }));
        Self(inner)
    }
}

/// Marks and cuts that nobody waits for.
impl<E: Env, K: Kv, C: Chunks> Inner<E, K, C> {
    async fn pause(&self, until: Instant) {
        first(self.stop.cancelled(), self.files.env().sleep_until(until)).await;
    }

    async fn sweep(&self) {
        let env = self.files.env();
        let mut next: [Option<Vec<u8>>; 2] = [None, None];
        let mut turns: [Turns<InodeId>; 2] = Default::default();
        while !self.stop.is_cancelled() {
            for (kind, range) in [marks::shrinks(), marks::length_queries()].into_iter().enumerate()
            {
                let begin = next[kind].take().unwrap_or_else(|| range.begin.clone());
                match self.entries(KeyRange::new(begin, range.end)).await {
                    Ok(entries) => {
                        let last = entries.last().filter(|_| entries.len() == SWEEP_PAGE);
                        next[kind] = last.map(|(key, _)| key.clone());
                        let due = self.due(&mut turns[kind], &entries);
                        all(due.into_iter().map(|ino| self.settle(kind == 0, ino))).await;
                    }
                    Err(error) => tracing::warn!(%error, "what others left is not known"),
                }
            }
            self.pause(env.now() + jittered(SWEEP_PAUSE, env.random())).await;
        }
    }

    /// Files of a page that this process sees to now: its own cuts, which nobody else may finish
    /// while it lives (E448), and what is its turn.
    fn due(&self, turns: &mut Turns<InodeId>, entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<InodeId> {
        let me = self.files.chunks().session();
        let is_own = |key: &[u8], value: &[u8]| {
            let cut = || Shrink::decode(value).is_ok_and(|shrink| shrink.owner == me);
            matches!(Key::parse(key), Ok(Key::Shrink(_))) && cut()
        };
        let found = |(key, value): &(Vec<u8>, Vec<u8>)| Some((inode_of(key)?, is_own(key, value)));
        let found: BTreeMap<InodeId, bool> = entries.iter().filter_map(found).collect();
        let inodes: Vec<InodeId> = found.keys().copied().collect();
        let rank = |ino: InodeId| if found[&ino] { 0 } else { (self.rank)(ino) };
        turns.due_of_page(&inodes, self.files.env().now(), rank)
    }

    async fn entries(&self, range: KeyRange) -> Result<Vec<(Vec<u8>, Vec<u8>)>, CallError> {
        let read = RangeRead::new(range).limit(SWEEP_PAGE);
        self.files
            .transact(async |_, transaction: &K::Transaction| {
                let page = transaction.range(read.clone(), ReadMode::Snapshot).await?;
                Ok(page.entries)
            })
            .await
    }

    async fn settle(&self, is_cut: bool, ino: InodeId) {
        let by = self.files.env().now() + CALL_TIME;
        let said = match is_cut {
            true => self.files.shrinks().settle(ino, by).await.map_err(|e| e.to_string()),
            false => self.files.measures().settle(ino, by).await.map_err(|e| e.to_string()),
        };
        if let Err(why) = said {
            tracing::info!(%ino, why, "comes again later");
        }
    }
}

/// The worker of one class.
struct Worker<E: Env, K: Kv, C: Chunks> {
    inner: Rc<Inner<E, K, C>>,
    class: DeletionClass,
    rate: RefCell<Rate>,
}

/// Removal as fast as the class may.
impl<E: Env, K: Kv, C: Chunks> Pace for Worker<E, K, C> {
    fn by(&self) -> Instant {
        self.env().now() + CALL_TIME
    }

    async fn leave(&self, count: u64) {
        loop {
            let now = self.env().now();
            let ready = self.rate.borrow().ready(now);
            if ready <= now {
                return self.rate.borrow_mut().take(now, count);
            }
            self.env().sleep_until(ready).await;
        }
    }
}

impl<E: Env, K: Kv, C: Chunks> Worker<E, K, C> {
    fn env(&self) -> &E {
        self.inner.files.env()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_wall(self.env().wall())
    }

    async fn run(&self) {
        let start = u8::try_from(self.env().random() % u64::from(DELETION_SHARDS)).unwrap_or(0);
        while !self.inner.stop.is_cancelled() {
            let mut found = false;
            for first in (0..DELETION_SHARDS).step_by(SHARDS_AT_ONCE.into()) {
                let last = DELETION_SHARDS.min(first + SHARDS_AT_ONCE);
                let some = (first..last).map(|step| self.look((start + step) % DELETION_SHARDS));
                found |= all(some).await.contains(&true);
                if self.inner.stop.is_cancelled() {
                    return;
                }
            }
            if !found {
                self.inner.pause(self.env().now() + self.inner.settings.idle).await;
            }
        }
    }

    /// Whether there was anything to do in a shard.
    async fn look(&self, shard: u8) -> bool {
        self.shard(shard).await.unwrap_or_else(|error| {
            tracing::warn!(shard, %error, "removal comes again later");
            false
        })
    }

    /// Does a page of a shard, if it is ours. True if there was anything due.
    async fn shard(&self, shard: u8) -> Result<bool, CallError> {
        if !self.claim(shard).await? {
            return Ok(false);
        }
        let items = self.due(shard).await?;
        if items.is_empty() {
            return Ok(false);
        }
        match self.class {
            DeletionClass::Large => {
                for group in items.chunks(LARGE_AT_ONCE) {
                    self.page(group).await?;
                }
            }
            _ => self.page(&items).await?,
        }
        Ok(true)
    }

    async fn claim(&self, shard: u8) -> Result<bool, CallError> {
        if self.inner.claims.borrow().is_ours(shard, self.env().now()) {
            return Ok(true);
        }
        let key = key::claim(shard);
        let me: SessionId = self.inner.files.chunks().session();
        let stand = self.inner.files.transact(async |_, transaction: &K::Transaction| {
            let raw = transaction.get(&key, ReadMode::Conflict).await?;
            let stored = raw.as_deref().and_then(marks::decode_claim);
            let stand = self.inner.claims.borrow_mut().judge(shard, stored, self.env().now());
            if let Stand::Write(beat) = stand {
                transaction.set(&key, &marks::encode_claim(me, beat))?;
            }
            Ok(stand)
        });
        match stand.await? {
            Stand::Ours => Ok(true),
            Stand::Theirs => Ok(false),
            Stand::Write(beat) => {
                self.inner.claims.borrow_mut().written(shard, beat, self.env().now());
                Ok(true)
            }
        }
    }

    /// The first page of what is due.
    async fn due(&self, shard: u8) -> Result<Vec<Item>, CallError> {
        let class = self.class;
        let delay = u64::try_from(self.inner.settings.delay.as_millis()).unwrap_or(u64::MAX);
        let now_ms = self.now().millis().saturating_sub(delay).saturating_add(1);
        let end = key::deletion(class, shard, now_ms, InodeId::new(0));
        let range = KeyRange::new(key::deletions(class, shard), end);
        let read = RangeRead::new(range).limit(PAGE);
        let page = self.inner.files.transact(async |_, transaction: &K::Transaction| {
            Ok(transaction.range(read.clone(), ReadMode::Snapshot).await?)
        });
        Ok(page.await?.entries.iter().filter_map(|(key, value)| item(key, value)).collect())
    }

    /// What of a page can be done now is done, the rest is put off.
    async fn page(&self, items: &[Item]) -> Result<(), CallError> {
        let looked = items.iter().map(|item| {
            self.inner.files.transact(async |view, _| collect::look(view, item.ino).await)
        });
        let looked = all(looked).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let work = items.iter().zip(looked).map(async |(item, (verdict, inode))| {
            let ready = self.prepare(item, verdict, inode.as_ref()).await;
            (item, verdict, ready)
        });
        let mut ready = Vec::with_capacity(items.len());
        for (item, verdict, outcome) in all(work).await {
            match outcome {
                Ok(true) => ready.push(*item),
                Ok(false) => self.put_off(item, verdict).await?,
                Err(error) => {
                    tracing::info!(ino = %item.ino, error, "a removal comes again later");
                    self.put_off(item, verdict).await?;
                }
            }
        }
        if ready.is_empty() {
            return Ok(());
        }
        self.inner.files.transact(async |view, _| collect::finish(view, &ready).await).await
    }

    /// Removes what has to go before the inode does. False if it cannot now.
    async fn prepare(
        &self,
        item: &Item,
        verdict: Verdict,
        inode: Option<&Inode>,
    ) -> Result<bool, String> {
        let said = |error: ChunksError| error.to_string();
        let place = |inode: Option<&Inode>| {
            let layout = inode.and_then(Inode::file).map(|file| file.layout);
            let layout = layout.ok_or_else(|| "it is no file".to_owned())?;
            Place::of(self.inner.files.chunks(), item.ino, &layout).map_err(said)
        };
        match verdict {
            Verdict::Gone | Verdict::Linked => Ok(true),
            Verdict::Kept => Ok(false),
            Verdict::Cut => {
                let settled = self.inner.files.shrinks().settle(item.ino, self.by()).await;
                settled.map(|()| false).map_err(|error| error.to_string())
            }
            Verdict::Record => {
                self.leave(1).await;
                Ok(true)
            }
            Verdict::Few(count) => {
                let by_chunk = self.class == DeletionClass::Large;
                self.leave(if by_chunk { count.into() } else { 1 }).await;
                let (chunks, place) = (self.inner.files.chunks(), place(inode)?);
                let removed = remove_first(chunks, &place, count, u32::MAX, self.by()).await;
                removed.map(|()| true).map_err(said)
            }
            Verdict::Many(end) => {
                let whole = Cut { length: 0, end: end.unwrap_or(u64::MAX), epoch: u32::MAX };
                let (chunks, place) = (self.inner.files.chunks(), place(inode)?);
                cut(chunks, &place, &whole, self).await.map(|()| true).map_err(said)
            }
            Verdict::Entries => self.entries(item.ino).await.map(|()| true),
        }
    }

    /// Takes all entries out of a directory.
    async fn entries(&self, dir: InodeId) -> Result<(), String> {
        loop {
            self.leave(collect::TREE_PAGE as u64).await;
            let page = self
                .inner
                .files
                .transact(async |view, _| collect::tree_page(view, dir, self.now()).await);
            if page.await.map_err(|error| error.to_string())? < collect::TREE_PAGE {
                return Ok(());
            }
        }
    }

    async fn put_off(&self, item: &Item, verdict: Verdict) -> Result<(), CallError> {
        let wait = match verdict {
            // It is settled, or will be: nothing is to be waited for.
            Verdict::Cut => self.inner.settings.idle,
            _ => wait(&self.inner.settings, verdict, item.entry.attempts),
        };
        let due = self.now().saturating_add(wait).millis();
        self.inner.files.transact(async |view, _| collect::postpone(view, item, due).await).await
    }
}

/// The file that an unfinished cut or a mark is about; what cannot be read is left for fsck.
fn inode_of(key: &[u8]) -> Option<InodeId> {
    match Key::parse(key) {
        Ok(Key::Shrink(ino) | Key::LengthQuery(ino)) => Some(ino),
        _ => None,
    }
}

/// An entry of the queue; one that cannot be read is left for fsck.
fn item(key: &[u8], value: &[u8]) -> Option<Item> {
    match (Key::parse(key), Deletion::decode(value)) {
        (Ok(Key::Deletion { class, shard, due_ms, ino }), Ok(entry)) => {
            Some(Item { class, shard, due_ms, ino, entry })
        }
        (key, entry) => {
            tracing::error!(?key, ?entry, "an entry of the deletion queue: fsck");
            None
        }
    }
}
