//! Limits that what was written has to keep for its next reader.

use engine_store::format::limits::DEDUP_CHANNELS_MIN;
use engine_store::{Outcome, Tag};
use engine_types::{ChannelId, SessionId};

use super::*;

/// As many requests as the table holds, all of one session.
fn learn(store: &ChunkStore<SimEnv>, session: u64) {
    let mut state = store.inner.state.borrow_mut();
    for channel in 0..DEDUP_CHANNELS_MIN {
        let (session, channel) = (SessionId::new(session), ChannelId::new(channel));
        let tag = Tag { session, channel, seq: 1 };
        let outcome = Outcome { seq: 1, key: key(0), version: ChunkVersion::new(1), len: 0 };
        state.put_outcome(SLOT, tag, outcome).unwrap();
    }
}

#[test]
fn e109_lower_limits_hold_for_what_is_new_only() {
    let ground = Ground::new(1);
    ground.run(move |env| async move {
        let store = create(&env).await;
        learn(&store, 1);
        store.close().await.unwrap();
    });
    // With lower limits, what is there stays and is written again.
    for _ in 0..2 {
        ground.run(move |env| async move {
            let config = StoreConfig {
                channels_per_session_max: 1,
                index_bytes_max: Some(1),
                overlay_bytes_max: 512 << 10,
                full_permille: 1,
                ..config()
            };
            let (store, opened) = ChunkStore::open(&env, Path::new(PATH), config).await.unwrap();
            assert!(!opened.damaged);
            assert_eq!(store.inner.state.borrow().dedup().len(), DEDUP_CHANNELS_MIN as usize);
            store.close().await.unwrap();
        });
    }
}

#[test]
fn m1_a_cut_acts_on_older_epochs_only() {
    let ground = Ground::new(2);
    ground.run(move |env| async move {
        let store = create(&env).await;
        let write = Change::Write { offset: 0, len: 100 };
        let cuts = [Change::Truncate { len: 10 }, Change::Remove];
        let others = [write, Change::Extend { len: 200 }, Change::Zero { offset: 5, len: 10 }];
        let ask = async |index: u32, version: u32, epoch: u32, change: Change| {
            let payload = match change {
                Change::Write { len, .. } => {
                    Payload::new(0, bytes(&env, &vec![1; len as usize]).await)
                }
                _ => Payload::NONE,
            };
            let epoch = TruncateEpoch::new(epoch);
            let asked = Update { epoch, ..update(key(index), version, MIB, change) };
            let stored = store.update(asked, payload).await?;
            store.commit(&key(index), stored.version)
        };
        // Epoch of the chunk, of the request; whether others, whether cuts act.
        #[rustfmt::skip]
        let rows = [
            (0, 0, true,  true), // a file that uses no epochs
            (0, 1, true,  true),
            (3, 2, false, false),
            (3, 0, false, false),
            (3, 3, true,  false),
            (3, 4, true,  true),
        ];
        let mut index = 0;
        for (current, epoch, others_act, cuts_act) in rows {
            let asked = others.iter().map(|change| (change, others_act));
            for (change, acts) in asked.chain(cuts.iter().map(|change| (change, cuts_act))) {
                index += 1;
                ask(index, 1, current, write).await.unwrap();
                let answer = ask(index, 2, epoch, *change).await;
                let context = format!("{change:?} of {epoch} on {current}");
                if acts {
                    assert_eq!(answer, Ok(()), "{context}");
                    let state = store.inner.state.borrow();
                    let found = state.committed(&key(index)).map(|record| record.head.epoch.get());
                    let expected = (*change != Change::Remove).then_some(epoch);
                    assert_eq!(found, expected, "{context}");
                } else {
                    let key = key(index);
                    let (found, current) = (TruncateEpoch::new(epoch), TruncateEpoch::new(current));
                    let expected = engine_store::UpdateError::StaleEpoch { key, found, current };
                    assert_eq!(answer, Err(expected), "{context}");
                }
            }
        }
    });
}

#[test]
fn e184_the_tail_moves_without_a_checkpoint() {
    let ground = Ground::new(3);
    ground.run(move |env| async move {
        let store = create(&env).await;
        write(&env, &store, key(0), 1, (0, &pattern(300 * KIB, 1))).await;
        let payload = Payload::new(5000, bytes(&env, &[9; 100]).await);
        let change = Change::Write { offset: 5000, len: 100 };
        store.update(update(key(0), 2, MIB, change), payload).await.unwrap();
        crate::checkpoint::checkpoint(&store.inner, false).await.unwrap();
        assert!(!crate::checkpoint::move_tail(&store.inner).await.unwrap(), "an image is held");
        store.commit(&key(0), ChunkVersion::new(2)).unwrap();
        env.sleep_until(env.now().saturating_add(Duration::from_secs(1))).await;
        let (before, made) = (store.superblock(), store.metrics().checkpoints);
        assert!(crate::checkpoint::move_tail(&store.inner).await.unwrap());
        let after = store.superblock();
        assert!(before.tail.lsn < after.tail.lsn);
        assert_eq!(after.tail.lsn, after.checkpoint.unwrap().start);
        assert_eq!((after.checkpoint, store.metrics().checkpoints), (before.checkpoint, made));
    });
    ground.run(move |env| async move {
        let (store, opened) = open(&env).await;
        assert!(!opened.damaged);
        let mut expected = pattern(300 * KIB, 1);
        expected[5000..5100].fill(9);
        assert_eq!(read_all(&store, key(0)).await, expected);
        store.audit().unwrap();
    });
}
