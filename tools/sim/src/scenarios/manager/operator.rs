//! An operator: creates chains, does now and then what operators do, and undoes it when faults have
//! stopped. What it was told is done has to be in the state (T85).

use core::time::Duration;
use std::rc::Rc;

use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_types::{
    ChainId, ChainTableId, CoreId, NodeId, NodeRole, PublicState, Rng, SessionId, StoreId,
    TargetId, reached,
};
use mgmt_client::{Follower, ManagerError, Managers};
use mgmt_cluster::command::{Command, NewTarget};
use mgmt_cluster::config::manager as settings;
use mgmt_cluster::record::Leaving;
use mgmt_protocol::{Answer, ChainRow, Done, NodeRow, Operation, Question, RefusalCode};

use super::cluster::Cluster;

mod facts;

use facts::Fact;
pub(super) use facts::Facts;

/// Time for one call.
const CALL_TIME: Duration = Duration::from_secs(8);
/// Longest pause between two operations, milliseconds.
const PAUSE_MS: u64 = 2_500;
/// Chance that everything is looked at after an operation, permille.
const LOOKS: u32 = 300;
/// Pause between two looks at what is left to undo.
const UNDO_EVERY: Duration = Duration::from_millis(200);
const TABLE: ChainTableId = ChainTableId::new(1);

/// Settings that operators change, and to what.
const SETTINGS: [(&str, &[&str]); 6] = [
    (settings::HEARTBEAT_INTERVAL, &["500ms", "800ms"]),
    (settings::LEASE_STORAGE, &["2500ms", "3s"]),
    (settings::LEASE_PRIMARY, &["11s", "12s"]),
    (settings::SYNCING_NODE_MAX, &["1", "2"]),
    (settings::SESSION_TIMEOUT, &["20s", "25s"]),
    (settings::RESTORE_ORDER, &["true"]),
];

/// What became of an operation.
enum Came {
    Done(Done),
    Refused,
    Unknown,
}

struct Operator {
    env: SimEnv,
    cluster: Rc<Cluster>,
    managers: Managers<SimEnv>,
    follower: Rc<Follower<SimEnv>>,
    rng: Rng,
    stores: u128,
    stopped: bool,
}

/// The process of the operator, which never fails.
pub(in crate::scenarios) async fn run(env: SimEnv, cluster: Rc<Cluster>) {
    let net = cluster.net(&env, NodeRole::Operator);
    let managers = Managers::new(&env, net, cluster.managers.clone());
    let follower = Follower::start(&managers);
    cluster.followers.borrow_mut().watch(&follower);
    let rng = Rng::new(env.random());
    let mut operator =
        Operator { env, cluster, managers, follower, rng, stores: 1_000, stopped: false };
    while !operator.create().await {
        operator.rest(Duration::from_millis(200)).await;
    }
    operator.cluster.created.set(true);
    if operator.cluster.style.calm {
        core::future::pending().await
    }
    while !operator.cluster.quiet.get() {
        operator.operate().await;
        let ms = operator.rng.range(100..=PAUSE_MS);
        operator.rest(Duration::from_millis(ms)).await;
    }
    operator.undo().await;
}

impl Operator {
    async fn rest(&self, pause: Duration) {
        self.env.sleep_until(self.env.now() + pause).await;
    }

    async fn ask(&self, question: Question) -> Option<Answer> {
        let told = self.managers.call(&question, self.env.now() + CALL_TIME).await;
        if let Err(ManagerError::Malformed { why, .. }) = &told {
            self.cluster.found(format!("T85: {question:?} is answered with {why}"));
        }
        told.ok()
    }

    async fn nodes(&self) -> Option<Vec<NodeRow>> {
        match self.ask(Question::Nodes(NodeId::new(0))).await? {
            Answer::Nodes { rows, .. } => Some(rows),
            other => panic!("nodes were asked for: {other:?}"),
        }
    }

    async fn chains(&self) -> Option<Vec<ChainRow>> {
        match self.ask(Question::Chains { after: None, unwhole: false }).await? {
            Answer::Chains { rows, .. } => Some(rows),
            other => panic!("chains were asked for: {other:?}"),
        }
    }

    /// Does something, and remembers what it must have led to.
    async fn order(&mut self, operation: Operation, leads_to: Vec<(Fact, String)>) -> Came {
        let told = self.managers.call(&operation, self.env.now() + CALL_TIME).await;
        let now = self.env.world_now();
        let came = match told {
            Ok(done) => Came::Done(done),
            Err(ManagerError::Unknown { .. }) => Came::Unknown,
            Err(ManagerError::Refused(refusal)) => match refusal.code {
                RefusalCode::UnknownResult => Came::Unknown,
                RefusalCode::Malformed | RefusalCode::Unsupported => {
                    self.cluster.found(format!("T85: {operation:?}: {refusal}"));
                    Came::Refused
                }
                _ => Came::Refused,
            },
            Err(ManagerError::Unreachable { .. }) => Came::Refused,
            Err(error) => {
                self.cluster.found(format!("T85: {operation:?}: {error}"));
                Came::Refused
            }
        };
        let mut facts = self.cluster.facts.borrow_mut();
        for (fact, value) in leads_to {
            match &came {
                Came::Done(_) => facts.done(fact, value, now),
                Came::Unknown => facts.doubted(fact, value, now),
                Came::Refused => {}
            }
        }
        if matches!(came, Came::Done(_)) {
            self.cluster.count();
        }
        came
    }

    fn new_target(&mut self, node: NodeId) -> NewTarget {
        self.stores += 1;
        NewTarget { node, core: CoreId::new(0), store: StoreId::new(self.stores), disk: 0 }
    }

    /// Chains over all nodes, once these are registered; true when they exist.
    async fn create(&mut self) -> bool {
        let Some(rows) = self.nodes().await else { return false };
        if rows.len() < self.cluster.nodes.len() {
            return false;
        }
        let known = self.chains().await;
        if known.is_none_or(|chains| !chains.is_empty()) {
            return !self.follower.routing().chains.is_empty();
        }
        let mut wanted = Vec::new();
        for _ in 0..self.rng.range(2..=5) {
            let mut nodes: Vec<NodeId> = rows.iter().map(|row| row.node).collect();
            self.rng.shuffle(&mut nodes);
            nodes.truncate(usize::try_from(self.rng.range(2..=3)).expect("small"));
            wanted.push(nodes.into_iter().map(|node| self.new_target(node)).collect());
        }
        let operation = Operation::Cluster(Command::CreateChains(wanted));
        if let Came::Done(done) = self.order(operation, Vec::new()).await {
            let now = self.env.world_now();
            let mut facts = self.cluster.facts.borrow_mut();
            for chain in &done.chains {
                facts.done(Fact::Chain(*chain), "true".to_owned(), now);
            }
            return true;
        }
        false
    }

    fn targets(&self) -> Vec<TargetId> {
        self.follower.routing().targets.keys().copied().collect()
    }

    /// Something that operators do.
    async fn operate(&mut self) {
        let routing = self.follower.routing();
        let nodes: Vec<NodeId> = routing.nodes.keys().copied().collect();
        let chains: Vec<ChainId> = routing.chains.keys().copied().collect();
        let target = self.rng.pick(&self.targets()).copied();
        let node = self.rng.pick(&nodes).copied();
        let chain = self.rng.pick(&chains).copied();
        let (Some(target), Some(node), Some(chain)) = (target, node, chain) else { return };
        let flag = self.rng.chance(400);
        let cluster = |command| Operation::Cluster(command);
        if self.stopped {
            let fact = vec![(Fact::Stopped, "false".to_owned())];
            if let Came::Done(_) = self.order(cluster(Command::StopChains(false)), fact).await {
                self.stopped = false;
            }
            return;
        }
        let (operation, facts) = match self.rng.below(16) {
            0 | 1 => {
                let fact = (Fact::Draining(node), flag.to_string());
                (cluster(Command::DrainNode(node, flag)), vec![fact])
            }
            2 | 3 => {
                let fact = (Fact::Drained(target), flag.to_string());
                (cluster(Command::DrainTarget(target, flag)), vec![fact])
            }
            4 | 5 => {
                let fact = (Fact::Enabled(node), (!flag).to_string());
                (cluster(Command::EnableNode(node, !flag)), vec![fact])
            }
            6 => {
                let new = self.new_target(node);
                (cluster(Command::Replace(target, new)), Vec::new())
            }
            7 => {
                let members = &routing.chains[&chain].members;
                let mut order: Vec<TargetId> = members.iter().map(|m| m.target).collect();
                self.rng.shuffle(&mut order);
                (cluster(Command::SetPreferredOrder(chain, order)), Vec::new())
            }
            8 | 9 => (cluster(Command::Rotate(chain)), Vec::new()),
            10 => {
                self.stopped = true;
                let fact = (Fact::Stopped, "true".to_owned());
                (cluster(Command::StopChains(true)), vec![fact])
            }
            11 => (Operation::HandOver, Vec::new()),
            12 => (Operation::RevokeSessions(self.some_sessions()), Vec::new()),
            13 => {
                let order = self.table(chains);
                let fact = (Fact::Table, format!("{order:?}"));
                (cluster(Command::SetTable(TABLE, order)), vec![fact])
            }
            _ => self.setting(),
        };
        self.order(operation, facts).await;
        if self.rng.chance(LOOKS) {
            self.look().await;
        }
    }

    fn table(&mut self, mut chains: Vec<ChainId>) -> Vec<ChainId> {
        self.rng.shuffle(&mut chains);
        chains
    }

    fn some_sessions(&mut self) -> Vec<SessionId> {
        let sessions = self.cluster.sessions.borrow();
        let newest = sessions.len().saturating_sub(3);
        self.rng.pick(&sessions[newest..]).copied().into_iter().collect()
    }

    fn setting(&mut self) -> (Operation, Vec<(Fact, String)>) {
        let (name, values) = *self.rng.pick(&SETTINGS).expect("there are some");
        let value = self.rng.pick(values).copied().filter(|_| self.rng.chance(700));
        (set(name, value), vec![(Fact::Setting(name), value.unwrap_or_default().to_owned())])
    }

    /// Compares everything that is known to be done with what the primary says (T85).
    async fn look(&self) -> bool {
        let asked = self.env.world_now();
        let (Some(nodes), Some(chains)) = (self.nodes().await, self.chains().await) else {
            return false;
        };
        let Some(Answer::Config(config)) = self.ask(Question::Config(NodeRole::Manager)).await
        else {
            return false;
        };
        let table = Question::Table { table: TABLE, version: None, from: 0 };
        let table = match self.ask(table).await {
            Some(Answer::Table { chains, .. }) => Some(format!("{chains:?}")),
            _ => None,
        };
        let text = config.map(|entry| entry.text).unwrap_or_default();
        let is = |fact: &Fact| match fact {
            Fact::Draining(node) => {
                let row = nodes.iter().find(|row| row.node == *node)?;
                Some(row.record.draining.to_string())
            }
            Fact::Enabled(node) => {
                let row = nodes.iter().find(|row| row.node == *node)?;
                Some(row.record.enabled.to_string())
            }
            Fact::Chain(chain) => Some(chains.iter().any(|row| row.chain == *chain).to_string()),
            Fact::Drained(target) => match leaving(&chains, *target)? {
                Leaving::No => Some("false".to_owned()),
                Leaving::Drained => Some("true".to_owned()),
                Leaving::ReplacedBy(_) => None,
            },
            Fact::Table => table.clone(),
            Fact::Setting(name) => {
                let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
                Some(line.unwrap_or_default().to_owned())
            }
            Fact::Stopped => None,
        };
        if let Err(what) = self.cluster.facts.borrow().compare(is, asked) {
            self.cluster.found(what);
        }
        true
    }

    /// A change that every follower can be seen to have: a table with every chain twice.
    async fn change_last(&mut self) {
        let chains: Vec<ChainId> = self.follower.routing().chains.keys().copied().collect();
        let twice = [chains.clone(), chains].concat();
        let fact = vec![(Fact::Table, format!("{twice:?}"))];
        let command = Operation::Cluster(Command::SetTable(TABLE, twice));
        if let Came::Done(_) = self.order(command, fact).await {
            self.cluster.last_change.set(Some(self.env.world_now()));
        }
    }

    /// Undoes everything, for as long as it takes; then makes a last change when it is wanted.
    async fn undo(&mut self) {
        loop {
            self.rest(UNDO_EVERY).await;
            if self.cluster.last_wanted.get() && self.cluster.last_change.get().is_none() {
                self.change_last().await;
            }
            if self.cluster.last_change.get().is_some() && !self.cluster.facts_hold.get() {
                self.cluster.facts_hold.set(self.look().await);
            }
            for name in SETTINGS.map(|(name, _)| name) {
                let fact = Fact::Setting(name);
                if !self.cluster.facts.borrow().is(&fact, "") {
                    self.order(set(name, None), vec![(fact, String::new())]).await;
                }
            }
            let start = Operation::Cluster(Command::StopChains(false));
            self.order(start, vec![(Fact::Stopped, "false".to_owned())]).await;
            let Some(nodes) = self.nodes().await else { continue };
            for row in nodes.iter().filter(|row| row.record.draining || !row.record.enabled) {
                reached!("T84: an operator lets a node return");
                let node = row.node;
                let drained = Operation::Cluster(Command::DrainNode(node, false));
                self.order(drained, vec![(Fact::Draining(node), "false".to_owned())]).await;
                let enabled = Operation::Cluster(Command::EnableNode(node, true));
                self.order(enabled, vec![(Fact::Enabled(node), "true".to_owned())]).await;
            }
            let Some(chains) = self.chains().await else { continue };
            let unwhole = chains.iter().filter(|row| {
                row.info.members.iter().any(|member| member.state != PublicState::Serving)
            });
            let reasons = unwhole.map(|row| format!("{}: {:?}", row.chain, row.reasons));
            *self.cluster.reasons.borrow_mut() = reasons.collect();
            for (member, row) in
                chains.iter().flat_map(|row| row.members.iter().zip(&row.info.members))
            {
                if member.leaving == Leaving::Drained {
                    let target = row.target;
                    let drained = Operation::Cluster(Command::DrainTarget(target, false));
                    self.order(drained, vec![(Fact::Drained(target), "false".to_owned())]).await;
                }
            }
        }
    }
}

fn leaving(chains: &[ChainRow], target: TargetId) -> Option<Leaving> {
    let mut members = chains.iter().flat_map(|row| row.info.members.iter().zip(&row.members));
    members.find(|(member, _)| member.target == target).map(|(_, known)| known.leaving)
}

fn set(name: &str, value: Option<&str>) -> Operation {
    Operation::SetConfig {
        role: NodeRole::Manager,
        based_on: None,
        changes: vec![(name.to_owned(), value.map(str::to_owned))],
        note: "model".to_owned(),
    }
}
