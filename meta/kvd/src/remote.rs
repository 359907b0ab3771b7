//! The served store, seen from another process: a [`Source`] for transactions.
//!
//! Owner: one core. One connection; it reconnects by itself, and what was asked meanwhile fails as
//! unavailable or, for a commit that was sent, as unknown (E241).

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;
use std::rc::Rc;

use engine_net::{Call, CallError, Client, NetConfig, Part, Reply, pooled};
use engine_runtime::{Env, Notify, yield_now};
use engine_types::limits::PAYLOAD_BYTES_MAX;
use engine_types::{Instant, StoreId};
use engine_wire::bodies::{
    self, Body, KvBackupReply, KvBackupRequest, KvCommitReply, KvCommitRequest, KvReadReply,
    KvReadRequest, KvStageReply, KvStageRequest, KvStatusReply, KvStatusRequest, KvViewReply,
    KvViewRequest,
};
use meta_kv::backup::PIECE_BYTES_MAX;
use meta_kv::limits::{KEY_BYTES_MAX, PAGE_BYTES_MAX, VALUE_BYTES_MAX};
use meta_kv::{CommitRequest, Committed, KvError, Page, RangeRead, Source, Versionstamp, View};

use crate::codec::{self, Malformed};

/// Time for one answer: a transaction is too old by then.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Room for a value, and for the text of an error in its place.
const VALUE_ROOM: u32 = 100_000 + 1_024;
/// Room for a page of one entry at least, whatever its size.
const PAGE_ROOM_MIN: u32 = 128 << 10;
/// Room for the largest page: it ends with the entry that reaches a megabyte.
const PAGE_ROOM_MAX: u32 = (1 << 20) + PAGE_ROOM_MIN;
/// Room per entry asked for: most entries are dirents and inodes, far smaller.
const PAGE_ROOM_PER_ENTRY: u32 = 512;
/// Bytes of a part of a commit: one payload.
const PART_BYTES: usize = PAYLOAD_BYTES_MAX as usize;
/// Room for the text of an error.
const ERROR_ROOM: u32 = 4_096;

/// Room for a piece of a backup: a payload.
const PIECE_ROOM: u32 = PAYLOAD_BYTES_MAX;

const _: () = assert!(PIECE_BYTES_MAX <= PIECE_ROOM as usize);
const _: () = assert!(VALUE_BYTES_MAX < VALUE_ROOM as usize);
const _: () = assert!(VALUE_BYTES_MAX + KEY_BYTES_MAX + 6 < PAGE_ROOM_MIN as usize);
const _: () = assert!(PAGE_BYTES_MAX < PAGE_ROOM_MAX as usize);

struct Inner<E: Env> {
    env: E,
    client: Client<E>,
    next_upload: Cell<u64>,
    /// Transactions that wait for a version, each for one asked for after it began to wait.
    waiting: RefCell<Vec<Rc<Slot>>>,
    asking: Cell<bool>,
}

/// Where a version arrives.
struct Slot {
    told: RefCell<Option<Result<(u64, u64), KvError>>>,
    arrived: Notify,
}

/// A served store. Clones share its connection.
pub struct Remote<E: Env> {
    inner: Rc<Inner<E>>,
}

impl<E: Env> Clone for Remote<E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

/// How a served store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its UUID.
    pub store: StoreId,
    /// The rest, as it was told.
    pub told: KvStatusReply,
}

impl<E: Env> Remote<E> {
    /// The store at `address`; nothing is sent before the first call.
    pub fn new(env: &E, config: Rc<NetConfig>, address: SocketAddr) -> Self {
        let inner = Inner {
            env: env.clone(),
            client: Client::new(env, config, address),
            next_upload: Cell::new(env.random() | 1),
            waiting: RefCell::default(),
            asking: Cell::new(false),
        };
        Self { inner: Rc::new(inner) }
    }

    /// The connection, for what is not a transaction.
    pub fn client(&self) -> &Client<E> {
        &self.inner.client
    }

    /// How the store is.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn status(&self) -> Result<Status, KvError> {
        let reply = self.ask(&KvStatusRequest { reserved: 0 }, &[], 0).await.map_err(read_error)?;
        let told = body::<KvStatusReply, E>(&reply)?;
        Ok(Status { store: StoreId::new(told.store), told })
    }

    /// Closes the connection; requests in flight have until `deadline`.
    pub async fn close(&self, deadline: Instant) {
        self.inner.client.close(deadline).await;
    }

    async fn ask<B: Body>(
        &self,
        body: &B,
        payload: &[u8],
        room: u32,
    ) -> Result<Reply<E>, CallError> {
        let env = &self.inner.env;
        let deadline = env.now() + ANSWER_TIME_MAX;
        if payload.is_empty() {
            return self.inner.client.call(Call::new(body, deadline).with_reply_room(room)).await;
        }
        let Some(bytes) = pooled(env, payload).await else {
            return Err(CallError::DeadlineExceeded { sent: false });
        };
        let parts = [Part::plain(bytes)];
        let call = Call::new(body, deadline).with_parts(&parts).with_reply_room(room);
        self.inner.client.call(call).await
    }

    /// A piece of a backup.
    pub(crate) async fn backup_piece(
        &self,
        asked: KvBackupRequest,
    ) -> Result<(KvBackupReply, Vec<u8>), KvError> {
        let reply = self.ask(&asked, &[], PIECE_ROOM).await.map_err(read_error)?;
        let told = body::<KvBackupReply, E>(&reply)?;
        failed(told.outcome, &reply)?;
        Ok((told, reply.payload().to_vec()))
    }

    async fn ask_version(&self) -> Result<(u64, u64), KvError> {
        let asked = self.ask(&KvViewRequest { reserved: 0 }, &[], ERROR_ROOM).await;
        let reply = asked.map_err(read_error)?;
        let told = body::<KvViewReply, E>(&reply)?;
        failed(told.outcome, &reply)?;
        Ok((told.epoch, told.version))
    }

    /// Asks for versions until nobody waits: all that wait now share one request.
    async fn ask_versions(self) {
        loop {
            yield_now().await;
            let waiting = self.inner.waiting.take();
            if waiting.is_empty() {
                self.inner.asking.set(false);
                return;
            }
            let told = self.ask_version().await;
            for slot in waiting {
                *slot.told.borrow_mut() = Some(told.clone());
                slot.arrived.notify();
            }
        }
    }

    /// Sends a commit of several payloads ahead, in parts.
    async fn stage(&self, bytes: &[u8]) -> Result<u64, KvError> {
        let upload = self.inner.next_upload.get();
        self.inner.next_upload.set(upload.wrapping_add(2));
        let total = u32::try_from(bytes.len()).expect("a checked commit is below 4 GiB");
        let mut offset = 0;
        for part in bytes.chunks(PART_BYTES) {
            let asked = KvStageRequest { upload, offset, total };
            let reply = self.ask(&asked, part, ERROR_ROOM).await.map_err(read_error)?;
            let told = body::<KvStageReply, E>(&reply)?;
            failed(told.outcome, &reply)?;
            offset = told.held;
        }
        Ok(upload)
    }
}

/// The body of an answer.
fn body<B: Body, E: Env>(reply: &Reply<E>) -> Result<B, KvError> {
    let told = reply.body::<B>().and_then(bodies::to_owned::<B>);
    told.map_err(|error| KvError::Failed { reason: format!("an answer makes no sense: {error}") })
}

/// The error in an answer, if it is one.
fn failed<E: Env>(outcome: u16, reply: &Reply<E>) -> Result<(), KvError> {
    if outcome == 0 { Ok(()) } else { Err(codec::decode_error(outcome, reply.payload())) }
}

fn senseless(error: Malformed) -> KvError {
    KvError::Failed { reason: format!("an answer makes no sense: {error}") }
}

/// What a call without effects means when it fails: ask again.
fn read_error(error: CallError) -> KvError {
    use engine_types::Retry;
    let reason = error.to_string();
    match error.retry() {
        Retry::Never => KvError::Failed { reason },
        Retry::AfterBackoff | Retry::SameTarget => KvError::Overloaded { reason },
        Retry::OtherTarget | Retry::RefreshRouting | Retry::IfIdempotent => {
            KvError::Unavailable { reason }
        }
    }
}

/// What a commit means when it fails: whether it was executed may be unknown (E241).
fn commit_error(error: CallError) -> KvError {
    use engine_types::Retry;
    match error.retry() {
        Retry::IfIdempotent => KvError::UnknownResult { reason: error.to_string() },
        _ => read_error(error),
    }
}

impl<E: Env> Source for Remote<E> {
    type View = RemoteView<E>;

    async fn view(&self) -> Result<RemoteView<E>, KvError> {
        let slot = Rc::new(Slot { told: RefCell::new(None), arrived: Notify::default() });
        self.inner.waiting.borrow_mut().push(slot.clone());
        if !self.inner.asking.replace(true) {
            drop(self.inner.env.spawn(self.clone().ask_versions()));
        }
        slot.arrived.until(|| slot.told.borrow().is_some()).await;
        let (epoch, version) = slot.told.take().expect("waited for above")?;
        Ok(RemoteView { store: self.clone(), epoch, version })
    }

    async fn commit(&self, request: CommitRequest) -> Result<Committed, KvError> {
        let epoch = request.epoch;
        request.check()?;
        let mut payload = codec::encode_commit(&request);
        let mut upload = 0;
        if PART_BYTES < payload.len() {
            upload = self.stage(&payload).await?;
            payload.clear();
        }
        let asked = KvCommitRequest { epoch, upload };
        let reply = self.ask(&asked, &payload, ERROR_ROOM).await.map_err(commit_error)?;
        let unknown = |error: KvError| KvError::UnknownResult { reason: error.to_string() };
        let told = body::<KvCommitReply, E>(&reply).map_err(unknown)?;
        if !codec::is_known(told.outcome) {
            // A newer server may mean one that was applied.
            let reason = format!("outcome {}, unknown to this version", told.outcome);
            return Err(KvError::UnknownResult { reason });
        }
        failed(told.outcome, &reply)?;
        let stamp = Some(Versionstamp::new(told.version, told.order));
        Ok(Committed { version: told.version, stamp })
    }
}

/// One version of a served store.
pub struct RemoteView<E: Env> {
    store: Remote<E>,
    epoch: u64,
    version: u64,
}

impl<E: Env> Clone for RemoteView<E> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), epoch: self.epoch, version: self.version }
    }
}

impl<E: Env> RemoteView<E> {
    async fn read(
        &self,
        asked: KvReadRequest,
        payload: &[u8],
        room: u32,
    ) -> Result<(KvReadReply, Reply<E>), KvError> {
        let reply = self.store.ask(&asked, payload, room).await.map_err(read_error)?;
        let told = body::<KvReadReply, E>(&reply)?;
        failed(told.outcome, &reply)?;
        Ok((told, reply))
    }

    fn asked(&self, limit: u32, begin_bytes: u32, reverse: bool) -> KvReadRequest {
        KvReadRequest {
            epoch: self.epoch,
            version: self.version,
            limit,
            begin_bytes,
            reverse: u8::from(reverse),
            reserved: [0; 7],
        }
    }
}

impl<E: Env> View for RemoteView<E> {
    fn version(&self) -> u64 {
        self.version
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, KvError> {
        let (told, reply) = self.read(self.asked(0, 0, false), &key, VALUE_ROOM).await?;
        Ok((0 < told.count).then(|| reply.payload().to_vec()))
    }

    async fn range(&self, read: RangeRead) -> Result<Page, KvError> {
        let limit = u32::try_from(read.limit.max(1)).unwrap_or(u32::MAX);
        let room = limit.saturating_mul(PAGE_ROOM_PER_ENTRY).clamp(PAGE_ROOM_MIN, PAGE_ROOM_MAX);
        let begin = u32::try_from(read.range.begin.len()).expect("bounds are checked before");
        let payload = [read.range.begin, read.range.end].concat();
        let asked = self.asked(limit, begin, read.reverse);
        let (told, reply) = self.read(asked, &payload, room).await?;
        let entries = codec::decode_entries(reply.payload(), told.count).map_err(senseless)?;
        let more = told.more != 0;
        if more && entries.is_empty() {
            let reason = "an empty page that says there is more".to_owned();
            return Err(KvError::Failed { reason });
        }
        Ok(Page { entries, more })
    }
}
