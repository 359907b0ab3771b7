//! Every item survives the way there and back; nonsense is an error.

#![expect(clippy::cast_possible_truncation, reason = "numbers are drawn below the limit")]

use super::*;
use crate::item::OutcomeSaid;
use crate::limits::EXTENTS_MAX;

fn chunk(inode: u64) -> ChunkId {
    ChunkId { inode: InodeId::new(inode), index: 77 }
}

fn at() -> Version {
    Version { chunk: chunk(u64::MAX - 3), version: ChunkVersion::new(u32::MAX) }
}

fn messages() -> Vec<Message> {
    let (walk, at, chunk, digest) = (Walk(5 << 40), at(), chunk(9), Digest(0xfeed_f00d_dead_beef));
    let space = Space { bytes: 1 << 45, records: 1 << 33 };
    let session = SessionId::new(1 << 50);
    let tag = Tag { session, channel: ChannelId::new(63), seq: 1 << 60 };
    let query = QueryId(1 << 35);
    let mut all = vec![
        Message::Hello { walk },
        Message::Stored { walk, at, digest },
        Message::Abort { walk, at },
        Message::Walked { walk },
        Message::Ask,
        Message::Ready { walk, space },
        Message::Ack { walk, at, space },
        Message::Room { walk, space },
        Message::Aborted { walk, at },
        Message::Retry,
        Message::Ship { walk, at },
        Message::Erase { walk, chunk },
        Message::Shipped { walk, chunk },
        Message::SyncDone { walk },
        Message::Query { query, chunk },
        Message::Answer { query, committed: None },
        Message::Answer { query, committed: Some(None) },
        Message::Answer { query, committed: Some(Some(ChunkVersion::new(8))) },
    ];
    for bits in 0..8 {
        let tag = (bits & 1 != 0).then_some(tag);
        let digest = (bits & 2 != 0).then_some(digest);
        all.push(Message::Forward { walk, at, removal: bits & 4 != 0, tag, digest });
    }
    let why = [
        Refusal::StaleChain,
        Refusal::NotLeased,
        Refusal::Fenced,
        Refusal::OldRequest,
        Refusal::TooManyChannels,
        Refusal::Busy,
        Refusal::NoSpace,
        Refusal::StreamEnded,
        Refusal::StoreFailed,
        Refusal::Invalid(Status::Unrecognised(u16::MAX)),
    ];
    let invalid = Status::ALL.iter().map(|status| Refusal::Invalid(*status));
    all.extend(why.into_iter().chain(invalid).map(|why| Message::Refused { walk, at, why }));
    all
}

/// Fails to compile when a message is added, so that it is added above as well.
fn is_listed(message: &Message) -> usize {
    match message {
        Message::Hello { .. } => 0,
        Message::Forward { .. } => 1,
        Message::Stored { .. } => 2,
        Message::Abort { .. } => 3,
        Message::Walked { .. } => 4,
        Message::Ask => 5,
        Message::Ready { .. } => 6,
        Message::Ack { .. } => 7,
        Message::Refused { .. } => 8,
        Message::Aborted { .. } => 9,
        Message::Retry => 10,
        Message::Ship { .. } => 11,
        Message::Erase { .. } => 12,
        Message::Shipped { .. } => 13,
        Message::SyncDone { .. } => 14,
        Message::Query { .. } => 15,
        Message::Answer { .. } => 16,
        Message::Room { .. } => 17,
    }
}

fn descriptions() -> Vec<Description> {
    let epoch = TruncateEpoch::new(4_000_000_000);
    let size = ChunkSize::new(1 << 20).unwrap();
    let (offset, len) = (4097, 8191);
    let changes = [
        Change::Write { offset, len },
        // A client's mistake: the store says so, and the link stays.
        Change::Write { offset: u32::MAX, len: u32::MAX },
        Change::Truncate { len },
        Change::Extend { len },
        Change::Zero { offset, len },
        Change::Replace { len: 0 },
        Change::Remove,
    ];
    let plain = changes.map(|change| Description { change, size, epoch, extents: Vec::new() });
    let change = Change::Replace { len: 1 << 20 };
    let extents = vec![(0, 65536), (65536, 1), (131_072, (1 << 20) - 131_072)];
    let many = Description { change, size, epoch, extents };
    let mut all: Vec<_> = plain.into_iter().chain([many]).collect();
    for size in [ChunkSize::MIN, ChunkSize::MAX] {
        let extents = vec![(0, size.bytes())];
        let change = Change::Replace { len: size.bytes() };
        all.push(Description { change, size, epoch, extents });
    }
    all
}

fn items() -> Vec<Item> {
    let peer = |target, start| Peer {
        target: TargetId::new(target),
        incarnation: Incarnation::new(start),
    };
    let (from, to) = (peer(1 << 41, 3), peer(2, 1 << 42));
    let (chain, walk) = (ChainVersion::new(u32::MAX - 1), Walk(17));
    let plain = messages().into_iter();
    let plain = plain.map(|message| Item::Message { from, to, chain, message, payload: None });
    let mut all: Vec<Item> = plain.collect();
    let carrying = messages().into_iter();
    let carrying = carrying.filter(|m| matches!(m, Message::Forward { .. } | Message::Ship { .. }));
    for message in carrying {
        for description in descriptions() {
            let payload = Some((StreamId(1 << 63), description));
            all.push(Item::Message { from, to, chain, message, payload });
        }
    }
    for end in [None, Some(false), Some(true)] {
        all.push(Item::Piece { stream: StreamId(1), end });
        let said = [Room::Want, Room::Grant, Room::Back, Room::Begin(StreamId(1 << 40))];
        let each = said.map(|said| Item::Room { lane: 4, said, bytes: u32::MAX });
        all.extend(each);
    }
    let listed = |count| (0..count).map(|n| (chunk(n), ChunkVersion::new(4), Digest(!n))).collect();
    let outcome = |n: u64| {
        let tag = Tag { session: SessionId::new(n), channel: ChannelId::new(9), seq: n + 1 };
        let version = ChunkVersion::new(3);
        (tag, OutcomeSaid { seq: n + 2, chunk: chunk(n), version, len: 1 << 26 })
    };
    for after in [Cursor::Start, Cursor::Before(chunk(1)), Cursor::At(chunk(2)), Cursor::End] {
        all.push(Item::ListAsk { from, to, chain, walk, after });
        for (upto, count) in [(None, 0), (None, 3), (Some(chunk(3)), 0), (Some(chunk(3)), 1024)] {
            all.push(Item::Listed { from, to, chain, walk, after, upto, entries: listed(count) });
        }
    }
    for (last, count) in [(false, 1024), (true, 0)] {
        let entries = (0..count).map(outcome).collect();
        all.push(Item::Outcomes { from, to, chain, walk, last, entries });
    }
    all.push(Item::OutcomesStored { from, to, chain, walk });
    all
}

#[test]
fn every_item_survives_the_way_there_and_back() {
    let listed: std::collections::BTreeSet<_> = messages().iter().map(is_listed).collect();
    assert_eq!(listed.len(), 18, "all variants are in the table");
    for item in items() {
        let (message, list) = encode(&item);
        assert_eq!(message.bytes as usize, list.len());
        assert_eq!(decode(&message, &list), Ok(item));
    }
}

#[test]
fn nonsense_is_an_error() {
    let (piece, _) = encode(&Item::Piece { stream: StreamId(1), end: None });
    let find = |change: u8| {
        let all = items().into_iter().map(|item| encode(&item));
        all.into_iter().find(|(message, _)| message.change == change).unwrap()
    };
    let (write, _) = find(UPDATE_WRITE);
    let ship = write.code;
    let (replace, _) = find(UPDATE_REPLACE);
    let by_code = |code: u16| {
        let all = items().into_iter().map(|item| encode(&item));
        all.into_iter().find(|(message, _)| message.code == code).unwrap().0
    };
    let refused = by_code(REFUSED);
    let extent = |offset: u32, len: u32| [offset.to_le_bytes(), len.to_le_bytes()].concat();
    let size = 1 << 20;
    let wrong = |offset, len, after| CodecError::Extent { offset, len, after, size };
    #[rustfmt::skip]
    let rows = [
        (RelayMessage { code: 0, ..piece }, vec![], CodecError::Code { found: 0 }),
        (RelayMessage { code: 999, ..write }, vec![], CodecError::Code { found: 999 }),
        (RelayMessage { stream: 0, ..piece }, vec![], CodecError::NoStream),
        (RelayMessage { why: 0, ..refused }, vec![], CodecError::Why { found: 0 }),
        (RelayMessage { why: 9, len: 70_000, ..refused }, vec![], CodecError::Why { found: 9 }),
        (RelayMessage { why: 4, ..by_code(LIST_ASK) }, vec![], CodecError::Cursor { found: 4 }),
        (RelayMessage { change: 99, ..write }, vec![], CodecError::Change { found: 99 }),
        (RelayMessage { size_shift: 11, ..write }, vec![], CodecError::ChunkSize { found: 11 }),
        (RelayMessage { size_shift: 27, ..write }, vec![], CodecError::ChunkSize { found: 27 }),
        (RelayMessage { size_shift: 99, ..write }, vec![], CodecError::ChunkSize { found: 99 }),
        (write, vec![0; 8], CodecError::Bytes { code: ship, found: 8 }),
        (RelayMessage { stream: 0, ..write }, vec![1], CodecError::Bytes { code: ship, found: 1 }),
        (by_code(ACK), vec![1], CodecError::Bytes { code: ACK, found: 1 }),
        (replace, vec![0; 9], CodecError::List { found: 9, entry: 8 }),
        (replace, extent(0, 0), wrong(0, 0, 0)),
        (replace, extent(u32::MAX, 2), wrong(u32::MAX, 2, 0)),
        (replace, extent(1, size), wrong(1, size, 0)),
        (replace, [extent(0, 9), extent(8, 1)].concat(), wrong(8, 1, 9)),
        (replace, vec![0; 8 * (EXTENTS_MAX + 1)],
            CodecError::Extents { found: EXTENTS_MAX + 1, limit: EXTENTS_MAX }),
        (RelayMessage { flags: BOUNDED, ..by_code(LISTED) }, vec![0; 11],
            CodecError::List { found: 11, entry: 12 }),
        (RelayMessage { flags: 0, ..by_code(LISTED) }, vec![0; 25],
            CodecError::List { found: 25, entry: 24 }),
        (by_code(OUTCOMES), vec![0; 47], CodecError::List { found: 47, entry: 48 }),
    ];
    for (message, payload, error) in rows {
        assert_eq!(decode(&message, &payload), Err(error), "{message:?}");
    }
}

#[test]
fn any_numbers_are_an_item_or_an_error() {
    let mut rng = engine_types::Rng::new(7);
    let mut understood = 0;
    for _ in 0..20_000 {
        let mut number = |below: u64| rng.next_u64() % below;
        let message = RelayMessage {
            code: number(40) as u16,
            why: number(12) as u16,
            flags: number(256) as u8,
            change: number(9) as u8,
            size_shift: number(30) as u8,
            stream: number(3),
            version: number(5) as u32,
            offset: number(1 << 32) as u32,
            len: number(1 << 32) as u32,
            ..RelayMessage::default()
        };
        let len = number(100) * number(2);
        let payload: Vec<u8> = (0..len).map(|_| number(256) as u8).collect();
        understood += u32::from(decode(&message, &payload).is_ok());
    }
    assert!(2000 < understood, "{understood}");
}
