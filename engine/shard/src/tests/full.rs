//! Stores that are full, of data or of records: what is refused, and what makes room.

use engine_store::UpdateError;

use super::*;

const SEGMENT: u64 = 64 << 20;

async fn open_with(env: &SimEnv, config: StoreConfig) -> ChunkStore<SimEnv> {
    ChunkStore::open(env, Path::new(PATH), config).await.unwrap().0
}

async fn ask(
    env: &SimEnv,
    store: &ChunkStore<SimEnv>,
    asked: Update,
) -> Result<Stored, UpdateError> {
    let payload = match asked.change {
        Change::Write { offset, len } => Payload::new(offset, bytes(env, &pattern(len, 1)).await),
        _ => Payload::NONE,
    };
    let stored = store.update(asked, payload).await?;
    store.commit(&asked.key, asked.version).unwrap();
    Ok(stored)
}

/// New chunks until one is refused; how many there were, and the refusal.
async fn fill(
    env: &SimEnv,
    store: &ChunkStore<SimEnv>,
    size: u32,
    change: Change,
) -> (u32, UpdateError) {
    for index in 0..100_000 {
        if let Err(why) = ask(env, store, update(key(index), 1, size, change)).await {
            return (index, why);
        }
    }
    panic!("it is never full");
}

/// Removals and truncations, also those that have to write, succeed in a store without room.
async fn shrink(env: &SimEnv, store: &ChunkStore<SimEnv>, size: u32, data_end: u32) {
    let change = Change::Truncate { len: data_end - 1000 };
    ask(env, store, update(key(0), 2, size, change)).await.unwrap();
    let change = Change::Zero { offset: data_end - 3000, len: 500 };
    ask(env, store, update(key(1), 2, size, change)).await.unwrap();
    ask(env, store, update(key(2), 2, size, Change::Truncate { len: 0 })).await.unwrap();
    ask(env, store, update(key(3), 2, size, Change::Remove)).await.unwrap();
    assert!(store.erase(&key(4)).await.unwrap());
    store.sync().await.unwrap();
    store.audit().unwrap();
}

/// A block of 4 MiB with hardly any data.
const LARGE: u32 = 8 * MIB;
const WRITE: Change = Change::Write { offset: 4 * MIB, len: 5000 };
const DATA_END: u32 = 4 * MIB + 5000;

#[test]
fn a_full_store_lets_chunks_shrink() {
    let ground = Ground::new(1);
    let options = CreateOptions { size: Some((60 << 20) + 4 * SEGMENT), ..options() };
    ground.sim.add_device(ground.node, PATH, options.size.unwrap(), 512);
    ground.run(move |env| async move {
        let options = CreateOptions { force: true, ..options };
        ChunkStore::format(&env, Path::new(PATH), &options).await.unwrap();
        let store = open_with(&env, config()).await;
        store.set_target(SLOT, Some(target())).await.unwrap();
        let (count, why) = fill(&env, &store, LARGE, WRITE).await;
        assert_eq!(count, 32, "two segments of 16 blocks, two in reserve");
        assert!(matches!(why, UpdateError::NoSpace { .. }), "{why}");
        assert_eq!(store.space().free, 0);
        shrink(&env, &store, LARGE, DATA_END).await;
        let again = ask(&env, &store, update(key(50), 1, LARGE, WRITE)).await;
        assert!(again.is_ok(), "what was removed is free: {again:?}");
    });
}

#[test]
fn the_mark_stops_growth_where_it_is_set() {
    let ground = Ground::new(2);
    let options = CreateOptions { size: Some((60 << 20) + 10 * SEGMENT), ..options() };
    ground.run(move |env| async move {
        ChunkStore::format(&env, Path::new(PATH), &options).await.unwrap();
        let store = open_with(&env, StoreConfig { full_permille: 300, ..config() }).await;
        store.set_target(SLOT, Some(target())).await.unwrap();
        let total = store.space().total;
        let (count, why) = fill(&env, &store, LARGE, WRITE).await;
        assert!(matches!(why, UpdateError::NoSpace { free: 0, needed: 4_194_304 }), "{why}");
        assert_eq!(u64::from(count), total * 300 / 1000 / (4 << 20));
        shrink(&env, &store, LARGE, DATA_END).await;
        ask(&env, &store, update(key(5000), 1, LARGE, WRITE)).await.expect("below the mark");
        store.close().await.unwrap();
    });
    // The mark is the process's: another may set it higher.
    ground.run(move |env| async move {
        let store = open_with(&env, config()).await;
        let total = store.space().total;
        assert!(total / 2 < store.space().free);
        ask(&env, &store, update(key(6000), 1, LARGE, WRITE)).await.unwrap();
    });
}

/// Every record counts: a store can be full with most of its space free (S17).
#[test]
fn records_that_fill_the_index_are_refused_as_such() {
    let ground = Ground::new(3);
    ground.run(|env| async move {
        ChunkStore::format(&env, Path::new(PATH), &options()).await.unwrap();
        let budget = 600 << 10;
        let config = StoreConfig { index_bytes_max: Some(budget), ..config() };
        let store = open_with(&env, config).await;
        store.set_target(SLOT, Some(target())).await.unwrap();
        // 1,024 words each.
        let size = 64 * MIB;
        let change = Change::Write { offset: size - 5000, len: 5000 };
        let (count, why) = fill(&env, &store, size, change).await;
        let UpdateError::NoRecords { bytes, max } = why else { panic!("{why}") };
        assert!((60..150).contains(&count), "{count} records of 4 KiB");
        // Pages of the tree come on top of the records.
        assert_eq!(max, budget);
        assert!(budget < bytes + 10_000 && bytes < budget + budget / 8, "{bytes} of {max}");
        assert!(store.space().live < store.space().free, "of data it is far from full");
        let longer = Change::Extend { len: size };
        let same = ask(&env, &store, update(key(5), 2, size, longer)).await;
        assert!(same.is_ok() || matches!(same, Err(UpdateError::NoRecords { .. })), "{same:?}");
        shrink(&env, &store, size, size).await;
        ask(&env, &store, update(key(5000), 1, size, change)).await.expect("there is room again");
        store.audit().unwrap();
    });
}

/// Who closes a store that somebody closes already hears of the end as well.
#[test]
fn a_second_close_waits_for_the_first() {
    let ground = Ground::new(4);
    ground.run(|env| async move {
        let store = create(&env).await;
        write(&env, &store, key(0), 1, (0, &pattern(200 * KIB, 1))).await;
        write(&env, &store, key(0), 2, (77, &[1; 5000])).await;
        let handle = store.clone();
        let first = env.spawn(async move { handle.close().await });
        engine_runtime::yield_now().await;
        store.close().await.unwrap();
        let flags = store.superblock().flags;
        assert!(flags.has(engine_store::format::StoreFlags::CLEAN), "it is closed by now");
        assert_eq!(store.inner.tasks.get(), 0);
        first.await.unwrap();
        store.close().await.unwrap();
    });
    // Also when nobody waits for the first any more.
    ground.run(|env| async move {
        let (store, opened) = open(&env).await;
        assert_eq!(opened.chunks, 1);
        let soon = env.now().saturating_add(Duration::from_micros(10));
        let _ = engine_runtime::until(&env, soon, Box::pin(store.close())).await;
        store.close().await.unwrap();
        assert_eq!(store.inner.tasks.get(), 0);
    });
}
