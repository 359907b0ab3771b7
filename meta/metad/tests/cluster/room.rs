//! Room of the file system, as statfs tells it, over real storage nodes.

use core::time::Duration;
use std::rc::Rc;

use engine_runtime::Env;
use engine_types::Instant;
use meta_protocol::{Caller, FsSpace, op};
use meta_schema::INODE_ROOT;

use crate::chunks::fill;
use crate::ground::{CHUNK, Ground, Meta, NODES, STORE_BYTES, User};
use crate::kills::create;

/// Longer than figures are kept.
const OLD: Duration = Duration::from_secs(6);

async fn space(meta: &Meta) -> FsSpace {
    meta.space(&Caller::root()).await.unwrap()
}

/// Figures that are asked for now.
async fn fresh(user: &User, meta: &Meta) -> FsSpace {
    user.pause(OLD).await;
    space(meta).await
}

#[test]
fn room_is_that_of_one_replica_and_follows_files() {
    let ground = Ground::new(51);
    ground.act(0, async |user| {
        let session = user.session().await;
        let meta = user.meta(&session, Default::default());
        let storage = user.storage(&session);
        let root = Caller::root();
        let empty = fresh(&user, &meta).await;
        // Three stores of 1 GiB with three replicas; journal, index and reserve are counted out.
        assert!(empty.bytes <= STORE_BYTES && STORE_BYTES / 2 <= empty.bytes, "{empty:?}");
        assert_eq!((empty.bytes, empty.bytes_available), (empty.bytes_free, empty.bytes_free));
        assert_eq!((empty.stores, empty.stores_silent), (3, 0));
        assert_eq!(empty.files - empty.files_free, 1, "the root");
        assert!(1000 < empty.files_free && empty.age_ms < 1000, "{empty:?}");
        // What is written is gone from it, once and not once per replica.
        let (file, _) = meta.opened(&root, create(INODE_ROOT, "a")).await.unwrap();
        fill(&user, &meta, &storage, &file, 64).await;
        let full = fresh(&user, &meta).await;
        let written = 64 * u64::from(CHUNK);
        assert_eq!(full.bytes - full.bytes_free, written, "{full:?}");
        assert!(full.bytes_free + written <= empty.bytes_free, "{empty:?} {full:?}");
        assert_eq!(full.files - full.files_free, 2);
        // Figures are told again for some seconds.
        let close = op::Close { ino: file.ino, hint: None, atime: None };
        meta.attr(&root, close).await.unwrap();
        let (parent, name) = (INODE_ROOT, b"a".to_vec());
        meta.done(&root, op::Unlink { parent, name, hold: false }).await.unwrap();
        // A second at the collector's idle pace; ten minutes are what operators are told.
        let by = user.env.now() + Duration::from_secs(600);
        loop {
            let now = fresh(&user, &meta).await;
            if now.bytes_free == empty.bytes_free && now.files - now.files_free == 1 {
                break;
            }
            assert!(user.env.now() < by, "{empty:?} {now:?}");
        }
    });
}

async fn timed(user: &Rc<User>, meta: &Meta) -> (FsSpace, Duration) {
    let began: Instant = user.env.now();
    let told = space(meta).await;
    (told, user.env.now().saturating_since(began))
}

/// A node that answers nothing delays one answer by a second, and none after that; its last
/// figures count.
#[test]
fn nobody_waits_for_a_node_that_does_not_answer() {
    let ground = Ground::new(52);
    let done = ground.spawn(0, async |user| {
        let meta = user.mount().await;
        let before = fresh(&user, &meta).await;
        // Both services are to know the figures.
        for _ in 0..20 {
            space(&meta).await;
        }
        user.pause(Duration::from_secs(10)).await; // it is frozen at 20 s
        let mut longest = [Duration::ZERO; 2];
        for round in 0..40 {
            let (told, took) = timed(&user, &meta).await;
            let slot = &mut longest[usize::from(8 <= round)];
            *slot = (*slot).max(took);
            let same = (told.bytes, told.bytes_free, told.stores);
            assert_eq!(same, (before.bytes, before.bytes_free, 3), "round {round}: {told:?}");
            if 8 <= round {
                assert_eq!(told.stores_silent, 1, "round {round}");
                assert!(Duration::from_secs(5) < Duration::from_millis(told.age_ms.into()));
            }
            user.pause(Duration::from_secs(3)).await;
        }
        longest
    });
    ground.run(Duration::from_secs(11));
    ground.sim.freeze(NODES[2], Duration::from_secs(1000));
    let longest = ground.finish(&done);
    assert!(longest[0] <= Duration::from_millis(1100), "{longest:?}");
    assert!(longest[1] <= Duration::from_millis(200), "{longest:?}");
}
