//! Updates: admission, merge, data writes, and the wait for their group.

use std::rc::Rc;

use engine_runtime::{Buf, Bytes, Env, Memory, yield_now};
use engine_store::overlay::View;
use engine_store::plan::{Material, Sink};
use engine_store::read::{Source, whole_blocks};
use engine_store::store::{Admission, Refusal, Ticket, Token};
use engine_store::{BlockAddress, Outcome, Update, UpdateError};
use engine_types::{ChunkVersion, Crc32c, SECTOR_BYTES};

use crate::admission::Patience;
use crate::fetch::{Fetch, FetchError, Fetched};
use crate::metrics::{Io, add};
use crate::store::{ChunkStore, DataWrites, Inner};

const SECTOR: usize = SECTOR_BYTES as usize;
/// Bytes of a payload that are checked in one turn: 0.4 ms from memory that is not cached. Only the
/// replacement of a large chunk has more.
const CHECK_BYTES: usize = 4 << 20;

/// The data of an update.
#[derive(Clone, Debug)]
pub struct Payload<M: Memory> {
    /// Pieces of data at their places in the chunk. A piece that is a whole buffer and begins at a
    /// sector is written without a copy.
    pub extents: Vec<(u32, Bytes<M>)>,
    /// The client's checksums (W5): for each extent, one per checksum block that it touches, over
    /// the extent's bytes in it. Or none; they are computed then.
    pub checksums: Vec<Crc32c>,
}

impl<M: Memory> Payload<M> {
    /// No data: truncation, zeroing, removal.
    pub const NONE: Self = Self { extents: Vec::new(), checksums: Vec::new() };

    /// One piece.
    pub fn new(offset: u32, data: Bytes<M>) -> Self {
        Self { extents: vec![(offset, data)], checksums: Vec::new() }
    }

    fn bytes(&self) -> u64 {
        self.extents.iter().map(|(_, data)| data.len() as u64).sum()
    }
}

/// A version that is durable and pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The version.
    pub version: ChunkVersion,
    /// Length of the chunk at it; 0 after a removal.
    pub len: u32,
    /// Nothing was done: the request had been stored before (R14).
    pub repeated: bool,
    /// Digest of the durable pending record (R13), or of the removal
    /// ([`engine_store::removal_digest`]). If `repeated`: of the version that is still pending,
    /// else of what is committed now, which may be a later one; of the removal if that is nothing.
    pub digest: u64,
}

impl<E: Env> ChunkStore<E> {
    /// Makes a version durable and pending. It runs to its end also when the future is dropped.
    ///
    /// # Errors
    /// See [`UpdateError`]; after `OutOfService` it is unknown whether the version is durable.
    pub async fn update(
        &self,
        update: Update,
        payload: Payload<E::Memory>,
    ) -> Result<Stored, UpdateError> {
        let inner = self.inner.clone();
        self.inner.env.spawn(run(inner, update, payload)).await
    }
}

/// A PUT that waits for its group.
struct Queued {
    token: Token,
    len: u32,
    digest: u64,
}

async fn run<E: Env>(
    inner: Rc<Inner<E>>,
    update: Update,
    payload: Payload<E::Memory>,
) -> Result<Stored, UpdateError> {
    let ticket = match admit(&inner, &update, &payload).await? {
        Admission::Proceed(ticket) => ticket,
        Admission::Repeated(outcome) => {
            let Outcome { key, version, len, .. } = outcome;
            let digest = inner.state.borrow().digest(&key, version);
            return Ok(Stored { version, len, repeated: true, digest });
        }
    };
    let needed = transient_bytes(&ticket).min(inner.update_memory_max);
    if needed != 0 && inner.update_memory.take(needed).await.is_err() {
        inner.state.borrow_mut().give_up(ticket);
        return Err(UpdateError::OutOfService);
    }
    let result = store(&inner, ticket, &payload).await;
    inner.update_memory.give(needed);
    let Queued { token, len, digest } = result?;
    add(&inner.device.counters.user_bytes_written, payload.bytes());
    inner.durable(token).await?;
    Ok(Stored { version: update.version, len, repeated: false, digest })
}

/// Bytes that an update holds until its data is written.
fn transient_bytes(ticket: &Ticket) -> u64 {
    let block = u64::from(ticket.update.size.checksum_block_bytes());
    ticket.plan.fetches().len() as u64 * block + ticket.plan.copy_bytes()
}

async fn admit<E: Env>(
    inner: &Rc<Inner<E>>,
    update: &Update,
    payload: &Payload<E::Memory>,
) -> Result<Admission, UpdateError> {
    let places: Vec<(u32, u32)> = payload
        .extents
        .iter()
        .map(|(offset, data)| (*offset, u32::try_from(data.len()).unwrap_or(u32::MAX)))
        .collect();
    let mut patience = Patience::default();
    loop {
        inner.in_service()?;
        let refusal = match inner.state.borrow_mut().admit(update, &places) {
            Ok(admission) => return Ok(admission),
            Err(refusal) => refusal,
        };
        match refusal {
            Refusal::Error(why) => return Err(why),
            Refusal::Wait(wait) => patience.wait(inner, wait).await?,
        }
    }
}

/// From an admitted update to a queued PUT with its data writes submitted.
async fn store<E: Env>(
    inner: &Rc<Inner<E>>,
    ticket: Box<Ticket>,
    payload: &Payload<E::Memory>,
) -> Result<Queued, UpdateError> {
    let lent: Vec<(u32, &[u8])> =
        payload.extents.iter().map(|(offset, data)| (*offset, &data[..])).collect();
    let prepared = match prepare(inner, &ticket).await {
        Ok(prepared) => check(&ticket, &lent, &payload.checksums).await.map(|p| (prepared, p)),
        Err(why) => Err(why),
    };
    let prepared = prepared.and_then(|found| inner.in_service_to_end().map(|()| found));
    let (Prepared { fetched, mut sink }, pieces) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => {
            inner.state.borrow_mut().give_up(ticket);
            inner.progress.notify();
            return Err(why);
        }
    };
    let lend = |block: u32| fetched.valid_bytes(block);
    let mut state = inner.state.borrow_mut();
    let material =
        Material { blocks: &ticket.blocks, payload: &lent, pieces: &pieces, fetched: &lend };
    let assembled = state.assemble(&ticket, &material, &mut sink);
    let DriverSink { images, images_used, copies, copies_used, payloads, .. } = sink;
    assert!(images_used == images.len() && copies_used == copies.len(), "E120: as planned");
    let images = images.into_iter().map(Buf::freeze).collect();
    let logged = state.log(ticket, assembled, images);
    drop(state);
    // In the same turn as the PUT was queued: no group can be formed without these writes.
    let mut writes = Vec::with_capacity(copies.len() + payloads.len());
    for (block, at, copy) in copies {
        let (block, at) = (block.expect("E120: every copy is placed"), u64::from(at));
        let position = inner.block_start(block) + at;
        writes.push(inner.device.start_write(Io::Data, position, copy.freeze()));
    }
    for (block, at, extent, range) in payloads {
        let data = &payload.extents[extent].1;
        let whole = range.start == 0 && range.end as usize == data.len();
        let data =
            if whole { data.clone() } else { data.slice(range.start as usize..range.end as usize) };
        let position = inner.block_start(block) + u64::from(at);
        writes.push(inner.device.start_write(Io::Data, position, data));
    }
    let data = DataWrites { writes, pin: logged.pin };
    inner.data_writes.borrow_mut().insert(logged.token, data);
    inner.journal_wanted.notify();
    Ok(Queued { token: logged.token, len: logged.len, digest: logged.digest })
}

/// Compares the client's checksums with the data, in turns (W5).
async fn check(
    ticket: &Ticket,
    payload: &[(u32, &[u8])],
    checksums: &[Crc32c],
) -> Result<Vec<Crc32c>, UpdateError> {
    let mut pieces = Vec::new();
    while !ticket.plan.check_payload(payload, checksums, CHECK_BYTES, &mut pieces)? {
        yield_now().await;
    }
    Ok(pieces)
}

struct Prepared<E: Env> {
    fetched: Merges<E>,
    sink: DriverSink<E::Memory>,
}

/// Verified old bytes for a merge.
struct Merges<E: Env> {
    head: Option<engine_store::Head>,
    pieces: Vec<Fetched<E>>,
}

impl<E: Env> Merges<E> {
    /// Valid bytes of one checksum block.
    fn valid_bytes(&self, block: u32) -> &[u8] {
        let head = self.head.expect("only a chunk that is there has bytes to fetch");
        let start = block * head.size.checksum_block_bytes();
        let bytes = start..start + head.valid_bytes(block);
        for Fetched { piece, bytes: data, .. } in &self.pieces {
            if let (Source::Home(home), Some(data)) = (&piece.source, data)
                && home.verify.contains(&block)
            {
                return &data[home.within(&bytes)];
            }
        }
        unreachable!("E120: block {block} was not fetched")
    }
}

/// Fetches what is merged, and obtains every buffer that the assembly asks for.
async fn prepare<E: Env>(
    inner: &Rc<Inner<E>>,
    ticket: &Ticket,
) -> Result<Prepared<E>, UpdateError> {
    let key = ticket.update.key;
    let fetch = {
        let state = inner.state.borrow();
        state.committed(&key).filter(|_| !ticket.plan.fetches().is_empty()).map(|record| {
            let mut pieces = inner.pieces.take();
            whole_blocks(record, ticket.plan.fetches(), &mut pieces);
            let view = View::Committed;
            let fetch = Fetch::start(inner, Io::Merge, key, record, view, pieces.drain(..));
            inner.pieces.replace(pieces);
            (record.head, fetch)
        })
    };
    let pool = inner.env.pool();
    let mut images = Vec::with_capacity(ticket.plan.image_count());
    let no_memory = |_| UpdateError::OutOfMemory { key };
    for _ in 0..ticket.plan.image_count() {
        images.push(whole(pool.alloc_wait(SECTOR).await.map_err(no_memory)?, SECTOR));
    }
    let mut copies = Vec::new();
    for len in ticket.plan.copies() {
        let len = len as usize;
        copies.push((None, 0, whole(pool.alloc_wait(len).await.map_err(no_memory)?, len)));
    }
    let (head, pieces) = match fetch {
        None => (None, Vec::new()),
        Some((head, fetch)) => {
            let pieces = fetch.finish().await.map_err(|why| merge_error(&head, ticket, why))?;
            (Some(head), pieces)
        }
    };
    let sink = DriverSink { images, images_used: 0, copies, copies_used: 0, payloads: Vec::new() };
    Ok(Prepared { fetched: Merges { head, pieces }, sink })
}

fn whole<M: Memory>(mut buf: Buf<M>, len: usize) -> Buf<M> {
    buf.set_len(len);
    buf
}

/// Old bytes that cannot be read are as good as damaged: another replica has them (S16).
fn merge_error(head: &engine_store::Head, ticket: &Ticket, why: FetchError) -> UpdateError {
    let key = ticket.update.key;
    match why {
        FetchError::Memory(_) => UpdateError::OutOfMemory { key },
        FetchError::Corrupt { block } => UpdateError::Corrupt { key, block, version: head.version },
        FetchError::Io(_) => {
            let block = ticket.plan.fetches().first().copied().unwrap_or_default();
            UpdateError::Corrupt { key, block, version: head.version }
        }
    }
}

/// Buffers obtained before the assembly, given out in the plan's order.
struct DriverSink<M: Memory> {
    images: Vec<Buf<M>>,
    images_used: usize,
    copies: Vec<(Option<BlockAddress>, u32, Buf<M>)>,
    copies_used: usize,
    payloads: Vec<(BlockAddress, u32, usize, core::ops::Range<u32>)>,
}

impl<M: Memory> Sink for DriverSink<M> {
    fn image(&mut self, _sector: u16) -> &mut [u8] {
        self.images_used += 1;
        &mut self.images[self.images_used - 1]
    }

    fn direct(&mut self, block: BlockAddress, at: u32, _sector: u16, len: u32) -> &mut [u8] {
        self.copies_used += 1;
        let (placed, start, buf) = &mut self.copies[self.copies_used - 1];
        assert_eq!(buf.len(), len as usize, "E120: copies come in the plan's order");
        *placed = Some(block);
        *start = at;
        buf
    }

    fn payload(
        &mut self,
        block: BlockAddress,
        at: u32,
        extent: usize,
        range: core::ops::Range<u32>,
    ) {
        self.payloads.push((block, at, extent, range));
    }
}
