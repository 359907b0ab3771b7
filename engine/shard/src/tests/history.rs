//! Random histories through crashes: what was acknowledged is there, whole; nothing else is.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use engine_types::Rng;

use super::*;

/// Sizes of the chunks by index.
const SIZES: [u32; 6] = [4 * KIB, 16 * KIB, 64 * KIB, MIB, MIB, 8 * MIB];

/// A version of a chunk: nothing for a removal.
type Version = Option<Vec<u8>>;

/// What one chunk may be.
#[derive(Clone, Debug, Default)]
struct Chunk {
    /// The version whose commit was decided last, and what it is.
    committed: (u32, Version),
    /// A version that was asked for; acknowledged or not.
    pending: Option<(u32, Version, bool)>,
    /// The committed version before, while the newest commit may be lost.
    before: Option<(u32, Version)>,
}

type Shared = Rc<RefCell<BTreeMap<u32, Chunk>>>;

fn apply(old: &Version, change: &Change, data: &[u8]) -> Version {
    let mut bytes = old.clone().unwrap_or_default();
    let grow = |bytes: &mut Vec<u8>, len: u32| {
        if bytes.len() < len as usize {
            bytes.resize(len as usize, 0);
        }
    };
    match *change {
        Change::Write { offset, len } => {
            grow(&mut bytes, offset + len);
            bytes[offset as usize..(offset + len) as usize].copy_from_slice(data);
        }
        Change::Truncate { len } => bytes.resize(len as usize, 0),
        Change::Extend { len } => grow(&mut bytes, len),
        Change::Zero { offset, len } => {
            let end = bytes.len().min((offset + len) as usize);
            let start = end.min(offset as usize);
            bytes[start..end].fill(0);
        }
        Change::Remove => return None,
        Change::Replace { .. } => unreachable!("not drawn"),
    }
    Some(bytes)
}

fn draw(rng: &mut Rng, size: u32, len: u32) -> (Change, Vec<u8>) {
    let place = |rng: &mut Rng| {
        let edge = [1, 4 * KIB, 64 * KIB, size / 2 + 1][rng.below(4) as usize].min(size);
        let offset = rng.below(u64::from(size)) as u32 / edge * edge;
        let max = (size - offset).min([100, 5000, 70 * KIB, MIB][rng.below(4) as usize]);
        (offset, 1 + rng.below(u64::from(max)) as u32)
    };
    match rng.below(20) {
        0 => (Change::Truncate { len: rng.below(u64::from(size) + 1) as u32 }, Vec::new()),
        1 => (Change::Extend { len: rng.below(u64::from(size) + 1) as u32 }, Vec::new()),
        2 | 3 => {
            let (offset, len) = place(rng);
            (Change::Zero { offset, len }, Vec::new())
        }
        4 => (Change::Remove, Vec::new()),
        kind => {
            let (mut offset, mut count) = place(rng);
            if kind < 9 && len < size {
                offset = len; // append
                count = count.min(size - len);
            }
            let salt = rng.next_u64() as u8;
            let data = (0..count).map(|at| (at as u8).wrapping_mul(31) ^ salt | 1).collect();
            (Change::Write { offset, len: count }, data)
        }
    }
}

async fn work(env: SimEnv, store: ChunkStore<SimEnv>, model: Shared, index: u32, seed: u64) {
    let mut rng = Rng::new(seed);
    let key = key(index);
    let size = SIZES[index as usize];
    loop {
        let (version, base) = {
            let model = model.borrow();
            let chunk = &model[&index];
            (chunk.committed.0 + 1, chunk.committed.1.clone())
        };
        let len = base.as_ref().map_or(0, |bytes| bytes.len() as u32);
        let (mut change, data) = draw(&mut rng, size, len);
        if base.is_none() && matches!(change, Change::Remove) {
            // Its commit changes nothing that a crash could be told by, and the next version has
            // the same number.
            change = Change::Extend { len: 0 };
        }
        let next = apply(&base, &change, &data);
        let payload = match change {
            Change::Write { offset, .. } => Payload::new(offset, bytes(&env, &data).await),
            _ => Payload::NONE,
        };
        model.borrow_mut().get_mut(&index).unwrap().pending = Some((version, next.clone(), false));
        let asked = update(key, version, size, change);
        let stored = store.update(asked, payload).await;
        assert_eq!(stored.map(|s| s.version.get()), Ok(version), "{change:?}");
        model.borrow_mut().get_mut(&index).unwrap().pending = Some((version, next.clone(), true));
        match rng.below(12) {
            0 => {
                // From here on it may be gone.
                model.borrow_mut().get_mut(&index).unwrap().pending =
                    Some((version, next.clone(), false));
                store.abort(&key, ChunkVersion::new(version)).await.unwrap();
                model.borrow_mut().get_mut(&index).unwrap().pending = None;
            }
            pause => {
                if pause == 1 {
                    env.sleep_until(env.now().saturating_add(Duration::from_millis(5))).await;
                }
                let mut model = model.borrow_mut();
                let chunk = model.get_mut(&index).unwrap();
                chunk.pending = None;
                store.commit(&key, ChunkVersion::new(version)).unwrap();
                let committed = if next.is_none() { (0, None) } else { (version, next) };
                let before = core::mem::replace(&mut chunk.committed, committed);
                chunk.before = Some(before);
            }
        }
        let now = model.borrow()[&index].committed.1.clone();
        check_read(&env, &store, &mut rng, key, &now).await;
    }
}

async fn check_read(
    env: &SimEnv,
    store: &ChunkStore<SimEnv>,
    rng: &mut Rng,
    key: ChunkKey,
    expected: &Version,
) {
    let _ = env;
    let Some(expected) = expected else {
        return assert_eq!(store.state(&key).committed, None);
    };
    let offset = rng.below(expected.len() as u64 + 1) as u32;
    let len = 1 + rng.below(200_000) as u32;
    let verify = rng.below(2) == 0;
    let read = Read { key, offset, len, version: Which::Committed, verify };
    let content = store.read(read).await.unwrap();
    let end = expected.len().min((offset + len) as usize);
    assert!(content.to_vec() == expected[offset as usize..end], "{key} +{offset} {len}");
}

async fn whole(store: &ChunkStore<SimEnv>, key: ChunkKey, version: Which) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let offset = all.len() as u32;
        let content =
            store.read(Read { key, offset, len: 4 * MIB, version, verify: true }).await.unwrap();
        if content.is_empty() {
            return all;
        }
        all.extend(content.to_vec());
    }
}

/// What the store has of a chunk must be what the model allows; the model continues from there.
async fn settle(store: &ChunkStore<SimEnv>, model: &Shared, index: u32, seed: u64) {
    let key = key(index);
    let chunk = model.borrow()[&index].clone();
    let state = store.state(&key);
    let context = format!("seed {seed} {key}: {state:?}");
    let committed = match state.committed {
        Some((version, _)) => {
            Some((version.get(), Some(whole(store, key, Which::Committed).await)))
        }
        None => None,
    };
    let found = committed.clone();
    let same = |a: &Option<(u32, Version)>, b: &(u32, Version)| match a {
        Some(a) => a == b,
        None => b.1.is_none(),
    };
    // The newest commit may be lost: then its version is pending.
    let is_newest = same(&committed, &chunk.committed);
    let is_before = chunk.before.as_ref().is_some_and(|before| same(&committed, before));
    let pending = match state.pending {
        Some((version, Some(_))) => {
            Some((version.get(), Some(whole(store, key, Which::Pending).await)))
        }
        Some((version, None)) => Some((version.get(), None)),
        None => None,
    };
    let now = if let (Some(pending), false) = (&pending, is_newest) {
        assert!(is_before, "{context}: committed is neither the newest nor the one before");
        let newest = match &chunk.committed {
            (0, None) => chunk.before.as_ref().unwrap().0 + 1,
            (version, _) => *version,
        };
        let unfinished = chunk.pending.as_ref().map(|(v, c, _)| (*v, c.clone()));
        let allowed = [Some((newest, chunk.committed.1.clone())), unfinished];
        assert!(allowed.contains(&Some(pending.clone())), "{context}: pending is no version");
        store.commit(&key, ChunkVersion::new(pending.0)).unwrap();
        pending.clone()
    } else {
        assert!(
            is_newest,
            "{context}: an acknowledged commit is lost, model {}",
            chunk.committed.0
        );
        // The removal of an absent chunk leaves it absent: whether its commit was lost shows only
        // in that it is pending again, unless the next version came after it.
        let acknowledged = matches!(chunk.pending, Some((_, _, true)));
        let is_again = pending == Some((1, None)) && chunk.committed.1.is_none() && !acknowledged;
        match (pending, chunk.pending) {
            (Some(pending), _) if is_again => {
                store.commit(&key, ChunkVersion::new(pending.0)).unwrap();
                pending
            }
            (Some(pending), Some((version, content, _))) => {
                assert_eq!(pending.0, version, "{context}");
                assert!(pending.1 == content, "{context}: pending differs");
                store.commit(&key, ChunkVersion::new(version)).unwrap();
                (version, content)
            }
            (None, Some((version, _, true))) => panic!("{context}: {version} is lost"),
            (None, _) => chunk.committed,
            (Some(_), None) => panic!("{context}: an aborted version came back"),
        }
    };
    let committed = if now.1.is_none() { (0, None) } else { now };
    // A crash may lose the commit that was made just now.
    let before = Some(found.unwrap_or((0, None)));
    model.borrow_mut().insert(index, Chunk { committed, before, pending: None });
}

fn history(seed: u64, cycles: u64) {
    let mut rng = Rng::new(seed);
    let ground = Ground::new(seed);
    let model: Shared = Rc::default();
    for index in 0..SIZES.len() as u32 {
        model.borrow_mut().insert(index, Chunk::default());
    }
    ground.run(|env| async move {
        create(&env).await.close().await.unwrap();
    });
    for cycle in 0..cycles {
        let (shared, base) = (model.clone(), rng.next_u64() >> 8);
        ground.sim.start(ground.node, move |env| async move {
            let (store, opened) = open(&env).await;
            assert!(!opened.damaged, "seed {seed} cycle {cycle}: damaged");
            for index in 0..SIZES.len() as u32 {
                settle(&store, &shared, index, seed).await;
            }
            store.sync().await.unwrap();
            store.audit().unwrap();
            for index in 0..SIZES.len() as u32 {
                let work = work(
                    env.clone(),
                    store.clone(),
                    shared.clone(),
                    index,
                    base + u64::from(index),
                );
                drop(env.spawn(work));
            }
            env.sleep_until(env.now().saturating_add(HOUR)).await;
        });
        let longest = [3_000, 30_000, 200_000][rng.below(3) as usize];
        let life = Duration::from_micros(rng.below(longest));
        ground.sim.run_for(life).unwrap_or_else(|why| panic!("seed {seed} cycle {cycle}: {why}"));
        if rng.below(4) == 0 {
            ground.sim.kill(ground.node);
        } else {
            ground.sim.crash(ground.node);
        }
    }
}

#[test]
fn random_histories_survive_crashes() {
    for seed in 0..5 {
        history(seed, 10);
    }
}
