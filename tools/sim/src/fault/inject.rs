//! Carries a plan out: begins each fault at its time, and mends when it ends.
//!
//! Links, disks, space and drift are functions of the faults under way, computed anew at each
//! boundary, so overlapping faults need no bookkeeping of their own. Nodes are counted: one that
//! two faults keep off starts when both have ended.

use engine_runtime::sim::{DiskFaults, Link};
use engine_types::{Instant, NodeId};

use crate::world::World;

use super::{Fault, FaultPlan, LinkTrouble};

/// A plan under way.
#[derive(Default)]
pub(crate) struct Injector {
    plan: FaultPlan,
    began: Instant,
    /// Events of the plan that have begun.
    begun: usize,
    /// Events that have begun and not ended.
    active: Vec<usize>,
}

impl Injector {
    pub(crate) fn new(plan: FaultPlan, began: Instant) -> Self {
        Self { plan, began, begun: 0, active: Vec::new() }
    }

    pub(crate) fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// World time of the next boundary.
    pub(crate) fn next(&self) -> Instant {
        let ends = self.active.iter().map(|&index| self.end(index));
        let begin = self.plan.events.get(self.begun).map(|event| self.began + event.at);
        ends.chain(begin).min().unwrap_or(Instant::NEVER)
    }

    /// Begins and ends what is due.
    pub(crate) fn advance(&mut self, world: &mut World) {
        let now = world.sim.now();
        while let Some(event) = self.plan.events.get(self.begun)
            && self.began + event.at <= now
        {
            let fault = event.fault.clone();
            self.active.push(self.begun);
            self.begun += 1;
            let lasts = event.lasts;
            world.sim.note(format!("fault: {fault}"));
            if self.begin(world, &fault, lasts) {
                world.count_fault();
            }
        }
        let ended = |index: &usize| self.end(*index) <= now;
        let (ended, active): (Vec<usize>, _) = self.active.iter().partition(|index| ended(index));
        self.active = active;
        for index in ended {
            let fault = self.plan.events[index].fault.clone();
            self.mend(world, &fault);
        }
    }

    /// Ends what is under way and begins nothing more.
    pub(crate) fn stop(&mut self, world: &mut World) {
        self.begun = self.plan.events.len();
        for index in core::mem::take(&mut self.active) {
            let fault = self.plan.events[index].fault.clone();
            self.mend(world, &fault);
        }
    }

    fn end(&self, index: usize) -> Instant {
        let event = &self.plan.events[index];
        self.began + event.at + event.lasts
    }

    /// Whether it takes effect: who is down already cannot be killed.
    fn begin(&self, world: &mut World, fault: &Fault, lasts: core::time::Duration) -> bool {
        let was_running = match fault {
            Fault::Crash(node) | Fault::Kill(node) | Fault::Freeze(node) => {
                world.sim.is_running(*node)
            }
            _ => true,
        };
        match fault {
            Fault::Crash(node) => {
                hold_down(world, *node);
                world.sim.crash(*node);
            }
            Fault::Kill(node) => {
                hold_down(world, *node);
                if was_running {
                    world.sim.kill(*node);
                }
            }
            Fault::Freeze(node) => {
                if was_running {
                    world.sim.freeze(*node, lasts);
                }
            }
            Fault::ClockJump(node, by) => world.sim.jump_clock(*node, *by),
            Fault::WallSkew(node, nanos) => world.sim.set_wall_skew(*node, *nanos),
            Fault::Sever(a, b) => return world.sim.sever(*a, *b),
            Fault::BitFlip(node, draw) => return flip_bit(world, *node, *draw),
            lasting => self.settle(world, lasting),
        }
        was_running
    }

    fn mend(&self, world: &mut World, fault: &Fault) {
        match fault {
            Fault::Crash(node) | Fault::Kill(node) => {
                let index = world.index(*node);
                let held = &mut world.hosted[index].held_down;
                *held -= 1;
                if *held == 0 && !world.sim.is_running(*node) {
                    world.boot(*node);
                }
            }
            Fault::WallSkew(node, _) => {
                let usual = world.topology.nodes[world.index(*node)].clock.wall_skew_ns;
                world.sim.set_wall_skew(*node, usual);
            }
            // A frozen node wakes by itself; the others have happened.
            Fault::Freeze(_) | Fault::ClockJump(..) | Fault::Sever(..) | Fault::BitFlip(..) => {}
            lasting => self.settle(world, lasting),
        }
    }

    /// Brings what `fault` concerns to the worst of the faults under way.
    fn settle(&self, world: &mut World, fault: &Fault) {
        match fault {
            Fault::OneWayCut(from, to) | Fault::Link(from, to, _) => {
                self.settle_link(world, *from, *to);
            }
            Fault::Partition(a, b) => {
                for (&a, &b) in a.iter().flat_map(|a| b.iter().map(move |b| (a, b))) {
                    self.settle_link(world, a, b);
                    self.settle_link(world, b, a);
                }
            }
            Fault::Disk(node, _) => self.settle_disk(world, *node),
            Fault::Space(node, _) => {
                let room = self.faults().filter_map(|fault| match fault {
                    Fault::Space(of, bytes) if of == node => Some(*bytes),
                    _ => None,
                });
                world.sim.set_space(*node, room.min());
            }
            Fault::Drift(node, _) => {
                let usual = world.topology.nodes[world.index(*node)].clock.drift_ppm;
                let drift = self.faults().filter_map(|fault| match fault {
                    Fault::Drift(of, ppm) if of == node => Some(*ppm),
                    _ => None,
                });
                world.sim.set_drift(*node, drift.last().unwrap_or(usual));
            }
            other => unreachable!("{other} does not last"),
        }
    }

    fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.active.iter().map(|&index| &self.plan.events[index].fault)
    }

    fn settle_link(&self, world: &World, from: NodeId, to: NodeId) {
        let mut link = world.topology.link;
        for fault in self.faults() {
            match fault {
                Fault::OneWayCut(a, b) if (*a, *b) == (from, to) => link.cut = true,
                Fault::Partition(a, b) => {
                    let apart = |a: &[NodeId], b: &[NodeId]| a.contains(&from) && b.contains(&to);
                    link.cut |= apart(a, b) || apart(b, a);
                }
                Fault::Link(a, b, trouble) if (*a, *b) == (from, to) => worsen(&mut link, trouble),
                _ => {}
            }
        }
        world.sim.set_link(from, to, link);
    }

    fn settle_disk(&self, world: &World, node: NodeId) {
        let usual = world.topology.nodes[world.index(node)].disk.unwrap_or(world.topology.disk);
        let troubles = self.faults().filter_map(|fault| match fault {
            Fault::Disk(of, faults) if *of == node => Some(faults),
            _ => None,
        });
        world.sim.set_disk(node, troubles.fold(usual, worse));
    }
}

fn hold_down(world: &mut World, node: NodeId) {
    let index = world.index(node);
    world.hosted[index].held_down += 1;
}

fn worsen(link: &mut Link, trouble: &LinkTrouble) {
    link.latency = link.latency.max(trouble.latency);
    link.jitter = link.jitter.max(trouble.jitter);
    link.loss_permille = link.loss_permille.max(trouble.loss_permille);
    link.duplicate_permille = link.duplicate_permille.max(trouble.duplicate_permille);
    link.reorder_permille = link.reorder_permille.max(trouble.reorder_permille);
    link.bandwidth = match (link.bandwidth, trouble.bandwidth) {
        (0, other) | (other, 0) => other,
        (one, other) => one.min(other),
    };
}

fn worse(a: DiskFaults, b: &DiskFaults) -> DiskFaults {
    DiskFaults {
        tail_permille: a.tail_permille.max(b.tail_permille),
        slow_factor: a.slow_factor.max(b.slow_factor),
        read_error_permille: a.read_error_permille.max(b.read_error_permille),
        write_error_permille: a.write_error_permille.max(b.write_error_permille),
        flush_error_permille: a.flush_error_permille.max(b.flush_error_permille),
        flush_lie_permille: a.flush_lie_permille.max(b.flush_lie_permille),
        read_flip_permille: a.read_flip_permille.max(b.read_flip_permille),
        rot_permille: a.rot_permille.max(b.rot_permille),
        misdirect_permille: a.misdirect_permille.max(b.misdirect_permille),
        gone: a.gone || b.gone,
        ..a
    }
}

/// Flips a bit of one of the node's files; nothing, and false, when there is none with content.
fn flip_bit(world: &World, node: NodeId, draw: u64) -> bool {
    let mut rng = engine_types::Rng::new(draw);
    let files = world.sim.files(node);
    if let Some(path) = rng.pick(&files)
        && let Some(size) = world.sim.file_size(node, path)
        && 0 < size
    {
        let position = rng.below(size);
        let bit = u8::try_from(rng.below(8)).expect("below 8");
        world.sim.flip_bit(node, path, position, bit);
        return true;
    }
    false
}
