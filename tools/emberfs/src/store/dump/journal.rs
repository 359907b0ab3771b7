//! Groups of the journal as they stand in the ring, from the tail to where the chain ends.
//!
//! The chain decides what belongs to the journal (S7), as it does for recovery: the next group
//! stands behind the last one or at the start of the ring, and carries its hash. What is printed
//! last is why the chain goes no further; whether that end is a torn tail or damage is for
//! `check` to say.

use anyhow::anyhow;
use engine_runtime::{Bytes, Env};
use engine_store::Entry;
use engine_store::format::Superblock;
use engine_store::format::group::{self, Expected, GroupError, GroupHeader};
use engine_store::ring::Position;
use engine_types::{Incarnation, SECTOR_BYTES};
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::store::device;

/// A group that was found.
struct Found {
    /// Where in the ring.
    offset: u64,
    header: GroupHeader,
    entries: Vec<Entry>,
}

#[derive(Serialize)]
struct GroupDocument {
    lsn: u64,
    offset: u64,
    bytes: usize,
    mount_generation: u64,
    applied_lsn: u64,
    images: u32,
    entries: Vec<String>,
}

#[derive(Serialize)]
struct EndDocument {
    end_lsn: u64,
    offset: u64,
    why: String,
}

/// Follows the chain.
struct Scan<'a, E: Env> {
    file: &'a E::File,
    superblock: &'a Superblock,
    next: Position,
    mount_gen: Incarnation,
}

/// Prints at most `limit` groups.
pub(super) async fn print<E: Env>(
    out: &mut Output,
    file: &E::File,
    superblock: &Superblock,
    limit: Option<u64>,
) -> Result<Exit, Failure> {
    let (next, mount_gen) = (superblock.tail, Incarnation::new(0));
    let mut scan = Scan::<E> { file, superblock, next, mount_gen };
    let mut left = limit.unwrap_or(u64::MAX);
    loop {
        let why = match scan.step().await? {
            Ok(_) if left == 0 && out.json => return Ok(Exit::Ok),
            Ok(_) if left == 0 => {
                out.line("... more (--limit)")?;
                return Ok(Exit::Ok);
            }
            Ok(found) => {
                left -= 1;
                print_group(out, &found)?;
                continue;
            }
            Err(why) => why,
        };
        print_end(out, scan.next, &why)?;
        // Bytes that are as written and make no sense are nothing that a crash leaves.
        return Ok(if why.is_unreadable() { Exit::Problem } else { Exit::Ok });
    }
}

fn print_group(out: &mut Output, found: &Found) -> Result<(), Failure> {
    let Found { offset, header, entries } = found;
    if out.json {
        let identity = header.identity;
        return Ok(out.document(&GroupDocument {
            lsn: identity.lsn.get(),
            offset: *offset,
            bytes: header.bytes(),
            mount_generation: identity.mount_gen.get(),
            applied_lsn: identity.applied_lsn.get(),
            images: header.image_count,
            entries: entries.iter().map(ToString::to_string).collect(),
        })?);
    }
    out.line(&format!("{header}; {} bytes at {offset}", header.bytes()))?;
    for entry in entries {
        out.line(&format!("    {entry}"))?;
    }
    Ok(())
}

fn print_end(out: &mut Output, end: Position, why: &GroupError) -> Result<(), Failure> {
    let (end_lsn, offset) = (end.lsn.get(), end.offset);
    if out.json {
        return Ok(out.document(&EndDocument { end_lsn, offset, why: why.to_string() })?);
    }
    Ok(out.line(&format!("the journal ends before {} at {offset}: {why}", end.lsn))?)
}

impl<E: Env> Scan<'_, E> {
    /// The next group of the chain, or why there is none behind the last one.
    async fn step(&mut self) -> Result<Result<Found, GroupError>, Failure> {
        let expected = Expected {
            store: self.superblock.store,
            salt: self.superblock.salt,
            mount_gen_min: self.mount_gen,
            lsn: self.next.lsn,
            prev_hash: self.next.prev_hash,
        };
        let behind = self.at(self.next.offset, &expected).await?;
        let first = match self.next.offset {
            0 => None,
            _ => self.at(0, &expected).await?.ok(),
        };
        let found = match (behind, first) {
            (Ok(behind), Some(first)) => newer(behind, first),
            (Ok(found), None) | (Err(_), Some(found)) => found,
            (Err(why), None) => return Ok(Err(why)),
        };
        self.next = Position {
            lsn: expected.lsn.next(),
            offset: found.offset + found.header.bytes() as u64,
            prev_hash: found.header.hash(expected.salt),
        };
        self.mount_gen = found.header.identity.mount_gen;
        Ok(Ok(found))
    }

    /// The expected group at a place of the ring, if it stands there.
    async fn at(
        &self,
        offset: u64,
        expected: &Expected,
    ) -> Result<Result<Found, GroupError>, Failure> {
        let page = self.read(offset, SECTOR_BYTES as usize).await?;
        let header = match group::parse_header(&page, expected) {
            Ok(header) => header,
            Err(why) => return Ok(Err(why)),
        };
        let bytes = self.read(offset, header.bytes()).await?;
        let parsed = group::parse(&bytes, expected);
        Ok(parsed.map(|group| Found { offset, header: group.header, entries: group.entries }))
    }

    /// Bytes of the ring; fewer at its end, where no group goes on.
    async fn read(&self, offset: u64, len: usize) -> Result<Bytes<E::Memory>, Failure> {
        let ring = self.superblock.layout.ring;
        let left = usize::try_from(ring.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let bytes =
            device::read_at_most::<E>(self.file, ring.offset + offset, len.min(left)).await?;
        match bytes.len() < len.min(left) {
            true => Err(Failure::problem(anyhow!("the store ends inside its journal"))),
            false => Ok(bytes),
        }
    }
}

/// As [`group::Group::newer`].
fn newer(behind: Found, first: Found) -> Found {
    let generation = |found: &Found| found.header.identity.mount_gen;
    if generation(&behind) < generation(&first) { first } else { behind }
}
