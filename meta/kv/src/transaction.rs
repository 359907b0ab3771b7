//! Transactions over any [`Source`]: reads through own writes, limits, deadlines.

use core::cell::RefCell;
use core::future::Future;
use core::time::Duration;

use engine_runtime::{Env, until};
use engine_types::Instant;

use crate::api::{Committed, Kv, Page, RangeRead, ReadMode, Transaction, TransactionOptions};
use crate::buffer::{Buffer, Found};
use crate::error::KvError;
use crate::key::{KeyRange, check_key};
use crate::limits::{PAGE_BYTES_MAX, TRANSACTION_AGE_MAX, TRANSACTION_BYTES_MAX};
use crate::mutation::Mutation;
use crate::source::{Source, View};

/// Entries asked for at least where own writes lie over them.
const OVERLAID_ENTRIES_MIN: usize = 64;

/// A [`Kv`] over a source.
#[derive(Clone)]
pub struct OwnKv<E, S> {
    env: E,
    source: S,
}

impl<E: Env, S: Source> OwnKv<E, S> {
    /// Transactions on `source`, timed by `env`.
    pub fn new(env: E, source: S) -> Self {
        Self { env, source }
    }

    /// What it stands on.
    pub fn source(&self) -> &S {
        &self.source
    }
}

impl<E: Env, S: Source> Kv for OwnKv<E, S> {
    type Transaction = OwnTransaction<E, S>;

    fn begin(&self, options: TransactionOptions) -> Self::Transaction {
        OwnTransaction {
            env: self.env.clone(),
            source: self.source.clone(),
            bytes_max: options.bytes_max.min(TRANSACTION_BYTES_MAX),
            timeout: options.timeout,
            give_up_at: self.env.now() + options.timeout,
            view: RefCell::new(None),
            buffer: RefCell::new(Buffer::default()),
        }
    }

    fn now(&self) -> Instant {
        self.env.now()
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> {
        self.env.sleep_until(at)
    }

    fn random(&self) -> u64 {
        self.env.random()
    }
}

/// The version that reads see, and when it was asked for.
struct Seen<V> {
    view: V,
    asked: Instant,
}

/// One transaction over a source.
pub struct OwnTransaction<E, S: Source> {
    env: E,
    source: S,
    bytes_max: usize,
    timeout: Duration,
    give_up_at: Instant,
    view: RefCell<Option<Seen<S::View>>>,
    buffer: RefCell<Buffer>,
}

impl<E: Env, S: Source> OwnTransaction<E, S> {
    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, KvError>>,
    ) -> Result<T, KvError> {
        let timed = until(&self.env, self.give_up_at, work).await;
        timed.unwrap_or_else(|_| Err(self.timed_out()))
    }

    fn timed_out(&self) -> KvError {
        let limit_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        KvError::TimedOut { limit_ms }
    }

    /// The view of all reads, unless it has become too old (E204).
    async fn view(&self) -> Result<S::View, KvError> {
        if let Some(seen) = &*self.view.borrow() {
            let age = self.env.now().saturating_since(seen.asked);
            return if age <= TRANSACTION_AGE_MAX {
                Ok(seen.view.clone())
            } else {
                Err(KvError::TooOld)
            };
        }
        let asked = self.env.now();
        let view = self.in_time(self.source.view()).await?;
        // Of two first reads at the same time one decides the version.
        let mut shared = self.view.borrow_mut();
        Ok(shared.get_or_insert(Seen { view, asked }).view.clone())
    }

    /// A page of `read`, own writes laid over: as long as its limits allow, however short the pages
    /// of the store are, or become by own clears.
    async fn page(&self, read: &RangeRead) -> Result<Page, KvError> {
        let limit = read.limit.max(1);
        let mut rest = RangeRead { limit, ..read.clone() };
        let mut page = Page::default();
        let mut bytes = 0;
        loop {
            let (covered, stored) = self.piece(&mut rest).await?;
            let more = !rest.range.is_empty();
            for (key, value) in self.buffer.borrow().lay_over(&covered, stored, read.reverse) {
                if page.entries.len() == limit || PAGE_BYTES_MAX <= bytes {
                    page.more = true;
                    return Ok(page);
                }
                bytes += key.len() + value.len();
                page.entries.push((key, value));
            }
            if !more || PAGE_BYTES_MAX <= bytes || page.entries.len() == limit {
                page.more = more;
                return Ok(page);
            }
        }
    }

    /// The next piece of `rest`, which is cut by it: what it covers, and what the view holds there.
    /// Where own writes have cleared everything, the view is not asked.
    async fn piece(
        &self,
        rest: &mut RangeRead,
    ) -> Result<(KeyRange, Vec<(Vec<u8>, Vec<u8>)>), KvError> {
        let view = self.view().await?;
        let mut covered = rest.range.clone();
        let (cleared, touched) = {
            let buffer = self.buffer.borrow();
            (buffer.cleared_first(&rest.range, rest.reverse), buffer.touches(&rest.range))
        };
        let stored = if let Some(cleared) = cleared {
            covered = cleared;
            Vec::new()
        } else {
            // Own clears thin a page out: one that asks for little more would be many reads.
            let limit = if touched { rest.limit.max(OVERLAID_ENTRIES_MIN) } else { rest.limit };
            let read = RangeRead { limit, ..rest.clone() };
            let stored = self.in_time(view.range(read)).await?;
            if let Some((last, _)) = stored.entries.last().filter(|_| stored.more) {
                let behind = rest.behind(last).range;
                if rest.reverse {
                    covered.begin = behind.end;
                } else {
                    covered.end = behind.begin;
                }
            }
            stored.entries
        };
        if rest.reverse {
            rest.range.end.clone_from(&covered.begin);
        } else {
            rest.range.begin.clone_from(&covered.end);
        }
        Ok((covered, stored))
    }
}

impl<E: Env, S: Source> Transaction for OwnTransaction<E, S> {
    async fn read_version(&self) -> Result<u64, KvError> {
        Ok(self.view().await?.version())
    }

    async fn get(&self, key: &[u8], mode: ReadMode) -> Result<Option<Vec<u8>>, KvError> {
        check_key(key)?;
        let found = self.buffer.borrow_mut().find(key, mode)?;
        if let Found::Known(value) = found {
            return Ok(value);
        }
        let view = self.view().await?;
        let stored = self.in_time(view.get(key.to_vec())).await?;
        Ok(self.buffer.borrow().seen(key, stored))
    }

    async fn range(&self, read: RangeRead, mode: ReadMode) -> Result<Page, KvError> {
        read.range.check()?;
        self.buffer.borrow().readable(&read.range)?;
        if read.range.is_empty() {
            return Ok(Page::default());
        }
        let page = self.page(&read).await?;
        if mode == ReadMode::Conflict {
            self.buffer.borrow_mut().note_page(&read, &page);
        }
        Ok(page)
    }

    fn mutate(&self, mutation: Mutation) -> Result<(), KvError> {
        self.buffer.borrow_mut().mutate(mutation)
    }

    fn add_read_conflict(&self, range: KeyRange) -> Result<(), KvError> {
        self.buffer.borrow_mut().add_read_conflict(range)
    }

    fn add_write_conflict(&self, range: KeyRange) -> Result<(), KvError> {
        range.check()?;
        self.buffer.borrow_mut().note_written(range);
        Ok(())
    }

    fn size(&self) -> usize {
        self.buffer.borrow().size()
    }

    async fn commit(self) -> Result<Committed, KvError> {
        let buffer = self.buffer.take();
        if buffer.is_read_only() {
            let version = self.view.borrow().as_ref().map_or(0, |seen| seen.view.version());
            return Ok(Committed { version, stamp: None });
        }
        let (found, limit) = (buffer.size(), self.bytes_max);
        if limit < found {
            return Err(KvError::TooLarge { found, limit });
        }
        let mut request = buffer.into_request()?;
        if !request.read_conflicts.is_empty() {
            // A conflict range added by hand, without a read, is judged from now on.
            let view = self.view().await?;
            request.read_version = Some(view.version());
            request.epoch = view.epoch();
        }
        if self.give_up_at <= self.env.now() {
            return Err(self.timed_out()); // nothing has been sent
        }
        match until(&self.env, self.give_up_at, self.source.commit(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                let reason = format!("no answer within {} ms", self.timeout.as_millis());
                Err(KvError::UnknownResult { reason })
            }
        }
    }
}
