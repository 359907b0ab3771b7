use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use engine_types::Rng;

use super::{Place, Position, Ring, RingError, RingLimits};
use crate::address::Lsn;

const PAGE: u64 = 4096;

fn lsn(raw: u64) -> Lsn {
    Lsn::new(raw)
}

/// An empty ring of `pages` whose next group is number 1.
fn ring(pages: u64) -> Ring {
    let tail = Position { lsn: lsn(1), offset: 0, prev_hash: 100 };
    Ring::recovered(pages * PAGE, tail, lsn(1))
}

/// Places and writes a group with `images`; its hash is 100 plus its number.
fn log(ring: &mut Ring, pages: u64, images: usize) -> Place {
    let place = ring.place(pages * PAGE).unwrap();
    (0..images).for_each(|_| ring.hold(place.lsn));
    ring.written(place.lsn, 100 + place.lsn.get());
    place
}

#[test]
fn groups_lie_one_behind_the_other_and_wrap_whole() {
    let mut ring = ring(16);
    for (pages, lsn_raw, offset) in [(6, 1, 0), (6, 2, 6)] {
        let expected = Place { lsn: lsn(lsn_raw), offset: offset * PAGE, prev_hash: 99 + lsn_raw };
        assert_eq!(log(&mut ring, pages, 0), expected);
    }
    assert_eq!(ring.place(5 * PAGE), None, "4 pages behind the head, none before the tail");
    let tail = ring.tail_candidate(lsn(2));
    assert_eq!(tail, Position { lsn: lsn(2), offset: 6 * PAGE, prev_hash: 101 });
    ring.advance_tail(lsn(2), tail);
    assert_eq!((ring.used(), ring.free()), (6 * PAGE, 10 * PAGE));
    assert_eq!(ring.place(7 * PAGE), None, "6 pages before the tail");
    assert_eq!(log(&mut ring, 6, 0), Place { lsn: lsn(3), offset: 0, prev_hash: 102 });
    assert_eq!((ring.used(), ring.free()), (16 * PAGE, 0), "4 skipped pages count as used");
    ring.advance_tail(lsn(3), ring.tail_candidate(lsn(3)));
    assert_eq!(ring.used(), 6 * PAGE, "the skipped pages went with the group before them");
    ring.advance_tail(lsn(4), ring.tail_candidate(lsn(4)));
    assert_eq!((ring.used(), ring.last(), ring.tail_lsn()), (0, lsn(3), lsn(4)));
}

#[test]
fn e182_a_group_of_half_the_ring_fits_an_empty_ring_wherever_the_head_is() {
    for before in 1..=8 {
        let mut ring = ring(16);
        log(&mut ring, before, 0);
        ring.advance_tail(lsn(2), ring.tail_candidate(lsn(2)));
        assert_eq!(ring.group_bytes_max(), 8 * PAGE);
        assert!(ring.place(8 * PAGE).is_some(), "head at page {before}");
    }
}

#[test]
fn e184_the_tail_stays_at_the_oldest_held_image() {
    let mut ring = ring(64);
    log(&mut ring, 1, 0);
    log(&mut ring, 1, 2);
    log(&mut ring, 1, 0);
    log(&mut ring, 1, 1);
    assert_eq!(ring.oldest_held(), Some(lsn(2)));
    assert_eq!(ring.tail_candidate(lsn(4)).lsn, lsn(2));
    assert_eq!(ring.tail_candidate(lsn(1)).lsn, lsn(1), "nor does it pass the start");
    assert_eq!((ring.applied_lsn(), ring.held_bytes()), (lsn(1), 3 * PAGE));
    ring.release(lsn(2));
    assert_eq!(ring.oldest_held(), Some(lsn(2)), "one of two");
    ring.release(lsn(2));
    assert_eq!((ring.oldest_held(), ring.applied_lsn()), (Some(lsn(4)), lsn(3)));
    ring.advance_tail(lsn(5), ring.tail_candidate(lsn(5)));
    assert_eq!((ring.tail_lsn(), ring.used()), (lsn(4), PAGE));
    ring.release(lsn(4));
    assert_eq!((ring.oldest_held(), ring.applied_lsn()), (None, lsn(4)));
    assert_eq!((ring.tail_candidate(lsn(5)).lsn, ring.held_bytes()), (lsn(5), 0));
}

/// A header is made before anything is known of the images of its own group.
#[test]
fn e185_a_header_never_says_that_its_own_images_are_home() {
    let mut ring = ring(64);
    assert_eq!(ring.applied_lsn(), Lsn::ZERO);
    let first = ring.place(PAGE).unwrap();
    assert_eq!(ring.applied_lsn(), Lsn::ZERO, "not of group 1, although it holds nothing yet");
    ring.hold(first.lsn);
    ring.written(first.lsn, 1);
    assert_eq!(ring.applied_lsn(), Lsn::ZERO);
    let second = ring.place(PAGE).unwrap();
    ring.release(first.lsn);
    assert_eq!(ring.applied_lsn(), first.lsn, "released, but group 2 is being made");
    ring.written(second.lsn, 2);
    assert_eq!(ring.applied_lsn(), second.lsn);
}

#[test]
fn a_tail_behind_the_newest_group_waits_for_its_hash() {
    let mut ring = ring(64);
    log(&mut ring, 2, 0);
    let place = ring.place(3 * PAGE).unwrap();
    let newest = Position { lsn: lsn(2), offset: 2 * PAGE, prev_hash: 101 };
    assert_eq!(ring.tail_candidate(lsn(3)), newest, "the hash of group 2 is not known yet");
    ring.written(place.lsn, 102);
    let end = Position { lsn: lsn(3), offset: 5 * PAGE, prev_hash: 102 };
    assert_eq!(ring.tail_candidate(lsn(3)), end);
    // The superblock is being written while the next group takes its place.
    log(&mut ring, 1, 0);
    ring.advance_tail(lsn(3), end);
    assert_eq!((ring.tail_lsn(), ring.used()), (lsn(3), PAGE));
}

#[test]
fn shares_say_when_to_admit_to_dump_and_to_log_again() {
    let mut ring = ring(16);
    assert!(ring.admits(12 * PAGE) && !ring.admits(12 * PAGE + 1));
    log(&mut ring, 4, 1);
    assert!(ring.admits(8 * PAGE) && !ring.admits(9 * PAGE));
    assert!(!ring.checkpoint_due(), "a quarter is not more than a quarter");
    log(&mut ring, 1, 1);
    assert!(ring.checkpoint_due());
    assert_eq!(ring.due_relog(), None);
    log(&mut ring, 3, 0);
    assert_eq!(ring.due_relog(), None, "half is not more than half");
    log(&mut ring, 1, 0);
    assert_eq!(ring.due_relog(), Some(lsn(2)), "group 1 is nine pages back");
    ring.release(lsn(1));
    assert_eq!(ring.due_relog(), None, "group 2 is five pages back");
    ring.advance_tail(lsn(5), ring.tail_candidate(lsn(5)));
    assert!(!ring.checkpoint_due());
    assert_eq!(ring.tail_lsn(), lsn(2));
    assert!(ring.place(8 * PAGE).is_none() && ring.place(7 * PAGE).is_some(), "up to the full");
}

#[test]
fn limits_can_be_set() {
    let limits = RingLimits { updates: PAGE, checkpoint: 2 * PAGE, relog: 3 * PAGE };
    let mut ring = ring(16).with_limits(limits);
    assert!(ring.admits(PAGE) && !ring.admits(PAGE + 1));
    log(&mut ring, 3, 1);
    assert!(ring.checkpoint_due() && ring.due_relog().is_none());
    log(&mut ring, 1, 0);
    assert_eq!(ring.due_relog(), Some(lsn(2)));
}

#[test]
fn a_scan_is_told_where_to_look_and_refused_what_cannot_be() {
    let tail = Position { lsn: lsn(7), offset: 10 * PAGE, prev_hash: 6 };
    let mut ring = Ring::recovered(16 * PAGE, tail, lsn(8));
    let wrapped = Position { offset: 0, ..tail };
    assert_eq!(ring.expected(), (tail, Some(wrapped)));
    assert_eq!(ring.found(10 * PAGE, 4 * PAGE, 7), Ok(lsn(7)));
    let (lsn8, free) = (lsn(8), 12 * PAGE);
    let size = |pages, offset| RingError::Size {
        lsn: lsn8,
        bytes: pages * PAGE,
        offset: offset * PAGE,
        free,
    };
    let expected = 14 * PAGE;
    let rows = [
        (13, 1, RingError::Misplaced { lsn: lsn8, found: 13 * PAGE, expected }),
        (14, 3, size(3, 14)),
        (14, 0, size(0, 14)),
        (0, 11, size(11, 0)),
    ];
    for (offset, pages, why) in rows {
        assert_eq!(ring.found(offset * PAGE, pages * PAGE, 8), Err(why));
    }
    let odd = ring.found(14 * PAGE, PAGE + 1, 8);
    assert!(matches!(odd, Err(RingError::Size { bytes: 4097, .. })), "{odd:?}");
    assert!(ring.found(0, u64::MAX, 8).is_err());
    assert_eq!(ring.found(0, 5 * PAGE, 8), Ok(lsn(8)));
    ring.hold(lsn(7));
    ring.hold(lsn(8));
    assert_eq!((ring.used(), ring.applied_lsn()), (11 * PAGE, lsn(6)));
    assert_eq!(ring.place(PAGE), Some(Place { lsn: lsn(9), offset: 5 * PAGE, prev_hash: 8 }));
}

/// Groups of the model: what the ring's bytes hold, page by page, and what must survive.
struct Model {
    ring: Ring,
    /// Group in each page, and nothing else tells a scan where groups lie.
    pages: Vec<Option<(u64, bool)>>,
    sizes: BTreeMap<u64, u64>,
    held: BTreeMap<u64, u32>,
    /// The superblock: tail and checkpoint start.
    tail: Position,
    start: u64,
    /// Tails that are being written.
    writing: VecDeque<(u64, Position)>,
}

impl Model {
    fn new(pages: u64) -> Self {
        let tail = Position { lsn: lsn(1), offset: 0, prev_hash: 100 };
        Self {
            ring: ring(pages),
            pages: (0..pages).map(|_| None).collect(),
            sizes: BTreeMap::new(),
            held: BTreeMap::new(),
            tail,
            start: 1,
            writing: VecDeque::new(),
        }
    }

    fn page(offset: u64) -> usize {
        usize::try_from(offset / PAGE).unwrap()
    }

    fn step(&mut self, rng: &mut Rng) {
        match rng.below(10) {
            0..4 => self.log(rng),
            4..7 => {
                let held: Vec<u64> = self.held.keys().copied().collect();
                if let Some(&group) = rng.pick(&held) {
                    self.ring.release(lsn(group));
                    let count = self.held.get_mut(&group).unwrap();
                    *count -= 1;
                    if *count == 0 {
                        self.held.remove(&group);
                    }
                }
            }
            7 => {
                let newest = self.writing.back().map_or(self.start, |&(start, _)| start);
                let start = rng.range(newest..=self.ring.next_lsn().get());
                self.writing.push_back((start, self.ring.tail_candidate(lsn(start))));
            }
            _ => {
                if let Some((start, tail)) = self.writing.pop_front() {
                    (self.tail, self.start) = (tail, start);
                    self.ring.advance_tail(lsn(start), tail);
                }
            }
        }
    }

    fn log(&mut self, rng: &mut Rng) {
        let max = self.ring.group_bytes_max() / PAGE;
        let pages = rng.range(1..=max).min(rng.range(1..=max));
        let fits = self.ring.fits(pages * PAGE);
        let place = self.ring.place(pages * PAGE);
        assert_eq!(place.is_some(), fits);
        let Some(place) = place else { return };
        let number = place.lsn.get();
        for page in 0..pages {
            let slot = &mut self.pages[Self::page(place.offset + page * PAGE)];
            if let Some((old, _)) = *slot {
                assert!(old < self.tail.lsn.get(), "group {old} is live and overwritten");
            }
            *slot = Some((number, page == 0));
        }
        self.sizes.insert(number, pages);
        for _ in 0..rng.below(3) {
            self.ring.hold(place.lsn);
            *self.held.entry(number).or_default() += 1;
        }
        let oldest = self.held.keys().next().copied().unwrap_or(number);
        assert_eq!(self.ring.applied_lsn().get(), oldest.min(number) - 1);
        self.ring.written(place.lsn, 100 + number);
    }

    /// Follows the groups from the superblock as a scan does, into a fresh ring.
    fn recover(&self) -> Ring {
        let mut ring = Ring::recovered(self.ring.capacity(), self.tail, lsn(self.start));
        loop {
            let (behind, wrapped) = ring.expected();
            let fits = |position: &Position| {
                let chained = position.prev_hash == 99 + position.lsn.get();
                let found = self.pages[Self::page(position.offset)];
                assert!(chained);
                found == Some((position.lsn.get(), true))
            };
            let next = [Some(behind), wrapped].into_iter().flatten().find(fits);
            let Some(Position { lsn, offset, .. }) = next else { return ring };
            let bytes = self.sizes[&lsn.get()] * PAGE;
            assert_eq!(ring.found(offset, bytes, 100 + lsn.get()), Ok(lsn));
        }
    }

    fn check(&self) {
        let ring = &self.ring;
        let oldest = self.held.keys().next().copied();
        assert_eq!(ring.oldest_held().map(Lsn::get), oldest);
        assert_eq!(ring.used() + ring.free(), ring.capacity());
        let mut recovered = self.recover();
        assert_eq!(recovered.last(), ring.last(), "every live group is found");
        assert_eq!(recovered.tail_lsn(), ring.tail_lsn());
        for (&group, &count) in &self.held {
            (0..count).for_each(|_| recovered.hold(lsn(group)));
        }
        assert_eq!(recovered.applied_lsn(), ring.applied_lsn());
        assert_eq!(recovered.due_relog(), ring.due_relog());
        assert_eq!(recovered.held_bytes(), ring.held_bytes());
        assert_eq!(recovered.used(), ring.used());
    }
}

#[test]
fn e184_live_groups_are_never_overwritten_and_always_found_again() {
    for seed in 0..30 {
        let mut rng = Rng::new(seed);
        let mut model = Model::new(rng.range(4..=40));
        std::println!("seed {seed}: {} pages", model.pages.len());
        for _ in 0..1_000 {
            model.step(&mut rng);
            model.check();
        }
        assert!(3 * model.ring.capacity < model.ring.head, "seed {seed}: the ring turns");
    }
}

#[test]
#[should_panic(expected = "E184: lsn-2 passes an image")]
fn e184_a_tail_that_passes_an_image_is_noticed() {
    let mut ring = ring(16);
    log(&mut ring, 1, 1);
    let tail = Position { lsn: lsn(2), offset: PAGE, prev_hash: 101 };
    ring.advance_tail(lsn(2), tail);
}

#[test]
#[should_panic(expected = "E184: tail lsn-2, start lsn-1")]
fn e184_a_tail_that_passes_the_checkpoint_is_noticed() {
    let mut ring = ring(16);
    log(&mut ring, 1, 0);
    let tail = ring.tail_candidate(lsn(2));
    ring.advance_tail(lsn(1), tail);
}

#[test]
#[should_panic(expected = "S7: the tail is no place of the chain")]
fn s7_a_tail_off_the_chain_is_noticed() {
    let mut ring = ring(16);
    log(&mut ring, 1, 0);
    ring.advance_tail(lsn(2), Position { lsn: lsn(2), offset: PAGE, prev_hash: 7 });
}

#[test]
#[should_panic(expected = "E184: lsn-1 holds no image")]
fn e184_a_second_release_is_noticed() {
    let mut ring = ring(16);
    log(&mut ring, 1, 1);
    ring.release(lsn(1));
    ring.release(lsn(1));
}

#[test]
#[should_panic(expected = "E185: lsn-1 is written, it takes no more images")]
fn e185_a_late_hold_is_noticed() {
    let mut ring = ring(16);
    log(&mut ring, 1, 0);
    ring.hold(lsn(1));
}

#[test]
#[should_panic(expected = "E183: the group before has no hash yet")]
fn e183_two_groups_at_once_are_noticed() {
    let mut ring = ring(16);
    let _ = ring.place(PAGE);
    let _ = ring.place(PAGE);
}

#[test]
#[should_panic(expected = "E182: a group of 36864 bytes, at most 32768")]
fn e182_a_group_that_might_never_fit_is_noticed() {
    let _ = ring(16).place(9 * PAGE);
}

#[test]
#[should_panic(expected = "E184: lsn-3 is outside lsn-1..lsn-2")]
fn e184_a_group_that_is_not_live_is_noticed() {
    let mut ring = ring(16);
    log(&mut ring, 1, 1);
    ring.release(lsn(3));
}
