//! Entries and groups as text, one line each: for dumps and for messages about damage.

use core::fmt;

use crate::address::ChunkKey;
use crate::entry::{Entry, Fence, Put, SectorRange};
use crate::format::group::GroupHeader;
use crate::record::Record;
use crate::request::TargetRecord;

/// One line, as in `COMMIT slot-1/chunk-7.3 v5`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(put) => write_put(f, put),
            Self::Commit { key, version } => write!(f, "COMMIT {key} {version}"),
            Self::Abort { key, version } => write!(f, "ABORT {key} {version}"),
            Self::Move { key, record, direct } => {
                write!(f, "MOVE {key}")?;
                write_record(f, key, record)?;
                write_direct(f, direct)
            }
            Self::Erase { key } => write!(f, "ERASE {key}"),
            Self::Target { slot, record: None } => write!(f, "TARGET {slot} empty"),
            Self::Target { slot, record: Some(record) } => {
                let TargetRecord { target, chain, chain_version, incarnation, .. } = record;
                write!(f, "TARGET {slot} {target} {chain} {chain_version} {incarnation}")?;
                record.named.map_or(Ok(()), |timeline| write!(f, " {timeline}"))?;
                write!(f, " {:?}", record.phase)
            }
            Self::Fence(Fence::One(session)) => write!(f, "FENCE {session}"),
            Self::Fence(Fence::Below(session)) => write!(f, "FENCE below {session}"),
            Self::Dedup { slot, tag, outcome } => write!(
                f,
                "DEDUP {slot} {} {} #{}: {} {} len {}",
                tag.session, tag.channel, tag.seq, outcome.key, outcome.version, outcome.len
            ),
            Self::DedupDrop { session } => write!(f, "DEDUPDROP {session}"),
        }
    }
}

fn write_put(f: &mut fmt::Formatter<'_>, put: &Put) -> fmt::Result {
    let Put { key, version, chain_version, record, direct, images, tag } = put;
    match record {
        Some(record) => {
            write!(f, "PUT {key}")?;
            write_record(f, key, record)?;
        }
        None => write!(f, "PUT {key} {version} (chain {chain_version}) removed")?,
    }
    write_direct(f, direct)?;
    if !images.is_empty() {
        f.write_str(" images")?;
        images.iter().try_for_each(|sector| write!(f, " {sector}"))?;
    }
    match tag {
        Some(tag) => write!(f, " for {} {} #{}", tag.session, tag.channel, tag.seq),
        None => Ok(()),
    }
}

fn write_record(f: &mut fmt::Formatter<'_>, key: &ChunkKey, record: &Record) -> fmt::Result {
    let (head, lent) = (&record.head, record.as_ref());
    write!(f, " {} (chain {}) {}", head.version, head.chain_version, head.epoch)?;
    write!(f, " len {} data {} of {}", head.len, head.data_end, head.size)?;
    write!(f, " digest {:016x}", lent.digest(key.chunk))?;
    let holes = (0..).zip(lent.checksums()).filter(|&(index, _)| lent.is_hole(index)).count();
    if 0 < holes {
        write!(f, " {holes} holes")?;
    }
    let mut blocks = lent.blocks().peekable();
    if blocks.peek().is_some() {
        write!(f, " {}", head.class)?;
    }
    for (place, block) in blocks {
        write!(f, " {place}={}", block.get())?;
    }
    Ok(())
}

fn write_direct(f: &mut fmt::Formatter<'_>, direct: &[SectorRange]) -> fmt::Result {
    if direct.is_empty() {
        return Ok(());
    }
    f.write_str(" direct")?;
    direct.iter().try_for_each(|range| write!(f, " {}+{}", range.first, range.count))
}

/// One line, as in `group lsn-7 of start-3: 2 entries in 48 bytes, 1 images, applied lsn-5`.
impl fmt::Display for GroupHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identity, entry_bytes, entry_count, image_count, .. } = self;
        write!(
            f,
            "group {} of {}: {entry_count} entries in {entry_bytes} bytes, {image_count} images, \
             applied {}",
            identity.lsn, identity.mount_gen, identity.applied_lsn
        )
    }
}

#[cfg(test)]
mod tests;
