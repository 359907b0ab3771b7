//! Planted mistakes.

use engine_types::SECTOR_BYTES;

use super::mini::{BUFFER_POISON, Memory, Mini, S, Version};
use crate::plan::Assembled;

/// A mistake of the planner or the driver, planted to see that the harness finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    None,
    /// Only the committed record counts as one that could come back.
    ForgetsOldRecords,
    /// Sectors with images are written directly.
    IgnoresImages,
    /// Images may be of twice the size.
    WrongThreshold,
    /// Behind the valid bytes a sector keeps what the buffer held.
    SkipsZeroFill,
    /// A gap keeps what the buffer held.
    SkipsGap,
    /// One image is not kept.
    LosesImage,
    /// Payload is taken from the sector behind the right one.
    ShiftsPayload,
    /// The word of the last checksum block is that of the base.
    StaleWord,
    /// A direct write goes one sector too far.
    ShiftsDirect,
}

impl Mini {
    /// Plants a mistake behind the planner's back.
    pub(super) fn plant(
        &mut self,
        base: &Version,
        assembled: &mut Assembled,
        memory: &mut Memory<'_>,
    ) {
        let Some(record) = &mut assembled.record else { return };
        let end = record.head.data_end;
        match self.mistake {
            Mistake::SkipsZeroFill | Mistake::SkipsGap => {
                for write in memory.writes.iter_mut().filter(|write| write.copied) {
                    let start = u32::from(write.sector) * SECTOR_BYTES;
                    let valid = (end.saturating_sub(start) as usize).min(write.bytes.len());
                    let old_end = base.bytes.len().saturating_sub(start as usize).min(valid);
                    let range = match self.mistake {
                        Mistake::SkipsGap => old_end..valid,
                        _ => valid..write.bytes.len(),
                    };
                    let zeros = write.bytes[range].iter_mut().filter(|byte| **byte == 0);
                    zeros.for_each(|byte| *byte = BUFFER_POISON);
                }
            }
            Mistake::LosesImage => {
                memory.images.pop();
                assembled.images.pop();
            }
            Mistake::StaleWord => {
                let old =
                    base.record.as_ref().and_then(|old| old.as_ref().checksums().last().copied());
                let last = record.words.last_mut();
                if let (Some(old), Some(last)) = (old, last) {
                    *last = old;
                }
            }
            Mistake::ShiftsDirect => {
                for write in &mut memory.writes {
                    let len = self.home[&write.block.get()].len();
                    if write.at as usize + write.bytes.len() + S <= len {
                        write.at += SECTOR_BYTES;
                    }
                }
            }
            _ => {}
        }
    }
}
