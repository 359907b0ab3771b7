//! On a real cluster, whose file [`TEST_CLUSTER_FILE`] names; without it they pass and say so.
//!
//! One test, because a process can start the library's thread only once (E229).

use engine_runtime::CoreSpec;
use engine_runtime::monoio;

use super::transaction::mutation_type;
use super::*;
use crate::api::{Kv, Transaction, TransactionOptions};
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
