//! Items as the frozen structs of the wire, and back.
//!
//! `code` says what a message is; the fields that it uses mean what their names say, except
//!   `Refused`   `why` is the reason, `len` the status of `Refusal::Invalid`
//!   `Query`     `walk` is the number of the question, as in `Answer`
//!   `ListAsk`   `why` is the kind of the cursor, `inode` and `index` its chunk, as in `Listed`
//! Bytes of payload are the extents of a `Forward` or `Ship`, the list of `Listed` and `Outcomes`
//! (see `lists`), and the data of a `Piece`.
//!
//! Decoding is total: what makes no sense is an error, upon which the link is taken down. Ranges
//! of a change are passed on as a client stated them: the store refuses wrong ones.

use engine_craq::{Cursor, Digest, Message, Peer, QueryId, Refusal, Space, Version, Walk};
use engine_store::address::TruncateEpoch;
use engine_store::{Change, Tag};
use engine_types::{
    ChainVersion, ChannelId, ChunkId, ChunkSize, ChunkVersion, Incarnation, InodeId, SessionId,
    Status, TargetId,
};
use engine_wire::bodies::storage::{
    RelayMessage, UPDATE_EXTEND, UPDATE_REMOVE, UPDATE_REPLACE, UPDATE_TRUNCATE, UPDATE_WRITE,
    UPDATE_ZERO,
};

use crate::item::{Description, Item, Room, StreamId};

mod lists;
#[cfg(test)]
mod tests;

/// Why a message is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("message of unknown code {found}")]
    Code { found: u16 },
    #[error("refused for unknown reason {found}")]
    Why { found: u16 },
    #[error("unknown kind of cursor {found}")]
    Cursor { found: u16 },
    #[error("unknown change {found}")]
    Change { found: u8 },
    #[error("chunks of 2^{found} bytes")]
    ChunkSize { found: u8 },
    #[error("a piece of no stream")]
    NoStream,
    #[error("{found} bytes beside a message of code {code} that has none")]
    Bytes { code: u16, found: usize },
    #[error("a list of {found} bytes in entries of {entry}")]
    List { found: usize, entry: usize },
    #[error("extent of {len} bytes at {offset}, behind {after}, in a chunk of {size}")]
    Extent { offset: u32, len: u32, after: u32, size: u32 },
    #[error("{found} extents, at most {limit}")]
    Extents { found: usize, limit: usize },
}

const HELLO: u16 = 1;
const FORWARD: u16 = 2;
const STORED: u16 = 3;
const ABORT: u16 = 4;
const WALKED: u16 = 5;
const ASK: u16 = 6;
const READY: u16 = 7;
const ACK: u16 = 8;
const REFUSED: u16 = 9;
const ABORTED: u16 = 10;
const RETRY: u16 = 11;
const SHIP: u16 = 12;
const ERASE: u16 = 13;
const SHIPPED: u16 = 14;
const SYNC_DONE: u16 = 15;
const QUERY: u16 = 16;
const ANSWER: u16 = 17;
const ROOM: u16 = 18;
/// Bytes of a stream; all other codes are messages with a sender and a receiver.
pub(crate) const PIECE: u16 = 32;
const LIST_ASK: u16 = 33;
const LISTED: u16 = 34;
const OUTCOMES: u16 = 35;
const OUTCOMES_STORED: u16 = 36;
const ROOM_WANT: u16 = 37;
const ROOM_GRANT: u16 = 38;
const ROOM_BACK: u16 = 39;
const ROOM_BEGIN: u16 = 40;

// Flags of `Forward`.
const REMOVAL: u8 = 1;
const TAGGED: u8 = 2;
const DIGESTED: u8 = 4;
// Flags of `Answer`.
const ANSWERED: u8 = 1;
const PRESENT: u8 = 2;
// Flags of `Piece`.
const ENDS: u8 = 1;
const COMPLETE: u8 = 2;
/// Flag of `Listed`: the range ends, and its last chunk stands before the entries.
const BOUNDED: u8 = 1;
/// Flag of `Outcomes`: nothing more follows.
const LAST: u8 = 1;

/// An item as it travels, and the list that travels as its payload. The bytes of a piece are the
/// caller's.
pub(crate) fn encode(item: &Item) -> (RelayMessage, Vec<u8>) {
    let mut out = RelayMessage::default();
    let mut list = Vec::new();
    match item {
        Item::Message { from, to, chain, message, payload } => {
            put_ends(&mut out, *from, *to, *chain);
            put_message(&mut out, message);
            if let Some((stream, description)) = payload {
                out.stream = stream.0;
                put_description(&mut out, description);
                list = lists::extents(&description.extents);
                out.extents = len_u32(&list);
            }
        }
        Item::Piece { stream, end } => {
            out.code = PIECE;
            out.stream = stream.0;
            out.flags = match end {
                None => 0,
                Some(false) => ENDS,
                Some(true) => ENDS | COMPLETE,
            };
        }
        Item::Room { lane, said, bytes } => {
            out.code = match said {
                Room::Want => ROOM_WANT,
                Room::Grant => ROOM_GRANT,
                Room::Back => ROOM_BACK,
                Room::Begin(stream) => {
                    out.stream = stream.0;
                    ROOM_BEGIN
                }
            };
            (out.flags, out.len) = (*lane, *bytes);
        }
        Item::ListAsk { from, to, chain, walk, after } => {
            put_ends(&mut out, *from, *to, *chain);
            (out.code, out.walk) = (LIST_ASK, walk.0);
            put_cursor(&mut out, *after);
        }
        Item::Listed { from, to, chain, walk, after, upto, entries } => {
            put_ends(&mut out, *from, *to, *chain);
            (out.code, out.walk) = (LISTED, walk.0);
            put_cursor(&mut out, *after);
            out.flags = if upto.is_some() { BOUNDED } else { 0 };
            list = lists::chunks(*upto, entries);
        }
        Item::Outcomes { from, to, chain, walk, last, entries } => {
            put_ends(&mut out, *from, *to, *chain);
            (out.code, out.walk) = (OUTCOMES, walk.0);
            out.flags = if *last { LAST } else { 0 };
            list = lists::outcomes(entries);
        }
        Item::OutcomesStored { from, to, chain, walk } => {
            put_ends(&mut out, *from, *to, *chain);
            (out.code, out.walk) = (OUTCOMES_STORED, walk.0);
        }
    }
    out.bytes = len_u32(&list);
    (out, list)
}

/// The item that `message` and its payload are; the bytes of a piece are not looked at.
pub(crate) fn decode(message: &RelayMessage, payload: &[u8]) -> Result<Item, CodecError> {
    let (from, to) =
        (peer(message.from, message.from_incarnation), peer(message.to, message.to_incarnation));
    let chain = ChainVersion::new(message.chain_version);
    let walk = Walk(message.walk);
    let takes_bytes = matches!(message.code, FORWARD | SHIP | PIECE | LISTED | OUTCOMES);
    if !takes_bytes && !payload.is_empty() {
        return Err(CodecError::Bytes { code: message.code, found: payload.len() });
    }
    let item = match message.code {
        PIECE => {
            let stream = stream(message).ok_or(CodecError::NoStream)?;
            let complete = message.flags & COMPLETE != 0;
            let end = (message.flags & ENDS != 0).then_some(complete);
            Item::Piece { stream, end }
        }
        ROOM_WANT | ROOM_GRANT | ROOM_BACK | ROOM_BEGIN => Item::Room {
            lane: message.flags,
            said: match message.code {
                ROOM_WANT => Room::Want,
                ROOM_GRANT => Room::Grant,
                ROOM_BACK => Room::Back,
                _ => Room::Begin(stream(message).ok_or(CodecError::NoStream)?),
            },
            bytes: message.len,
        },
        LIST_ASK => Item::ListAsk { from, to, chain, walk, after: cursor(message)? },
        LISTED => {
            let after = cursor(message)?;
            let (upto, entries) = lists::to_chunks(message.flags & BOUNDED != 0, payload)?;
            Item::Listed { from, to, chain, walk, after, upto, entries }
        }
        OUTCOMES => {
            let (last, entries) = (message.flags & LAST != 0, lists::to_outcomes(payload)?);
            Item::Outcomes { from, to, chain, walk, last, entries }
        }
        OUTCOMES_STORED => Item::OutcomesStored { from, to, chain, walk },
        _ => {
            let said = to_message(message)?;
            let payload = to_payload(message, payload)?;
            Item::Message { from, to, chain, message: said, payload }
        }
    };
    Ok(item)
}

fn put_ends(out: &mut RelayMessage, from: Peer, to: Peer, chain: ChainVersion) {
    (out.from, out.from_incarnation) = (from.target.get(), from.incarnation.get());
    (out.to, out.to_incarnation) = (to.target.get(), to.incarnation.get());
    out.chain_version = chain.get();
}

fn put_message(out: &mut RelayMessage, message: &Message) {
    let (code, walk, at) = match *message {
        Message::Hello { walk } => (HELLO, walk, None),
        Message::Forward { walk, at, removal, tag, digest } => {
            put_forward(out, removal, tag, digest);
            (FORWARD, walk, Some(at))
        }
        Message::Stored { walk, at, digest } => {
            out.digest = digest.0;
            (STORED, walk, Some(at))
        }
        Message::Abort { walk, at } => (ABORT, walk, Some(at)),
        Message::Walked { walk } => (WALKED, walk, None),
        Message::Ask => (ASK, Walk(0), None),
        Message::Ready { walk, space } => {
            put_space(out, space);
            (READY, walk, None)
        }
        Message::Ack { walk, at, space } => {
            put_space(out, space);
            (ACK, walk, Some(at))
        }
        Message::Room { walk, space } => {
            put_space(out, space);
            (ROOM, walk, None)
        }
        Message::Refused { walk, at, why } => {
            (out.why, out.len) = why_code(why);
            (REFUSED, walk, Some(at))
        }
        Message::Aborted { walk, at } => (ABORTED, walk, Some(at)),
        Message::Retry => (RETRY, Walk(0), None),
        Message::Ship { walk, at } => (SHIP, walk, Some(at)),
        Message::Erase { walk, chunk } => (ERASE, walk, Some(unversioned(chunk))),
        Message::Shipped { walk, chunk } => (SHIPPED, walk, Some(unversioned(chunk))),
        Message::SyncDone { walk } => (SYNC_DONE, walk, None),
        Message::Query { query, chunk } => (QUERY, Walk(query.0), Some(unversioned(chunk))),
        Message::Answer { query, committed } => {
            let version = committed.flatten();
            out.flags = u8::from(committed.is_some()) * ANSWERED;
            out.flags |= u8::from(version.is_some()) * PRESENT;
            out.version = version.map_or(0, ChunkVersion::get);
            (ANSWER, Walk(query.0), None)
        }
    };
    (out.code, out.walk) = (code, walk.0);
    if let Some(at) = at {
        (out.inode, out.index) = (at.chunk.inode.get(), at.chunk.index);
        out.version = at.version.get();
    }
}

fn put_forward(out: &mut RelayMessage, removal: bool, tag: Option<Tag>, digest: Option<Digest>) {
    out.flags = u8::from(removal) * REMOVAL;
    if let Some(tag) = tag {
        out.flags |= TAGGED;
        (out.session, out.channel, out.seq) = (tag.session.get(), tag.channel.get(), tag.seq);
    }
    if let Some(digest) = digest {
        out.flags |= DIGESTED;
        out.digest = digest.0;
    }
}

fn to_message(message: &RelayMessage) -> Result<Message, CodecError> {
    let walk = Walk(message.walk);
    let query = QueryId(message.walk);
    let chunk = chunk_of(message);
    let at = Version { chunk, version: ChunkVersion::new(message.version) };
    let space = Space { bytes: message.space_bytes, records: message.space_records };
    let has = |flag: u8| message.flags & flag != 0;
    Ok(match message.code {
        HELLO => Message::Hello { walk },
        FORWARD => {
            let tag = has(TAGGED).then(|| Tag {
                session: SessionId::new(message.session),
                channel: ChannelId::new(message.channel),
                seq: message.seq,
            });
            let digest = has(DIGESTED).then_some(Digest(message.digest));
            Message::Forward { walk, at, removal: has(REMOVAL), tag, digest }
        }
        STORED => Message::Stored { walk, at, digest: Digest(message.digest) },
        ABORT => Message::Abort { walk, at },
        WALKED => Message::Walked { walk },
        ASK => Message::Ask,
        READY => Message::Ready { walk, space },
        ACK => Message::Ack { walk, at, space },
        ROOM => Message::Room { walk, space },
        REFUSED => Message::Refused { walk, at, why: to_refusal(message)? },
        ABORTED => Message::Aborted { walk, at },
        RETRY => Message::Retry,
        SHIP => Message::Ship { walk, at },
        ERASE => Message::Erase { walk, chunk },
        SHIPPED => Message::Shipped { walk, chunk },
        SYNC_DONE => Message::SyncDone { walk },
        QUERY => Message::Query { query, chunk },
        ANSWER => {
            let version = has(PRESENT).then_some(at.version);
            Message::Answer { query, committed: has(ANSWERED).then_some(version) }
        }
        found => return Err(CodecError::Code { found }),
    })
}

const fn why_code(why: Refusal) -> (u16, u32) {
    match why {
        Refusal::StaleChain => (1, 0),
        Refusal::NotLeased => (2, 0),
        Refusal::Fenced => (3, 0),
        Refusal::OldRequest => (4, 0),
        Refusal::TooManyChannels => (5, 0),
        Refusal::Busy => (6, 0),
        Refusal::NoSpace => (7, 0),
        Refusal::StreamEnded => (8, 0),
        Refusal::Invalid(status) => (9, status.code() as u32),
        Refusal::StoreFailed => (10, 0),
    }
}

fn to_refusal(message: &RelayMessage) -> Result<Refusal, CodecError> {
    Ok(match message.why {
        1 => Refusal::StaleChain,
        2 => Refusal::NotLeased,
        3 => Refusal::Fenced,
        4 => Refusal::OldRequest,
        5 => Refusal::TooManyChannels,
        6 => Refusal::Busy,
        7 => Refusal::NoSpace,
        8 => Refusal::StreamEnded,
        9 => {
            let found = message.why;
            let code = u16::try_from(message.len).map_err(|_| CodecError::Why { found })?;
            Refusal::Invalid(Status::from_code(code))
        }
        10 => Refusal::StoreFailed,
        found => return Err(CodecError::Why { found }),
    })
}

fn put_description(out: &mut RelayMessage, description: &Description) {
    let (change, offset, len) = match description.change {
        Change::Write { offset, len } => (UPDATE_WRITE, offset, len),
        Change::Truncate { len } => (UPDATE_TRUNCATE, 0, len),
        Change::Extend { len } => (UPDATE_EXTEND, 0, len),
        Change::Zero { offset, len } => (UPDATE_ZERO, offset, len),
        Change::Replace { len } => (UPDATE_REPLACE, 0, len),
        Change::Remove => (UPDATE_REMOVE, 0, 0),
    };
    (out.change, out.offset, out.len) = (change, offset, len);
    out.epoch = description.epoch.get();
    #[expect(clippy::cast_possible_truncation, reason = "a chunk has 2^12 to 2^26 bytes")]
    let shift = description.size.bytes().trailing_zeros() as u8;
    out.size_shift = shift;
}

fn to_payload(
    message: &RelayMessage,
    payload: &[u8],
) -> Result<Option<(StreamId, Description)>, CodecError> {
    let carries = matches!(message.code, FORWARD | SHIP);
    let Some(stream) = stream(message).filter(|_| carries) else {
        return match payload.len() {
            0 => Ok(None),
            found => Err(CodecError::Bytes { code: message.code, found }),
        };
    };
    let (offset, len) = (message.offset, message.len);
    let change = match message.change {
        UPDATE_WRITE => Change::Write { offset, len },
        UPDATE_TRUNCATE => Change::Truncate { len },
        UPDATE_EXTEND => Change::Extend { len },
        UPDATE_ZERO => Change::Zero { offset, len },
        UPDATE_REPLACE => Change::Replace { len },
        UPDATE_REMOVE => Change::Remove,
        found => return Err(CodecError::Change { found }),
    };
    let found = message.size_shift;
    let size = 1u32.checked_shl(found.into()).and_then(ChunkSize::new);
    let size = size.ok_or(CodecError::ChunkSize { found })?;
    if !payload.is_empty() && message.change != UPDATE_REPLACE {
        return Err(CodecError::Bytes { code: message.code, found: payload.len() });
    }
    let extents = lists::to_extents(size, payload)?;
    let epoch = TruncateEpoch::new(message.epoch);
    Ok(Some((stream, Description { change, size, epoch, extents })))
}

fn put_cursor(out: &mut RelayMessage, cursor: Cursor) {
    let (kind, chunk) = match cursor {
        Cursor::Start => (0, None),
        Cursor::Before(chunk) => (1, Some(chunk)),
        Cursor::At(chunk) => (2, Some(chunk)),
        Cursor::End => (3, None),
    };
    out.why = kind;
    if let Some(chunk) = chunk {
        (out.inode, out.index) = (chunk.inode.get(), chunk.index);
    }
}

fn cursor(message: &RelayMessage) -> Result<Cursor, CodecError> {
    let chunk = chunk_of(message);
    Ok(match message.why {
        0 => Cursor::Start,
        1 => Cursor::Before(chunk),
        2 => Cursor::At(chunk),
        3 => Cursor::End,
        found => return Err(CodecError::Cursor { found }),
    })
}

fn put_space(out: &mut RelayMessage, space: Space) {
    (out.space_bytes, out.space_records) = (space.bytes, space.records);
}

fn peer(target: u64, incarnation: u64) -> Peer {
    Peer { target: TargetId::new(target), incarnation: Incarnation::new(incarnation) }
}

fn stream(message: &RelayMessage) -> Option<StreamId> {
    (message.stream != 0).then_some(StreamId(message.stream))
}

fn chunk_of(message: &RelayMessage) -> ChunkId {
    ChunkId { inode: InodeId::new(message.inode), index: message.index }
}

/// Versions start at 1, so 0 says nothing.
fn unversioned(chunk: ChunkId) -> Version {
    Version { chunk, version: ChunkVersion::new(0) }
}

fn len_u32(list: &[u8]) -> u32 {
    u32::try_from(list.len()).expect("lists are far below 4 GiB")
}
