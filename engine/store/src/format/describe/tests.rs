use alloc::rc::Rc;
use alloc::vec;
use std::format;
use std::string::ToString;

use engine_types::{
    ChainVersion, ChannelId, ChunkSize, ChunkVersion, Crc32c, Incarnation, SessionId, StoreId,
};

use super::*;
use crate::address::{BlockAddress, BlockClass, Lsn, Slot, TruncateEpoch};
use crate::format::group::GroupIdentity;
use crate::record::Head;
use crate::request::Tag;

/// 8 MiB with a hole in its second block; the digest is that of `RecordRef::digest`.
fn record() -> Record {
    let head = Head {
        len: 6 << 20,
        data_end: (4 << 20) + 65_636,
        version: ChunkVersion::new(4),
        chain_version: ChainVersion::new(9),
        epoch: TruncateEpoch::new(2),
        size: ChunkSize::new(8 << 20).unwrap(),
        class: BlockClass::MAX,
    };
    let mut words = vec![1; 67];
    words[0] = 0x2000;
    words[65] = 0;
    Record { head, block: BlockAddress::new(0x1000), words }
}

#[test]
fn entries_are_one_line_each() {
    let key = ChunkKey::new(Slot::new(1), 7, 3);
    let (version, chain_version) = (ChunkVersion::new(4), ChainVersion::new(9));
    let tag = Tag { session: SessionId::new(5), channel: ChannelId::new(6), seq: 8 };
    let direct = vec![SectorRange { first: 0, count: 1024 }, SectorRange { first: 1040, count: 1 }];
    let digest = record().as_ref().digest(key.chunk);
    let text = format!(
        "v4 (chain v9) epoch-2 len 6291456 data 4259940 of 8 MiB digest {digest:016x} 1 holes \
         4 MiB 0=4096 1=8192 direct 0+1024 1040+1"
    );
    let mut put = Put {
        key,
        version,
        chain_version,
        record: Some(record()),
        direct: direct.clone(),
        images: vec![5, 9],
        tag: Some(tag),
    };
    let full = Entry::Put(Rc::new(put.clone())).to_string();
    let expected = format!("PUT slot-1/chunk-7.3 {text} images 5 9 for session-5 channel-6 #8");
    assert_eq!(full, expected);
    put = Put { record: None, direct: vec![], images: vec![], tag: None, ..put };
    let removed = Entry::Put(Rc::new(put)).to_string();
    assert_eq!(removed, "PUT slot-1/chunk-7.3 v4 (chain v9) removed");
    let moved = Entry::Move { key, record: Rc::new(record()), direct }.to_string();
    assert_eq!(moved, format!("MOVE slot-1/chunk-7.3 {text}"));
    let below = Entry::Fence(Fence::Below(SessionId::new(5))).to_string();
    assert_eq!(below, "FENCE below session-5");
    assert_eq!(Entry::Commit { key, version }.to_string(), "COMMIT slot-1/chunk-7.3 v4");
}

#[test]
fn a_group_is_one_line() {
    let identity = GroupIdentity {
        store: StoreId::new(1),
        mount_gen: Incarnation::new(3),
        lsn: Lsn::new(7),
        prev_hash: 0,
        applied_lsn: Lsn::new(5),
    };
    let header = GroupHeader {
        identity,
        entry_bytes: 48,
        entry_count: 2,
        image_count: 1,
        body_crc: Crc32c::new(0),
    };
    let text = "group lsn-7 of start-3: 2 entries in 48 bytes, 1 images, applied lsn-5";
    assert_eq!(header.to_string(), text);
}
