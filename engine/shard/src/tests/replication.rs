//! What replication asks of a store.

use engine_store::tables::Known;
use engine_store::{Fence, Outcome, Tag, removal_digest};
use engine_types::{ChannelId, ChunkId, SessionId};

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
