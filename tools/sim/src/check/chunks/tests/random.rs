//! Random executions of a reference model, and what becomes of them when something is changed.

use super::*;
use engine_types::Rng;

/// Bytes of a chunk.
const SIZE: u32 = 256;

/// A chunk as naively as possible.
#[derive(Clone, Default)]
struct Reference {
    version: u32,
    bytes: Vec<u8>,
}

impl Reference {
    fn apply(&mut self, change: &Change) -> Answer {
        let version = self.version + 1;
        self.version = version;
        let grow = |bytes: &mut Vec<u8>, len: u32| {
            let len = bytes.len().max(len as usize);
            bytes.resize(len, 0);
        };
        match *change {
            Change::Write { offset, len, stamp } => {
                grow(&mut self.bytes, offset + len);
                fill(stamp, offset, &mut self.bytes[offset as usize..(offset + len) as usize]);
            }
            Change::Truncate { len } => self.bytes.resize(len as usize, 0),
            Change::Extend { len } => grow(&mut self.bytes, len),
            Change::Zero { offset, len } => {
                let ends = self.bytes.len();
                let end = ends.min((offset + len) as usize);
                self.bytes[ends.min(offset as usize)..end].fill(0);
            }
            Change::Remove => *self = Self::default(),
        }
        Answer::Made { version, len: self.len() }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("small")
    }

    fn read(&self, offset: u32, len: u32) -> Answer {
        let (start, end) = (self.len().min(offset), self.len().min(offset + len));
        let bytes = &self.bytes[start as usize..end as usize];
        Answer::Saw(Saw::of(self.version, self.len(), offset, bytes))
    }
}

/// How an execution goes.
#[derive(Clone, Copy)]
struct Taste {
    operations: usize,
    in_flight: usize,
    /// Of updates, permille.
    unknown: u32,
    reads: u32,
    removals: u32,
    /// Of reads, permille: those of the whole chunk.
    whole: u32,
}

struct UnderWay {
    index: usize,
    answer: Option<Answer>,
    /// Nobody is told; it may never take effect.
    doubtful: bool,
}

fn range(rng: &mut Rng) -> (u32, u32) {
    let offset = u32::try_from(rng.below(u64::from(SIZE) - 1)).expect("small");
    let len = u32::try_from(rng.range(1..=u64::from(SIZE - offset))).expect("small");
    (offset, len)
}

fn call(rng: &mut Rng, taste: &Taste) -> Call {
    let (offset, len) = range(rng);
    if rng.chance(taste.reads) {
        let whole = rng.chance(taste.whole);
        return if whole {
            Call::Read { offset: 0, len: SIZE }
        } else {
            Call::Read { offset, len }
        };
    }
    if rng.chance(taste.removals) {
        return Call::Update(Change::Remove, 0);
    }
    let change = match rng.below(10) {
        0 => Change::Truncate { len: offset },
        1 => Change::Extend { len: offset },
        2 => Change::Zero { offset, len },
        _ => Change::Write { offset, len, stamp: rng.next_u64() },
    };
    Call::Update(change, 0)
}

/// A legal history, and what the chunk is at its end.
fn execution(rng: &mut Rng, taste: &Taste) -> (Vec<ChunkOperation>, Reference) {
    let mut chunk = Reference::default();
    let mut history: Vec<ChunkOperation> = Vec::new();
    let mut under_way: Vec<UnderWay> = Vec::new();
    let mut now = 0;
    while history.len() < taste.operations || under_way.iter().any(|one| !one.doubtful) {
        // Some things happen at the same instant.
        now += rng.below(3);
        let answered = under_way.iter().filter(|one| !one.doubtful).count();
        let begins = history.len() < taste.operations && answered < taste.in_flight;
        if begins && rng.chance(400) {
            let call = call(rng, taste);
            let doubtful = matches!(call, Call::Update(..)) && rng.chance(taste.unknown);
            let client = u32::try_from(rng.below(4)).expect("small");
            let end = if doubtful { End::Unknown { at: at(now + 5) } } else { End::Pending };
            under_way.push(UnderWay { index: history.len(), answer: None, doubtful });
            history.push(Operation { client, invoked: at(now), call, end });
            continue;
        }
        if under_way.is_empty() {
            continue;
        }
        let pick = usize::try_from(rng.below(under_way.len() as u64)).expect("small");
        let one = &mut under_way[pick];
        if one.doubtful && rng.chance(900) {
            continue; // it takes its time
        }
        match one.answer.take() {
            None if one.doubtful && rng.chance(300) => {
                under_way.swap_remove(pick); // it never happens
            }
            None => {
                one.answer = Some(match history[one.index].call {
                    Call::Read { offset, len } => chunk.read(offset, len),
                    Call::Update(change, _) => chunk.apply(&change),
                });
                if one.doubtful {
                    under_way.swap_remove(pick);
                }
            }
            Some(result) => {
                history[one.index].end = End::Returned { at: at(now), result };
                under_way.swap_remove(pick);
            }
        }
    }
    (history, chunk)
}

fn taste(rng: &mut Rng) -> Taste {
    Taste {
        operations: usize::try_from(rng.range(1..=80)).expect("small"),
        in_flight: usize::try_from(rng.range(1..=10)).expect("small"),
        unknown: u32::try_from(rng.below(500)).expect("small"),
        reads: u32::try_from(rng.range(100..=800)).expect("small"),
        removals: *rng.pick(&[0, 20, 150]).expect("there are some"),
        whole: *rng.pick(&[0, 500, 1000]).expect("there are some"),
    }
}

/// Runs executions, which are legal; how many updates of unknown outcome they had, and how often
/// the search did not end.
fn legal(seeds: Range<u64>, taste: impl Fn(&mut Rng) -> Taste) -> (usize, u64) {
    let (mut doubts, mut undecided) = (0, 0);
    for seed in seeds {
        let rng = &mut Rng::new(seed);
        let taste = taste(rng);
        let (history, chunk) = execution(rng, &taste);
        let doubtful = |operation: &&ChunkOperation| matches!(operation.end, End::Unknown { .. });
        doubts += history.iter().filter(doubtful).count();
        let Answer::Saw(saw) = chunk.read(0, SIZE) else { unreachable!("a read sees") };
        let held = Held { digest: (saw.version != 0).then_some(7), saw };
        let replicas = [("a".to_owned(), held.clone()), ("b".to_owned(), held)];
        if let Err(found) = chunk_at_rest(&history, &replicas) {
            assert!(found.what.contains("undecided"), "seed {seed}: {found}");
            undecided += 1;
        }
    }
    (doubts, undecided)
}

/// As scenarios make them: some updates of unknown outcome, many reads of the whole chunk.
#[test]
fn executions_are_legal() {
    let usual = |rng: &mut Rng| Taste {
        unknown: u32::try_from(rng.below(120)).expect("small"),
        reads: u32::try_from(rng.range(350..=700)).expect("small"),
        removals: *rng.pick(&[0, 20]).expect("there are some"),
        whole: 600,
        ..taste(rng)
    };
    let (doubts, undecided) = legal(0..4_000, usual);
    assert!(4_000 < doubts && undecided == 0, "{doubts} of unknown outcome, {undecided} undecided");
}

/// Up to half of the updates of unknown outcome, and reads of parts alone: an order is found nearly
/// always, and none is called impossible.
#[test]
fn executions_that_say_little_are_not_called_illegal() {
    let (doubts, undecided) = legal(0..400, taste);
    assert!(
        2_000 < doubts && undecided <= 20,
        "{doubts} of unknown outcome, {undecided} undecided"
    );
}

#[test]
fn long_executions_take_no_longer_for_each_operation() {
    let rng = &mut Rng::new(1);
    let taste = Taste {
        operations: 5_000,
        in_flight: 12,
        unknown: 30,
        reads: 500,
        removals: 5,
        whole: 500,
    };
    let (history, _) = execution(rng, &taste);
    accepted(&history);
}

/// What is changed in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mutation {
    /// Two reads exchange what they saw.
    SwapReads,
    /// Two updates exchange their acknowledgements.
    SwapUpdates,
    /// An acknowledged update was never asked for.
    Drop,
    /// An operation comes later than everything that followed it.
    Later,
    /// A version is another one.
    Version,
    /// A byte is another one.
    Byte,
}

const MUTATIONS: [Mutation; 6] = [
    Mutation::SwapReads,
    Mutation::SwapUpdates,
    Mutation::Drop,
    Mutation::Later,
    Mutation::Version,
    Mutation::Byte,
];

/// Changes something, unless there is nothing to change.
fn mutate(history: &mut Vec<ChunkOperation>, mutation: Mutation, rng: &mut Rng) -> Option<()> {
    let answered = |update: bool| {
        let all = history.iter().enumerate().filter(move |(_, operation)| {
            matches!(operation.call, Call::Update(..)) == update && operation.result().is_some()
        });
        all.map(|(index, _)| index).collect::<Vec<usize>>()
    };
    let (updates, reads) = (answered(true), answered(false));
    match mutation {
        Mutation::SwapReads | Mutation::SwapUpdates => {
            let from = if mutation == Mutation::SwapReads { &reads } else { &updates };
            let (one, other) = (*rng.pick(from)?, *rng.pick(from)?);
            let (a, b) = (history[one].result()?.clone(), history[other].result()?.clone());
            if a == b {
                return None;
            }
            told(&mut history[one], b);
            told(&mut history[other], a);
        }
        Mutation::Drop => {
            history.remove(*rng.pick(&updates)?);
        }
        Mutation::Later => {
            let mut moved = history.remove(*rng.pick(&updates)?);
            let result = moved.result()?.clone();
            let ends = history.iter().filter_map(|operation| match operation.end {
                End::Returned { at, .. } => Some(at),
                _ => None,
            });
            moved.invoked = ends.max()? + core::time::Duration::from_millis(1);
            moved.end = End::Returned { at: Instant::NEVER, result };
            history.push(moved);
        }
        Mutation::Version => {
            let index = *rng.pick(&[&updates[..], &reads].concat())?;
            let mut answer = history[index].result()?.clone();
            match &mut answer {
                Answer::Saw(Saw { version, .. }) | Answer::Made { version, .. } => *version += 1,
            }
            told(&mut history[index], answer);
        }
        Mutation::Byte => {
            let index = *rng.pick(&reads)?;
            let mut answer = history[index].result()?.clone();
            if let Answer::Saw(saw) = &mut answer {
                saw.print ^= 1;
            }
            told(&mut history[index], answer);
        }
    }
    Some(())
}

fn told(operation: &mut ChunkOperation, answer: Answer) {
    if let End::Returned { result, .. } = &mut operation.end {
        *result = answer;
    }
}

/// A change may lead to another legal history: operations that overlap may change places. How many
/// of each kind are rejected is written down, so that a checker that grows blind is seen.
#[test]
fn what_was_changed_is_mostly_rejected() {
    for mutation in MUTATIONS {
        let (mut changed, mut rejected) = (0u64, 0u64);
        for seed in 0..500 {
            let rng = &mut Rng::new(seed).fork("mutations");
            let taste = Taste { unknown: 40, ..taste(rng) };
            let (mut history, _) = execution(rng, &taste);
            if mutate(&mut history, mutation, rng).is_some() {
                changed += 1;
                rejected += u64::from(chunk_linearizable(&history).is_err());
            }
        }
        println!("{mutation:?}: {rejected} of {changed} rejected");
        let least = match mutation {
            Mutation::SwapReads | Mutation::SwapUpdates => 60,
            Mutation::Drop | Mutation::Later => 60,
            Mutation::Version => 90,
            Mutation::Byte => 100,
        };
        assert!(200 < changed && least * changed <= 100 * rejected, "{mutation:?}");
    }
}
