//! A follower of scripted managers.

use std::collections::BTreeMap;

use engine_runtime::sim::SimEnv;
use engine_types::limits::SEGMENT_BYTES_MAX;
use engine_types::{ChainId, ChainInfo, Incarnation, NodeId, NodeInfo, NodeRole, NodeState};

use super::*;
use crate::testing::{Asked, CLUSTER, Ground, Manager, Told, ms, refuse};
use mgmt_protocol::RefusalCode;

/// Routing info with one node, which tells versions and timelines apart.
fn info(timeline: u32, version: u64) -> RoutingInfo {
    let mut info = RoutingInfo::empty(CLUSTER);
    (info.timeline, info.version) = (Timeline::new(timeline), RoutingVersion::new(version));
    info.nodes.insert(NodeId::new(1), node(timeline, version));
    info
}

fn node(timeline: u32, version: u64) -> NodeInfo {
    NodeInfo {
        role: NodeRole::Storage,
        addresses: vec![format!("{timeline}.{version}:1")],
        incarnation: Incarnation::new(1),
        state: NodeState::Alive,
    }
}

fn delta(timeline: u32, from: u64, to: u64) -> RoutingTold {
    let changed = BTreeMap::from([(NodeId::new(1), Some(node(timeline, to)))]);
    RoutingTold::Delta(Delta {
        cluster: CLUSTER,
        from: RoutingVersion::new(from),
        to: RoutingVersion::new(to),
        timeline: Timeline::new(timeline),
        nodes: changed,
        targets: BTreeMap::new(),
        chains: BTreeMap::<ChainId, Option<ChainInfo>>::new(),
        tables: BTreeMap::new(),
        revoked: None,
    })
}

/// The piece of `info` that begins at `offset`.
fn piece(info: &RoutingInfo, offset: u64, length: usize) -> RoutingTold {
    let bytes = info.encode();
    let (total, begin) = (bytes.len() as u64, usize::try_from(offset).unwrap());
    let end = bytes.len().min(begin + length);
    RoutingTold::Image { version: info.version, total, offset, bytes: bytes[begin..end].to_vec() }
}

/// Answers like a manager that keeps `info` and one image of it, in pieces of `length` bytes.
fn publish(manager: &Manager, info: RoutingInfo, length: usize) {
    manager.script(move |asked| {
        let Asked::Routing(asked) = asked else { panic!("{asked:?}") };
        let known = (asked.timeline, asked.since);
        let told = match asked.image {
            Some((version, offset)) if version == info.version => piece(&info, offset, length),
            None if known == (info.timeline, info.version) => {
                return Told::Later(asked.wait, Box::new(Told::Routing(RoutingTold::Current)));
            }
            _ => piece(&info, 0, length),
        };
        Told::Routing(told)
    });
}

type Place = Rc<RefCell<Option<Rc<Follower<SimEnv>>>>>;

/// A follower on the client's node, which ends when the world does.
fn follow(ground: &Ground) -> Place {
    let place = Rc::new(RefCell::new(None));
    let kept = place.clone();
    ground.client(move |_, managers| async move {
        *kept.borrow_mut() = Some(Follower::start(&managers));
        core::future::pending().await
    });
    ground.sim.run_while(ms(1000), |_| place.borrow().is_none()).unwrap();
    place
}

fn version(routing: &RoutingInfo) -> (u32, u64) {
    (routing.timeline.get(), routing.version.get())
}

fn polls(manager: &Manager) -> Vec<RoutingAsk> {
    let polls = manager.asked().into_iter().map(|asked| match asked {
        Asked::Routing(asked) => asked,
        other => panic!("{other:?}"),
    });
    polls.collect()
}

#[test]
fn images_come_in_pieces_and_deltas_lead_on() {
    let ground = Ground::new(1, 1);
    let manager = ground.manager(0);
    publish(&manager, info(1, 5), 16);
    let place = follow(&ground);
    let follower = place.borrow().clone().unwrap();
    assert_eq!(version(&follower.routing()), (0, 0));
    assert_eq!(follower.last_heard(), Instant::ZERO);
    let waited = Rc::new(Cell::new(false));
    let (seen, waits) = (waited.clone(), follower.clone());
    drop(follower.shared.managers.env().spawn(async move {
        waits.until(|routing| routing.version == RoutingVersion::new(9)).await;
        seen.set(true);
    }));
    ground.run_ms(1000);
    assert_eq!(*follower.routing(), info(1, 5));
    let asked = polls(&manager);
    let pieces = info(1, 5).encode().len().div_ceil(16);
    assert_eq!(asked.len(), pieces + 2, "a piece each, what is newer, and the poll that waits");
    let newer = asked[pieces];
    assert_eq!((newer.since.get(), newer.wait, newer.image), (5, ms(0), None));
    assert_eq!(asked[0].image, None);
    assert_eq!(asked[2].image, Some((RoutingVersion::new(5), 32)));
    let last = asked.last().unwrap();
    assert_eq!((last.since.get(), last.wait, last.image), (5, POLL_WAIT, None));
    // A delta answers the next poll.
    let mut told = Some(delta(1, 5, 9));
    manager.script(move |_| told.take().map_or(Told::Silence, Told::Routing));
    assert!(!waited.get());
    ground.run_ms(5500);
    assert_eq!(*follower.routing(), info(1, 9));
    assert!(waited.get());
    let now = ground.sim.node_now(ground.client);
    assert!(now.saturating_since(follower.last_heard()) < ms(6000));
}

/// E335: the manager does not keep the image any more, then another manager is primary.
#[test]
fn an_image_that_is_replaced_while_it_is_fetched_begins_anew() {
    let ground = Ground::new(2, 2);
    let (one, two) = (ground.manager(0), ground.manager(1));
    publish(&two, info(1, 6), 16);
    let mut pieces = 0;
    one.script(move |asked| {
        let Asked::Routing(asked) = asked else { panic!("{asked:?}") };
        pieces += 1;
        let offset = asked.image.map_or(0, |(_, offset)| offset);
        match pieces {
            1..=3 => Told::Routing(piece(&info(1, 5), offset, 16)),
            4 => Told::Routing(piece(&info(2, 6), 0, 16)),
            5..=6 => Told::Routing(piece(&info(2, 6), offset, 16)),
            _ => Told::Crash,
        }
    });
    let place = follow(&ground);
    let follower = place.borrow().clone().unwrap();
    ground.run_ms(10_000);
    assert_eq!(*follower.routing(), info(1, 6), "not a mixture of two timelines");
    let asked = polls(&one);
    let offset = |ask: &RoutingAsk| ask.image.map(|(version, at)| (version.get(), at));
    let wanted: Vec<_> = asked.iter().take(7).map(offset).collect();
    let at = |version, offset| Some((version, offset));
    assert_eq!(wanted[..4], [None, at(5, 16), at(5, 32), at(5, 48)]);
    assert_eq!(wanted[4..], [at(6, 16), at(6, 32), at(6, 48)]);
}

/// E334: what a manager says whose KV came back from a backup (R20).
#[test]
fn versions_never_go_back_and_timelines_only_rise() {
    let ground = Ground::new(3, 1);
    let manager = ground.manager(0);
    publish(&manager, info(3, 50), 1 << 20);
    let place = follow(&ground);
    let follower = place.borrow().clone().unwrap();
    ground.run_ms(1000);
    let mut known = (3, 50);
    assert_eq!(version(&follower.routing()), known);
    // (what is published, whether it is taken)
    let rows = [
        ((3, 49), false),
        ((2, 99), false),
        ((3, 51), true),
        ((4, 7), true),
        ((3, 60), false),
        ((4, 6), false),
        ((4, 8), true),
    ];
    for (next, taken) in rows {
        let before = manager.asked().len();
        publish(&manager, info(next.0, next.1), 1 << 20);
        ground.run_ms(20_000);
        known = if taken { next } else { known };
        assert_eq!(version(&follower.routing()), known, "{next:?}");
        let asked = manager.asked().len() - before;
        assert!(asked < 20, "{next:?}: images are fetched again and again: {asked}");
    }
    let mut told = [delta(3, 1, 90), delta(4, 8, 8), delta(4, 5, 7)].into_iter();
    manager.script(move |_| told.next().map_or(Told::Silence, Told::Routing));
    ground.run_ms(20_000);
    assert_eq!(*follower.routing(), info(4, 8));
}

#[test]
fn a_delta_that_does_not_fit_is_replaced_by_an_image() {
    let ground = Ground::new(4, 1);
    let manager = ground.manager(0);
    let mut told = vec![delta(1, 5, 9)];
    manager.script(move |asked| {
        let Asked::Routing(asked) = asked else { panic!("{asked:?}") };
        match (told.pop(), asked.image) {
            (Some(told), _) => Told::Routing(told),
            (None, Some((version, 0))) => Told::Routing(piece(&info(1, version.get()), 0, 1 << 20)),
            (None, _) if asked.wait.is_zero() => Told::Routing(RoutingTold::Current),
            (None, _) => Told::Silence,
        }
    });
    let place = follow(&ground);
    let follower = place.borrow().clone().unwrap();
    ground.run_ms(2000);
    assert_eq!(*follower.routing(), info(1, 9));
    let other = { RoutingInfo { cluster: engine_types::ClusterId::new(8), ..info(1, 10) } };
    publish(&manager, other, 1 << 20);
    ground.run_ms(20_000);
    assert_eq!(*follower.routing(), info(1, 9), "not of another cluster");
}

#[test]
fn managers_that_come_back_are_found_and_a_nudge_does_not_wait() {
    let ground = Ground::new(5, 2);
    let (one, two) = (ground.manager(0), ground.manager(1));
    publish(&one, info(1, 5), 1 << 20);
    publish(&two, info(1, 6), 1 << 20);
    ground.kill(1);
    let place = follow(&ground);
    let follower = place.borrow().clone().unwrap();
    ground.run_ms(1000);
    assert_eq!(version(&follower.routing()), (1, 5));
    ground.kill(0);
    ground.run_ms(60_000);
    ground.start(1);
    ground.run_ms(2500);
    assert_eq!(version(&follower.routing()), (1, 6));
    // A manager that waits with its answer is asked again, but not for each nudge.
    publish(&two, info(1, 7), 1 << 20);
    ground.run_ms(200);
    assert_eq!(version(&follower.routing()), (1, 6));
    let before = two.asked().len();
    for _ in 0..1000 {
        follower.nudge();
        ground.run_ms(1);
    }
    assert_eq!(version(&follower.routing()), (1, 7));
    let asked = two.asked().len() - before;
    assert!((2..=12).contains(&asked), "{asked} polls in a second");
}

#[test]
fn polls_end_with_the_follower_and_pause_before_a_manager_that_does_not_wait() {
    let ground = Ground::new(6, 1);
    let manager = ground.manager(0);
    manager.script(|_| Told::Routing(RoutingTold::Current));
    let place = follow(&ground);
    ground.run_ms(1000);
    let asked = manager.asked().len();
    assert!((10..=21).contains(&asked), "{asked} polls in a second");
    manager.script(|_| refuse(RefusalCode::Unsupported));
    ground.run_ms(100);
    let before = manager.asked().len();
    ground.run_ms(60_000);
    let asked = manager.asked().len() - before;
    assert!(asked < 20, "{asked} polls in a minute");
    *place.borrow_mut() = None;
    ground.run_ms(100);
    let before = manager.asked().len();
    ground.run_ms(60_000);
    assert_eq!(manager.asked().len(), before);
}

/// A kept image is some seconds old: what is newer comes before anything is shown.
#[test]
fn an_image_is_shown_when_it_has_caught_up() {
    let ground = Ground::new(5, 1);
    let manager = ground.manager(0);
    manager.script(move |asked| {
        let Asked::Routing(asked) = asked else { panic!("{asked:?}") };
        match asked.since.get() {
            0 => Told::Routing(piece(&info(1, 5), 0, 1 << 20)),
            5 => Told::Routing(delta(1, 5, 9)),
            _ => Told::Silence,
        }
    });
    let place = follow(&ground);
    let follower = place.borrow().clone().unwrap();
    let shown = ground.sim.run_while(ms(5000), |_| version(&follower.routing()) == (0, 0));
    assert!(shown.unwrap());
    assert_eq!(*follower.routing(), info(1, 9), "never version 5");
}

/// Clients nudge whenever an operation fails, and polls wait for seconds (E328).
#[test]
fn polls_that_are_given_up_hold_one_room_together() {
    const NUDGES: usize = 60;
    let ground = Ground::new(1, 1);
    let manager = ground.manager(0);
    publish(&manager, info(1, 5), 1 << 20);
    let place = follow(&ground);
    let follower = place.borrow().clone().unwrap();
    ground.run_ms(1000);
    assert_eq!(*follower.routing(), info(1, 5));
    let pool = follower.shared.managers.env().pool().clone();
    let (mut peak, idle) = (0, pool.held());
    for _ in 0..NUDGES {
        follower.nudge();
        // The question at once, and the one that waits: the next nudge gives that up.
        ground.run_ms(250);
        peak = peak.max(pool.held());
    }
    let given_up = polls(&manager).iter().filter(|poll| poll.wait == POLL_WAIT).count();
    assert!(NUDGES <= given_up, "{given_up} polls waited");
    let limit = idle + SEGMENT_BYTES_MAX as usize;
    assert!(peak <= limit, "E328: {peak} bytes held after {NUDGES} nudges, {idle} before");
    // The manager ends: nobody is told, and everything asked of it is given back after a while.
    ground.kill(0);
    ground.run_ms(60_000);
    assert!(pool.held() <= idle, "{} bytes held of a dead manager", pool.held());
}
