//! Locks across services.

use meta_protocol::op::LockAsk;
use meta_schema::{LockFamily, LockKind, LockRange};

use super::*;

fn lock(owner: u64, kind: Option<LockKind>, start: u64, end: u64) -> LockAsk {
    let range = LockRange::new(start, end).unwrap();
    LockAsk { family: LockFamily::Posix, owner, pid: 1, kind, range }
}

async fn set(mount: &Mount, ino: InodeId, lock: LockAsk, wait: LockWait) -> LockTold {
    match mount.ask(SetLock { ino, lock, wait }).await.unwrap() {
        Answer::Lock(told) => told,
        other => panic!("not about a lock: {other:?}"),
    }
}

/// Asks until it has the lock, as a client does.
async fn wait(mount: &Mount, ino: InodeId, asked: LockAsk) -> LockTold {
    let mut wait = LockWait::Queue;
    loop {
        match set(mount, ino, asked, wait).await {
            LockTold::Waiting { ticket } => wait = LockWait::Ticket { ticket },
            told => return told,
        }
    }
}

fn mounts(bed: &Bed) -> (FakeChunks<SimEnv>, [Mount; 3]) {
    let chunks = fake(bed);
    let [one, two] = [1001, 1002].map(|session| service(bed, &chunks, session));
    (chunks, [Mount::new(&one, 5), Mount::new(&two, 6), Mount::new(&two, 7)])
}

const W: Option<LockKind> = Some(LockKind::Write);

#[test]
fn locks_exclude_across_services_and_are_given_in_turn() {
    with_bed(1, async |bed| {
        let (_, [a, b, c]) = mounts(&bed);
        let ino = a.create("a").await.ino;
        assert_eq!(set(&a, ino, lock(1, W, 0, 9), LockWait::No).await, LockTold::Granted);
        assert_eq!(set(&b, ino, lock(1, W, 5, 20), LockWait::No).await, LockTold::Busy);
        assert_eq!(set(&b, ino, lock(1, W, 10, 20), LockWait::No).await, LockTold::Granted);
        set(&b, ino, lock(1, None, 0, 99), LockWait::No).await;
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let mut waits = Vec::new();
        for (name, mount) in [("b", &b), ("c", &c)] {
            let (mount, order) = (mount.clone(), order.clone());
            waits.push(bed.env.spawn(async move {
                let told = wait(&mount, ino, lock(1, W, 0, 0)).await;
                assert_eq!(told, LockTold::Granted);
                order.borrow_mut().push(name);
                mount.service.env().sleep_until(mount.service.env().now() + TIME).await;
                set(&mount, ino, lock(1, None, 0, 99), LockWait::No).await;
            }));
            // Longer than a request waits: its client asks again.
            bed.env.sleep_until(bed.env.now() + Duration::from_secs(25)).await;
        }
        assert!(order.borrow().is_empty());
        set(&a, ino, lock(1, None, 0, 99), LockWait::No).await;
        all(waits).await;
        assert_eq!(*order.borrow(), ["b", "c"], "E404: first come, first served");
        for letters in ["LOCK", "LOCS", "LOCW"] {
            assert_eq!(keys(&bed, letters).await, 0, "E454: {letters}");
        }
    });
}

/// Who unlocks at the service of a waiter wakes it at once.
#[test]
fn a_waiter_of_the_same_service_is_woken() {
    with_bed(2, async |bed| {
        let (_, [_, b, c]) = mounts(&bed);
        let ino = b.create("a").await.ino;
        set(&b, ino, lock(1, W, 0, 9), LockWait::No).await;
        let (mount, env) = (c.clone(), bed.env.clone());
        let waiter = bed.env.spawn(async move {
            assert_eq!(wait(&mount, ino, lock(1, W, 0, 9)).await, LockTold::Granted);
            env.now()
        });
        bed.env.sleep_until(bed.env.now() + Duration::from_millis(2345)).await;
        set(&b, ino, lock(1, None, 0, 9), LockWait::No).await;
        let unlocked = bed.env.now();
        assert!(waiter.await <= unlocked + Duration::from_millis(5), "it slept on");
    });
}

#[test]
fn a_wait_can_be_given_up() {
    with_bed(3, async |bed| {
        let (_, [a, b, _]) = mounts(&bed);
        let ino = a.create("a").await.ino;
        set(&a, ino, lock(1, W, 0, 9), LockWait::No).await;
        let LockTold::Waiting { ticket } = set(&b, ino, lock(4, W, 0, 9), LockWait::Queue).await
        else {
            panic!("it is held")
        };
        let cancel = ask::CancelLock { ino, owner: 4, ticket };
        let told = b.ask(cancel).await.unwrap();
        assert_eq!(told, Answer::Lock(LockTold::Cancelled));
        set(&a, ino, lock(1, None, 0, 9), LockWait::No).await;
        assert_eq!(keys(&bed, "LOCK").await, 0, "nobody has it, nobody waits");
        assert_eq!((keys(&bed, "LOCW").await, keys(&bed, "LOCS").await), (0, 0), "E454");
    });
}

/// E454: who gives back the locks of one inode still waits for another.
#[test]
fn a_wait_is_seen_although_other_locks_were_given_back() {
    with_bed(7, async |bed| {
        let (_, [a, b, c]) = mounts(&bed);
        let (x, y) = (a.create("x").await.ino, a.create("y").await.ino);
        set(&a, x, lock(1, W, 0, 0), LockWait::No).await;
        set(&b, x, lock(2, W, 2, 2), LockWait::No).await;
        set(&c, y, lock(3, W, 0, 0), LockWait::No).await; // so that y has a table
        let told = set(&b, x, lock(2, W, 0, 0), LockWait::Queue).await;
        assert!(matches!(told, LockTold::Waiting { .. }), "{told:?}");
        let family = LockFamily::Posix;
        b.ask(ask::ReleaseLocks { ino: y, family, owner: 2 }).await.unwrap();
        let closing = SetLock { ino: x, lock: lock(1, W, 2, 2), wait: LockWait::Queue };
        assert_eq!(a.errno(closing).await, Errno::EDEADLK);
    });
}

#[test]
fn a_wait_that_would_never_end_is_refused() {
    with_bed(4, async |bed| {
        let (_, [a, b, c]) = mounts(&bed);
        let inodes = [a.create("x").await.ino, a.create("y").await.ino, a.create("z").await.ino];
        for (mount, ino) in [&a, &b, &c].into_iter().zip(inodes) {
            set(mount, ino, lock(1, W, 0, 9), LockWait::No).await;
        }
        let mut waits = Vec::new();
        for (mount, ino) in [(&a, inodes[1]), (&b, inodes[2])] {
            let mount = mount.clone();
            waits.push(bed.env.spawn(async move { wait(&mount, ino, lock(1, W, 0, 9)).await }));
            bed.env.sleep_until(bed.env.now() + Duration::from_secs(1)).await;
        }
        // c has z and wants x of a, who waits for y of b, who waits for z of c.
        let closing = SetLock { ino: inodes[0], lock: lock(1, W, 0, 9), wait: LockWait::Queue };
        assert_eq!(c.errno(closing).await, Errno::EDEADLK);
        set(&c, inodes[2], lock(1, None, 0, 9), LockWait::No).await;
        set(&b, inodes[1], lock(1, None, 0, 9), LockWait::No).await;
        assert_eq!(all(waits).await, [LockTold::Granted, LockTold::Granted]);
    });
}

/// L6: locks go with the session, and not before it is over.
#[test]
fn locks_go_with_the_session() {
    with_bed(5, async |bed| {
        let (chunks, [a, b, _]) = mounts(&bed);
        let ino = a.create("a").await.ino;
        set(&a, ino, lock(1, W, 0, 9), LockWait::No).await;
        let mount = b.clone();
        let waiter = bed.env.spawn(async move { wait(&mount, ino, lock(1, W, 0, 9)).await });
        bed.env.sleep_until(bed.env.now() + TIME).await;
        chunks.fence(a.session);
        b.ask(ask::PruneSession { session: a.session }).await.unwrap();
        assert_eq!(waiter.await, LockTold::Granted);
        let release = ask::ReleaseLocks { ino, family: LockFamily::Posix, owner: 1 };
        assert_eq!(b.ask(release).await.unwrap(), Answer::Done);
        assert_eq!((keys(&bed, "LOCK").await, keys(&bed, "LOCS").await), (0, 0), "E454");
    });
}

#[test]
fn getlk_names_who_is_in_the_way() {
    with_bed(6, async |bed| {
        let (_, [a, b, _]) = mounts(&bed);
        let ino = a.create("a").await.ino;
        set(&a, ino, lock(9, W, 3, 5), LockWait::No).await;
        let get = |start, end| ask::GetLock { ino, lock: lock(1, W, start, end) };
        let found = b.ask(get(0, 4)).await.unwrap();
        let Answer::Conflict { lock: Some(found) } = found else { panic!("{found:?}") };
        assert_eq!((found.owner.session, found.owner.owner, found.pid), (a.session, 9, 1));
        assert_eq!(b.ask(get(6, 7)).await.unwrap(), Answer::Conflict { lock: None });
    });
}
