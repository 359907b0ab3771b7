//! Room is given, used and given back; whoever has none waits; nobody starves.

use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;

use engine_types::{CoreId, NodeId};

use super::*;

fn shard(node: u32) -> ShardId {
    ShardId { node: NodeId::new(node), core: CoreId::new(0) }
}

type Said = Rc<RefCell<Vec<(u8, u32)>>>;

/// A receiver with the smallest lanes, and what it tells a peer.
fn up(lanes: &Rc<Lanes>, node: u32) -> Said {
    let said = Said::default();
    let told = said.clone();
    lanes.link_up(shard(node), move |lane, bytes| told.borrow_mut().push((lane, bytes)));
    said
}

fn sum(said: &Said, lane: u8) -> u64 {
    said.borrow().iter().filter(|said| said.0 == lane).map(|said| u64::from(said.1)).sum()
}

const MIB: u32 = 1 << 20;

#[test]
fn every_lane_has_its_own_room() {
    let lanes = Lanes::new(0);
    let said = up(&lanes, 1);
    for lane in 1..=LANES {
        assert_eq!(sum(&said, lane), IDLE_BYTES, "without asking");
        lanes.want(shard(1), lane, 8 * MIB).unwrap();
        assert_eq!(sum(&said, lane), u64::from(4 * MIB), "half of the lane for one peer");
    }
    let held: Vec<_> =
        (1..=LANES).map(|lane| lanes.begin(shard(1), lane, 4 * MIB).unwrap()).collect();
    let overdrawn = lanes.begin(shard(1), 2, 1).err();
    assert_eq!(overdrawn, Some(Unfounded::Overdrawn(Overdrawn { found: 1, credit: 0 })));
    let other = up(&lanes, 2);
    lanes.want(shard(2), 1, 4 * MIB).unwrap();
    assert_eq!(sum(&other, 1), u64::from(4 * MIB), "the other half is somebody else's");
    drop(held);
    assert_eq!(sum(&said, 1), u64::from(8 * MIB), "it goes on being given");
    assert_eq!(lanes.begin(shard(1), 0, 1).err(), Some(Unfounded::Lane(0)));
    assert_eq!(lanes.begin(shard(1), LANES + 1, 1).err(), Some(Unfounded::Lane(LANES + 1)));
    assert_eq!(lanes.want(shard(3), 1, 1), Err(Unfounded::NoLink));
}

#[test]
fn room_that_is_not_used_goes_back() {
    let lanes = Lanes::new(0);
    let _said = up(&lanes, 1);
    assert_eq!(lanes.granted(shard(1), 1, MIB), Ok(None), "as much as is idle is kept");
    assert_eq!(lanes.granted(shard(1), 1, 3 * MIB), Ok(Some((Room::Back, 3 * MIB))));
    let purse = lanes.purse(shard(1)).unwrap();
    assert!(purse.try_take(1, MIB) && !purse.try_take(1, 1));
    assert_eq!(purse.demand(1, 5), 5);
    {
        let mut waiting = pin!(purse.take(1, 2 * MIB));
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(waiting.as_mut().poll(&mut cx), Poll::Pending);
        assert_eq!(purse.demand(1, 5), 2 * MIB + 5);
        let more = Ok(Some((Room::Want, 2 * MIB)));
        assert_eq!(lanes.granted(shard(1), 1, MIB), more, "somebody waits for more");
        assert_eq!(lanes.granted(shard(1), 1, MIB), Ok(None), "and for this");
        assert_eq!(waiting.as_mut().poll(&mut cx), Poll::Ready(true));
    }
    lanes.link_down(shard(1));
    let mut gone = pin!(purse.take(1, 1));
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(gone.as_mut().poll(&mut cx), Poll::Ready(false), "the link is gone");
}

#[test]
fn a_link_that_goes_down_takes_its_room_along() {
    let lanes = Lanes::new(0);
    for round in 0..20 {
        let said = up(&lanes, 1);
        lanes.want(shard(1), 1, 4 * MIB).unwrap();
        assert_eq!(sum(&said, 1), u64::from(4 * MIB), "round {round}");
        let held = lanes.begin(shard(1), 1, 3 * MIB).unwrap();
        lanes.link_down(shard(1));
        drop(held); // the payload ends later than its link
    }
}

#[test]
fn the_last_lane_is_the_last() {
    let mut lane = FIRST_LANE;
    for _ in 0..10 {
        lane = next(lane);
    }
    assert_eq!(
        (next(FIRST_LANE), lane),
        (2, LAST_LANE),
        "nothing that passes waits for a shipment"
    );
    assert_eq!(reservation(u32::MAX), PAYLOAD_BYTES_MAX);
}

/// To whom, from whom, lane, bytes.
type Grants = VecDeque<(u32, u32, u8, u32)>;
/// A payload that waits for its reservation.
type Waiting = Pin<Box<dyn Future<Output = bool>>>;

/// Payloads of three chains in a ring, each node head, middle and tail of one.
struct World {
    nodes: Vec<Rc<Lanes>>,
    granted: Rc<RefCell<Grants>>,
    waiting: Vec<(usize, Waiting)>,
    streams: Vec<(u32, u8, u32, Option<Reserved>)>,
}

impl World {
    fn new() -> Self {
        let granted = Rc::new(RefCell::new(VecDeque::new()));
        let nodes: Vec<_> = (0..3).map(|_| Lanes::new(0)).collect();
        for (own, lanes) in (0..).zip(&nodes) {
            for peer in (0..3).filter(|peer| *peer != own) {
                let granted = granted.clone();
                lanes.link_up(shard(peer), move |lane, bytes| {
                    granted.borrow_mut().push_back((peer, own, lane, bytes));
                });
            }
        }
        Self { nodes, granted, waiting: Vec::new(), streams: Vec::new() }
    }

    fn deliver(&self) {
        loop {
            let next = self.granted.borrow_mut().pop_front();
            let Some((to, from, lane, bytes)) = next else { return };
            let receiver = &self.nodes[from as usize];
            match self.nodes[to as usize].granted(shard(from), lane, bytes).unwrap() {
                None => {}
                Some((Room::Back, bytes)) => receiver.back(shard(to), lane, bytes).unwrap(),
                Some((_, bytes)) => receiver.want(shard(to), lane, bytes).unwrap(),
            }
        }
    }

    /// A payload at the node of its hop wants to go to the next one.
    fn ask(&mut self, stream: usize, lane_of: fn(u8) -> u8) {
        let (head, hop, bytes, _) = self.streams[stream];
        let (from, to) = ((head + u32::from(hop)) % 3, (head + u32::from(hop) + 1) % 3);
        let lane = lane_of(hop + 1);
        let purse = self.nodes[from as usize].purse(shard(to)).unwrap();
        let demand = purse.demand(lane, bytes);
        self.waiting.push((stream, Box::pin(async move { purse.take(lane, bytes).await })));
        let place = self.waiting.len() - 1;
        if !self.poll(place, lane_of) {
            self.nodes[to as usize].want(shard(from), lane, demand).unwrap();
        } else if hop == 0 {
            self.ask(stream, lane_of);
        }
    }

    /// Whether it has gone on.
    fn poll(&mut self, place: usize, lane_of: fn(u8) -> u8) -> bool {
        let waiting = self.waiting[place].1.as_mut();
        if waiting.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            return false;
        }
        let stream = self.waiting.remove(place).0;
        let (head, hop, bytes, _) = self.streams[stream];
        let (from, to) = ((head + u32::from(hop)) % 3, (head + u32::from(hop) + 1) % 3);
        let lane = lane_of(hop + 1);
        let room = self.nodes[to as usize].begin(shard(from), lane, bytes).unwrap();
        // The room before goes: its bytes were passed on. The tail has stored them at once.
        self.streams[stream].1 = hop + 1;
        self.streams[stream].3 = (hop == 0).then_some(room);
        true
    }

    /// Payloads that have not arrived when nothing goes on any more.
    fn run(seed: u64, lane_of: fn(u8) -> u8) -> usize {
        let mut rng = engine_types::Rng::new(seed);
        let mut world = Self::new();
        for number in 0..90 {
            let bytes = 1 + u32::try_from(rng.below(4 << 20)).unwrap();
            world.streams.push((number % 3, 0, bytes, None));
        }
        for stream in 0..world.streams.len() {
            world.ask(stream, lane_of);
        }
        loop {
            world.deliver();
            let mut places: Vec<_> = (0..world.waiting.len()).collect();
            rng.shuffle(&mut places);
            let mut moved = None;
            for place in places {
                let stream = world.waiting[place].0;
                if world.poll(place, lane_of) {
                    moved = Some(stream);
                    break;
                }
            }
            let Some(stream) = moved else { break };
            if world.streams[stream].1 == 1 {
                world.ask(stream, lane_of);
            }
        }
        world.streams.iter().filter(|stream| stream.1 < 2).count()
    }
}

/// W2: with a lane per hop everything arrives; with one for all of them everybody waits.
#[test]
fn rings_come_to_an_end_with_a_lane_per_hop_and_stand_still_without() {
    let mut stuck = 0;
    for seed in 0..50 {
        assert_eq!(World::run(seed, |hop| hop), 0, "seed {seed}");
        stuck += World::run(seed, |_| 1);
    }
    assert_ne!(stuck, 0, "the load is too small to show anything");
}
