//! Clusters of tests, and clients of their metadata services.

use core::time::Duration;
use std::path::PathBuf;

use engine_runtime::monoio::MonoioEnv;
use engine_runtime::{CoreSpec, Env};
use engine_types::InodeId;
use meta_client::{MetaClient, MetaConfig};
use meta_protocol::{Caller, OpenMode, op};
use meta_schema::Mode;
use tools_cluster::{Cluster, Name, Plan};

use crate::client::{DEADLINE, Member, Whereabouts};
use crate::support::Folder;

/// Lease of the primary: what operators run with is ten seconds, for which no test wants to wait.
const PRIMARY_LEASE: Duration = Duration::from_secs(1);
/// Memory of a client's core.
const POOL_BYTES: usize = 64 << 20;

pub(crate) type Meta = MetaClient<MonoioEnv>;

/// The services.
pub(crate) const METAS: [Name; 2] = [Name::Meta(1), Name::Meta(2)];

/// Two services over three nodes, small, in a folder of its own.
pub(crate) fn plan(folder: &Folder) -> Plan {
    Plan {
        test_primary_lease: Some(PRIMARY_LEASE),
        store_bytes: 1 << 30,
        pool_bytes: Some(64 << 20),
        metas: METAS.len(),
        meta_settings: "chunk_size = \"64KiB\"\nstripe = 2\n".to_owned(),
        ..Plan::new(env!("CARGO_BIN_EXE_emberfs"), PathBuf::from(folder.path("cluster")))
    }
}

/// Starts it; what went wrong is told in words.
pub(crate) fn start(plan: Plan) -> Cluster {
    Cluster::start(plan).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn start_one(cluster: &mut Cluster, name: Name) {
    cluster.start_one(name).unwrap_or_else(|error| panic!("{error}"));
}

pub(crate) fn stop(cluster: Cluster) {
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}

/// A client of the services, under the session of `member`, which has one only: its channels.
fn mount(member: &Member) -> Meta {
    let config = MetaConfig { deadline: DEADLINE, ..MetaConfig::default() };
    let (net, follower) = (member.net.clone(), member.follower.clone());
    MetaClient::new(&member.env, net, follower, member.session.clone(), config)
}

/// Runs a client on a core of its own, in this thread, until it has done its part.
pub(crate) fn with_mount<T: 'static, F: Future<Output = T> + 'static>(
    at: Whereabouts,
    part: impl FnOnce(Member, Meta) -> F + 'static,
) -> T {
    let spec = CoreSpec { pool_bytes: POOL_BYTES, ..CoreSpec::new("client") };
    let main = async move |env: MonoioEnv| {
        let member = Member::new(&env, &at, "client").await;
        let meta = mount(&member);
        let told = part(member, meta.clone()).await;
        meta.close(env.now() + Duration::from_secs(1)).await;
        told
    };
    engine_runtime::monoio::run(spec, main).unwrap()
}

/// A new file that is open for writing.
pub(crate) fn create(parent: InodeId, name: &str) -> op::Create {
    op::Create {
        parent,
        name: name.as_bytes().to_vec(),
        mode: Mode::new(0o644),
        umask: Mode::default(),
        exclusive: true,
        open: Some(OpenMode { read: true, write: true, truncate: false, append: false }),
        layout: None,
    }
}

/// A new directory.
pub(crate) async fn mkdir(meta: &Meta, parent: InodeId, name: &str) -> InodeId {
    let name = name.as_bytes().to_vec();
    let (mode, umask) = (Mode::new(0o755), Mode::default());
    let made = op::Mkdir { parent, name, mode, umask, layout: None };
    meta.attr(&Caller::root(), made).await.unwrap().ino
}

/// Names in a directory, in no order.
pub(crate) async fn names(meta: &Meta, dir: InodeId) -> Vec<String> {
    let (mut all, mut cookie) = (Vec::new(), 0);
    loop {
        let ask = op::Readdir { dir, cookie, limit: 1000, plus: false };
        let (entries, end) = meta.entries(&Caller::root(), ask).await.unwrap();
        cookie = entries.last().map_or(cookie, |entry| entry.cookie);
        all.extend(entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()));
        if end {
            return all;
        }
    }
}
