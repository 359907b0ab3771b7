//! Draws requests, right and wrong ones, together with what the store has to answer.

use std::rc::Rc;

use engine_store::{Change, ChunkKey, Outcome, Tag, TruncateEpoch, Update};
use engine_types::limits::PAYLOAD_BYTES_MAX;
use engine_types::{ChainVersion, ChannelId, ChunkVersion, Crc32c, Rng, SessionId, crc32c};

use super::body::Body;
use super::doubt::Doubt;
use super::model::{Chunk, Model, State, Version};

/// Bytes that one request carries as a rule: more would only cost time.
const USUAL_BYTES_MAX: u32 = 96 << 10;

/// Bytes that an update logs as images at most.
const IMAGES_BYTES_MAX: u32 = 250 << 10;

/// What must come of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The version is stored.
    Stored,
    /// The answer of the first time comes again.
    Repeated(Outcome),
    /// A refusal of this kind.
    Refused(Wrong),
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A version that is not the next one.
    Version,
    /// Another version is pending.
    Busy,
    /// An epoch that is over.
    Epoch,
    /// Another chunk size.
    Size,
    /// A range outside the chunk.
    Range,
    /// Checksums of other data.
    Payload,
    /// A slot without target.
    Target,
    /// A chain version below the installed one.
    Chain,
    /// A session that is fenced.
    Fence,
    /// A request older than the newest of its channel.
    Old,
}

/// A request with its data and its outcome.
#[derive(Clone, Debug)]
pub struct Request {
    /// The chunk that it is drawn for; a wrong one may name another.
    pub chunk: ChunkKey,
    /// As the store is asked.
    pub update: Update,
    /// Its data.
    pub extents: Vec<(u32, Vec<u8>)>,
    /// Its checksums, or none.
    pub checksums: Vec<Crc32c>,
    /// The state that it makes, when it is stored.
    pub becomes: State,
    /// The answer.
    pub expected: Expected,
}

/// Who asks: live sessions, each with a few channels.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// Sessions that may ask, oldest first.
    pub live: Vec<SessionId>,
    /// Sessions that are durably fenced.
    pub fenced: Vec<SessionId>,
    /// Number of the newest request of any channel.
    pub seq: u64,
}

impl Default for Sessions {
    fn default() -> Self {
        let live = (1..=3).map(SessionId::new).collect();
        Self { live, fenced: Vec::new(), seq: 0 }
    }
}

/// Channels of each session.
const CHANNELS: u64 = 3;

/// A request for a chunk on which nothing is under way.
pub fn draw(rng: &mut Rng, model: &Model, sessions: &mut Sessions, key: ChunkKey) -> Request {
    let chunk = model.chunk(&key);
    if rng.chance(60) {
        return wrong(rng, model, sessions, key);
    }
    let change = change(rng, chunk);
    let mut request = build(rng, model, key, change);
    if let Some(tag) = idle_channel(rng, model, sessions, key).filter(|_| rng.chance(400)) {
        sessions.seq += 1;
        let tag = Tag { seq: sessions.seq, ..tag };
        request.update.tag = Some(tag);
        let version = request.becomes.pending.as_mut().expect("an update makes one");
        Rc::make_mut(version).tag = Some(tag);
    }
    request
}

/// A channel whose requests are all done, with its newest number.
fn idle_channel(rng: &mut Rng, model: &Model, sessions: &Sessions, key: ChunkKey) -> Option<Tag> {
    let open: Vec<SessionId> = sessions
        .live
        .iter()
        .copied()
        .filter(|&session| model.is_fenced(session) == Some(false))
        .collect();
    let session = *rng.pick(&open)?;
    let channel = ChannelId::new(rng.below(CHANNELS).try_into().expect("few"));
    let seq = model.outcome(&(key.slot, session, channel)).map_or(0, |outcome| outcome.seq);
    model.is_idle(&(key.slot, session, channel)).then_some(Tag { session, channel, seq })
}

/// What happens, with its data.
struct Drawn {
    change: Change,
    extents: Vec<(u32, Vec<u8>)>,
}

fn without_data(change: Change) -> Drawn {
    Drawn { change, extents: Vec::new() }
}

fn change(rng: &mut Rng, chunk: &Chunk) -> Drawn {
    let size = chunk.size.bytes();
    let here = chunk.now().committed.as_ref().map_or(0, |version| version.len());
    let place = |rng: &mut Rng| u32::try_from(rng.below(u64::from(size))).expect("below u32");
    match rng.below(100) {
        0..=67 => write(rng, chunk),
        68..=75 => without_data(Change::Truncate { len: length(rng, size, here) }),
        76..=80 => without_data(Change::Extend { len: length(rng, size, here) }),
        81..=88 => {
            let offset = place(rng);
            let most = u64::from(size - offset);
            let len = if rng.chance(300) { most } else { rng.range(1..=most) };
            let len = u32::try_from(len).expect("below u32");
            without_data(Change::Zero { offset: align(rng, chunk, offset), len }).fitted(size)
        }
        89..=93 => replace(rng, chunk),
        _ if chunk.now().committed.is_some() => without_data(Change::Remove),
        _ => write(rng, chunk),
    }
}

impl Drawn {
    /// Ranges that alignment moved end inside the chunk all the same.
    fn fitted(mut self, size: u32) -> Self {
        if let Change::Zero { offset, len } = &mut self.change {
            *len = (*len).min(size - *offset);
        }
        self
    }
}

/// A length for a truncation or extension: often near what is there.
fn length(rng: &mut Rng, size: u32, here: u32) -> u32 {
    let near = match rng.below(6) {
        0 => 0,
        1 => u64::from(here) / 2,
        2 => u64::from(here) + rng.below(8192),
        3 => u64::from(here / 4096 * 4096),
        4 => u64::from(size),
        _ => rng.range(0..=u64::from(size)),
    };
    u32::try_from(near).expect("near a u32").min(size)
}

/// Moves an offset down to a sector, a checksum block or not at all.
fn align(rng: &mut Rng, chunk: &Chunk, offset: u32) -> u32 {
    match rng.below(3) {
        0 => offset,
        1 => offset / 4096 * 4096,
        _ => offset / chunk.size.checksum_block_bytes() * chunk.size.checksum_block_bytes(),
    }
}

fn write(rng: &mut Rng, chunk: &Chunk) -> Drawn {
    let size = chunk.size.bytes();
    let here = chunk.now().committed.as_ref().map_or(0, |version| version.len());
    let block = chunk.size.checksum_block_bytes();
    let offset = match rng.below(10) {
        0..=2 if here < size => here,
        3..=7 if 0 < here => u32::try_from(rng.below(here.into())).expect("below u32"),
        _ => u32::try_from(rng.below(size.into())).expect("below u32"),
    };
    // A block of the chunk's own size at once, most of it holes.
    let sparse = here == 0 && rng.chance(500);
    let offset = if sparse { offset.max(size / 8 * 5) } else { offset };
    let appends = offset == here;
    let offset = if appends { offset } else { align(rng, chunk, offset) };
    let most = (size - offset).min(PAYLOAD_BYTES_MAX);
    let len = match rng.below(12) {
        0..=1 => rng.range(1..=300),
        2 => rng.range(1..=u64::from(most.min(IMAGES_BYTES_MAX))),
        3..=5 => 4096 * rng.range(1..=4) - u64::from(offset % 4096),
        6..=7 => u64::from(block) * rng.range(1..=2) - u64::from(offset % block),
        8 => u64::from(most),
        9 => 4096,
        _ => rng.range(1..=u64::from(most.min(USUAL_BYTES_MAX))),
    };
    // Whole chunks of 1 MiB and more are rare: they cost as much as all the rest.
    let usual = match rng.below(100) {
        0..=3 => most,
        4..=13 => most.min(IMAGES_BYTES_MAX),
        _ => most.min(USUAL_BYTES_MAX),
    };
    let len = u32::try_from(len).expect("fits").clamp(1, usual);
    let mut data = bytes(rng, len);
    if rng.chance(40) {
        data.fill(0); // zeros that are written are data
    }
    Drawn { change: Change::Write { offset, len }, extents: pieces(rng, offset, data) }
}

fn bytes(rng: &mut Rng, len: u32) -> Vec<u8> {
    let mut data = vec![0; len as usize];
    rng.fill_bytes(&mut data);
    data
}

/// Cuts data into one to three pieces.
fn pieces(rng: &mut Rng, offset: u32, mut data: Vec<u8>) -> Vec<(u32, Vec<u8>)> {
    let mut pieces = Vec::new();
    let mut at = offset;
    while 1 < data.len() && pieces.len() < 2 && rng.chance(250) {
        let mut cut = usize::try_from(rng.range(1..=data.len() as u64 - 1)).expect("an index");
        if rng.chance(500) && 4096 < cut {
            cut -= (at as usize + cut) % 4096;
        }
        let rest = data.split_off(cut.max(1));
        let len = u32::try_from(data.len()).expect("small");
        pieces.push((at, core::mem::replace(&mut data, rest)));
        at += len;
    }
    pieces.push((at, data));
    pieces
}

fn replace(rng: &mut Rng, chunk: &Chunk) -> Drawn {
    let (size, block) = (chunk.size.bytes(), chunk.size.checksum_block_bytes());
    let blocks = u64::from(size / block);
    let mut extents = Vec::new();
    let mut at = 0;
    let mut end = 0;
    while at < blocks && extents.len() < 3 && rng.chance(800) {
        let start = rng.range(at..=blocks - 1);
        let most = (blocks - start).min(u64::from(USUAL_BYTES_MAX / block).max(1));
        let whole = rng.range(1..=most);
        let offset = u32::try_from(start).expect("small") * block;
        let mut len = u32::try_from(whole).expect("small") * block;
        if rng.chance(300) {
            len -= u32::try_from(rng.below(u64::from(block))).expect("small");
        }
        extents.push((offset, bytes(rng, len)));
        end = offset + len;
        at = start + whole;
    }
    let len = u32::try_from(rng.range(u64::from(end)..=u64::from(size))).expect("small");
    Drawn { change: Change::Replace { len }, extents }
}

/// A request that must be stored.
fn build(rng: &mut Rng, model: &Model, key: ChunkKey, drawn: Drawn) -> Request {
    let Drawn { change, extents } = drawn;
    let chunk = model.chunk(&key);
    let base = chunk.now().committed.clone();
    let next = base.as_ref().map_or(1, |base| base.number.get() + 1);
    let replaces = matches!(change, Change::Replace { .. });
    // A replacement may bring any version.
    let number = if replaces && rng.chance(500) { next + rng_u32(rng, 5) } else { next };
    let epoch = base.as_ref().map_or(TruncateEpoch::default(), |base| base.epoch);
    let cuts = matches!(change, Change::Truncate { .. } | Change::Remove);
    let raised = (cuts && epoch.get() != 0) || rng.chance(100);
    let epoch = TruncateEpoch::new(epoch.get() + u32::from(raised));
    let chain_version = installed(model, key);
    let update = Update {
        key,
        version: ChunkVersion::new(number),
        chain_version,
        epoch,
        size: chunk.size,
        change,
        tag: None,
    };
    let body = applied(base.as_deref(), chunk, change, &extents);
    let version = Version {
        number: update.version,
        body: body.map(Rc::new),
        epoch,
        chain_version,
        tag: None,
    };
    let checksums = if rng.chance(500) { checksums(chunk, &extents) } else { Vec::new() };
    let becomes = State { committed: base, pending: Some(Rc::new(version)) };
    Request { chunk: key, update, extents, checksums, becomes, expected: Expected::Stored }
}

fn rng_u32(rng: &mut Rng, bound: u64) -> u32 {
    u32::try_from(rng.below(bound)).expect("small")
}

/// The highest chain version that was asked for: never below the installed one.
fn installed(model: &Model, key: ChunkKey) -> ChainVersion {
    let target = model.targets.get(&key.slot).and_then(|target| *target.newest());
    target.map_or(ChainVersion::default(), |target| target.chain_version)
}

/// The reference of every change.
fn applied(
    base: Option<&Version>,
    chunk: &Chunk,
    change: Change,
    extents: &[(u32, Vec<u8>)],
) -> Option<Body> {
    let base = base.and_then(|base| base.body.as_deref());
    let mut body = base.cloned().unwrap_or_else(|| Body::new(chunk.size));
    match change {
        Change::Write { .. } => extents.iter().for_each(|(at, data)| body.write(*at, data)),
        Change::Truncate { len } => body.truncate(len),
        Change::Extend { len } => body.extend(len),
        Change::Zero { offset, len } => body.zero(offset, len),
        Change::Replace { len } => body = Body::replaced(chunk.size, len, extents),
        Change::Remove => return None,
    }
    Some(body)
}

/// Per extent one checksum for each checksum block that it touches, over its bytes in it.
pub fn checksums(chunk: &Chunk, extents: &[(u32, Vec<u8>)]) -> Vec<Crc32c> {
    let block = chunk.size.checksum_block_bytes() as usize;
    let mut all = Vec::new();
    for (offset, data) in extents {
        let mut rest = &data[..];
        let mut at = *offset as usize;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((block - at % block).min(rest.len()));
            all.push(crc32c(piece));
            at += piece.len();
            rest = after;
        }
    }
    all
}

/// A request that must be refused, or answered from memory.
fn wrong(rng: &mut Rng, model: &Model, sessions: &mut Sessions, key: ChunkKey) -> Request {
    let chunk = model.chunk(&key);
    let drawn = write(rng, chunk);
    let mut request = build(rng, model, key, drawn);
    let committed = chunk.now().committed.is_some();
    let kind = match rng.below(9) {
        0 => Wrong::Version,
        1 if 0 < committed_epoch(chunk) => Wrong::Epoch,
        2 if committed => Wrong::Size,
        3 => Wrong::Range,
        4 => Wrong::Payload,
        5 => Wrong::Target,
        6 if model.targets.get(&key.slot).is_some_and(Doubt::is_settled) => Wrong::Chain,
        7 if !sessions.fenced.is_empty() => Wrong::Fence,
        _ => return repeat(rng, model, sessions, request),
    };
    spoil(rng, sessions, &mut request, chunk, kind);
    request.expected = Expected::Refused(kind);
    request
}

/// Makes a right request wrong in one way.
fn spoil(rng: &mut Rng, sessions: &Sessions, request: &mut Request, chunk: &Chunk, kind: Wrong) {
    let update = &mut request.update;
    match kind {
        Wrong::Version => {
            let number = update.version.get();
            let other = if rng.chance(500) { number + 1 } else { number - 1 };
            update.version = ChunkVersion::new(other);
        }
        Wrong::Epoch => {
            // Its own epoch is too old for a truncation, an older one for everything.
            let current = committed_epoch(chunk);
            let cuts = rng.chance(500);
            update.epoch = TruncateEpoch::new(current - u32::from(!cuts));
            if cuts {
                update.change = Change::Truncate { len: 0 };
                request.extents.clear();
                request.checksums.clear();
            }
        }
        Wrong::Size => {
            let half = engine_types::ChunkSize::new(update.size.bytes() / 2);
            let other = half.unwrap_or(engine_types::ChunkSize::MAX);
            update.size = other;
        }
        Wrong::Range => {
            let size = update.size.bytes();
            update.change = Change::Truncate { len: size + 1 };
            update.epoch = TruncateEpoch::new(update.epoch.get() + 1);
            request.extents.clear();
            request.checksums.clear();
        }
        Wrong::Payload => {
            request.checksums = checksums(chunk, &request.extents);
            let which = usize::try_from(rng.below(request.checksums.len() as u64));
            let sum = &mut request.checksums[which.expect("an index")];
            *sum = Crc32c::new(sum.get() ^ 1 << rng.below(32));
        }
        Wrong::Target => update.key.slot = engine_store::Slot::new(4000),
        Wrong::Chain => {
            update.chain_version = ChainVersion::new(update.chain_version.get() - 1);
        }
        Wrong::Fence => {
            let session = *rng.pick(&sessions.fenced).expect("one is fenced");
            let channel = ChannelId::new(rng.below(CHANNELS).try_into().expect("few"));
            update.tag = Some(Tag { session, channel, seq: 1 << 40 });
        }
        Wrong::Busy | Wrong::Old => unreachable!("made elsewhere"),
    }
}

fn committed_epoch(chunk: &Chunk) -> u32 {
    chunk.now().committed.as_ref().map_or(0, |version| version.epoch.get())
}

/// The newest request of an idle channel again, or an older one; else the request as it is.
fn repeat(rng: &mut Rng, model: &Model, sessions: &Sessions, mut request: Request) -> Request {
    let key = request.update.key;
    let Some(tag) = idle_channel(rng, model, sessions, key) else { return request };
    let channel = (key.slot, tag.session, tag.channel);
    let Some(outcome) = model.outcome(&channel) else { return request };
    let older = rng.chance(300) && 0 < outcome.seq;
    let seq = outcome.seq - u64::from(older);
    request.update.tag = Some(Tag { seq, ..tag });
    request.expected = match older {
        true => Expected::Refused(Wrong::Old),
        false => Expected::Repeated(outcome),
    };
    request
}

/// An update of a chunk on which something is pending: refused, unless it is the same request.
pub fn draw_busy(rng: &mut Rng, model: &Model, key: ChunkKey) -> Request {
    let chunk = model.chunk(&key);
    let pending = chunk.now().pending.clone().expect("something is pending");
    let drawn = write(rng, chunk);
    let mut request = build(rng, model, key, drawn);
    match pending.tag.filter(|tag| rng.chance(600) && model.is_fenced(tag.session) == Some(false)) {
        Some(tag) => {
            request.update.tag = Some(tag);
            let outcome = pending.outcome(key).expect("it has a tag");
            request.expected = Expected::Repeated(outcome);
        }
        None => request.expected = Expected::Refused(Wrong::Busy),
    }
    request
}
