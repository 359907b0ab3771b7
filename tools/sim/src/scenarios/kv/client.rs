//! A client: one transaction after the other, each settled before the next.

use core::net::SocketAddr;
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_types::{NodeRole, reached};
use meta_kv::{
    Kv, KvError, KvRetry, Mutation, OwnKv, RangeRead, ReadMode, Transaction, TransactionOptions,
    Versionstamp,
};
use meta_kvd::Remote;

use super::order::{Done, Seen};
use super::server::net_config;
use super::{CLIENTS, QUIET_TRANSACTIONS, REGISTERS, Shared};

type Store = OwnKv<SimEnv, Remote<SimEnv>>;

const TRANSACTION_TIME: Duration = Duration::from_millis(800);

/// The key of a register.
pub(super) fn register(number: u64) -> Vec<u8> {
    format!("register/{number:02}").into_bytes()
}

/// Runs until faults have stopped and a few more transactions have passed.
pub(super) async fn run(env: SimEnv, number: u8, server: SocketAddr, shared: Rc<Shared>) {
    let remote = Remote::new(&env, net_config(&env, NodeRole::Meta), server);
    let kv = OwnKv::new(env.clone(), remote);
    let mut quiet = 0;
    for round in 0u32.. {
        let was_quiet = !shared.faults.get();
        // The last one reads everything, after all others: nothing acknowledged may be missing.
        let last = QUIET_TRANSACTIONS <= quiet && shared.finished.get() + 1 == CLIENTS;
        let done = settle(&env, &kv, &shared, (number, round, last)).await;
        shared.done.borrow_mut().push(done);
        quiet += u32::from(was_quiet);
        if QUIET_TRANSACTIONS <= quiet && shared.finished.get() + 1 < CLIENTS || last {
            break;
        }
        env.sleep_until(env.now() + Duration::from_micros(env.random() % 15_000)).await;
    }
    shared.finished.set(shared.finished.get() + 1);
}

fn begin(kv: &Store) -> <Store as Kv>::Transaction {
    let options = TransactionOptions { timeout: TRANSACTION_TIME, ..Default::default() };
    kv.begin(options)
}

/// Runs transaction `round` of client `number` until it is known to have happened.
async fn settle(
    env: &SimEnv,
    kv: &Store,
    shared: &Shared,
    (number, round, all): (u8, u32, bool),
) -> Done {
    let began = shared.moment();
    let mut attempts = Vec::new();
    loop {
        match attempt(env, kv, (number, round, all)).await {
            Ok(Step::Committed(stamp, seen)) => {
                return Done { number, round, began, ended: shared.moment(), stamp, seen };
            }
            // An earlier attempt, whose answer was lost, has happened: the record tells its place.
            Ok(Step::Found(stamp, token)) => {
                reached!("M11: a lost commit was found by its record");
                let mut attempts = attempts.into_iter();
                let seen = attempts.find(|(sent, _): &(u64, Seen)| *sent == token);
                let (_, seen) = seen.expect("only this client writes its record");
                return Done { number, round, began, ended: shared.moment(), stamp, seen };
            }
            Err(Failed { error, sent }) => {
                attempts.extend(sent);
                assert!(error.retry() != KvRetry::Never || timed_out(&error), "T63: {error}");
            }
        }
        env.sleep_until(env.now() + Duration::from_micros(500 + env.random() % 3_000)).await;
    }
}

fn timed_out(error: &KvError) -> bool {
    matches!(error, KvError::TimedOut { .. })
}

enum Step {
    Committed(Versionstamp, Seen),
    /// The record of this round, and which attempt wrote it.
    Found(Versionstamp, u64),
}

struct Failed {
    error: KvError,
    /// What may have been committed.
    sent: Option<(u64, Seen)>,
}

impl From<KvError> for Failed {
    fn from(error: KvError) -> Self {
        Self { error, sent: None }
    }
}

/// One attempt. The record is `round, token of the attempt, stamp`.
async fn attempt(
    env: &SimEnv,
    kv: &Store,
    (number, round, all): (u8, u32, bool),
) -> Result<Step, Failed> {
    let t = begin(kv);
    let record = [b"record/".as_slice(), &[number]].concat();
    if let Some(found) = t.get(&record, ReadMode::Conflict).await? {
        let (last, rest) = found.split_at(4);
        let (token, stamp) = rest.split_at(8);
        if last == round.to_le_bytes() {
            let stamp = Versionstamp(stamp.try_into().expect("ten bytes"));
            let token = u64::from_le_bytes(token.try_into().expect("eight bytes"));
            return Ok(Step::Found(stamp, token));
        }
    }
    let token = env.random();
    let mut seen = Seen::default();
    if all || env.random().is_multiple_of(3) {
        read_all(&t, &mut seen).await?;
    }
    for _ in 0..env.random() % 3 {
        let key = register(env.random() % REGISTERS);
        let value = t.get(&key, ReadMode::Conflict).await?;
        if !seen.wrote(&key) {
            seen.reads.push((key.clone(), value));
        }
        let key = register(env.random() % REGISTERS);
        let value = token.to_le_bytes().to_vec();
        t.set(&key, &value)?;
        seen.writes.push((key, value));
    }
    let value = [&round.to_le_bytes()[..], &token.to_le_bytes(), &[0; 10]].concat();
    t.mutate(Mutation::StampedValue { key: record, value, offset: 12 })?;
    match t.commit().await {
        Ok(committed) => Ok(Step::Committed(committed.stamp.expect("it wrote its record"), seen)),
        Err(error) if error.retry() == KvRetry::IfIdempotent => {
            Err(Failed { error, sent: Some((token, seen)) })
        }
        Err(error) => Err(error.into()),
    }
}

async fn read_all<T: Transaction>(t: &T, seen: &mut Seen) -> Result<(), KvError> {
    let range = meta_kv::KeyRange::prefix(b"register/").expect("the prefix has an end");
    let page = t.range(RangeRead::new(range), ReadMode::Conflict).await?;
    for number in 0..REGISTERS {
        let key = register(number);
        let value = page.entries.iter().find(|(found, _)| *found == key);
        seen.reads.push((key, value.map(|(_, value)| value.clone())));
    }
    Ok(())
}
