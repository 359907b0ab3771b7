//! The workload and its checks on chunks in memory, and some worlds of the scenario.

use core::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_types::{ChainId, ChunkId, Instant};

use super::chunks_of::{Came, Chunks, Place};
use super::*;
use crate::check::chunks::{Change, Saw, fill};

/// What chunks in memory do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Some reads show the version before.
    Stale,
    /// Some updates are acknowledged and not done.
    Lost,
    /// Some updates are done twice.
    Twice,
}

#[derive(Clone, Default)]
struct Chunk {
    version: u32,
    bytes: Vec<u8>,
}

impl Chunk {
    fn change(&mut self, change: &Change) -> Came {
        let version = self.version + 1;
        self.version = version;
        let most = |bytes: &mut Vec<u8>, len: u32| bytes.resize(bytes.len().max(len as usize), 0);
        match *change {
            Change::Write { offset, len, stamp } => {
                most(&mut self.bytes, offset + len);
                fill(stamp, offset, &mut self.bytes[offset as usize..(offset + len) as usize]);
            }
            Change::Truncate { len } => self.bytes.resize(len as usize, 0),
            Change::Extend { len } => most(&mut self.bytes, len),
            Change::Zero { offset, len } => {
                let end = self.bytes.len().min((offset + len) as usize);
                let start = end.min(offset as usize);
                self.bytes[start..end].fill(0);
            }
            Change::Remove => *self = Self::default(),
        }
        Came::Done { version, len: self.len() }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("small")
    }
}

/// The newest two states of each chunk.
type States = Rc<RefCell<BTreeMap<ChunkId, [Chunk; 2]>>>;

struct Memory {
    env: SimEnv,
    states: States,
    flaw: Flaw,
}

/// Longest way to the chunks, or back, in microseconds.
const WAY_US: u64 = 3_000;

impl Memory {
    async fn way(&self) {
        let us = self.env.random() % WAY_US;
        self.env.sleep_until(self.env.now() + Duration::from_micros(us)).await;
    }

    fn errs(&self, flaw: Flaw) -> bool {
        self.flaw == flaw && self.env.random().is_multiple_of(20)
    }
}

fn change(states: &States, chunk: ChunkId, change: &Change) -> Came {
    let mut states = states.borrow_mut();
    let [now, before] = states.entry(chunk).or_default();
    before.clone_from(now);
    now.change(change)
}

impl Chunks for Memory {
    async fn read(&self, place: Place, offset: u32, len: u32, _by: Instant) -> Option<Saw> {
        self.way().await;
        let [now, before] = self.states.borrow_mut().entry(place.chunk).or_default().clone();
        let shown = if self.errs(Flaw::Stale) { before } else { now };
        self.way().await;
        let (start, end) = (shown.len().min(offset), shown.len().min(offset + len));
        let bytes = &shown.bytes[start as usize..end as usize];
        Some(Saw::of(shown.version, shown.len(), offset, bytes))
    }

    async fn update(&self, place: Place, what: Change, _by: Instant) -> Came {
        self.way().await;
        if self.env.random().is_multiple_of(20) {
            // It is done much later, or never.
            let (env, states) = (self.env.clone(), self.states.clone());
            let late = Duration::from_micros(env.random() % (30 * WAY_US));
            drop(self.env.spawn(async move {
                env.sleep_until(env.now() + late).await;
                if env.random().is_multiple_of(2) {
                    change(&states, place.chunk, &what);
                }
            }));
            return Came::Unknown;
        }
        let mut came = Came::Done { version: 1, len: 0 };
        if !self.errs(Flaw::Lost) {
            came = change(&self.states, place.chunk, &what);
        }
        if self.errs(Flaw::Twice) {
            came = change(&self.states, place.chunk, &what);
        }
        self.way().await;
        came
    }

    fn is_over(&self) -> bool {
        false
    }
}

/// Runs the workload on chunks in memory.
fn in_memory(seed: u64, flaw: Flaw) -> Verdict {
    let setting = Setting {
        users: 3,
        pause_ms: 5,
        removals: 10,
        epochs: false,
        ..Setting::draw(&mut Rng::new(seed).fork("in memory"))
    };
    let mut world = World::new(seed, Topology::of(&[("user", setting.users)]));
    let cluster = cluster::Cluster::new(&world, cluster::Style::default());
    let ground = Rc::new(Ground::new(&world, cluster, setting));
    *ground.chains.borrow_mut() = vec![ChainId::new(1).expect("not 0")];
    let states = States::default();
    for (number, node) in (0..).zip(world.role("user")) {
        let (ground, states) = (ground.clone(), states.clone());
        world.start(node, move |env| {
            let (ground, states) = (ground.clone(), states.clone());
            async move {
                let memory = Rc::new(Memory { env: env.clone(), states, flaw });
                let succeeded = Rc::new(Cell::new(0));
                user::work(&env, &ground, number, &memory, (&succeeded, None)).await;
                ground.finished.set(ground.finished.get() + 1);
            }
        });
    }
    world.run(Duration::from_millis(700))?;
    ground.quiet.set(true);
    let end = |_: &engine_runtime::sim::Sim| ground.finished.get() < ground.setting.users;
    assert!(world.run_while(QUIET_MAX, end)?, "the workload ends");
    assert!(100 < ground.operations(), "{} operations", ground.operations());
    let verdict = judge(&ground);
    ground.clear();
    verdict
}

#[test]
fn the_workload_on_chunks_in_memory_passes() {
    for seed in 0..10 {
        in_memory(seed, Flaw::None).unwrap();
    }
}

#[test]
fn flaws_of_chunks_in_memory_are_found() {
    for flaw in [Flaw::Stale, Flaw::Lost, Flaw::Twice] {
        for seed in 0..5 {
            let found = in_memory(seed, flaw);
            assert!(found.is_err(), "{flaw:?}, seed {seed}");
        }
    }
}

/// A campaign says by `EMBERFS_SIM_SEEDS` how many seeds it wants.
#[test]
fn worlds_pass() {
    for seed in crate::seeds::chosen(5) {
        let played = play(seed);
        let (operations, now) = (played.operations, played.world.sim().now());
        println!("seed {seed}: {operations} operations until {now}, {:?}", played.verdict);
        assert_eq!(played.verdict, Ok(()), "seed {seed}\n{}", played.plan);
    }
}

#[test]
fn a_seed_is_all_there_is() {
    let [one, other] = [4, 4].map(|seed| play(seed).world.sim().trace_hash());
    assert_eq!(one, other, "T10");
}

/// A node that starts while the KV is back from a backup for the second time, and the timeline not
/// raised yet, hears of an older timeline than its stores know.
#[test]
fn a_node_starts_while_routing_info_is_of_an_older_timeline() {
    const MARK: &str = "R20: routing info of an older timeline";
    let restored = |seed: &u64| Setting::draw(&mut Rng::new(*seed).fork("storage")).restores == 2;
    let seed = (0..).find(restored).expect("one of fifty");
    let before = crate::marks::table()[MARK];
    assert_eq!(play(seed).verdict, Ok(()), "seed {seed}");
    assert!(before < crate::marks::table()[MARK], "seed {seed}");
}
