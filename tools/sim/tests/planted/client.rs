//! The workload: clients that append unique values to a few lists and read them, and an auditor
//! that looks at everything when the faults have stopped.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use engine_runtime::sim::SimEnv;
use engine_runtime::{Env, Notify, until};
use tools_sim::check::LogCall;
use tools_sim::history::{End, History};

use crate::bug::Bug;
use crate::message::{Answer, Ask, Entry, Peers, net_config};

pub(crate) const KEYS: u32 = 2;
/// An answer is awaited this long before the next attempt.
const ATTEMPT: Duration = Duration::from_millis(40);
/// The RPC layer waits longer, so that answers to former attempts arrive late.
const ATTEMPT_RPC: Duration = Duration::from_millis(250);
/// After this the result of an operation is unknown.
const GIVE_UP: Duration = Duration::from_millis(900);
/// The auditor comes when all is well again and waits for as long as that takes.
const AUDITOR_GIVES_UP: Duration = Duration::from_secs(8);
const AUDITOR: u32 = 99;

/// An operation on the list of a key.
pub(crate) type ListHistory = History<(u32, LogCall), Option<Vec<u64>>>;

#[derive(Clone)]
pub(crate) struct ClientConfig {
    pub(crate) number: u32,
    pub(crate) replicas: Vec<SocketAddr>,
    pub(crate) operations: u64,
    pub(crate) bug: Option<Bug>,
    pub(crate) history: ListHistory,
    /// Counts clients that have ended.
    pub(crate) ended: Rc<Cell<u32>>,
}

/// Asks one operation after the other, with pauses.
pub(crate) async fn run(env: SimEnv, config: ClientConfig) {
    let mut client = Client::new(env.clone(), config.clone(), GIVE_UP);
    for _ in 0..config.operations {
        let key = u32::try_from(env.random() % u64::from(KEYS)).expect("few keys");
        client.operate(key, !env.random().is_multiple_of(3)).await;
        env.sleep_until(env.now() + Duration::from_micros(env.random() % 60_000)).await;
    }
    config.ended.set(config.ended.get() + 1);
}

/// What each replica holds at the end.
pub(crate) type Findings = Rc<RefCell<Vec<(String, Vec<Entry>)>>>;

/// Reads every list, then waits until all replicas are members again and takes their logs.
pub(crate) async fn audit(env: SimEnv, mut config: ClientConfig, findings: Findings) {
    config.number = AUDITOR;
    let mut client = Client::new(env.clone(), config.clone(), AUDITOR_GIVES_UP);
    for key in 0..KEYS {
        client.operate(key, false).await;
    }
    loop {
        let mut found = Vec::new();
        for (index, &replica) in config.replicas.iter().enumerate() {
            let answer = client.peers.ask(replica, Ask::Dump, ATTEMPT).await;
            if let Ok(Answer::Log { entries, members }) = answer
                && members.len() == config.replicas.len()
            {
                found.push((format!("replica-{index}"), entries));
            }
        }
        if found.len() == config.replicas.len() {
            *findings.borrow_mut() = found;
            return;
        }
        env.sleep_until(env.now() + ATTEMPT).await;
    }
}

struct Client {
    env: SimEnv,
    config: ClientConfig,
    give_up: Duration,
    peers: Rc<Peers<SimEnv>>,
    inbox: Rc<RefCell<VecDeque<Answer>>>,
    arrived: Notify,
    sequence: u64,
    target: usize,
}

impl Client {
    fn new(env: SimEnv, config: ClientConfig, give_up: Duration) -> Self {
        let net = net_config(1000 + config.number, env.random());
        Self {
            peers: Rc::new(Peers::new(&env, net)),
            target: config.number as usize % config.replicas.len(),
            env,
            config,
            give_up,
            inbox: Rc::default(),
            arrived: Notify::default(),
            sequence: 0,
        }
    }

    /// One operation with as many attempts as it takes, recorded.
    async fn operate(&mut self, key: u32, append: bool) {
        self.sequence += 1;
        let (client, sequence) = (self.config.number, self.sequence);
        let value = u64::from(client) << 32 | sequence;
        let (call, ask) = if append {
            let entry = Entry { client, sequence, key, value };
            (LogCall::Append(value), Ask::Append(entry))
        } else {
            (LogCall::Read, Ask::Read { client, sequence, key })
        };
        if self.env.random().is_multiple_of(2) {
            // Whoever ruled before may believe that it still does.
            self.target = self.pick_replica();
        }
        let history = self.config.history.clone();
        let id = history.invoke(client, self.env.world_now(), (key, call));
        let answer = self.ask_until_answered(ask).await;
        let at = self.env.world_now();
        history.end(
            id,
            match answer {
                Some(Answer::Appended { .. }) => End::Returned { at, result: None },
                Some(Answer::List { values, .. }) => End::Returned { at, result: Some(values) },
                _ if append => End::Unknown { at },
                _ => End::Failed { at },
            },
        );
    }

    fn pick_replica(&self) -> usize {
        let count = self.config.replicas.len() as u64;
        usize::try_from(self.env.random() % count).expect("below a usize")
    }

    async fn ask_until_answered(&mut self, ask: Ask) -> Option<Answer> {
        let give_up_at = self.env.now() + self.give_up;
        while self.env.now() < give_up_at {
            self.send(ask.clone());
            let inbox = self.inbox.clone();
            let some = self.arrived.until(|| !inbox.borrow().is_empty());
            let _arrived = until(&self.env, self.env.now() + ATTEMPT, some).await;
            let arrived = self.inbox.take();
            if let Some(answer) = arrived.into_iter().find(|answer| self.answers(&ask, answer)) {
                return Some(answer);
            }
            self.target = (self.target + 1) % self.config.replicas.len();
            let pause = Duration::from_micros(1_000 + self.env.random() % 8_000);
            self.env.sleep_until(self.env.now() + pause).await;
        }
        None
    }

    fn send(&self, ask: Ask) {
        let (peers, inbox) = (self.peers.clone(), self.inbox.clone());
        let (arrived, to) = (self.arrived.clone(), self.config.replicas[self.target]);
        drop(self.env.spawn(async move {
            let answer = peers.ask(to, ask, ATTEMPT_RPC).await.unwrap_or(Answer::NotNow);
            inbox.borrow_mut().push_back(answer);
            arrived.notify();
        }));
    }

    /// Whether `answer` is the one to this request, and not one to an earlier attempt at another.
    fn answers(&self, ask: &Ask, answer: &Answer) -> bool {
        let any = self.config.bug == Some(Bug::StaleReply);
        match (ask, answer) {
            (Ask::Append(_), Answer::Appended { sequence })
            | (Ask::Read { .. }, Answer::List { sequence, .. }) => {
                any || *sequence == self.sequence
            }
            _ => false,
        }
    }
}
