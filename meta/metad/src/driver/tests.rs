use core::cell::RefCell;

use engine_runtime::Notify;
use engine_runtime::sim::SimEnv;
use engine_types::{ChannelId, ClusterId};
use meta_protocol::{Caller, OpenMode, Operation, Request, Tag, op};
use meta_schema::{INODE_ROOT, Mode};

use super::*;
use crate::bed::{Bed, BedKv, TABLE, with_bed};
use crate::chunks::fake::FakeChunks;
use crate::{Store, Table, Tables};

/// Routing info that a test changes.
#[derive(Clone)]
struct Known {
    info: Rc<RefCell<Rc<RoutingInfo>>>,
    changed: Notify,
}

impl Known {
    fn new() -> Self {
        let info = Rc::new(RefCell::new(Rc::new(RoutingInfo::empty(ClusterId::new(7)))));
        Self { info, changed: Notify::default() }
    }

    fn change(&self, change: impl FnOnce(&mut RoutingInfo)) {
        change(Rc::make_mut(&mut self.info.borrow_mut()));
        self.changed.notify();
    }
}

impl Routing for Known {
    fn current(&self) -> Rc<RoutingInfo> {
        self.info.borrow().clone()
    }

    fn changed(&self) -> Notify {
        self.changed.clone()
    }

    fn refresh(&self) {}
}

type Service = Files<SimEnv, BedKv, FakeChunks<SimEnv>>;

fn service(bed: &Bed, chunks: &FakeChunks<SimEnv>) -> Service {
    let store = Store::new(&bed.env, &bed.kv, *bed.store.superblock());
    let table = Table { version: engine_types::ChainTableVersion::new(3), chains: 12 };
    store.set_tables(Tables::from([(TABLE, table)]));
    Files::new(&bed.env, store, chunks)
}

/// A file that `session` has open for writing.
async fn writes(files: &Service, session: u64) {
    let create = op::Create {
        parent: INODE_ROOT,
        name: format!("of-{session}").into_bytes(),
        mode: Mode::new(0o644),
        umask: Mode::default(),
        exclusive: true,
        open: Some(OpenMode { read: true, write: true, truncate: false, append: false }),
        layout: None,
    };
    let (caller, session) = (Caller::root(), SessionId::new(session));
    let tag = Some(Tag { channel: ChannelId::new(0), seq: 1 });
    let request = Request { caller, session, tag, operation: Operation::from(create) };
    files.call(&request, Duration::from_secs(10)).await.unwrap();
}

/// Sessions that have anything in the store.
async fn left(bed: &Bed) -> Vec<u64> {
    let is_of = |key: &[u8]| {
        [b"SESI", b"LOCS", b"LOCW", b"REQU"].iter().any(|front| key.starts_with(*front))
    };
    let keys = bed.dump().await.into_iter().map(|(key, _)| key).filter(|key| is_of(key));
    let mut left: Vec<u64> = keys.map(|key| session_of(&key).unwrap().get()).collect();
    left.sort_unstable();
    left.dedup();
    left
}

#[test]
fn e459_who_is_revoked_is_pruned_once_and_who_lives_stays() {
    with_bed(1, |bed| async move {
        let chunks = FakeChunks::new(&bed.env, SessionId::new(1000));
        let files = service(&bed, &chunks);
        for session in 1..=9 {
            writes(&files, session).await;
        }
        let routing = Known::new();
        let driver = Driver::start(&files, routing.clone(), Rc::default());
        let other = Driver::start(&files, routing.clone(), Rc::default());
        bed.wait(Duration::from_secs(60)).await;
        assert_eq!(left(&bed).await, (1..=9).collect::<Vec<_>>(), "nobody is revoked");
        routing.change(|info| {
            info.revoked_below = SessionId::new(4);
            info.revoked.extend([SessionId::new(6), SessionId::new(8)]);
        });
        chunks.fence(SessionId::new(1));
        chunks.fence(SessionId::new(6));
        bed.wait(Duration::from_secs(60)).await;
        assert_eq!(left(&bed).await, [2, 3, 4, 5, 7, 8, 9], "only what is over everywhere");
        [2, 3, 8].into_iter().for_each(|session| chunks.fence(SessionId::new(session)));
        bed.wait(Duration::from_secs(60)).await;
        assert_eq!(left(&bed).await, [4, 5, 7, 9]);
        assert!(5 <= driver.driven().pruned + other.driven().pruned);
        let fences = bed.dump().await.into_iter().filter(|(key, _)| key.starts_with(b"SESX"));
        let fences: Vec<Vec<u8>> = fences.map(|(key, _)| key).collect();
        let expected = [key::fenced_below().to_vec()]
            .into_iter()
            .chain([6, 8].map(|session| key::fenced(SessionId::new(session)).to_vec()));
        assert_eq!(fences, expected.collect::<Vec<_>>(), "one number for all below the floor");
    });
}
