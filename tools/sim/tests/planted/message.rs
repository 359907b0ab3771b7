//! What the processes of the store say to each other, over the RPC layer that ships.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use engine_net::{Call, CallError, Client, NetConfig, NetLimits};
use engine_runtime::Env;
use engine_types::{ClusterId, Incarnation, Instant, NodeId, NodeRole, StoreId};
use engine_wire::Kind;
use engine_wire::bodies::{Body, to_owned};
use engine_wire::handshake::{ClusterSecret, Identity, Local, Versions};
use rkyv::{Archive, Deserialize, Serialize};

/// One change of one list, as it lies in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) client: u32,
    /// Counts the requests of the client.
    pub(crate) sequence: u64,
    pub(crate) key: u32,
    pub(crate) value: u64,
}

/// Orders the settlements of all primaries: no two are equal, later ones are greater.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize,
)]
pub(crate) struct Stamp {
    /// That of the configuration under which its primary ruled.
    pub(crate) epoch: u64,
    /// Counts the settlements of that primary.
    pub(crate) attempt: u64,
}

/// Who rules, as the arbiter has recorded it.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct Configuration {
    pub(crate) epoch: u64,
    pub(crate) primary: u32,
    pub(crate) incarnation: u64,
    /// Replicas that hold everything acknowledged.
    pub(crate) members: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Client to primary.
    Append(Entry),
    /// Client to primary.
    Read { client: u32, sequence: u64, key: u32 },
    /// Primary to replica: one record more.
    Replicate { stamp: Stamp, index: u32, entry: Entry },
    /// Primary to replica: the whole log; replaces what is there.
    Adopt { stamp: Stamp, entries: Vec<Entry> },
    /// Replica to arbiter.
    Heartbeat { replica: u32, incarnation: u64 },
    /// Primary to arbiter: the configuration after `epoch`.
    Change { replica: u32, incarnation: u64, epoch: u64, members: Vec<u32> },
    /// Checker to replica.
    Dump,
}

#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) enum Answer {
    Appended {
        sequence: u64,
    },
    List {
        sequence: u64,
        values: Vec<u64>,
    },
    Stored,
    /// Not done; another replica, or the same one later, will do it.
    NotNow,
    Granted {
        configuration: Configuration,
        leased: bool,
        wall_until: u64,
        joining: Vec<u32>,
    },
    Changed {
        configuration: Configuration,
    },
    Log {
        entries: Vec<Entry>,
        members: Vec<u32>,
    },
}

/// A body around a message.
macro_rules! body {
    ($name:ident($inner:ty)) => {
        #[derive(Clone, Debug, Archive, Serialize, Deserialize)]
        pub(crate) struct $name(pub(crate) $inner);

        impl Body for $name {
            const KIND: Kind = Kind::new(Kind::TEST_FIRST.code() + 1);
            const VERSION: u8 = 1;
            const FIXED: bool = false;
        }
    };
}

body!(AskBody(Ask));
body!(AnswerBody(Answer));

/// Limits in proportion to leases of a fraction of a second.
pub(crate) fn net_config(node: u32, incarnation: u64) -> Rc<NetConfig> {
    let limits = NetLimits {
        handshake_time: Duration::from_millis(150),
        connect_time: Duration::from_millis(150),
        frame_time: Duration::from_millis(500),
        keepalive_idle: Duration::from_millis(80),
        keepalive_time: Duration::from_millis(240),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(80),
        ..NetLimits::default()
    };
    let identity = Identity {
        role: NodeRole::Storage,
        node: NodeId::new(node),
        process: StoreId::new(u128::from(node) + 1),
        incarnation: Incarnation::new(incarnation),
    };
    let secret = ClusterSecret::new([7; 32]).expect("not zero");
    let cluster = ClusterId::new(7);
    let local = Local { cluster, identity, secret, versions: Versions::BUILD };
    Rc::new(NetConfig { local, limits })
}

/// Connections to others.
pub(crate) struct Peers<E: Env> {
    env: E,
    config: Rc<NetConfig>,
    clients: RefCell<BTreeMap<SocketAddr, Client<E>>>,
}

impl<E: Env> Peers<E> {
    pub(crate) fn new(env: &E, config: Rc<NetConfig>) -> Self {
        Self { env: env.clone(), config, clients: RefCell::default() }
    }

    /// Asks once; nothing is retried here.
    pub(crate) async fn ask(
        &self,
        to: SocketAddr,
        ask: Ask,
        patience: Duration,
    ) -> Result<Answer, CallError> {
        let client = {
            let mut clients = self.clients.borrow_mut();
            let fresh = || Client::new(&self.env, self.config.clone(), to);
            clients.entry(to).or_insert_with(fresh).clone()
        };
        let deadline: Instant = self.env.now() + patience;
        let reply = client.call(Call::new(&AskBody(ask), deadline)).await?;
        let answer = to_owned::<AnswerBody>(reply.body::<AnswerBody>()?)?;
        Ok(answer.0)
    }
}
