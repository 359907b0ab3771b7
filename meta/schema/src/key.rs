//! Keys of the KV: four letters and ids.
//!
//! ```text
//! SUPR                          Superblock
//! INOD le64(ino)                Inode
//! INOD le64(ino) 'A'            SideCounts      directories only, atomic Add (M6)
//! INOD le64(ino) 'T'            SideTimes       directories only, atomic Max (M6)
//! PARE le64(dir)                le64(parent)    directories only: what the loop check reads (M7)
//! DENT le64(dir) be64(slot)     Dirent
//! SESS le64(ino) be64(session)  WriteSession
//! SESI be64(session) le64(ino)  nothing: the same from the session's side
//! SESX                          le64(session)   all sessions below are fenced (L6)
//! SESX be64(session)            nothing: this session is fenced
//! REQU be64(session) le32(ch)   RequestRecord   (M11)
//! XATT le64(ino) name           the value of an extended attribute as it is
//! LOCK le64(ino)                LockTable
//! LOCS be64(session) le64(ino)  nothing: the session holds or waits for locks of the inode
//! LOCW be64(session) be64(own)  le64(ino)       what a lock owner waits for
//! DELQ class shard be64(due ms) le64(ino)   Deletion; class and shard one byte each
//! DELC shard                    le64(session) le64(beat)    who collects a shard of the queue
//! TRUN le64(ino)                Shrink
//! LENQ le64(ino)                le64 stamp      the length has to be asked of the chunks (M3, M4)
//! METS le32(number)             le128 uuid, le64 starts of a metadata service
//! IDAL shard                    le64            next batch of inode ids; shard is one byte
//! ```
//! Inodes are little-endian, to spread the load (M13); what is scanned in order is big-endian.
//! One range read from `inode` to `inode_end` gives an inode and both of its side keys.

use alloc::vec::Vec;

use engine_types::{ChannelId, InodeId, SessionId};

use crate::delete::DeletionClass;
use crate::limits::XATTR_NAME_BYTES_MAX;
use crate::slot::Slot;

/// Any key, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `SUPR`
    Superblock,
    /// `INOD`
    Inode(InodeId),
    /// `INOD` .. 'A'
    SideCounts(InodeId),
    /// `INOD` .. 'T'
    SideTimes(InodeId),
    /// `PARE`
    Parent(InodeId),
    /// `DENT`
    Dirent {
        /// The directory.
        dir: InodeId,
        /// Where in it.
        slot: Slot,
    },
    /// `SESS`
    WriteSession {
        /// The file.
        ino: InodeId,
        /// The session that writes it.
        session: SessionId,
    },
    /// `SESI`
    SessionInode {
        /// The session.
        session: SessionId,
        /// A file that it writes.
        ino: InodeId,
    },
    /// `SESX` alone
    FencedBelow,
    /// `SESX`
    Fenced(SessionId),
    /// `REQU`
    Request {
        /// The session.
        session: SessionId,
        /// One of its channels.
        channel: ChannelId,
    },
    /// `XATT`
    Xattr {
        /// The inode.
        ino: InodeId,
        /// The attribute with its namespace: 1 to 255 bytes.
        name: Vec<u8>,
    },
    /// `LOCK`
    Locks(InodeId),
    /// `LOCS`
    SessionLocks {
        /// The session.
        session: SessionId,
        /// An inode of which it holds or wants locks.
        ino: InodeId,
    },
    /// `LOCW`
    LockWait {
        /// The session.
        session: SessionId,
        /// The owner in it.
        owner: u64,
    },
    /// `DELQ`
    Deletion {
        /// Which queue.
        class: DeletionClass,
        /// Which part of it.
        shard: u8,
        /// When it is due: milliseconds since 1970.
        due_ms: u64,
        /// What is to go.
        ino: InodeId,
    },
    /// `DELC`
    Claim(u8),
    /// `TRUN`
    Shrink(InodeId),
    /// `LENQ`
    LengthQuery(InodeId),
    /// `METS`
    ServiceStarts(u32),
    /// `IDAL`
    InodeIds(u8),
}

/// Bytes in the KV are no key of the namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The first four bytes are those of nothing.
    #[error("unknown kind of key: {found:?}")]
    Kind {
        /// The first four bytes, or fewer.
        found: Vec<u8>,
    },
    /// The rest has not the form that belongs to them.
    #[error("key {kind}: what follows has not its form: {found:?}")]
    Form {
        /// The first four bytes.
        kind: &'static str,
        /// What follows.
        found: Vec<u8>,
    },
}

/// Bytes of the letters in front.
const LETTERS: usize = 4;
/// Bytes of letters and one id.
const ONE: usize = LETTERS + 8;
/// Bytes of letters and two ids.
const TWO: usize = ONE + 8;

const fn one(letters: [u8; LETTERS], id: [u8; 8]) -> [u8; ONE] {
    let mut key = [0; ONE];
    key.first_chunk_mut::<LETTERS>().expect("a key has letters").copy_from_slice(&letters);
    key.last_chunk_mut::<8>().expect("and an id").copy_from_slice(&id);
    key
}

const fn two(letters: [u8; LETTERS], first: [u8; 8], second: [u8; 8]) -> [u8; TWO] {
    let mut key = [0; TWO];
    let front = one(letters, first);
    key.first_chunk_mut::<ONE>().expect("a key has a first id").copy_from_slice(&front);
    key.last_chunk_mut::<8>().expect("and a second").copy_from_slice(&second);
    key
}

/// In the order of numbers.
#[expect(clippy::big_endian_bytes, reason = "keys are ordered as bytes")]
const fn ordered(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

const fn spread(ino: InodeId) -> [u8; 8] {
    ino.get().to_le_bytes()
}

/// Of the superblock.
pub const fn superblock() -> [u8; LETTERS] {
    *b"SUPR"
}

/// Of an inode.
pub const fn inode(ino: InodeId) -> [u8; ONE] {
    one(*b"INOD", spread(ino))
}

/// Prefix of all inodes, with their side keys.
pub const fn inodes() -> [u8; LETTERS] {
    *b"INOD"
}

/// Where a range that begins at `inode` ends, with the side keys inside.
pub const fn inode_end(ino: InodeId) -> [u8; ONE + 1] {
    inode_side(ino, 0xff)
}

const fn inode_side(ino: InodeId, side: u8) -> [u8; ONE + 1] {
    let mut key = [side; ONE + 1];
    key.first_chunk_mut::<ONE>().expect("one byte less").copy_from_slice(&inode(ino));
    key
}

/// Of a directory's counts.
pub const fn side_counts(ino: InodeId) -> [u8; ONE + 1] {
    inode_side(ino, b'A')
}

/// Of a directory's times.
pub const fn side_times(ino: InodeId) -> [u8; ONE + 1] {
    inode_side(ino, b'T')
}

/// Of the parent of a directory.
pub const fn parent(dir: InodeId) -> [u8; ONE] {
    one(*b"PARE", spread(dir))
}

/// Of an entry.
pub const fn dirent(dir: InodeId, slot: Slot) -> [u8; TWO] {
    two(*b"DENT", spread(dir), ordered(slot.get()))
}

/// Where the range of the eight slots of a hash ends; it begins at its probe 0.
pub const fn dirent_end(dir: InodeId, slot: Slot) -> [u8; TWO] {
    two(*b"DENT", spread(dir), ordered(slot.end()))
}

/// Prefix of all entries of a directory.
pub const fn dirents(dir: InodeId) -> [u8; ONE] {
    one(*b"DENT", spread(dir))
}

/// Of a write session.
pub const fn write_session(ino: InodeId, session: SessionId) -> [u8; TWO] {
    two(*b"SESS", spread(ino), ordered(session.get()))
}

/// Prefix of all write sessions of a file.
pub const fn write_sessions(ino: InodeId) -> [u8; ONE] {
    one(*b"SESS", spread(ino))
}

/// Of a write session, from the session's side.
pub const fn session_inode(session: SessionId, ino: InodeId) -> [u8; TWO] {
    two(*b"SESI", ordered(session.get()), spread(ino))
}

/// Prefix of all files that a session writes.
pub const fn session_inodes(session: SessionId) -> [u8; ONE] {
    one(*b"SESI", ordered(session.get()))
}

/// Of the session below which all are fenced.
pub const fn fenced_below() -> [u8; LETTERS] {
    *b"SESX"
}

/// Of a fenced session.
pub const fn fenced(session: SessionId) -> [u8; ONE] {
    one(*b"SESX", ordered(session.get()))
}

/// Of a request record.
pub const fn request(session: SessionId, channel: ChannelId) -> [u8; ONE + 4] {
    let mut key = [0; ONE + 4];
    let front = requests(session);
    key.first_chunk_mut::<ONE>().expect("a session").copy_from_slice(&front);
    let channel = channel.get().to_le_bytes();
    key.last_chunk_mut::<4>().expect("and a channel").copy_from_slice(&channel);
    key
}

/// Prefix of all request records of a session.
pub const fn requests(session: SessionId) -> [u8; ONE] {
    one(*b"REQU", ordered(session.get()))
}

/// Of an extended attribute.
pub fn xattr(ino: InodeId, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(ONE + name.len());
    key.extend_from_slice(&xattrs(ino));
    key.extend_from_slice(name);
    key
}

/// Prefix of all extended attributes of an inode.
pub const fn xattrs(ino: InodeId) -> [u8; ONE] {
    one(*b"XATT", spread(ino))
}

/// Of a lock table.
pub const fn locks(ino: InodeId) -> [u8; ONE] {
    one(*b"LOCK", spread(ino))
}

/// Of an inode of which a session holds or wants locks.
pub const fn session_lock(session: SessionId, ino: InodeId) -> [u8; TWO] {
    two(*b"LOCS", ordered(session.get()), spread(ino))
}

/// Prefix of all inodes of which a session holds or wants locks.
pub const fn session_locks(session: SessionId) -> [u8; ONE] {
    one(*b"LOCS", ordered(session.get()))
}

/// Of what a lock owner waits for.
pub const fn lock_wait(session: SessionId, owner: u64) -> [u8; TWO] {
    two(*b"LOCW", ordered(session.get()), ordered(owner))
}

/// Prefix of all waits of a session.
pub const fn lock_waits(session: SessionId) -> [u8; ONE] {
    one(*b"LOCW", ordered(session.get()))
}

/// Of something that is to be removed.
pub fn deletion(class: DeletionClass, shard: u8, due_ms: u64, ino: InodeId) -> [u8; TWO + 2] {
    let mut key = [0; TWO + 2];
    key[..LETTERS + 2].copy_from_slice(&deletions(class, shard));
    key[LETTERS + 2..ONE + 2].copy_from_slice(&ordered(due_ms));
    key[ONE + 2..].copy_from_slice(&spread(ino));
    key
}

/// Prefix of one shard of a deletion queue, in the order in which they are due.
pub const fn deletions(class: DeletionClass, shard: u8) -> [u8; LETTERS + 2] {
    let [a, b, c, d] = *b"DELQ";
    [a, b, c, d, class.code(), shard]
}

/// Of an unfinished shrink.
pub const fn shrink(ino: InodeId) -> [u8; ONE] {
    one(*b"TRUN", spread(ino))
}

/// Prefix of all unfinished shrinks.
pub const fn shrinks() -> [u8; LETTERS] {
    *b"TRUN"
}

/// Of the mark on a file whose length has to be asked of its chunks.
pub const fn length_query(ino: InodeId) -> [u8; ONE] {
    one(*b"LENQ", spread(ino))
}

/// Prefix of all of those marks.
pub const fn length_queries() -> [u8; LETTERS] {
    *b"LENQ"
}

/// Of who collects a shard of the deletion queue.
pub const fn claim(shard: u8) -> [u8; LETTERS + 1] {
    let [a, b, c, d] = *b"DELC";
    [a, b, c, d, shard]
}

/// Of the starts of the metadata service of this number.
pub const fn service_starts(number: u32) -> [u8; LETTERS + 4] {
    let [a, b, c, d] = *b"METS";
    let [w, x, y, z] = number.to_le_bytes();
    [a, b, c, d, w, x, y, z]
}

/// Of a shard of the allocator of inode ids.
pub const fn inode_ids(shard: u8) -> [u8; LETTERS + 1] {
    let [a, b, c, d] = *b"IDAL";
    [a, b, c, d, shard]
}

impl Key {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Superblock => superblock().into(),
            Self::Inode(ino) => inode(*ino).into(),
            Self::SideCounts(ino) => side_counts(*ino).into(),
            Self::SideTimes(ino) => side_times(*ino).into(),
            Self::Parent(dir) => parent(*dir).into(),
            Self::Dirent { dir, slot } => dirent(*dir, *slot).into(),
            Self::WriteSession { ino, session } => write_session(*ino, *session).into(),
            Self::SessionInode { session, ino } => session_inode(*session, *ino).into(),
            Self::FencedBelow => fenced_below().into(),
            Self::Fenced(session) => fenced(*session).into(),
            Self::Request { session, channel } => request(*session, *channel).into(),
            Self::Xattr { ino, name } => xattr(*ino, name),
            Self::Locks(ino) => locks(*ino).into(),
            Self::SessionLocks { session, ino } => session_lock(*session, *ino).into(),
            Self::LockWait { session, owner } => lock_wait(*session, *owner).into(),
            Self::Deletion { class, shard, due_ms, ino } => {
                deletion(*class, *shard, *due_ms, *ino).into()
            }
            Self::Claim(shard) => claim(*shard).into(),
            Self::Shrink(ino) => shrink(*ino).into(),
            Self::LengthQuery(ino) => length_query(*ino).into(),
            Self::ServiceStarts(number) => service_starts(*number).into(),
            Self::InodeIds(shard) => inode_ids(*shard).into(),
        }
    }

    /// From bytes (E401).
    ///
    /// # Errors
    /// If they are no key of the namespace.
    pub fn parse(key: &[u8]) -> Result<Self, KeyError> {
        let Some((letters, rest)) = key.split_first_chunk::<LETTERS>() else {
            return Err(KeyError::Kind { found: key.to_vec() });
        };
        let (kind, parsed) = match letters {
            b"SUPR" => ("SUPR", rest.is_empty().then_some(Self::Superblock)),
            b"INOD" => ("INOD", parse_inode(rest)),
            b"PARE" => ("PARE", le(rest).map(Self::Parent)),
            b"DENT" => ("DENT", parse_dirent(rest)),
            b"SESS" => (
                "SESS",
                pair(rest).map(|(ino, session)| {
                    let (ino, session) = (from_le(ino), from_be(session));
                    Self::WriteSession { ino, session }
                }),
            ),
            b"SESI" => (
                "SESI",
                pair(rest).map(|(session, ino)| {
                    let (session, ino) = (from_be(session), from_le(ino));
                    Self::SessionInode { session, ino }
                }),
            ),
            b"SESX" if rest.is_empty() => ("SESX", Some(Self::FencedBelow)),
            b"SESX" => ("SESX", eight(rest).map(|session| Self::Fenced(from_be(session)))),
            b"REQU" => ("REQU", parse_request(rest)),
            b"XATT" => ("XATT", parse_xattr(rest)),
            b"LOCK" => ("LOCK", le(rest).map(Self::Locks)),
            b"LOCS" => (
                "LOCS",
                pair(rest).map(|(session, ino)| {
                    let (session, ino) = (from_be(session), from_le(ino));
                    Self::SessionLocks { session, ino }
                }),
            ),
            b"LOCW" => (
                "LOCW",
                pair(rest).map(|(session, owner)| Self::LockWait {
                    session: from_be(session),
                    owner: number(owner),
                }),
            ),
            b"DELQ" => ("DELQ", parse_deletion(rest)),
            b"DELC" => ("DELC", shard(rest).map(Self::Claim)),
            b"TRUN" => ("TRUN", le(rest).map(Self::Shrink)),
            b"LENQ" => ("LENQ", le(rest).map(Self::LengthQuery)),
            b"METS" => ("METS", four(rest).map(Self::ServiceStarts)),
            b"IDAL" => ("IDAL", shard(rest).map(Self::InodeIds)),
            _ => return Err(KeyError::Kind { found: letters.to_vec() }),
        };
        parsed.ok_or_else(|| KeyError::Form { kind, found: rest.to_vec() })
    }
}

fn eight(bytes: &[u8]) -> Option<[u8; 8]> {
    bytes.try_into().ok()
}

fn pair(bytes: &[u8]) -> Option<([u8; 8], [u8; 8])> {
    let (first, second) = bytes.split_first_chunk::<8>()?;
    Some((*first, eight(second)?))
}

fn le(bytes: &[u8]) -> Option<InodeId> {
    eight(bytes).map(from_le)
}

const fn from_le(bytes: [u8; 8]) -> InodeId {
    InodeId::new(u64::from_le_bytes(bytes))
}

#[expect(clippy::big_endian_bytes, reason = "keys are ordered as bytes")]
const fn number(bytes: [u8; 8]) -> u64 {
    u64::from_be_bytes(bytes)
}

const fn from_be(bytes: [u8; 8]) -> SessionId {
    SessionId::new(number(bytes))
}

fn parse_inode(rest: &[u8]) -> Option<Key> {
    let (ino, side) = rest.split_first_chunk::<8>()?;
    let ino = from_le(*ino);
    match side {
        [] => Some(Key::Inode(ino)),
        b"A" => Some(Key::SideCounts(ino)),
        b"T" => Some(Key::SideTimes(ino)),
        _ => None,
    }
}

fn parse_dirent(rest: &[u8]) -> Option<Key> {
    let (dir, slot) = pair(rest)?;
    Some(Key::Dirent { dir: from_le(dir), slot: Slot::new(number(slot))? })
}

fn parse_request(rest: &[u8]) -> Option<Key> {
    let (session, channel) = rest.split_first_chunk::<8>()?;
    let channel = ChannelId::new(u32::from_le_bytes(channel.try_into().ok()?));
    Some(Key::Request { session: from_be(*session), channel })
}

fn parse_xattr(rest: &[u8]) -> Option<Key> {
    let (ino, name) = rest.split_first_chunk::<8>()?;
    let long = XATTR_NAME_BYTES_MAX < name.len();
    (!name.is_empty() && !long).then(|| Key::Xattr { ino: from_le(*ino), name: name.to_vec() })
}

fn parse_deletion(rest: &[u8]) -> Option<Key> {
    let ([class, shard], rest) = rest.split_first_chunk::<2>()?;
    let (due, ino) = pair(rest)?;
    let class = DeletionClass::from_code(*class)?;
    Some(Key::Deletion { class, shard: *shard, due_ms: number(due), ino: from_le(ino) })
}

fn four(rest: &[u8]) -> Option<u32> {
    rest.try_into().ok().map(u32::from_le_bytes)
}

fn shard(rest: &[u8]) -> Option<u8> {
    match rest {
        [shard] => Some(*shard),
        _ => None,
    }
}

/// An inode id as a value, under `PARE` and `LOCW`.
pub const fn encode_inode(ino: InodeId) -> [u8; 8] {
    spread(ino)
}

/// The inverse of `encode_inode`; nothing for anything but 8 bytes.
pub fn decode_inode(value: &[u8]) -> Option<InodeId> {
    le(value)
}

/// A number as a value, under `IDAL`, `SESX` and `LENQ`.
pub const fn encode_number(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

/// The inverse of `encode_number`; nothing for anything but 8 bytes.
pub fn decode_number(value: &[u8]) -> Option<u64> {
    eight(value).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests;
