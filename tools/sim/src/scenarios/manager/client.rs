//! A client: a session, which it closes, loses and opens anew, and questions whether former ones
//! are fenced. What it writes is done from outside (`data`), also under sessions that are over.

use core::time::Duration;
use std::rc::Rc;

use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_types::{NodeRole, SessionId, StoreId, reached};
use mgmt_client::{Follower, ManagerError, Managers, Session};
use mgmt_cluster::session::Client;
use mgmt_protocol::{SessionAsk, SessionTold};

use super::cluster::Cluster;

/// Pause between two steps of a client, milliseconds.
const PAUSE_MS: u64 = 600;
/// Time for one call.
const CALL_TIME: Duration = Duration::from_secs(5);
/// Former sessions that are asked for.
const ASKED: usize = 8;

/// The process of client `number`.
pub(super) async fn run(env: SimEnv, cluster: Rc<Cluster>, number: u32) {
    let managers =
        Managers::new(&env, cluster.net(&env, NodeRole::Client), cluster.managers.clone());
    let follower = Follower::start(&managers);
    cluster.followers.borrow_mut().watch(&follower);
    let mut session: Option<Rc<Session<SimEnv>>> = None;
    loop {
        let pause = Duration::from_millis(1 + env.random() % PAUSE_MS);
        env.sleep_until(env.now() + pause).await;
        let Some(open) =
            session.take_if(|session| session.is_lost() || env.random().is_multiple_of(12))
        else {
            if session.is_none() {
                session = reopened(&env, &cluster, &managers, number).await;
            }
            ask(&env, &cluster, &managers).await;
            continue;
        };
        if open.is_lost() {
            reached!("L6: a client lost its session");
        } else if env.random().is_multiple_of(2) && open.close(env.now() + CALL_TIME).await.is_ok()
        {
            reached!("L6: a client closed its session");
        }
        // Else it forgets the session, which the next one of this client ends.
    }
}

async fn reopened(
    env: &SimEnv,
    cluster: &Cluster,
    managers: &Managers<SimEnv>,
    number: u32,
) -> Option<Rc<Session<SimEnv>>> {
    let client = Client {
        uuid: StoreId::new(100 + u128::from(number)),
        epoch: cluster.next_epoch(),
        process: 1,
        name: format!("client-{number}"),
        host: String::new(),
    };
    match Session::open(managers, client, env.now() + CALL_TIME).await {
        Ok(session) => {
            cluster.sessions.borrow_mut().push(session.id());
            Some(session)
        }
        Err(ManagerError::Malformed { why, .. }) => {
            cluster.found(format!("a session could not be opened: {why}"));
            None
        }
        Err(_) => None,
    }
}

/// Asks whether a former session is fenced (T83).
async fn ask(env: &SimEnv, cluster: &Cluster, managers: &Managers<SimEnv>) {
    let former: Vec<SessionId> = {
        let (sessions, fenced) = (cluster.sessions.borrow(), cluster.fenced.borrow());
        let open = sessions.iter().rev().filter(|session| !fenced.contains(session));
        open.take(ASKED).copied().collect()
    };
    let Some(&session) = former.get(usize::try_from(env.random() % 8).expect("below 8")) else {
        return;
    };
    let asked = SessionAsk::Fenced(session);
    let told = managers.call(&asked, env.now() + CALL_TIME).await;
    if let Ok(SessionTold::Fenced { fenced: true, .. }) = told {
        reached!("L6: a session is fenced");
        cluster.fenced.borrow_mut().insert(session);
        cluster.count();
    }
}
