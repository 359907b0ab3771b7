//! Where images are kept: slots, and per state a queue in the order in which images leave it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use engine_types::{ChunkVersion, reached};

use crate::address::{ChunkKey, Lsn};

/// How far an image has come; see the overlay's module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its version is pending.
    Pending,
    /// Its version is committed by an entry of this group, which is not durable yet.
    Committed { lsn: Lsn, pin: u64 },
    /// The commit is durable; plans older than it may be under way.
    Ready { pin: u64 },
    /// It can be written home.
    Due,
    /// It could be, were an older write of the sector not in flight.
    Blocked,
    /// It is being written home.
    Applying,
    /// It is home, and lost in a power failure until a flush that began after write `stamp`.
    Applied { stamp: u64 },
    /// An entry of this group has killed it.
    Dead { lsn: Lsn },
    /// The same while it is being written home.
    Doomed { lsn: Lsn },
}

/// States that have a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// By group of the commit.
    Committed,
    /// By pin number.
    Ready,
    /// By group of the image, so that the oldest ones leave the ring first.
    Due,
    /// By stamp.
    Applied,
    /// By group of the entry that killed it.
    Dead,
}

/// Index of an image.
pub(super) type Id = u32;

#[derive(Debug)]
pub(super) struct Image<T> {
    pub(super) key: ChunkKey,
    pub(super) version: ChunkVersion,
    pub(super) lsn: Lsn,
    pub(super) sector: u16,
    /// Number of its insertion: tells it from a later user of its slot, and orders images of one
    /// group.
    pub(super) order: u64,
    /// Changed by [`Images::set`] only.
    pub(super) state: State,
    /// Nothing once it is dead: nobody reads it, and its bytes are in the journal.
    pub(super) content: Option<T>,
}

#[derive(Debug)]
pub(super) struct Images<T> {
    slots: Vec<Option<Image<T>>>,
    vacant: Vec<Id>,
    queues: [BTreeMap<(u64, u64), Id>; Queue::COUNT],
    next_order: u64,
    /// Images with content.
    alive: usize,
    /// Images whose home write is in flight.
    writing: usize,
    /// Images that wait for the write of an older one.
    blocked: usize,
}

impl State {
    /// Whether it belongs to the committed content of its chunk.
    pub(super) const fn is_committed(self) -> bool {
        !matches!(self, Self::Pending | Self::Dead { .. } | Self::Doomed { .. })
    }

    /// Whether a write of it may be in flight.
    pub(super) const fn is_writing(self) -> bool {
        matches!(self, Self::Applying | Self::Doomed { .. })
    }

    pub(super) const fn is_dead(self) -> bool {
        matches!(self, Self::Dead { .. } | Self::Doomed { .. })
    }

    /// The queue of an image of group `lsn` in this state, and what orders it there.
    const fn queue(self, lsn: Lsn) -> Option<(Queue, u64)> {
        match self {
            Self::Committed { lsn, .. } => Some((Queue::Committed, lsn.get())),
            Self::Ready { pin } => Some((Queue::Ready, pin)),
            Self::Due => Some((Queue::Due, lsn.get())),
            Self::Applied { stamp } => Some((Queue::Applied, stamp)),
            Self::Dead { lsn } => Some((Queue::Dead, lsn.get())),
            Self::Pending | Self::Blocked | Self::Applying | Self::Doomed { .. } => None,
        }
    }
}

impl Queue {
    const COUNT: usize = Self::Dead as usize + 1;
}

impl<T> Default for Images<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            vacant: Vec::new(),
            queues: Default::default(),
            next_order: 0,
            alive: 0,
            writing: 0,
            blocked: 0,
        }
    }
}

impl<T> Images<T> {
    /// Adds a pending image.
    pub(super) fn add(
        &mut self,
        (key, version): (ChunkKey, ChunkVersion),
        lsn: Lsn,
        sector: u16,
        content: T,
    ) -> Id {
        let (order, state) = (self.next_order, State::Pending);
        self.next_order += 1;
        self.alive += 1;
        let image = Some(Image { key, version, lsn, sector, order, state, content: Some(content) });
        if let Some(id) = self.vacant.pop() {
            self.slots[id as usize] = image;
            return id;
        }
        self.slots.push(image);
        Id::try_from(self.slots.len() - 1).expect("images fit in memory, so 2^32 do not exist")
    }

    pub(super) fn get(&self, id: Id) -> &Image<T> {
        self.slots[id as usize].as_ref().expect("E134: only images in place are named")
    }

    /// Changes the state, and with it the queue.
    pub(super) fn set(&mut self, id: Id, state: State) {
        let image = self.slots[id as usize].as_mut();
        let image = image.expect("E134: only images in place are named");
        if state.is_dead() && image.content.take().is_some() {
            self.alive -= 1;
        }
        let old = core::mem::replace(&mut image.state, state);
        let (lsn, order) = (image.lsn, image.order);
        self.leave(old, lsn, order, id);
        self.writing += usize::from(state.is_writing());
        self.blocked += usize::from(state == State::Blocked);
        if let Some((queue, number)) = state.queue(lsn) {
            self.queues[queue as usize].insert((number, order), id);
        }
    }

    /// Nobody reads an image any more, by an entry of group `lsn`; nothing if that was so before.
    pub(super) fn kill(&mut self, id: Id, lsn: Lsn) {
        match self.get(id).state {
            State::Dead { .. } | State::Doomed { .. } => {}
            State::Applying => {
                reached!("S5: an image is killed while it is being written home");
                self.set(id, State::Doomed { lsn });
            }
            _ => self.set(id, State::Dead { lsn }),
        }
    }

    /// Takes an image out.
    pub(super) fn remove(&mut self, id: Id) -> Image<T> {
        let image = self.slots[id as usize].take();
        let image = image.expect("E130: an image is released once");
        assert!(!image.state.is_writing(), "E130: {} is being written", image.key);
        self.leave(image.state, image.lsn, image.order, id);
        self.alive -= usize::from(image.content.is_some());
        self.vacant.push(id);
        image
    }

    /// The first image of a queue, if its number is at most `limit`.
    pub(super) fn first(&self, queue: Queue, limit: u64) -> Option<Id> {
        let (&(number, _), &id) = self.queues[queue as usize].first_key_value()?;
        Some(id).filter(|_| number <= limit)
    }

    /// Images in a queue.
    pub(super) fn queued(&self, queue: Queue) -> usize {
        self.queues[queue as usize].len()
    }

    /// All images.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    /// Images that are not dead.
    pub(super) const fn alive(&self) -> usize {
        self.alive
    }

    /// Images whose home write is in flight.
    pub(super) const fn writing(&self) -> usize {
        self.writing
    }

    /// Images that wait for the write of an older one.
    pub(super) const fn blocked(&self) -> usize {
        self.blocked
    }

    /// E134; for tests.
    pub(super) fn check(&self) {
        let (mut writing, mut blocked) = (0, 0);
        let present = (0..).zip(&self.slots).filter_map(|(id, slot)| Some((id, slot.as_ref()?)));
        let (mut queued, mut alive) = (0, 0);
        for (id, image) in present {
            assert_eq!(image.content.is_none(), image.state.is_dead(), "E133: {}", image.key);
            alive += usize::from(image.content.is_some());
            writing += usize::from(image.state.is_writing());
            blocked += usize::from(image.state == State::Blocked);
            let Some((queue, number)) = image.state.queue(image.lsn) else { continue };
            let found = self.queues[queue as usize].get(&(number, image.order));
            assert_eq!(found, Some(&id), "E134: {} is in its queue", image.key);
            queued += 1;
        }
        let counted = (self.alive, self.writing, self.blocked);
        assert_eq!((alive, writing, blocked), counted, "E134: counts");
        let all: usize = self.queues.iter().map(BTreeMap::len).sum();
        assert_eq!(all, queued, "E134: no image is in another queue");
    }

    fn leave(&mut self, state: State, lsn: Lsn, order: u64, id: Id) {
        self.writing -= usize::from(state.is_writing());
        self.blocked -= usize::from(state == State::Blocked);
        if let Some((queue, number)) = state.queue(lsn) {
            let was = self.queues[queue as usize].remove(&(number, order));
            assert_eq!(was, Some(id), "E134: an image is in the queue of its state");
        }
    }
}
