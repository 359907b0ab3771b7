//! Sync, Close, Append and SetAttr: several of one inode in one transaction.
//!
//! Each of them reads and writes the same inode, so that those of many clients would conflict. What
//! waits at one service is done together, in order of arrival, each seeing what those before it
//! made; each has its own record, session and refusal.
//!
//! - Sync, Close: the length becomes the largest that was told (M4), mtime and ctime now, `change`
//!   rises, setuid and setgid go. A hint of an older epoch leaves a mark, and the chunks are asked
//!   (M3). Close ends the session of the caller.
//! - Append: the range behind the end is the caller's (M5).
//! - SetAttr: as `setattr`, with `truncate` for a size.
//!
//! Conflict set: inode; of each record, fence and session; for Append and sizes what `truncate`
//! reads; for hints the mark. Written: the inode once; records; sessions that end; mark; work item.
//! Round trips: 1.

use engine_runtime::all;
use engine_types::{InodeId, SessionId};
use meta_kv::{Abort, ReadMode, Transaction};
use meta_protocol::op::Hint;
use meta_protocol::{Answer, Operation, Request};
use meta_schema::change::{self, AttrChange};
use meta_schema::{Errno, Key, Shrink, Timestamp, WriteSession, key};

use crate::call::{record, recorded};
use crate::halt::{Halt, Stop, refused};
use crate::join::{three, wanted};
use crate::length::{self, Told};
use crate::loaded::Loaded;
use crate::op::truncate::{self, Facts};
use crate::view::View;
use crate::{marks, session};

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done before, and answered so.
    Before(Answer),
    /// It is done when the transaction is committed; whether the chunks have to be asked for the
    /// length is the caller's next business.
    Done { answer: Answer, asks_chunks: bool },
    /// It is not done.
    Halted(Halt),
}

/// The inode of a request that is done here.
pub(crate) const fn inode_of(operation: &Operation) -> Option<InodeId> {
    match operation {
        Operation::Sync(ask) => Some(ask.ino),
        Operation::Close(ask) => Some(ask.ino),
        Operation::Append(ask) => Some(ask.ino),
        Operation::SetAttr(ask) => Some(ask.ino),
        _ => None,
    }
}

/// Whether it depends on cuts that are not finished.
fn needs_facts(operation: &Operation) -> bool {
    match operation {
        Operation::Append(_) => true,
        Operation::SetAttr(ask) => ask.change.size.is_some(),
        Operation::Sync(ask) => ask.hint.is_some(),
        Operation::Close(ask) => ask.hint.is_some(),
        _ => false,
    }
}

/// What is to be written beside the inode.
#[derive(Default)]
struct Writes {
    shrink: Option<Shrink>,
    ends: Vec<SessionId>,
    asks_chunks: bool,
}

/// Does `requests`, all of `ino`; outcomes are in their order. Its future is on the heap, as those
/// of other operations are.
pub(crate) async fn run<T: Transaction>(
    on: (&View<'_, T>, &T),
    ino: InodeId,
    requests: &[Request],
    now: Timestamp,
) -> Result<Vec<Outcome>, Stop> {
    Box::pin(run_all(on, ino, requests, now)).await
}

async fn run_all<T: Transaction>(
    (view, transaction): (&View<'_, T>, &T),
    ino: InodeId,
    requests: &[Request],
    now: Timestamp,
) -> Result<Vec<Outcome>, Stop> {
    let needs = requests.iter().any(|request| needs_facts(&request.operation));
    let mark_key = key::length_query(ino);
    let state = three(
        view.inode(ino, ReadMode::Conflict),
        wanted(needs.then(|| truncate::facts(view, ino))),
        async { Ok(transaction.get(&mark_key, ReadMode::Conflict).await?) },
    );
    let own = requests.iter().map(async |request| {
        let own = session::own(view, ino, request.session);
        let (before, own) = futures_lite::future::zip(recorded(view, request), own).await;
        (before, own)
    });
    let (state, own) = futures_lite::future::zip(state, all(own)).await;
    let (mut found, facts, mark) = state?;
    let before = found.as_ref().map(|found| found.inode.clone());
    let mut writes = Writes::default();
    let mut outcomes = Vec::with_capacity(requests.len());
    for (request, (recorded, own)) in requests.iter().zip(own) {
        let done = match recorded {
            Ok(Some(answer)) => Ok(Outcome::Before(answer)),
            Ok(None) => apply(&mut found, ino, (request, own?), facts.as_ref(), now, &mut writes),
            Err(stop) => Err(stop),
        };
        outcomes.push(match done {
            Ok(outcome) => outcome,
            Err(Abort::Own(halt)) => Outcome::Halted(halt),
            Err(Abort::Kv(error)) => return Err(Abort::Kv(error)),
        });
    }
    if let Some(found) = found.filter(|found| before.as_ref() != Some(&found.inode)) {
        view.put_inode(ino, &found.inode)?;
    }
    if let Some(shrink) = &writes.shrink {
        view.put(&Key::Shrink(ino), shrink)?;
    }
    if writes.asks_chunks {
        transaction.set(&mark_key, &marks::stamp(mark.as_deref(), now))?;
    }
    writes.ends.iter().try_for_each(|&ended| session::end(view, ino, ended))?;
    for (request, outcome) in requests.iter().zip(&outcomes) {
        if let Outcome::Done { answer, .. } = outcome {
            record(view, request, answer)?;
        }
    }
    Ok(outcomes)
}

/// Does one request to the inode as those before it left it; a refusal leaves it as it was.
fn apply(
    found: &mut Option<Loaded>,
    ino: InodeId,
    (request, own): (&Request, Option<WriteSession>),
    facts: Option<&Facts>,
    now: Timestamp,
    writes: &mut Writes,
) -> Result<Outcome, Stop> {
    let Some(loaded) = found else {
        return Err(refused(Errno::ESTALE, format_args!("{ino} does not exist any more")));
    };
    let mut changed = loaded.clone();
    let one = One { request, own, facts, now: changed.stamp(now) };
    let (answer, asks_chunks) = match &request.operation {
        Operation::Sync(ask) => one.told(&mut changed, ask.hint.as_ref(), ask.atime)?,
        Operation::Close(ask) => {
            let told = one.told(&mut changed, ask.hint.as_ref(), ask.atime)?;
            writes.ends.push(request.session);
            told
        }
        Operation::Append(ask) => one.append(&mut changed, ask.length, writes)?,
        Operation::SetAttr(ask) => one.set(&mut changed, &ask.change, writes)?,
        other => unreachable!("E445: {} is not merged", other.name()),
    };
    *loaded = changed;
    writes.asks_chunks |= asks_chunks;
    Ok(Outcome::Done { answer, asks_chunks })
}

/// One request, and what was read for it.
struct One<'a> {
    request: &'a Request,
    own: Option<WriteSession>,
    facts: Option<&'a Facts>,
    now: Timestamp,
}

impl One<'_> {
    fn check_open(&self, ino: InodeId) -> Result<(), Stop> {
        if self.own.is_some() {
            return Ok(());
        }
        let why = format_args!("{} has not opened {ino} for writing", self.request.session);
        Err(refused(Errno::EBADF, why))
    }

    fn told(
        &self,
        found: &mut Loaded,
        hint: Option<&Hint>,
        atime: Option<Timestamp>,
    ) -> Result<(Answer, bool), Stop> {
        let mut asks_chunks = false;
        if let Some(hint) = hint {
            self.check_open(found.ino)?;
            let Some(file) = found.inode.file() else {
                return Err(refused(Errno::EINVAL, format_args!("{} is no file", found.ino)));
            };
            // Only who was told of the epoch has it, and then the cut was finished (E444).
            if hint.truncate_epoch == file.truncate_epoch {
                self.facts.map_or(Ok(()), |facts| facts.check_settled(found.ino))?;
            }
            let told = length::hint(&mut found.inode, hint, &self.request.caller, self.now);
            let told = told.map_err(|errno| refused(errno, format_args!("{hint:?}")))?;
            asks_chunks = told == Told::AskChunks;
        }
        if let Some(atime) = atime {
            found.inode.atime = found.inode.atime.max(atime);
        }
        Ok((Answer::Attr(found.attr()), asks_chunks))
    }

    fn append(
        &self,
        found: &mut Loaded,
        bytes: u64,
        writes: &Writes,
    ) -> Result<(Answer, bool), Stop> {
        let ino = found.ino;
        if writes.shrink.is_some() {
            return Err(Abort::Own(Halt::Unsettled(ino)));
        }
        self.check_open(ino)?;
        if found.inode.file().is_none() {
            return Err(refused(Errno::EINVAL, format_args!("{ino} is no file")));
        }
        self.facts.map_or(Ok(()), |facts| facts.check_settled(ino))?;
        let offset = length::append(&mut found.inode, bytes, &self.request.caller, self.now);
        let offset = offset.map_err(|errno| refused(errno, format_args!("{ino}: {bytes} more")))?;
        Ok((Answer::Appended { offset, attr: found.attr() }, false))
    }

    fn set(
        &self,
        found: &mut Loaded,
        wanted: &AttrChange,
        writes: &mut Writes,
    ) -> Result<(Answer, bool), Stop> {
        let (ino, caller) = (found.ino, &self.request.caller);
        change::check(&found.inode, caller, wanted).map_err(|errno| refused(errno, ino))?;
        if wanted.is_empty() {
            return Ok((Answer::Attr(found.attr()), false));
        }
        let shrink = match (wanted.size, self.facts) {
            // A second cut of one transaction waits for the end of the first.
            (Some(_), _) if writes.shrink.is_some() => {
                return Err(Abort::Own(Halt::Unsettled(ino)));
            }
            (Some(size), Some(facts)) => truncate::resize(found, size, facts)?,
            _ => None,
        };
        change::apply(&mut found.inode, caller, wanted, found.times, self.now)
            .map_err(|errno| refused(errno, ino))?;
        writes.shrink = writes.shrink.or(shrink);
        Ok((Answer::Attr(found.attr()), false))
    }
}
