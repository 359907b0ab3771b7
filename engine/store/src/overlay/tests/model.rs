//! Random histories against a store that keeps every version as a full table of sectors.
//!
//! The reference knows nothing of queues and kills: a version is a table that says, per sector, the
//! content, the home, and the image it comes from. An image is dead when the last table that can
//! still be read or become readable has lost it. Beside it a device with a volatile cache shows
//! what a reader under way (S4) and a recovery (S3) would get.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use engine_types::{ChunkVersion, Rng};

use super::super::{ApplyTicket, FlushToken, Kills, Overlay, View};
use crate::address::{ChunkKey, Lsn, Slot};
use crate::entry::SectorRange;
use crate::pins::{Pin, Pins};

const CHUNKS: usize = 4;
const SECTORS: u16 = 10;

/// What the owner of the overlay does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Plans under way are not waited for.
    Pins,
    /// A flush is said to have begun when it has ended.
    Tokens,
    /// What a version wrote directly is not told.
    Kills,
    /// A group is called durable when it is placed.
    Durable,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    value: u32,
    home: usize,
    /// The image that it comes from, if it was logged.
    image: Option<usize>,
}

#[derive(Clone, Debug)]
struct Table {
    version: u32,
    cells: Vec<Option<Cell>>,
    direct: Vec<u16>,
}

/// A chunk as of some entry of the journal.
#[derive(Clone, Debug, Default)]
struct Chunk {
    committed: Option<Table>,
    /// No table: a removal.
    pending: Option<Option<Table>>,
}

#[derive(Clone, Debug)]
enum Event {
    Put(Option<Table>),
    Commit,
    Abort,
    Erase,
    Move(Table),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    None,
    InFlight,
    Done(u64),
}

#[derive(Debug)]
struct Image {
    chunk: usize,
    sector: u16,
    lsn: u64,
    value: u32,
    commit: Option<(u64, u64)>,
    dead: Option<u64>,
    write: Write,
}

#[derive(Debug, Default)]
struct Home {
    /// After the writes that have completed.
    value: u32,
    /// After a power failure, if nothing is volatile.
    stable: u32,
    /// Writes in flight.
    writes: Vec<u32>,
}

/// What a reader finds: images by sector, and homes with what they must hold.
struct Read {
    images: Vec<(u16, usize)>,
    homes: Vec<(usize, u32)>,
}

/// A read under way: it looks at these homes, and needs these values.
struct Plan {
    pin: Pin,
    homes: Vec<(usize, u32)>,
}

struct InFlight {
    ticket: ApplyTicket,
    image: usize,
    home: usize,
}

struct World {
    rng: Rng,
    fault: Fault,
    overlay: Overlay<usize>,
    pins: Pins,
    now: Vec<Chunk>,
    /// As of the durable group, and the entries after it.
    durable: Vec<Chunk>,
    log: VecDeque<(u64, usize, Event)>,
    durable_lsn: u64,
    next_lsn: u64,
    images: Vec<Image>,
    live: BTreeSet<usize>,
    homes: Vec<Home>,
    /// Completed writes that no flush covers: time, home, value.
    volatile: Vec<(u64, usize, u32)>,
    applies: Vec<InFlight>,
    flushes: Vec<(Option<FlushToken>, u64)>,
    plans: Vec<Plan>,
    time: u64,
    next_value: u32,
    applied: u64,
    doomed: u64,
    waited: u64,
}

fn key(chunk: usize) -> ChunkKey {
    ChunkKey::new(Slot::new(1), 9, u32::try_from(chunk).unwrap())
}

fn ranges(sectors: &[u16]) -> Vec<SectorRange> {
    let mut ranges: Vec<SectorRange> = Vec::new();
    for &sector in sectors {
        match ranges.last_mut().filter(|range| range.end() == u32::from(sector)) {
            Some(range) => range.count += 1,
            None => ranges.push(SectorRange { first: sector, count: 1 }),
        }
    }
    ranges
}

impl Table {
    fn images(&self) -> impl Iterator<Item = usize> {
        self.cells.iter().flatten().filter_map(|cell| cell.image)
    }

    fn sectors(&self) -> impl Iterator<Item = (u16, Cell)> {
        (0..).zip(&self.cells).filter_map(|(sector, cell)| Some((sector, (*cell)?)))
    }
}

impl Chunk {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Put(table) => self.pending = Some(table.clone()),
            Event::Commit => self.committed = self.pending.take().expect("it is pending"),
            Event::Abort => self.pending = None,
            Event::Erase => *self = Self::default(),
            Event::Move(table) => self.committed = Some(table.clone()),
        }
    }

    /// Images that a reader could get.
    fn images(&self) -> BTreeSet<usize> {
        let pending = self.pending.iter().flatten();
        self.committed.iter().chain(pending).flat_map(Table::images).collect()
    }
}

impl World {
    fn new(seed: u64, fault: Fault) -> Self {
        Self {
            rng: Rng::new(seed),
            fault,
            overlay: Overlay::new(1 << 20),
            pins: Pins::new(),
            now: (0..CHUNKS).map(|_| Chunk::default()).collect(),
            durable: (0..CHUNKS).map(|_| Chunk::default()).collect(),
            log: VecDeque::new(),
            durable_lsn: 0,
            next_lsn: 1,
            images: Vec::new(),
            live: BTreeSet::new(),
            homes: Vec::new(),
            volatile: Vec::new(),
            applies: Vec::new(),
            flushes: Vec::new(),
            plans: Vec::new(),
            time: 0,
            next_value: 1,
            applied: 0,
            doomed: 0,
            waited: 0,
        }
    }

    fn step(&mut self) {
        self.time += 1;
        let chunk = usize::try_from(self.rng.below(CHUNKS as u64)).unwrap();
        match self.rng.below(100) {
            0..18 => self.put(chunk),
            18..32 => self.commit(chunk),
            32..34 => self.abort(chunk),
            34..35 => self.erase(chunk),
            35..37 => self.relocate(chunk),
            37..40 => self.log_again(chunk),
            40..55 => self.make_durable(),
            55..70 => self.start_apply(),
            70..80 => self.end_apply(),
            80..84 => self.flushes.push((Some(self.overlay.flush_started()), self.time)),
            84..90 => self.end_flush(),
            90..94 => self.start_plan(chunk),
            94..98 => self.end_plan(),
            _ => self.crash(),
        }
        self.check();
    }

    // --- versions --------------------------------------------------------------------------

    fn lsn(&self) -> Lsn {
        Lsn::new(self.next_lsn)
    }

    fn value(&mut self) -> u32 {
        self.next_value += 1;
        self.next_value
    }

    /// A home that holds `value`, written directly, or another owner's bytes.
    fn home(&mut self, value: u32) -> usize {
        self.homes.push(Home { value, stable: value, writes: Vec::new() });
        self.homes.len() - 1
    }

    fn image(&mut self, chunk: usize, version: u32, sector: u16, value: u32) -> usize {
        let (id, lsn) = (self.images.len(), self.next_lsn);
        let (commit, dead, write) = (None, None, Write::None);
        self.images.push(Image { chunk, sector, lsn, value, commit, dead, write });
        self.live.insert(id);
        self.overlay.insert(key(chunk), ChunkVersion::new(version), self.lsn(), sector, id);
        id
    }

    fn event(&mut self, chunk: usize, event: Event) {
        let before = self.now[chunk].images();
        self.now[chunk].apply(&event);
        let after = self.now[chunk].images();
        for &lost in before.difference(&after) {
            self.images[lost].dead = Some(self.next_lsn);
        }
        self.log.push_back((self.next_lsn, chunk, event));
    }

    fn put(&mut self, chunk: usize) {
        if self.now[chunk].pending.is_some() {
            return;
        }
        let base = self.now[chunk].committed.clone();
        if base.is_some() && self.rng.chance(60) {
            return self.event(chunk, Event::Put(None));
        }
        let version = base.as_ref().map_or(1, |base| base.version + 1);
        let cells = base.map_or_else(|| Vec::from([None; SECTORS as usize]), |base| base.cells);
        let mut table = Table { version, cells, direct: Vec::new() };
        let first = u16::try_from(self.rng.below(SECTORS.into())).unwrap();
        let last = SECTORS.min(first + u16::try_from(self.rng.range(1..=4)).unwrap());
        let kind = self.rng.below(10);
        for sector in first..last {
            let cell = &mut table.cells[usize::from(sector)];
            match kind {
                0 => *cell = None,
                1 if first < sector => *cell = None,
                _ if self.rng.chance(350) => {
                    let value = self.value();
                    *cell = Some(Cell { value, home: self.home(value), image: None });
                    table.direct.push(sector);
                }
                _ => {
                    let old = *cell;
                    let (value, home) = (self.value(), old.map(|cell| cell.home));
                    let home = home.unwrap_or_else(|| self.home(0));
                    let image = Some(self.image(chunk, version, sector, value));
                    *cell = Some(Cell { value, home, image });
                }
            }
        }
        if kind == 1 {
            table.cells[usize::from(last)..].fill(None);
        }
        self.event(chunk, Event::Put(Some(table)));
    }

    /// Whether the PUT of a chunk is durable, or there is none.
    fn is_settled(&self, chunk: usize) -> bool {
        !self.log.iter().any(|(_, at, event)| *at == chunk && matches!(event, Event::Put(_)))
    }

    fn commit(&mut self, chunk: usize) {
        if !self.is_settled(chunk) {
            return;
        }
        let lsn = self.lsn();
        match self.now[chunk].pending.clone() {
            None => return,
            Some(None) => self.overlay.removed(&key(chunk), lsn),
            Some(Some(table)) => {
                let pin = self.pins.next();
                for image in table.images() {
                    let image = &mut self.images[image];
                    image.commit = image.commit.or(Some((self.next_lsn, pin)));
                }
                let pin = if self.fault == Fault::Pins { 0 } else { pin };
                let (version, direct) = (ChunkVersion::new(table.version), ranges(&table.direct));
                let is_dead = |sector: u16| table.cells[usize::from(sector)].is_none();
                let kills = self.kills(chunk, &table, &direct, &is_dead);
                self.overlay.committed(&key(chunk), version, lsn, pin, &kills);
            }
        }
        self.event(chunk, Event::Commit);
    }

    fn kills<'a>(
        &self,
        chunk: usize,
        table: &Table,
        direct: &'a [SectorRange],
        is_dead: &'a dyn Fn(u16) -> bool,
    ) -> Kills<'a> {
        if self.fault == Fault::Kills {
            return Kills::NONE;
        }
        let before = self.now[chunk].committed.iter().flat_map(|base| base.cells.iter());
        let lost = before.zip(&table.cells).any(|(old, new)| old.is_some() && new.is_none());
        if lost { Kills::new(direct, is_dead) } else { Kills::direct(direct) }
    }

    fn abort(&mut self, chunk: usize) {
        let Some(pending) = self.now[chunk].pending.clone() else { return };
        if let Some(table) = pending {
            let version = ChunkVersion::new(table.version);
            self.overlay.dropped_version(&key(chunk), version, self.lsn());
        }
        self.event(chunk, Event::Abort);
    }

    fn erase(&mut self, chunk: usize) {
        if self.is_settled(chunk) {
            self.overlay.removed(&key(chunk), self.lsn());
            self.event(chunk, Event::Erase);
        }
    }

    /// Copies some sectors of the committed version to other homes.
    fn relocate(&mut self, chunk: usize) {
        let Chunk { committed: Some(mut table), pending: None } = self.now[chunk].clone() else {
            return;
        };
        let first = u16::try_from(self.rng.below(SECTORS.into())).unwrap();
        let mut moved = Vec::new();
        for sector in first..SECTORS {
            let Some(cell) = table.cells[usize::from(sector)] else { continue };
            let home = self.home(cell.value);
            table.cells[usize::from(sector)] = Some(Cell { home, image: None, ..cell });
            moved.push(sector);
        }
        self.overlay.moved(&key(chunk), self.lsn(), &ranges(&moved));
        self.event(chunk, Event::Move(table));
    }

    /// Logs a pending version again; some of its images are written home instead.
    fn log_again(&mut self, chunk: usize) {
        let Some(Some(mut table)) = self.now[chunk].pending.clone() else { return };
        let (lsn, version) = (self.lsn(), ChunkVersion::new(table.version));
        let own = |images: &[Image], cell: &Cell| {
            cell.image
                .is_some_and(|image| images[image].commit.is_none() && images[image].dead.is_none())
        };
        let sectors: Vec<(u16, Cell)> =
            table.sectors().filter(|(_, cell)| own(&self.images, cell)).collect();
        let names: Vec<u16> = sectors.iter().map(|&(sector, _)| sector).collect();
        let images = self.overlay.images_of(&key(chunk), version, &names);
        let mut direct = Vec::new();
        for (&(sector, cell), image) in sectors.iter().zip(images) {
            assert_eq!(Some(image), cell.image);
            let new = if self.rng.chance(300) {
                direct.push(sector);
                Cell { home: self.home(cell.value), image: None, ..cell }
            } else {
                let image = self.image(chunk, table.version, sector, cell.value);
                Cell { image: Some(image), ..cell }
            };
            table.cells[usize::from(sector)] = Some(new);
        }
        self.overlay.rewritten(&key(chunk), version, lsn, &ranges(&direct));
        table.direct.extend(direct);
        table.direct.sort_unstable();
        self.event(chunk, Event::Put(Some(table)));
    }

    fn make_durable(&mut self) {
        self.next_lsn += 1;
        if self.rng.chance(300) {
            return;
        }
        let lsn = self.rng.range(self.durable_lsn..=self.next_lsn - 1);
        self.durable_lsn = lsn;
        while let Some((_, chunk, event)) = self.log.pop_front_if(|(at, ..)| *at <= lsn) {
            self.durable[chunk].apply(&event);
        }
        let said = if self.fault == Fault::Durable { self.next_lsn - 1 } else { lsn };
        let mut released = Vec::new();
        self.overlay.durable(Lsn::new(said), &mut released);
        self.expect_released(&released, |image| {
            image.write != Write::InFlight && image.dead.is_some_and(|at| at <= lsn)
        });
    }

    // --- writing home ----------------------------------------------------------------------

    fn start_apply(&mut self) {
        let oldest = self.pins.oldest();
        let ready = self.ready();
        let passed = ready.iter().filter(|&&id| self.images[id].commit.unwrap().1 <= oldest);
        let free = passed.filter(|&&id| !self.is_busy(id));
        let expected = free.min_by_key(|&&id| (self.images[id].lsn, id)).copied();
        self.waited += u64::from(!ready.is_empty() && expected.is_none());
        let apply = self.overlay.next_apply(oldest);
        if self.fault == Fault::None {
            assert_eq!(apply.as_ref().map(|apply| apply.image), expected, "E132");
        }
        let Some(apply) = apply else { return };
        let image = &mut self.images[apply.image];
        assert_eq!((apply.key, apply.sector), (key(image.chunk), image.sector));
        assert_eq!((apply.lsn.get(), image.dead), (image.lsn, None), "E132: {apply:?}");
        image.write = Write::InFlight;
        let (sector, value) = (usize::from(image.sector), image.value);
        let table = self.now[image.chunk].committed.as_ref().unwrap();
        let cell = table.cells[sector].unwrap();
        assert_eq!((cell.image, cell.value), (Some(apply.image), value), "E132");
        for plan in &self.plans {
            let torn = plan.homes.iter().any(|&(at, needs)| at == cell.home && needs != value);
            assert!(!torn, "S4: plan {:?} reads home {}", plan.pin, cell.home);
        }
        self.homes[cell.home].writes.push(value);
        let (ticket, image, home) = (apply.ticket, apply.image, cell.home);
        self.applies.push(InFlight { ticket, image, home });
        self.applied += 1;
    }

    /// Committed images whose commit is durable, that are neither dead nor on their way home.
    fn ready(&self) -> Vec<usize> {
        let ready = |image: &Image| {
            let committed = image.commit.is_some_and(|(lsn, _)| lsn <= self.durable_lsn);
            committed && image.dead.is_none() && image.write == Write::None
        };
        self.live.iter().copied().filter(|&id| ready(&self.images[id])).collect()
    }

    /// Whether a write of the sector is in flight.
    fn is_busy(&self, id: usize) -> bool {
        let Image { chunk, sector, .. } = self.images[id];
        let mut writes = self.applies.iter().map(|apply| &self.images[apply.image]);
        writes.any(|other| (other.chunk, other.sector) == (chunk, sector))
    }

    fn end_apply(&mut self) {
        if self.applies.is_empty() {
            return;
        }
        let nth = usize::try_from(self.rng.below(self.applies.len() as u64)).unwrap();
        let InFlight { ticket, image: id, home } = self.applies.swap_remove(nth);
        let image = &mut self.images[id];
        image.write = Write::Done(self.time);
        self.homes[home].writes.retain(|&value| value != image.value);
        self.homes[home].value = image.value;
        self.volatile.push((self.time, home, image.value));
        self.doomed += u64::from(image.dead.is_some());
        let durable = self.durable_lsn;
        let mut released = Vec::new();
        self.overlay.apply_written(ticket, &mut released);
        let now = self.time;
        self.expect_released(&released, |image| {
            image.write == Write::Done(now) && image.dead.is_some_and(|at| at <= durable)
        });
    }

    fn end_flush(&mut self) {
        if self.flushes.is_empty() {
            return;
        }
        let nth = usize::try_from(self.rng.below(self.flushes.len() as u64)).unwrap();
        let (token, began) = self.flushes.swap_remove(nth);
        let homes = &mut self.homes;
        self.volatile.retain(|&(at, home, value)| {
            if at < began {
                homes[home].stable = value;
            }
            began <= at
        });
        let late = self.fault == Fault::Tokens;
        let token = token.filter(|_| !late).unwrap_or_else(|| self.overlay.flush_started());
        let mut released = Vec::new();
        self.overlay.flush_done(token, &mut released);
        self.expect_released(&released, |image| {
            image.dead.is_none() && matches!(image.write, Write::Done(at) if at < began)
        });
    }

    /// The overlay released exactly the images that are due; with a faulty owner, whatever it did.
    fn expect_released(&mut self, released: &[Lsn], due: impl Fn(&Image) -> bool) {
        let due: Vec<usize> =
            self.live.iter().copied().filter(|&id| due(&self.images[id])).collect();
        let mut expected: BTreeMap<u64, u32> = BTreeMap::new();
        for &id in &due {
            *expected.entry(self.images[id].lsn).or_default() += 1;
        }
        let mut found: BTreeMap<u64, u32> = BTreeMap::new();
        for lsn in released {
            *found.entry(lsn.get()).or_default() += 1;
        }
        if self.fault == Fault::None {
            assert_eq!(found, expected, "E130");
            due.iter().for_each(|id| assert!(self.live.remove(id)));
            return;
        }
        // Which of a group it was shows in what the overlay still has.
        let mut kept = BTreeSet::new();
        for chunk in 0..CHUNKS {
            self.overlay.chunks.get(&key(chunk)).into_iter().for_each(|chunk| {
                kept.extend(chunk.images.iter().map(|&(_, id)| self.overlay.images.get(id).order));
            });
        }
        self.live.retain(|&id| kept.contains(&(id as u64)));
    }

    // --- readers ---------------------------------------------------------------------------

    /// What a read of a version gets.
    fn read(&self, chunk: usize, pending: bool) -> Option<Read> {
        let (committed, all) = (&self.now[chunk].committed, 0..SECTORS);
        let table = if pending { self.now[chunk].pending.as_ref()? } else { committed };
        let table = table.as_ref()?;
        let direct = ranges(&table.direct);
        let is_dead = |sector: u16| table.cells[usize::from(sector)].is_none();
        let view = if pending {
            let kills = self.kills(chunk, table, &direct, &is_dead);
            View::Pending(ChunkVersion::new(table.version), kills)
        } else {
            View::Committed
        };
        let mut images: Vec<(u16, usize)> = Vec::new();
        self.overlay.overlay(&key(chunk), view, all, |sector, &id| images.push((sector, id)));
        let mut homes = Vec::new();
        for (sector, cell) in table.sectors() {
            match images.iter().find(|&&(at, _)| at == sector) {
                Some(&(_, id)) => assert_eq!(self.images[id].value, cell.value, "E133"),
                None => homes.push((cell.home, cell.value)),
            }
        }
        assert!(images.iter().all(|&(sector, _)| !is_dead(sector)), "E133: {images:?}");
        Some(Read { images, homes })
    }

    fn is_home(&self, home: usize, value: u32) -> bool {
        let Home { value: found, ref writes, .. } = self.homes[home];
        found == value && writes.iter().all(|&write| write == value)
    }

    fn start_plan(&mut self, chunk: usize) {
        let pending = self.rng.chance(300);
        let Some(Read { homes, .. }) = self.read(chunk, pending) else { return };
        self.plans.push(Plan { pin: self.pins.take(), homes });
    }

    fn end_plan(&mut self) {
        if self.plans.is_empty() {
            return;
        }
        let nth = usize::try_from(self.rng.below(self.plans.len() as u64)).unwrap();
        let Plan { pin, homes } = self.plans.swap_remove(nth);
        assert!(homes.iter().all(|&(home, value)| self.is_home(home, value)), "S4: {pin:?}");
        self.pins.give(pin);
    }

    /// Whatever groups after the durable one have reached the device: every version that is found
    /// then has its content.
    fn crash(&self) {
        let mut state = self.durable.clone();
        let mut log = self.log.iter().peekable();
        for lsn in self.durable_lsn..self.next_lsn {
            while let Some((_, chunk, event)) = log.next_if(|(at, ..)| *at <= lsn) {
                state[*chunk].apply(event);
            }
            let pending = state.iter().flat_map(|chunk| chunk.pending.iter().flatten());
            let tables = state.iter().flat_map(|chunk| &chunk.committed).chain(pending);
            for (sector, cell) in tables.flat_map(Table::sectors) {
                if cell.image.is_some_and(|image| self.live.contains(&image)) {
                    continue; // it is in the ring
                }
                let home = &self.homes[cell.home];
                let mut written = home.writes.iter().chain(
                    self.volatile
                        .iter()
                        .filter(|(_, home, _)| *home == cell.home)
                        .map(|(.., value)| value),
                );
                let safe = home.stable == cell.value && written.all(|&value| value == cell.value);
                assert!(safe, "S3: sector {sector} {cell:?} is lost as of {lsn}: {home:?}");
            }
        }
    }

    fn check(&self) {
        for chunk in 0..CHUNKS {
            for pending in [false, true] {
                let Some(Read { images, homes }) = self.read(chunk, pending) else { continue };
                let correct = homes.iter().all(|&(home, value)| self.is_home(home, value));
                assert!(correct, "E133: chunk {chunk} is not home: {homes:?}");
                if self.fault == Fault::None {
                    self.check_seen(chunk, pending, &images);
                }
            }
        }
        if self.fault != Fault::None {
            return;
        }
        let live: BTreeSet<(usize, u16)> =
            self.live.iter().map(|&id| (self.images[id].chunk, self.images[id].sector)).collect();
        let places = (0..CHUNKS).flat_map(|chunk| (0..SECTORS).map(move |sector| (chunk, sector)));
        for (chunk, sector) in places {
            let found = self.overlay.live_image(&key(chunk), sector);
            assert_eq!(found, live.contains(&(chunk, sector)), "chunk {chunk} sector {sector}");
        }
        let alive = self.live.iter().filter(|&&id| self.images[id].dead.is_none()).count();
        assert_eq!(self.overlay.bytes(), alive as u64 * 4096);
        assert_eq!(self.overlay.count(), self.live.len());
        assert_eq!(self.overlay.ready_count(), self.ready().len());
        assert_eq!(self.overlay.applying_count(), self.applies.len());
        if self.time.is_multiple_of(16) {
            self.overlay.check();
        }
    }

    /// A reader gets every image of its table that is not released, and no other.
    fn check_seen(&self, chunk: usize, pending: bool, seen: &[(u16, usize)]) {
        let chunk = &self.now[chunk];
        let table = if pending { chunk.pending.as_ref().unwrap() } else { &chunk.committed };
        let cells = table.as_ref().unwrap().sectors();
        let images = cells.filter_map(|(sector, cell)| Some((sector, cell.image?)));
        let expected = images.filter(|(_, id)| self.live.contains(id));
        assert!(expected.eq(seen.iter().copied()), "E133: {seen:?}");
    }
}

fn run(seeds: u64, steps: u32, fault: Fault) {
    let (mut applied, mut doomed, mut waited) = (0, 0, 0);
    for seed in 0..seeds {
        std::println!("seed {seed}");
        let mut world = World::new(seed, fault);
        (0..steps).for_each(|_| world.step());
        applied += world.applied;
        doomed += world.doomed;
        waited += world.waited;
    }
    std::println!("{applied} applied, {doomed} killed in flight, {waited} waited");
    assert!(0 < doomed && 0 < waited && doomed < applied, "the rare paths are not rare enough");
}

#[test]
fn e130_e134_random_histories_equal_tables_of_every_version() {
    run(10, 12_000, Fault::None);
}

#[test]
#[should_panic(expected = "S4: plan Pin(")]
fn a_model_without_pins_fails() {
    run(10, 5_000, Fault::Pins);
}

#[test]
#[should_panic(expected = "S3: sector")]
fn a_model_with_late_flush_tokens_fails() {
    run(10, 5_000, Fault::Tokens);
}

#[test]
#[should_panic(expected = "E133")]
fn a_model_that_forgets_direct_writes_fails() {
    run(10, 5_000, Fault::Kills);
}

#[test]
#[should_panic(expected = "S3: sector")]
fn a_model_that_calls_groups_durable_early_fails() {
    run(10, 5_000, Fault::Durable);
}
