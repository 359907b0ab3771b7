//! The end: sessions of the dead are pruned, and everything that the store holds is looked at.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_types::{InodeId, NodeRole};
use meta_kv::{KeyRange, Kv, KvError, OwnKv, RangeRead, ReadMode, Transaction, TransactionOptions};
use meta_kvd::Remote;
use meta_protocol::op;
use meta_schema::codec::Record;
use meta_schema::lock::LockTable;
use meta_schema::side::SideCounts;
use meta_schema::{Dirent, FileType, INODE_ROOT, Inode, Key, Slot, Superblock};

use super::chunks::Shelf;
use super::ground::{AUDITOR, Ground};
use super::user::{Asker, request};
use crate::check::{CheckFailure, Verdict, fail};

const T115: &str = "T115 the tree is one";

/// How often the dead are looked for, and the store in the end.
const LOOK_PERIOD: Duration = Duration::from_millis(200);

type Dump = Vec<(Vec<u8>, Vec<u8>)>;

/// Prunes sessions of clients that died, and reads everything when it is wanted.
pub(super) async fn run(env: SimEnv, ground: Rc<Ground>) {
    let asker = Asker::new(&env, &ground);
    let remote = Remote::new(&env, ground.net(&env, NodeRole::Operator), ground.kv);
    let kv = OwnKv::new(env.clone(), remote);
    let mut seq = 0;
    loop {
        env.sleep_until(env.now() + LOOK_PERIOD).await;
        for session in ground.unpruned() {
            seq += 1;
            let prune = request(AUDITOR, Some(seq), op::PruneSession { session }.into());
            let (found, _) = asker.until_told(&prune).await;
            if found.is_ok() {
                ground.pruned.borrow_mut().insert(session);
            }
        }
        if ground.wants_dump.get() && ground.unpruned().is_empty() {
            match dump(&kv).await {
                Ok(dump) => {
                    *ground.dump.borrow_mut() = dump;
                    ground.looks.set(ground.looks.get() + 1);
                }
                Err(error) => tracing::debug!(%error, "the store is read again"),
            }
        }
    }
}

async fn dump<K: Kv>(kv: &K) -> Result<Dump, KvError> {
    let transaction = kv.begin(TransactionOptions::default());
    let mut read = RangeRead::new(KeyRange::all());
    let mut all = Dump::new();
    loop {
        let page = transaction.range(read.clone(), ReadMode::Snapshot).await?;
        let last = page.entries.last().map(|(key, _)| key.clone());
        all.extend(page.entries);
        match last.filter(|_| page.more) {
            Some(last) => read = read.behind(&last),
            None => return Ok(all),
        }
    }
}

/// What the store holds, by kind.
#[derive(Default)]
pub(super) struct Held {
    superblock: Option<Superblock>,
    pub(super) inodes: BTreeMap<InodeId, Inode>,
    counts: BTreeMap<InodeId, SideCounts>,
    parents: BTreeMap<InodeId, Vec<u8>>,
    entries: Vec<(InodeId, Slot, Dirent)>,
    /// Keys of work and sessions that go in the end.
    passing: Vec<String>,
}

impl Held {
    /// # Errors
    /// T115: something that cannot be read.
    pub(super) fn of(dump: &Dump) -> Result<Self, CheckFailure> {
        let mut held = Self::default();
        for (key, value) in dump {
            match key.get(..4).unwrap_or_default() {
                b"~JRN" | b"METS" | b"DELC" => continue,
                b"LENQ" => {
                    held.passing.push(format!("{}", key.escape_ascii()));
                    continue;
                }
                _ => {}
            }
            held.add(key, value).map_err(|why| CheckFailure {
                check: T115,
                what: format!("{}: {why}", key.escape_ascii()),
            })?;
        }
        Ok(held)
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let said = |error: &dyn core::fmt::Display| error.to_string();
        let parsed = Key::parse(key).map_err(|error| said(&error))?;
        match parsed {
            Key::Superblock => {
                self.superblock = Some(Superblock::decode(value).map_err(|error| said(&error))?);
            }
            Key::Inode(ino) => {
                let inode = Inode::decode(value).map_err(|error| said(&error))?;
                self.inodes.insert(ino, inode);
            }
            Key::SideCounts(ino) => {
                let counts =
                    SideCounts::decode(Some(value)).map_err(|error| format!("{error:?}"))?;
                self.counts.insert(ino, counts);
            }
            Key::Parent(ino) => {
                self.parents.insert(ino, value.to_vec());
            }
            Key::Dirent { dir, slot } => {
                let dirent = Dirent::decode(value).map_err(|error| said(&error))?;
                self.entries.push((dir, slot, dirent));
            }
            Key::Locks(_) => {
                let table = LockTable::decode(value).map_err(|error| said(&error))?;
                if !table.is_empty() {
                    self.passing.push(format!("{parsed:?}"));
                }
            }
            Key::WriteSession { .. }
            | Key::SessionInode { .. }
            | Key::SessionLocks { .. }
            | Key::LockWait { .. }
            | Key::Deletion { .. }
            | Key::Shrink(_) => self.passing.push(format!("{parsed:?}")),
            Key::Request { session, .. } if session != AUDITOR => {
                self.passing.push(format!("{parsed:?}"));
            }
            _ => {}
        }
        Ok(())
    }

    /// T116: what should be gone and is not.
    pub(super) fn left_over(&self, shelf: &Shelf) -> Option<(Option<InodeId>, String)> {
        if let Some(key) = self.passing.first() {
            return Some((None, format!("{key} and {} others", self.passing.len() - 1)));
        }
        if let Some((ino, inode)) = self.inodes.iter().find(|(_, inode)| inode.nlink == 0) {
            return Some((Some(*ino), format!("{ino:?} has no links: {inode:?}")));
        }
        let of_nobody = shelf.inodes().into_iter().find(|ino| !self.inodes.contains_key(ino));
        of_nobody.map(|ino| (Some(ino), format!("chunks of {ino:?}, which is gone")))
    }

    /// T115: entries, inodes, links and parents say the same, and everything hangs on the root.
    pub(super) fn tree(&self) -> Verdict {
        let Some(superblock) = &self.superblock else { return fail(T115, "no superblock") };
        let mut names: BTreeMap<InodeId, Vec<InodeId>> = BTreeMap::new();
        let mut below: BTreeMap<InodeId, i64> = BTreeMap::new();
        for (dir, slot, dirent) in &self.entries {
            let text = format!("\"{}\" in {dir}", dirent.name.escape_ascii());
            let Some(inode) = self.inodes.get(&dirent.ino) else {
                return fail(T115, format!("{text}: {} is gone", dirent.ino));
            };
            if inode.file_type() != dirent.kind {
                return fail(T115, format!("{text} is called {:?}: {inode:?}", dirent.kind));
            }
            if self.inodes.get(dir).is_none_or(|dir| dir.file_type() != FileType::Directory) {
                return fail(T115, format!("{text}: it is in no directory"));
            }
            let first = Slot::first_of(superblock.hash_key, &dirent.name).get();
            if slot.get() < first || first + 8 <= slot.get() {
                return fail(T115, format!("{text}: slot {}, expected {first}", slot.get()));
            }
            names.entry(dirent.ino).or_default().push(*dir);
            if dirent.kind == FileType::Directory {
                *below.entry(*dir).or_default() += 1;
            }
        }
        self.twice()?;
        for (ino, inode) in &self.inodes {
            let names = names.get(ino).map_or(&[][..], Vec::as_slice);
            self.links(*ino, inode, names, below.get(ino).copied().unwrap_or(0))?;
        }
        self.connected()
    }

    /// No name is twice in one directory.
    fn twice(&self) -> Verdict {
        let mut seen = BTreeSet::new();
        for (dir, _, dirent) in &self.entries {
            if !seen.insert((dir, &dirent.name)) {
                let text = dirent.name.escape_ascii();
                return fail(T115, format!("\"{text}\" is twice in {dir}"));
            }
        }
        Ok(())
    }

    fn links(&self, ino: InodeId, inode: &Inode, names: &[InodeId], below: i64) -> Verdict {
        if inode.file_type() != FileType::Directory {
            if names.len() != inode.nlink as usize {
                let what = format!("{ino} has {} names, and links {}", names.len(), inode.nlink);
                return fail(T115, what);
            }
            return Ok(());
        }
        let expected: &[InodeId] =
            if ino == INODE_ROOT { &[] } else { &names[..names.len().min(1)] };
        if names != expected || (ino != INODE_ROOT && names.is_empty() && inode.nlink != 0) {
            return fail(T115, format!("directory {ino} is named in {names:?}"));
        }
        let counted = self.counts.get(&ino).map_or(0, |counts| counts.nlink);
        if inode.nlink != 0 && counted != below {
            return fail(T115, format!("{ino} has {below} directories and counts {counted}"));
        }
        let parent = names.first().copied().unwrap_or(INODE_ROOT).get().to_le_bytes();
        let said = self.parents.get(&ino);
        if inode.nlink != 0 && said.is_some_and(|said| *said != parent) {
            return fail(
                T115,
                format!("the parent of {ino} is {said:?}, it is named in {names:?}"),
            );
        }
        Ok(())
    }

    /// Everything that has a name is below the root.
    fn connected(&self) -> Verdict {
        let mut inside: BTreeMap<InodeId, Vec<InodeId>> = BTreeMap::new();
        for (dir, _, dirent) in &self.entries {
            inside.entry(*dir).or_default().push(dirent.ino);
        }
        let (mut seen, mut next) = (BTreeSet::from([INODE_ROOT]), vec![INODE_ROOT]);
        while let Some(dir) = next.pop() {
            for ino in inside.get(&dir).into_iter().flatten() {
                if seen.insert(*ino) {
                    next.push(*ino);
                }
            }
        }
        let lost = self.inodes.iter().find(|(ino, inode)| inode.nlink != 0 && !seen.contains(ino));
        lost.map_or(Ok(()), |(ino, _)| fail(T115, format!("{ino} does not hang on the root")))
    }
}
