//! How processes and machines end.

use super::net::SideState;
use super::scheduler::Home;
use super::trace::Happened;
use super::world::{State, World};
use super::{fault::Count, net::Conn};
use crate::core_spec::CoreEnd;

/// Ways for a process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its main function returned.
    Returned,
    /// It was killed; the machine goes on.
    Killed,
    /// The machine lost power.
    Crashed,
}

impl World {
    /// Ends the process of a node, if it has one, or cuts the power of the machine.
    pub(super) fn end(&self, node: u32, end: End) {
        {
            let mut state = self.state.borrow_mut();
            let entry = state.node(node);
            if !entry.powered || end != End::Crashed && !entry.running {
                return;
            }
            let (count, happened) = match end {
                End::Crashed => (Count::Crash, Happened::Crashed),
                _ => (Count::Kill, Happened::Killed),
            };
            state.count(count);
            state.record(node, happened);
            state.end_process(node, end);
        }
        self.drop_tasks(|home| home.node == node);
    }
}

impl State {
    /// Everything that ends with a process except its tasks, whose destructors the caller runs.
    pub(super) fn end_process(&mut self, number: u32, end: End) {
        let node = self.node_mut(number);
        node.running = false;
        node.frozen = false;
        node.freeze += 1;
        node.parked.clear();
        node.signals.clear();
        for core in &mut node.cores {
            core.alive = false;
            core.end = None;
        }
        if end == End::Crashed {
            node.powered = false;
        }
        self.end_listeners(number, end);
        let concerned = |conn: &Conn| conn.sides.iter().any(|side| side.node == number);
        for conn in self.net.conns.keys(concerned) {
            for side in 0..2u8 {
                self.end_side(number, conn, side, end);
            }
        }
        self.end_operations(number, end == End::Returned);
        if end == End::Crashed {
            self.crash_disk(number);
        }
    }

    fn end_listeners(&mut self, number: u32, end: End) {
        let ports = core::mem::take(&mut self.node_mut(number).ports);
        for key in ports.into_values() {
            if end == End::Crashed {
                let listening = self.net.listeners.get_mut(key).expect("its port names it");
                listening.closed = true;
                listening.backlog.clear(); // the sides in it go with the machine
            } else {
                self.close_listener(key);
            }
        }
    }

    fn end_side(&mut self, number: u32, conn: super::arena::Key, side: u8, end: End) {
        let Some(entry) = self.net.conns.get_mut(conn) else { return };
        let this = &mut entry.sides[usize::from(side)];
        match (this.node == number, end, this.state) {
            (false, ..) | (_, _, SideState::Unborn) => {}
            (_, End::Crashed, _) => self.lose_side(conn, side),
            (_, _, SideState::Connecting | SideState::Broken(_)) => {
                this.state = SideState::Closed { linger: false };
                entry.attempt = None;
                self.forget_if_over(conn);
            }
            _ => self.close_side(conn, side),
        }
    }

    /// Tells who waits for the end of a core, once its I/O has completed too.
    pub(super) fn core_may_end(&mut self, home: Home) {
        let node = self.node_mut(home.node);
        if node.incarnation != home.incarnation {
            return;
        }
        let core = &mut node.cores[home.core as usize];
        if !core.alive
            && core.operations == 0
            && let Some(end) = core.end.take()
        {
            end.set(CoreEnd::Finished);
        }
    }
}
