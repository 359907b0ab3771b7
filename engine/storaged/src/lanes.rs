//! Memory for payloads from other shards, by hop (W2, E388).
//!
//! ```text
//!   client ──> head ──lane 1──> second ──lane 2──> third ──lane 3──> ...
//!     its connection's credit     room of lane 1     room of lane 2
//!                               a chunk that catches up ──shipping lane──> syncing replica
//! ```
//!
//! A payload takes room at the receiver for all of its bytes before the first one leaves, and gives
//! it back when the receiver has stored them and passed them on. The lane is the number of links
//! that the payload has passed, so what has room in one lane waits for room in the next one only,
//! and what is in the last one waits for nobody: chains may cross in any way. As all of a payload
//! has room, those that were begun always end. Requests on links are answered at once, so a link
//! never stands still for one lane while another could go on.
//!
//! A payload of a chunk that is being shipped to a replica waits there, with its room, until the
//! chunk is there. So shipments have a lane of their own, which waits for nobody: else writes to
//! the chunks of a resync could hold all room of a lane, and the shipments they wait for have none.
//!
//! What is read from the own store besides begins in lane 1: it holds no room here. More than
//! [`PAYLOAD_BYTES_MAX`] reserves only so much: whole chunks that are larger and catch up, or are
//! repeated after a change of the chain, lean on the rest of the pool.
//!
//! Owner: a shard. Both sides forget when the link between them goes down.

use core::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use engine_links::{Room, ShardId};
use engine_net::{Account, CreditPool, Overdrawn};
use engine_runtime::Gate;
use engine_types::limits::{CHAIN_MEMBERS_MAX, PAYLOAD_BYTES_MAX};

#[cfg(test)]
mod tests;

/// Lanes: as many as the longest chain has links, and that of shipments.
#[expect(clippy::cast_possible_truncation, reason = "asserted below")]
pub(crate) const LANES: u8 = CHAIN_MEMBERS_MAX as u8;
/// The lane of chunks for a replica that catches up.
pub(crate) const SHIPPING_LANE: u8 = LANES;
/// The lane of the last link of the longest chain.
const LAST_LANE: u8 = LANES - 1;
/// The lane of what nobody has passed on yet.
pub(crate) const FIRST_LANE: u8 = 1;

const _: () = assert!(CHAIN_MEMBERS_MAX < 256 && 1 < CHAIN_MEMBERS_MAX);

/// Of the memory of a core, the part that all lanes have together: as much as clients get of the
/// credit. A lane has two of the largest payloads at least.
const LANES_SHARE: u64 = 4;
/// Room in each lane that a peer has without asking, from the first half of the lane: one large
/// write, or hundreds of small ones, so that only a loaded shard costs its peers a round trip.
const IDLE_BYTES: u64 = 1 << 20;

/// Somebody takes or returns room that it was not given, or names no lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfounded {
    #[error("there is no lane {0}")]
    Lane(u8),
    #[error("no link stands")]
    NoLink,
    #[error("{} bytes of room are used or returned, {} were given", .0.found, .0.credit)]
    Overdrawn(Overdrawn),
}

/// Room that peers have given to this shard.
pub(crate) struct Purse {
    lanes: Vec<Gate>,
}

/// See the module.
pub(crate) struct Lanes {
    given: Vec<CreditPool>,
    accounts: RefCell<BTreeMap<ShardId, Vec<Rc<Account>>>>,
    purses: RefCell<BTreeMap<ShardId, Rc<Purse>>>,
    /// Payloads that have waited for room, for people.
    pub(crate) waited: Cell<u64>,
}

/// Room that a payload from a peer holds here.
pub(crate) struct Reserved {
    lanes: Rc<Lanes>,
    lane: u8,
    account: Rc<Account>,
    bytes: u32,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.lanes.given[usize::from(self.lane) - 1].done(&self.account, self.bytes);
    }
}

/// What a payload of so many bytes reserves.
pub(crate) fn reservation(bytes: u32) -> u32 {
    bytes.min(PAYLOAD_BYTES_MAX)
}

/// The lane behind `lane`. In a chain that was turned round while payloads were on their way, the
/// last one may come more than once.
pub(crate) fn next(lane: u8) -> u8 {
    LAST_LANE.min(lane + 1)
}

impl Purse {
    /// Takes room if there is some and nobody waits for it.
    pub(crate) fn try_take(&self, lane: u8, bytes: u32) -> bool {
        self.lanes[usize::from(lane) - 1].try_take(bytes.into())
    }

    /// All that those wait for who wait, and `more`: what the peer is to be asked for.
    pub(crate) fn demand(&self, lane: u8, more: u32) -> u32 {
        let demand = self.lanes[usize::from(lane) - 1].demand();
        u32::try_from(demand + u64::from(more)).unwrap_or(u32::MAX)
    }

    /// What is to be said to the peer: whether more is wanted, which it may not have kept in mind
    /// as it has bounds of its own, or room goes back that nobody waits for, beyond what is idle.
    pub(crate) fn settle(&self, lane: u8) -> Option<(Room, u32)> {
        let gate = &self.lanes[usize::from(lane) - 1];
        let (free, demand) = (gate.free(), gate.demand());
        if free < demand {
            return Some((Room::Want, u32::try_from(demand).unwrap_or(u32::MAX)));
        }
        let surplus = free.saturating_sub(IDLE_BYTES);
        let returned = 0 < surplus && demand == 0 && gate.try_take(surplus);
        u32::try_from(surplus).ok().filter(|_| returned).map(|surplus| (Room::Back, surplus))
    }

    /// Takes room, in line; false when the link is gone.
    pub(crate) async fn take(&self, lane: u8, bytes: u32) -> bool {
        self.lanes[usize::from(lane) - 1].take(bytes.into()).await.is_ok()
    }
}

impl Lanes {
    pub(crate) fn new(pool_bytes: u64) -> Rc<Self> {
        let budget = pool_bytes / LANES_SHARE / u64::from(LANES);
        Rc::new(Self {
            given: (0..LANES).map(|_| CreditPool::new(budget, IDLE_BYTES)).collect(),
            accounts: RefCell::default(),
            purses: RefCell::default(),
            waited: Cell::new(0),
        })
    }

    /// A link stands; `grant` tells the peer of room in a lane.
    pub(crate) fn link_up(&self, peer: ShardId, grant: impl Fn(u8, u32) + Clone + 'static) {
        let purse = Purse { lanes: (0..LANES).map(|_| Gate::new(0)).collect() };
        self.purses.borrow_mut().insert(peer, Rc::new(purse));
        let accounts = self.given.iter().zip(FIRST_LANE..).map(|(pool, lane)| {
            let grant = grant.clone();
            pool.open(Box::new(move |bytes| grant(lane, bytes)))
        });
        let before = self.accounts.borrow_mut().insert(peer, accounts.collect());
        assert!(before.is_none(), "E388: {peer} has two links");
    }

    /// It is gone: nobody waits any more, and what the peer has not used is given to others.
    pub(crate) fn link_down(&self, peer: ShardId) {
        if let Some(purse) = self.purses.borrow_mut().remove(&peer) {
            purse.lanes.iter().for_each(Gate::close);
        }
        let accounts = self.accounts.borrow_mut().remove(&peer);
        for (pool, account) in self.given.iter().zip(accounts.into_iter().flatten()) {
            pool.close(&account);
        }
    }

    /// What may be sent to a peer; nothing without a link.
    pub(crate) fn purse(&self, peer: ShardId) -> Option<Rc<Purse>> {
        self.purses.borrow().get(&peer).cloned()
    }

    /// The peer has given room; gives what is to be said to that.
    pub(crate) fn granted(
        &self,
        peer: ShardId,
        lane: u8,
        bytes: u32,
    ) -> Result<Option<(Room, u32)>, Unfounded> {
        let purse = self.purse(peer).ok_or(Unfounded::NoLink)?;
        let gate = purse.lanes.get(place(lane)?).ok_or(Unfounded::Lane(lane))?;
        gate.give(bytes.into());
        Ok(purse.settle(lane))
    }

    /// The peer wants so much room in all.
    pub(crate) fn want(&self, peer: ShardId, lane: u8, bytes: u32) -> Result<(), Unfounded> {
        let (pool, account) = self.account(peer, lane)?;
        pool.want(&account, bytes);
        Ok(())
    }

    /// The peer returns room.
    pub(crate) fn back(&self, peer: ShardId, lane: u8, bytes: u32) -> Result<(), Unfounded> {
        let (pool, account) = self.account(peer, lane)?;
        pool.give_back(&account, bytes.into()).map_err(Unfounded::Overdrawn)
    }

    /// A payload of the peer takes room, until the answer is dropped.
    pub(crate) fn begin(
        self: &Rc<Self>,
        peer: ShardId,
        lane: u8,
        bytes: u32,
    ) -> Result<Reserved, Unfounded> {
        let (pool, account) = self.account(peer, lane)?;
        pool.begin(&account, bytes).map_err(Unfounded::Overdrawn)?;
        Ok(Reserved { lanes: self.clone(), lane, account, bytes })
    }

    fn account(&self, peer: ShardId, lane: u8) -> Result<(&CreditPool, Rc<Account>), Unfounded> {
        let at = place(lane)?;
        let accounts = self.accounts.borrow();
        let account = accounts.get(&peer).ok_or(Unfounded::NoLink)?.get(at).cloned();
        let pool = self.given.get(at);
        pool.zip(account).ok_or(Unfounded::Lane(lane))
    }
}

fn place(lane: u8) -> Result<usize, Unfounded> {
    lane.checked_sub(1).map(usize::from).ok_or(Unfounded::Lane(lane))
}
