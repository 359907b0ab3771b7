use alloc::vec::Vec;

use engine_types::ChunkVersion;

use super::{Apply, Kills, Overlay, View};
use crate::address::{ChunkKey, Lsn, Slot};
use crate::entry::SectorRange;

mod model;

const KEY: ChunkKey = ChunkKey::new(Slot::new(3), 7, 1);
const OTHER: ChunkKey = ChunkKey::new(Slot::new(3), 7, 2);

fn v(raw: u32) -> ChunkVersion {
    ChunkVersion::new(raw)
}

fn lsn(raw: u64) -> Lsn {
    Lsn::new(raw)
}

fn range(first: u16, count: u16) -> SectorRange {
    SectorRange { first, count }
}

/// An overlay of names, and what it released.
struct Bench {
    overlay: Overlay<&'static str>,
    released: Vec<Lsn>,
}

impl Bench {
    fn new() -> Self {
        Self { overlay: Overlay::new(100), released: Vec::new() }
    }

    fn insert(&mut self, version: u32, group: u64, sector: u16, name: &'static str) {
        self.overlay.insert(KEY, v(version), lsn(group), sector, name);
        self.overlay.check();
    }

    fn commit(&mut self, version: u32, group: u64, pin: u64, kills: &Kills<'_>) {
        self.overlay.committed(&KEY, v(version), lsn(group), pin, kills);
        self.overlay.check();
    }

    /// Groups of the images that this releases.
    fn durable(&mut self, group: u64) -> Vec<u64> {
        self.overlay.durable(lsn(group), &mut self.released);
        self.overlay.check();
        self.taken()
    }

    fn apply(&mut self, oldest: u64) -> Option<Apply<&'static str>> {
        let apply = self.overlay.next_apply(oldest);
        self.overlay.check();
        apply
    }

    fn written(&mut self, apply: Apply<&'static str>) -> Vec<u64> {
        self.overlay.apply_written(apply.ticket, &mut self.released);
        self.overlay.check();
        self.taken()
    }

    fn flush(&mut self) -> Vec<u64> {
        let token = self.overlay.flush_started();
        self.overlay.flush_done(token, &mut self.released);
        self.overlay.check();
        self.taken()
    }

    fn taken(&mut self) -> Vec<u64> {
        self.released.drain(..).map(Lsn::get).collect()
    }

    fn see(&self, view: View<'_>) -> Vec<(u16, &'static str)> {
        let mut seen = Vec::new();
        self.overlay.overlay(&KEY, view, 0..100, |sector, &name| seen.push((sector, name)));
        seen
    }

    fn committed(&self) -> Vec<(u16, &'static str)> {
        self.see(View::Committed)
    }
}

#[test]
fn an_image_lives_from_its_logging_to_the_flush_of_its_home() {
    let mut bench = Bench::new();
    bench.insert(1, 10, 4, "a");
    assert_eq!(bench.committed(), [], "a pending version is seen by those who ask for it");
    assert_eq!(bench.see(View::Pending(v(1), Kills::NONE)), [(4, "a")]);
    assert!(bench.overlay.live_image(&KEY, 4) && !bench.overlay.live_image(&KEY, 5));
    assert!(!bench.overlay.live_image(&OTHER, 4));

    bench.commit(1, 11, 5, &Kills::NONE);
    assert_eq!(bench.committed(), [(4, "a")], "in memory at once");
    assert_eq!((bench.overlay.ready_count(), bench.apply(9).is_none()), (0, true));
    assert_eq!(bench.durable(10), []);
    assert!(bench.apply(9).is_none(), "the commit is not durable");
    assert_eq!(bench.durable(11), []);
    assert_eq!(bench.overlay.ready_count(), 1);
    assert!(bench.apply(4).is_none(), "S4: plan 4 may read the home sector");

    let apply = bench.apply(5).unwrap();
    assert_eq!((apply.key, apply.version, apply.sector), (KEY, v(1), 4));
    assert_eq!((apply.lsn, apply.image), (lsn(10), "a"));
    assert!(bench.apply(5).is_none());
    assert_eq!((bench.overlay.ready_count(), bench.overlay.applying_count()), (0, 1));
    let early = bench.overlay.flush_started();
    assert_eq!(bench.written(apply), []);
    bench.overlay.flush_done(early, &mut bench.released);
    assert_eq!(bench.taken(), [], "S3: that flush began before the write had completed");
    assert_eq!((bench.committed(), bench.overlay.applied_count()), (Vec::from([(4, "a")]), 1));
    assert_eq!(bench.flush(), [10]);
    assert_eq!((bench.committed(), bench.overlay.count()), (Vec::new(), 0));
    assert!(!bench.overlay.live_image(&KEY, 4));
}

#[test]
fn a_newer_image_of_the_sector_ends_an_older_one() {
    let mut bench = Bench::new();
    bench.insert(1, 10, 4, "old");
    bench.insert(1, 10, 5, "kept");
    bench.commit(1, 11, 0, &Kills::NONE);
    assert_eq!(bench.durable(11), []);
    bench.insert(2, 12, 4, "new");
    assert_eq!(bench.committed(), [(4, "old"), (5, "kept")]);
    assert_eq!(bench.see(View::Pending(v(2), Kills::NONE)), [(4, "new"), (5, "kept")]);
    bench.commit(2, 13, 1, &Kills::NONE);
    assert_eq!(bench.committed(), [(4, "new"), (5, "kept")]);
    assert_eq!((bench.overlay.count(), bench.overlay.bytes()), (3, 2 * 4096));
    assert_eq!(bench.apply(0).unwrap().image, "kept", "a dead image is not written home");
    assert_eq!(bench.durable(12), []);
    assert_eq!(bench.durable(13), [10], "S10: recovery cannot go back behind the commit");
    assert_eq!(bench.apply(1).unwrap().image, "new");
}

/// Direct writes, holes and cuts: each ends older images, and none of its own version.
#[test]
fn kills_are_seen_by_pending_readers_at_once_and_by_others_from_the_commit_on() {
    let mut bench = Bench::new();
    for (sector, name) in [(1, "direct"), (2, "overwritten"), (3, "kept"), (8, "cut")] {
        bench.insert(1, 10, sector, name);
    }
    bench.commit(1, 10, 0, &Kills::NONE);
    let direct = [range(0, 2), range(5, 1)];
    let cut = |sector| 8 <= sector;
    let kills = Kills::new(&direct, &cut);
    bench.insert(2, 11, 2, "image");
    let pending = bench.see(View::Pending(v(2), kills));
    assert_eq!(pending, [(2, "image"), (3, "kept")]);
    assert_eq!(bench.committed().len(), 4);
    bench.commit(2, 12, 0, &kills);
    assert_eq!(bench.committed(), [(2, "image"), (3, "kept")]);
    assert_eq!(bench.durable(12), [10, 10, 10], "as many as died");
    assert_eq!(bench.overlay.count(), 2);
}

#[test]
fn s5_an_image_that_is_killed_while_it_is_written_waits_for_its_write() {
    let mut bench = Bench::new();
    bench.insert(1, 10, 4, "old");
    bench.commit(1, 10, 0, &Kills::NONE);
    assert_eq!(bench.durable(10), []);
    let old = bench.apply(0).unwrap();
    bench.insert(2, 11, 4, "new");
    bench.commit(2, 12, 0, &Kills::NONE);
    assert_eq!(bench.durable(12), [], "the write of the old one may still land");
    assert!(bench.apply(9).is_none(), "E132: and the new one must not land before it");
    assert_eq!((bench.overlay.ready_count(), bench.overlay.applying_count()), (1, 1));
    assert!(bench.overlay.live_image(&KEY, 4));
    assert_eq!(bench.written(old), [10]);
    let new = bench.apply(9).unwrap();
    assert_eq!(new.image, "new");
    assert_eq!(bench.written(new), []);
    assert_eq!(bench.flush(), [11]);
}

/// The other order of the two conditions.
#[test]
fn s5_a_write_that_ends_before_the_kill_is_durable_releases_nothing() {
    let mut bench = Bench::new();
    bench.insert(1, 10, 4, "old");
    bench.commit(1, 10, 0, &Kills::NONE);
    bench.durable(10);
    let old = bench.apply(0).unwrap();
    bench.overlay.removed(&KEY, lsn(12));
    assert_eq!(bench.written(old), []);
    assert_eq!(bench.flush(), [], "it is dead: the flush of its home means nothing");
    assert_eq!(bench.durable(11), []);
    assert_eq!(bench.durable(12), [10]);
}

/// An image that waits behind a write can be killed as well.
#[test]
fn an_image_that_waits_for_an_older_write_can_die() {
    let mut bench = Bench::new();
    bench.insert(1, 10, 4, "first");
    bench.commit(1, 10, 0, &Kills::NONE);
    bench.durable(10);
    let first = bench.apply(0).unwrap();
    bench.insert(2, 11, 4, "second");
    bench.commit(2, 11, 0, &Kills::NONE);
    bench.durable(11);
    assert!(bench.apply(0).is_none());
    bench.overlay.removed(&KEY, lsn(12));
    assert_eq!(bench.durable(12), [11]);
    assert_eq!(bench.written(first), [10]);
    assert_eq!(bench.overlay.count(), 0);
}

#[test]
fn e133_versions_of_an_older_lineage_are_never_seen_again() {
    let mut bench = Bench::new();
    for version in 1..=5 {
        bench.insert(version, 10 + u64::from(version), 4, "older lineage");
        bench.commit(version, 10 + u64::from(version), 0, &Kills::NONE);
    }
    bench.overlay.removed(&KEY, lsn(16));
    assert_eq!(bench.committed(), []);
    bench.insert(1, 17, 9, "new lineage");
    bench.commit(1, 18, 0, &Kills::NONE);
    assert_eq!(bench.committed(), [(9, "new lineage")], "although 1 is below 5");
    assert!(bench.overlay.live_image(&KEY, 4), "the removal is not durable");
    assert_eq!(bench.durable(18), [11, 12, 13, 14, 15]);
    assert_eq!(bench.committed(), [(9, "new lineage")]);
}

#[test]
fn r17_an_aborted_version_gives_its_number_to_another() {
    let mut bench = Bench::new();
    bench.insert(1, 10, 4, "committed");
    bench.commit(1, 10, 0, &Kills::NONE);
    bench.insert(2, 11, 4, "aborted");
    bench.overlay.dropped_version(&KEY, v(2), lsn(12));
    assert_eq!(bench.see(View::Pending(v(2), Kills::NONE)), [(4, "committed")]);
    bench.insert(2, 13, 5, "other");
    assert_eq!(bench.see(View::Pending(v(2), Kills::NONE)), [(4, "committed"), (5, "other")]);
    assert_eq!(bench.durable(11), []);
    assert_eq!(bench.durable(12), [11]);
    assert_eq!(bench.committed(), [(4, "committed")]);
}

#[test]
fn s9_a_version_that_is_logged_again_leaves_its_old_group_when_the_new_one_is_durable() {
    let mut bench = Bench::new();
    bench.insert(1, 10, 4, "a");
    bench.insert(1, 10, 6, "b");
    assert_eq!(bench.overlay.images_of(&KEY, v(1), &[4, 6]), ["a", "b"]);
    bench.insert(1, 20, 4, "a");
    bench.insert(1, 20, 6, "b");
    assert_eq!(bench.see(View::Pending(v(1), Kills::NONE)), [(4, "a"), (6, "b")]);
    assert_eq!(bench.durable(19), [], "group 20 could still be lost");
    assert_eq!(bench.durable(20), [10, 10]);
    // Or its sectors are written to a block of their own.
    bench.insert(1, 30, 4, "a");
    bench.overlay.rewritten(&KEY, v(1), lsn(30), &[range(6, 1)]);
    assert_eq!(bench.see(View::Pending(v(1), Kills::NONE)), [(4, "a")]);
    assert_eq!(bench.durable(30), [20, 20]);
    bench.commit(1, 31, 0, &Kills::direct(&[range(6, 1)]));
    assert_eq!(bench.committed(), [(4, "a")]);
}

#[test]
fn a_move_ends_committed_images_where_it_copied_and_leaves_pending_ones() {
    let mut bench = Bench::new();
    bench.insert(1, 10, 4, "copied");
    bench.insert(1, 10, 9, "elsewhere");
    bench.commit(1, 10, 0, &Kills::NONE);
    bench.insert(2, 11, 4, "pending");
    bench.overlay.moved(&KEY, lsn(12), &[range(0, 8)]);
    assert_eq!(bench.committed(), [(9, "elsewhere")]);
    let pending = bench.see(View::Pending(v(2), Kills::NONE));
    assert_eq!(pending, [(4, "pending"), (9, "elsewhere")]);
    assert_eq!(bench.durable(12), [10]);
}

/// Oldest group first, although it was committed last, and, as in recovery, inserted last; images
/// of one group in their order.
#[test]
fn applies_start_with_the_oldest_group() {
    let mut bench = Bench::new();
    bench.overlay.insert(OTHER, v(1), lsn(12), 1, "third");
    bench.overlay.committed(&OTHER, v(1), lsn(13), 8, &Kills::NONE);
    bench.overlay.insert(OTHER, v(2), lsn(12), 0, "early");
    bench.overlay.committed(&OTHER, v(2), lsn(13), 3, &Kills::NONE);
    bench.insert(1, 10, 7, "first");
    bench.insert(1, 10, 2, "second");
    bench.commit(1, 13, 8, &Kills::NONE);
    bench.durable(13);
    assert_eq!(bench.apply(7).unwrap().image, "early", "the others wait for plan 7");
    let mut order = Vec::new();
    while let Some(apply) = bench.apply(8) {
        order.push(apply.image);
    }
    assert_eq!(order, ["first", "second", "third"]);
}

/// More than one turn looks at.
#[test]
fn many_images_that_become_due_at_once_are_all_applied() {
    let mut bench = Bench::new();
    for sector in 0..300 {
        bench.insert(1, 10, sector, "many");
    }
    bench.commit(1, 11, 0, &Kills::NONE);
    bench.durable(11);
    let mut applies = Vec::new();
    while let Some(apply) = bench.apply(0) {
        applies.push(apply);
    }
    let sectors: Vec<u16> = applies.iter().map(|apply| apply.sector).collect();
    assert!(sectors.into_iter().eq(0..300));
    for apply in applies {
        assert_eq!(bench.written(apply), []);
    }
    assert_eq!(bench.flush().len(), 300);
}

#[test]
fn reads_of_a_range_get_its_sectors_and_no_others() {
    let mut bench = Bench::new();
    for (sector, name) in [(9, "nine"), (0, "zero"), (16_383, "last"), (10, "ten")] {
        bench.insert(1, 10, sector, name);
    }
    bench.commit(1, 10, 0, &Kills::NONE);
    for (sectors, expected) in [
        (0..16_384, &["zero", "nine", "ten", "last"][..]),
        (0..9, &["zero"]),
        (9..10, &["nine"]),
        (1..9, &[]),
        (10..16_383, &["ten"]),
        (5..5, &[]),
    ] {
        let mut seen = Vec::new();
        let each = |_, name: &&'static str| seen.push(*name);
        bench.overlay.overlay(&KEY, View::Committed, sectors.clone(), each);
        assert_eq!(seen, expected, "{sectors:?}");
    }
}

#[test]
fn room_counts_images_in_memory() {
    let mut overlay = Overlay::new(2);
    assert!(overlay.room(2) && !overlay.room(3));
    overlay.insert(KEY, v(1), lsn(1), 0, ());
    overlay.insert(KEY, v(1), lsn(1), 1, ());
    assert!(overlay.room(0) && !overlay.room(1));
    overlay.dropped_version(&KEY, v(1), lsn(2));
    assert!(overlay.room(2), "dead images are in the journal only");
    assert_eq!((overlay.count(), overlay.bytes()), (2, 0));
}

#[test]
fn kills_cover_what_they_name() {
    let odd = |sector: u16| sector % 2 == 1;
    let ranges = [range(2, 3), range(8, 1)];
    let rows = [
        (Kills::NONE, &[][..]),
        (Kills::direct(&ranges), &[2, 3, 4, 8]),
        (Kills::new(&ranges, &odd), &[1, 2, 3, 4, 5, 7, 8, 9]),
    ];
    for (kills, expected) in rows {
        let covered: Vec<u16> = (0..10).filter(|&sector| kills.covers(sector)).collect();
        assert_eq!(covered, expected, "{kills:?}");
    }
}

#[test]
#[should_panic(expected = "E131: slot-3/chunk-7.1: v1 is pending, not v2")]
fn e131_two_pending_versions_are_noticed() {
    let mut bench = Bench::new();
    bench.insert(1, 10, 4, "a");
    bench.insert(2, 11, 5, "b");
}

#[test]
#[should_panic(expected = "E131: slot-3/chunk-7.1: v1 is pending, not v2")]
fn e131_a_commit_of_another_version_is_noticed() {
    let mut bench = Bench::new();
    bench.insert(1, 10, 4, "a");
    bench.commit(2, 11, 0, &Kills::NONE);
}

#[test]
#[should_panic(expected = "E131: slot-3/chunk-7.1 v1 kills its image of 4")]
fn e131_a_version_that_kills_its_own_image_is_noticed() {
    let mut bench = Bench::new();
    bench.insert(1, 10, 4, "a");
    bench.commit(1, 11, 0, &Kills::direct(&[range(4, 1)]));
}

#[test]
#[should_panic(expected = "E130: slot-3/chunk-7.1: lsn-10 is to be logged, lsn-10 is durable")]
fn e130_an_image_of_a_durable_group_is_noticed() {
    let mut bench = Bench::new();
    bench.durable(10);
    bench.insert(1, 10, 4, "a");
}

#[test]
#[should_panic(expected = "E130: slot-3/chunk-7.1: lsn-9 is to be logged, lsn-10 is durable")]
fn e130_a_kill_by_a_durable_group_is_noticed() {
    let mut bench = Bench::new();
    bench.durable(10);
    bench.overlay.removed(&KEY, lsn(9));
}

#[test]
#[should_panic(expected = "E130: slot-3/chunk-7.1 sector 4: lsn-9 after lsn-10")]
fn e130_images_of_a_sector_out_of_order_are_noticed() {
    let mut bench = Bench::new();
    bench.insert(1, 10, 4, "a");
    bench.insert(1, 9, 4, "a");
}

/// Two overlays: the ticket of one names another image of the other.
#[test]
#[should_panic(expected = "E130: slot-3/chunk-7.1 sector 4: a foreign ticket")]
fn e130_a_foreign_ticket_is_noticed() {
    let mut benches = [Bench::new(), Bench::new()];
    for bench in &mut benches {
        bench.insert(1, 10, 4, "a");
        bench.commit(1, 10, 0, &Kills::NONE);
        bench.durable(10);
    }
    let [mut one, mut two] = benches;
    let foreign = one.apply(0).unwrap();
    let apply = two.apply(0).unwrap();
    two.written(apply);
    two.flush();
    two.insert(2, 11, 4, "b");
    two.commit(2, 11, 0, &Kills::NONE);
    two.durable(11);
    let _ = two.apply(0);
    two.written(foreign);
}

#[test]
#[should_panic(expected = "is not being written: Applied")]
fn e130_a_write_that_ends_twice_is_noticed() {
    let mut bench = Bench::new();
    bench.insert(1, 10, 4, "a");
    bench.commit(1, 10, 0, &Kills::NONE);
    bench.durable(10);
    let apply = bench.apply(0).unwrap();
    let again = super::ApplyTicket { id: apply.ticket.id, order: apply.ticket.order };
    bench.written(apply);
    bench.overlay.apply_written(again, &mut Vec::new());
}

#[test]
#[should_panic(expected = "S-e: lsn-9 is durable after lsn-10")]
fn durability_that_goes_back_is_noticed() {
    let mut bench = Bench::new();
    bench.durable(10);
    bench.durable(9);
}

#[test]
#[should_panic(expected = "E133: slot-3/chunk-7.1 v1: no image of 5")]
fn e133_an_image_that_is_missing_is_noticed() {
    let mut bench = Bench::new();
    bench.insert(1, 10, 4, "a");
    let _ = bench.overlay.images_of(&KEY, v(1), &[4, 5]);
}
