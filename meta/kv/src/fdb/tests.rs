//! On a real cluster, whose file [`TEST_CLUSTER_FILE`] names; without it they pass and say so.
//!
//! One test, because a process can start the library's thread only once (E229).

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

use engine_runtime::CoreSpec;
use engine_runtime::monoio;

use super::transaction::mutation_type;
use super::*;
use crate::api::{Kv, ReadMode, Transaction, TransactionOptions};
use crate::conformance::{Suite, run};
use crate::mutation::AtomicOp;

/// Everything happens below it.
const PREFIX: &[u8] = b"emberfs-test/";

#[test]
fn the_rules_hold_on_a_cluster() {
    let Some(network) = open_for_tests() else {
        eprintln!("skipped: {TEST_CLUSTER_FILE} is not set");
        return;
    };
    let store = network.store();
    let main = |env| async move {
        let kv = FdbKv::new(env, store);
        let suite = Suite { prefix: PREFIX.to_vec(), slow: true, rounds: 50, seed: 1 };
        run(&kv, &suite, |case| eprintln!("passed: {case}")).await;
        a_commit_is_answered_with_its_version_and_stamp(&kv).await;
        dropped_futures_do_no_harm(&kv).await;
        the_number_of_an_error_is_understood(&kv).await;
    };
    monoio::run(CoreSpec::new("fdb-test"), main).unwrap();
    let second = Network::start(std::path::Path::new("/dev/null"));
    assert!(matches!(second.err(), Some(OpenError::ClusterFile(_))), "E229: the file comes first");
    drop(network);
}

/// The stamp is asked for before the commit and starts with its version.
#[expect(clippy::big_endian_bytes, reason = "a versionstamp is compared bytewise")]
async fn a_commit_is_answered_with_its_version_and_stamp<K: Kv>(kv: &K) {
    let transaction = kv.begin(TransactionOptions::default());
    transaction.set(&[PREFIX, b"stamp"].concat(), b"").unwrap();
    let committed = transaction.commit().await.unwrap();
    let stamp = committed.stamp.unwrap();
    assert_eq!(stamp.0[..8], committed.version.to_be_bytes());
}

/// Reads and commits whose answer nobody takes; callbacks come when their tasks wait elsewhere.
async fn dropped_futures_do_no_harm<K: Kv>(kv: &K) {
    let key = [PREFIX, b"dropped"].concat();
    for _ in 0..200 {
        let transaction = kv.begin(TransactionOptions::default());
        begun(transaction.get(&key, ReadMode::Conflict)).await;
        assert!(transaction.get(&key, ReadMode::Snapshot).await.is_ok());
        transaction.set(&key, b"1").unwrap();
        begun(transaction.commit()).await;
    }
    let transaction = kv.begin(TransactionOptions::default());
    transaction.clear(&key).unwrap();
    transaction.commit().await.unwrap();
}

/// Polls a future once, then drops it.
async fn begun(future: impl Future) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _answer = future.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}

/// E225, E226: a timeout of the library, before a commit.
async fn the_number_of_an_error_is_understood<K: Kv>(kv: &K) {
    let timeout = core::time::Duration::from_millis(1);
    let transaction = kv.begin(TransactionOptions { timeout, ..Default::default() });
    kv.sleep_until(kv.now() + timeout * 50).await;
    assert_eq!(
        transaction.read_version().await,
        Err(crate::KvError::TimedOut { limit_ms: 1 }),
        "E225"
    );
}

/// The numbers of the trait are the library's.
#[test]
fn atomic_operations_have_the_numbers_of_the_library() {
    for op in AtomicOp::ALL {
        assert_eq!(mutation_type(op).code(), op.code().into(), "{op:?}");
    }
}
