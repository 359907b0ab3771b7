use core::cell::RefCell;

use engine_runtime::sim::SimEnv;
use engine_runtime::{Env, all};
use engine_types::{ChainTableVersion, ChannelId};
use meta_protocol::{Caller, Cause, OpenMode, Tag, op};
use meta_schema::{INODE_ROOT, Mode};

use super::*;
use crate::bed::{Bed, BedKv, TABLE, with_bed};
use crate::chunks::fake::FakeChunks;
use crate::{Store, Table, Tables};

type Fake = FakeChunks<SimEnv>;

fn files(bed: &Bed) -> Files<SimEnv, BedKv, Fake> {
    let store = Store::new(&bed.env, &bed.kv, *bed.store.superblock());
    let table = Table { version: ChainTableVersion::new(3), chains: 12 };
    store.set_tables(Tables::from([(TABLE, table)]));
    Files::new(&bed.env, store, &FakeChunks::new(&bed.env, SessionId::new(1000)))
}

fn service(bed: &Bed, requests: u32) -> Rc<MetaService<SimEnv, BedKv, Fake>> {
    let service = MetaService::new(&bed.env, requests, Box::new(|session| session.get() == 666));
    service.begin(&files(bed));
    service
}

fn asked(session: u64, channel: u32, seq: u64, operation: impl Into<Operation>) -> Asked {
    let operation = operation.into();
    let channel = ChannelId::new(channel);
    let tag = operation.mutates().then_some(Tag { channel, seq });
    Asked { caller: Caller::root(), session: SessionId::new(session), tag, operation }
}

fn create(name: &str) -> op::Create {
    op::Create {
        parent: INODE_ROOT,
        name: name.as_bytes().to_vec(),
        mode: Mode::new(0o644),
        umask: Mode::default(),
        exclusive: true,
        open: Some(OpenMode { read: true, write: true, truncate: false, append: false }),
        layout: None,
    }
}

fn soon(bed: &Bed) -> Instant {
    bed.env.now() + Duration::from_secs(10)
}

#[test]
fn what_is_not_served_says_what_its_asker_does_next() {
    with_bed(1, |bed| async move {
        let service = service(&bed, 8);
        let stat = || asked(1, 0, 0, op::Stat { ino: INODE_ROOT });
        assert!(service.answer(&stat(), soon(&bed)).await.is_ok());
        let untagged = Asked { tag: None, ..asked(1, 1, 1, create("a")) };
        let told = service.answer(&untagged, soon(&bed)).await.unwrap_err();
        assert!(matches!(told, Denied::Refused(refusal) if refusal.errno == Errno::EINVAL));
        let revoked = service.answer(&asked(666, 1, 1, create("a")), soon(&bed)).await;
        let Err(Denied::Refused(refusal)) = revoked else { panic!("{revoked:?}") };
        assert_eq!(refusal.cause, Cause::Fenced);
        let late = service.answer(&stat(), bed.env.now()).await;
        assert_eq!(late, Err(Denied::Status(Status::DeadlineExceeded)));
        service.end();
        assert_eq!(service.answer(&stat(), soon(&bed)).await, Err(Denied::Status(Status::Busy)));
        assert!(!service.status().ready);
        service.begin(&files(&bed));
        service.stop();
        let stopped = service.answer(&stat(), soon(&bed)).await;
        assert_eq!(stopped, Err(Denied::Status(Status::Draining)));
    });
}

#[test]
fn e458_what_is_worked_on_is_bounded_and_all_are_answered() {
    with_bed(2, |bed| async move {
        let service = service(&bed, 2);
        let most = RefCell::new(0);
        let asks = (0..20_u32).map(async |at| {
            let told = service.answer(&asked(1, at, 1, create(&at.to_string())), soon(&bed)).await;
            let mut most = most.borrow_mut();
            *most = (*most).max(service.status().in_flight);
            told
        });
        let told = all(asks).await;
        let done = told.iter().filter(|told| told.is_ok()).count();
        let busy = told.iter().filter(|told| **told == Err(Denied::Status(Status::Busy))).count();
        // Two are worked on, eight wait, the others are sent away.
        assert_eq!((done, busy), (10, 10), "{told:?}");
        assert!(*most.borrow() <= 2);
        assert_eq!(service.status().in_flight, 0);
    });
}

/// A client that asked again, because an answer took long, asks the service twice at once.
#[test]
fn e426_the_same_request_twice_in_one_batch_is_done_once() {
    with_bed(3, |bed| async move {
        let service = service(&bed, 64);
        let Ok(Answer::Opened { attr, .. }) =
            service.answer(&asked(1, 0, 1, create("f")), soon(&bed)).await
        else {
            panic!("it is made")
        };
        let append =
            |channel, seq| asked(1, channel, seq, op::Append { ino: attr.ino, length: 10 });
        // The first one is under way alone; the others become one batch behind it.
        let requests =
            [append(9, 1), append(1, 1), append(1, 1), append(2, 4), append(2, 5), append(2, 5)];
        let told = all(requests.iter().map(|request| service.answer(request, soon(&bed)))).await;
        let offset = |at: usize| match &told[at] {
            Ok(Answer::Appended { offset, .. }) => Some(*offset),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        };
        assert_eq!(offset(1), offset(2), "one request, one range");
        assert_eq!(offset(4), offset(5));
        assert_eq!(offset(3), None, "its channel is further");
        let stat = asked(1, 0, 0, op::Stat { ino: attr.ino });
        let Ok(Answer::Attr(attr)) = service.answer(&stat, soon(&bed)).await else { panic!() };
        assert_eq!(attr.size, 30, "three ranges were given: {told:?}");
        let again = service.answer(&append(2, 5), soon(&bed)).await;
        assert_eq!(again, told[4], "its record is that of the newest");
    });
}
