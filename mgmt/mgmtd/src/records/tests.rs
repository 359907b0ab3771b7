use std::rc::Rc;

use engine_runtime::Env;
use engine_runtime::sim::{NodeSpec, Sim, SimConfig};
use engine_types::{ClusterId, Incarnation, NodeId, NodeRole, StoreId};
use meta_kv::engine::memory::MemoryEngine;
use meta_kv::{Embedded, OwnKv};
use mgmt_cluster::cluster::Cluster;
use mgmt_cluster::lease::{Contact, LeaseTimes, Observer};
use mgmt_cluster::record::ClusterRecord;
use mgmt_cluster::registry::{Registered, Registration};
use mgmt_cluster::rules::Rules;

use super::*;

/// What a primary commits is what its successor loads, over many pages.
#[test]
fn records_return_as_they_were_written() {
    let sim = Sim::new(SimConfig::new(1));
    let node = sim.add_node(NodeSpec::new("manager"));
    let done = Rc::new(core::cell::Cell::new(false));
    let seen = done.clone();
    sim.start(node, move |env| async move {
        let (store, _task) = Embedded::start(&env, MemoryEngine::new()).unwrap();
        let kv = OwnKv::new(env.clone(), store);
        let me = Contact {
            node: NodeId::new(1),
            incarnation: Incarnation::new(1),
            addresses: vec!["m:1".to_owned()],
        };
        let mut observer = Observer::new(LeaseTimes::DEFAULT);
        observer.observe(env.now(), None);
        let taking = observer.begin_take(env.now(), me).unwrap();
        let t = kv.begin(TransactionOptions::default());
        t.set(LEASE_KEY, &taking.record.encode()).unwrap();
        let founded =
            Cluster::found(ClusterRecord::new(ClusterId::new(7), "test".to_owned())).unwrap();
        for (key, record) in &founded {
            t.set(&key.encode(), &record.encode()).unwrap();
        }
        t.commit().await.unwrap();
        let holder = Holder::taken(taking, LeaseTimes::DEFAULT, env.now());
        let mut records: BTreeMap<_, _> = founded.into_iter().collect();
        let loaded = load(&kv).await.unwrap().records;
        let now = env.now();
        let mut cluster =
            Cluster::load(loaded, Rules::default(), now, holder.storage_leases(now).until).unwrap();
        while let Some(change) = cluster.propose(env.now()) {
            write(&kv, &holder, &change, &Grants::new()).await.unwrap();
            apply(&mut records, &change);
            cluster.committed(env.now());
        }
        for n in 0..5_000u32 {
            let registration = Registration {
                node: None,
                uuid: StoreId::new(u128::from(n) + 1),
                role: NodeRole::Storage,
                addresses: vec![format!("node-{n}:1")],
                incarnation: Incarnation::new(1),
                domain: format!("rack-{}", n % 40),
            };
            let Ok(Registered::New(_, change)) = cluster.register(&registration, env.now()) else {
                panic!("node {n} is new");
            };
            if n % 100 == 0 {
                write(&kv, &holder, &change, &Grants::new()).await.unwrap();
            } else {
                // The rest by hand: a transaction each would only take time.
                let t = kv.begin(TransactionOptions::default());
                for (key, record) in &change.writes {
                    t.set(&key.encode(), &record.as_ref().unwrap().encode()).unwrap();
                }
                t.commit().await.unwrap();
            }
            apply(&mut records, &change);
            cluster.committed(env.now());
        }
        let loaded = load(&kv).await.unwrap().records;
        assert!(5_000 < loaded.len());
        assert_eq!(loaded.into_iter().collect::<BTreeMap<_, _>>(), records);
        seen.set(true);
    });
    sim.run_for(Duration::from_secs(3600)).unwrap();
    assert!(done.get());
}

fn apply(records: &mut BTreeMap<RecordKey, Record>, change: &Change) {
    for (key, record) in &change.writes {
        match record {
            Some(record) => drop(records.insert(*key, record.clone())),
            None => drop(records.remove(key)),
        }
    }
}
