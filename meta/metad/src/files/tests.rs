use core::cell::Cell;

use client_storage::At;
use engine_runtime::all;
use engine_runtime::sim::SimEnv;
use engine_types::{ChainTableVersion, ChannelId};
use meta_protocol::op as ask;
use meta_protocol::{Attr, OpenMode, Tag};
use meta_schema::change::AttrChange;
use meta_schema::{Caller, INODE_ROOT, Mode, TruncateEpoch, key};

use super::*;
use crate::bed::{Bed, BedKv, TABLE, with_bed};
use crate::chunks::fake::FakeChunks;
use crate::chunks::sweep::Place;
use crate::ctx::{Table, Tables};

mod cost;
mod crowd;
mod cuts;
mod locked;
mod removal;
mod sessions;

pub(crate) type Service = Files<SimEnv, BedKv, FakeChunks<SimEnv>>;

pub(crate) const WRITE: OpenMode =
    OpenMode { read: true, write: true, truncate: false, append: false };
pub(crate) const TIME: Duration = Duration::from_secs(30);

/// A service of its own on the store of the bed, with storage session `session`.
pub(crate) fn service(bed: &Bed, chunks: &FakeChunks<SimEnv>, session: u64) -> Service {
    let store = Store::new(&bed.env, &bed.kv, *bed.store.superblock());
    let table = Table { version: ChainTableVersion::new(3), chains: 12 };
    store.set_tables(Tables::from([(TABLE, table)]));
    Files::new(&bed.env, store, &chunks.of(SessionId::new(session)))
}

pub(crate) fn fake(bed: &Bed) -> FakeChunks<SimEnv> {
    FakeChunks::new(&bed.env, SessionId::new(1000))
}

/// A client with a session, that asks one service.
#[derive(Clone)]
pub(crate) struct Mount {
    pub(crate) service: Service,
    chunks: FakeChunks<SimEnv>,
    session: SessionId,
    caller: Caller,
    channel: Rc<Cell<u32>>,
}

/// A file that a mount has open for writing.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) ino: InodeId,
    pub(crate) epoch: TruncateEpoch,
    pub(crate) place: Place,
    pub(crate) end: u64,
}

impl Mount {
    pub(crate) fn new(service: &Service, session: u64) -> Self {
        let (service, chunks) = (service.clone(), service.chunks().clone());
        let session = SessionId::new(session);
        Self { service, chunks, session, caller: Caller::root(), channel: Rc::default() }
    }

    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    /// The chunks as this mount's service sees them.
    pub(crate) fn chunks(&self) -> &FakeChunks<SimEnv> {
        &self.chunks
    }

    /// A request on a channel of its own.
    pub(crate) fn request(&self, operation: impl Into<Operation>) -> Request {
        let operation = operation.into();
        self.channel.set(self.channel.get() + 1);
        let channel = ChannelId::new(self.channel.get());
        let tag = operation.mutates().then_some(Tag { channel, seq: 1 });
        Request { caller: self.caller.clone(), session: self.session, tag, operation }
    }

    pub(crate) async fn ask(&self, operation: impl Into<Operation>) -> Result<Answer, CallError> {
        self.service.call(&self.request(operation), TIME).await
    }

    pub(crate) async fn errno(&self, operation: impl Into<Operation>) -> Errno {
        match self.ask(operation).await {
            Err(CallError::Halted(Halt::Refused(refusal))) => refusal.errno,
            other => panic!("expected a refusal: {other:?}"),
        }
    }

    pub(crate) async fn create(&self, name: &str) -> Opened {
        let made = self.ask(ask::Create {
            parent: INODE_ROOT,
            name: name.as_bytes().to_vec(),
            mode: Mode::new(0o644),
            umask: Mode::default(),
            exclusive: true,
            open: Some(WRITE),
            layout: None,
        });
        self.opened(&made.await.unwrap())
    }

    pub(crate) async fn open(&self, ino: InodeId, mode: OpenMode) -> Opened {
        self.opened(&self.ask(ask::Open { ino, mode }).await.unwrap())
    }

    pub(crate) fn opened(&self, answer: &Answer) -> Opened {
        let Answer::Opened { attr, .. } = answer else { panic!("not open: {answer:?}") };
        let place = Place::of(&self.chunks, attr.ino, &attr.layout.unwrap()).unwrap();
        Opened { ino: attr.ino, epoch: attr.truncate_epoch, place, end: 0 }
    }

    /// Writes within one chunk; opens the file again when it was cut.
    pub(crate) async fn write(&self, file: &mut Opened, offset: u64, bytes: &[u8]) {
        let (index, inside) = file.place.split(offset);
        let at: At = file.place.at(index, file.epoch.get());
        if !self.chunks.write(at, inside, bytes) {
            let end = file.end;
            *file = self.open(file.ino, WRITE).await;
            file.end = end;
            let at = file.place.at(index, file.epoch.get());
            assert!(self.chunks.write(at, inside, bytes), "M1: a fresh epoch is refused");
        }
        file.end = file.end.max(offset + bytes.len() as u64);
    }

    pub(crate) fn hint(file: &Opened) -> Option<ask::Hint> {
        let (truncate_epoch, end) = (file.epoch, file.end);
        (end != 0).then_some(ask::Hint { truncate_epoch, end, modified: true, in_doubt: false })
    }

    pub(crate) async fn sync(&self, file: &Opened) -> Result<Attr, CallError> {
        let hint = Self::hint(file);
        Ok(attr(self.ask(ask::Sync { ino: file.ino, hint, atime: None }).await?))
    }

    pub(crate) async fn close(&self, file: &Opened) -> Attr {
        let hint = Self::hint(file);
        attr(self.ask(ask::Close { ino: file.ino, hint, atime: None }).await.unwrap())
    }

    pub(crate) fn size(ino: InodeId, size: u64) -> ask::SetAttr {
        let change = AttrChange { size: Some(size), by_open_handle: true, ..Default::default() };
        ask::SetAttr { ino, change }
    }

    pub(crate) async fn truncate(&self, ino: InodeId, size: u64) -> Result<Attr, CallError> {
        Ok(attr(self.ask(Self::size(ino, size)).await?))
    }

    pub(crate) async fn append(&self, ino: InodeId, length: u64) -> u64 {
        match self.ask(ask::Append { ino, length }).await.unwrap() {
            Answer::Appended { offset, .. } => offset,
            other => panic!("not appended: {other:?}"),
        }
    }

    pub(crate) async fn stat(&self, ino: InodeId) -> Attr {
        attr(self.ask(Stat { ino }).await.unwrap())
    }

    pub(crate) async fn unlink(&self, name: &str, hold: bool) {
        let name = name.as_bytes().to_vec();
        self.ask(ask::Unlink { parent: INODE_ROOT, name, hold }).await.unwrap();
    }

    /// What a reader sees.
    pub(crate) async fn read(&self, file: &Opened) -> Vec<u8> {
        let size = self.stat(file.ino).await.size;
        let mut whole = vec![0; usize::try_from(size).unwrap()];
        let chunk = file.place.size.bytes() as usize;
        for (index, part) in whole.chunks_mut(chunk).enumerate() {
            let at = file.place.at(u32::try_from(index).unwrap(), 0);
            let bytes = self.chunks.bytes(at.chain, file.ino, at.chunk.index);
            let len = bytes.len().min(part.len());
            part[..len].copy_from_slice(&bytes[..len]);
        }
        whole
    }
}

fn attr(answer: Answer) -> Attr {
    match answer {
        Answer::Attr(attr) | Answer::Opened { attr, .. } => attr,
        other => panic!("no attributes: {other:?}"),
    }
}

/// Keys of the store that begin with some letters.
async fn keys(bed: &Bed, letters: &str) -> usize {
    bed.dump().await.iter().filter(|(key, _)| key.starts_with(letters.as_bytes())).count()
}
