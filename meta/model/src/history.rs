//! Histories of clients that ask at the same time, judged in the order of the store.
//!
//! Every operation is one transaction, so what happened is a sequence: a change stands where it
//! was committed, and whatever only read, refusals too, where its snapshot was taken. The tester
//! knows both from the store. Real time is judged with it: an operation that ended before another
//! began may not stand behind it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use engine_types::{InodeId, SessionId};
use meta_protocol::{Answer, Refusal, Request};

use crate::model::{Divergence, Model};
use crate::moment::When;

/// Where an operation stands among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// It was committed in the group `version`, the `order`-th of it.
    Commit {
        /// Version of the store.
        version: u64,
        /// Place in the group.
        order: u16,
    },
    /// It read the state of `version`, and changed nothing.
    Read {
        /// Version of the store.
        version: u64,
    },
}

impl Place {
    /// Commits of a version come before those who read it.
    const fn rank(self) -> (u64, u32) {
        match self {
            Self::Commit { version, order } => (version, order as u32),
            Self::Read { version } => (version, u32::MAX),
        }
    }
}

/// One operation of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it stands.
    pub place: Place,
    /// What was asked.
    pub request: Request,
    /// What was answered; nothing if the answer was lost, but the store knows of the commit.
    pub found: Option<Result<Answer, Refusal>>,
    /// When it began and ended.
    pub when: When,
}

/// What the end of a session took from one inode, in a transaction of its own: a session is pruned
/// one inode after the other, while others go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Where it stands.
    pub place: Place,
    /// Whose.
    pub session: SessionId,
    /// Of which inode.
    pub ino: InodeId,
    /// Locks and waits; otherwise that it wrote or kept the file.
    pub locks: bool,
}

/// A history that no order explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unexplained {
    /// An answer is wrong in the order of the store.
    Answer(Box<Divergence>),
    /// What had ended stands behind what began later.
    Order {
        /// What stands in front.
        first: String,
        /// What had ended before.
        second: String,
    },
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(divergence) => write!(f, "{divergence}"),
            Self::Order { first, second } => {
                write!(f, "{second} had ended when {first} began, and stands behind it")
            }
        }
    }
}

impl core::error::Error for Unexplained {}

/// Judges a whole history, in any order of `events` and of what sessions `left`.
///
/// # Errors
/// What no order explains.
pub fn judge(
    model: &mut Model,
    mut events: Vec<Event>,
    mut left: Vec<Left>,
) -> Result<(), Unexplained> {
    events.sort_by_key(|event| event.place.rank());
    left.sort_by_key(|left| left.place.rank());
    check_order(&events)?;
    let mut left = left.into_iter().peekable();
    for event in &events {
        while let Some(left) = left.next_if(|left| left.place.rank() < event.place.rank()) {
            model.left(&left);
        }
        match &event.found {
            Some(found) => model.check(&event.request, found, event.when),
            None => model.happened(&event.request, event.when),
        }
        .map_err(Unexplained::Answer)?;
    }
    Ok(())
}

/// Time and order agree: what stands behind did not end before what is in front began. One place
/// is no order, as reads of one version see the same.
fn check_order(events: &[Event]) -> Result<(), Unexplained> {
    // Of those in front, who began last.
    let mut latest: Option<&Event> = None;
    let mut same_rank: Option<&Event> = None;
    for event in events {
        if same_rank.is_some_and(|before| before.place.rank() != event.place.rank()) {
            let last = same_rank.take();
            let later = |a: &&Event| latest.is_none_or(|b| b.when.earliest < a.when.earliest);
            latest = last.filter(later).or(latest);
        }
        if let Some(first) = latest.filter(|first| event.when.latest < first.when.earliest) {
            let name = |event: &Event| alloc::format!("{:?}", event.request.operation);
            return Err(Unexplained::Order { first: name(first), second: name(event) });
        }
        let begins_later = |a: &Event| event.when.earliest < a.when.earliest;
        if !same_rank.is_some_and(begins_later) {
            same_rank = Some(event);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
