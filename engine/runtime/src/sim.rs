//! The third backend: a world of simulated nodes in one thread, under virtual time.
//!
//! A [`Sim`] owns the world. Nodes are machines with an address, clocks and disks; [`Sim::start`]
//! runs a process on one, which sees the world through its [`SimEnv`]. Nothing happens between the
//! calls that run it, so whoever drives it may break, mend and look at anything in between. Its
//! semantics are the weakest of the three backends (V3): whatever one of them may do, it does.
//!
//! Invariants
//!   E40  everything that happens follows from the seed and the calls: no order of a hash map, no
//!        address, no clock and no thread of the machine below takes part
//!   E41  the state is never borrowed while code of a node runs, be it a poll or a destructor
//!   E42  a direction of a connection delivers what was written, in order and once
//!   E43  world time never goes back, and no event is handled before its time
//!   E44  after a crash a sector holds its durable content or that of a write which no flush had
//!        covered
//!   E45  what belonged to a process that has ended asks for nothing and changes nothing any more
//!   E48  between writer and reader are at most `window_bytes` that the writer knows unread
//!
//! Failure: a panic of a node's task, or a livelock, ends the run with a [`Failure`]; the world
//! then stays as it was for inspection and answers the same failure again.

use core::future::Future;
use core::net::{Ipv4Addr, SocketAddr};
use core::panic::Location;
use core::time::Duration;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use engine_types::{Instant, NodeId, Rng};

use crate::env::Signal;
use crate::file::FileKind;

mod arena;
mod clock;
mod connect;
mod disk;
mod env;
pub mod fault;
mod file;
mod join;
mod lifecycle;
mod mailboxes;
mod net;
mod operation;
mod pages;
mod scheduler;
mod stream;
mod trace;
pub mod who;
mod world;

#[cfg(test)]
mod tests;

pub use env::{SimEnv, SimWatch, Sleep};
pub use fault::{ClockSpec, Count, DiskFaults, Link, NetFaults, NodeSpec, SimConfig, SimReport};
pub use file::SimFile;
pub use join::Join;
pub use pages::CrashMode;
pub use scheduler::{Failure, FailureKind};
pub use stream::{SimCloser, SimListener, SimReader, SimWriter};

use lifecycle::End;
use scheduler::{Home, Role, Turn};
use trace::{Happened, NO_NODE};
use world::{State, World, nanos};

/// A world. Dropping it drops every task of every node.
///
/// Methods that name a node panic when there is none of that number.
pub struct Sim {
    world: Rc<World>,
}

impl Drop for Sim {
    fn drop(&mut self) {
        scheduler::clear(&self.world);
    }
}

impl Sim {
    /// An empty world at time 0.
    pub fn new(config: SimConfig) -> Self {
        Self { world: World::new(config) }
    }

    fn state(&self) -> core::cell::RefMut<'_, State> {
        self.world.state.borrow_mut()
    }
}

/// Nodes.
impl Sim {
    /// Adds a machine; it is on, without a process. Numbers ascend from 0.
    ///
    /// # Panics
    /// When the address belongs to another node.
    pub fn add_node(&self, spec: NodeSpec) -> NodeId {
        self.state().add_node(spec)
    }

    /// Starts the process of a node, switching the machine on if need be. `main` runs inside the
    /// node; the process ends when it returns.
    ///
    /// # Panics
    /// When the node runs already.
    #[track_caller]
    pub fn start<F>(&self, node: NodeId, main: impl FnOnce(SimEnv) -> F + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let node = node.get();
        let incarnation = self.state().begin(node);
        let home = Home { node, incarnation, core: 0 };
        let spec = self.state().node(node).spec.core.clone();
        let env = SimEnv::new(&self.world, home, &spec);
        let future = Box::pin(async move { main(env).await });
        self.world.spawn(home, Role::CoreMain, Location::caller(), future);
    }

    /// Power loss: tasks end, connections vanish without a word, what was not flushed may be gone
    /// (E44). The machine is off until the next [`start`](Self::start). Nothing if it is off.
    pub fn crash(&self, node: NodeId) {
        self.world.end(node.get(), End::Crashed);
    }

    /// Power loss that takes so much of what was not flushed, and of what was under way.
    pub fn crash_as(&self, node: NodeId, mode: CrashMode) {
        self.world.state.borrow_mut().crash_mode = Some(mode);
        self.crash(node);
        self.world.state.borrow_mut().crash_mode = None;
    }

    /// The process dies, the machine lives: its sockets are closed or reset, what it had written
    /// stays. Nothing if no process runs.
    pub fn kill(&self, node: NodeId) {
        self.world.end(node.get(), End::Killed);
    }

    /// No task of the process runs for a while; clocks, I/O and the network go on. Nothing if no
    /// process runs; a second freeze replaces the first.
    pub fn freeze(&self, node: NodeId, how_long: Duration) {
        self.state().freeze(node.get(), how_long);
    }

    /// Ends a freeze.
    pub fn wake(&self, node: NodeId) {
        self.state().thaw(node.get());
    }

    /// Delivers a signal to everybody in the process who asked for them.
    pub fn signal(&self, node: NodeId, signal: Signal) {
        let receivers = self.state().node(node.get()).signals.clone();
        for receiver in receivers {
            let _ = receiver.try_send(signal); // full: equal signals merge
        }
    }

    /// Whether a process runs, frozen or not.
    pub fn is_running(&self, node: NodeId) -> bool {
        self.state().node(node.get()).running
    }

    /// Whether the process is frozen.
    pub fn is_frozen(&self, node: NodeId) -> bool {
        self.state().node(node.get()).frozen
    }

    /// Whether the newest process ended because its main function returned.
    pub fn is_finished(&self, node: NodeId) -> bool {
        self.state().node(node.get()).finished
    }

    /// Tasks of each node's process that have not ended, in the order of nodes.
    pub fn tasks(&self) -> Vec<usize> {
        let mut counts = vec![0; self.node_count() as usize];
        for task in self.state().tasks.values() {
            if let Some(count) = counts.get_mut(task.home.node as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// How often the node was started.
    pub fn starts(&self, node: NodeId) -> u64 {
        self.state().node(node.get()).incarnation
    }

    /// Number of nodes.
    pub fn node_count(&self) -> u32 {
        u32::try_from(self.state().nodes.len()).expect("nodes are numbered by u32")
    }

    /// Name of a node.
    pub fn name(&self, node: NodeId) -> String {
        self.state().node(node.get()).spec.name.clone()
    }

    /// Address of a node.
    pub fn ip(&self, node: NodeId) -> Ipv4Addr {
        self.state().node(node.get()).ip
    }

    /// A port of a node.
    pub fn address(&self, node: NodeId, port: u16) -> SocketAddr {
        SocketAddr::from((self.ip(node), port))
    }
}

/// Clocks.
impl Sim {
    /// Both clocks of a node run at another rate from now on.
    ///
    /// # Panics
    /// At -1,000,000 ppm and below: clocks never go back.
    pub fn set_drift(&self, node: NodeId, ppm: i32) {
        let mut state = self.state();
        let now = state.now;
        state.node_mut(node.get()).clock.set_drift(now, ppm);
        state.clock_changed(node.get());
    }

    /// Both clocks of a node jump ahead, as after a suspend of the machine.
    pub fn jump_clock(&self, node: NodeId, by: Duration) {
        let mut state = self.state();
        state.node_mut(node.get()).clock.jump(nanos(by));
        state.clock_changed(node.get());
    }

    /// The time of day of a node is set, ahead of the world's by `skew_ns` nanoseconds.
    pub fn set_wall_skew(&self, node: NodeId, skew_ns: i64) {
        let mut state = self.state();
        let now = state.now;
        state.node_mut(node.get()).clock.set_wall(now, skew_ns);
        state.clock_changed(node.get());
    }

    /// World time, from 0.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.state().now)
    }

    /// What the monotonic clock of a node shows.
    pub fn node_now(&self, node: NodeId) -> Instant {
        let state = self.state();
        state.node(node.get()).clock.now(state.now)
    }
}

/// Running.
impl Sim {
    /// Runs until world time `at`.
    ///
    /// # Errors
    /// The first failure.
    pub fn run_until(&self, at: Instant) -> Result<(), Failure> {
        self.world.run_until(at.nanos())
    }

    /// Runs for a while of world time.
    ///
    /// # Errors
    /// The first failure.
    pub fn run_for(&self, duration: Duration) -> Result<(), Failure> {
        self.run_until(self.now() + duration)
    }

    /// Runs while `condition` holds, looking before every step, for at most `limit` of world time.
    /// True: the condition ended the run; false: the limit did.
    ///
    /// # Errors
    /// The first failure.
    pub fn run_while(
        &self,
        limit: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Result<bool, Failure> {
        let end = (self.now() + limit).nanos();
        while condition(self) {
            if self.world.turn(end)? == Turn::Idle {
                self.world.run_until(end)?;
                return Ok(!condition(self));
            }
        }
        Ok(true)
    }

    /// One poll of a task or one event; false when nothing is left to happen.
    ///
    /// # Errors
    /// The first failure.
    pub fn step(&self) -> Result<bool, Failure> {
        Ok(self.world.turn(u64::MAX)? == Turn::Worked)
    }
}

/// Network. Links are directed; what they carry already arrives, unless they are cut by then.
impl Sim {
    /// Links between different nodes that have none of their own.
    pub fn set_default_link(&self, link: Link) {
        self.state().net.default = link;
    }

    /// The link from one node to another, from now on.
    pub fn set_link(&self, from: NodeId, to: NodeId, link: Link) {
        self.state().net.set_link(from.get(), to.get(), Some(link));
    }

    /// The link from one node to another.
    pub fn link(&self, from: NodeId, to: NodeId) -> Link {
        self.state().net.link(from.get(), to.get())
    }

    /// Changes the link from one node to another.
    pub fn edit_link(&self, from: NodeId, to: NodeId, edit: impl FnOnce(&mut Link)) {
        let mut link = self.link(from, to);
        edit(&mut link);
        self.set_link(from, to, link);
    }

    /// Nothing passes from one node to another any more.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.edit_link(from, to, |link| link.cut = true);
    }

    /// Undoes [`cut`](Self::cut).
    pub fn heal(&self, from: NodeId, to: NodeId) {
        self.edit_link(from, to, |link| link.cut = false);
    }

    /// Cuts both directions between every node of `a` and every other of `b`.
    pub fn partition(&self, a: &[NodeId], b: &[NodeId]) {
        for (a, b) in a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b))) {
            if a != b {
                self.cut(a, b);
                self.cut(b, a);
            }
        }
    }

    /// Connections between two nodes end at once, on both sides, as when something between them
    /// has forgotten them; new ones can be made. Whether there was one.
    pub fn sever(&self, a: NodeId, b: NodeId) -> bool {
        self.state().sever(a.get(), b.get())
    }

    /// Every link is the default one again.
    pub fn heal_all(&self) {
        self.state().net.heal_all();
    }

    /// Rules of connections, from now on.
    pub fn set_net(&self, net: NetFaults) {
        self.state().net.faults = net;
    }
}

/// Disks. Paths belong to their node.
impl Sim {
    /// Adds an empty block device, or returns without change when the path exists.
    ///
    /// # Panics
    /// When the logical block is no power of two from 512 up to 4096, or the size no multiple of
    /// 4096.
    pub fn add_device(&self, node: NodeId, path: impl AsRef<Path>, size: u64, logical_block: u32) {
        let valid = logical_block.is_power_of_two() && (512..=4096).contains(&logical_block);
        assert!(valid, "logical block of {logical_block} bytes");
        assert!(size.is_multiple_of(4096), "device of {size} bytes");
        let disk = &mut self.state().nodes[node.get() as usize].disk;
        if disk.find(path.as_ref()).is_none() {
            disk.add(path.as_ref(), FileKind::Block, size, logical_block);
        }
    }

    /// Whether a device keeps completed writes in a cache that is lost with the power, as every
    /// device does unless told otherwise. Without one, what has completed is durable at once.
    /// Files that are open keep the geometry that they saw.
    ///
    /// # Panics
    /// When there is no such device.
    pub fn set_volatile_cache(&self, node: NodeId, path: impl AsRef<Path>, volatile: bool) {
        let mut state = self.state();
        let file = state.find(node.get(), path.as_ref());
        state.set_volatile_cache(node.get(), file, volatile);
    }

    /// Behaviour of all files of a node that have none of their own.
    pub fn set_disk(&self, node: NodeId, faults: DiskFaults) {
        self.state().node_mut(node.get()).disk.faults = faults;
    }

    /// Behaviour of one file; `None` gives it the node's again.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn set_file_faults(
        &self,
        node: NodeId,
        path: impl AsRef<Path>,
        faults: Option<DiskFaults>,
    ) {
        let mut state = self.state();
        let file = state.find(node.get(), path.as_ref());
        state.node_mut(node.get()).disk.files[file as usize].faults = faults;
    }

    /// Bytes that the host file system of a node has for regular files; `None` is unlimited.
    pub fn set_space(&self, node: NodeId, bytes: Option<u64>) {
        self.state().node_mut(node.get()).disk.space = bytes;
    }

    /// Flips bit `bit % 8` of a stored byte; nothing where nothing was ever written.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn flip_bit(&self, node: NodeId, path: impl AsRef<Path>, position: u64, bit: u8) {
        let mut state = self.state();
        let file = state.find(node.get(), path.as_ref());
        state.rot(node.get(), file, position, bit);
    }

    /// What is stored, without time and faults; `None` without such a file. Short at its end.
    ///
    /// # Panics
    /// When the position is no multiple of 4096.
    pub fn peek(
        &self,
        node: NodeId,
        path: impl AsRef<Path>,
        position: u64,
        len: usize,
    ) -> Option<Vec<u8>> {
        assert!(position.is_multiple_of(4096), "position {position}");
        let state = self.state();
        let file = state.node(node.get()).disk.find(path.as_ref())?;
        let file = state.file(node.get(), file);
        let left = usize::try_from(file.size.saturating_sub(position)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(left)];
        file.pages.read(position / 4096, &mut bytes);
        Some(bytes)
    }

    /// Length of a file; `None` without such a file.
    pub fn file_size(&self, node: NodeId, path: impl AsRef<Path>) -> Option<u64> {
        let state = self.state();
        let file = state.node(node.get()).disk.find(path.as_ref())?;
        Some(state.file(node.get(), file).size)
    }

    /// Files and devices of a node, by path.
    pub fn files(&self, node: NodeId) -> Vec<PathBuf> {
        self.state().node(node.get()).disk.by_path.keys().cloned().collect()
    }
}

impl State {
    fn find(&self, node: u32, path: &Path) -> u32 {
        let found = self.node(node).disk.find(path);
        found.unwrap_or_else(|| panic!("no file {} on node {node}", path.display()))
    }
}

/// Looking at it.
impl Sim {
    /// How often mailboxes play full, from now on.
    pub fn set_mailbox_full(&self, permille: u32) {
        self.world.mailboxes.set(permille);
    }

    /// A number over everything that happened so far: equal for equal runs.
    pub fn trace_hash(&self) -> u64 {
        self.state().trace.hash()
    }

    /// The last lines of the trace.
    pub fn trace_tail(&self) -> String {
        let state = self.state();
        state.trace.tail(
            |node| {
                let named = state.nodes.get(node as usize);
                named.map_or_else(|| "nobody".to_owned(), |node| node.spec.name.clone())
            },
            |node, file| {
                let files = state.nodes.get(node as usize).map(|node| &node.disk.files);
                let file = files.and_then(|files| files.get(file as usize));
                file.map_or_else(|| "a file".to_owned(), |file| file.path.display().to_string())
            },
        )
    }

    /// Writes a line into the trace; it counts for the hash.
    pub fn note(&self, text: impl Into<Cow<'static, str>>) {
        self.state().record(NO_NODE, Happened::Note { text: text.into() });
    }

    /// What happened so far, in numbers.
    pub fn report(&self) -> SimReport {
        let state = self.state();
        let mut report = state.report;
        report.elapsed = Duration::from_nanos(state.now);
        report.bump(Count::MailboxFull, self.world.mailboxes.refused());
        report
    }

    /// Random numbers for the part of a workload or fault plan named `label`; asking for them
    /// changes nothing else.
    pub fn random(&self, label: &str) -> Rng {
        self.state().root.fork("user").fork(label)
    }
}
