//! Looking at a world from outside, at one of its instants.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};

use engine_runtime::sim::SimEnv;
use engine_types::{
    ChainId, ChainInfo, ChainVersion, Instant, PublicState, RoutingInfo, RoutingVersion, TargetId,
    Timeline,
};
use mgmt_client::Follower;

use super::cluster::Cluster;
use super::data::takes_turns;
use super::node::{Able, Live};
use crate::check::{Verdict, fail};
use crate::world::World;

/// Who can do what now.
pub(in crate::scenarios) struct Moment {
    pub(in crate::scenarios) now: Instant,
    /// Whose process runs and is not frozen.
    pub(super) acts: Vec<bool>,
    pub(in crate::scenarios) able: Vec<Able>,
    /// Where targets are.
    pub(in crate::scenarios) places: BTreeMap<TargetId, usize>,
    /// Targets that sync in the version they have installed.
    pub(super) syncing: Vec<(TargetId, usize)>,
}

impl Moment {
    pub(in crate::scenarios) fn look(world: &World, cluster: &Cluster) -> Self {
        let sim = world.sim();
        let mut able = Vec::new();
        let (mut places, mut syncing) = (BTreeMap::new(), Vec::new());
        let runs = |machine| sim.is_running(machine) && !sim.is_frozen(machine);
        for (index, node) in cluster.nodes.iter().enumerate() {
            for (&target, durable) in &node.disk.borrow().targets {
                places.insert(target, index);
                let state = durable.member(target).map(|member| member.state);
                if state == Some(PublicState::Syncing) {
                    syncing.push((target, index));
                }
            }
            if sim.is_running(node.machine) {
                node.able(index, sim.node_now(node.machine), cluster.style.bug, &mut able);
            }
        }
        Self {
            now: sim.now(),
            acts: cluster.nodes.iter().map(|node| runs(node.machine)).collect(),
            able,
            places,
            syncing,
        }
    }

    /// Whether the stores of a node do anything.
    pub(super) fn works(&self, cluster: &Cluster, node: usize) -> bool {
        let host = cluster.nodes[node].host();
        self.acts[node] && host.is_some_and(|host| takes_turns(&host))
    }

    /// What a target has in memory, if its process runs.
    pub(super) fn with_live<T>(
        &self,
        cluster: &Cluster,
        target: TargetId,
        look: impl FnOnce(&mut Live) -> T,
    ) -> Option<T> {
        let host = cluster.nodes[*self.places.get(&target)?].host()?;
        let mut live = host.live.borrow_mut();
        live.get_mut(&target).map(look)
    }
}

/// A follower, and what it showed last.
struct Watched {
    follower: Weak<Follower<SimEnv>>,
    last: (Timeline, RoutingVersion),
}

/// Followers of all processes.
#[derive(Default)]
pub(super) struct Followers(Vec<Watched>);

impl Followers {
    pub(super) fn watch(&mut self, follower: &Rc<Follower<SimEnv>>) {
        let last = Default::default();
        self.0.push(Watched { follower: Rc::downgrade(follower), last });
    }

    /// A version that somebody shows and of which `holds` does not hold.
    pub(super) fn behind(&self, holds: impl Fn(&RoutingInfo) -> bool) -> Option<RoutingVersion> {
        let held = self.0.iter().filter_map(|w| Some(w.follower.upgrade()?.routing()));
        held.into_iter().find(|routing| !holds(routing)).map(|routing| routing.version)
    }

    /// The newest routing info that any of them holds, and whether all hold it.
    pub(super) fn newest(&self) -> Option<(Rc<RoutingInfo>, bool)> {
        let held: Vec<_> =
            self.0.iter().filter_map(|w| Some(w.follower.upgrade()?.routing())).collect();
        let newest = held.iter().max_by_key(|r| (r.timeline, r.version))?.clone();
        let same = held.iter().all(|r| r.version == newest.version);
        Some((newest, same))
    }
}

/// What a node's follower means to T83.
#[derive(Clone, Copy, Default)]
struct Lagging {
    routing: RoutingVersion,
    fenced: usize,
    /// It would admit something that is fenced.
    lags: bool,
}

/// Remembers what was possible before.
#[derive(Default)]
pub(super) struct Checker {
    /// Versions that anybody was able to serve.
    served: BTreeMap<ChainId, BTreeMap<ChainVersion, ChainInfo>>,
    told: BTreeMap<(Timeline, RoutingVersion), Rc<RoutingInfo>>,
    lagging: BTreeMap<usize, Lagging>,
}

const T80: &str = "T80 who serves a version serves in every later one";
const T82: &str = "T82 followers show the same and never go back";
const T83: &str = "T83 nothing of a fenced session is left";

impl Checker {
    pub(super) fn check(&mut self, cluster: &Cluster, moment: &Moment) -> Verdict {
        self.serving(cluster, moment)?;
        self.followers(cluster)?;
        self.fenced(cluster, moment)
    }

    fn serving(&mut self, cluster: &Cluster, moment: &Moment) -> Verdict {
        let versions = cluster.versions.borrow();
        for able in &moment.able {
            let Some(info) = versions.get(&(able.chain, able.version)) else {
                let what = format!("{} may serve {} {}", able.target, able.chain, able.version);
                return fail(T80, format!("{what}, which nobody has installed"));
            };
            let served = self.served.entry(able.chain).or_default();
            served.entry(able.version).or_insert_with(|| info.clone());
        }
        for able in &moment.able {
            for (later, info) in self.served[&able.chain].range(able.version..) {
                let serves = info
                    .serving()
                    .any(|m| m.target == able.target && m.incarnation == able.incarnation);
                if !serves {
                    let Able { target, chain, incarnation, version, node } = *able;
                    let name = cluster.nodes[node].machine;
                    return fail(
                        T80,
                        format!(
                            "{target} {incarnation} of {name} can serve {chain} {version}, and \
                             {later} was served, which is {:?}",
                            info.members
                        ),
                    );
                }
            }
        }
        Ok(())
    }

    fn followers(&mut self, cluster: &Cluster) -> Verdict {
        let mut followers = cluster.followers.borrow_mut();
        followers.0.retain(|watched| 0 < watched.follower.strong_count());
        for watched in &mut followers.0 {
            let Some(follower) = watched.follower.upgrade() else { continue };
            let routing = follower.routing();
            let shown = (routing.timeline, routing.version);
            if shown == watched.last {
                continue;
            }
            if shown < watched.last {
                return fail(T82, format!("from {:?} back to {shown:?}", watched.last));
            }
            watched.last = shown;
            let known = self.told.entry(shown).or_insert_with(|| routing.clone());
            if **known != *routing {
                return fail(T82, format!("{shown:?} is {known:?} and {routing:?}"));
            }
            if let Err(error) = routing.validate() {
                return fail(T82, format!("{shown:?}: {error}"));
            }
        }
        Ok(())
    }

    fn fenced(&mut self, cluster: &Cluster, moment: &Moment) -> Verdict {
        let fenced = cluster.fenced.borrow();
        if fenced.is_empty() {
            return Ok(());
        }
        let nodes: BTreeSet<usize> = moment.able.iter().map(|able| able.node).collect();
        for node in nodes {
            let Some(host) = cluster.nodes[node].host() else { continue };
            let name = cluster.nodes[node].machine;
            let admitted = host.admitted.borrow();
            if let Some((session, _)) = admitted.iter().find(|(id, _)| fenced.contains(id)) {
                return fail(T83, format!("{name} has a lease and a write of {session}"));
            }
            let routing = host.follower.routing();
            let known = self.lagging.entry(node).or_default();
            if (known.routing, known.fenced) != (routing.version, fenced.len()) {
                let lags = fenced.iter().any(|&session| !routing.is_revoked(session));
                *known = Lagging { routing: routing.version, fenced: fenced.len(), lags };
            }
            if known.lags {
                let version = routing.version;
                return fail(T83, format!("{name} has a lease and would admit one, at {version}"));
            }
        }
        Ok(())
    }
}

/// Why the cluster is not as good as new, if it is not.
pub(in crate::scenarios) fn unwhole(cluster: &Cluster, moment: &Moment) -> Option<String> {
    let (routing, same) = cluster.followers.borrow().newest()?;
    if !cluster.created.get() {
        return Some("no chains yet".to_owned());
    }
    if !same {
        return Some("a follower is behind".to_owned());
    }
    let down = |node: &&engine_types::NodeInfo| node.state != engine_types::NodeState::Alive;
    if let Some(node) = routing.nodes.values().find(down) {
        return Some(format!("{node:?}"));
    }
    for (chain, info) in &routing.chains {
        if let Some(member) = info.members.iter().find(|m| m.state != PublicState::Serving) {
            return Some(format!("{chain} {}: {member:?}", info.version));
        }
        let able = |target| {
            moment.able.iter().any(|able| able.target == target && able.version == info.version)
        };
        if let Some(member) = info.members.iter().find(|m| !able(m.target)) {
            return Some(format!("{chain} {}: {} has no lease", info.version, member.target));
        }
    }
    None
}
