//! Sessions of clients: opened, extended, revoked, fenced.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::Env;
use engine_types::{NodeRole, SessionId, StoreId};
use mgmt_client::Session;
use mgmt_cluster::command::Command;
use mgmt_cluster::session::Client;
use mgmt_protocol::{Answer, Operation, Question, SessionAsk, SessionTold};

use crate::ground::{CLUSTER, Ground, MANAGERS, command, operation};

fn client(epoch: u32) -> Client {
    Client {
        uuid: StoreId::new(5),
        epoch,
        process: 1,
        name: "mount".to_owned(),
        host: "host".to_owned(),
    }
}

/// L6: what is revoked is in the routing info before it counts as fenced, and it counts as fenced
/// when every node has drained it.
#[test]
fn a_revoked_session_is_fenced_when_all_nodes_have_drained_it() {
    let ground = Ground::new(1);
    let models = ground.with_chains(2);
    let opened = Rc::new(Cell::new(SessionId::new(0)));
    let told = opened.clone();
    models[0].holds_writes.set(true);
    let fenced =
        async |env: &engine_runtime::sim::SimEnv, managers: &mgmt_client::Managers<_>, session| {
            let asked = SessionAsk::Fenced(session);
            match managers.call(&asked, env.now() + Duration::from_secs(5)).await {
                Ok(SessionTold::Fenced { fenced, waits_for }) => (fenced, waits_for.len()),
                other => panic!("{other:?}"),
            }
        };
    ground.act_as(NodeRole::Client, 1, move |env, managers| async move {
        let deadline = env.now() + Duration::from_secs(10);
        let session = Session::open(&managers, client(1), deadline).await.unwrap();
        told.set(session.id());
        let again = Session::open(&managers, client(1), deadline).await.unwrap();
        assert_eq!(again.id(), session.id(), "asked twice");
        let later = Session::open(&managers, client(2), deadline).await.unwrap();
        assert!(session.id() < later.id());
        env.sleep_until(env.now() + Duration::from_secs(3)).await;
        let (is_fenced, waits) = fenced(&env, &managers, session.id()).await;
        assert!(!is_fenced && waits == 1, "a node has not drained it: {waits}");
        let all = [session.id(), later.id()];
        let soon = || env.now() + Duration::from_secs(5);
        assert_eq!(managers.ended(&all, soon()).await, Ok(Vec::new()));
        let left = later.close(env.now() + Duration::from_secs(5)).await;
        assert!(left.is_ok(), "{left:?}");
    });
    let follower = models[1].follower.borrow().clone().unwrap();
    assert!(follower.routing().is_revoked(opened.get()));
    models[0].holds_writes.set(false);
    ground.run(Duration::from_secs(3));
    let session = opened.get();
    ground.act_as(NodeRole::Client, 1, move |env, managers| async move {
        assert_eq!(fenced(&env, &managers, session).await, (true, 0));
        let never = SessionId::new(1 << 40);
        let ended = managers.ended(&[never, session], env.now() + Duration::from_secs(5)).await;
        assert_eq!(ended, Ok(vec![session]));
    });
}

#[test]
fn a_silent_client_loses_its_session_and_an_operator_may_end_one() {
    let ground = Ground::new(2);
    ground.act_as(NodeRole::Client, 1, |env, managers| async move {
        let deadline = env.now() + Duration::from_secs(10);
        let session = Session::open(&managers, client(1), deadline).await.unwrap();
        env.sleep_until(env.now() + Duration::from_secs(200)).await;
        assert!(!session.is_lost(), "it is extended");
    });
    let rows = |env: engine_runtime::sim::SimEnv, managers: mgmt_client::Managers<_>| async move {
        let deadline = env.now() + Duration::from_secs(10);
        match managers.call(&Question::Sessions(None), deadline).await {
            Ok(Answer::Sessions { rows, more: false }) => rows,
            other => panic!("{other:?}"),
        }
    };
    ground.operate(move |env, managers| async move {
        let found = rows(env.clone(), managers.clone()).await;
        assert!(found.len() == 1 && found[0].record.is_live(), "{found:?}");
    });
    ground.run(Duration::from_secs(70));
    ground.operate(move |env, managers| async move {
        let found = rows(env.clone(), managers.clone()).await;
        assert!(found.is_empty(), "expired, fenced and swept: {found:?}");
    });
    ground.act_as(NodeRole::Client, 1, |env, managers| async move {
        let deadline = env.now() + Duration::from_secs(10);
        let session = Session::open(&managers, client(9), deadline).await.unwrap();
        env.sleep_until(env.now() + Duration::from_secs(1)).await;
        drop(session);
    });
    ground.operate(move |env, managers| async move {
        let found = rows(env.clone(), managers.clone()).await;
        let revoke = Operation::RevokeSessions(vec![found[0].session]);
        assert!(operation(&env, &managers, revoke.clone()).await.unwrap().changed);
        assert!(!operation(&env, &managers, revoke).await.unwrap().changed);
    });
}

/// R20: all sessions of the former timeline end, and ids are lifted.
#[test]
fn a_raised_timeline_ends_all_sessions() {
    let ground = Ground::new(3);
    let models = ground.with_chains(1);
    let (seen, kept) = (Rc::new(Cell::new(None)), models[0].clone());
    let told = seen.clone();
    ground.act_as(NodeRole::Client, 1, move |env, managers| async move {
        let deadline = env.now() + Duration::from_secs(10);
        let session = Session::open(&managers, client(1), deadline).await.unwrap();
        told.set(Some(session.id()));
    });
    ground.operate(|env, managers| async move {
        command(&env, &managers, Command::RaiseTimeline).await.unwrap();
    });
    ground.run(Duration::from_secs(5));
    let routing = kept.follower.borrow().clone().unwrap().routing();
    assert!(routing.is_revoked(seen.get().unwrap()), "{:?}", routing.revoked_below);
    assert_eq!(routing.timeline.get(), 1);
    ground.act_as(NodeRole::Client, 1, move |env, managers| async move {
        let deadline = env.now() + Duration::from_secs(10);
        let session = Session::open(&managers, client(1), deadline).await.unwrap();
        assert!(1 << 32 <= session.id().get());
    });
    let serve = |_: &_| models.iter().any(|model| model.serving() < 1);
    assert!(ground.sim.run_while(Duration::from_secs(60), serve).unwrap(), "chains serve again");
}

/// Silence that the manager did not listen to ends no session: it slept longer than the timeout.
#[test]
fn a_manager_that_was_away_ends_no_session() {
    let ground = Ground::without_managers(4);
    ground.manage(MANAGERS[0], CLUSTER);
    let session = Rc::new(RefCell::new(None));
    let told = session.clone();
    ground.act_as(NodeRole::Client, 1, move |env, managers| async move {
        let deadline = env.now() + Duration::from_secs(20);
        let opened = Session::open(&managers, client(1), deadline).await.unwrap();
        *told.borrow_mut() = Some(opened);
    });
    ground.sim.freeze(MANAGERS[0], Duration::from_secs(90));
    ground.run(Duration::from_secs(135));
    let session = session.borrow().clone().unwrap();
    assert!(!session.is_lost(), "its client was there all the time");
}
