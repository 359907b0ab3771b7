//! The side keys of a directory (M6): what every create and remove in it changes without reading,
//! so that they do not conflict with each other.
//!
//! ```text
//! 'A'  16 bytes, atomic Add          0  change   u64      8  nlink  i64
//! 'T'  16 bytes, atomic Max          0  time     u64, nanoseconds since 1970
//!                                    8  epoch    u64: time epoch << 1 | 1
//! ```
//! As numbers of 128 bits, little-endian. `Add` of (1, delta) is one addition: `change` never
//! passes 2^64, so nothing is carried into the links; the links' sign is that of the upper half.
//! `Max` compares the epoch first: an event after a `utimens` (which raises the time epoch of the
//! inode) replaces the times from before it, however late they were.
//!
//! What `stat` shows of a directory is its inode with both keys laid over it.

use crate::inode::Inode;
use crate::time::Timestamp;

/// Bytes of either value.
pub const SIDE_BYTES: usize = 16;

/// Bytes in the KV are no side key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("side key of a directory: found {found} bytes, expected {SIDE_BYTES}")]
pub struct SideLength {
    /// Bytes of the value.
    pub found: usize,
}

/// What was added to a directory's change counter and links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideCounts {
    /// Events.
    pub change: u64,
    /// Subdirectories that came, less those that went.
    pub nlink: i64,
}

/// The latest event of a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideTimes {
    /// `time_epoch` of the inode when it happened; `None` if nothing did.
    pub epoch: Option<u32>,
    /// When it happened.
    pub time: Timestamp,
}

/// What of a directory's attributes stands partly elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryStat {
    /// Links: 2 and one per subdirectory.
    pub nlink: u32,
    /// Last change of the contents.
    pub mtime: Timestamp,
    /// Last change of inode or contents.
    pub ctime: Timestamp,
    /// Changes.
    pub change: u64,
}

fn bytes(raw: Option<&[u8]>) -> Result<u128, SideLength> {
    let Some(raw) = raw else { return Ok(0) };
    let bytes = raw.try_into().map_err(|_| SideLength { found: raw.len() })?;
    Ok(u128::from_le_bytes(bytes))
}

impl SideCounts {
    /// One event that adds `nlink` subdirectories.
    pub const fn event(nlink: i64) -> Self {
        Self { change: 1, nlink }
    }

    /// The value, and the operand of `Add`.
    pub const fn encode(self) -> [u8; SIDE_BYTES] {
        ((self.nlink.cast_unsigned() as u128) << 64 | self.change as u128).to_le_bytes()
    }

    /// From the value; no value says that nothing was added.
    ///
    /// # Errors
    /// If it has not 16 bytes.
    pub fn decode(raw: Option<&[u8]>) -> Result<Self, SideLength> {
        let number = bytes(raw)?;
        #[expect(clippy::cast_possible_truncation, reason = "each half is taken by itself")]
        let (change, nlink) = (number as u64, ((number >> 64) as u64).cast_signed());
        Ok(Self { change, nlink })
    }
}

impl SideTimes {
    /// An event at `now` in a directory whose inode has `time_epoch`. Times before 1970 count as
    /// 1970: they come from a clock that is not set.
    pub fn event(time_epoch: u32, now: Timestamp) -> Self {
        Self { epoch: Some(time_epoch), time: now.touched(Timestamp::EPOCH) }
    }

    /// The value, and the operand of `Max`.
    ///
    /// # Panics
    /// For an event before 1970: `event` makes none.
    pub fn encode(self) -> [u8; SIDE_BYTES] {
        let time = u64::try_from(self.time.nanos()).expect("E407: events are behind 1970");
        let epoch = self.epoch.map_or(0, |epoch| u64::from(epoch) << 1 | 1);
        (u128::from(epoch) << 64 | u128::from(time)).to_le_bytes()
    }

    /// From the value; no value says that nothing happened.
    ///
    /// # Errors
    /// If it has not 16 bytes.
    pub fn decode(raw: Option<&[u8]>) -> Result<Self, SideLength> {
        let number = bytes(raw)?;
        #[expect(clippy::cast_possible_truncation, reason = "each part is taken by itself")]
        let (time, epoch) = (number as u64, (number >> 64) as u64);
        let time = Timestamp::from_nanos(i64::try_from(time).unwrap_or(i64::MAX));
        let epoch = (epoch & 1 == 1).then(|| u32::try_from(epoch >> 1).unwrap_or(u32::MAX));
        Ok(Self { epoch, time })
    }
}

impl DirectoryStat {
    /// What stands for a directory with this inode and these side keys.
    ///
    /// An event of the inode's own time epoch came after the last `utimens`. Then its time is the
    /// mtime, though the one that was set may be later; before any `utimens` the inode has the time
    /// of the creation, from which none goes back. Events of former epochs are no longer told.
    pub fn of(inode: &Inode, counts: SideCounts, times: SideTimes) -> Self {
        let own_epoch = inode.directory().map_or(0, |directory| directory.time_epoch);
        let (mut mtime, mut ctime) = (inode.mtime, inode.ctime);
        if times.epoch.is_some() {
            ctime = ctime.touched(times.time);
        }
        if times.epoch == Some(own_epoch) {
            mtime = if own_epoch == 0 { mtime.touched(times.time) } else { times.time };
        }
        let nlink = i64::from(inode.nlink).saturating_add(counts.nlink);
        let nlink = u32::try_from(nlink.max(0)).unwrap_or(u32::MAX);
        let change = inode.change.saturating_add(counts.change);
        Self { nlink, mtime, ctime, change }
    }
}

/// Sets the mtime of a directory to `to`, as `utimens` does: raises the time epoch, so that only
/// later events replace it, and keeps the ctime of former ones, which the side key may lose then.
/// False, and nothing is done, if it is no directory or its epochs have run out.
pub fn set_mtime(inode: &mut Inode, times: SideTimes, to: Timestamp) -> bool {
    let Some(directory) = inode.directory_mut() else { return false };
    let Some(epoch) = directory.time_epoch.checked_add(1) else { return false };
    directory.time_epoch = epoch;
    inode.mtime = to;
    if times.epoch.is_some() {
        inode.ctime = inode.ctime.touched(times.time);
    }
    true
}

#[cfg(test)]
mod tests;
