//! Linearizability of one object: is there an order of its operations, each at a moment between its
//! call and its return, in which every answer is right?
//!
//! The search goes back to Wing and Gong, with the memory of visited configurations that Lowe
//! added: a configuration is the set of operations placed so far and the state they lead to. An
//! operation with an unknown result may be placed at any time after its call, or never. Objects are
//! independent, so callers check each by itself; the search is bounded, and a search that does not
//! end fails (T12).

use core::fmt::Debug;
use core::hash::{BuildHasher, BuildHasherDefault, Hash};

use engine_types::{FixedHasher, Instant, Set};

use super::{Verdict, fail};
use crate::history::{End, Operation};

/// What one object does.
pub trait Model {
    /// What is asked.
    type Call: Debug;
    /// What is answered.
    type Return: Debug;
    /// The object.
    type State: Clone + Eq + Hash + Debug;

    /// What all answers together say about every order; keeps the search short.
    type Hint: Default;

    /// The object at the beginning.
    fn start() -> Self::State;

    /// Learns from one more answer.
    fn learn(_hint: &mut Self::Hint, _answer: &Self::Return) {}

    /// The object after `call`; `None` when `answer` is not what it would answer, or when no order
    /// that goes on from there fits the hint. Without an answer, any will do.
    fn apply(
        hint: &Self::Hint,
        state: &Self::State,
        call: &Self::Call,
        answer: Option<&Self::Return>,
    ) -> Option<Self::State>;
}

/// A value that is written and read.
pub struct Register;

/// What is asked of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterCall {
    /// Replaces the value; answered with what was written.
    Write(u64),
    /// Answered with the value, 0 before the first write.
    Read,
}

impl Model for Register {
    type Call = RegisterCall;
    type Return = u64;
    type State = u64;
    type Hint = ();

    fn start() -> u64 {
        0
    }

    fn apply((): &(), state: &u64, call: &RegisterCall, answer: Option<&u64>) -> Option<u64> {
        match call {
            RegisterCall::Write(value) => Some(*value),
            RegisterCall::Read => answer.is_none_or(|answer| answer == state).then_some(*state),
        }
    }
}

/// A log that is appended to and read as a whole.
pub struct AppendLog;

/// What is asked of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogCall {
    /// Adds a value; answered with the whole log after it, or with nothing more than "done".
    Append(u64),
    /// Answered with the whole log.
    Read,
}

impl Model for AppendLog {
    type Call = LogCall;
    /// `None`: done, without a word about the log.
    type Return = Option<Vec<u64>>;
    type State = Vec<u64>;
    /// The longest log that was read: a log only grows, so what comes before that read is a
    /// beginning of it, and what comes after goes on from it.
    type Hint = Vec<u64>;

    fn start() -> Vec<u64> {
        Vec::new()
    }

    fn learn(hint: &mut Vec<u64>, answer: &Option<Vec<u64>>) {
        if let Some(seen) = answer
            && hint.len() < seen.len()
        {
            hint.clone_from(seen);
        }
    }

    fn apply(
        hint: &Vec<u64>,
        state: &Vec<u64>,
        call: &LogCall,
        answer: Option<&Option<Vec<u64>>>,
    ) -> Option<Vec<u64>> {
        let mut next = state.clone();
        if let LogCall::Append(value) = call {
            if hint.get(state.len()).is_some_and(|expected| expected != value) {
                return None;
            }
            next.push(*value);
        }
        match answer {
            Some(Some(seen)) if *seen != next => None,
            _ => Some(next),
        }
    }
}

/// Operations that one search handles: enough for a minute of a few clients on one object, and the
/// set of those placed fits into four words.
pub const OPERATIONS_MAX: usize = 256;
/// Configurations looked at before the search gives up: about a second.
pub const STEPS_MAX: usize = 1_000_000;

type Placed = [u64; OPERATIONS_MAX / 64];

struct Item<'a, M: Model> {
    operation: &'a Operation<M::Call, M::Return>,
    answer: Option<&'a M::Return>,
    returned: Instant,
}

/// Checks the operations of one object of kind `M`.
///
/// # Errors
/// How far the longest order got and what could not follow; or that the search did not end.
pub fn linearizable<M: Model>(operations: &[Operation<M::Call, M::Return>]) -> Verdict {
    const NAME: &str = "linearizable";
    let mut items: Vec<Item<'_, M>> = operations.iter().filter_map(item).collect();
    if OPERATIONS_MAX < items.len() {
        let what = format!("{} operations, at most {OPERATIONS_MAX} are searched", items.len());
        return fail(NAME, what);
    }
    // Earliest return first: the order that a history without faults has, found without a detour.
    items.sort_by_key(|item| (item.returned, item.operation.invoked));
    let required = items.iter().filter(|item| item.answer.is_some()).count();
    let mut hint = M::Hint::default();
    items.iter().filter_map(|item| item.answer).for_each(|answer| M::learn(&mut hint, answer));
    let (items, seen) = (&items[..], Set::default());
    let mut search = Search { items, hint, required, seen, steps: 0, best: None };
    if search.place(Placed::default(), 0, &M::start()) {
        return Ok(());
    }
    if STEPS_MAX <= search.steps {
        return fail(NAME, format!("undecided after {STEPS_MAX} configurations"));
    }
    let (placed, count, state) = search.best.expect("at least the empty order was looked at");
    let stuck = items
        .iter()
        .enumerate()
        .filter(|(index, item)| item.answer.is_some() && !holds(&placed, *index));
    let stuck: Vec<String> = stuck.take(3).map(|(_, item)| describe(item)).collect();
    let what = format!(
        "{count} of {required} answers fit an order that leads to {state:?}; none of these can \
         follow: {}",
        stuck.join("; ")
    );
    fail(NAME, what)
}

fn item<M: Model>(operation: &Operation<M::Call, M::Return>) -> Option<Item<'_, M>> {
    let (answer, returned) = match &operation.end {
        End::Failed { .. } => return None,
        End::Returned { at, result } => (Some(result), *at),
        End::Unknown { .. } | End::Pending => (None, Instant::NEVER),
    };
    Some(Item { operation, answer, returned })
}

fn describe<M: Model>(item: &Item<'_, M>) -> String {
    let Operation { client, invoked, call, .. } = item.operation;
    let (answer, returned) = (item.answer, item.returned);
    format!("client {client} asked {call:?} at {invoked}, was told {answer:?} at {returned}")
}

fn holds(placed: &Placed, index: usize) -> bool {
    placed[index / 64] >> (index % 64) & 1 == 1
}

struct Search<'a, M: Model> {
    items: &'a [Item<'a, M>],
    hint: M::Hint,
    required: usize,
    seen: Set<(Placed, u64)>,
    steps: usize,
    /// The order with most answers placed.
    best: Option<(Placed, usize, M::State)>,
}

impl<M: Model> Search<'_, M> {
    /// Whether everything that is not in `placed` can follow it. Depth is bounded by
    /// [`OPERATIONS_MAX`].
    fn place(&mut self, placed: Placed, count: usize, state: &M::State) -> bool {
        if count == self.required {
            return true;
        }
        self.steps += 1;
        let hash = BuildHasherDefault::<FixedHasher>::default().hash_one(state);
        if STEPS_MAX <= self.steps || !self.seen.insert((placed, hash)) {
            return false;
        }
        if self.best.as_ref().is_none_or(|(_, most, _)| *most < count) {
            self.best = Some((placed, count, state.clone()));
        }
        // Who returned before another was called comes before it.
        let open = || self.items.iter().enumerate().filter(|(index, _)| !holds(&placed, *index));
        let first_return = open().map(|(_, item)| item.returned).min().unwrap_or(Instant::NEVER);
        let can_follow = open().filter(|(_, item)| item.operation.invoked <= first_return);
        let can_follow: Vec<usize> = can_follow.map(|(index, _)| index).collect();
        for index in can_follow {
            let item = &self.items[index];
            if let Some(next) = M::apply(&self.hint, state, &item.operation.call, item.answer) {
                let mut placed = placed;
                placed[index / 64] |= 1 << (index % 64);
                let count = count + usize::from(item.answer.is_some());
                if self.place(placed, count, &next) {
                    return true;
                }
            }
        }
        false
    }
}
