use core::time::Duration;

use engine_net::NetLimits;
use engine_runtime::monoio::{self, MonoioEnv};
use engine_runtime::until;
use engine_types::{ClusterId, Incarnation, NodeId};
use engine_wire::handshake::{self, ClusterSecret, Local, Versions};

use super::*;

fn net() -> Rc<NetConfig> {
    let (node, process) = (NodeId::new(1), StoreId::new(1));
    let incarnation = Incarnation::new(1);
    let identity = handshake::Identity { role: NodeRole::Storage, node, process, incarnation };
    let secret = ClusterSecret::new([1; 32]).expect("it is not zero");
    let local = Local { cluster: ClusterId::new(1), identity, secret, versions: Versions::BUILD };
    Rc::new(NetConfig { local, limits: NetLimits::default() })
}

/// One of two shards panics when it is told to stop: the other one is waited for, and no longer.
#[test]
fn a_shard_that_panics_holds_up_no_shutdown() {
    let done = monoio::run(CoreSpec::new("node"), |env: MonoioEnv| async move {
        let managers = Managers::new(&env, net(), vec![([127, 0, 0, 1], 1).into()]);
        let node = Node::new(&managers, &Follower::start(&managers));
        let (told, telling) = env.mailbox(TOLD_MAX);
        for core in [0, 1].map(CoreId::new) {
            let (control, controlled) = env.mailbox(CONTROL_MAX);
            node.add_shard(&env, core, control);
            let (told, told_of_panic) = (told.clone(), told.clone());
            let main = move |_: MonoioEnv| async move {
                while let Some(said) = controlled.recv().await {
                    match said {
                        Control::Close => drop(told.send(Told::Closed { core }).await),
                        Control::Stop if core == CoreId::new(1) => panic!("own mistake"),
                        Control::Stop => drop(told.send(Told::Ended { core }).await),
                        _ => {}
                    }
                }
            };
            let end = env.on_core(CoreSpec::new("shard"), main).expect("a thread");
            drop(env.spawn(watch(core, end, told_of_panic)));
        }
        node.tell_all(|| Control::Close);
        let closed = |told: &Told| match told {
            Told::Closed { core } => Some(*core),
            _ => None,
        };
        wait_for(&node, &telling, closed).await;
        assert_eq!(node.panicked(), None);
        node.tell_all(|| Control::Stop);
        let ended = |told: &Told| match told {
            Told::Ended { core } => Some(*core),
            _ => None,
        };
        let hang = env.now() + Duration::from_secs(60);
        until(&env, hang, wait_for(&node, &telling, ended)).await.expect("it ends");
        assert_eq!(node.panicked(), Some((CoreId::new(1), "own mistake".to_owned())));
        let error = RoleError::Panicked { core: CoreId::new(1), why: "own mistake".to_owned() };
        assert_eq!(error.to_string(), "shard core-1 has panicked: own mistake");
    });
    done.expect("it runs");
}
