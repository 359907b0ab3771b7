//! Operators: commands, settings, and what is refused.

use core::time::Duration;

use engine_runtime::Env;
use engine_types::{ChainTableId, NodeId, NodeRole, TargetId};
use mgmt_client::ManagerError;
use mgmt_cluster::command::Command;
use mgmt_cluster::config::ConfigVersion;
use mgmt_protocol::{Answer, Operation, Question, RefusalCode};

use crate::ground::{Ground, chain, command, new_target, operation, summary};

#[test]
fn commands_are_done_once_or_refused_with_the_reason() {
    let ground = Ground::new(1);
    let _models = ground.with_chains(4);
    ground.operate(|env, managers| async move {
        let table = Command::SetTable(ChainTableId::new(1), (1..=4).map(chain).collect());
        assert!(command(&env, &managers, table).await.unwrap().changed);
        let asked = Question::Table { table: ChainTableId::new(1), version: None, from: 1 };
        let deadline = env.now() + Duration::from_secs(5);
        let Ok(Answer::Table { chains, more: false, .. }) = managers.call(&asked, deadline).await
        else {
            panic!("the table is told")
        };
        assert_eq!(chains, [chain(2), chain(3), chain(4)]);
        let drain = || Command::DrainNode(NodeId::new(1), true);
        assert!(command(&env, &managers, drain()).await.unwrap().changed);
        assert!(!command(&env, &managers, drain()).await.unwrap().changed);
        let rows: [(Command, RefusalCode); 3] = [
            (Command::DrainNode(NodeId::new(99), true), RefusalCode::NotFound),
            (Command::RemoveTarget(TargetId::new(1)), RefusalCode::Conflict),
            (
                Command::CreateChains(vec![vec![new_target(NodeId::new(99), 1)]]),
                RefusalCode::NotFound,
            ),
        ];
        for (wanted, code) in rows {
            let told = command(&env, &managers, wanted.clone()).await;
            let Err(ManagerError::Refused(refusal)) = told else { panic!("{wanted:?}: {told:?}") };
            assert_eq!(refusal.code, code, "{wanted:?}: {refusal}");
        }
    });
}

#[test]
fn commands_are_for_operators() {
    let ground = Ground::new(2);
    ground.act_as(NodeRole::Client, 1, |env, managers| async move {
        let told = command(&env, &managers, Command::StopChains(true)).await;
        let Err(ManagerError::Refused(refusal)) = told else { panic!("{told:?}") };
        assert_eq!(refusal.code, RefusalCode::InvalidArgument);
    });
}

#[test]
fn settings_are_followed_at_once_and_survive_a_takeover() {
    let ground = Ground::new(3);
    let models = ground.with_chains(1);
    ground.operate(|env, managers| async move {
        let set = |name: &str, value: &str, based_on| Operation::SetConfig {
            role: NodeRole::Manager,
            based_on,
            changes: vec![(name.to_owned(), Some(value.to_owned()))],
            note: "a test".to_owned(),
        };
        let done = operation(&env, &managers, set("heartbeat.interval", "\"200ms\"", None)).await;
        let version = done.unwrap().config;
        let again = operation(&env, &managers, set("heartbeat.interval", "\"200ms\"", None)).await;
        let again = again.unwrap();
        assert!(!again.changed && again.config == version, "{again:?}");
        let stale = set("lease.storage", "\"3s\"", Some(ConfigVersion::new(0)));
        let Err(ManagerError::Refused(refusal)) = operation(&env, &managers, stale).await else {
            panic!("it is based on another version")
        };
        assert_eq!(refusal.code, RefusalCode::Conflict, "{refusal}");
        let wrong = set("heartbeat.interval", "\"1h\"", None);
        let Err(ManagerError::Refused(refusal)) = operation(&env, &managers, wrong).await else {
            panic!("an hour is too long")
        };
        assert_eq!(refusal.code, RefusalCode::InvalidArgument, "{refusal}");
        let deadline = env.now() + Duration::from_secs(5);
        let Ok(Answer::Config(Some(entry))) =
            managers.call(&Question::Config(NodeRole::Manager), deadline).await
        else {
            panic!("settings are told")
        };
        assert_eq!(entry.version, version);
    });
    let beats = |within: Duration| {
        ground.run(Duration::from_secs(2));
        let before = models[0].grants.get();
        ground.run(within);
        models[0].grants.get() - before
    };
    let found = beats(Duration::from_secs(10));
    assert!((45..=55).contains(&found), "{found} heartbeats in ten seconds");
    ground.operate(|env, managers| async move {
        operation(&env, &managers, Operation::HandOver).await.unwrap();
    });
    let found = beats(Duration::from_secs(10));
    assert!((45..=55).contains(&found), "{found} heartbeats in ten seconds");
}

#[test]
fn a_stopped_cluster_says_so_and_starts_again() {
    let ground = Ground::new(4);
    let models = ground.with_chains(2);
    ground.operate(|env, managers| async move {
        command(&env, &managers, Command::StopChains(true)).await.unwrap();
    });
    ground.run(Duration::from_secs(10));
    assert!(models.iter().all(|model| model.serving() == 0));
    ground.operate(|env, managers| async move {
        let summary = summary(&env, &managers).await;
        assert!(summary.stopped && summary.chains_unserved == 2, "{summary:?}");
        command(&env, &managers, Command::StopChains(false)).await.unwrap();
    });
    let back = ground
        .sim
        .run_while(Duration::from_secs(30), |_| models.iter().any(|model| model.serving() < 2));
    assert!(back.unwrap(), "the chains serve again");
}
