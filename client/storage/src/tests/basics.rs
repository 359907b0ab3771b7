//! What operations do when nothing goes wrong.

use engine_types::{ChunkVersion, Crc32c, Status, crc32c};

use crate::testing::{Ground, at, buffer, chain, chunk, ms};
use crate::{Op, StorageConfig, StorageError};
use engine_runtime::Env;

#[test]
fn every_operation_has_its_effect_and_tells_version_and_length() {
    let ground = Ground::new(1);
    ground.run(Ground::config(), |env, storage| async move {
        let none = storage.read(chain(1), chunk(0), 0, 100).await.unwrap();
        assert!(!none.exists() && none.bytes().is_empty() && none.chunk_len == 0);
        assert!(!storage.head(chain(1), chunk(0)).await.unwrap().exists());

        let parts = vec![buffer(&env, b"hello "), buffer(&env, b"world")];
        let made = storage.write(at(0), 3, parts).await.unwrap();
        assert_eq!((made.version, made.chunk_len), (ChunkVersion::new(1), 14));
        let read = storage.read(chain(1), chunk(0), 2, 100).await.unwrap();
        assert_eq!((read.version, read.chunk_len), (ChunkVersion::new(1), 14));
        assert_eq!(read.bytes(), b"\0hello world");

        assert_eq!(storage.truncate(at(0), 7).await.unwrap().chunk_len, 7);
        assert_eq!(storage.extend(at(0), 5).await.unwrap().chunk_len, 7);
        assert_eq!(storage.extend(at(0), 9).await.unwrap().chunk_len, 9);
        assert_eq!(storage.zero(at(0), 3, 2).await.unwrap().chunk_len, 9);
        assert_eq!(storage.copy(at(1), chunk(0), (5, 2), 1).await.unwrap().chunk_len, 3);
        let read = storage.read(chain(1), chunk(1), 0, 9).await.unwrap();
        assert_eq!(read.into_bytes().as_deref(), Some(&b"\0ll"[..]));
        let map = storage.data_map(chain(1), chunk(0), 2, 100).await.unwrap();
        assert_eq!((map.head.chunk_len, &map.parts[..]), (9, &[(2, 7)][..]));

        let all = storage.query(chain(1), chunk(0).inode, 0..9, true).await.unwrap();
        assert_eq!((all.chunks, all.bytes, all.last, all.resume), (2, 12, Some((1, 3)), None));
        assert_eq!((all.list[0].index, all.list[0].chunk_len), (0, 9));
        storage.remove(at(0)).await.unwrap();
        assert!(!storage.head(chain(1), chunk(0)).await.unwrap().exists());
        let metrics = storage.metrics();
        assert_eq!(metrics.ended(Op::Extend, Status::Ok), 2);
        assert_eq!(metrics.abandoned, 0);
    });
    let heads: Vec<u64> = ground.fake.updates().iter().map(|item| item.target).collect();
    assert!(heads.iter().all(|&target| target == 10), "updates go to the head: {heads:?}");
}

#[test]
fn checksums_are_those_of_the_blocks_of_the_chunk() {
    let ground = Ground::new(2);
    let data: Vec<u8> = (0..20_000u32).map(|byte| (byte % 251) as u8).collect();
    let sent = data.clone();
    ground.run(Ground::config(), |env, storage| async move {
        let parts = vec![buffer(&env, &sent[..100]), buffer(&env, &sent[100..])];
        storage.write(at(0), 8000, parts).await.unwrap();
    });
    // Blocks of 8 KiB: the first part ends within the first block, the other begins there.
    let crc = |range: core::ops::Range<usize>| -> Crc32c { crc32c(&data[range]) };
    let expected =
        [crc(0..100), crc(100..192), crc(192..8384), crc(8384..16576), crc(16576..20000)];
    let log = ground.fake.log();
    assert_eq!(log[0].crcs, expected.map(Crc32c::get));
}

#[test]
fn what_cannot_fit_is_refused_here() {
    let ground = Ground::new(3);
    ground.run(Ground::config(), |env, storage| async move {
        let too_large = |error: StorageError| matches!(error, StorageError::TooLarge { .. });
        let data = vec![buffer(&env, &[1; 4096])];
        assert!(too_large(storage.write(at(0), 62_000, data).await.unwrap_err()));
        assert!(too_large(storage.truncate(at(0), 65_537).await.unwrap_err()));
        assert!(too_large(storage.zero(at(0), u32::MAX, u32::MAX).await.unwrap_err()));
        assert!(too_large(storage.read(chain(1), chunk(0), 0, 5 << 20).await.unwrap_err()));
    });
    assert!(ground.fake.log().is_empty());
}

#[test]
fn idle_connections_are_closed_and_made_anew() {
    let ground = Ground::new(4);
    let config = StorageConfig { idle_time: ms(1000), ..Ground::config() };
    ground.run(config, |env, storage| async move {
        for _ in 0..3 {
            for _ in 0..3 {
                storage.read(chain(1), chunk(0), 0, 1).await.unwrap();
            }
            assert_eq!(storage.inner().shards.count(), 3);
            env.sleep_until(env.now() + ms(900)).await;
            assert_eq!(storage.inner().shards.count(), 3);
            env.sleep_until(env.now() + ms(1000)).await;
            assert_eq!(storage.inner().shards.count(), 0);
        }
    });
    assert_eq!(ground.fake.asked_shards.get(), 9);
}

#[test]
fn settings_are_checked() {
    StorageConfig::default().check().unwrap();
    let check = |config: StorageConfig| config.check().unwrap_err().name;
    let default = StorageConfig::default;
    assert_eq!(check(StorageConfig { channels: 3..3, ..default() }), "channels");
    assert_eq!(check(StorageConfig { channels: 60..65, ..default() }), "channels");
    assert_eq!(check(StorageConfig { window_requests: 0, ..default() }), "window_requests");
    assert_eq!(check(StorageConfig { backoff_max: ms(9), ..default() }), "backoff_max");
}

#[test]
fn a_client_that_starts_again_with_its_session_is_not_taken_for_its_former_self() {
    let ground = Ground::new(5);
    for text in [&b"one"[..], b"other"] {
        let made = ground.run(Ground::config(), move |env, storage| async move {
            storage.write(at(0), 0, vec![buffer(&env, text)]).await.unwrap()
        });
        assert_eq!(made.chunk_len as usize, text.len());
    }
    assert_eq!(ground.fake.content(1, 0), Some((2, b"other".to_vec())));
}
