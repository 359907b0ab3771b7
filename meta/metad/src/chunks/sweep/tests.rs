use core::time::Duration;

use engine_runtime::Env;
use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_types::SessionId;

use super::*;
use crate::chunks::fake::{Called, FakeChunks};

const SIZE: ChunkSize = ChunkSize::MIN;
const FILE: InodeId = InodeId::new(5000);
const CHUNK: u64 = 4096;

fn place(stripe: u32) -> Place {
    let chains = (1..=stripe).map(|raw| ChainId::new(raw).unwrap()).collect();
    Place { inode: FILE, size: SIZE, chains }
}

/// Runs `main` with chunks of a file that has every third of 40 chunks, whole.
fn with_chunks<F: Future<Output = ()> + 'static>(
    stripe: u32,
    main: impl FnOnce(SimEnv, FakeChunks<SimEnv>, Place) -> F + 'static,
) {
    let sim = Sim::new(SimConfig::new(u64::from(stripe)));
    let node = sim.add_node(NodeSpec::new("meta"));
    sim.start(node, move |env| async move {
        let chunks = FakeChunks::new(&env, SessionId::new(9));
        let place = place(stripe);
        for index in (0..40).step_by(3) {
            assert!(chunks.write(place.at(index, 0), 0, &[7; 4096]));
        }
        main(env, chunks, place).await;
    });
    sim.run_while(Duration::from_secs(600), |sim| !sim.is_finished(node)).unwrap();
    assert!(sim.is_finished(node), "it came to no end");
}

fn soon(env: &SimEnv) -> Instant {
    env.now() + Duration::from_secs(60)
}

/// A minute for each call, and no limit.
struct Soon(SimEnv);

impl Pace for Soon {
    fn by(&self) -> Instant {
        soon(&self.0)
    }

    async fn leave(&self, _count: u64) {}
}

/// Lengths left and right of every border, on stripes shorter and longer than the file.
#[test]
fn a_cut_leaves_what_lies_before_it() {
    for stripe in [1, 2, 3, 7, 64] {
        with_chunks(stripe, async move |env, chunks, place| {
            for (epoch, length) in (1u32..).zip(
                (0..=40u64).rev().flat_map(|index| [index * CHUNK + 1, index * CHUNK].into_iter()),
            ) {
                let cut_off = Cut { length, end: u64::MAX, epoch };
                cut(&chunks, &place, &cut_off, &Soon(env.clone())).await.unwrap();
                for index in 0..42 {
                    let at = place.at(index, 0);
                    let found = chunks.bytes(at.chain, FILE, index).len() as u64;
                    let was = if index % 3 == 0 && index < 40 { CHUNK } else { 0 };
                    let expected = length.saturating_sub(u64::from(index) * CHUNK).min(was);
                    assert_eq!(found, expected, "stripe {stripe}, cut to {length}, chunk {index}");
                }
                let end = reach(&chunks, &place, soon(&env)).await.unwrap();
                assert!(end <= length, "stripe {stripe}, cut to {length}: reaches {end}");
            }
        });
    }
}

/// M1: what was written with the new epoch stays.
#[test]
fn a_cut_spares_newer_chunks() {
    with_chunks(2, async |env, chunks, place| {
        assert!(chunks.write(place.at(6, 2), 0, b"new"));
        let cut_off = Cut { length: 100, end: u64::MAX, epoch: 2 };
        cut(&chunks, &place, &cut_off, &Soon(env.clone())).await.unwrap();
        assert_eq!(chunks.count(FILE), 2, "the boundary and the new one");
        let end = reach(&chunks, &place, soon(&env)).await.unwrap();
        // The new one lies over the old bytes of its chunk, which stay: the writer wrote into it.
        assert_eq!(end, 7 * CHUNK);
    });
}

/// The boundary chunk is cut before anything is removed, and is not made where there was none.
#[test]
fn the_boundary_comes_first() {
    with_chunks(4, async |env, chunks, place| {
        let cut_off = Cut { length: 9 * CHUNK + 5, end: u64::MAX, epoch: 1 };
        cut(&chunks, &place, &cut_off, &Soon(env.clone())).await.unwrap();
        let changes = chunks.calls().into_iter().filter(|c| !matches!(c, Called::Holding { .. }));
        let changes: Vec<_> = changes.collect();
        assert!(matches!(changes[0], Called::Cut { len: 5, .. }), "M2: {:?}", changes[0]);
        assert_eq!(changes.len(), 1 + 10, "12, 15 .. 39 go");
        // Chunk 8 is a hole: nothing is cut.
        let cut_off = Cut { length: 8 * CHUNK + 5, end: u64::MAX, epoch: 2 };
        cut(&chunks, &place, &cut_off, &Soon(env.clone())).await.unwrap();
        assert_eq!(chunks.bytes(place.at(8, 0).chain, FILE, 8).len(), 0);
        assert!(!chunks.calls().iter().any(|call| matches!(call, Called::Cut { .. })));
    });
}

/// Where the end is known, chains that have nothing are not asked.
#[test]
fn a_known_end_spares_chains() {
    with_chunks(7, async |env, chunks, place| {
        for slot in 3..7 {
            chunks.set_dead(place.chain(slot), true);
        }
        let cut_off = Cut { length: 0, end: 3 * CHUNK, epoch: 1 };
        cut(&chunks, &place, &cut_off, &Soon(env.clone())).await.unwrap();
        let cut_off = Cut { length: 0, end: u64::MAX, epoch: 1 };
        let asked = cut(&chunks, &place, &cut_off, &Soon(env.clone())).await;
        assert!(matches!(asked, Err(ChunksError::Chain { .. })), "{asked:?}");
    });
}

#[test]
fn small_files_go_without_a_question() {
    with_chunks(3, async |env, chunks, place| {
        remove_first(&chunks, &place, 40, u32::MAX, soon(&env)).await.unwrap();
        assert_eq!(chunks.count(FILE), 0);
        assert!(chunks.calls().iter().all(|call| matches!(call, Called::Remove { .. })));
    });
}
