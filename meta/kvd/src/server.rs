//! Answers requests about one embedded store.
//!
//! Owner: one core. Reads and commits run in the task of their request, so that a slow one holds
//! nobody up; the net layer bounds how many there are.

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use engine_net::{Part, Request, Service, pooled};
use engine_runtime::{Env, Gate};
use engine_types::{Status, WallTime};
use engine_wire::Kind;
use engine_wire::bodies::{
    self, Body, KvBackupReply, KvBackupRequest, KvCommitReply, KvCommitRequest, KvReadReply,
    KvReadRequest, KvStageReply, KvStageRequest, KvStatusReply, KvStatusRequest, KvViewReply,
    KvViewRequest,
};
use meta_kv::backup::Origin;
use meta_kv::engine::KvEngine;
use meta_kv::key::{KeyRange, check_key};
use meta_kv::{CommitRequest, Embedded, KvError, Page, RangeRead, Source, View};

use crate::backup::{Backups, Next};
use crate::codec;
use crate::stage::{COMMIT_BYTES_MAX, Stage};
use crate::views::Views;

#[cfg(test)]
mod tests;

/// How often versions and parts that nobody needs are dropped while nobody asks for anything.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Bytes of commits that are decoded or wait, of all peers: as much as may be staged. Further ones
/// wait in the buffers of their connections.
const COMMITS_BYTES_MAX: usize = COMMIT_BYTES_MAX * 3;

/// What the role tells of its engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedEngine {
    /// UUID of the store.
    pub store: u128,
    /// When it was created.
    pub created: WallTime,
    /// How often it was opened.
    pub starts: u64,
    /// How often it was restored.
    pub restores: u64,
}

/// Serves one store.
pub struct KvService<E: Env, G: KvEngine> {
    env: E,
    store: Embedded<E, G>,
    epoch: u64,
    engine: ServedEngine,
    bytes: Box<dyn Fn() -> u64>,
    views: RefCell<Views<<Embedded<E, G> as Source>::View>>,
    stage: RefCell<Stage>,
    /// Room for commits under way (E244).
    commit_bytes: Gate,
    backups: RefCell<Backups<G::Snapshot>>,
}

/// Room in a gate, given back when it is dropped.
struct Room<'a> {
    gate: &'a Gate,
    bytes: u64,
}

impl<'a> Room<'a> {
    async fn take(gate: &'a Gate, bytes: usize) -> Self {
        let bytes = bytes as u64;
        gate.take(bytes).await.expect("the gate of commits is never closed");
        Self { gate, bytes }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.gate.give(self.bytes);
    }
}

impl<E: Env, G: KvEngine> KvService<E, G> {
    /// Serves `store`. `bytes` tells what it takes on its disk.
    pub fn new(
        env: &E,
        store: Embedded<E, G>,
        engine: ServedEngine,
        bytes: impl Fn() -> u64 + 'static,
    ) -> Rc<Self> {
        let mut epoch = [0; 8];
        env.random_secret(&mut epoch);
        let service = Rc::new(Self {
            env: env.clone(),
            store,
            epoch: u64::from_le_bytes(epoch),
            engine,
            bytes: Box::new(bytes),
            views: RefCell::default(),
            stage: RefCell::default(),
            commit_bytes: Gate::new(COMMITS_BYTES_MAX as u64),
            backups: RefCell::default(),
        });
        let weak = Rc::downgrade(&service);
        let timer = env.clone();
        drop(env.spawn(async move {
            loop {
                timer.sleep_until(timer.now() + SWEEP_EVERY).await;
                let Some(service) = weak.upgrade() else { return };
                service.views.borrow_mut().forget(timer.now());
                service.stage.borrow_mut().forget(timer.now());
                service.backups.borrow_mut().forget(timer.now());
            }
        }));
        service
    }

    /// The store behind it.
    pub fn store(&self) -> &Embedded<E, G> {
        &self.store
    }

    async fn view(&self) -> Result<u64, KvError> {
        let view = self.store.view().await?;
        let version = view.version();
        self.views.borrow_mut().keep(version, view, self.env.now());
        Ok(version)
    }

    async fn read(
        &self,
        asked: &KvReadRequest,
        payload: &[u8],
        room: usize,
    ) -> Result<(KvReadReply, Vec<u8>), KvError> {
        let reply = KvReadReply { count: 0, outcome: 0, more: 0, reserved: 0 };
        let kept = self.views.borrow().get(asked.version, self.env.now());
        let view = kept.filter(|_| asked.epoch == self.epoch).ok_or(KvError::TooOld)?;
        if asked.limit == 0 {
            check_key(payload)?;
            let value = view.get(payload.to_vec()).await?;
            let count = u32::from(value.is_some());
            return Ok((KvReadReply { count, ..reply }, value.unwrap_or_default()));
        }
        let (begin, end) = usize::try_from(asked.begin_bytes)
            .ok()
            .and_then(|bytes| payload.split_at_checked(bytes))
            .ok_or_else(|| malformed("a range without its begin"))?;
        let range = KeyRange::new(begin, end);
        range.check()?;
        let limit = usize::try_from(asked.limit).unwrap_or(usize::MAX);
        let read = RangeRead { range, limit, reverse: asked.reverse != 0 };
        let page = fitting(view.range(read).await?, room);
        let count = u32::try_from(page.entries.len()).expect("a page has at most 2^32 entries");
        let more = u8::from(page.more);
        Ok((KvReadReply { count, more, ..reply }, codec::encode_entries(&page.entries)))
    }

    async fn commit(&self, epoch: u64, bytes: Vec<u8>) -> Result<KvCommitReply, KvError> {
        let request: CommitRequest =
            codec::decode_commit(&bytes).map_err(|error| malformed(&error.to_string()))?;
        drop(bytes);
        request.check()?;
        if !request.read_conflicts.is_empty() && epoch != self.epoch {
            return Err(KvError::TooOld);
        }
        let committed = self.store.commit(request).await?;
        let stamp = committed.stamp.map_or([0; 10], |stamp| stamp.0);
        #[expect(clippy::big_endian_bytes, reason = "stamps are compared bytewise")]
        let order = u16::from_be_bytes([stamp[8], stamp[9]]);
        Ok(KvCommitReply { version: committed.version, order, outcome: 0, reserved: 0 })
    }

    /// The next piece of a backup, of a new one for session 0.
    async fn backup(&self, asked: KvBackupRequest) -> Result<(KvBackupReply, Vec<u8>), KvError> {
        let KvBackupRequest { mut session, sequence } = asked;
        if session == 0 {
            let (version, snapshot) = self.store.snapshot()?;
            let ServedEngine { store, restores, created, .. } = self.engine;
            let origin = Origin { store, created, restores, version };
            session = self.env.random() | 1;
            self.backups.borrow_mut().open(session, snapshot, origin, self.env.now())?;
        }
        let next = self.backups.borrow_mut().next(session, sequence, self.env.now())?;
        let mut pieces = match next {
            Next::Again(reply, piece) => return Ok((reply, piece)),
            Next::Make(pieces) => pieces,
        };
        let made = self.env.blocking(move || {
            let piece = pieces.next_piece();
            (pieces, piece)
        });
        let (pieces, piece) = made.await;
        let mut backups = self.backups.borrow_mut();
        match piece {
            Ok(piece) => {
                let piece = piece.unwrap_or_default();
                let reply =
                    backups.made((session, sequence), pieces, piece.clone(), self.env.now());
                Ok((reply, piece))
            }
            Err(error) => {
                backups.close(session);
                Err(KvError::Unavailable { reason: error.to_string() })
            }
        }
    }

    async fn answer_backup(&self, request: Request<E>) {
        let told = match asked::<KvBackupRequest, E>(&request) {
            Ok(asked) => self.backup(asked).await,
            Err(status) => return request.refuse(status).await,
        };
        match told {
            Ok((reply, piece)) => self.tell_all(request, &reply, &piece).await,
            Err(error) => {
                let (outcome, details) = codec::encode_error(&error);
                let reply = KvBackupReply {
                    session: 0,
                    sequence: 0,
                    keys: 0,
                    outcome,
                    last: 0,
                    reserved: [0; 5],
                };
                self.tell(request, &reply, &details).await;
            }
        }
    }

    fn status(&self) -> KvStatusReply {
        let stats = self.store.stats();
        KvStatusReply {
            store: self.engine.store,
            version: self.store.version(),
            starts: self.engine.starts,
            restores: self.engine.restores,
            bytes: (self.bytes)(),
            commits: stats.commits,
            groups: stats.groups,
            conflicts: stats.conflicts,
            too_old: stats.too_old,
            remembered: stats.remembered,
            views: self.views.borrow().len() as u64,
        }
    }
}

fn malformed(what: &str) -> KvError {
    KvError::Failed { reason: format!("malformed request: {what}") }
}

/// As much of a page as the asker has room for. One entry always fits the room that is asked for.
fn fitting(mut page: Page, room: usize) -> Page {
    let mut bytes = 0;
    let fits = page.entries.iter().take_while(|(key, value)| {
        bytes += codec::entry_size(key, value);
        bytes <= room
    });
    let keep = fits.count();
    if keep < page.entries.len() {
        page.entries.truncate(keep);
        page.more = true;
    }
    page
}

impl<E: Env, G: KvEngine> Service<E> for KvService<E, G> {
    async fn call(self: Rc<Self>, request: Request<E>) {
        match request.kind() {
            Kind::KV_VIEW => self.answer_view(request).await,
            Kind::KV_READ => self.answer_read(request).await,
            Kind::KV_STAGE => self.answer_stage(request).await,
            Kind::KV_COMMIT => self.answer_commit(request).await,
            Kind::KV_BACKUP => self.answer_backup(request).await,
            Kind::KV_STATUS => match asked::<KvStatusRequest, E>(&request) {
                Ok(_) => self.tell(request, &self.status(), &[]).await,
                Err(status) => request.refuse(status).await,
            },
            _ => request.refuse(Status::UnsupportedKind).await,
        }
    }
}

/// The body of a request.
fn asked<B: Body, E: Env>(request: &Request<E>) -> Result<B, Status> {
    let body = request.body::<B>().and_then(bodies::to_owned::<B>);
    body.map_err(|error| error.status())
}

impl<E: Env, G: KvEngine> KvService<E, G> {
    async fn answer_view(&self, request: Request<E>) {
        if let Err(status) = asked::<KvViewRequest, E>(&request) {
            return request.refuse(status).await;
        }
        let told = self.view().await;
        let (version, (outcome, details)) = split(told, 0);
        let body = KvViewReply { epoch: self.epoch, version, outcome, reserved: [0; 6] };
        self.tell(request, &body, &details).await;
    }

    async fn answer_read(&self, mut request: Request<E>) {
        let body = match asked::<KvReadRequest, E>(&request) {
            Ok(body) => body,
            Err(status) => return request.refuse(status).await,
        };
        let payload = match request.collect_bytes().await {
            Ok(payload) => payload,
            Err(status) => return request.refuse(status).await,
        };
        let room = request.reply_room() as usize;
        let (reply, payload) = match self.read(&body, &payload, room).await {
            Ok(told) => told,
            Err(error) => {
                let (outcome, details) = codec::encode_error(&error);
                (KvReadReply { count: 0, outcome, more: 0, reserved: 0 }, details)
            }
        };
        if reply.outcome == 0 {
            self.tell_all(request, &reply, &payload).await;
        } else {
            self.tell(request, &reply, &payload).await;
        }
    }

    async fn answer_stage(&self, mut request: Request<E>) {
        let body = match asked::<KvStageRequest, E>(&request) {
            Ok(body) => body,
            Err(status) => return request.refuse(status).await,
        };
        let segments = match request.collect().await {
            Ok(segments) => segments,
            Err(status) => return request.refuse(status).await,
        };
        let parts: Vec<&[u8]> = segments.iter().map(|segment| &segment.bytes[..]).collect();
        let (offset, total) = (body.offset as usize, body.total as usize);
        let key = (request.peer().process, body.upload);
        let held = self.stage.borrow_mut().add(key, offset, total, &parts, self.env.now());
        let (held, (outcome, details)) = split(held, 0);
        let held = u32::try_from(held).expect("a staged commit is below 4 GiB");
        drop(parts);
        self.tell(request, &KvStageReply { held, outcome, reserved: 0 }, &details).await;
    }

    async fn answer_commit(&self, mut request: Request<E>) {
        let body = match asked::<KvCommitRequest, E>(&request) {
            Ok(body) => body,
            Err(status) => return request.refuse(status).await,
        };
        let key = (request.peer().process, body.upload);
        let bytes = match body.upload {
            0 => request.payload_len() as usize,
            _ => self.stage.borrow().held(key),
        };
        // Until the answer: encoded, decoded and waiting commits are memory of this process.
        let room = Room::take(&self.commit_bytes, bytes).await;
        let sent = match request.collect_bytes().await {
            Ok(payload) => payload,
            Err(status) => return request.refuse(status).await,
        };
        let staged = match body.upload {
            0 => Ok(sent),
            _ => self.stage.borrow_mut().take(key),
        };
        let told = match staged {
            Ok(bytes) => self.commit(body.epoch, bytes).await,
            Err(error) => Err(error),
        };
        drop(room);
        let none = KvCommitReply { version: 0, order: 0, outcome: 0, reserved: 0 };
        let (reply, (outcome, details)) = split(told, none);
        self.tell(request, &KvCommitReply { outcome, ..reply }, &details).await;
    }

    /// Answers with a body and all of a payload, which is what was asked for. A requester without
    /// room for it is told so by the net layer.
    async fn tell_all<B: Body>(&self, request: Request<E>, body: &B, payload: &[u8]) {
        if payload.is_empty() {
            return request.respond(body, &[]).await;
        }
        match pooled(&self.env, payload).await {
            Some(bytes) => request.respond(body, &[Part::plain(bytes)]).await,
            None => request.refuse(Status::Busy).await,
        }
    }

    /// Answers with a body that says what happened, and with details if there is room for them:
    /// an outcome never depends on memory.
    async fn tell<B: Body>(&self, request: Request<E>, body: &B, details: &[u8]) {
        let fits = !details.is_empty() && details.len() <= request.reply_room() as usize;
        let details = if fits { pooled(&self.env, details).await } else { None };
        match details {
            Some(bytes) => request.respond(body, &[Part::plain(bytes)]).await,
            None => request.respond(body, &[]).await,
        }
    }
}

/// A result as its value and the error's form on the wire.
fn split<T>(told: Result<T, KvError>, none: T) -> (T, (u16, Vec<u8>)) {
    match told {
        Ok(value) => (value, (0, Vec::new())),
        Err(error) => (none, codec::encode_error(&error)),
    }
}
