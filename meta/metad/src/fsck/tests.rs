//! Every kind of damage, planted by itself: found once, repaired, and gone at the second look.

use core::time::Duration;

use client_storage::At;
use engine_runtime::sim::SimEnv;
use engine_types::{ChainId, ChunkId, InodeId};
use meta_kv::{OwnTransaction, Transaction as _};
use meta_protocol::op as ask;
use meta_schema::codec::Record as _;
use meta_schema::{INODE_ROOT, Inode, Key, Slot};

use super::*;
use crate::bed::{Bed, BedKv, with_bed};
use crate::chunks::fake::FakeChunks;
use crate::files::tests::{Mount, Opened, Service, WRITE, fake, service};

mod damage;
mod live;

/// A check of the bed, without repair.
async fn check(service: &Service) -> FsckReport {
    fsck(service, FsckSettings::default(), |_| ()).await.unwrap()
}

async fn mend(service: &Service) -> FsckReport {
    let settings = FsckSettings { repair: true, ..FsckSettings::default() };
    fsck(service, settings, |_| ()).await.unwrap()
}

fn kinds(report: &FsckReport) -> Vec<&'static str> {
    let mut kinds: Vec<_> = report.findings.iter().map(|found| found.finding.kind()).collect();
    kinds.sort_unstable();
    kinds
}

/// A file system with a bit of everything: /d/f with bytes and two names, /d/e empty, /d/sub/x,
/// a link, an open file, a locked one.
struct World {
    bed: Bed,
    service: Service,
    chunks: FakeChunks<SimEnv>,
    mount: Mount,
    file: Opened,
    open: Opened,
    d: InodeId,
    sub: InodeId,
    x: InodeId,
}

fn mkdir(parent: InodeId, name: &str) -> ask::Mkdir {
    let (mode, umask) = (Mode::new(0o755), Mode::default());
    ask::Mkdir { parent, name: name.into(), mode, umask, layout: None }
}

async fn ino(mount: &Mount, operation: impl Into<meta_protocol::Operation>) -> InodeId {
    match mount.ask(operation).await.unwrap() {
        meta_protocol::Answer::Attr(attr) => attr.ino,
        other => panic!("no attributes: {other:?}"),
    }
}

impl World {
    async fn new(bed: &Bed) -> Self {
        let chunks = fake(bed);
        let service = service(bed, &chunks, 1001);
        let mount = Mount::new(&service, 5);
        let d = ino(&mount, mkdir(INODE_ROOT, "d")).await;
        let sub = ino(&mount, mkdir(d, "sub")).await;
        let x = ino(&mount, ask::Symlink { parent: sub, name: b"x".into(), target: b"to".into() })
            .await;
        let mut file = mount.create("f").await;
        for chunk in 0..5u64 {
            mount.write(&mut file, chunk << 20, &[7; 100]).await;
        }
        mount.close(&file).await;
        ino(&mount, ask::Link { ino: file.ino, parent: d, name: b"g".into() }).await;
        let open = mount.create("open").await;
        let lock = ask::LockAsk {
            family: meta_schema::LockFamily::Posix,
            owner: 3,
            pid: 1,
            kind: Some(meta_schema::LockKind::Write),
            range: meta_schema::LockRange::ALL,
        };
        let set = ask::SetLock { ino: open.ino, lock, wait: ask::LockWait::No };
        mount.ask(set).await.unwrap();
        let (bed, chunks) = (bed.clone(), chunks);
        Self { bed, service, chunks, mount, file, open, d, sub, x }
    }

    /// Writes behind the back of the service.
    async fn plant(&self, write: impl AsyncFnOnce(&OwnTransaction<SimEnv, Source>)) {
        let transaction = self.bed.kv.begin(meta_kv::TransactionOptions::default());
        write(&transaction).await;
        transaction.commit().await.unwrap();
    }

    async fn value(&self, key: &Key) -> Option<Vec<u8>> {
        let transaction = self.bed.kv.begin(meta_kv::TransactionOptions::default());
        transaction.get(&key.encode(), ReadMode::Snapshot).await.unwrap()
    }

    async fn set(&self, key: &Key, value: &[u8]) {
        self.plant(async |t| t.set(&key.encode(), value).unwrap()).await;
    }

    async fn clear(&self, key: &Key) {
        self.plant(async |t| t.clear(&key.encode()).unwrap()).await;
    }

    async fn change(&self, ino: InodeId, change: impl FnOnce(&mut Inode)) {
        let key = Key::Inode(ino);
        let mut inode = Inode::decode(&self.value(&key).await.unwrap()).unwrap();
        change(&mut inode);
        self.set(&key, &inode.encode()).await;
    }

    fn slot(&self, name: &str) -> Slot {
        Slot::first_of(self.service.store().superblock().hash_key, name.as_bytes())
    }

    /// The entry `name` of `dir`.
    fn entry(&self, dir: InodeId, name: &str) -> Key {
        Key::Dirent { dir, slot: self.slot(name) }
    }

    async fn name(&self, dir: InodeId, slot: Slot, name: &str, of: InodeId, kind: FileType) {
        let entry = Dirent { ino: of, kind, name: name.into() };
        self.set(&Key::Dirent { dir, slot }, &entry.encode()).await;
    }
}

type Source = <BedKv as SourceOf>::Source;

/// The source below the store of the bed.
trait SourceOf {
    type Source;
}

impl<E, S> SourceOf for meta_kv::OwnKv<E, S> {
    type Source = S;
}
