//! A store is open once, on a real file system.

use std::path::{Path, PathBuf};

use engine_runtime::{CoreSpec, Env, monoio};
use engine_shard::{ChunkStore, CreateOptions, StoreConfig, StoreError};
use engine_types::ClusterId;

struct Named(PathBuf);

impl Drop for Named {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn is_refused<E: Env>(env: &E, path: &Path, config: StoreConfig) -> bool {
    match ChunkStore::open(env, path, config).await {
        Ok(_) => false,
        Err(StoreError::Io(why)) => {
            assert_eq!(why.source.kind(), std::io::ErrorKind::WouldBlock, "{why}");
            assert!(why.to_string().contains("in use"), "{why}");
            true
        }
        Err(why) => panic!("{why}"),
    }
}

#[test]
fn a_store_in_service_is_not_even_looked_at() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&folder).unwrap();
    let file = Named(folder.join(format!("lock-{}", std::process::id())));
    let path = file.0.clone();
    let looking = || StoreConfig { read_only: true, ..StoreConfig::default() };
    let main = move |env| async move {
        let options = CreateOptions {
            cluster: ClusterId::new(3),
            size: Some(256 << 20),
            journal_bytes: Some(2 << 20),
            index_bytes: Some(1 << 20),
            dedup_channels: Some(4096),
            force: true,
        };
        ChunkStore::format(&env, &path, &options).await.unwrap();
        let (store, _) = ChunkStore::open(&env, &path, StoreConfig::default()).await.unwrap();
        assert!(is_refused(&env, &path, looking()).await, "beside a writer");
        assert!(is_refused(&env, &path, StoreConfig::default()).await, "twice");
        store.close().await.unwrap();
        drop(store);
        let (store, _) = ChunkStore::open(&env, &path, looking()).await.unwrap();
        assert!(is_refused(&env, &path, StoreConfig::default()).await, "under a reader's eyes");
        let locked = StoreConfig { locked_by_caller: true, ..looking() };
        assert!(!is_refused(&env, &path, locked).await, "the caller has the lock");
        drop(store);
    };
    monoio::run(CoreSpec::new("lock"), main).unwrap();
}
