//! Heap allocations of a request in steady state, counted per thread: at most two on each side.
//!
//! Real runtimes, because theirs count too: the server on glommio, the client on monoio.

#![expect(unsafe_code, reason = "a global allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use engine_net::{Call, Client, NetConfig, NetLimits, Part, Request, Server, Service};
use engine_runtime::{Buf, CoreSpec, Env, Listener};
use engine_types::{ClusterId, Incarnation, NodeId, NodeRole, StoreId};
use engine_wire::bodies::{EchoRequest, EchoResponse};
use engine_wire::handshake::{ClusterSecret, Identity, Local, Versions};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more, and is not measured.
        let _counted = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

const IN_FLIGHT: u64 = 64;
const WARM_UP: u64 = 200;
const ROUNDS: u64 = 1000;
const PAYLOAD: usize = 4096;
/// The server's count when the measured part began and ended.
static SERVER: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
/// Sequence numbers that mark both moments.
const MARKS: [u64; 2] = [u64::MAX - 1, u64::MAX];

fn config(node: u32) -> Rc<NetConfig> {
    let identity = Identity {
        role: NodeRole::Storage,
        node: NodeId::new(node),
        process: StoreId::new(u128::from(node) + 1),
        incarnation: Incarnation::new(1),
    };
    let local = Local {
        cluster: ClusterId::new(7),
        identity,
        secret: ClusterSecret::new([7; 32]).expect("not all zero"),
        versions: Versions::BUILD,
    };
    Rc::new(NetConfig { local, limits: NetLimits::default() })
}

struct Echo;

impl<E: Env> Service<E> for Echo {
    async fn call(self: Rc<Self>, mut request: Request<E>) {
        let sequence = request.body::<EchoRequest>().expect("an echo").sequence.to_native();
        if let Some(mark) = MARKS.iter().position(|mark| *mark == sequence) {
            SERVER[mark].store(allocations(), Ordering::Relaxed);
        }
        let segment = request.next_segment().await.expect("whole");
        let answer = EchoResponse { sequence };
        match segment {
            Some(segment) => request.respond(&answer, &[Part::plain(segment.bytes)]).await,
            None => request.respond(&answer, &[]).await,
        }
    }
}

async fn serve<E: Env>(env: E, address: mpsc::Sender<SocketAddr>, stop: &'static AtomicBool) {
    let loopback = "127.0.0.1:0".parse().expect("an address");
    let listener = env.listen(loopback).expect("a free port");
    address.send(listener.address()).expect("the test waits for it");
    let server = Server::start(&env, config(0), listener, Rc::new(Echo));
    while !stop.load(Ordering::Relaxed) {
        env.sleep_until(env.now() + Duration::from_millis(20)).await;
    }
    server.stop();
}

async fn call<E: Env>(env: &E, client: &Client<E>, sequence: u64, parts: &[Part<'_, E>]) {
    let body = EchoRequest { sequence, reply_bytes: 0, delay_us: 0 };
    let room = u32::try_from(PAYLOAD).expect("small");
    let deadline = env.now() + Duration::from_secs(30);
    let call = Call::new(&body, deadline).with_parts(parts).with_reply_room(room);
    client.call(call).await.expect("the server answers");
}

/// Tasks of the client that keep the window full, for `rounds` requests each.
async fn load<E: Env>(env: &E, client: &Client<E>, rounds: u64) {
    let tasks: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (env, client) = (env.clone(), client.clone());
            env.clone().spawn(async move {
                let mut buf: Buf<E::Memory> = env.pool().alloc(PAYLOAD).expect("room");
                buf.set_len(PAYLOAD);
                let parts = [Part::plain(buf.freeze())];
                for sequence in 0..rounds {
                    call(&env, &client, sequence, &parts).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
}

/// Allocations per request of the client.
async fn measure<E: Env>(env: E, address: SocketAddr) -> f64 {
    let client = Client::new(&env, config(1), address);
    load(&env, &client, WARM_UP).await;
    call(&env, &client, MARKS[0], &[]).await;
    let before = allocations();
    load(&env, &client, ROUNDS).await;
    let count = allocations() - before;
    call(&env, &client, MARKS[1], &[]).await;
    count as f64 / (IN_FLIGHT * ROUNDS) as f64
}

#[test]
fn a_request_costs_at_most_two_allocations_on_each_side() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let (done, ended) = mpsc::channel::<()>();
    let watchdog = std::thread::Builder::new().spawn(move || {
        if ended.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("no end after 60 s");
            std::process::abort();
        }
    });
    watchdog.expect("a thread");
    let (tell, address) = mpsc::channel();
    let server = std::thread::Builder::new().spawn(move || {
        engine_runtime::glommio::run(CoreSpec::new("server"), |env| serve(env, tell, &STOP))
    });
    let server = server.expect("a thread");
    let address = address.recv_timeout(Duration::from_secs(60)).expect("the server starts");
    let client =
        engine_runtime::monoio::run(CoreSpec::new("client"), move |env| measure(env, address));
    STOP.store(true, Ordering::Relaxed);
    server.join().expect("no panic").expect("the server ends");
    let client = client.expect("the client ends");
    let [before, after] = SERVER.each_ref().map(|count| count.load(Ordering::Relaxed));
    let server = (after - before) as f64 / (IN_FLIGHT * ROUNDS) as f64;
    println!("allocations per request: client {client:.3}, server {server:.3}");
    drop(done);
    assert!(client <= 2.0 && server <= 2.0, "client {client:.3}, server {server:.3}");
}
