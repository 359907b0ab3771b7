//! One simulated cluster: its machines, what runs on them, and the plan of what goes wrong.
//!
//! Owned by one thread. The world moves only inside [`World::run`] and [`World::run_while`], which
//! stop at every boundary of the fault plan to inject or to mend.
//!
//! Failure: a panic in any task, or a livelock, ends the run with [`Failure`]; the trace stays.

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::sim::{Failure, Sim, SimEnv};
use engine_runtime::{Env, Pool};
use engine_types::{Instant, NodeId};

use crate::fault::{FaultPlan, Injector};
use crate::topology::Topology;

#[cfg(test)]
mod tests;

/// How often a supervised node that ended by itself is looked for. A supervisor on a real machine
/// takes longer than this to start a process again.
const SUPERVISION_PERIOD: Duration = Duration::from_millis(20);

type Main = Rc<dyn Fn(SimEnv) -> Pin<Box<dyn Future<Output = ()>>>>;

/// The most that any process of a machine has held at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of its first core's pool, exactly.
    pub pool_bytes: usize,
    /// Tasks that had not ended, of all its cores, seen every [`SUPERVISION_PERIOD`]: requests,
    /// connections, and whatever else waits for something.
    pub tasks: usize,
}

/// What runs on one machine.
#[derive(Default)]
pub(crate) struct Hosted {
    main: Option<Main>,
    supervised: bool,
    /// Faults that keep it off now.
    pub(crate) held_down: u32,
    usage: Cell<Usage>,
    /// Of the newest process.
    pool: Rc<RefCell<Option<Pool<<SimEnv as Env>::Memory>>>>,
}

impl Hosted {
    /// So many tasks have not ended now.
    fn look(&self, tasks: usize) {
        let Usage { pool_bytes, tasks: most } = self.usage.get();
        let peak = self.pool.borrow().as_ref().map_or(0, Pool::held_peak);
        self.usage.set(Usage { pool_bytes: pool_bytes.max(peak), tasks: most.max(tasks) });
    }
}

/// A simulated cluster.
pub struct World {
    pub(crate) sim: Sim,
    pub(crate) topology: Topology,
    pub(crate) hosted: Vec<Hosted>,
    pub(crate) nodes: Vec<NodeId>,
    seed: u64,
    injector: Injector,
    next_look: Instant,
    faults: u64,
}

impl World {
    /// Machines of `topology`, all of them off.
    pub fn new(seed: u64, topology: Topology) -> Self {
        let sim = Sim::new(topology.config(seed));
        let nodes: Vec<NodeId> =
            topology.nodes.iter().map(|machine| sim.add_node(machine.spec())).collect();
        for (machine, &node) in topology.nodes.iter().zip(&nodes) {
            if let Some(disk) = machine.disk {
                sim.set_disk(node, disk);
            }
        }
        let hosted = nodes.iter().map(|_| Hosted::default()).collect();
        let injector = Injector::default();
        Self { sim, topology, hosted, nodes, seed, injector, next_look: Instant::ZERO, faults: 0 }
    }

    /// The seed that determines it.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The machine underneath: peeking at disks, links, reports.
    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    /// The node at `position` of the topology.
    ///
    /// # Panics
    /// When the topology has no such position.
    pub fn node(&self, position: usize) -> NodeId {
        self.nodes[position]
    }

    /// All nodes in the order of the topology.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// Nodes whose name begins with `role`.
    pub fn role(&self, role: &str) -> Vec<NodeId> {
        let named = self.topology.nodes.iter().zip(&self.nodes);
        named.filter(|(machine, _)| machine.name.starts_with(role)).map(|(_, &node)| node).collect()
    }

    /// Starts a process on `node`; fault plans start it again by calling `main` again.
    ///
    /// # Panics
    /// When something runs there.
    pub fn start<F>(&mut self, node: NodeId, main: impl Fn(SimEnv) -> F + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let index = self.index(node);
        self.hosted[index].main = Some(Rc::new(move |env| Box::pin(main(env))));
        self.boot(node);
    }

    /// Like [`start`](Self::start), and started again whenever it ends by itself.
    ///
    /// # Panics
    /// When something runs there.
    pub fn start_supervised<F>(&mut self, node: NodeId, main: impl Fn(SimEnv) -> F + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let index = self.index(node);
        self.hosted[index].supervised = true;
        self.start(node, main);
    }

    /// Power loss and return at once, outside the plan.
    pub fn crash_and_return(&mut self, node: NodeId) {
        self.sim.crash(node);
        self.boot(node);
    }

    /// Takes `plan` as what goes wrong from now on; its times count from now.
    pub fn set_plan(&mut self, plan: FaultPlan) {
        self.injector = Injector::new(plan, self.sim.now());
    }

    /// What goes wrong.
    pub fn plan(&self) -> &FaultPlan {
        self.injector.plan()
    }

    /// Runs for `duration` of world time.
    ///
    /// # Errors
    /// A panic or a livelock in the world.
    pub fn run(&mut self, duration: Duration) -> Result<(), Failure> {
        self.run_while(duration, |_| true).map(|_| ())
    }

    /// Runs while `condition` holds, at most `limit` of world time; true when the condition ended
    /// it.
    ///
    /// # Errors
    /// A panic or a livelock in the world.
    pub fn run_while(
        &mut self,
        limit: Duration,
        mut condition: impl FnMut(&Sim) -> bool,
    ) -> Result<bool, Failure> {
        let end = self.sim.now() + limit;
        loop {
            self.supervise();
            self.inject();
            let now = self.sim.now();
            if !condition(&self.sim) {
                return Ok(true);
            }
            if end <= now {
                return Ok(false);
            }
            let until = end.min(self.next_look).min(self.injector.next());
            self.sim.run_while(until.saturating_since(now), &mut condition)?;
        }
    }

    /// The most that the processes of `node` have held so far.
    pub fn usage(&self, node: NodeId) -> Usage {
        let hosted = &self.hosted[self.index(node)];
        hosted.look(hosted.usage.get().tasks);
        hosted.usage.get()
    }

    /// Faults that took effect: of plans, and those that a scenario brings about by itself.
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// A fault has taken effect.
    pub fn count_fault(&mut self) {
        self.faults += 1;
    }

    /// Ends every fault and forgets those to come (T11): links are whole, disks healthy, clocks run
    /// at their own rate, frozen nodes wake, and nodes that a fault keeps off start.
    pub fn stop_faults(&mut self) {
        let mut injector = core::mem::take(&mut self.injector);
        injector.stop(self);
        self.injector = injector;
        for node in self.nodes.clone() {
            if self.sim.is_frozen(node) {
                self.sim.wake(node);
            }
        }
        self.next_look = self.sim.now();
        self.supervise();
    }

    pub(crate) fn index(&self, node: NodeId) -> usize {
        let found = self.nodes.iter().position(|&known| known == node);
        found.unwrap_or_else(|| panic!("{node} is not in this world"))
    }

    /// Starts what was started on `node` before.
    pub(crate) fn boot(&self, node: NodeId) {
        let hosted = &self.hosted[self.index(node)];
        if let Some(main) = hosted.main.clone() {
            hosted.look(0); // at what the former process held
            let pool = hosted.pool.clone();
            self.sim.start(node, move |env| {
                *pool.borrow_mut() = Some(env.pool().clone());
                main(env)
            });
        }
    }

    fn inject(&mut self) {
        let mut injector = core::mem::take(&mut self.injector);
        injector.advance(self);
        self.injector = injector;
    }

    fn supervise(&mut self) {
        if self.sim.now() < self.next_look {
            return;
        }
        self.next_look = self.sim.now() + SUPERVISION_PERIOD;
        for (&node, tasks) in self.nodes.iter().zip(self.sim.tasks()) {
            self.hosted[self.index(node)].look(tasks);
        }
        for (index, &node) in self.nodes.iter().enumerate() {
            let hosted = &self.hosted[index];
            let ended = self.sim.is_finished(node) && !self.sim.is_running(node);
            if hosted.supervised && hosted.held_down == 0 && ended {
                self.boot(node);
            }
        }
    }
}
