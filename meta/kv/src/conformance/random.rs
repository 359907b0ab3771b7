//! Random transactions against a model: what each reads and writes has to be explained by running
//! the committed ones alone, in the order of their commits (E200, E204).

use std::collections::BTreeMap;

use engine_types::Rng;

use super::{Case, Suite};
use crate::api::{Kv, RangeRead, ReadMode, Transaction};
use crate::error::KvError;
use crate::key::KeyRange;
use crate::mutation::{AtomicOp, Mutation};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// A read and what it saw.
#[derive(Debug)]
enum Read {
    Get(Vec<u8>, Option<Vec<u8>>),
    Range(RangeRead, Vec<(Vec<u8>, Vec<u8>)>),
}

/// A transaction under way: what it did so far, to be replayed at its commit.
struct Open<T> {
    transaction: T,
    steps: Vec<Step>,
    /// The model when its version was taken, to be read through its writes.
    at: Model,
}

#[derive(Debug)]
enum Step {
    Read(Read, ReadMode),
    Write(Mutation),
}

/// Applies a write to a model.
pub(crate) fn apply(model: &mut Model, write: &Mutation) {
    match write {
        Mutation::Set { key, value } => drop(model.insert(key.clone(), value.clone())),
        Mutation::Clear { range } => model.retain(|key, _| !range.contains(key)),
        Mutation::Atomic { op, key, operand } => {
            match op.apply(model.get(key).map(Vec::as_slice), operand) {
                Some(value) => drop(model.insert(key.clone(), value)),
                None => drop(model.remove(key)),
            }
        }
        Mutation::StampedKey { .. } | Mutation::StampedValue { .. } => {
            unreachable!("models know no stamps")
        }
    }
}

/// A page of a model.
pub(crate) fn page(model: &Model, read: &RangeRead) -> Vec<(Vec<u8>, Vec<u8>)> {
    let inside = model.iter().filter(|(key, _)| read.range.contains(key));
    let entry = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
    if read.reverse {
        inside.rev().take(read.limit).map(entry).collect()
    } else {
        inside.take(read.limit).map(entry).collect()
    }
}

struct Dice<'a> {
    rng: Rng,
    prefix: &'a [u8],
}

impl Dice<'_> {
    /// One of 16 keys, so that transactions meet.
    fn key(&mut self) -> Vec<u8> {
        let name = self.rng.below(16);
        [self.prefix, &[b'a' + u8::try_from(name).expect("below 16")]].concat()
    }

    fn range(&mut self) -> KeyRange {
        let (a, b) = (self.key(), self.key());
        KeyRange { begin: a.clone().min(b.clone()), end: a.max(b) }
    }

    fn value(&mut self) -> Vec<u8> {
        let mut value = vec![0; usize::try_from(self.rng.below(5)).expect("below 5")];
        self.rng.fill_bytes(&mut value);
        value
    }

    fn write(&mut self) -> Mutation {
        match self.rng.below(10) {
            0..4 => Mutation::Set { key: self.key(), value: self.value() },
            4..6 => Mutation::Clear { range: KeyRange::single(&self.key()) },
            6..7 => Mutation::Clear { range: self.range() },
            _ => {
                let op = *self.rng.pick(&AtomicOp::ALL).expect("not empty");
                Mutation::Atomic { op, key: self.key(), operand: self.value() }
            }
        }
    }

    fn read(&mut self) -> RangeRead {
        let limit = usize::try_from(self.rng.range(1..=8)).expect("at most 8");
        RangeRead { range: self.range(), limit, reverse: self.rng.chance(500) }
    }

    fn mode(&mut self) -> ReadMode {
        if self.rng.chance(700) { ReadMode::Conflict } else { ReadMode::Snapshot }
    }
}

/// `suite.rounds` steps of `concurrent` transactions at a time.
pub(super) async fn run<K: Kv>(case: &Case<'_, K>, suite: &Suite, concurrent: usize) {
    let rng = Rng::new(suite.seed).fork("conformance");
    let mut dice = Dice { rng, prefix: &case.prefix };
    let mut model = Model::new();
    let mut open: Vec<Open<K::Transaction>> = Vec::new();
    let (mut committed, mut refused) = (0u32, 0u32);
    for round in 0..suite.rounds {
        if open.len() < concurrent {
            let transaction = case.begin();
            transaction.read_version().await.unwrap();
            open.push(Open { transaction, steps: Vec::new(), at: model.clone() });
        }
        let which = usize::try_from(dice.rng.below(open.len() as u64)).expect("an index");
        if dice.rng.chance(850) {
            step(&mut open[which], &mut dice, suite.seed, round).await;
            continue;
        }
        let Open { transaction, steps, .. } = open.swap_remove(which);
        if dice.rng.chance(100) {
            continue; // dropped: nothing of it may show
        }
        match transaction.commit().await {
            Ok(_) => {
                committed += 1;
                replay(&mut model, &steps, &format!("seed {}, round {round}", suite.seed));
            }
            Err(KvError::Conflict) => refused += 1,
            Err(error) => panic!("seed {}, round {round}: {error}", suite.seed),
        }
    }
    drop(open);
    let end = case.begin().range(RangeRead::new(case.all()), ReadMode::Snapshot).await.unwrap();
    assert_eq!(end.entries, page(&model, &RangeRead::new(case.all())), "seed {}", suite.seed);
    assert!(0 < committed, "nothing was committed");
    assert!((concurrent == 1) == (refused == 0), "{refused} of {committed} refused");
}

/// One random read or write; reads are compared with what the transaction has to see (E204).
async fn step<T: Transaction>(open: &mut Open<T>, dice: &mut Dice<'_>, seed: u64, round: u32) {
    let context = format!("seed {seed}, round {round}, after {:?}", open.steps);
    if dice.rng.chance(500) {
        let write = dice.write();
        open.transaction.mutate(write.clone()).unwrap();
        apply(&mut open.at, &write);
        open.steps.push(Step::Write(write));
        return;
    }
    let mode = dice.mode();
    let read = if dice.rng.chance(500) {
        let key = dice.key();
        let value = open.transaction.get(&key, mode).await.unwrap();
        assert_eq!(value, open.at.get(&key).cloned(), "{context}");
        Read::Get(key, value)
    } else {
        let read = dice.read();
        let found = open.transaction.range(read.clone(), mode).await.unwrap();
        let expected = page(&open.at, &read);
        assert_eq!(found.entries, expected[..found.entries.len()], "{read:?}, {context}");
        assert!(found.more || found.entries.len() == expected.len(), "{read:?}, {context}");
        // What the page covered, exactly: replayed at the commit.
        let covered = RangeRead { limit: found.entries.len().max(1), ..read };
        let covered = if found.more { covered } else { RangeRead { limit: usize::MAX, ..covered } };
        Read::Range(covered, found.entries)
    };
    open.steps.push(Step::Read(read, mode));
}

/// Runs a committed transaction on the model at its place in the order of commits: what it read in
/// conflict mode has to be what it would read now. One without writes stands at its read version,
/// where each of its reads was compared.
fn replay(model: &mut Model, steps: &[Step], context: &str) {
    let writes = |step: &Step| matches!(step, Step::Write(write) if !write.written().is_empty());
    if !steps.iter().any(writes) {
        return;
    }
    for step in steps {
        match step {
            Step::Write(write) => apply(model, write),
            Step::Read(_, ReadMode::Snapshot) => {}
            Step::Read(Read::Get(key, seen), ReadMode::Conflict) => {
                assert_eq!(model.get(key), seen.as_ref(), "E200: {context}: {steps:?}");
            }
            Step::Read(Read::Range(read, seen), ReadMode::Conflict) => {
                assert_eq!(page(model, read), *seen, "E200: {context}: {read:?} of {steps:?}");
            }
        }
    }
}
