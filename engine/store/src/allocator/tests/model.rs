//! Random operations against a naive allocator: lists that are searched, nothing is counted ahead.

mod naive;

use std::collections::BTreeSet;
use std::vec::Vec;
use std::{format, println};

use engine_types::Rng;

use super::super::{Allocator, AllocatorConfig, NoBlock, Purpose, SegmentState};
use super::{below, class};
use crate::address::{BlockAddress, BlockClass, Lsn, SegmentId};
use naive::Naive;

/// How a run is mixed.
struct Mix {
    config: AllocatorConfig,
    /// Classes that are asked for.
    classes: &'static [u8],
    /// Most blocks of one step: small blocks fill a segment by hundreds only.
    batch: u64,
    seed: u64,
    steps: u32,
}

/// A run: both allocators, and what the caller of them has to remember.
struct Run {
    store: Allocator,
    naive: Naive,
    rng: Rng,
    reserved: Vec<BlockAddress>,
    live: Vec<BlockAddress>,
    /// Raised with time, as in a store, but not evenly.
    lsn: u64,
    pin: u64,
    durable: u64,
    claiming: Vec<SegmentId>,
    discarding: Vec<SegmentId>,
    /// Errors met, by name.
    met: BTreeSet<&'static str>,
    /// Fills or empties: both ends have to be seen.
    is_filling: bool,
}

#[test]
fn e110_to_e114_random_operations_agree_with_a_naive_allocator() {
    let new = |segments, sparse| AllocatorConfig::new(segments, sparse);
    let bare = AllocatorConfig { reserve_segments: 0, full_permille: 1000, ..new(1, false) };
    let small = AllocatorConfig { reserve_segments: 1, ..new(4, false) };
    let ahead = AllocatorConfig { claim_ahead: 5, full_permille: 600, ..new(30, true) };
    let kept = AllocatorConfig { reserve_segments: 9, ..new(20, true) };
    #[rustfmt::skip]
    let mixes = [
        Mix { config: new(7, false), classes: &[8, 9, 10], batch: 8, seed: 1, steps: 25_000 },
        Mix { config: new(12, true), classes: &[6, 9, 10], batch: 12, seed: 2, steps: 25_000 },
        Mix { config: bare, classes: &[7, 10], batch: 20, seed: 3, steps: 10_000 },
        Mix { config: small, classes: &[0, 4, 10], batch: 400, seed: 4, steps: 4_000 },
        Mix { config: ahead, classes: &[8, 9, 10], batch: 20, seed: 5, steps: 20_000 },
        Mix { config: kept, classes: &[10], batch: 10, seed: 6, steps: 20_000 },
    ];
    let mut met = BTreeSet::new();
    for mix in mixes {
        let mut run = Run::new(&mix);
        for step in 0..mix.steps {
            if let Err(panic) = caught(|| run.step(&mix, step)) {
                println!("seed {}, step {step}, {:?}", mix.seed, mix.config);
                std::panic::resume_unwind(panic);
            }
        }
        met.extend(run.met);
    }
    let all = ["Discarding", "Full", "HostFull", "Starved", "Unclaimed", "candidate", "crash"];
    assert_eq!(met.into_iter().collect::<Vec<_>>(), all, "every way out was taken");
}

fn caught(act: impl FnOnce()) -> std::thread::Result<()> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(act))
}

impl Run {
    fn new(mix: &Mix) -> Self {
        Self {
            store: Allocator::new(mix.config).unwrap(),
            naive: Naive::new(mix.config),
            rng: Rng::new(mix.seed),
            reserved: Vec::new(),
            live: Vec::new(),
            lsn: 1,
            pin: 1,
            durable: 0,
            claiming: Vec::new(),
            discarding: Vec::new(),
            met: BTreeSet::new(),
            is_filling: true,
        }
    }

    fn step(&mut self, mix: &Mix, step: u32) {
        if step.is_multiple_of(700) {
            self.is_filling = !self.is_filling;
        }
        match self.rng.below(100) {
            0..40 => self.fill(mix),
            40..65 => self.drop_some(mix),
            65..80 => self.release(),
            80..88 => self.claims(),
            88..94 => self.discards(),
            94..99 => self.freeze_or_thaw(),
            _ => self.look(mix, step),
        }
    }

    fn fill(&mut self, mix: &Mix) {
        let class = class(*self.rng.pick(mix.classes).unwrap());
        let purpose = match self.rng.below(10) {
            0 => Purpose::Compact,
            1 => Purpose::Recover,
            _ => Purpose::Write,
        };
        let most = if self.is_filling { mix.batch } else { mix.batch / 4 };
        for _ in 0..=self.rng.below(most + 1) {
            if !self.reserve(class, purpose) {
                break;
            }
        }
        let count = self.rng.below(self.reserved.len() as u64 + 1);
        for _ in 0..count {
            let block = take(&mut self.rng, &mut self.reserved);
            self.store.publish(block);
            self.naive.publish(block);
            self.live.push(block);
        }
    }

    /// Whether there was a block.
    fn reserve(&mut self, class: BlockClass, purpose: Purpose) -> bool {
        let expected = self.naive.choices(class, purpose);
        let found = self.store.reserve(class, purpose);
        match (found, expected) {
            (Ok(block), Ok(segments)) => {
                assert!(segments.contains(&block.segment()), "{block} not of {segments:?}");
                self.naive.reserve(block, class);
                self.reserved.push(block);
                true
            }
            (Err(found), Err(expected)) => {
                assert_eq!(found, expected);
                self.met.insert(name(found));
                if found == NoBlock::Unclaimed && self.claiming.is_empty() {
                    self.next_claim().expect("what has to be claimed can be claimed");
                }
                false
            }
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    fn drop_some(&mut self, mix: &Mix) {
        let most = if self.is_filling { mix.batch / 4 } else { mix.batch };
        // Whole segments seldom become empty by chance alone.
        let only = self.rng.chance(300).then(|| self.any_segment());
        for _ in 0..=self.rng.below(most + 1) {
            self.lsn += self.rng.below(2);
            self.pin += self.rng.below(2);
            // Now and then a number that does not ascend.
            let lsn = Lsn::new(self.lsn - self.rng.below(self.lsn.min(4)));
            let pin = self.pin - self.rng.below(self.pin.min(4));
            if !self.reserved.is_empty() && self.rng.chance(150) {
                let block = take(&mut self.rng, &mut self.reserved);
                if self.rng.chance(500) {
                    self.store.unreserve(block);
                    self.naive.free(block);
                } else {
                    self.store.quarantine_reserved(block, lsn, pin);
                    self.naive.quarantine(block, lsn, pin);
                }
            } else if !self.live.is_empty() {
                let at = only.and_then(|it| self.live.iter().position(|b| b.segment() == it));
                let block = match at {
                    Some(at) => self.live.swap_remove(at),
                    None => take(&mut self.rng, &mut self.live),
                };
                self.store.quarantine(block, lsn, pin);
                self.naive.quarantine(block, lsn, pin);
            }
        }
    }

    fn release(&mut self) {
        // What was durable stays so; the oldest plan is not promised to ascend.
        self.durable = self.durable.max(self.lsn - self.rng.below(self.lsn.min(10)));
        let durable = Lsn::new(self.durable);
        let passed = self.pin - self.rng.below(self.pin.min(10));
        assert_eq!(self.store.release(durable, passed), self.naive.release(durable, passed));
    }

    fn next_claim(&mut self) -> Option<SegmentId> {
        let wants = self.store.wants_work();
        let found = self.store.next_claim();
        assert!(wants || found.is_none());
        assert_eq!(found, self.naive.next_claim());
        self.claiming.extend(found);
        found
    }

    fn claims(&mut self) {
        while self.rng.chance(700) && self.next_claim().is_some() {}
        while !self.claiming.is_empty() && self.rng.chance(700) {
            let segment = take(&mut self.rng, &mut self.claiming);
            if self.rng.chance(30) {
                self.store.claim_failed(segment);
                self.naive.claim_failed(segment);
            } else {
                self.store.claimed(segment);
                self.naive.set(segment, SegmentState::Pool);
            }
        }
        if self.rng.chance(30) {
            self.store.retry_claims();
            self.naive.is_host_full = false;
        }
    }

    fn discards(&mut self) {
        while self.rng.chance(600) {
            let wants = self.store.wants_work();
            let found = self.store.next_discard();
            // Nothing to discard, and still work: then it is a claim.
            assert!(wants || found.is_none());
            if found.is_none() && wants {
                self.next_claim().expect("there is work");
            }
            assert_eq!(found, self.naive.next_discard());
            self.discarding.extend(found);
        }
        while !self.discarding.is_empty() && self.rng.chance(600) {
            let segment = take(&mut self.rng, &mut self.discarding);
            if self.naive.config.sparse && self.rng.chance(500) {
                self.store.unclaimed(segment);
                self.naive.set(segment, SegmentState::Unclaimed);
                self.naive.is_host_full = false;
            } else {
                self.store.discarded(segment);
                self.naive.set(segment, SegmentState::Pool);
            }
        }
    }

    fn freeze_or_thaw(&mut self) {
        let segment = self.any_segment();
        match self.naive.state(segment) {
            SegmentState::Open(_) if self.rng.chance(300) => {
                self.store.freeze(segment);
                self.naive.freeze(segment);
            }
            state => {
                let is_frozen = matches!(state, SegmentState::Frozen(_));
                assert_eq!(self.store.thaw(segment), is_frozen);
                self.naive.thaw(segment);
            }
        }
        let candidate = self.store.compaction_candidate();
        assert_eq!(candidate.map(|it| (it.live_bytes(), it.live)), self.naive.candidate());
        if let Some(it) = candidate {
            assert_eq!(self.naive.live_and_free(it.segment), (it.live, it.free));
            self.met.insert("candidate");
        }
    }

    /// Compares everything; crashes now and then.
    fn look(&mut self, mix: &Mix, step: u32) {
        self.store.check();
        self.naive.compare(&self.store);
        let named = self.naive.live().collect::<Vec<_>>();
        assert_eq!(self.store.audit(named.iter().copied()), Ok(()));
        if !self.rng.chance(200) {
            return;
        }
        self.met.insert("crash");
        *self = Self {
            store: Allocator::new(mix.config).unwrap(),
            naive: Naive::new(mix.config),
            rng: self.rng.fork(&format!("crash {step}")),
            reserved: Vec::new(),
            claiming: Vec::new(),
            discarding: Vec::new(),
            met: core::mem::take(&mut self.met),
            live: core::mem::take(&mut self.live),
            ..*self
        };
        for &(block, class) in &named {
            self.store.load(block, class).unwrap();
            self.naive.adopt(block, class);
        }
        self.store.loaded();
        self.store.check();
        self.naive.compare(&self.store);
    }

    fn any_segment(&mut self) -> SegmentId {
        SegmentId::new(below(&mut self.rng, self.naive.config.segments))
    }
}

fn take<T>(rng: &mut Rng, items: &mut Vec<T>) -> T {
    let count = u32::try_from(items.len()).unwrap();
    items.swap_remove(below(rng, count) as usize)
}

fn name(error: NoBlock) -> &'static str {
    match error {
        NoBlock::Full { .. } => "Full",
        NoBlock::Starved { .. } => "Starved",
        NoBlock::Unclaimed => "Unclaimed",
        NoBlock::Discarding => "Discarding",
        NoBlock::HostFull => "HostFull",
    }
}
