//! Appenders, writers and cutters of one file on several services: what they are told and what is
//! there in the end is what some serial order of them makes, and no length grows again (M1-M5).

use std::cell::RefCell;
use std::collections::BTreeSet;

use engine_types::Rng;

use super::*;

/// What somebody did to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    /// Was given the bytes from here, and left them as they were.
    Append { offset: u64, bytes: u64 },
    /// Wrote this byte, and was told that it is synced.
    Write { offset: u64, bytes: u64, with: u8 },
    /// Set the length.
    Cut { to: u64 },
}

/// When it was begun and ended, in the order of events.
#[derive(Clone, Copy, Debug)]
struct Event {
    did: Did,
    began: u32,
    ended: u32,
}

#[derive(Default)]
struct History {
    clock: Cell<u32>,
    events: RefCell<Vec<Event>>,
}

impl History {
    fn tick(&self) -> u32 {
        self.clock.replace(self.clock.get() + 1)
    }

    fn add(&self, began: u32, did: Did) {
        let ended = self.tick();
        self.events.borrow_mut().push(Event { did, began, ended });
    }
}

/// The file after `did`; nothing if it cannot be done to `file` with that answer.
fn after(file: &[u8], did: Did) -> Option<Vec<u8>> {
    let at = |number: u64| usize::try_from(number).unwrap();
    let mut file = file.to_vec();
    match did {
        Did::Append { offset, bytes } => {
            if file.len() != at(offset) {
                return None;
            }
            file.resize(at(offset + bytes), 0);
        }
        Did::Write { offset, bytes, with } => {
            file.resize(file.len().max(at(offset + bytes)), 0);
            file[at(offset)..at(offset + bytes)].fill(with);
        }
        Did::Cut { to } => file.resize(at(to), 0),
    }
    Some(file)
}

/// Whether an order of `events`, in which nothing comes before what had ended when it began, makes
/// `end` of an empty file.
fn explains(events: &[Event], end: &[u8]) -> bool {
    let mut seen: BTreeSet<(u64, Vec<u8>)> = BTreeSet::new();
    let mut open = vec![(0u64, Vec::new())];
    while let Some((done, file)) = open.pop() {
        if !seen.insert((done, file.clone())) {
            continue;
        }
        let left = (0..events.len()).filter(|at| done >> at & 1 == 0);
        let first_end = left.clone().map(|at| events[at].ended).min();
        let Some(first_end) = first_end else {
            if file == end {
                return true;
            }
            continue;
        };
        for at in left.filter(|&at| events[at].began < first_end) {
            if let Some(file) = after(&file, events[at].did) {
                open.push((done | 1 << at, file));
            }
        }
    }
    false
}

#[test]
fn a_history_that_no_order_explains_is_found() {
    let event = |did, began, ended| Event { did, began, ended };
    let append = |offset| Did::Append { offset, bytes: 5 };
    let rows = [
        // Twice the same range; a cut that comes before what had ended; a length that grew again.
        (vec![event(append(0), 0, 9), event(append(0), 1, 8)], vec![0; 5], false),
        (vec![event(append(0), 0, 9), event(append(5), 1, 8)], vec![0; 10], true),
        (vec![event(append(0), 0, 1), event(Did::Cut { to: 2 }, 2, 3)], vec![0; 5], false),
        (vec![event(append(0), 0, 1), event(Did::Cut { to: 2 }, 2, 3)], vec![0; 2], true),
        (vec![event(append(0), 0, 2), event(Did::Cut { to: 2 }, 1, 3)], vec![0; 2], true),
    ];
    for (number, (events, end, expected)) in rows.into_iter().enumerate() {
        assert_eq!(explains(&events, &end), expected, "row {number}");
    }
}

/// One client: a few operations on the file, on one service after the other.
async fn client(services: Vec<Service>, number: u64, ino: InodeId, seed: u64, to: Rc<History>) {
    let mut rng = Rng::new(seed * 16 + number);
    let mut mount = Mount::new(&services[0], 10 + number);
    let mut file = mount.open(ino, WRITE).await;
    for step in 0..4 {
        mount.service =
            services[usize::try_from(rng.below(services.len() as u64)).unwrap()].clone();
        let began = to.tick();
        match rng.below(4) {
            0 => {
                let size = rng.below(60);
                mount.truncate(ino, size).await.unwrap();
                to.add(began, Did::Cut { to: size });
            }
            1 => {
                let (offset, bytes) = (rng.below(60), rng.below(20) + 1);
                let with = u8::try_from(number * 16 + step + 1).unwrap();
                write(&mount, &mut file, offset, &vec![with; usize::try_from(bytes).unwrap()])
                    .await;
                to.add(began, Did::Write { offset, bytes, with });
            }
            _ => {
                let bytes = rng.below(20) + 1;
                let offset = mount.append(ino, bytes).await;
                to.add(began, Did::Append { offset, bytes });
            }
        }
        let pause = Duration::from_millis(rng.below(4));
        let env = mount.service.env().clone();
        env.sleep_until(env.now() + pause).await;
    }
    file.end = 0;
    mount.close(&file).await;
}

/// Writes, and tells of this write alone: what was told before is told.
async fn write(mount: &Mount, file: &mut Opened, offset: u64, bytes: &[u8]) {
    loop {
        let (index, inside) = file.place.split(offset);
        if mount.chunks().write(file.place.at(index, file.epoch.get()), inside, bytes) {
            break;
        }
        *file = mount.open(file.ino, WRITE).await;
    }
    file.end = offset + bytes.len() as u64;
    mount.sync(file).await.unwrap();
}

#[test]
fn a_crowd_ends_in_what_some_serial_order_makes() {
    for seed in 0..24 {
        with_bed(seed, async move |bed| {
            let chunks = fake(&bed);
            let services: Vec<_> =
                [1001, 1002, 1003].map(|session| service(&bed, &chunks, session)).into();
            let maker = Mount::new(&services[0], 5);
            let made = maker.create("a").await;
            maker.close(&made).await;
            chunks.set_delay(Duration::from_millis(seed % 4));
            let history = Rc::new(History::default());
            let clients = (0..4).map(|number| {
                let (services, history) = (services.clone(), history.clone());
                bed.env.spawn(client(services, number, made.ino, seed, history))
            });
            all(clients.collect::<Vec<_>>()).await;
            chunks.set_delay(Duration::ZERO);
            // Marks that are left are settled, as the background does.
            for service in &services {
                service.measures().settle(made.ino, bed.env.now() + TIME).await.unwrap();
            }
            let end = maker.read(&made).await;
            let events = history.events.take();
            assert_eq!(events.len(), 16);
            assert!(explains(&events, &end), "seed {seed}: {events:?} end in {end:?}");
            for letters in ["TRUN", "LENQ", "SESS", "SESI"] {
                assert_eq!(keys(&bed, letters).await, 0, "seed {seed}: {letters}");
            }
            bed.wait(Duration::from_secs(60)).await;
            assert_eq!(maker.read(&made).await, end, "seed {seed}: nothing grows again");
        });
    }
}
