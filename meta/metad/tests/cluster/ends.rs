//! Ends of sessions: what they have left goes, and nothing follows.

use core::time::Duration;

use engine_runtime::Env;
use engine_types::InodeId;
use meta_client::MetaError;
use meta_protocol::op::LockAsk;
use meta_protocol::op::LockWait::Queue;
use meta_protocol::{Caller, LockTold, op};
use meta_schema::{INODE_ROOT, LockFamily, LockKind, LockRange};
use mgmt_protocol::Operation;

use crate::ground::{Ground, META};
use crate::kills::{create, names};

fn exclusive(owner: u64) -> LockAsk {
    LockAsk {
        family: LockFamily::Posix,
        owner,
        pid: 1,
        kind: Some(LockKind::Write),
        range: LockRange::ALL,
    }
}

/// Longer than the timeout of sessions and all that follows it.
const LONG: Duration = Duration::from_secs(300);

#[test]
fn a_dead_clients_locks_go_with_its_session_and_not_with_a_service() {
    let ground = Ground::new(31);
    let file: InodeId = ground.act(0, async |user| {
        let meta = user.mount().await;
        let root = Caller::root();
        let (file, _) = meta.opened(&root, create(INODE_ROOT, "locked")).await.unwrap();
        let by = user.env.now() + Duration::from_secs(1);
        let told = meta.lock(&root, file.ino, exclusive(1), true, by).await.unwrap();
        assert_eq!(told, LockTold::Granted);
        file.ino
    });
    // Its process has ended: nobody extends its session. Services die and come back meanwhile.
    let waits = ground.spawn(1, async move |user| {
        let meta = user.mount().await;
        let root = Caller::root();
        let at_once = user.env.now();
        let busy = meta.lock(&root, file, exclusive(2), false, at_once).await.unwrap();
        assert_eq!(busy, LockTold::Busy, "the lock survives both services");
        let began = user.env.now();
        let told = meta.lock(&root, file, exclusive(2), true, began + LONG).await.unwrap();
        assert_eq!(told, LockTold::Granted);
        user.env.now().saturating_since(began)
    });
    for node in META {
        ground.run(Duration::from_secs(2));
        ground.sim.kill(node);
        ground.run(Duration::from_secs(1));
        ground.meta(node);
    }
    let waited = ground.finish(&waits);
    assert!(Duration::from_secs(20) < waited, "only the end of the session frees it: {waited:?}");
    assert!(waited < Duration::from_secs(120), "{waited:?}");
}

#[test]
fn a_wait_that_is_given_up_holds_nobody_up() {
    let ground = Ground::new(32);
    ground.act(0, async |user| {
        let (one, two) = (user.mount().await, user.mount().await);
        let root = Caller::root();
        let (file, _) = one.opened(&root, create(INODE_ROOT, "f")).await.unwrap();
        let soon = |seconds| user.env.now() + Duration::from_secs(seconds);
        let first = one.lock(&root, file.ino, exclusive(1), true, soon(1)).await.unwrap();
        assert_eq!(first, LockTold::Granted);
        let late = two.lock(&root, file.ino, exclusive(2), true, soon(15)).await.unwrap();
        assert_eq!(late, LockTold::Cancelled);
        let dropped = two.lock(&root, file.ino, exclusive(3), true, soon(100));
        assert!(engine_runtime::until(&user.env, soon(5), dropped).await.is_err());
        user.pause(Duration::from_secs(15)).await;
        let unlock = LockAsk { kind: None, ..exclusive(1) };
        one.lock(&root, file.ino, unlock, false, soon(1)).await.unwrap();
        let next = one.lock(&root, file.ino, exclusive(4), false, soon(1)).await.unwrap();
        assert_eq!(next, LockTold::Granted, "nobody is in the line any more");
    });
}

/// A request to wait that ends by its deadline, or whose caller goes, before anybody heard of its
/// place in the line: nobody waits behind it for longer than that takes to be known.
#[test]
fn a_request_to_wait_that_nobody_waits_for_leaves_the_line() {
    let ground = Ground::new(34);
    ground.act(0, async |user| {
        let (one, two) = (user.mount().await, user.mount().await);
        let root = Caller::root();
        let (file, _) = one.opened(&root, create(INODE_ROOT, "f")).await.unwrap();
        let soon = |seconds| user.env.now() + Duration::from_secs(seconds);
        one.lock(&root, file.ino, exclusive(1), true, soon(1)).await.unwrap();
        let queue = |owner| op::SetLock { ino: file.ino, lock: exclusive(owner), wait: Queue };
        let late = two.call_by(&root, queue(2), soon(3)).await;
        assert!(matches!(late, Err(MetaError::DeadlineExceeded { .. })), "{late:?}");
        let gone = two.call_by(&root, queue(3), soon(100));
        assert!(engine_runtime::until(&user.env, soon(2), gone).await.is_err());
        // One with the same owner waits on, in a task of its own.
        let (waiter, other) = (two.clone(), root.clone());
        let by = soon(100);
        let waits = user.env.spawn(async move {
            waiter.lock(&other, file.ino, exclusive(2), true, by).await.unwrap()
        });
        let again = two.call_by(&root, queue(2), soon(3)).await;
        assert!(matches!(again, Err(MetaError::DeadlineExceeded { .. })), "{again:?}");
        user.pause(Duration::from_secs(15)).await;
        let unlock = |owner| LockAsk { kind: None, ..exclusive(owner) };
        one.lock(&root, file.ino, unlock(1), false, soon(1)).await.unwrap();
        assert_eq!(waits.await, LockTold::Granted, "it was not this one that gave up");
        two.lock(&root, file.ino, unlock(2), false, soon(1)).await.unwrap();
        let next = one.lock(&root, file.ino, exclusive(4), false, soon(1)).await.unwrap();
        assert_eq!(next, LockTold::Granted, "nobody is in the line any more");
    });
}

#[test]
fn e475_nothing_is_done_for_a_revoked_session() {
    let ground = Ground::new(33);
    ground.act(0, async |user| {
        let root = Caller::root();
        let session = user.session().await;
        let meta = user.meta(&session, Default::default());
        let other = user.mount().await;
        meta.opened(&root, create(INODE_ROOT, "before")).await.unwrap();
        user.operate(Operation::RevokeSessions(vec![session.id()])).await;
        let lost = loop {
            let name = format!("after-{}", user.env.now().nanos());
            match meta.opened(&root, create(INODE_ROOT, &name)).await {
                Ok(_) => user.pause(Duration::from_millis(50)).await,
                Err(error) => break error,
            }
        };
        assert!(matches!(lost, MetaError::SessionLost { .. }), "{lost}");
        assert!(meta.is_lost());
        let found = names(&other, INODE_ROOT).await;
        let again = meta.done(&root, op::Rmdir { parent: INODE_ROOT, name: b"x".to_vec() }).await;
        assert!(matches!(again, Err(MetaError::SessionLost { .. })));
        user.pause(LONG).await;
        assert_eq!(names(&other, INODE_ROOT).await, found);
        // Unlinked while the dead session has it open for writing: it goes all the same.
        for name in found {
            let (parent, name) = (INODE_ROOT, name.into_bytes());
            other.done(&root, op::Unlink { parent, name, hold: false }).await.unwrap();
        }
    });
}
