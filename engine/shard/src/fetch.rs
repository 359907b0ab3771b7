//! Bringing the bytes of a record from the device: home sectors, overlaid, verified. Reads, merges,
//! moves and the scrubber all come through here (S2).

use core::ops::Range;
use std::rc::Rc;

use engine_runtime::{Buf, Bytes, Env, FileError, PoolExhausted};
use engine_store::overlay::View;
use engine_store::pins::Pin;
use engine_store::planted;
use engine_store::read::{Home, Piece, Source};
use engine_store::record::checksum_word;
use engine_store::{ChunkKey, Head, RecordRef};
use engine_types::{Crc32c, SECTOR_BYTES, crc32c};

use crate::device::Pending;
use crate::metrics::{Io, add};
use crate::store::{Image, Inner};

const SECTOR: usize = SECTOR_BYTES as usize;

/// Why bytes could not be had.
#[derive(Debug)]
pub(crate) enum FetchError {
    Io(FileError),
    Memory(PoolExhausted),
    Corrupt { block: u32 },
}

/// A pin of several fetches; given back with the last of them.
pub(crate) struct Pinned<E: Env> {
    inner: Rc<Inner<E>>,
    pin: Option<Pin>,
}

impl<E: Env> Pinned<E> {
    /// Pins the state of this turn (S4).
    pub(crate) fn take(inner: &Rc<Inner<E>>) -> Rc<Self> {
        let pin = Some(inner.state.borrow().take_pin());
        Rc::new(Self { inner: inner.clone(), pin })
    }
}

impl<E: Env> Drop for Pinned<E> {
    fn drop(&mut self) {
        if let Some(pin) = self.pin.take() {
            self.inner.state.borrow().give_pin(pin);
        }
    }
}

/// What keeps the blocks of a fetch.
enum Hold<E: Env> {
    Own(Pin),
    Shared(Rc<Pinned<E>>),
}

impl<E: Env> Hold<E> {
    /// The last read has completed.
    fn give(self, inner: &Inner<E>) {
        match self {
            Self::Own(pin) => inner.state.borrow().give_pin(pin),
            Self::Shared(pinned) => drop(pinned),
        }
    }
}

/// A piece of a version: under way inside a [`Fetch`], arrived outside.
pub(crate) struct Fetched<E: Env> {
    pub(crate) piece: Piece,
    /// The sectors of a home piece; nothing for a hole.
    pub(crate) bytes: Option<Bytes<E::Memory>>,
    /// Plain checksums of the checksum blocks that were verified, for who ships them.
    pub(crate) checksums: Vec<Crc32c>,
    read: Option<Pending<E, Bytes<E::Memory>>>,
    /// What it is to be judged by: the record may be another one when it completes.
    words: Vec<u32>,
    images: Vec<(u16, Image<E>)>,
}

/// Reads under way. They keep their pin until the last one has completed, also when the waiting is
/// dropped (S4, E151).
pub(crate) struct Fetch<E: Env> {
    inner: Rc<Inner<E>>,
    key: ChunkKey,
    head: Head,
    parts: Vec<Fetched<E>>,
    hold: Option<Hold<E>>,
    /// The checksums are wanted as well.
    is_shipped: bool,
}

impl<E: Env> Fetched<E> {
    fn new(piece: Piece) -> Self {
        let (checksums, words, images) = (Vec::new(), Vec::new(), Vec::new());
        Self { piece, bytes: None, checksums, read: None, words, images }
    }
}

/// Places of the checksums that a piece is judged by.
const fn verified(home: &Home) -> Range<usize> {
    home.verify.start as usize..home.verify.end as usize
}

fn submit<E: Env>(inner: &Inner<E>, kind: Io, home: &Home) -> Pending<E, Bytes<E::Memory>> {
    let position = inner.block_start(home.block) + u64::from(home.at());
    inner.device.start_read(kind, position, home.bytes() as usize)
}

impl<E: Env> Fetch<E> {
    /// Submits the reads of `pieces` of a version of `key`, in this turn.
    pub(crate) fn start(
        inner: &Rc<Inner<E>>,
        kind: Io,
        key: ChunkKey,
        record: RecordRef<'_>,
        view: View<'_>,
        pieces: impl IntoIterator<Item = Piece>,
    ) -> Self {
        let state = inner.state.borrow();
        let parts = pieces.into_iter().map(|piece| {
            let mut part = Fetched::new(piece);
            let Source::Home(home) = &part.piece.source else { return part };
            part.words.extend_from_slice(&record.checksums()[verified(home)]);
            let end = u16::try_from(home.sectors.end()).expect("a chunk has 16,384 sectors");
            let sectors = home.sectors.first..end;
            state.overlay().overlay(&key, view, sectors, |sector, image: &Image<E>| {
                part.images.push((sector, image.clone()));
            });
            if planted!(ScrubIgnoresImages) && kind == Io::Scrub {
                part.images.clear();
            }
            if planted!(MergeNotVerified) && kind == Io::Merge {
                part.words.clear();
            }
            part.read = Some(submit(inner, kind, home));
            part
        });
        let parts: Vec<Fetched<E>> = parts.collect();
        drop(state);
        let reads = parts.iter().any(|part| part.read.is_some());
        let hold = reads.then(|| Hold::Own(inner.state.borrow().take_pin()));
        Self { inner: inner.clone(), key, head: record.head, parts, hold, is_shipped: false }
    }

    /// Submits the read of one piece of a version that `pinned` keeps; `images` are those of that
    /// version in the piece.
    pub(crate) fn start_piece(
        pinned: &Rc<Pinned<E>>,
        key: ChunkKey,
        record: RecordRef<'_>,
        images: &[(u16, Image<E>)],
        piece: Piece,
    ) -> Self {
        let inner = &pinned.inner;
        let mut part = Fetched::new(piece);
        if let Source::Home(home) = &part.piece.source {
            part.words.extend_from_slice(&record.checksums()[verified(home)]);
            part.images.extend_from_slice(images);
            part.read = Some(submit(inner, Io::Ship, home));
        }
        let hold = Some(Hold::Shared(pinned.clone()));
        let (inner, parts) = (inner.clone(), vec![part]);
        Self { inner, key, head: record.head, parts, hold, is_shipped: true }
    }

    /// Waits for the bytes, lays images over them and verifies what is to be verified.
    pub(crate) async fn finish(mut self) -> Result<Vec<Fetched<E>>, FetchError> {
        let mut failure = None;
        for index in 0..self.parts.len() {
            // The handle stays in its part until it has completed, for `drop`.
            let Some(read) = self.parts[index].read.as_mut() else { continue };
            let result = self.inner.device.wait(read).await;
            self.parts[index].read = None;
            match result {
                Ok(bytes) => self.parts[index].bytes = Some(bytes),
                Err(why) => failure = failure.or(Some(why)),
            }
        }
        self.give_hold();
        if let Some(why) = failure {
            return Err(FetchError::Io(why));
        }
        let mut parts = core::mem::take(&mut self.parts);
        for part in &mut parts {
            if !part.images.is_empty() {
                Box::pin(self.overlay(part)).await?;
            }
            self.verify(part)?;
        }
        Ok(parts)
    }

    /// Compares the bytes of a part with what the record says of them.
    fn verify(&self, part: &mut Fetched<E>) -> Result<(), FetchError> {
        let Fetched { piece, bytes, words, checksums, .. } = part;
        let (Source::Home(home), Some(bytes)) = (&piece.source, bytes) else { return Ok(()) };
        if bytes.len() != home.bytes() as usize {
            return Err(FetchError::Corrupt { block: home.verify.start });
        }
        let counters = &self.inner.device.counters;
        for (index, &word) in home.verify.clone().zip(words.iter()) {
            let start = index * self.head.size.checksum_block_bytes();
            let valid = start..start + self.head.valid_bytes(index);
            let plain = crc32c(&bytes[home.within(&valid)]);
            if self.is_shipped {
                checksums.push(plain);
            }
            if checksum_word(self.key.chunk, index, plain) != word {
                add(&counters.corrupt_blocks, 1);
                let (key, version) = (self.key, self.head.version);
                tracing::error!(%key, %version, block = index, "checksum mismatch");
                return Err(FetchError::Corrupt { block: index });
            }
        }
        add(&counters.verified_blocks, u64::from(home.verify.end - home.verify.start));
        Ok(())
    }

    /// Lays the images of a part over its bytes. A read that came back short is left as it is.
    async fn overlay(&self, part: &mut Fetched<E>) -> Result<(), FetchError> {
        let Source::Home(home) = &part.piece.source else { return Ok(()) };
        let whole = |bytes: &Bytes<E::Memory>| bytes.len() == home.bytes() as usize;
        let Some(bytes) = part.bytes.take_if(|bytes| whole(bytes)) else { return Ok(()) };
        let mut buf = match bytes.try_into_buf() {
            Ok(buf) => buf,
            Err(shared) => {
                let pool = self.inner.env.pool();
                let mut buf: Buf<E::Memory> =
                    pool.alloc_wait(shared.len()).await.map_err(FetchError::Memory)?;
                buf.extend_from_slice(&shared);
                buf
            }
        };
        for (sector, image) in &part.images {
            let at = usize::from(sector - home.sectors.first) * SECTOR;
            buf[at..at + SECTOR].copy_from_slice(image);
        }
        part.bytes = Some(buf.freeze());
        Ok(())
    }

    fn give_hold(&mut self) {
        if let Some(hold) = self.hold.take() {
            hold.give(&self.inner);
        }
    }
}

impl<E: Env> Drop for Fetch<E> {
    fn drop(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        engine_types::reached!("S5: a read was given up before its end");
        let reads: Vec<_> = self.parts.iter_mut().filter_map(|part| part.read.take()).collect();
        let inner = self.inner.clone();
        self.inner.spawn(async move {
            for mut read in reads {
                // Its bytes interest nobody any more; errors were counted.
                let _ = inner.device.wait(&mut read).await;
            }
            hold.give(&inner);
        });
    }
}
