//! A namespace in a store in memory, in simulation, with everything watched: for tests.

use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::Env;
use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_types::{
    ChainTableId, ChainTableVersion, ChannelId, ChunkSize, ClusterId, InodeId, SessionId,
};
use meta_kv::engine::memory::MemoryEngine;
use meta_kv::{
    Embedded, Faults, Faulty, Kv, OwnKv, RangeRead, ReadMode, Transaction, TransactionOptions,
};
use meta_protocol::{Answer, Attr, Operation, Refusal, Request, Tag};
use meta_schema::{Caller, Errno, Gid, LayoutTemplate};

use crate::call::{CallError, Store};
use crate::ctx::{Table, Tables};
use crate::halt::Halt;
use crate::op;

mod seen;

pub(crate) use seen::{Fate, Log, Seen};

/// The store of the bed.
pub(crate) type BedKv = OwnKv<SimEnv, BedSource>;
type BedSource = Seen<SimEnv, Faulty<SimEnv, Embedded<SimEnv, MemoryEngine>>>;

/// The chain table of the bed.
pub(crate) const TABLE: ChainTableId = ChainTableId::new(1);
/// Its layout of the root.
pub(crate) const ROOT_LAYOUT: LayoutTemplate =
    LayoutTemplate { chunk_size: CHUNK, stripe: 4, table: TABLE };
const CHUNK: ChunkSize = ChunkSize::new(1 << 20).expect("a power of two");

/// A namespace and whoever asks it.
#[derive(Clone)]
pub(crate) struct Bed {
    pub(crate) env: SimEnv,
    pub(crate) kv: BedKv,
    pub(crate) store: Rc<Store<SimEnv, BedKv>>,
    next_ino: Rc<Cell<u64>>,
    next_session: Rc<Cell<u64>>,
    next_seq: Rc<Cell<u64>>,
}

/// Runs `main` with a new namespace, on one simulated node, to its end.
pub(crate) fn with_bed<F: Future<Output = ()> + 'static>(
    seed: u64,
    main: impl FnOnce(Bed) -> F + 'static,
) {
    let sim = Sim::new(SimConfig::new(seed));
    let node = sim.add_node(NodeSpec::new("metad"));
    let done = Rc::new(Cell::new(false));
    let seen = done.clone();
    sim.start(node, move |env| async move {
        main(Bed::new(&env).await).await;
        seen.set(true);
    });
    sim.run_for(Duration::from_secs(3600)).unwrap();
    assert!(done.get(), "seed {seed}: the test did not end");
}

impl Bed {
    async fn new(env: &SimEnv) -> Self {
        let (store, task) = Embedded::start(env, MemoryEngine::new()).unwrap();
        drop(task); // detached: it runs as long as the node
        let faulty = Faulty::new(env.clone(), store, Faults::default());
        let kv = OwnKv::new(env.clone(), Seen::new(env.clone(), faulty));
        let superblock = crate::mkfs::open(env, &kv, ClusterId::new(7), ROOT_LAYOUT).await.unwrap();
        let store = Rc::new(Store::new(env, &kv, superblock));
        let table = Table { version: ChainTableVersion::new(3), chains: 12 };
        store.set_tables(Tables::from([(TABLE, table)]));
        let counter = |first| Rc::new(Cell::new(first));
        let (next_ino, next_session, next_seq) = (counter(1024), counter(1), counter(1));
        let bed = Self { env: env.clone(), kv, store, next_ino, next_session, next_seq };
        bed.source().take_log();
        bed
    }

    /// A new namespace beside this one.
    pub(crate) async fn another(&self) -> Self {
        Self::new(&self.env).await
    }

    /// Lets time pass.
    pub(crate) async fn wait(&self, time: Duration) {
        self.env.sleep_until(self.env.now() + time).await;
    }

    /// What is watched.
    pub(crate) fn source(&self) -> &BedSource {
        self.kv.source()
    }

    /// A client of `caller`, with a session of its own.
    pub(crate) fn client(&self, caller: Caller) -> Client {
        let session = SessionId::new(advance(&self.next_session));
        Client { bed: self.clone(), caller, session }
    }

    /// A client of root.
    pub(crate) fn root(&self) -> Client {
        self.client(Caller::root())
    }

    /// A client of a user in the group of the same number, and in `groups`.
    pub(crate) fn user(&self, id: u32, groups: &[u32]) -> Client {
        let groups = groups.iter().copied().map(Gid::new).collect();
        self.client(Caller { groups, ..Caller::user(id, id) })
    }

    /// A number for a new inode.
    pub(crate) fn fresh(&self) -> InodeId {
        InodeId::new(advance(&self.next_ino))
    }

    /// Everything that is in the store.
    pub(crate) async fn dump(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let transaction = self.kv.begin(TransactionOptions::default());
        let mut read = RangeRead::new(meta_kv::KeyRange::all());
        let mut all = Vec::new();
        loop {
            let page = transaction.range(read.clone(), ReadMode::Snapshot).await.unwrap();
            let last = page.entries.last().map(|(key, _)| key.clone());
            all.extend(page.entries);
            match last.filter(|_| page.more) {
                Some(last) => read = read.behind(&last),
                None => return all,
            }
        }
    }
}

fn advance(counter: &Cell<u64>) -> u64 {
    counter.replace(counter.get() + 1)
}

/// Somebody who asks.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) bed: Bed,
    pub(crate) caller: Caller,
    pub(crate) session: SessionId,
}

/// Time for a request.
const TIME_MAX: Duration = Duration::from_secs(30);

impl Client {
    /// The request for `operation`, the next of a channel of its own.
    pub(crate) fn request(&self, operation: impl Into<Operation>) -> Request {
        let operation = operation.into();
        let channel = ChannelId::new(1);
        let tag = operation.mutates().then(|| Tag { channel, seq: advance(&self.bed.next_seq) });
        Request { caller: self.caller.clone(), session: self.session, tag, operation }
    }

    /// Sends `request`; again with the same number of an inode, as a service would not.
    pub(crate) async fn send(&self, request: &Request) -> Result<Answer, CallError> {
        let fresh = op::creates(&request.operation).then(|| self.bed.fresh());
        self.bed.store.call(request, fresh, TIME_MAX).await
    }

    /// Asks for `operation`.
    pub(crate) async fn ask(&self, operation: impl Into<Operation>) -> Result<Answer, Refusal> {
        match self.send(&self.request(operation)).await {
            Ok(answer) => Ok(answer),
            Err(CallError::Halted(Halt::Refused(refusal))) => Err(refusal),
            Err(other) => panic!("no answer and no refusal: {other}"),
        }
    }

    /// Asks for what is refused.
    pub(crate) async fn errno(&self, operation: impl Into<Operation>) -> Errno {
        self.ask(operation).await.expect_err("this is refused").errno
    }

    /// Asks for what is answered with attributes.
    pub(crate) async fn attr(&self, operation: impl Into<Operation>) -> Attr {
        match self.ask(operation).await.expect("this is done") {
            Answer::Attr(attr) | Answer::Opened { attr, .. } | Answer::Walked { attr, .. } => attr,
            other => panic!("no attributes: {other:?}"),
        }
    }

    /// Asks, and tells what it cost.
    pub(crate) async fn measured(
        &self,
        operation: impl Into<Operation>,
    ) -> (Result<Answer, Refusal>, Log) {
        self.bed.source().take_log();
        let answer = self.ask(operation).await;
        (answer, self.bed.source().take_log())
    }
}
