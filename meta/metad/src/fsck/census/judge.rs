//! What of a census does not fit.

use std::collections::BTreeSet;

use engine_types::{InodeId, Set};
use meta_schema::{FileType, INODE_ROOT, Key};

use super::{
    BACK, Census, ENTRIES, FRONT, Finding, Guard, Known, QUEUED, SEEN, SEEN_AGAIN, Suspect,
    UNREADABLE,
};

/// What is to be looked at.
pub(crate) struct Judged {
    /// Perhaps wrong, in the order in which it is repaired.
    pub(crate) suspects: Vec<Suspect>,
    /// Inodes that do not fit and were changed meanwhile: to be seen again.
    pub(crate) busy: BTreeSet<InodeId>,
}

impl Census {
    /// Everything that does not fit.
    pub(crate) fn judge(&mut self) -> Judged {
        let mut suspects = core::mem::take(&mut self.suspects);
        let mut busy = BTreeSet::new();
        let strays = core::mem::take(&mut self.strays);
        let strays = strays.into_iter().filter(|(ino, _)| !self.is_lost(*ino));
        suspects.extend(strays.map(|(_, finding)| Suspect::from(finding)));
        if !self.has(INODE_ROOT, SEEN) {
            suspects.push(Finding::LostDirectory { dir: INODE_ROOT }.into());
        }
        for (&ino, known) in &self.inodes {
            self.inode(ino, known, &mut suspects, &mut busy);
        }
        self.loops(&mut suspects);
        self.pairs(&mut suspects);
        suspects.sort();
        suspects.dedup();
        Judged { suspects, busy }
    }

    fn has(&self, ino: InodeId, flag: u8) -> bool {
        self.inodes.get(&ino).is_some_and(|known| known.has(flag))
    }

    /// Whether an inode is gone whose entries say that it was a directory: it comes back.
    fn is_lost(&self, ino: InodeId) -> bool {
        !self.has(ino, SEEN) && (ino == INODE_ROOT || self.has(ino, ENTRIES))
    }

    fn inode(
        &self,
        ino: InodeId,
        known: &Known,
        suspects: &mut Vec<Suspect>,
        busy: &mut BTreeSet<InodeId>,
    ) {
        if known.has(UNREADABLE) {
            return;
        }
        if self.is_lost(ino) && ino != INODE_ROOT {
            suspects.push(Finding::LostDirectory { dir: ino }.into());
        }
        // What is not seen behind the pass is gone.
        if !known.has(SEEN) || !known.has(SEEN_AGAIN) {
            return;
        }
        let guard = Guard { ino, change: known.change, nlink: known.nlink };
        let is_same = known.again == known.change && known.nlink_again == known.nlink;
        let mut add = |finding: Finding| {
            if is_same {
                suspects.push(Suspect { finding, guard: Some(guard), entry: known.entry });
            } else {
                busy.insert(ino);
            }
        };
        if let Some(key) = self.queue.get(&ino).filter(|_| known.nlink != 0) {
            add(Finding::QueuedWithLinks { key: key.clone() });
        }
        let (found, expected) = (known.nlink, known.names);
        match (known.kind, found, expected) {
            _ if ino == INODE_ROOT => {}
            (_, 0, 0) if known.has(QUEUED) => {}
            (_, 0, 0) => add(Finding::Unqueued { ino }),
            (_, _, 0) => add(Finding::Nameless { ino }),
            (FileType::Directory, 0, _) => add(Finding::WrongLinks { ino, found, expected: 2 }),
            (FileType::Directory, ..) => {}
            _ if found == expected => {}
            _ => add(Finding::WrongLinks { ino, found, expected }),
        }
        if known.kind.is_directory() {
            self.directory(ino, known, add);
        }
    }

    fn directory(&self, ino: InodeId, known: &Known, mut add: impl FnMut(Finding)) {
        // A directory in removal loses its entries without a trace in its sums (E453).
        if known.nlink != 0 {
            let found = i64::from(known.nlink).saturating_add(known.delta);
            let expected = 2 + i64::from(known.subdirectories);
            if found != expected || known.nlink != 2 {
                add(Finding::WrongSum { dir: ino, found, expected });
            }
        }
        let names: Vec<_> = match self.doubles.get(&ino) {
            Some(names) => names.clone(),
            None => known.entry.into_iter().collect(),
        };
        // The one that its parent key names is kept; of the root none.
        let kept = names.iter().position(|(dir, _)| Some(*dir) == known.parent).unwrap_or(0);
        for (at, &(dir, slot)) in names.iter().enumerate() {
            if ino == INODE_ROOT || at != kept {
                add(Finding::ManyNames { ino, dir, slot });
            }
        }
        if ino != INODE_ROOT
            && let Some(&(expected, _)) = names.get(kept)
            && known.parent != Some(expected)
        {
            add(Finding::WrongParent { dir: ino, found: known.parent, expected });
        }
    }

    /// Directories that lead back to themselves: the lowest number of each loop.
    fn loops(&self, suspects: &mut Vec<Suspect>) {
        let mut done: Set<InodeId> = Set::default();
        let directories = self.inodes.iter().filter(|(_, known)| known.kind.is_directory());
        for (&start, _) in directories {
            let mut way = Vec::new();
            let mut on_way: Set<InodeId> = Set::default();
            let mut at = start;
            while at != INODE_ROOT && !done.contains(&at) {
                if !on_way.insert(at) {
                    let from = way.iter().position(|&one| one == at).unwrap_or(0);
                    if let Some(&dir) = way[from..].iter().min() {
                        let entry = self.inodes.get(&dir).and_then(|known| known.entry);
                        suspects.push(Suspect {
                            finding: Finding::Loop { dir },
                            guard: None,
                            entry,
                        });
                    }
                    break;
                }
                way.push(at);
                match self.inodes.get(&at).and_then(|known| known.parent) {
                    Some(parent) => at = parent,
                    None => break,
                }
            }
            done.extend(way);
        }
    }

    /// Keys that belong together.
    fn pairs(&self, suspects: &mut Vec<Suspect>) {
        for (&(ino, session), &sides) in &self.sessions {
            // Of a file that is gone the front is a stray key.
            let is_stray = sides == FRONT && !self.has(ino, SEEN);
            if sides != FRONT | BACK && !is_stray {
                suspects.push(Finding::HalfSession { ino, session }.into());
            }
        }
        for (&(ino, session), &sides) in &self.locks {
            if sides != FRONT | BACK {
                let key = Key::SessionLocks { session, ino };
                suspects.push(Finding::LockIndex { key, ino }.into());
            }
        }
        for (&(session, owner), &(said, waits)) in &self.waits {
            if let Some(ino) = said.or(waits).filter(|_| said != waits) {
                let key = Key::LockWait { session, owner };
                suspects.push(Finding::LockIndex { key, ino }.into());
            }
        }
    }
}
