//! What operators do and see.

use meta_protocol::{Caller, op};
use meta_schema::INODE_ROOT;
use tools_cluster::Plan;

use crate::client::{Whereabouts, good, told};
use crate::ground::{METAS, create, plan, start, start_one, stop, with_mount};
use crate::support::{Folder, Process, bad};

#[test]
fn services_are_shown_with_what_they_did() {
    let folder = Folder::new("meta-operator");
    let mut cluster = start(plan(&folder));
    with_mount(Whereabouts::of(&cluster), async move |_, meta| {
        let root = Caller::root();
        meta.opened(&root, create(INODE_ROOT, "a")).await.unwrap();
        meta.opened(&root, create(INODE_ROOT, "a")).await.unwrap_err();
        for _ in 0..10 {
            meta.attr(&root, op::Stat { ino: INODE_ROOT }).await.unwrap();
        }
    });
    let services = good(&cluster, &["meta", "status"]);
    assert_eq!(services.len(), 2);
    assert!(services.iter().all(|service| service["ready"] == true), "{services:?}");
    let sum = |field: &str| -> u64 {
        services.iter().map(|service| service[field].as_u64().unwrap()).sum()
    };
    assert_eq!((sum("done"), sum("refused"), sum("failed")), (11, 1, 0), "{services:?}");
    let shown = cluster.emberfs(&["meta", "status", "--operations"]).unwrap();
    assert!(shown.out.contains("Create") && shown.out.contains("p99 us"), "{}", shown.out);
    let nodes = good(&cluster, &["node", "list", "--role", "meta"]);
    assert_eq!(nodes.len(), 2);
    // One that was killed does not answer, and the other one is enough.
    cluster.kill(METAS[0]).unwrap();
    let services = good(&cluster, &["meta", "status"]);
    let errors = services.iter().filter(|service| service["error"].is_string()).count();
    assert_eq!(errors, 1, "{services:?}");
    cluster.kill(METAS[1]).unwrap();
    told(&cluster, &["meta", "status"], 1);
    METAS.into_iter().for_each(|name| start_one(&mut cluster, name));
    stop(cluster);
}

#[test]
fn two_processes_with_one_number_end_each_other() {
    let folder = Folder::new("meta-twice");
    let usual = plan(&folder);
    let mut cluster = start(Plan { nodes: 0, replicas: 1, chains: 0, metas: 1, ..usual });
    let file = cluster.cluster_file();
    let (file, kv) = (file.to_str().unwrap(), cluster.address(tools_cluster::Name::Kv).unwrap());
    let (kv, manager) = (kv.to_string(), cluster.managers()[0].to_string());
    let line = [
        "meta",
        "serve",
        "--json",
        "--cluster",
        file,
        "--listen",
        "127.0.0.1:0",
        "--kv",
        &kv,
        "--managers",
        &manager,
        "--node",
        "1",
    ];
    let later = Process::start(&line);
    let mut waited = 0;
    while cluster.pid(METAS[0]).is_some() {
        crate::support::pause(core::time::Duration::from_millis(100));
        waited += 1;
        assert!(waited < 300, "the former one goes on");
    }
    let last = cluster.tail(METAS[0]).to_string();
    assert!(last.contains("the cluster refuses this service"), "{last}");
    later.stop("emberfs meta: stopped\n");
}

#[test]
fn what_is_wrong_is_told_with_a_hint() {
    bad(&["meta", "serve"], 2, "--cluster is missing");
    bad(&["meta", "serve", "--cluster", "/none"], 3, "/none");
    bad(&["meta", "serve", "--cluster", "/none", "--stripe", "0"], 2, "--stripe: found 0");
    bad(&["meta", "status"], 2, "no cluster is named");
}
