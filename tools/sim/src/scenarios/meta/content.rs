//! Content: what readers saw, against who wrote what and who cut when.

use std::collections::BTreeMap;

use engine_types::InodeId;

use super::writer::{Cut, Deeds, Seen, Write};
use crate::check::{CheckFailure, Verdict, fail};

const T119: &str = "T119 old bytes do not come back";
const T120: &str = "T120 what was synced is there";

/// T119 and T120, of everything that was seen.
///
/// # Errors
/// What does not hold, and of which file.
pub(super) fn judge(deeds: &Deeds) -> Result<(), (InodeId, CheckFailure)> {
    let (mut writes, mut cuts) = (BTreeMap::new(), BTreeMap::new());
    for write in &deeds.writes {
        writes.entry((write.ino, write.cell)).or_insert_with(Vec::new).push(*write);
    }
    for cut in &deeds.cuts {
        cuts.entry(cut.ino).or_insert_with(Vec::new).push(*cut);
    }
    let tags: BTreeMap<u64, Write> = deeds.writes.iter().map(|w| (w.tag, *w)).collect();
    for seen in &deeds.seen {
        let cuts: &[Cut] = cuts.get(&seen.ino).map_or(&[], Vec::as_slice);
        let named = |failure| (seen.ino, failure);
        returned(seen, &tags, cuts).map_err(named)?;
        lost(seen, &writes, cuts).map_err(named)?;
    }
    Ok(())
}

/// T119: nothing is seen that was there before a cut took it, the cut being over.
fn returned(seen: &Seen, tags: &BTreeMap<u64, Write>, cuts: &[Cut]) -> Verdict {
    for (cell, tag) in (0u64..).zip(&seen.cells).filter(|(_, tag)| **tag != 0) {
        let Some(write) = tags.get(tag) else {
            return fail(T119, format!("cell {cell} of {}: tag {tag} of nobody", seen.ino));
        };
        if (write.ino, write.cell) != (seen.ino, cell) || write.refused {
            return fail(T119, format!("cell {cell} of {} shows {write:?}", seen.ino));
        }
        // Before it is told the length, a file does not have the byte: a cut may come before.
        let Some(written) = write.synced else { continue };
        let taken = |cut: &&Cut| {
            let over = cut.done.is_some_and(|done| done < seen.began);
            cut.cells <= cell && written < cut.began && over
        };
        if let Some(cut) = cuts.iter().find(taken) {
            let (ino, at) = (seen.ino, seen.began);
            let what = format!("cell {cell} of {ino:?} shows {write:?} at {at}, after {cut:?}");
            return fail(T119, what);
        }
    }
    Ok(())
}

/// T120: what was written and synced is seen, unless somebody may have cut or overwritten it.
fn lost(seen: &Seen, writes: &BTreeMap<(InodeId, u64), Vec<Write>>, cuts: &[Cut]) -> Verdict {
    let of_file = writes.range((seen.ino, 0)..=(seen.ino, u64::MAX));
    for (&(_, cell), all) in of_file {
        for write in all {
            let Some(synced) = write.synced.filter(|synced| *synced < seen.began) else { continue };
            let may_follow = |began: i64, done: Option<i64>| {
                began < seen.ended && done.is_none_or(|done| write.began < done)
            };
            let is_cut =
                cuts.iter().any(|cut| cut.cells <= cell && may_follow(cut.began, cut.done));
            let is_over = all.iter().any(|other| {
                other.tag != write.tag && !other.refused && may_follow(other.began, other.done)
            });
            if is_cut || is_over {
                continue;
            }
            let found = usize::try_from(cell).ok().and_then(|cell| seen.cells.get(cell));
            if found != Some(&write.tag) {
                let (ino, length, at) = (seen.ino, seen.cells.len(), seen.began);
                let what = format!(
                    "{ino:?} of {length} cells shows {found:?} at {at}; {write:?} was synced at \
                     {synced}; {all:?}; {cuts:?}"
                );
                return fail(T120, what);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
