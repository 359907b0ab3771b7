//! What a connection still has to send: frames in one growing buffer, bulk bytes beside it.
//!
//! Owner: one connection. Callers append, the one writer task takes everything at once and sends
//! it in one call (V6), so batching grows with load and a lone frame waits for nobody.
//!
//! Small payloads are copied behind their header; large ones stay where they are and are sent from
//! there. Control messages (credit, pings, cancellations) go through a list of their own, which
//! the writer encodes: they never wait for memory and can be queued from a destructor.
//!
//! Bound: the buffer holds at most [`BUFFER_BYTES_MAX`] and the bulk beside it at most
//! [`BULK_BYTES_MAX`] plus one segment; who wants to append more waits for the writer (E55).

use core::cell::{Cell, RefCell};

use engine_runtime::{Buf, Bytes, Env, First, Notify, PoolExhausted, first};
use engine_types::RequestId;

/// First size of the buffer: an idle connection that pings costs a page or two.
const BUFFER_BYTES_MIN: usize = 16 << 10;
/// Largest buffer that a frame may need: the largest body with its payload and heads.
pub(crate) const BUFFER_BYTES_MAX: usize = 256 << 10;
/// Largest buffer for many frames together: 15 answers of 4 KiB leave in one system call while
/// they are in the second-level cache.
const BATCH_BYTES_MAX: usize = 64 << 10;
/// Bulk bytes queued beside the buffer before appending waits: the sender's share of one socket
/// buffer, so that the writer never starves while no memory piles up behind a slow peer.
const BULK_BYTES_MAX: usize = 1 << 20;
/// Pieces of one batch: below the 1,024 that the kernel accepts in one call.
const CUTS_MAX: usize = 256;

/// Small messages of the connection itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Ping,
    Pong,
    /// More bulk bytes may be sent.
    Credit(u32),
    /// Bulk bytes wait for credit.
    CreditWant(u32),
    /// Nobody waits for this answer any more.
    Cancel(RequestId),
    /// The payload of this request ends here, incomplete (R3).
    Abort(RequestId),
    /// No new requests, please.
    Goodbye,
}

pub(crate) struct Outbox<E: Env> {
    state: RefCell<State<E>>,
    /// Wakes the writer.
    work: Notify,
    /// Wakes those who wait for room.
    room: Notify,
    closed: Cell<bool>,
}

struct State<E: Env> {
    building: Option<Buf<E::Memory>>,
    /// Bulk bytes that follow the first so many bytes of `building`.
    cuts: Vec<(usize, Bytes<E::Memory>)>,
    cut_bytes: usize,
    control: Vec<Control>,
    buffer_bytes: usize,
}

impl<E: Env> State<E> {
    /// Whether more may pile up beside the buffer before the writer has to come.
    fn takes_bulk(&self) -> bool {
        self.cut_bytes < BULK_BYTES_MAX && self.cuts.len() < CUTS_MAX
    }
}

/// Everything that the writer sends in one call.
pub(crate) struct Batch<E: Env> {
    pub(crate) built: Option<Buf<E::Memory>>,
    pub(crate) cuts: Vec<(usize, Bytes<E::Memory>)>,
    pub(crate) control: Vec<Control>,
}

impl<E: Env> Outbox<E> {
    pub(crate) fn new() -> Self {
        let state = State {
            building: None,
            cuts: Vec::new(),
            cut_bytes: 0,
            control: Vec::new(),
            buffer_bytes: BUFFER_BYTES_MIN,
        };
        Self {
            state: RefCell::new(state),
            work: Notify::default(),
            room: Notify::default(),
            closed: Cell::new(false),
        }
    }

    /// Waits until `len` bytes can be appended at once. The room is there until the next await.
    pub(crate) async fn room(&self, env: &E, len: usize) -> Result<(), Room> {
        assert!(len <= BUFFER_BYTES_MAX, "a frame without its bulk fits: {len}");
        loop {
            if self.closed.get() {
                return Err(Room::Ended);
            }
            let notified = self.room.notified();
            let want = {
                let state = self.state.borrow();
                match &state.building {
                    _ if !state.takes_bulk() => None,
                    Some(buf) if len <= buf.spare() => return Ok(()),
                    Some(buf) if buf.is_empty() => Some(len),
                    Some(_) => None, // the writer takes it, then there is a new one
                    None => Some(len.max(state.buffer_bytes)),
                }
            };
            match want {
                None => notified.await,
                Some(bytes) => {
                    let closed = self.room.until(|| self.closed.get());
                    let fresh = match first(env.pool().alloc_wait(bytes), closed).await {
                        First::Left(fresh) => fresh.map_err(Room::Pool)?,
                        First::Right(()) => return Err(Room::Ended),
                    };
                    let mut state = self.state.borrow_mut();
                    // Another task may have brought a buffer while this one waited for memory.
                    let replace = state
                        .building
                        .as_ref()
                        .is_none_or(|buf| buf.is_empty() && buf.capacity() < fresh.capacity());
                    if replace {
                        state.building = Some(fresh);
                    }
                }
            }
        }
    }

    /// Whether `len` bytes can be appended in this turn.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        let state = self.state.borrow();
        !self.closed.get()
            && state.takes_bulk()
            && state.building.as_ref().is_some_and(|buf| len <= buf.spare())
    }

    /// Appends to the buffer; there must be room.
    pub(crate) fn append(&self, bytes: &[u8]) {
        let mut state = self.state.borrow_mut();
        let building = state.building.as_mut().expect("`room` was awaited in this turn");
        building.extend_from_slice(bytes);
    }

    /// Appends bulk bytes without copying them.
    pub(crate) fn append_bulk(&self, bytes: Bytes<E::Memory>) {
        let mut state = self.state.borrow_mut();
        let at = state.building.as_ref().map_or(0, |buf| buf.len());
        state.cut_bytes += bytes.len();
        state.cuts.push((at, bytes));
    }

    /// Lets the writer know that something was appended.
    pub(crate) fn flush(&self) {
        self.work.notify();
    }

    /// Queues a control message. Credit is added up, a want or ping replaces its predecessor.
    pub(crate) fn control(&self, message: Control) {
        let mut state = self.state.borrow_mut();
        let same = state.control.iter_mut().find(|queued| match (&message, queued) {
            (Control::Credit(_), Control::Credit(_))
            | (Control::CreditWant(_), Control::CreditWant(_)) => true,
            (message, queued) => *message == **queued,
        });
        match (message, same) {
            (Control::Credit(more), Some(Control::Credit(sum))) => *sum = sum.saturating_add(more),
            (_, Some(queued)) => *queued = message,
            (_, None) => state.control.push(message),
        }
        drop(state);
        self.work.notify();
    }

    /// Waits for something to send and takes all of it; `None` once closed.
    pub(crate) async fn take(&self) -> Option<Batch<E>> {
        self.work.until(|| self.closed.get() || !self.is_empty()).await;
        if self.closed.get() {
            return None;
        }
        let mut state = self.state.borrow_mut();
        let built = state.building.take_if(|buf| !buf.is_empty());
        if let Some(built) = &built {
            // Grows with what a turn brings together, shrinks when connections fall idle.
            let next = if built.spare() < built.capacity() / 4 {
                state.buffer_bytes * 2
            } else if built.len() < built.capacity() / 16 {
                state.buffer_bytes / 2
            } else {
                state.buffer_bytes
            };
            state.buffer_bytes = next.clamp(BUFFER_BYTES_MIN, BATCH_BYTES_MAX);
        }
        state.cut_bytes = 0;
        let cuts = core::mem::take(&mut state.cuts);
        let control = core::mem::take(&mut state.control);
        drop(state);
        self.room.notify();
        Some(Batch { built, cuts, control })
    }

    /// Takes back the vectors of a sent batch, and its buffer when it has the right size.
    pub(crate) fn recycle(&self, mut batch: Batch<E>) {
        let mut state = self.state.borrow_mut();
        batch.cuts.clear();
        batch.control.clear();
        if state.cuts.capacity() == 0 {
            state.cuts = batch.cuts;
        }
        if state.control.capacity() == 0 {
            state.control = batch.control;
        }
        if let Some(mut built) = batch.built
            && state.building.is_none()
            && state.buffer_bytes <= built.capacity()
            && built.capacity() <= state.buffer_bytes * 2
        {
            built.clear();
            state.building = Some(built);
        }
    }

    /// Gives an idle connection's buffer back to the pool.
    pub(crate) fn trim(&self) {
        let mut state = self.state.borrow_mut();
        state.building.take_if(|buf| buf.is_empty());
        state.buffer_bytes = BUFFER_BYTES_MIN;
    }

    /// Whether nothing waits to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        let state = self.state.borrow();
        state.control.is_empty()
            && state.cuts.is_empty()
            && state.building.as_ref().is_none_or(|buf| buf.is_empty())
    }

    /// Ends the writer and everybody who waits for room.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        let mut state = self.state.borrow_mut();
        state.building = None;
        state.cuts.clear();
        drop(state);
        self.work.notify();
        self.room.notify();
    }
}

/// Why there will be no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Ended,
    Pool(PoolExhausted),
}
