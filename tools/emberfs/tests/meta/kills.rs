//! kill -9 of services, managers and the key-value store, under load: no acknowledged operation is
//! lost, and none is done twice.

use tools_cluster::Name;

use crate::ground::{METAS, plan, start, start_one, stop};
use crate::load::Load;
use crate::support::Folder;

#[test]
fn services_that_are_killed_cost_no_operation() {
    let folder = Folder::new("meta-kills");
    let mut cluster = start(plan(&folder));
    let load = Load::start(&cluster, 1);
    load.until_done(200);
    for round in 0..2 {
        for name in METAS {
            cluster.kill(name).unwrap();
            load.until_done(100);
            start_one(&mut cluster, name);
            load.until_done(100);
        }
        if round == 0 {
            // Both at once: everybody waits, and nobody loses anything.
            cluster.kill_all(&METAS).unwrap();
            METAS.into_iter().for_each(|name| start_one(&mut cluster, name));
            load.until_done(100);
        }
    }
    assert!(900 <= load.stop());
    stop(cluster);
}

#[test]
fn what_services_stand_on_is_killed_and_they_go_on() {
    let folder = Folder::new("meta-below");
    let mut cluster = start(plan(&folder));
    let load = Load::start(&cluster, 2);
    load.until_done(200);
    for name in [Name::Kv, Name::Manager(1), Name::Kv, Name::Storage(2)] {
        cluster.kill(name).unwrap();
        start_one(&mut cluster, name);
        load.until_done(200);
    }
    // A new start while the store is away waits for it.
    cluster.kill(Name::Kv).unwrap();
    cluster.kill(METAS[0]).unwrap();
    start_one(&mut cluster, METAS[0]);
    start_one(&mut cluster, Name::Kv);
    cluster.until_metas_ready().unwrap_or_else(|error| panic!("{error}"));
    load.until_done(200);
    load.stop();
    stop(cluster);
}
