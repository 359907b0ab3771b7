//! What replication asks of a store.

use engine_store::store::{Admission, Refusal};
use engine_store::tables::Known;
use engine_store::{Fence, Outcome, Tag, UpdateError, removal_digest};
use engine_types::{ChannelId, ChunkId, Rng, SessionId};

use super::*;
use crate::{Local, Recovered};

const fn tag(session: u64, channel: u32, seq: u64) -> Tag {
    Tag { session: SessionId::new(session), channel: ChannelId::new(channel), seq }
}

const fn version(number: u32) -> ChunkVersion {
    ChunkVersion::new(number)
}

fn chunk(index: u32) -> ChunkId {
    key(index).chunk
}

/// Makes a version durable, without committing it.
async fn put(env: &SimEnv, store: &ChunkStore<SimEnv>, asked: Update) -> Stored {
    let payload = match asked.change {
        Change::Write { offset, len } => {
            Payload::new(offset, bytes(env, &pattern(len, asked.version.get() as u8)).await)
        }
        _ => Payload::NONE,
    };
    store.update(asked, payload).await.unwrap()
}

#[test]
fn pendings_are_recovered_with_the_digests_that_were_told() {
    let change = Change::Write { offset: 10_000, len: 70_000 };
    let rows = [
        (0, Some(1), update(key(0), 2, MIB, change), Some(tag(5, 1, 9))),
        (1, Some(1), update(key(1), 2, MIB, Change::Remove), None),
        (2, None, update(key(2), 1, MIB, change), Some(tag(5, 2, 1))),
        (3, Some(1), update(key(3), 2, MIB, Change::Truncate { len: 5 * MIB / 8 }), None),
    ];
    let ground = Ground::new(1);
    let told = std::rc::Rc::new(core::cell::RefCell::new(Vec::new()));
    let place = told.clone();
    ground.sim.start(ground.node, move |env| async move {
        let store = create(&env).await;
        for (index, base, asked, tag) in rows {
            if base.is_some() {
                write(&env, &store, key(index), 1, (0, &pattern(300 * KIB, 1))).await;
            }
            let stored = put(&env, &store, Update { tag, ..asked }).await;
            assert!(!stored.repeated);
            place.borrow_mut().push(stored.digest);
        }
        assert_eq!(store.recovered(SLOT).len(), rows.len(), "all are durable already");
        env.sleep_until(env.now().saturating_add(HOUR)).await;
    });
    ground.sim.run_for(Duration::from_secs(60)).unwrap();
    ground.sim.crash(ground.node);
    let told = told.take();
    assert_eq!(told[1], removal_digest(chunk(1), version(2)));
    ground.run(move |env| async move {
        let (store, _) = open(&env).await;
        let found = store.recovered(SLOT);
        let expected =
            rows.iter().zip(&told).map(|((index, base, asked, tag), digest)| Recovered {
                chunk: chunk(*index),
                version: asked.version,
                base: base.map(version),
                removal: asked.change == Change::Remove,
                tag: *tag,
                digest: *digest,
            });
        assert_eq!(found, expected.collect::<Vec<_>>());
        assert!(store.recovered(Slot::new(4)).is_empty());
        // Commits make the digests those of the chunks.
        for one in &found {
            store.commit(&ChunkKey { slot: SLOT, chunk: one.chunk }, one.version).unwrap();
            let committed = store.local(SLOT, one.chunk, None).committed;
            assert_eq!(committed, (!one.removal).then_some((one.version, one.digest)));
        }
        let listed = store.list(SLOT, None, 10);
        assert!(listed.iter().zip([0, 2, 3]).all(|(l, at)| l.digest == found[at].digest));
        store.audit().unwrap();
    });
}

#[test]
fn a_repeated_request_is_answered_with_the_digest_of_what_is_there() {
    let ground = Ground::new(2);
    ground.run(|env| async move {
        let store = create(&env).await;
        let nothing = Local { committed: None, known: Known::Fresh, fenced: false };
        assert_eq!(store.local(SLOT, chunk(0), Some(tag(5, 1, 1))), nothing);
        let first = Update {
            tag: Some(tag(5, 1, 1)),
            ..update(key(0), 1, MIB, Change::Write { offset: 0, len: 5000 })
        };
        let stored = put(&env, &store, first).await;
        let repeated = Stored { repeated: true, ..stored };
        assert_eq!(put(&env, &store, first).await, repeated, "while it is pending");
        assert_eq!(store.local(SLOT, chunk(0), first.tag), nothing, "a pending one is unknown");
        store.commit(&key(0), version(1)).unwrap();
        assert_eq!(put(&env, &store, first).await, repeated);
        let outcome = Outcome { seq: 1, key: key(0), version: version(1), len: 5000 };
        let committed = Some((version(1), stored.digest));
        let known = Known::Repeated(outcome);
        let local = Local { committed, known, fenced: false };
        assert_eq!(store.local(SLOT, chunk(0), first.tag), local);
        // A later version does not take the answer away.
        let later = write(&env, &store, key(0), 2, (0, &[7; 100])).await;
        assert_ne!(later.digest, stored.digest);
        assert_eq!(put(&env, &store, first).await, Stored { digest: later.digest, ..repeated });
        let known = store.local(SLOT, chunk(0), Some(tag(5, 1, 0))).known;
        assert_eq!(known, Known::Old { newest: 1 });
        store.fence(Fence::One(SessionId::new(5))).await.unwrap();
        assert!(store.local(SLOT, chunk(0), first.tag).fenced);
        assert!(!store.local(SLOT, chunk(0), Some(tag(6, 1, 1))).fenced);
        store.erase(&key(0)).await.unwrap();
        assert_eq!(store.local(SLOT, chunk(0), None).committed, None);
    });
}

#[test]
fn outcomes_of_a_target_are_paged() {
    let ground = Ground::new(3);
    ground.run(|env| async move {
        let store = create(&env).await;
        assert_eq!(store.targets(), [(SLOT, target())]);
        assert_eq!(store.vacant_slot(), Some(Slot::new(0)));
        for slot in [0, 2, 4, u16::from(u8::MAX)] {
            let slot = Slot::new(slot);
            let id = TargetId::new(20 + u64::from(slot.get()));
            store.set_target(slot, Some(TargetRecord { target: id, ..target() })).await.unwrap();
        }
        assert_eq!(store.vacant_slot(), Some(Slot::new(1)));
        let slots: Vec<u16> = store.targets().iter().map(|(slot, _)| slot.get()).collect();
        assert_eq!(slots, [0, 2, 3, 4, 255]);
        let mut expected = Vec::new();
        for slot in [SLOT, Slot::new(0), Slot::new(2), Slot::new(4)] {
            for session in [0, 1, 7, u64::MAX] {
                for channel in [0, 3, u32::MAX] {
                    let tag = tag(session, channel, u64::from(channel) + 1);
                    let key = ChunkKey::new(slot, 100, channel);
                    let outcome = Outcome { seq: tag.seq, key, version: version(3), len: 1 };
                    store.put_outcome(slot, tag, outcome).await.unwrap();
                    expected.extend((slot == SLOT).then_some((tag, outcome)));
                }
            }
        }
        for limit in [1, 5, 12, 100] {
            let (mut after, mut found) = (None, Vec::new());
            loop {
                let page = store.outcomes(SLOT, after, limit);
                assert!(page.len() <= limit);
                let Some((last, _)) = page.last() else { break };
                after = Some((last.session, last.channel));
                found.extend(page);
            }
            assert_eq!(found, expected, "{limit} at once");
        }
        assert_eq!(store.outcomes(Slot::new(0), None, 100).len(), 12);
        assert!(store.outcomes(Slot::new(255), None, 100).is_empty());
        assert_eq!(store.store_id(), store.superblock().store);
        assert!(!store.is_damaged());
    });
}

fn whole(key: ChunkKey, version: Which) -> Read {
    Read { key, offset: 0, len: MIB, version, verify: true }
}

fn plans(store: &ChunkStore<SimEnv>) -> usize {
    store.inner.state.borrow().plans_under_way()
}

/// What is decided in the turn after the version was picked does not change what is read: neither
/// images of the next version nor a block that is dropped and written again (S4).
#[test]
fn s4_a_read_sees_the_version_that_it_began_with() {
    let ground = Ground::new(4);
    ground.run(|env| async move {
        let store = create(&env).await;
        let old = pattern(300 * KIB, 1);
        for index in 0..3 {
            write(&env, &store, key(index), 1, (0, &old)).await;
            let change = Change::Write { offset: 9000, len: 5000 };
            put(&env, &store, update(key(index), 2, MIB, change)).await;
        }
        let mut new = old.clone();
        new[9000..14_000].copy_from_slice(&pattern(5000, 2));
        let readings = [0, 1, 2].map(|index| {
            let committed = store.start_read(whole(key(index), Which::Committed)).unwrap();
            let pending = store.start_read(whole(key(index), Which::Pending)).unwrap();
            assert_eq!((committed.version(), pending.version()), (version(1), version(2)));
            assert_eq!((committed.chunk_len(), pending.chunk_len()), (300 * KIB, 300 * KIB));
            (committed, pending)
        });
        assert_eq!(plans(&store), 6);
        // In the same turn.
        store.commit(&key(0), version(2)).unwrap();
        let aborted = store.start_abort(&key(1), version(2)).unwrap();
        let erased = store.start_erase(&key(2)).unwrap().unwrap();
        assert_eq!(store.state(&key(0)).committed, Some((version(2), 300 * KIB)));
        assert_eq!(store.state(&key(1)).pending, None);
        assert_eq!(store.state(&key(2)).committed, None);
        aborted.finish().await.unwrap();
        erased.finish().await.unwrap();
        for _ in 0..20 {
            let next = store.state(&key(0)).committed.unwrap().0.get() + 1;
            write(&env, &store, key(0), next, (9000, &[next as u8; 5000])).await;
            write(&env, &store, key(1), next - 1, (9000, &[next as u8; 5000])).await;
            write(&env, &store, key(100 + next), 1, (0, &[9; 300 << 10])).await;
        }
        for (committed, pending) in readings {
            assert_eq!(committed.finish().await.unwrap().to_vec(), old);
            assert_eq!(pending.finish().await.unwrap().to_vec(), new);
        }
        assert_eq!(plans(&store), 0);
        drop(store.start_read(whole(key(0), Which::Committed)));
        assert_eq!(plans(&store), 1, "until the device has answered (S5)");
        store.close().await.unwrap();
        assert_eq!(plans(&store), 0);
    });
}

#[test]
fn an_abort_counts_at_once_and_survives_who_asked() {
    let ground = Ground::new(5);
    ground.sim.start(ground.node, |env| async move {
        let store = create(&env).await;
        let change = Change::Write { offset: 0, len: 5000 };
        let aborted = put(&env, &store, update(key(0), 1, MIB, change)).await;
        let no = store.start_abort(&key(0), version(2)).err();
        let (key0, two) = (key(0), version(2));
        assert_eq!(no, Some(UpdateError::NotPending { key: key0, version: two }));
        drop(store.start_abort(&key(0), version(1)));
        // The same number again, with other bytes: behind the abort in the journal (R17).
        let change = Change::Write { offset: 0, len: 6000 };
        let again = put(&env, &store, update(key(0), 1, MIB, change)).await;
        assert_ne!(again.digest, aborted.digest);
        let (handle, data) = (store.clone(), bytes(&env, &[1; 100]).await);
        let asked = update(key(1), 1, MIB, Change::Write { offset: 0, len: 100 });
        let task = env.spawn(async move { handle.update(asked, Payload::new(0, data)).await });
        while !store.inner.state.borrow().is_slot_busy(SLOT) {
            engine_runtime::yield_now().await;
        }
        assert!(matches!(store.start_erase(&key(1)), Err(UpdateError::Busy { .. })));
        task.await.unwrap();
        assert!(store.start_erase(&key(7)).unwrap().is_none(), "it was absent");
        store.erase(&key(1)).await.unwrap();
        env.sleep_until(env.now().saturating_add(HOUR)).await;
    });
    ground.sim.run_for(Duration::from_secs(60)).unwrap();
    ground.sim.crash(ground.node);
    ground.run(|env| async move {
        let (store, _) = open(&env).await;
        let found = store.recovered(SLOT);
        assert_eq!((found.len(), found[0].chunk), (1, chunk(0)));
        let content = store.read(whole(key(0), Which::Pending)).await.unwrap();
        assert_eq!(content.to_vec(), pattern(6000, 1));
        store.audit().unwrap();
    });
}

fn growth(store: &ChunkStore<SimEnv>, asked: &Update) -> (u64, u64) {
    store.growth(SLOT, asked.key.chunk, asked.size, &asked.change)
}

/// What admission would take: blocks, and words beyond those of the committed record. Nothing while
/// a segment has to be claimed first.
fn taken(store: &ChunkStore<SimEnv>, asked: &Update, places: &[(u32, u32)]) -> Option<(u64, u64)> {
    let mut state = store.inner.state.borrow_mut();
    let old = state.committed(&asked.key).map(|record| record.words.len());
    let admission = state.admit(asked, places);
    let ticket = match admission {
        Ok(Admission::Proceed(ticket)) => ticket,
        Err(Refusal::Wait(_)) => return None,
        other => panic!("{other:?}"),
    };
    let new = ticket.plan.words_max().unwrap_or_default();
    let more = 4 * new.saturating_sub(old.unwrap_or_default()) as u64;
    let bytes = ticket.plan.fresh_bytes();
    state.give_up(ticket);
    Some((bytes, if old.is_none() { 56 + more } else { more }))
}

#[test]
fn r18_no_update_takes_more_than_was_said() {
    let ground = Ground::new(6);
    ground.run(|env| async move {
        let store = create(&env).await;
        let mut rng = Rng::new(6);
        for (index, size) in (0..).zip([4 * KIB, 64 * KIB, MIB, 8 * MIB, 64 * MIB]) {
            let mut exact = 0;
            for number in 1..150 {
                let offset = rng.below(u64::from(size)) as u32;
                let longest = [100, 5000, 300 * KIB, MIB][rng.below(4) as usize];
                let len = 1 + rng.below(u64::from((size - offset).min(longest))) as u32;
                let change = match rng.below(9) {
                    0 => Change::Truncate { len: offset },
                    1 => Change::Extend { len: offset + len },
                    2 => Change::Zero { offset, len },
                    _ => Change::Write { offset, len },
                };
                let asked = update(key(index), number, size, change);
                let is_write = matches!(change, Change::Write { .. });
                let places = is_write.then_some((offset, len));
                let (bytes, records) = growth(&store, &asked);
                if let Some(found) = taken(&store, &asked, places.as_slice()) {
                    let what = format!("{change:?} of {size}: {bytes} + {records}, took {found:?}");
                    assert!(found.0 <= bytes && found.1 <= records, "{what}");
                    exact += u32::from(found.0 == bytes);
                }
                put(&env, &store, asked).await;
                store.commit(&key(index), version(number)).unwrap();
            }
            assert!(70 < exact, "{exact} of 149 were exact with {size}");
        }
    });
}

#[test]
fn r18_growth_is_nothing_for_what_frees_space() {
    let ground = Ground::new(7);
    ground.run(|env| async move {
        let store = create(&env).await;
        let of = |index, change| growth(&store, &update(key(index), 1, MIB, change));
        let sixteen = 56 + 4 * 8;
        let four = Change::Write { offset: 0, len: 4096 };
        let all = Change::Write { offset: 0, len: MIB };
        assert_eq!(of(0, four), (4096, 60));
        assert_eq!(of(0, all), (1 << 20, 56 + 4 * 16));
        assert_eq!(of(0, Change::Replace { len: MIB / 2 }), (1 << 19, sixteen));
        assert_eq!(of(0, Change::Extend { len: MIB }), (0, 56));
        assert_eq!(of(0, Change::Remove), (0, 0));
        put(&env, &store, update(key(0), 1, MIB, four)).await;
        assert_eq!(of(0, four).0, 2 << 20, "nothing is assumed while a version is pending");
        store.commit(&key(0), version(1)).unwrap();
        assert_eq!(of(0, four), (1 << 20, 0), "a small block is copied");
        write(&env, &store, key(0), 2, (0, &pattern(MIB, 1))).await;
        assert_eq!(of(0, four), (0, 0), "it is overlaid");
        assert_eq!(of(0, Change::Write { offset: 0, len: 512 * KIB }), (1 << 20, 0));
        for change in [Change::Remove, Change::Truncate { len: 5 }, Change::Truncate { len: MIB }] {
            assert_eq!(of(0, change), (0, 0));
        }
        assert_eq!(of(0, Change::Zero { offset: 64 * KIB, len: 64 * KIB }), (0, 0));
        assert_eq!(of(0, Change::Zero { offset: 1, len: 64 * KIB }), (1 << 20, 0));
    });
}
