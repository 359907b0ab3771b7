//! A client in the test's own process, on a thread of its own.

use core::cell::Cell;
use core::net::SocketAddr;
use core::time::Duration;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use engine_runtime::monoio::MonoioEnv;
use engine_runtime::{CoreSpec, Env};
use engine_types::{Incarnation, NodeId, NodeRole, StoreId};
use engine_wire::handshake::Identity;
use meta_kv::{Abort, AtomicOp, Kv, KvError, OwnKv, Policy, ReadMode, Transaction, transact};
use meta_kvd::Remote;

use crate::support::net;

/// Time in which a transaction must be acknowledged, kills of the server included.
const TIME_MAX: Duration = Duration::from_secs(50);

/// Transactions on a served store.
pub(crate) type RemoteKv = OwnKv<MonoioEnv, Remote<MonoioEnv>>;

/// Runs `main` with a connection to the store at `address`, on this thread.
pub(crate) fn with_store<T: 'static, F: Future<Output = T> + 'static>(
    cluster: &str,
    address: SocketAddr,
    main: impl FnOnce(MonoioEnv, RemoteKv) -> F + 'static,
) -> T {
    let cluster = cluster.to_owned();
    let spec = CoreSpec { pool_bytes: 32 << 20, ..CoreSpec::new("client") };
    let run = engine_runtime::monoio::run(spec, move |env| {
        let identity = Identity {
            role: NodeRole::Meta,
            node: NodeId::new(9),
            process: StoreId::new(env.random().into()),
            incarnation: Incarnation::new(1),
        };
        let remote = Remote::new(&env, net(&cluster, identity), address);
        main(env.clone(), OwnKv::new(env, remote))
    });
    run.unwrap()
}

/// The key that the `n`th transaction of a channel writes.
pub(crate) fn key(channel: u8, n: u32) -> String {
    format!("t/{channel}/{n:06}")
}

/// Commits transactions 0, 1, 2.. of a channel until `stop`; tells of each that was acknowledged.
/// Each adds 1 to a key of its own and notes its number in the channel's record, by which it knows
/// a commit whose answer was lost (M11). Returns how many were acknowledged.
pub(crate) async fn number(
    env: MonoioEnv,
    kv: RemoteKv,
    channel: u8,
    stop: &'static AtomicBool,
    acknowledged: Sender<(u8, u32)>,
    unknown: Rc<Cell<u32>>,
) -> u32 {
    let record = format!("r/{channel}").into_bytes();
    let policy = Policy { attempts_max: 1, ..Policy::default() };
    let mut n = 0u32;
    while !stop.load(Ordering::SeqCst) {
        let late = env.now() + TIME_MAX;
        let body = async |t: &<RemoteKv as Kv>::Transaction| -> Result<(), Abort<()>> {
            if t.get(&record, ReadMode::Conflict).await? == Some(n.to_le_bytes().to_vec()) {
                return Ok(());
            }
            t.atomic(AtomicOp::Add, key(channel, n).as_bytes(), &1u32.to_le_bytes())?;
            t.set(&record, &n.to_le_bytes())?;
            Ok(())
        };
        loop {
            match transact(&kv, &policy, body).await {
                Ok(()) => break,
                Err(Abort::Kv(KvError::UnknownResult { .. })) => unknown.set(unknown.get() + 1),
                Err(Abort::Kv(KvError::Failed { reason })) => panic!("{reason}"),
                Err(error) => assert!(env.now() < late, "channel {channel}, {n}: {error:?}"),
            }
            env.sleep_until(env.now() + Duration::from_millis(5)).await;
        }
        // Nobody listens any more at the end.
        let _ = acknowledged.send((channel, n));
        n += 1;
    }
    n
}

/// One for each of `count` transactions of a channel, as `kv range` prints them.
pub(crate) fn expected(channel: u8, count: u32) -> Vec<(String, String)> {
    (0..count).map(|n| (key(channel, n), r"\x01\x00\x00\x00".to_owned())).collect()
}
