//! What clients were told, against what the store says happened.

use std::collections::BTreeMap;

use engine_types::{ChannelId, InodeId, SessionId};
use meta_model::{Event, Left, Model, Place, When};
use meta_protocol::op::LockWait;
use meta_protocol::{Answer, Cause, Operation, Request};
use meta_schema::FileType;

use super::chunks::CELL;
use super::desk::{Line, What};
use super::ground::{Asked, Ground, layout};
use super::setting::Work;
use crate::check::{Verdict, fail};

const T111: &str = "T111 what was acknowledged is there";
const T112: &str = "T112 a request is done once";
const T113: &str = "T113 what was refused was not done";
const T114: &str = "T114 fenced is fenced";
const T117: &str = "T117 answers are as POSIX says, in the order of the store";
const T118: &str = "T118 appends have ranges of their own";

/// Operations of the story of an inode.
const STORY_MAX: usize = 40;

type Number = (SessionId, ChannelId, u64);

fn number(request: &Request) -> Option<Number> {
    request.tag.map(|tag| (request.session, tag.channel, tag.seq))
}

/// Operations that leave no record: what is done a second time changes nothing.
fn has_record(operation: &Operation) -> bool {
    match operation {
        Operation::PruneSession(_) | Operation::FinishShrink(_) => false,
        Operation::SetLock(ask) => !matches!(ask.wait, LockWait::Ticket { .. }),
        other => other.mutates(),
    }
}

/// Whether the answer says more than what was recorded: it was waited for something since.
fn is_told_later(operation: &Operation) -> bool {
    matches!(operation, Operation::SetLock(_) | Operation::Sync(_))
}

/// T111 to T114, T117, T118.
pub(super) fn judge(ground: &Ground, lines: &[Line]) -> Verdict {
    let done = done(lines)?;
    fenced(lines)?;
    let asked = ground.asked.borrow();
    for asked in asked.iter() {
        told(asked, &done)?;
    }
    if let Work::Data { .. } = ground.setting.work {
        return appends(&asked, &done);
    }
    let (events, left) = (events(&asked, &done), left(lines));
    let mut model = Model::new(&super::root(layout()));
    let judged = meta_model::judge(&mut model, events, left);
    judged.or_else(|why| fail(T117, why.to_string()))
}

/// What was asked about an inode, in order: for people.
pub(super) fn story(ground: &Ground, ino: InodeId) -> String {
    let text = format!("{ino:?}");
    let asked = ground.asked.borrow();
    let about = |asked: &&Asked| {
        let told = asked.found.as_ref().is_some_and(|found| format!("{found:?}").contains(&text));
        told || format!("{:?}", asked.request.operation).contains(&text)
    };
    let line = |asked: &Asked| {
        let Asked { request, began, ended, found, .. } = asked;
        let (session, operation) = (request.session, &request.operation);
        let found = match found {
            Some(Ok(Answer::Attr(attr) | Answer::Opened { attr, .. })) => {
                format!("{} bytes, links {}, {:?}", attr.size, attr.nlink, attr.truncate_epoch)
            }
            other => format!("{other:?}"),
        };
        format!("  {began}..{ended:?} {session}: {operation:?}: {found}\n")
    };
    let lines: Vec<String> = asked.iter().filter(about).map(line).collect();
    let behind = lines.len().saturating_sub(STORY_MAX);
    format!("\n{}", lines[behind..].concat())
}

/// What was done, by its number; T112.
fn done(lines: &[Line]) -> Result<BTreeMap<Number, (Place, Answer)>, crate::check::CheckFailure> {
    let mut done = BTreeMap::new();
    for line in lines {
        let What::Done { session, channel, seq, answer } = &line.what else { continue };
        let number = (*session, *channel, *seq);
        if let Some((first, _)) = done.insert(number, (line.place, Answer::clone(answer))) {
            let again = line.place;
            fail(T112, format!("{number:?} was done at {first:?}, and at {again:?}"))?;
        }
    }
    Ok(done)
}

/// T114: nothing of a session behind its fence.
fn fenced(lines: &[Line]) -> Verdict {
    let mut fences: BTreeMap<SessionId, Place> = BTreeMap::new();
    for line in lines {
        if let What::Fenced { session } = line.what {
            fences.entry(session).or_insert(line.place);
        }
    }
    for line in lines {
        match &line.what {
            What::Done { session, .. } => {
                if let Some(fence) = fences.get(session).filter(|fence| **fence < line.place) {
                    return fail(T114, format!("{line:?} comes behind the fence at {fence:?}"));
                }
            }
            What::File { session, .. } => {
                if fences.get(session).is_none_or(|fence| line.place < *fence) {
                    return fail(T114, format!("{line:?}: pruned before its fence"));
                }
            }
            // Those of an inode that goes are cleared with it, whoever has them.
            What::Locks { .. } | What::Fenced { .. } => {}
        }
    }
    Ok(())
}

/// T111 to T113, of one operation.
fn told(asked: &Asked, done: &BTreeMap<Number, (Place, Answer)>) -> Verdict {
    let operation = &asked.request.operation;
    if !has_record(operation) {
        return Ok(());
    }
    let recorded = number(&asked.request).and_then(|number| done.get(&number));
    match (&asked.found, recorded) {
        (Some(Ok(answer)), None) => {
            fail(T111, format!("{:?} was answered {answer:?}, and is not there", asked.request))
        }
        (Some(Ok(answer)), Some((_, recorded))) => {
            if is_told_later(operation) || answer == recorded {
                return Ok(());
            }
            let request = &asked.request;
            fail(T112, format!("{request:?} was answered {answer:?}, recorded is {recorded:?}"))
        }
        (Some(Err(refusal)), recorded) => {
            let request = &asked.request;
            if refusal.cause != Cause::Posix {
                return fail(T113, format!("{request:?} of a live client was refused: {refusal}"));
            }
            if recorded.is_some() && !is_told_later(operation) {
                return fail(T113, format!("{request:?} was refused ({refusal}), and was done"));
            }
            Ok(())
        }
        (None, _) => Ok(()),
    }
}

/// What the model judges.
fn events(asked: &[Asked], done: &BTreeMap<Number, (Place, Answer)>) -> Vec<Event> {
    asked.iter().filter_map(|asked| event(asked, done)).collect()
}

fn event(asked: &Asked, done: &BTreeMap<Number, (Place, Answer)>) -> Option<Event> {
    let request = asked.request.clone();
    let latest = asked.ended.unwrap_or(i64::MAX);
    let when = When { earliest: asked.began, latest };
    if !has_record(&request.operation) && request.operation.mutates() {
        return None;
    }
    if let Some((place, answer)) = number(&request).and_then(|number| done.get(&number)) {
        let found = Some(Ok(answer.clone())).filter(|_| !is_older(&request.operation, answer));
        return Some(Event { place: *place, request, found, when });
    }
    let place = Place::Read { version: asked.version? };
    let found = Some(asked.found.clone()?);
    Some(Event { place, request, found, when })
}

/// Whether the answer shows sums and times of a directory that others change: those that the
/// operation read, which are a snapshot (M6), and not those of its place. Looks later on show all
/// that it did.
fn is_older(operation: &Operation, answer: &Answer) -> bool {
    let made = matches!(operation, Operation::Mkdir(_));
    matches!(answer, Answer::Attr(attr) if attr.kind == FileType::Directory) && !made
}

fn left(lines: &[Line]) -> Vec<Left> {
    let left = |line: &Line| {
        let (session, ino, locks) = match line.what {
            What::File { session, ino } => (session, ino, false),
            What::Locks { session, ino } => (session, ino, true),
            _ => return None,
        };
        Some(Left { place: line.place, session, ino, locks })
    };
    lines.iter().filter_map(left).collect()
}

/// T118: a range that was given to an append is given to another one only when it was cut between.
fn appends(asked: &[Asked], done: &BTreeMap<Number, (Place, Answer)>) -> Verdict {
    let mut order: Vec<(Place, &Request, &Answer)> = Vec::new();
    for asked in asked {
        if let Some((place, answer)) = number(&asked.request).and_then(|number| done.get(&number)) {
            order.push((*place, &asked.request, answer));
        }
    }
    order.sort_by_key(|(place, _, _)| *place);
    // Behind the last byte that is somebody's, by file.
    let mut ends: BTreeMap<InodeId, u64> = BTreeMap::new();
    for (place, request, answer) in order {
        match (&request.operation, answer) {
            (Operation::Append(ask), Answer::Appended { offset, .. }) => {
                let end = ends.entry(ask.ino).or_default();
                if *offset < *end {
                    let (ino, cells) = (ask.ino, *end / CELL);
                    let what = format!("{ino} at {place:?}: {offset} lies before cell {cells}");
                    return fail(T118, what);
                }
                *end = offset + ask.length;
            }
            (Operation::SetAttr(ask), _) => {
                if let (Some(size), Some(end)) = (ask.change.size, ends.get_mut(&ask.ino)) {
                    *end = (*end).min(size);
                }
            }
            (Operation::Open(ask), _) if ask.mode.truncate => {
                ends.remove(&ask.ino);
            }
            _ => {}
        }
    }
    Ok(())
}
