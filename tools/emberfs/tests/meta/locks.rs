//! Locks exclude whoever asks, on any service; they survive services, and go with the session.

use core::time::Duration;

use engine_runtime::Env;
use meta_protocol::op::LockAsk;
use meta_protocol::{Caller, LockTold};
use meta_schema::{INODE_ROOT, LockFamily, LockKind, LockRange};

use crate::client::{Member, Whereabouts};
use crate::ground::{METAS, create, plan, start, start_one, stop, with_mount};
use crate::support::Folder;

fn exclusive(owner: u64) -> LockAsk {
    let (family, kind, range) = (LockFamily::Flock, Some(LockKind::Write), LockRange::ALL);
    LockAsk { family, owner, pid: 1, kind, range }
}

/// Longest wait for the end of a session that was closed: nodes have to drain it.
const FENCED: Duration = Duration::from_secs(50);

#[test]
#[expect(clippy::disallowed_methods, reason = "a second process, as far as services can see")]
fn locks_exclude_across_services_and_go_with_the_session() {
    let folder = Folder::new("meta-locks");
    let mut cluster = start(plan(&folder));
    let at = Whereabouts::of(&cluster);
    // Only the second one runs: whoever locks has it from there.
    cluster.kill(METAS[0]).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
    let holder_at = at.clone();
    let holder = std::thread::spawn(move || {
        with_mount(holder_at, async move |member, meta| {
            let root = Caller::root();
            let (file, _) = meta.opened(&root, create(INODE_ROOT, "locked")).await.unwrap();
            let by = member.env.now() + Duration::from_secs(5);
            let granted = meta.lock(&root, file.ino, exclusive(1), true, by).await.unwrap();
            assert_eq!(granted, LockTold::Granted);
            tell.send(file.ino).unwrap();
            member.env.blocking(move || goes_on.recv().unwrap()).await;
            let by = member.env.now() + Duration::from_secs(20);
            member.session.close(by).await.unwrap();
        });
    });
    let ino = told.recv().unwrap();
    // And now only the first: it never heard of the lock but from the store.
    cluster.kill(METAS[1]).unwrap();
    start_one(&mut cluster, METAS[0]);
    with_mount(at.clone(), async move |member: Member, meta| {
        let root = Caller::root();
        let now = member.env.now();
        let busy = meta.lock(&root, ino, exclusive(1), false, now).await.unwrap();
        assert_eq!(busy, LockTold::Busy, "owners of other sessions are others");
        let waits = meta.lock(&root, ino, exclusive(2), true, now + FENCED);
        go_on.send(()).unwrap();
        assert_eq!(waits.await.unwrap(), LockTold::Granted, "the session has ended");
        let unlock = LockAsk { kind: None, ..exclusive(2) };
        let now = member.env.now();
        assert_eq!(meta.lock(&root, ino, unlock, false, now).await.unwrap(), LockTold::Granted);
    });
    holder.join().unwrap();
    start_one(&mut cluster, METAS[1]);
    stop(cluster);
}
