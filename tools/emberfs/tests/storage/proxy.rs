//! Answers that are lost on their way: a client reaches the nodes through here.
//!
//! A node listens at 127.0.0.1; a port of the same number at 127.0.0.2 leads to it. Clients find
//! nodes by routing info that says so; nodes do not, so that what they tell each other passes.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use client_storage::Routing;
use engine_runtime::Notify;
use engine_runtime::monoio::MonoioEnv;
use engine_types::RoutingInfo;
use mgmt_client::Follower;

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

#[derive(Default)]
struct State {
    /// What nodes answer is thrown away.
    silent: AtomicBool,
    closed: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl State {
    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both); // it may have ended
        }
    }
}

/// Ways to some nodes.
pub(crate) struct Proxy {
    state: Arc<State>,
    doors: Vec<SocketAddr>,
}

impl Proxy {
    /// Ways to the nodes that listen there.
    pub(crate) fn start(nodes: &[SocketAddr]) -> Self {
        let state = Arc::<State>::default();
        let door = |node: &SocketAddr| {
            let (node, door) = (*node, SocketAddr::new(PROXY, node.port()));
            let listener = TcpListener::bind(door).unwrap();
            let state = state.clone();
            thread::Builder::new().spawn(move || serve(&state, &listener, node)).unwrap();
            door
        };
        let doors = nodes.iter().map(door).collect();
        Self { state, doors }
    }

    /// From now on nothing comes back from the nodes.
    pub(crate) fn silence(&self) {
        self.state.silent.store(true, Ordering::SeqCst);
    }

    /// Ends all connections, of which parts are missing; new ones are whole.
    pub(crate) fn heal(&self) {
        self.state.silent.store(false, Ordering::SeqCst);
        self.state.cut();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        self.state.cut();
        for door in &self.doors {
            drop(TcpStream::connect(door)); // wakes who accepts
        }
    }
}

fn serve(state: &Arc<State>, listener: &TcpListener, node: SocketAddr) {
    for client in listener.incoming().flatten() {
        if state.closed.load(Ordering::SeqCst) {
            return;
        }
        // A node that is down refuses; so does its door.
        let Ok(there) = TcpStream::connect(node) else { continue };
        let copies = || [client.try_clone().unwrap(), there.try_clone().unwrap()];
        state.open.lock().unwrap().extend(copies());
        for answers in [false, true] {
            let [client, there] = copies();
            let (from, to) = if answers { (there, client) } else { (client, there) };
            let state = state.clone();
            thread::Builder::new().spawn(move || pass(&state, from, to, answers)).unwrap();
        }
    }
}

fn pass(state: &State, mut from: TcpStream, mut to: TcpStream, answers: bool) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let lost = answers && state.silent.load(Ordering::SeqCst);
        if !lost && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // While it is silent nobody is told that a node has gone.
    if !answers || !state.silent.load(Ordering::SeqCst) {
        let _ = to.shutdown(Shutdown::Both);
    }
}

/// Routing info that leads through the proxy.
pub(crate) struct Detour(pub(crate) Rc<Follower<MonoioEnv>>);

impl Routing for Detour {
    fn current(&self) -> Rc<RoutingInfo> {
        let mut routing = (*self.0.routing()).clone();
        for node in routing.nodes.values_mut() {
            for address in &mut node.addresses {
                let known: SocketAddr = address.parse().unwrap();
                *address = SocketAddr::new(PROXY, known.port()).to_string();
            }
        }
        Rc::new(routing)
    }

    fn changed(&self) -> Notify {
        self.0.changed().clone()
    }

    fn refresh(&self) {
        self.0.nudge();
    }
}
