//! The journal of a chunk store after accidents that no crash makes: a bit that flips in an older
//! group, and groups of another past that lie where the next one is expected.
//!
//! Updates of 4 KiB chunks are made one by one, so that each group is one page of the ring and
//! holds one of them; then the ring is changed by hand and the store is opened again.
//!
//!   T53  damage in the ring is told from a torn tail (S8): when an acknowledged update is missing
//!        although groups behind it are there, the store says that it is damaged
//!   T54  groups of a past that was given up are never taken for the future (S7)

use core::cell::RefCell;
use core::time::Duration;
use std::path::Path;
use std::rc::Rc;

use engine_runtime::sim::SimEnv;
use engine_runtime::{Env, File, OpenOptions};
use engine_shard::{ChunkStore, CreateOptions, Payload, Read, StoreConfig, Which};
use engine_store::format::group::peek;
use engine_store::format::limits::SUPERBLOCK_OFFSETS;
use engine_store::format::{Superblock, newest};
use engine_store::{Change, ChunkKey, Slot, TruncateEpoch, Update};
use engine_types::{ChainVersion, ChunkSize, ChunkVersion, NodeId, Rng, reached};

use super::life::first_target;
use crate::check::{CheckFailure, Verdict, fail};
use crate::fault::FaultPlan;
use crate::scenario::{Played, Scenario};
use crate::topology::Topology;
use crate::world::World;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "store-ring",
    about: "rot in the journal is told from a torn tail, groups of another past are not taken",
    play,
};

const PATH: &str = "data/store";
const PAGE: usize = 4096;
const SLOT: Slot = Slot::new(0);
const CHUNKS: u32 = 4;
const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(10);

/// The versions that each chunk is found to have, as numbers of the past that wrote them; or why
/// the store could not be looked at.
#[derive(Clone, Debug, Default)]
struct Found {
    opened: bool,
    damaged: bool,
    /// Per chunk the version, and the past that its bytes are of unless they are damaged.
    chunks: Vec<Option<(u32, Option<u64>)>>,
    /// Bytes that nobody ever wrote.
    alien: Option<String>,
}

fn play(seed: u64) -> Played {
    let mut world = World::new(seed, Topology::of(&[("store", 1)]));
    let rng = world.sim().random("ring");
    let mut bench = Bench { node: world.node(0), world: &mut world, rng, operations: 0 };
    let verdict = if seed.is_multiple_of(2) { bench.rot() } else { bench.ghosts() };
    let operations = bench.operations;
    Played { world, plan: FaultPlan::default(), operations, verdict }
}

struct Bench<'a> {
    world: &'a mut World,
    node: NodeId,
    rng: Rng,
    operations: u64,
}

/// Updates in the order of their groups: chunk and version, written in a past of this number.
type Updates = Vec<(u32, u32)>;

impl Bench<'_> {
    /// T53.
    fn rot(&mut self) -> Verdict {
        let count = u32::try_from(self.rng.range(5..=14)).expect("small");
        let updates = rounds(0, count);
        self.write(true, updates.clone(), 1)?;
        let groups = self.groups()?;
        // The first group is the marker of the opening, the second puts the target.
        let which = usize::try_from(self.rng.range(2..=groups.len() as u64 - 1)).expect("small");
        let (position, len) = groups[which];
        let byte = position + self.rng.below(len);
        let bit = self.rng.next_u64().to_le_bytes()[0];
        self.world.sim().flip_bit(self.node, PATH, byte, bit);
        let found = self.look()?;
        let last = which + 1 == groups.len();
        let missing = (0..CHUNKS).any(|chunk| {
            let newest = updates.iter().rfind(|(of, _)| *of == chunk).map(|(_, version)| *version);
            let is = found.chunks.get(chunk as usize).copied().flatten();
            newest != is.map(|(version, _)| version)
        });
        if missing && !last && found.opened && !found.damaged {
            let what = format!("group {which} of {} has rotted: {found:?}", groups.len());
            return fail("T53 damage in the ring", what);
        }
        if found.damaged {
            reached!("T53: a rotten group was told from a torn tail");
        }
        alien(&found)
    }

    /// T54. Two histories begin with the same groups; the longer one's last groups lie behind the
    /// shorter one's.
    fn ghosts(&mut self) -> Verdict {
        let common = u32::try_from(self.rng.range(3..=6)).expect("small");
        self.write(true, rounds(0, common), 1)?;
        let head = self.metadata()?;
        let more = u32::try_from(self.rng.range(3..=6)).expect("small");
        let same_generation = self.rng.chance(500);
        self.write(false, rounds(common, more + 3), 2)?;
        let ghosts = self.metadata()?;
        self.put(0, &head)?;
        if !same_generation {
            // An opening more: the history that is given up is of an older one.
            self.write(false, Vec::new(), 3)?;
        }
        let kept = rounds(common, more - u32::from(!same_generation));
        self.write(false, kept.clone(), 3)?;
        let behind = self.groups()?;
        let (position, len) = *behind.last().expect("groups were written");
        let from = usize::try_from(position + len).expect("small");
        self.put(from as u64, &ghosts[from..])?;
        let found = self.look()?;
        if !found.opened {
            return fail("T54 ghosts", "the store does not open");
        }
        for (chunk, is) in (0..).zip(&found.chunks) {
            let Some((version, past)) = *is else { continue };
            let right = kept.iter().rfind(|(of, _)| *of == chunk).map(|(_, version)| *version);
            let newest = right.or(rounds(0, common).iter().rfind(|u| u.0 == chunk).map(|u| u.1));
            if past == Some(2) || Some(version) > newest {
                let what = format!("chunk {chunk} is {version} of past {past:?}, not {newest:?}");
                return fail("T54 ghosts", what);
            }
        }
        reached!("T54: groups of another past lay behind the last one");
        alien(&found)
    }

    // --- the store -----------------------------------------------------------------------------

    /// One life: updates one after the other, committed at once, ended without closing.
    fn write(&mut self, format: bool, updates: Updates, past: u64) -> Verdict {
        self.operations += updates.len() as u64;
        let failed: Rc<RefCell<Option<String>>> = Rc::default();
        let shared = failed.clone();
        self.run(move |env| {
            let (updates, shared) = (updates.clone(), shared.clone());
            async move {
                if let Err(why) = write(&env, format, &updates, past).await {
                    *shared.borrow_mut() = Some(why);
                }
            }
        })?;
        let why = failed.borrow_mut().take();
        why.map_or(Ok(()), |why| fail("T47 opens", why))
    }

    fn look(&mut self) -> Result<Found, CheckFailure> {
        let found: Rc<RefCell<Found>> = Rc::default();
        let shared = found.clone();
        self.run(move |env| {
            let shared = shared.clone();
            async move { *shared.borrow_mut() = look(&env).await }
        })?;
        let found = found.borrow().clone();
        Ok(found)
    }

    fn run<F>(&mut self, main: impl Fn(SimEnv) -> F + 'static) -> Verdict
    where
        F: Future<Output = ()> + 'static,
    {
        self.world.start(self.node, main);
        let node = self.node;
        let ended = self.world.run_while(LIMIT, |sim| sim.is_running(node))?;
        if ended { Ok(()) } else { fail("T48 every request ends", "the process goes on") }
    }

    // --- the medium ----------------------------------------------------------------------------

    fn peek(&self, position: u64, len: usize) -> Result<Vec<u8>, CheckFailure> {
        let bytes = self.world.sim().peek(self.node, PATH, position, len);
        bytes.ok_or(CheckFailure { check: "T47 opens", what: "there is no file".to_owned() })
    }

    fn superblock(&self) -> Result<Superblock, CheckFailure> {
        let [a, b] = SUPERBLOCK_OFFSETS;
        let (a, b) = (self.peek(a, PAGE)?, self.peek(b, PAGE)?);
        let found = newest(&a, &b).map_err(|why| why.to_string());
        let found = found.map_err(|what| CheckFailure { check: "T47 opens", what })?;
        Ok(found.1)
    }

    /// Everything before the data.
    fn metadata(&self) -> Result<Vec<u8>, CheckFailure> {
        let end = self.superblock()?.layout.data_offset;
        self.peek(0, usize::try_from(end).expect("a few megabytes"))
    }

    /// Position and bytes of the groups of the ring, from its start on.
    fn groups(&self) -> Result<Vec<(u64, u64)>, CheckFailure> {
        let Superblock { layout, store, salt, .. } = self.superblock()?;
        let ring =
            self.peek(layout.ring.offset, usize::try_from(layout.ring.len).expect("small"))?;
        let mut groups = Vec::new();
        let mut at = 0;
        while let Some(header) = ring.get(at..).and_then(|page| peek(page, store, salt)) {
            groups.push((layout.ring.offset + at as u64, header.bytes() as u64));
            at += header.bytes();
        }
        Ok(groups)
    }

    /// Writes bytes into the file, past the store.
    fn put(&mut self, position: u64, bytes: &[u8]) -> Verdict {
        let bytes: Rc<Vec<u8>> = Rc::new(bytes.to_vec());
        self.run(move |env| {
            let bytes = bytes.clone();
            async move { put(&env, position, &bytes).await }
        })
    }
}

/// Updates `from`, and so many behind it: chunks take turns.
fn rounds(from: u32, count: u32) -> Updates {
    (from..from + count).map(|nth| (nth % CHUNKS, nth / CHUNKS + 1)).collect()
}

fn alien(found: &Found) -> Verdict {
    found.alien.clone().map_or(Ok(()), |what| fail("T50 bytes", what))
}

fn key(chunk: u32) -> ChunkKey {
    ChunkKey::new(SLOT, 1, chunk)
}

fn content(chunk: u32, version: u32, past: u64) -> Vec<u8> {
    let mut bytes = vec![0; PAGE];
    Rng::new(past << 48 | u64::from(chunk) << 32 | u64::from(version)).fill_bytes(&mut bytes);
    bytes
}

async fn write(env: &SimEnv, format: bool, updates: &Updates, past: u64) -> Result<(), String> {
    let path = Path::new(PATH);
    if format {
        let create = CreateOptions {
            cluster: engine_types::ClusterId::new(7),
            size: Some(1024 * MIB),
            journal_bytes: Some(2 * MIB),
            index_bytes: Some(MIB),
            dedup_channels: Some(4096),
            force: true,
        };
        ChunkStore::format(env, path, &create).await.map_err(|why| why.to_string())?;
    }
    let opened = ChunkStore::open(env, path, StoreConfig::default()).await;
    let (store, _) = opened.map_err(|why| why.to_string())?;
    if format {
        let target = Some(first_target(SLOT));
        store.set_target(SLOT, target).await.map_err(|why| why.to_string())?;
    }
    for &(chunk, version) in updates {
        let mut buf = env.pool().alloc_wait(PAGE).await.map_err(|why| why.to_string())?;
        buf.extend_from_slice(&content(chunk, version, past));
        let update = Update {
            key: key(chunk),
            version: ChunkVersion::new(version),
            chain_version: ChainVersion::new(1),
            epoch: TruncateEpoch::default(),
            size: ChunkSize::MIN,
            change: Change::Write { offset: 0, len: ChunkSize::MIN.bytes() },
            tag: None,
        };
        let payload = Payload::new(0, buf.freeze());
        store.update(update, payload).await.map_err(|why| why.to_string())?;
        store.commit(&update.key, update.version).map_err(|why| why.to_string())?;
    }
    store.sync().await.map_err(|why| why.to_string())
}

async fn look(env: &SimEnv) -> Found {
    let mut found = Found::default();
    let opened = ChunkStore::open(env, Path::new(PATH), StoreConfig::default()).await;
    let Ok((store, opened)) = opened else { return found };
    (found.opened, found.damaged) = (true, opened.damaged);
    for chunk in 0..CHUNKS {
        let Some((version, _)) = store.state(&key(chunk)).committed else {
            found.chunks.push(None);
            continue;
        };
        let whole = ChunkSize::MIN.bytes();
        let read = Read {
            key: key(chunk),
            offset: 0,
            len: whole,
            version: Which::Committed,
            verify: true,
        };
        let mut past = None;
        // What cannot be read lies in a block that another past has written.
        if let Ok(read) = store.read(read).await {
            let bytes = read.to_vec();
            past = (1..=3).find(|past| content(chunk, version.get(), *past) == bytes);
            if past.is_none() {
                found.alien = Some(format!("bytes of chunk {chunk} {version}"));
            }
        }
        found.chunks.push(Some((version.get(), past)));
    }
    found
}

async fn put(env: &SimEnv, position: u64, bytes: &[u8]) {
    let options = OpenOptions { write: true, ..OpenOptions::default() };
    let file = env.open(Path::new(PATH), options).await.expect("the file is there");
    for (position, piece) in (position..).step_by(1 << 20).zip(bytes.chunks(1 << 20)) {
        let mut buf = env.pool().alloc_wait(piece.len()).await.expect("a megabyte");
        buf.extend_from_slice(piece);
        file.write(position, buf.freeze()).await.expect("a healthy device");
    }
    file.flush().await.expect("a healthy device");
}
