//! The chunk store on devices that change bytes by themselves: rot, flipped bits, misdirected
//! writes, in the data, the journal, the checkpoints and the superblocks alike.
//!
//! What was acknowledged may be gone then. What must hold all the same:
//!   T50  a read that covers a checksum block as a whole, and any verified read, gives bytes of the
//!        version it names, or an error: never anything else
//!   T51  a store opens with versions that were once written, or refuses to open; it never panics
//!   T52  the scrubber finds exactly the checksum blocks that reads refuse, and a repair with the
//!        right bytes makes each of them readable again (S15)

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use engine_runtime::Env;
use engine_runtime::sim::DiskFaults;
use engine_shard::{Damage, Read, ReadError, RepairError, ScrubLimits, Which};
use engine_store::{ChunkKey, Fence};
use engine_types::{SessionId, reached};

use super::body::Body;
use super::doubt::Doubt;
use super::ledger::{Phase, Tolerance, Wish};
use super::life::first_target;
use super::model::{State, Version};
use super::perform::{Context, Whole, difference, whole_difference};
use super::recovered::Trouble;
use super::{Play, Shape};
use crate::check::Verdict;
use crate::fault::Fault;
use crate::scenario::{Played, Scenario};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "store-damage",
    about: "a chunk store never returns verified bytes that a device has changed",
    play,
};

const NEVER_WRITTEN: &str = "T51 versions";
const SCRUB: &str = "T52 scrub";
const CYCLES: u32 = 3;
/// Time in which images go home and a checkpoint is written.
const SETTLES: Duration = Duration::from_millis(300);

fn play(seed: u64) -> Played {
    let shape = Shape { cycles: CYCLES, troubles: false, ..Shape::USUAL };
    Play::world(seed, &shape, DiskFaults::default(), |play| play.damage())
}

impl Play<'_> {
    fn damage(&mut self) -> Verdict {
        {
            let ledger = &mut *self.shared.borrow_mut();
            ledger.damages = true;
            ledger.model.keep_history();
        }
        for _ in 0..self.shape.cycles {
            if !self.damaged_life()? {
                return Ok(());
            }
        }
        // On a device that is whole again, everything is looked at.
        self.world.sim().set_disk(self.node, self.disk);
        if !self.opens()? {
            return Ok(());
        }
        self.wish(Wish::Inspect);
        self.rested()
    }

    /// One life on a bad device; false when the store could not be opened.
    fn damaged_life(&mut self) -> Result<bool, crate::check::CheckFailure> {
        self.world.sim().set_disk(self.node, self.disk);
        if !self.opens()? {
            return Ok(false);
        }
        let disk = self.bad_disk();
        self.world.sim().set_disk(self.node, disk);
        self.event(Fault::Disk(self.node, disk));
        let requests = self.shape.requests + self.rng.below(self.shape.requests);
        self.wait("requests are made", |_, ledger| {
            requests <= ledger.begun || ledger.phase == Phase::Failed
        })?;
        if self.rng.chance(300) {
            self.wish(Wish::Rest);
            self.rested()?;
            self.world.run(SETTLES)?;
        }
        self.end()?;
        Ok(true)
    }

    fn opens(&mut self) -> Result<bool, crate::check::CheckFailure> {
        self.shared.borrow_mut().tolerance = Tolerance { damage: true, ..Tolerance::default() };
        self.wish(Wish::Work);
        self.start();
        self.wait("the store opens", |_, ledger| Phase::Working <= ledger.phase)?;
        let failed = self.shared.borrow().phase == Phase::Failed;
        if failed {
            reached!("T51: a damaged store refused to open");
        }
        Ok(!failed)
    }

    fn bad_disk(&mut self) -> DiskFaults {
        let mut rate = |most| u32::try_from(self.rng.range(3..=most)).expect("small");
        let mut disk = self.disk;
        match rate(5) {
            3 => disk.rot_permille = rate(80),
            4 => disk.read_flip_permille = rate(100),
            _ => disk.misdirect_permille = rate(30),
        }
        disk
    }
}

impl<E: Env> Context<E> {
    /// Takes the store as it is, if all of it was once written.
    ///
    /// # Errors
    /// A version that nobody ever asked for.
    pub async fn adopt(&self) -> Result<(), Trouble> {
        let keys: Vec<ChunkKey> = self.shared.borrow().model.chunks.keys().copied().collect();
        let mut states = BTreeMap::new();
        for key in keys {
            let committed = self.adopt_committed(key).await?;
            let pending = self.adopt_pending(key).await?;
            states.insert(key, State { committed, pending });
        }
        let ledger = &mut *self.shared.borrow_mut();
        ledger.model.adopt(states);
        for slot in ledger.slots() {
            let target = self.store.target(slot).or(Some(first_target(slot)));
            ledger.model.targets.insert(slot, Doubt::new(target));
        }
        let newest = ledger.sessions.live.iter().chain(&ledger.sessions.fenced).max().copied();
        let newest = newest.map_or(0, SessionId::get);
        ledger.sessions.fenced.clear();
        ledger.sessions.live = (newest + 1..=newest + 3).map(SessionId::new).collect();
        for session in (1..=newest).map(SessionId::new) {
            if self.store.is_fenced(session) {
                let index = ledger.model.begin_fence(Fence::One(session));
                ledger.model.fence_durable(index);
                ledger.sessions.fenced.push(session);
            }
        }
        Ok(())
    }

    /// The index says by its digest which of the versions of this number it is.
    async fn adopt_committed(&self, key: ChunkKey) -> Result<Option<Rc<Version>>, Trouble> {
        let Some((number, len)) = self.store.state(&key).committed else { return Ok(None) };
        let before = ChunkKey { chunk: before(key), ..key };
        let listed = self.store.list(key.slot, Some(before), 1);
        let digest = listed.first().filter(|one| one.key == key).map(|one| one.digest);
        let asked = self.shared.borrow().model.asked(key, number);
        let found = asked.into_iter().find(|version| {
            let body = version.body.as_ref().filter(|body| body.len() == len);
            body.is_some_and(|body| Some(body.digest(key.chunk, number)) == digest)
        });
        let Some(version) = found else {
            let what =
                format!("{key} {number} of {len} bytes, digest {digest:x?}: nobody wrote it");
            return Err(Trouble::Broken(NEVER_WRITTEN, what));
        };
        self.compare(key, Which::Committed, &version).await?;
        Ok(Some(version))
    }

    async fn adopt_pending(&self, key: ChunkKey) -> Result<Option<Rc<Version>>, Trouble> {
        let Some((number, len)) = self.store.state(&key).pending else { return Ok(None) };
        let mut asked = self.shared.borrow().model.asked(key, number);
        asked.retain(|version| version.body.as_ref().map(|body| body.len()) == len);
        if asked.is_empty() {
            let what = format!("{key} {number} is pending with {len:?} bytes: nobody asked for it");
            return Err(Trouble::Broken(NEVER_WRITTEN, what));
        }
        let bytes = match len {
            None => return Ok(asked.pop()),
            Some(_) => self.whole(key, Which::Pending).await,
        };
        let same = |version: &Rc<Version>, bytes: &Whole<E>| {
            let body = version.body.as_ref();
            body.is_some_and(|body| whole_difference::<E>(body, bytes).is_none())
        };
        match bytes {
            Ok(bytes) => match asked.into_iter().find(|version| same(version, &bytes)) {
                Some(version) => Ok(Some(version)),
                None => Err(Trouble::Broken(
                    "T50 bytes",
                    format!("the pending bytes of {key} {number} are of no version"),
                )),
            },
            // Nobody can say which it is, so nobody can go on with it.
            Err(_) => match self.store.abort(&key, number).await {
                Ok(()) => Ok(None),
                Err(_) => Err(Trouble::Unreadable),
            },
        }
    }

    /// Reads are right or refused.
    async fn compare(&self, key: ChunkKey, which: Which, right: &Version) -> Result<(), Trouble> {
        let body = right.body.as_ref().expect("a chunk that is there");
        match self.whole(key, which).await {
            Ok(bytes) => match whole_difference::<E>(body, &bytes) {
                None => Ok(()),
                Some(at) => {
                    let what = format!("{key} {} differs from byte {at} on", right.number);
                    Err(Trouble::Broken("T50 bytes", what))
                }
            },
            Err(_) => Ok(()),
        }
    }

    /// Reads every checksum block by itself, lets the scrubber look, repairs what both found.
    pub async fn inspect(&self) {
        let found = match self.refused().await {
            Ok(found) => found,
            Err(why) => return self.broken(SCRUB, why),
        };
        let scrubbed = match self.store.scrub(None, ScrubLimits::default(), |_| {}).await {
            Ok(progress) => progress,
            Err(why) => return self.broken(SCRUB, format!("it ended: {why}")),
        };
        let places: BTreeSet<_> =
            scrubbed.damage.iter().map(|damage| (damage.key, damage.block)).collect();
        if places != found || scrubbed.damaged != found.len() as u64 {
            let what = format!("the scrubber found {places:?}, reads refuse {found:?}");
            return self.broken(SCRUB, what);
        }
        if !found.is_empty() {
            reached!("T52: the scrubber found damage");
        }
        for damage in scrubbed.damage {
            let alone = found.iter().filter(|(key, _)| *key == damage.key).count() == 1;
            if let Err(why) = self.repair(damage, alone).await {
                return self.broken(SCRUB, format!("{damage:?}: {why}"));
            }
        }
    }

    /// Checksum blocks that no read gives.
    async fn refused(&self) -> Result<BTreeSet<(ChunkKey, u32)>, String> {
        let mut refused = BTreeSet::new();
        for (key, body) in self.bodies() {
            let block = body.size().checksum_block_bytes();
            for index in 0..body.data_end().div_ceil(block) {
                let read = Read {
                    key,
                    offset: index * block,
                    len: block,
                    version: Which::Committed,
                    verify: true,
                };
                match self.store.read(read).await {
                    Ok(content) => {
                        if let Some(at) = difference(&body, &read, &content) {
                            return Err(format!("{key} block {index} differs from byte {at} on"));
                        }
                    }
                    Err(ReadError::Corrupt { .. }) => {
                        refused.insert((key, index));
                    }
                    Err(why) => return Err(why.to_string()),
                }
            }
        }
        Ok(refused)
    }

    fn bodies(&self) -> Vec<(ChunkKey, Rc<Body>)> {
        let ledger = self.shared.borrow();
        let committed = ledger.model.chunks.iter().filter_map(|(key, chunk)| {
            let body = chunk.now().committed.as_ref()?.body.clone()?;
            Some((*key, body)).filter(|_| !chunk.busy)
        });
        committed.collect()
    }

    async fn repair(&self, damage: Damage, alone: bool) -> Result<(), String> {
        let Damage { key, block, .. } = damage;
        let body = self.bodies().into_iter().find(|(found, _)| *found == key);
        let Some((_, body)) = body else { return Err("the chunk is gone".to_owned()) };
        let whole = body.size().checksum_block_bytes();
        let len = whole.min(body.data_end() - block * whole);
        let right = body.range(block * whole, len);
        match self.store.repair(damage.key, damage.version, &[(damage.block, &right[..])]).await {
            Ok(()) => {}
            // Two damaged places of one block cannot be repaired one after the other; a chunk on
            // which something is pending is repaired later.
            Err(RepairError::Read(_)) if !alone => return Ok(()),
            Err(RepairError::Changed { .. }) if self.is_pending(key) => return Ok(()),
            Err(why) => return Err(why.to_string()),
        }
        reached!("T52: damage was repaired");
        let read =
            Read { key, offset: block * whole, len, version: Which::Committed, verify: true };
        let content = self.store.read(read).await.map_err(|why| why.to_string())?;
        match difference(&body, &read, &content) {
            None => Ok(()),
            Some(at) => Err(format!("after the repair it differs from byte {at} on")),
        }
    }

    fn is_pending(&self, key: ChunkKey) -> bool {
        self.shared.borrow().model.chunk(&key).now().pending.is_some()
    }
}

/// The chunk before, in the order of lists.
fn before(key: ChunkKey) -> engine_types::ChunkId {
    let engine_types::ChunkId { inode, index } = key.chunk;
    match index.checked_sub(1) {
        Some(index) => engine_types::ChunkId { inode, index },
        None => {
            let inode = engine_types::InodeId::new(inode.get() - 1);
            engine_types::ChunkId { inode, index: u32::MAX }
        }
    }
}
