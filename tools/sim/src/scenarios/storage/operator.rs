//! The operator, who never fails: creates the chains, shows what the managers publish, and does in
//! some worlds what operators do while clients write. Everything is undone when faults have
//! stopped.

use core::time::Duration;
use std::rc::Rc;

use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_types::{
    CoreId, NodeId, NodeRole, PublicState, Rng, RoutingInfo, StoreId, TargetId, reached,
};
use mgmt_client::{Follower, Managers};
use mgmt_cluster::command::{Command, NewTarget};
use mgmt_cluster::record::Leaving;
use mgmt_protocol::{Answer, ChainRow, Done, Operation, Question};

use super::ground::Ground;

const CALL_TIME: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);
/// Longest pause between two operations, milliseconds.
const PAUSE_MS: u64 = 1_500;
/// Longest time for which all chains are stopped, milliseconds.
const STOPPED_MS: u64 = 1_000;
/// Longer than a lease, and two heartbeats.
const FENCED_AFTER: Duration = Duration::from_millis(4_500);
/// How long an operator waits for a node to have given its chains up.
const DRAINED_MAX: Duration = Duration::from_secs(5);
/// A primary that answers has heard all nodes after this time.
const HEARD_AFTER: Duration = Duration::from_secs(5);
/// How often it asks a primary whether chains are whole: what followers show may be old.
const WHY_EVERY: Duration = Duration::from_millis(500);
/// The newest sessions: older ones have ended.
const SESSIONS: usize = 4;

struct Operator {
    env: SimEnv,
    ground: Rc<Ground>,
    managers: Managers<SimEnv>,
    follower: Rc<Follower<SimEnv>>,
    rng: Rng,
}

/// The process of the operator.
pub(super) async fn run(env: SimEnv, ground: Rc<Ground>) {
    let net = ground.cluster.net(&env, NodeRole::Operator);
    let managers = Managers::new(&env, net, ground.managers.clone());
    let follower = Follower::start(&managers);
    *ground.follower.borrow_mut() = Some(follower.clone());
    let all = |routing: &RoutingInfo| places(&ground, routing).is_some();
    follower.until(all).await;
    let rng = Rng::new(env.random());
    let mut operator = Operator { env, ground, managers, follower, rng };
    operator.create().await;
    while !operator.ground.heals.get() {
        if operator.ground.suffers.get() && operator.ground.setting.operates {
            operator.operate().await;
        }
        let ms = operator.rng.range(50..=PAUSE_MS);
        operator.rest(Duration::from_millis(ms)).await;
    }
    operator.undo().await;
    operator.ground.undone.set(true);
    loop {
        operator.ask_why().await;
        if operator.ground.raised.get() < operator.ground.restored.get() {
            operator.raise().await;
        }
        operator.rest(WHY_EVERY).await;
    }
}

/// Nodes by the order of their machines, once all are registered and formatted.
fn places(ground: &Ground, routing: &RoutingInfo) -> Option<Vec<NodeId>> {
    let formatted = ground.stores.borrow().len();
    if formatted < ground.setting.nodes * ground.setting.stores {
        return None;
    }
    let of = |machine: &NodeId| {
        let expected = ground.cluster.address_of(*machine).to_string();
        let mut all = routing.nodes.iter();
        all.find(|(_, info)| info.addresses.contains(&expected)).map(|(node, _)| *node)
    };
    ground.machines.iter().map(of).collect()
}

/// Whether a member cannot be what is left of its chain: others served last, and one still does.
fn is_spare(row: &ChainRow, target: TargetId) -> bool {
    let serves = |state| matches!(state, PublicState::Serving | PublicState::LastServing);
    let members = &row.info.members;
    members.iter().any(|one| one.target != target && one.state == PublicState::Serving)
        && !members.iter().any(|one| one.target == target && serves(one.state))
        && !row.last_serving.iter().any(|one| one.target == target)
}

/// The store that a target is in, if it is another one than the registered one: as operators read
/// it in what keeps its chain from being whole.
fn found_store(rows: &[ChainRow], target: TargetId) -> Option<StoreId> {
    let whose = format!("{target} on ");
    let mut reasons = rows.iter().flat_map(|row| &row.reasons);
    let reason = reasons.find(|reason| reason.starts_with(&whose))?;
    let (_, found) = reason.split_once("found store ")?;
    found.split(',').next()?.parse().ok()
}

impl Operator {
    async fn rest(&self, pause: Duration) {
        self.env.sleep_until(self.env.now() + pause).await;
    }

    /// Nothing if it was not done, or nobody knows.
    async fn order(&self, operation: Operation) -> Option<Done> {
        let told = self.managers.call(&operation, self.env.now() + CALL_TIME).await;
        let came = told.as_ref().map(|_| "done").map_err(ToString::to_string);
        self.ground.tell_order(format!("{} {operation:?}: {came:?}", self.env.world_now()));
        if told.is_ok() {
            reached!("T96: an operator changes a cluster under load");
        }
        told.ok()
    }

    /// Until it is done.
    async fn insist(&self, operation: Operation) {
        while self.order(operation.clone()).await.is_none() {
            self.rest(PAUSE).await;
        }
    }

    /// What keeps chains from being whole, in the words of a primary, or that nobody says so now.
    async fn ask_why(&self) {
        let asked = Question::Chains { after: None, unwhole: true };
        let told = self.managers.call(&asked, self.env.now() + CALL_TIME).await;
        let reasons: Vec<String> = match told {
            Ok(Answer::Chains { rows, .. }) => {
                rows.iter().map(|row| format!("{}: {:?}", row.chain, row.reasons)).collect()
            }
            _ => vec!["no primary has said that chains are whole".to_owned()],
        };
        self.ground.confirmed.set(reasons.is_empty());
        *self.ground.reasons.borrow_mut() = reasons;
    }

    async fn create(&mut self) {
        while self.ground.chains.borrow().is_empty() {
            let wanted = self.wanted();
            match self.order(Operation::Cluster(Command::CreateChains(wanted))).await {
                Some(done) => *self.ground.chains.borrow_mut() = done.chains,
                None => self.rest(PAUSE).await,
            }
        }
    }

    /// Chains with replicas on different nodes.
    fn wanted(&mut self) -> Vec<Vec<NewTarget>> {
        let places = places(&self.ground, &self.follower.routing()).expect("all are registered");
        let chains = self.ground.setting.chains.clone();
        let mut chain = |replicas: usize| {
            let mut order: Vec<usize> = (0..places.len()).collect();
            self.rng.shuffle(&mut order);
            order
                .into_iter()
                .take(replicas)
                .map(|index| self.target(index, places[index]))
                .collect()
        };
        chains.into_iter().map(&mut chain).collect()
    }

    /// A target on a node, in one of its stores.
    fn target(&mut self, index: usize, node: NodeId) -> NewTarget {
        let number = self.rng.below(self.ground.setting.stores as u64);
        let number = usize::try_from(number).expect("small");
        NewTarget {
            node,
            core: CoreId::new(0),
            store: self.ground.stores.borrow()[&(index, number)],
            disk: u16::try_from(number).expect("small"),
        }
    }

    /// The KV came back from a backup (R20). If it was the same one before, stores know of the
    /// timelines that were raised since: it takes a raise for each of them, and one more.
    async fn raise(&self) {
        while self.rows().await.is_none() {
            self.rest(PAUSE).await;
        }
        self.rest(HEARD_AFTER).await;
        let times = self.ground.restored.get();
        for _ in 0..times {
            self.insist(Operation::Cluster(Command::RaiseTimeline)).await;
        }
        self.ground.raised.set(times);
    }

    /// Something that operators do.
    async fn operate(&mut self) {
        let routing = self.follower.routing();
        let Some(places) = places(&self.ground, &routing) else { return };
        let targets: Vec<TargetId> = routing.targets.keys().copied().collect();
        let chains = self.ground.chains.borrow().clone();
        let (Some(&target), Some(&chain)) = (self.rng.pick(&targets), self.rng.pick(&chains))
        else {
            return;
        };
        let index = usize::try_from(self.rng.below(places.len() as u64)).expect("few");
        let flag = self.rng.chance(600);
        let command = match self.rng.below(19) {
            0..=3 if flag => Command::DrainTarget(target, true),
            0..=3 => {
                self.let_return(Some(target)).await;
                return;
            }
            4 => Command::DrainNode(places[index], flag),
            5..=8 => Command::Rotate(chain),
            9..=10 => {
                let members = routing.chains.get(&chain).map(|info| info.members.clone());
                let members = members.unwrap_or_default();
                let mut order: Vec<TargetId> = members.iter().map(|one| one.target).collect();
                self.rng.shuffle(&mut order);
                Command::SetPreferredOrder(chain, order)
            }
            11 => return self.stop_chains().await,
            12 => {
                self.order(Operation::HandOver).await;
                return;
            }
            13 | 14 => return self.revoke().await,
            15 | 16 => Command::Replace(target, self.target(index, places[index])),
            _ => return self.exchange(index, places[index]).await,
        };
        self.order(Operation::Cluster(command)).await;
    }

    /// Targets that were drained return: one of them, or all. A target that is being replaced was
    /// drained for good; to let it return would call the replacement off. False if nobody knows.
    async fn let_return(&self, only: Option<TargetId>) -> bool {
        let Some(rows) = self.rows().await else { return false };
        let members = rows.iter().flat_map(|row| row.info.members.iter().zip(&row.members));
        let drained = members.filter(|(_, known)| known.leaving == Leaving::Drained);
        for (member, _) in drained.filter(|(member, _)| only.is_none_or(|it| it == member.target)) {
            self.order(Operation::Cluster(Command::DrainTarget(member.target, false))).await;
        }
        let members = rows.iter().flat_map(|row| &row.members);
        members.filter(|known| known.leaving == Leaving::Drained).count() == 0
    }

    /// All chains as the primary has them: what followers show may be old.
    async fn rows(&self) -> Option<Vec<ChainRow>> {
        let asked = Question::Chains { after: None, unwhole: false };
        match self.managers.call(&asked, self.env.now() + CALL_TIME).await {
            Ok(Answer::Chains { rows, .. }) => Some(rows),
            _ => None,
        }
    }

    /// All chains stop for a while. A client that is declared dead meanwhile is fenced when leases
    /// have run out, and what it had begun is still pending (R16).
    async fn stop_chains(&mut self) {
        self.order(Operation::Cluster(Command::StopChains(true))).await;
        let ms = self.rng.below(STOPPED_MS);
        self.rest(Duration::from_millis(ms)).await;
        if self.rng.chance(500) {
            self.revoke().await;
            self.rest(FENCED_AFTER).await;
        }
        self.order(Operation::Cluster(Command::StopChains(false))).await;
    }

    /// A client is declared dead while it writes (L6).
    async fn revoke(&mut self) {
        let sessions = self.ground.sessions.borrow().clone();
        let newest = &sessions[sessions.len().saturating_sub(SESSIONS)..];
        let Some(&session) = self.rng.pick(newest) else { return };
        self.order(Operation::RevokeSessions(vec![session])).await;
    }

    /// A disk is exchanged for an empty one: its node is drained, the store is made anew, and
    /// adopted. Nothing is taken away before every chain has another member that serves and this
    /// one cannot be what is left of it: who is drained does not return to service.
    async fn exchange(&mut self, index: usize, node: NodeId) {
        let number = self.rng.below(self.ground.setting.stores as u64);
        let number = usize::try_from(number).expect("small");
        let store = self.ground.stores.borrow()[&(index, number)];
        if self.order(Operation::Cluster(Command::DrainNode(node, true))).await.is_none() {
            return;
        }
        let end = self.env.now() + DRAINED_MAX;
        let targets = loop {
            if let Some(spare) = self.spares(store).await {
                break spare;
            }
            if end < self.env.now() {
                self.order(Operation::Cluster(Command::DrainNode(node, false))).await;
                return;
            }
            self.rest(PAUSE).await;
        };
        self.ground.take_away(index, number);
        while !self.ground.stores.borrow().contains_key(&(index, number)) {
            self.rest(PAUSE).await;
        }
        reached!("T95: a store is exchanged for an empty one");
        self.insist(Operation::Cluster(Command::DrainNode(node, false))).await;
        self.adopt(targets).await;
    }

    /// Adopts the stores that these targets are in now, as managers tell it: the node has made them
    /// anew in a store that nobody has heard of, which may be another one than the new one.
    async fn adopt(&self, mut targets: Vec<TargetId>) {
        while !targets.is_empty() {
            self.rest(PAUSE).await;
            let Some(rows) = self.rows().await else { continue };
            let members = || rows.iter().flat_map(|row| &row.info.members);
            targets.retain(|target| members().any(|member| member.target == *target));
            for target in targets.clone() {
                let Some(found) = found_store(&rows, target) else { continue };
                let adopted = Command::AdoptStore(target, found);
                if self.order(Operation::Cluster(adopted)).await.is_some() {
                    targets.retain(|one| *one != target);
                }
            }
        }
    }

    /// The targets of a store if nothing is lost with it.
    async fn spares(&self, store: StoreId) -> Option<Vec<TargetId>> {
        let mut spares = Vec::new();
        for row in self.rows().await? {
            for (place, member) in row.info.members.iter().zip(&row.members) {
                if member.store == store {
                    spares.push(place.target);
                    if !is_spare(&row, place.target) {
                        return None;
                    }
                }
            }
        }
        Some(spares)
    }

    /// Undoes everything, for as long as it takes.
    async fn undo(&mut self) {
        if !self.ground.setting.operates {
            return;
        }
        self.insist(Operation::Cluster(Command::StopChains(false))).await;
        let routing = self.follower.routing();
        for &node in routing.nodes.keys() {
            self.insist(Operation::Cluster(Command::DrainNode(node, false))).await;
        }
        while !self.let_return(None).await {
            self.rest(PAUSE).await;
        }
    }
}
