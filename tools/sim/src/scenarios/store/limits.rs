//! The chunk store at the ends of its memory: records, and blocks that grow.
//!
//! Checks
//!   T55  a store refuses records beyond its index memory, and only those: it stays in service, its
//!        checkpoint fits, and it opens again with every record that it had stored (S17)
//!   T56  a chunk that is appended to has blocks of two sizes in its life: it is copied once (S19)

use core::time::Duration;
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_shard::{ChunkStore, CreateOptions, Payload, StoreConfig};
use engine_store::{BlockClass, Change, ChunkKey, Slot, TruncateEpoch, Update, UpdateError};
use engine_types::{ChainVersion, ChunkSize, ChunkVersion, Rng, reached};

use super::life::first_target;
use crate::check::{Verdict, fail};
use crate::fault::FaultPlan;
use crate::scenario::{Played, Scenario};
use crate::topology::Topology;
use crate::world::World;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "store-limits",
    about: "a store whose index is full refuses growth and goes on; appended chunks move once",
    play,
};

const PATH: &str = "data/store";
const SLOT: Slot = Slot::new(0);
const MIB: u64 = 1 << 20;
const PAGE: u32 = 4096;
const LIMIT: Duration = Duration::from_secs(60);
/// Records that would fill the index more than twice.
const RECORDS_MAX: u32 = 600;
/// The index allocates up to so many bytes ahead of its records.
const AHEAD: u64 = 256 << 10;
/// An index is not called full before.
const RECORDS_MIN: u32 = 150;

/// What went on: requests, records stored, and the first check that failed.
#[derive(Default)]
struct Found {
    operations: u64,
    stored: u32,
    broken: Option<Failure>,
}

fn play(seed: u64) -> Played {
    let mut world = World::new(seed, Topology::of(&[("store", 1)]));
    let rng = world.sim().random("limits");
    let found: Rc<RefCell<Found>> = Rc::default();
    let shared = found.clone();
    let mut verdict = life(&mut world, &found, move |env| {
        let (shared, mut rng) = (shared.clone(), rng.clone());
        async move {
            let mut found = Found::default();
            let answer = match seed % 2 {
                0 => records(&env, &mut rng, &mut found).await,
                _ => growth(&env, &mut rng, &mut found).await,
            };
            *shared.borrow_mut() = Found { broken: answer.err(), ..found };
        }
    });
    if verdict.is_ok() && seed.is_multiple_of(2) {
        let shared = found.clone();
        verdict = life(&mut world, &found, move |env| {
            let shared = shared.clone();
            async move {
                let stored = shared.borrow().stored;
                shared.borrow_mut().broken = count(&env, stored).await.err();
            }
        });
    }
    let operations = found.borrow().operations;
    Played { world, plan: FaultPlan::default(), operations, verdict }
}

/// One process, from its beginning to its end.
fn life<F>(
    world: &mut World,
    found: &RefCell<Found>,
    main: impl Fn(SimEnv) -> F + 'static,
) -> Verdict
where
    F: Future<Output = ()> + 'static,
{
    let node = world.node(0);
    world.start(node, main);
    if !world.run_while(LIMIT, |sim| sim.is_running(node))? {
        return fail("T48 every request ends", "the process goes on");
    }
    match found.borrow_mut().broken.take() {
        Some((check, what)) => fail(check, what),
        None => Ok(()),
    }
}

type Failure = (&'static str, String);
type Answer = Result<(), Failure>;

const RECORDS: &str = "T55 records";
const GROWTH: &str = "T56 growth";

async fn opened(env: &SimEnv, check: &'static str) -> Result<ChunkStore<SimEnv>, Failure> {
    let opened = ChunkStore::open(env, Path::new(PATH), StoreConfig::default()).await;
    opened.map(|(store, _)| store).map_err(|why| (check, why.to_string()))
}

async fn new(env: &SimEnv, size: u64, check: &'static str) -> Result<ChunkStore<SimEnv>, Failure> {
    let create = CreateOptions {
        cluster: engine_types::ClusterId::new(7),
        size: Some(size),
        journal_bytes: Some(2 * MIB),
        index_bytes: Some(MIB),
        dedup_channels: Some(4096),
        force: true,
    };
    let made = ChunkStore::format(env, Path::new(PATH), &create).await;
    made.map_err(|why| (check, why.to_string()))?;
    let store = opened(env, check).await?;
    let target = store.set_target(SLOT, Some(first_target(SLOT))).await;
    target.map_err(|why| (check, why.to_string()))?;
    Ok(store)
}

/// One page, stored and committed.
async fn put(
    env: &SimEnv,
    store: &ChunkStore<SimEnv>,
    (key, version): (ChunkKey, u32),
    (size, offset): (ChunkSize, u32),
) -> Result<(), UpdateError> {
    let mut buf = env.pool().alloc_wait(PAGE as usize).await.expect("a page");
    buf.extend_from_slice(&[7; PAGE as usize]);
    let update = Update {
        key,
        version: ChunkVersion::new(version),
        chain_version: ChainVersion::new(1),
        epoch: TruncateEpoch::default(),
        size,
        change: Change::Write { offset, len: PAGE },
        tag: None,
    };
    store.update(update, Payload::new(offset, buf.freeze())).await?;
    store.commit(&key, update.version)
}

/// T55. Chunks of 64 MiB whose last bytes are written have the largest records.
async fn records(env: &SimEnv, rng: &mut Rng, found: &mut Found) -> Answer {
    let store = new(env, 3 << 30, RECORDS).await?;
    let size = ChunkSize::MAX;
    let key = |chunk| ChunkKey::new(SLOT, 1, chunk);
    let refused = loop {
        if found.stored == RECORDS_MAX {
            break None;
        }
        let offset = size.bytes() - PAGE * u32::try_from(rng.range(1..=8)).expect("small");
        found.operations += 1;
        match put(env, &store, (key(found.stored), 1), (size, offset)).await {
            Ok(()) => found.stored += 1,
            Err(why) => break Some(why),
        }
    };
    match refused {
        Some(UpdateError::NoRecords { bytes, max })
            if bytes <= max + AHEAD && RECORDS_MIN < found.stored =>
        {
            reached!("T55: an index was full");
        }
        why => return Err((RECORDS, format!("after {} records: {why:?}", found.stored))),
    }
    if let Some(why) = store.failure() {
        return Err((RECORDS, format!("out of service: {why}")));
    }
    if rng.chance(500) {
        store.close().await.map_err(|why| (RECORDS, format!("close: {why}")))?;
    } else {
        store.sync().await.map_err(|why| (RECORDS, format!("sync: {why}")))?;
    }
    Ok(())
}

/// The next process finds what was stored.
async fn count(env: &SimEnv, stored: u32) -> Answer {
    let store = opened(env, RECORDS).await?;
    let (mut there, mut after) = (0, None);
    loop {
        let listed = store.list(SLOT, after, usize::MAX);
        let Some(last) = listed.last() else { break };
        there += listed.len();
        after = Some(last.key);
    }
    if there != stored as usize {
        return Err((RECORDS, format!("{there} records are found, {stored} were stored")));
    }
    store.audit().map(drop).map_err(|why| (RECORDS, why))
}

/// T56.
async fn growth(env: &SimEnv, rng: &mut Rng, found: &mut Found) -> Answer {
    let store = new(env, 640 * MIB, GROWTH).await?;
    let bytes = (64 << 10) << rng.below(5); // 64 KiB to 1 MiB
    let size = ChunkSize::new(bytes).expect("a chunk size");
    let key = ChunkKey::new(SLOT, 1, 0);
    let mut classes: Vec<BlockClass> = Vec::new();
    for page in 0..(bytes / PAGE).min(40) {
        found.operations += 1;
        let put = put(env, &store, (key, page + 1), (size, page * PAGE)).await;
        put.map_err(|why| (GROWTH, why.to_string()))?;
        let listed = store.list(SLOT, None, 1);
        classes.extend(listed.first().map(|one| one.head.class));
    }
    classes.dedup();
    let whole = BlockClass::holding(bytes).expect("at most the largest");
    if classes.len() != 2 || classes[1] != whole {
        return Err((GROWTH, format!("a chunk of {bytes} bytes had blocks of {classes:?}")));
    }
    Ok(())
}
