//! Opening what bits have changed in: what one reading says is not believed, and what was lost is
//! said.

use engine_runtime::sim::DiskFaults;
use engine_runtime::{File, OpenOptions};
use engine_store::format::limits::SUPERBLOCK_OFFSETS;
use engine_store::format::{StoreFlags, Superblock};
use engine_types::Timeline;

use super::*;

const CHUNKS: u32 = 6;
const WRITE: OpenOptions = OpenOptions { write: true, create: false, truncate: false, lock: false };

/// A store that was killed after everything was acknowledged.
fn killed(seed: u64) -> Ground {
    let ground = Ground::new(seed);
    ground.sim.start(ground.node, |env| async move {
        let store = create(&env).await;
        for chunk in 0..CHUNKS {
            write(&env, &store, key(chunk), 1, (0, &pattern(200 * KIB, 1))).await;
        }
        for chunk in 0..CHUNKS {
            write(&env, &store, key(chunk), 2, (64 * KIB, &[7; 60_000])).await;
        }
        env.sleep_until(env.now().saturating_add(HOUR)).await;
    });
    ground.sim.run_for(Duration::from_secs(10)).unwrap();
    ground.sim.crash(ground.node);
    ground
}

/// Opens and looks for everything that `killed` acknowledged; kills again.
fn look(ground: &Ground) -> crate::Opened {
    ground.run(|env| async move {
        let (store, opened) = open(&env).await;
        assert!(!opened.damaged, "{opened:?}");
        assert_eq!(store.target(SLOT), Some(target()));
        for (key, version) in &opened.pendings {
            store.commit(key, *version).unwrap();
        }
        let mut expected = pattern(200 * KIB, 1);
        expected[64 * KIB as usize..64 * KIB as usize + 60_000].fill(7);
        for chunk in 0..CHUNKS {
            assert_eq!(read_all(&store, key(chunk)).await, expected);
        }
        store.sync().await.unwrap();
        store.audit().unwrap();
        opened
    })
}

fn superblocks(ground: &Ground) -> [Vec<u8>; 2] {
    SUPERBLOCK_OFFSETS.map(|at| ground.sim.peek(ground.node, PATH, at, 4096).unwrap())
}

#[test]
fn the_loss_of_a_superblock_loses_nothing() {
    for copy in 0..2 {
        let ground = killed(1);
        ground.sim.flip_bit(ground.node, PATH, SUPERBLOCK_OFFSETS[copy] + 100, 3);
        let opened = look(&ground);
        assert_eq!(opened.lost_superblock, Some(copy), "it is told");
        let opened = look(&ground);
        assert_eq!(opened.lost_superblock, None, "it was written anew");
        // Whichever copy is lost next: groups of the opening with one copy are there as well.
        ground.sim.flip_bit(ground.node, PATH, SUPERBLOCK_OFFSETS[1 - copy] + 100, 3);
        look(&ground);
    }
}

/// A store with groups of its first opening, whose superblocks are those from before it.
fn with_forgotten_generation(seed: u64) -> Ground {
    let ground = Ground::new(seed);
    ground.run(|env| async move {
        ChunkStore::format(&env, Path::new(PATH), &options()).await.unwrap();
    });
    let fresh = superblocks(&ground);
    ground.sim.start(ground.node, |env| async move {
        let (store, _) = open(&env).await;
        store.set_target(SLOT, Some(target())).await.unwrap();
        write(&env, &store, key(0), 1, (0, &pattern(MIB, 1))).await;
        store.sync().await.unwrap();
        assert_eq!(store.superblock().mount_gen, Incarnation::new(1));
        env.sleep_until(env.now().saturating_add(HOUR)).await;
    });
    ground.sim.run_for(Duration::from_secs(10)).unwrap();
    ground.sim.crash(ground.node);
    put_superblocks(&ground, fresh);
    ground
}

/// E157: groups of a generation that no superblock knows continue the chain; the next opening has
/// a higher one.
#[test]
fn a_generation_of_the_ring_is_believed() {
    let ground = with_forgotten_generation(2);
    ground.run(|env| async move {
        let (store, opened) = open(&env).await;
        assert!(!opened.damaged);
        assert_eq!(store.superblock().mount_gen, Incarnation::new(2));
        assert_eq!(store.target(SLOT), Some(target()));
        assert_eq!(read_all(&store, key(0)).await, pattern(MIB, 1));
        store.close().await.unwrap();
    });
}

/// A later group of a generation that no superblock knows makes a hole in the chain damage (S8).
#[test]
fn a_hole_before_groups_of_an_unknown_generation_is_damage() {
    let ground = with_forgotten_generation(3);
    ground.sim.flip_bit(ground.node, PATH, (1 << 20) + 60, 0);
    ground.run(|env| async move {
        let (store, opened) = open(&env).await;
        assert!(opened.damaged);
        assert!(Incarnation::new(1) < store.superblock().mount_gen);
        store.close().await.unwrap();
    });
}

/// E157: decisions that only a superblock holds survive the loss of either copy.
#[test]
fn timeline_and_marks_are_in_both_superblocks() {
    for place in SUPERBLOCK_OFFSETS {
        let ground = killed(4);
        ground.run(|env| async move {
            let (store, _) = open(&env).await;
            store.set_timeline(Timeline::new(5)).await.unwrap();
            assert_eq!(store.superblock().timeline, Timeline::new(5));
        });
        ground.sim.flip_bit(ground.node, PATH, place + 100, 3);
        ground.run(|env| async move {
            let (store, _) = open(&env).await;
            assert_eq!(store.superblock().timeline, Timeline::new(5), "R20");
            store.set_timeline(Timeline::new(5)).await.unwrap();
            store.close().await.unwrap();
            assert!(store.set_timeline(Timeline::new(6)).await.is_err(), "it is closed");
        });
    }
}

/// S7: what a failed flush has left of one copy is no reason to write over the other one.
#[test]
fn openings_whose_flushes_fail_leave_a_superblock() {
    for seed in 0..10 {
        let ground = killed(seed);
        let fails = DiskFaults { flush_error_permille: 1000, ..DiskFaults::default() };
        ground.sim.set_disk(ground.node, fails);
        for _ in 0..3 {
            ground.run(|env| async move {
                let opened = ChunkStore::open(&env, Path::new(PATH), config()).await;
                assert!(opened.is_err(), "its flush failed");
            });
        }
        ground.sim.set_disk(ground.node, DiskFaults::default());
        ground.sim.crash(ground.node);
        look(&ground);
    }
}

#[test]
fn the_mark_of_damage_stays_until_it_is_cleared() {
    for place in SUPERBLOCK_OFFSETS {
        let ground = killed(5);
        // The third group of the ring; the second is of the target.
        ground.sim.flip_bit(ground.node, PATH, (1 << 20) + 8192 + 60, 0);
        let damaged = |ground: &Ground| {
            ground.run(|env| async move {
                let (store, opened) = open(&env).await;
                assert_eq!(store.target(SLOT), Some(target()), "what lies before is there");
                let marked = store.superblock().flags.has(StoreFlags::DAMAGED);
                assert_eq!(opened.damaged, marked);
                opened.damaged
            })
        };
        assert!(damaged(&ground), "S8");
        ground.sim.flip_bit(ground.node, PATH, place + 100, 3);
        assert!(damaged(&ground), "the mark survives the loss of a superblock");
        ground.run(|env| async move {
            let (store, _) = open(&env).await;
            store.clear_damage().await.unwrap();
            assert!(!store.superblock().flags.has(StoreFlags::DAMAGED));
        });
        ground.sim.flip_bit(ground.node, PATH, place + 100, 3);
        assert!(!damaged(&ground), "so does its removal");
    }
}

/// Bits that flip on the way from the device are no damage and no torn tail, wherever they hit.
#[test]
fn a_flip_of_one_reading_changes_nothing() {
    for seed in 0..30 {
        let ground = killed(seed);
        let node = ground.node;
        let flips = DiskFaults { read_flip_permille: 60, ..DiskFaults::default() };
        ground.sim.set_disk(node, flips);
        let opened = ground.run(|env| async move {
            let (_store, opened) = open(&env).await;
            opened
        });
        let lost = (opened.damaged, opened.dropped_group, opened.lost_superblock);
        assert_eq!(lost, (false, false, None), "seed {seed}");
        ground.sim.set_disk(node, DiskFaults::default());
        look(&ground);
    }
}

/// The same with a checkpoint.
#[test]
fn a_flip_in_a_checkpoint_is_no_reason_to_refuse() {
    for seed in 0..30 {
        let ground = Ground::new(seed);
        ground.run(|env| async move {
            let store = create(&env).await;
            write(&env, &store, key(0), 1, (0, &pattern(KIB, 1))).await;
            store.close().await.unwrap();
        });
        let flips = DiskFaults { read_flip_permille: 100, ..DiskFaults::default() };
        ground.sim.set_disk(ground.node, flips);
        ground.run(|env| async move {
            let (store, opened) = open(&env).await;
            assert_eq!((opened.chunks, opened.lost_superblock), (1, None));
            assert_eq!(store.target(SLOT), Some(target()));
        });
    }
}

/// W10: neither the store of another cluster nor a retired one is opened for use.
#[test]
fn stores_of_others_are_refused() {
    let ground = killed(6);
    let fails = |ground: &Ground, config: StoreConfig| {
        ground.run(|env| async move {
            let opened = ChunkStore::open(&env, Path::new(PATH), config).await;
            opened.err().map(|why| why.to_string())
        })
    };
    let of = |raw| StoreConfig { cluster: Some(ClusterId::new(raw)), ..config() };
    let before = superblocks(&ground);
    let why = fails(&ground, of(8)).unwrap();
    assert!(why.contains("belongs to cluster") && why.ends_with("000000000008"), "{why}");
    let why = fails(&ground, StoreConfig { apply_inflight_max: 0, ..config() }).unwrap();
    assert!(why.contains("image writes in flight"), "{why}");
    assert!(superblocks(&ground) == before, "a refusal changes nothing");
    assert_eq!(fails(&ground, of(7)), None);
    rewrite(&ground, |superblock| {
        superblock.flags = superblock.flags.with(StoreFlags::RETIRED);
    });
    let why = fails(&ground, of(7)).unwrap();
    assert!(why.contains("was retired"), "{why}");
    let reads = StoreConfig { read_only: true, ..config() };
    assert_eq!(fails(&ground, reads.clone()), None, "looking is always allowed");
    // Features of a later release that forbid writing.
    rewrite(&ground, |superblock| {
        superblock.flags = StoreFlags::NONE;
        superblock.features.ro_compat = 0x10;
    });
    let before = superblocks(&ground);
    let why = fails(&ground, config()).unwrap();
    assert!(why.contains("0x10") && why.contains("open it read-only"), "{why}");
    assert_eq!(fails(&ground, reads), None);
    assert!(superblocks(&ground) == before, "nothing was written");
}

/// Changes both copies of the superblock.
fn rewrite(ground: &Ground, change: impl Fn(&mut Superblock)) {
    let pages = superblocks(ground).map(|page| {
        let mut superblock = Superblock::decode(&page).unwrap();
        change(&mut superblock);
        let mut page = [0; 4096];
        superblock.encode(&mut page);
        page.to_vec()
    });
    put_superblocks(ground, pages);
}

fn put_superblocks(ground: &Ground, pages: [Vec<u8>; 2]) {
    ground.run(move |env| async move {
        let file = env.open(Path::new(PATH), WRITE).await.unwrap();
        for (at, page) in SUPERBLOCK_OFFSETS.into_iter().zip(pages) {
            file.write(at, bytes(&env, &page).await).await.unwrap();
        }
        file.flush().await.unwrap();
    });
}

/// V9: a file that became sparse gets its space back before anything relies on it.
#[test]
fn space_that_a_file_has_lost_is_claimed_again() {
    let ground = killed(7);
    let node = ground.node;
    let data = Superblock::decode(&superblocks(&ground)[0]).unwrap().layout.data_offset;
    ground.run(move |env| async move {
        let file = env.open(Path::new(PATH), WRITE).await.unwrap();
        // The end of the segment that is in use, and the idle half of the checkpoint.
        file.discard(data + (60 << 20), 4 << 20).await.unwrap();
        file.discard(data - (1 << 20), 1 << 20).await.unwrap();
    });
    ground.sim.set_space(node, Some(0));
    let why = ground.run(|env| async move {
        let opened = ChunkStore::open(&env, Path::new(PATH), config()).await;
        opened.err().map(|why| why.to_string())
    });
    assert!(why.as_ref().is_some_and(|why| why.starts_with("preallocate")), "{why:?}");
    // So sparse a file that its host could not give what is missing is opened all the same.
    ground.run(move |env| async move {
        let file = env.open(Path::new(PATH), WRITE).await.unwrap();
        for segment in 1..4 {
            file.discard(data + (segment << 26), 1 << 26).await.unwrap();
        }
    });
    look(&ground);
    ground.sim.set_space(node, None);
    look(&ground);
    ground.sim.set_space(node, Some(0));
    ground.run(|env| async move {
        let (store, _) = open(&env).await;
        for chunk in 0..60 {
            write(&env, &store, key(100 + chunk), 1, (0, &pattern(MIB, 1))).await;
        }
        assert_eq!(store.failure(), None);
        store.close().await.unwrap();
    });
}

/// A host without space leaves a file as it was.
#[test]
fn formatting_without_space_changes_nothing() {
    let ground = Ground::new(8);
    let node = ground.node;
    ground.run(|env| async move {
        let new = OpenOptions { create: true, ..WRITE };
        let file = env.open(Path::new("data/old"), new).await.unwrap();
        file.write(0, bytes(&env, &pattern(8 * KIB, 3)).await).await.unwrap();
    });
    ground.sim.set_space(node, Some(1 << 20));
    ground.run(|env| async move {
        for path in ["data/new", "data/old"] {
            let force = CreateOptions { force: true, ..options() };
            let why = ChunkStore::format(&env, Path::new(path), &force).await.unwrap_err();
            assert!(why.to_string().starts_with("preallocate"), "{why}");
        }
    });
    assert_eq!(ground.sim.peek(node, "data/new", 0, 4096), Some(Vec::new()));
    let old = ground.sim.peek(node, "data/old", 0, 1 << 20).unwrap();
    assert!(old == pattern(8 * KIB, 3), "what was there is there");
}
