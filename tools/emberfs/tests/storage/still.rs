//! Chunks that are written once, and whose sectors can be found in a store's file.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use client_storage::{At, Storage};
use engine_runtime::monoio::MonoioEnv;

use crate::client::{CHUNK_BYTES, Member, chunk, lent};

const FILE: u64 = 99;
/// Of each chain.
pub(crate) const CHUNKS_PER_CHAIN: u32 = 8;
const SECTOR: usize = 4096;
/// Begins every sector of a chunk; a number follows.
const MARK: &[u8; 16] = b"a still sector #";

/// Which sector it is.
fn number(at: At, sector: usize) -> u64 {
    let chain = u64::from(at.chain.get());
    (chain << 32) + (u64::from(at.chunk.index) << 16) + u64::try_from(sector).unwrap()
}

/// What the chunk holds.
pub(crate) fn content(at: At) -> Vec<u8> {
    let mut bytes = vec![0; CHUNK_BYTES as usize];
    for (sector, bytes) in bytes.chunks_mut(SECTOR).enumerate() {
        let number = number(at, sector);
        bytes[..16].copy_from_slice(MARK);
        bytes[16..24].copy_from_slice(&number.to_le_bytes());
        for (place, byte) in bytes[24..].iter_mut().enumerate() {
            *byte = number.wrapping_mul(31).wrapping_add(place as u64 * 7).to_le_bytes()[0];
        }
    }
    bytes
}

/// All of them.
pub(crate) fn chunks(member: &Member) -> Vec<At> {
    let each = |chain| (0..CHUNKS_PER_CHAIN).map(move |index| chunk(FILE, chain, index));
    member.chains().into_iter().flat_map(each).collect()
}

/// Writes all of them.
pub(crate) async fn fill(member: &Member, storage: &Storage<MonoioEnv>) {
    for at in chunks(member) {
        storage.write(at, 0, lent(&member.env, &content(at)).await).await.unwrap();
    }
}

/// Reads a chunk, which is as it was written.
pub(crate) async fn verify(storage: &Storage<MonoioEnv>, at: At) {
    let found = storage.read(at.chain, at.chunk, 0, CHUNK_BYTES).await.unwrap();
    assert_eq!(found.version.get(), 1, "{at:?}");
    assert!(found.bytes() == content(at), "{at:?}");
}

/// Flips bits in one sector of each chunk that lies in the store, as far as `wanted` says by its
/// index. Gives how many there were.
pub(crate) fn flip(store: &Path, wanted: impl Fn(u32) -> bool) -> usize {
    let mut file = OpenOptions::new().read(true).write(true).open(store).unwrap();
    let mut flipped = Vec::new();
    each_sector(&mut file, |file, place, bytes| {
        if !bytes.starts_with(MARK) {
            return;
        }
        let number = u64::from_le_bytes(bytes[16..24].try_into().unwrap());
        let index = u32::try_from(number >> 16 & 0xffff).unwrap();
        // The middle of the chunk; a journal has none of such large writes.
        if number & 0xffff == 7 && wanted(index) {
            let at = place + 100;
            let byte = bytes[100] ^ 0x55;
            file.write_all_at(&[byte], at).unwrap();
            flipped.push(number);
        }
    });
    file.sync_all().unwrap();
    let count = flipped.len();
    flipped.sort_unstable();
    flipped.dedup();
    assert_eq!(flipped.len(), count, "each sector is there once");
    count
}

/// Shows every sector that is not a hole.
fn each_sector(file: &mut File, mut show: impl FnMut(&File, u64, &[u8])) {
    let mut bytes = vec![0; 1 << 20];
    let mut place = 0;
    loop {
        let Ok(data) = rustix::fs::seek(&*file, rustix::fs::SeekFrom::Data(place)) else { return };
        let end = rustix::fs::seek(&*file, rustix::fs::SeekFrom::Hole(data)).unwrap();
        file.seek(SeekFrom::Start(data)).unwrap();
        place = data;
        while place < end {
            let count = usize::try_from((end - place).min(bytes.len() as u64)).unwrap();
            file.read_exact(&mut bytes[..count]).unwrap();
            for (index, sector) in bytes[..count].chunks(SECTOR).enumerate() {
                show(file, place + (index * SECTOR) as u64, sector);
            }
            place += count as u64;
        }
    }
}
