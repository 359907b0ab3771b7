//! Transactions of a service, once more, by themselves: what the store below can do.
//!
//! Reads go to the keys that were read, so they find what was found. What a commit writes and
//! conflicts with has another first letter: a shadow of the namespace, which stays as it is. Each
//! time that a transaction comes again, the inodes that it made have other numbers and its entries
//! other slots, so that it adds keys as the first one did, in the same places of the store. Tasks
//! have channels of their own, as clients have, so they conflict where services' requests would.
//!
//! Owner: a service's core. Failure: what the store refuses ends the slice with its reason; a
//! conflict is tried again, as services do.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use engine_runtime::{Env, all};
use engine_types::checksum::mix64;
use meta_kv::{
    CommitRequest, KeyRange, Kv, KvError, Mutation, OwnKv, ReadMode, Source, Transaction,
    TransactionOptions,
};

use super::tape::{REQUEST, Read, Taped};
use crate::meter::Meter;

#[cfg(test)]
mod tests;

/// Letters in front of the ids of a key.
const LETTERS: usize = 4;
/// Bytes of an id.
const ID: usize = 8;
/// Behind the first id, behind the second.
const ONE: usize = LETTERS + ID;
const TWO: usize = ONE + ID;
/// Of a little-endian number below 2^40, the bytes that are 0 and 1 higher for each 2^40: a number
/// that is changed there stays beside the former one in the order of keys.
const PASS_BYTES: [usize; 2] = [5, 6];
/// Attempts of one transaction; services give up after as many.
const ATTEMPTS_MAX: u32 = 64;

/// What tells one run of a transaction from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    /// First letter of what is written: that of a service's shadow.
    shadow: u8,
    /// How often the tape has begun anew; from 1.
    pass: u16,
    /// Channel of the task.
    channel: u32,
}

impl Run {
    /// A key of this run: of the inodes that the transaction made, `fresh`, others.
    fn key(self, key: &[u8], fresh: &[[u8; ID]]) -> Vec<u8> {
        let mut key = key.to_vec();
        let pass = self.pass.to_le_bytes();
        for at in [LETTERS, ONE] {
            if let Some(id) = key.get_mut(at..at + ID)
                && fresh.iter().any(|made| made == id)
            {
                PASS_BYTES.iter().zip(pass).for_each(|(byte, pass)| id[*byte] ^= pass);
            }
        }
        if key.starts_with(b"DENT")
            && let Some(slot) = key.get_mut(ONE..TWO)
        {
            // The slot is big-endian: its first bit is 0, its last ones are those of its name.
            let other = mix64(self.pass.into()).to_le_bytes();
            slot[0] ^= other[0] & 0x7f;
            slot[1..4].iter_mut().zip(&other[1..]).for_each(|(byte, other)| *byte ^= other);
        }
        if key.starts_with(REQUEST)
            && let Some(channel) = key.get_mut(ONE..ONE + 4)
        {
            channel.copy_from_slice(&self.channel.to_le_bytes());
        }
        key
    }

    fn shadow(self, key: &[u8], fresh: &[[u8; ID]]) -> Vec<u8> {
        let mut key = self.key(key, fresh);
        if let Some(first) = key.first_mut() {
            *first ^= self.shadow;
        }
        key
    }

    fn shadow_range(self, range: &KeyRange, fresh: &[[u8; ID]]) -> KeyRange {
        KeyRange::new(self.shadow(&range.begin, fresh), self.shadow(&range.end, fresh))
    }

    fn mutation(self, mutation: &Mutation, fresh: &[[u8; ID]]) -> Mutation {
        match mutation {
            Mutation::Set { key, value } => {
                Mutation::Set { key: self.shadow(key, fresh), value: value.clone() }
            }
            Mutation::Clear { range } => Mutation::Clear { range: self.shadow_range(range, fresh) },
            Mutation::Atomic { op, key, operand } => {
                Mutation::Atomic { op: *op, key: self.shadow(key, fresh), operand: operand.clone() }
            }
            // No operation has them.
            stamped @ (Mutation::StampedKey { .. } | Mutation::StampedValue { .. }) => {
                stamped.clone()
            }
        }
    }
}

/// Numbers of the inodes that a commit sets, as keys have them, and that were not read.
fn fresh(taped: &Taped) -> Vec<[u8; ID]> {
    let Some(commit) = &taped.commit else { return Vec::new() };
    let read = |key: &[u8]| {
        let conflicts = commit.read_conflicts.iter();
        conflicts.map(|range| range.begin.as_slice()).any(|begin| begin.starts_with(key))
    };
    let made = |mutation: &Mutation| match mutation {
        Mutation::Set { key, .. } if key.len() == ONE && key.starts_with(b"INOD") && !read(key) => {
            key[LETTERS..].try_into().ok()
        }
        _ => None,
    };
    commit.mutations.iter().filter_map(made).collect()
}

/// What a transaction of the tape is made of, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Averages {
    pub(super) transactions: u64,
    pub(super) reads: f64,
    pub(super) rounds: f64,
    pub(super) conflicts: f64,
    pub(super) mutations: f64,
    pub(super) bytes: f64,
}

/// Transactions, each with the numbers of the inodes that it made.
type Numbered = Rc<Vec<(Taped, Vec<[u8; ID]>)>>;

/// The tape of one service's core.
pub(super) struct Replay<E: Env, S: Source> {
    kv: OwnKv<E, S>,
    shadow: u8,
    tape: RefCell<Numbered>,
    next: Cell<usize>,
    pass: Cell<u16>,
}

impl<E: Env, S: Source> Replay<E, S> {
    /// An empty one, of the service with this number, from 1.
    pub(super) fn new(env: &E, source: S, number: u32) -> Rc<Self> {
        // The letters of keys are upper-case: lower-case, and others behind all of ASCII.
        let shadow = if number == 1 { 0x20 } else { 0x80 };
        let kv = OwnKv::new(env.clone(), source);
        Rc::new(Self {
            kv,
            shadow,
            tape: RefCell::default(),
            next: Cell::new(0),
            pass: Cell::new(1),
        })
    }

    /// Takes another tape.
    pub(super) fn load(&self, taped: Vec<Taped>) -> Averages {
        let averages = averages(&taped);
        let each = |taped: Taped| {
            let fresh = fresh(&taped);
            (taped, fresh)
        };
        *self.tape.borrow_mut() = Rc::new(taped.into_iter().map(each).collect());
        self.turn();
        averages
    }

    /// Begins the tape anew, with other numbers.
    fn turn(&self) {
        self.next.set(0);
        self.pass.set(self.pass.get().checked_add(1).unwrap_or(1));
    }

    /// The next transaction of the task with this channel.
    fn next(&self, channel: u32) -> Option<(Numbered, usize, Run)> {
        let tape = self.tape.borrow().clone();
        if tape.len() <= self.next.get() {
            self.turn();
        }
        let at = self.next.replace(self.next.get() + 1);
        let run = Run { shadow: self.shadow, pass: self.pass.get(), channel };
        (at < tape.len()).then_some((tape, at, run))
    }

    /// Does the reads of the next transaction.
    ///
    /// # Errors
    /// What the store says; an empty tape.
    pub(super) async fn read(&self, channel: u32) -> Result<(), KvError> {
        let (tape, at, run) = self.next(channel).ok_or_else(nothing)?;
        let transaction = self.kv.begin(TransactionOptions::default());
        reads(&transaction, &tape[at], run).await
    }

    /// Does the next transaction; without its reads unless `whole`.
    ///
    /// # Errors
    /// What the store says; an empty tape.
    pub(super) async fn run(&self, channel: u32, whole: bool) -> Result<(), KvError> {
        let (tape, at, run) = self.next(channel).ok_or_else(nothing)?;
        let taped = &tape[at];
        let mut attempts = 1;
        loop {
            let transaction = self.kv.begin(TransactionOptions::default());
            if whole {
                transaction.read_version().await?;
                reads(&transaction, taped, run).await?;
            }
            let Some(commit) = &taped.0.commit else { return Ok(()) };
            match commits(transaction, commit, (run, &taped.1), whole).await {
                Err(KvError::Conflict) if attempts < ATTEMPTS_MAX => attempts += 1,
                done => return done,
            }
        }
    }
}

fn nothing() -> KvError {
    KvError::Failed { reason: "no transaction of a service was noted".to_owned() }
}

async fn reads<T: Transaction>(
    transaction: &T,
    (taped, fresh): &(Taped, Vec<[u8; ID]>),
    run: Run,
) -> Result<(), KvError> {
    for round in &taped.rounds {
        let read = |read: &Read| {
            let read = read.clone();
            async move {
                match read {
                    Read::Get(key) => {
                        let key = run.key(&key, fresh);
                        transaction.get(&key, ReadMode::Snapshot).await.map(drop)
                    }
                    Read::Range(mut read) => {
                        read.range.begin = run.key(&read.range.begin, fresh);
                        read.range.end = run.key(&read.range.end, fresh);
                        transaction.range(read, ReadMode::Snapshot).await.map(drop)
                    }
                }
            }
        };
        for done in all(round.iter().map(read)).await {
            done?;
        }
    }
    Ok(())
}

async fn commits<T: Transaction>(
    transaction: T,
    commit: &CommitRequest,
    (run, fresh): (Run, &[[u8; ID]]),
    conflicts: bool,
) -> Result<(), KvError> {
    if conflicts {
        for range in &commit.read_conflicts {
            transaction.add_read_conflict(run.shadow_range(range, fresh))?;
        }
    }
    for mutation in &commit.mutations {
        transaction.mutate(run.mutation(mutation, fresh))?;
    }
    transaction.commit().await.map(drop)
}

fn averages(taped: &[Taped]) -> Averages {
    let count = taped.len().max(1) as f64;
    let mean = |of: &dyn Fn(&Taped) -> usize| taped.iter().map(of).sum::<usize>() as f64 / count;
    let of_commit = |of: fn(&CommitRequest) -> usize| {
        mean(&move |taped: &Taped| taped.commit.as_ref().map_or(0, of))
    };
    Averages {
        transactions: taped.len() as u64,
        reads: mean(&|taped| taped.rounds.iter().map(Vec::len).sum()),
        rounds: mean(&|taped| taped.rounds.len()),
        conflicts: of_commit(|commit| commit.read_conflicts.len()),
        mutations: of_commit(|commit| commit.mutations.len()),
        bytes: of_commit(CommitRequest::size),
    }
}

/// Keeps `tasks` of them under way for one slice.
pub(super) async fn flood<E: Env, S: Source>(
    replay: Rc<Replay<E, S>>,
    tasks: u32,
    whole: bool,
    meter: Rc<Meter<E>>,
) {
    let worker = |channel| {
        let (replay, meter) = (replay.clone(), meter.clone());
        meter.env().clone().spawn(async move {
            while !meter.stopping() {
                let began = meter.env().now();
                if let Err(error) = replay.run(channel, whole).await {
                    return meter.fail(error);
                }
                meter.completed(1);
                meter.answered(began);
            }
        })
    };
    let workers: Vec<_> = (0..tasks).map(worker).collect();
    for worker in workers {
        worker.await;
    }
}
