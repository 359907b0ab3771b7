//! Nodes that come, serve, die and return.

use core::time::Duration;

use engine_runtime::Env;
use engine_types::{Incarnation, NodeId, NodeRole, StoreId};
use mgmt_client::{AgentEnd, ManagerError};
use mgmt_cluster::registry::Registration;
use mgmt_protocol::{Answer, Question, RefusalCode, Register};

use crate::ground::{Ground, chain, summary};

#[test]
fn chains_serve_and_a_dead_node_leaves_them_and_returns() {
    let ground = Ground::new(1);
    let models = ground.with_chains(20);
    ground.run(Duration::from_secs(20));
    assert!(models.iter().all(|model| model.serving() == 20), "leases are renewed");
    ground.crash_node(0);
    let before = ground.sim.now();
    let out = ground.sim.run_while(Duration::from_secs(30), |_| {
        let follower = models[1].follower.borrow().clone().unwrap();
        let routing = follower.routing();
        !routing.chains.values().all(|chain| chain.serving().count() == 2)
    });
    let took = ground.sim.now().saturating_since(before);
    assert!(out.unwrap() && took < Duration::from_secs(3), "L4: out after {took:?}");
    ground.run(Duration::from_secs(3));
    assert_eq!(models[1].serving(), 20);
    let again = ground.node(0);
    let back = ground.sim.run_while(Duration::from_secs(60), |_| again.serving() < 20);
    assert!(back.unwrap(), "{} chains serve on it", again.serving());
    assert_eq!(again.id.get(), models[0].id.get());
}

/// A change reaches everybody who follows within one heartbeat.
#[test]
fn a_change_is_pushed() {
    let ground = Ground::new(2);
    let models = ground.with_chains(3);
    ground.run(Duration::from_secs(10));
    let before = models[0].routing();
    ground.operate(|env, managers| async move {
        let drain = mgmt_cluster::command::Command::DrainNode(NodeId::new(1), true);
        crate::ground::command(&env, &managers, drain).await.unwrap();
    });
    let reached = ground.sim.run_while(Duration::from_secs(1), |_| {
        models.iter().any(|model| model.routing() == before)
    });
    assert!(reached.unwrap(), "L1: a change reaches all within one heartbeat");
}

/// A registration whose answer was lost is repeated without another id being given.
#[test]
fn registering_twice_gives_one_node() {
    let ground = Ground::new(3);
    ground.act_as(NodeRole::Storage, 1, |env, managers| async move {
        let wanted = Registration {
            node: None,
            uuid: StoreId::new(77),
            role: NodeRole::Storage,
            addresses: vec!["a:1".to_owned()],
            incarnation: Incarnation::new(1),
            domain: String::new(),
        };
        let deadline = env.now() + Duration::from_secs(30);
        let register = Register { wanted };
        let first = managers.call(&register, deadline).await.unwrap();
        let second = managers.call(&register, deadline).await.unwrap();
        assert_eq!(first.node, second.node);
        let mut later = register.clone();
        later.wanted.incarnation = Incarnation::new(2);
        assert_eq!(managers.call(&later, deadline).await.unwrap().node, first.node);
        let outdated = managers.call(&register, deadline).await;
        let Err(ManagerError::Refused(refusal)) = outdated else { panic!("{outdated:?}") };
        assert_eq!(refusal.code, RefusalCode::OtherStart);
        let Ok(Answer::Nodes { rows, more }) =
            managers.call(&Question::Nodes(NodeId::new(0)), deadline).await
        else {
            panic!("nodes are told")
        };
        assert_eq!((rows.len(), more, rows[0].record.uuid), (1, false, StoreId::new(77)));
    });
}

/// Whoever does not know the cluster's secret does not get as far as a request.
#[test]
fn registration_needs_the_secret() {
    let ground = Ground::new(4);
    ground.act_as(NodeRole::Storage, 2, |env, managers| async move {
        let wanted = Registration {
            node: None,
            uuid: StoreId::new(78),
            role: NodeRole::Storage,
            addresses: vec!["a:1".to_owned()],
            incarnation: Incarnation::new(1),
            domain: String::new(),
        };
        let told = managers.call(&Register { wanted }, env.now() + Duration::from_secs(5)).await;
        assert!(matches!(told, Err(ManagerError::Unreachable { .. })), "{told:?}");
    });
    ground.operate(|env, managers| async move {
        assert_eq!(summary(&env, &managers).await.nodes, 0);
    });
}

#[test]
fn a_left_over_process_is_told_to_end() {
    let ground = Ground::new(5);
    let models = ground.with_chains(1);
    let (old, id) = (models[0].clone(), models[0].id.get());
    ground.act_as(NodeRole::Storage, 1, move |env, managers| async move {
        // Somebody starts the same node elsewhere.
        let wanted = Registration {
            node: id,
            uuid: StoreId::new(u128::from(3u8) << 64),
            role: NodeRole::Storage,
            addresses: vec!["elsewhere:1".to_owned()],
            incarnation: Incarnation::new(9),
            domain: String::new(),
        };
        managers.call(&Register { wanted }, env.now() + Duration::from_secs(5)).await.unwrap();
    });
    ground.run(Duration::from_secs(5));
    assert!(matches!(&*old.end.borrow(), Some(AgentEnd::Replaced { .. })), "{:?}", old.end);
}

#[test]
fn operators_see_why_a_chain_is_not_whole() {
    let ground = Ground::new(6);
    let _models = ground.with_chains(2);
    ground.crash_node(2);
    ground.run(Duration::from_secs(5));
    ground.operate(|env, managers| async move {
        let deadline = env.now() + Duration::from_secs(5);
        let asked = Question::Chains { after: None, unwhole: true };
        let Ok(Answer::Chains { rows, more: false }) = managers.call(&asked, deadline).await else {
            panic!("chains are told")
        };
        assert_eq!(rows.len(), 2);
        assert!(rows[0].reasons.iter().any(|why| why.contains("its node is dead")), "{rows:?}");
        let Ok(Answer::Chains { rows, .. }) =
            managers.call(&Question::Chain(chain(1)), deadline).await
        else {
            panic!("the chain is told")
        };
        assert_eq!((rows[0].chain, rows[0].members.len()), (chain(1), 3));
        let missing = managers.call(&Question::Chain(chain(99)), deadline).await;
        let Err(ManagerError::Refused(refusal)) = missing else { panic!("{missing:?}") };
        assert_eq!(refusal.code, RefusalCode::NotFound);
    });
}
