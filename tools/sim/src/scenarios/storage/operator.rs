//! The operator, who never fails: creates the chains, and shows what the managers publish.

use core::time::Duration;
use std::rc::Rc;

use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_types::{CoreId, NodeId, NodeRole, RoutingInfo};
use mgmt_client::{Follower, Managers};
use mgmt_cluster::command::{Command, NewTarget};
use mgmt_protocol::Operation;

use super::ground::Ground;

const CALL_TIME: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);

/// The process of the operator.
pub(super) async fn run(env: SimEnv, ground: Rc<Ground>) {
    let net = ground.cluster.net(&env, NodeRole::Operator);
    let managers = Managers::new(&env, net, ground.managers.clone());
    let follower = Follower::start(&managers);
    *ground.follower.borrow_mut() = Some(follower.clone());
    let all = |routing: &RoutingInfo| places(&ground, routing).is_some();
    follower.until(all).await;
    while ground.chains.borrow().is_empty() {
        let wanted = wanted(&env, &ground, &follower.routing());
        let wanted = Operation::Cluster(Command::CreateChains(wanted));
        match managers.call(&wanted, env.now() + CALL_TIME).await {
            Ok(done) => *ground.chains.borrow_mut() = done.chains,
            Err(_) => env.sleep_until(env.now() + PAUSE).await,
        }
    }
    core::future::pending().await
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

/// Chains with replicas on different nodes.
fn wanted(env: &SimEnv, ground: &Ground, routing: &RoutingInfo) -> Vec<Vec<NewTarget>> {
    let places = places(ground, routing).expect("all are registered");
    let mut rng = engine_types::Rng::new(env.random());
    let mut chain = |replicas: usize| {
        let mut order: Vec<usize> = (0..places.len()).collect();
        rng.shuffle(&mut order);
        let members = order.into_iter().take(replicas).map(|index| {
            let number = usize::try_from(rng.below(ground.setting.stores as u64)).expect("small");
            NewTarget {
                node: places[index],
                core: CoreId::new(0),
                store: ground.stores.borrow()[&(index, number)],
                disk: u16::try_from(number).expect("small"),
            }
        });
        members.collect()
    };
    ground.setting.chains.iter().map(|&replicas| chain(replicas)).collect()
}
