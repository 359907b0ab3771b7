//! The power fails at many operations of the disk, while several clients commit.

use std::sync::Arc;

use engine_runtime::Env;
use engine_types::Rng;

use super::*;
use crate::embedded::EmbeddedStats;
use crate::engine::simdisk::Survival;
use crate::mutation::AtomicOp;

const CLIENTS: u8 = 5;
const ROUNDS: u8 = 6;
/// Keys of each transaction beside those that are shared.
const PARTS: u8 = 3;

/// How many rounds each client was told to be committed.
type Told = [u8; CLIENTS as usize];

/// Every few a large one, so that the file grows.
fn value(client: u8, round: u8, part: u8) -> Vec<u8> {
    let bytes = if (client + round) % 9 == 4 { 50_000 } else { 60 };
    vec![client * 40 + round * 5 + part; bytes]
}

async fn commit<K: Kv>(kv: &K, client: u8, round: u8) -> Result<(), KvError> {
    let transaction = kv.begin(TransactionOptions::default());
    // The first two conflict; groups are of the others, too.
    if client < 2 {
        transaction.get(b"turn", ReadMode::Conflict).await?;
        transaction.set(b"turn", &[client, round])?;
    }
    transaction.atomic(AtomicOp::Add, b"sum", &1u64.to_le_bytes())?;
    for part in 0..PARTS {
        transaction.set(&[b'p', client, round, part], &value(client, round, part))?;
    }
    transaction.set(&[b'c', client], &[round])?;
    transaction.commit().await.map(drop)
}

/// One client after the other of its rounds; how many it was told to be done.
async fn client<K: Kv>(kv: K, client: u8) -> u8 {
    let mut round = 0;
    while round < ROUNDS {
        match commit(&kv, client, round).await {
            Ok(()) => round += 1,
            Err(KvError::Conflict) => {}
            Err(KvError::UnknownResult { .. } | KvError::Unavailable { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    round
}

/// Lets all clients run on `disk` until they are done or the disk is gone.
async fn history(env: &SimEnv, engine: RedbEngine) -> (Told, EmbeddedStats) {
    let (store, _task) = Embedded::start(env, engine).unwrap();
    let kv = OwnKv::new(env.clone(), store.clone());
    let clients: [_; CLIENTS as usize] =
        core::array::from_fn(|index| env.spawn(client(kv.clone(), u8::try_from(index).unwrap())));
    let mut told = Told::default();
    for (rounds, client) in told.iter_mut().zip(clients) {
        *rounds = client.await;
    }
    let done = told == [ROUNDS; CLIENTS as usize];
    assert_eq!(store.failure().is_none(), done, "E206");
    if !done {
        assert!(matches!(all(&kv).await, Err(KvError::Unavailable { .. })), "E206");
    }
    (told, store.stats())
}

/// What a store that opens after the crash holds; it works.
async fn recovered(env: &SimEnv, left: Vec<u8>) -> Result<Map, String> {
    let engine = RedbEngine::open_on(Arc::new(SimDisk::holding(left)), options());
    let engine = engine.map_err(|error| error.to_string())?;
    let (store, _task) = Embedded::start(env, engine).map_err(|error| error.to_string())?;
    let kv = OwnKv::new(env.clone(), store);
    let found = all(&kv).await.map_err(|error| error.to_string())?;
    commit(&kv, 0, ROUNDS).await.map_err(|error| format!("afterwards: {error}"))?;
    let again = all(&kv).await.map_err(|error| format!("afterwards: {error}"))?;
    match again.contains_key(&[b'p', 0, ROUNDS, 0][..]) {
        true => Ok(found),
        false => Err("a commit after the crash is not seen".to_owned()),
    }
}

/// Whole transactions, all that clients were told of, and in the order of each client.
fn check(found: &Map, told: Told) -> Result<(), String> {
    let mut sum = 0;
    for (client, told) in (0..CLIENTS).zip(told) {
        let mut done = 0;
        for round in 0..=ROUNDS {
            let parts = (0..PARTS).filter(|&part| {
                found.get(&[b'p', client, round, part][..]) == Some(&value(client, round, part))
            });
            match u8::try_from(parts.count()).unwrap() {
                0 => {}
                PARTS if done == round => done += 1,
                parts => return Err(format!("{parts} parts of {client}/{round}, {done} before")),
            }
        }
        if !(told..=told + 1).contains(&done) {
            return Err(format!("client {client} was told {told} rounds, {done} are there"));
        }
        let last = found.get(&[b'c', client][..]).map(|round| round[0] + 1);
        if last.unwrap_or(0) != done {
            return Err(format!("client {client}: round {last:?} is the last of {done}"));
        }
        sum += u64::from(done);
    }
    let keys = sum * u64::from(PARTS);
    let parts = found.keys().filter(|key| key[0] == b'p').count() as u64;
    let added = found.get(&b"sum"[..]).map_or(0u64.to_le_bytes().to_vec(), Vec::clone);
    match added == sum.to_le_bytes() && parts == keys {
        true => Ok(()),
        false => Err(format!("{added:?} of {sum} were added, {parts} of {keys} keys are there")),
    }
}

/// The disk crashes at every `step`th operation of a history; how many were checked.
async fn crashes(env: &SimEnv, step: usize, ignores_syncs: bool) -> Result<usize, String> {
    let disk = SimDisk::new();
    let engine = on_disk(&disk);
    let first = disk.operations();
    let (told, stats) = history(env, engine).await;
    assert_eq!(told, [ROUNDS; CLIENTS as usize]);
    assert!(stats.groups < stats.commits && 0 < stats.conflicts, "{stats:?}");
    let mut rng = Rng::new(first as u64).fork("crash");
    let mut checked = 0;
    for (number, at) in (first..disk.operations()).step_by(step).enumerate() {
        let disk = SimDisk::new();
        let engine = on_disk(&disk);
        if ignores_syncs {
            disk.ignore_syncs();
        }
        disk.crash_at(at);
        let (told, _) = history(env, engine).await;
        rng.next_u64();
        let survival = match number % 4 {
            // Any of it would be nonsense.
            _ if ignores_syncs => Survival::Nothing,
            0 => Survival::Nothing,
            1 => Survival::Everything,
            _ => Survival::Random(rng.fork("kept")),
        };
        let found = recovered(env, disk.crash(survival.clone())).await;
        let sound = found.and_then(|found| check(&found, told));
        sound.map_err(|error| format!("operation {at}, {survival:?}: {error}"))?;
        checked += 1;
    }
    Ok(checked)
}

/// E202, E203: what was acknowledged is there, and of everything all or nothing.
#[test]
fn a_crash_leaves_whole_transactions() {
    for seed in 0..2 {
        let checked = on_node(seed, |env| async move { crashes(&env, 7, false).await });
        let checked = checked.unwrap_or_else(|error| panic!("seed {seed}, {error}"));
        assert!(25 < checked, "{checked} crashes");
    }
}

#[test]
fn the_check_sees_a_disk_that_ignores_flushes() {
    let checked = on_node(1, |env| async move { crashes(&env, 7, true).await });
    let error = checked.expect_err("a planted fault");
    assert!(error.contains("was told"), "{error}");
}
