//! The state of a world: nodes, the queue of events, and everything that hangs on them.
//!
//! One `State` per world behind one `RefCell`. It is borrowed for single synchronous steps and
//! never while code of a node runs, be it a poll or a destructor (E41): both call back into it.

use core::cell::RefCell;
use core::cmp::Ordering;
use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;

use engine_types::{Instant, NodeId, Rng};

use super::arena::{Arena, Key};
use super::clock::Clock;
use super::disk::{NodeDisk, Page};
use super::fault::{Count, NodeSpec, SimConfig, SimReport};
use super::join::Promise;
use super::mailboxes::Mailboxes;
use super::net::{Net, Segment};
use super::operation::Operation;
use super::pages::CrashMode;
use super::scheduler::{Failure, Task, WakeQueue};
use super::trace::{Happened, Trace};
use crate::core_spec::CoreEnd;
use crate::env::Signal;
use crate::mailbox::Sender;

/// What happens at a point in world time. Keys of things that are gone by then find nothing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A sleeping task's time has come.
    Timer(Key),
    /// A task that was left waiting is ready again.
    Resume(Key),
    /// A frozen node thaws, unless it was frozen anew.
    Thaw { node: u32, freeze: u32 },
    /// A file operation ends.
    Io(Key),
    /// A segment arrives.
    Arrive(Segment),
    /// A segment was not acknowledged in time.
    Retransmit(Segment),
    /// The receiver of what `side` sends tells how far it is.
    Ack { conn: Key, side: u8 },
    /// That was lost: it is told again.
    AckAgain { conn: Key, side: u8, attempt: u32 },
    /// A reset reaches `side`.
    Reset { conn: Key, side: u8 },
    /// A request to connect arrives.
    Syn { conn: Key, attempt: u32 },
    /// It was not answered in time.
    SynAgain { conn: Key, attempt: u32 },
    /// The answer arrives: accepted or refused.
    SynAnswer { conn: Key, accepted: bool },
    /// The attempt to connect has to end.
    GiveUp(Key),
}

struct Entry {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// Earliest on top of the heap; events of one time in the order in which they were made.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// Events to come.
#[derive(Default)]
pub(super) struct Events {
    heap: BinaryHeap<Entry>,
    next_order: u64,
    stale_timers: usize,
}

/// Dropped timers are left in the heap until they are this many and half of it.
const STALE_TIMERS_MIN: usize = 256;

impl Events {
    pub(super) fn push(&mut self, at: u64, event: Event) {
        let order = self.next_order;
        self.next_order += 1;
        self.heap.push(Entry { at, order, event });
    }

    pub(super) fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|entry| entry.at)
    }

    pub(super) fn pop(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }

    /// One timer in the heap means nothing any more.
    fn timer_dropped(&mut self, live: &Arena<Timer>) {
        self.stale_timers += 1;
        if STALE_TIMERS_MIN < self.stale_timers && self.heap.len() < 2 * self.stale_timers {
            self.heap.retain(|entry| match entry.event {
                Event::Timer(key) => live.get(key).is_some(),
                _ => true,
            });
            self.stale_timers = 0;
        }
    }
}

/// Somebody waits for the clock of a node.
pub(super) struct Timer {
    pub(super) node: u32,
    pub(super) at: Instant,
    pub(super) waker: core::task::Waker,
}

/// One executor of a process.
pub(super) struct Core {
    pub(super) alive: bool,
    pub(super) operations: u32,
    /// Fulfilled when the core has ended and its I/O has completed.
    pub(super) end: Option<Promise<CoreEnd>>,
}

/// One machine and the process on it.
pub(super) struct Node {
    pub(super) spec: NodeSpec,
    pub(super) ip: Ipv4Addr,
    pub(super) clock: Clock,
    pub(super) rng: Rng,
    pub(super) powered: bool,
    pub(super) running: bool,
    pub(super) finished: bool,
    pub(super) incarnation: u64,
    pub(super) cores: Vec<Core>,
    pub(super) frozen: bool,
    pub(super) freeze: u32,
    /// Ready tasks of a frozen process.
    pub(super) parked: Vec<Key>,
    pub(super) ports: BTreeMap<u16, Key>,
    pub(super) next_port: u16,
    pub(super) signals: Vec<Sender<Signal>>,
    pub(super) disk: NodeDisk,
}

impl Node {
    pub(super) fn is_alive(&self, incarnation: u64, core: u32) -> bool {
        self.running
            && self.incarnation == incarnation
            && self.cores.get(core as usize).is_some_and(|core| core.alive)
    }
}

/// Random numbers by purpose, so that a fault more does not change what is unrelated to it.
pub(super) struct Streams {
    pub(super) schedule: Rng,
    pub(super) stall: Rng,
    pub(super) timer: Rng,
    pub(super) net: Rng,
    pub(super) net_fault: Rng,
    pub(super) disk: Rng,
    pub(super) disk_fault: Rng,
    pub(super) crash: Rng,
}

pub(super) struct State {
    pub(super) config: SimConfig,
    pub(super) now: u64,
    pub(super) events: Events,
    pub(super) nodes: Vec<Node>,
    pub(super) tasks: Arena<Task>,
    pub(super) ready: Vec<Key>,
    pub(super) busy_polls: u64,
    /// Ready tasks that are left waiting.
    pub(super) stalled: u32,
    pub(super) timers: Arena<Timer>,
    pub(super) net: Net,
    pub(super) operations: Arena<Operation>,
    /// Pages to use again.
    pub(super) free_pages: Vec<Page>,
    pub(super) next_pool: u32,
    pub(super) root: Rng,
    pub(super) streams: Streams,
    pub(super) trace: Trace,
    pub(super) report: SimReport,
    pub(super) failure: Option<Failure>,
    /// How the crash that is under way treats what was not flushed; nothing: it is drawn.
    pub(super) crash_mode: Option<CrashMode>,
}

/// A world, shared by the handles of its nodes.
pub(super) struct World {
    pub(super) state: RefCell<State>,
    pub(super) woken: Arc<WakeQueue>,
    pub(super) mailboxes: Arc<Mailboxes>,
}

impl World {
    pub(super) fn new(config: SimConfig) -> Rc<Self> {
        let root = Rng::new(config.seed);
        let streams = Streams {
            schedule: root.fork("schedule"),
            stall: root.fork("stall"),
            timer: root.fork("timer"),
            net: root.fork("net"),
            net_fault: root.fork("net fault"),
            disk: root.fork("disk"),
            disk_fault: root.fork("disk fault"),
            crash: root.fork("crash"),
        };
        let mailboxes =
            Mailboxes::new(root.fork("mailbox").next_u64(), config.mailbox_full_permille);
        let state = State {
            now: 0,
            events: Events::default(),
            nodes: Vec::new(),
            tasks: Arena::default(),
            ready: Vec::new(),
            busy_polls: 0,
            stalled: 0,
            timers: Arena::default(),
            net: Net::new(config.link, config.net),
            operations: Arena::default(),
            free_pages: Vec::new(),
            next_pool: 0,
            root,
            streams,
            trace: Trace::new(config.seed, config.trace_lines),
            report: SimReport::default(),
            failure: None,
            crash_mode: None,
            config,
        };
        Rc::new(Self {
            state: RefCell::new(state),
            woken: Arc::new(WakeQueue::default()),
            mailboxes: Arc::new(mailboxes),
        })
    }
}

impl State {
    pub(super) fn node(&self, node: u32) -> &Node {
        &self.nodes[node as usize]
    }

    pub(super) fn node_mut(&mut self, node: u32) -> &mut Node {
        &mut self.nodes[node as usize]
    }

    pub(super) fn count(&mut self, count: Count) {
        self.report.bump(count, 1);
    }

    pub(super) fn record(&mut self, node: u32, happened: Happened) {
        self.trace.record(self.now, node, happened);
    }

    pub(super) fn add_node(&mut self, spec: NodeSpec) -> NodeId {
        let number = u32::try_from(self.nodes.len()).expect("a world is small");
        let [low, high, ..] = number.to_le_bytes();
        let ip = spec.ip.unwrap_or(Ipv4Addr::new(10, 0, high, low));
        let taken = self.net.by_ip.insert(ip, number);
        assert!(taken.is_none(), "{ip} belongs to node {taken:?} already");
        let mut rng = self.root.fork("node").fork(&number.to_string());
        let boot = boot_time(&spec, &mut rng);
        let clock = Clock::new(self.now, boot, spec.clock.wall_skew_ns, spec.clock.drift_ppm);
        self.nodes.push(Node {
            ip,
            clock,
            rng,
            powered: true,
            running: false,
            finished: false,
            incarnation: 0,
            cores: Vec::new(),
            frozen: false,
            freeze: 0,
            parked: Vec::new(),
            ports: BTreeMap::new(),
            next_port: FIRST_EPHEMERAL_PORT,
            signals: Vec::new(),
            disk: NodeDisk::new(self.config.disk),
            spec,
        });
        NodeId::new(number)
    }

    /// Makes a start of the node's process; its main core is number 0.
    pub(super) fn begin(&mut self, number: u32) -> u64 {
        let now = self.now;
        let node = self.node_mut(number);
        assert!(!node.running, "{} runs already", node.spec.name);
        if !node.powered {
            node.powered = true;
            let boot = boot_time(&node.spec, &mut node.rng);
            node.clock.boot(now, boot);
        }
        node.running = true;
        node.finished = false;
        node.frozen = false;
        node.freeze += 1;
        node.incarnation += 1;
        node.cores = vec![Core { alive: true, operations: 0, end: None }];
        let incarnation = node.incarnation;
        self.record(number, Happened::Started { incarnation });
        incarnation
    }

    // Timers

    pub(super) fn add_timer(&mut self, node: u32, at: Instant, waker: core::task::Waker) -> Key {
        let key = self.timers.insert(Timer { node, at, waker });
        self.arm(key, node, at);
        key
    }

    /// Timers are late by anything up to the maximum, mostly by little (E35, V3).
    fn arm(&mut self, key: Key, node: u32, at: Instant) {
        let Some(due) = self.node(node).clock.world_time(at) else { return };
        let late = self.timer_lateness();
        if let Some(at) = due.max(self.now).checked_add(late) {
            self.events.push(at, Event::Timer(key));
        }
    }

    pub(super) fn timer_lateness(&mut self) -> u64 {
        let most = nanos(self.config.timer_late_max);
        let rng = &mut self.streams.timer;
        if rng.chance(700) { rng.range(0..=most / 64) } else { rng.range(0..=most) }
    }

    pub(super) fn drop_timer(&mut self, key: Key) {
        if self.timers.remove(key).is_some() {
            self.events.timer_dropped(&self.timers);
        }
    }

    pub(super) fn timer_fired(&mut self, key: Key) {
        let Some(timer) = self.timers.get(key) else { return };
        let (node, at) = (timer.node, timer.at);
        if self.node(node).clock.now(self.now) < at {
            self.arm(key, node, at); // the clock was slowed since
            return;
        }
        let timer = self.timers.remove(key).expect("found above");
        timer.waker.wake();
        self.count(Count::Timer);
        self.trace.mix(self.now ^ u64::from(node) << 56);
    }

    /// The clock of a node was set: timers that are due earlier now are armed anew.
    pub(super) fn clock_changed(&mut self, number: u32) {
        self.count(Count::ClockChange);
        self.record(number, Happened::ClockSet);
        for key in self.timers.keys(|timer| timer.node == number) {
            let at = self.timers.get(key).expect("listed above").at;
            self.arm(key, number, at);
        }
    }

    // Freezing

    pub(super) fn freeze(&mut self, number: u32, how_long: Duration) {
        let at = self.now.saturating_add(nanos(how_long));
        let node = self.node_mut(number);
        if !node.running {
            return;
        }
        node.frozen = true;
        node.freeze += 1;
        let freeze = node.freeze;
        self.events.push(at, Event::Thaw { node: number, freeze });
        self.count(Count::Freeze);
        self.record(number, Happened::Frozen { nanos: nanos(how_long) });
    }

    pub(super) fn thaw(&mut self, number: u32) {
        let node = self.node_mut(number);
        if node.frozen {
            node.frozen = false;
            node.freeze += 1;
            let parked = core::mem::take(&mut node.parked);
            self.ready.extend(parked);
            self.record(number, Happened::Woken);
        }
    }

    pub(super) fn handle(&mut self, event: Event) {
        match event {
            Event::Timer(key) => self.timer_fired(key),
            Event::Resume(task) => {
                self.stalled -= 1;
                self.ready.push(task);
            }
            Event::Thaw { node, freeze } => {
                if self.node(node).freeze == freeze {
                    self.thaw(node);
                }
            }
            Event::Io(key) => self.operation_ends(key),
            Event::Arrive(segment) => self.segment_arrives(segment),
            Event::Retransmit(segment) => self.retransmit(segment),
            Event::Ack { conn, side } => self.ack_arrives(conn, side),
            Event::AckAgain { conn, side, attempt } => self.send_ack(conn, side, attempt),
            Event::Reset { conn, side } => self.reset_arrives(conn, side),
            Event::Syn { conn, attempt } => self.syn_arrives(conn, attempt),
            Event::SynAgain { conn, attempt } => self.send_syn(conn, attempt),
            Event::SynAnswer { conn, accepted } => self.syn_answered(conn, accepted),
            Event::GiveUp(conn) => self.give_up(conn),
        }
    }
}

/// First port of those that nobody asked for by number.
const FIRST_EPHEMERAL_PORT: u16 = 32_768;

/// What the monotonic clock shows when a machine starts: up to two minutes after its power.
fn boot_time(spec: &NodeSpec, rng: &mut Rng) -> u64 {
    let random = rng.range(1_000_000_000..=120_000_000_000);
    spec.clock.boot.map_or(random, nanos)
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
