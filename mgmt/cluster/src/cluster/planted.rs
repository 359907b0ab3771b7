//! Mistakes for tests: each changes what one rule says.
//!
//! The model test plants them in its managers. With the feature `planted` one may hold for the
//! whole process, in managers as they ship; builds without debug assertions refuse the feature.

use alloc::vec::Vec;

#[cfg(feature = "planted")]
use core::sync::atomic::{AtomicU8, Ordering};
#[cfg(test)]
use core::time::Duration;

use engine_types::{ChainId, Incarnation, Instant, Member, PublicState, TargetId};

use super::{Chain, Cluster};
use crate::chain::View;
use crate::heartbeat::TargetReport;
#[cfg(test)]
use crate::record::ChainRecord;
use crate::record::LastServer;
#[cfg(test)]
use crate::session::FenceError;

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("planted bugs are refused by builds without debug assertions");

/// A mistake. Those of the first group are in the code, those of the second in what the model does
/// with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// R4: a demotion is published at once.
    PublishAtOnce,
    /// R4: a demoted member's lease is renewed while its demotion waits.
    RenewDemoted,
    /// R4: leases go on while the demotion is in flight.
    RenewInFlight,
    /// R5: a new start inherits the standing of the former one.
    InheritServing,
    /// R10: any member may restart a chain.
    RestartAnybody,
    /// R11: an old "up to date" counts.
    OldUpToDate,

    /// E261: a record does not say who may still hold a lease.
    ForgetDeparted,
    /// E310: a demotion does not look at what standbys granted.
    IgnoreGrants,
    /// E261: a standby grants although somebody departed may hold a lease.
    StandbyIgnoresDeparted,
    /// R5: a standby renews for whichever start serves.
    StandbyIgnoresStart,
    /// E294: a standby grants to who has not drained what is fenced.
    StandbyIgnoresFence,
    /// E311: a standby grants for longer than it may.
    StandbyGrantsLonger,
    /// L3: a new primary believes that it has waited already.
    NoGrace,
    /// L1: nodes use leases for longer than the manager believes.
    LongLeases,
    /// S8: a damaged store says that it is whole.
    HideDamage,
    /// E271: a new primary publishes versions of its predecessor again.
    ReuseVersions,
    /// E267: a delta lacks a chain.
    ShortDelta,
}

impl Planted {
    /// Those of replicated storage that the code of managers has by itself.
    #[cfg(feature = "planted")]
    pub const SHIPPED: &[Self] = &[
        Self::PublishAtOnce,
        Self::RenewDemoted,
        Self::RenewInFlight,
        Self::InheritServing,
        Self::RestartAnybody,
        Self::OldUpToDate,
    ];
}

/// The one that holds for the process, as its number and one; 0 is none.
#[cfg(feature = "planted")]
static PLANTED: AtomicU8 = AtomicU8::new(0);

/// Plants a mistake, or none, in managers whose rules are made from here on.
#[cfg(feature = "planted")]
pub fn plant(mistake: Option<Planted>) {
    PLANTED.store(mistake.map_or(0, |mistake| mistake as u8 + 1), Ordering::Relaxed);
}

/// What holds for the process.
pub(crate) fn planted() -> Option<Planted> {
    #[cfg(feature = "planted")]
    return Planted::SHIPPED
        .iter()
        .copied()
        .find(|mistake| PLANTED.load(Ordering::Relaxed) == *mistake as u8 + 1);
    #[cfg(not(feature = "planted"))]
    None
}

/// Whether a lease is granted that must not be.
pub(crate) fn serves(
    planted: Option<Planted>,
    target: TargetId,
    chain: &Chain,
    incarnation: Incarnation,
) -> bool {
    let member = chain.record.member(target);
    match planted {
        Some(Planted::RenewDemoted) => chain.withheld.is_some(),
        Some(Planted::InheritServing) => {
            member.is_some_and(|m| m.state == PublicState::Serving && m.incarnation < incarnation)
        }
        _ => false,
    }
}

/// How long a standby grants, and whether it refuses.
#[cfg(test)]
pub(crate) fn standby(
    planted: Option<Planted>,
    lasts: Duration,
    fenced: Option<FenceError>,
) -> (Duration, Option<FenceError>) {
    match planted {
        Some(Planted::StandbyGrantsLonger) => (2 * lasts, fenced),
        Some(Planted::StandbyIgnoresFence) => (lasts, None),
        _ => (lasts, fenced),
    }
}

/// Whether a standby takes a target for one that serves, and nobody for departed.
#[cfg(test)]
pub(crate) fn by_standby(
    planted: Option<Planted>,
    record: &ChainRecord,
    target: TargetId,
    (serves, nobody_departed): (bool, bool),
) -> (bool, bool) {
    match planted {
        Some(Planted::StandbyIgnoresDeparted) => (serves, true),
        Some(Planted::StandbyIgnoresStart) => {
            let member = record.serving().any(|member| member.target == target);
            (member, nobody_departed)
        }
        _ => (serves, nobody_departed),
    }
}

/// Until when a granted lease is believed to be held.
pub(crate) fn until(
    cluster: &Cluster,
    chain: ChainId,
    said: &TargetReport,
    until: Instant,
) -> Instant {
    let serves = cluster.chains[&chain].record.serves(said.target, said.incarnation);
    let forgets = cluster.rules.planted == Some(Planted::RenewDemoted) && !serves;
    if forgets { Instant::ZERO } else { until }
}

/// The chain as the state table sees it.
pub(crate) fn chain(chain: &Chain, planted: Option<Planted>) -> Chain {
    let mut chain = chain.clone();
    let serves = chain.record.serving().next().is_some();
    if planted == Some(Planted::RestartAnybody) && !serves {
        for member in &mut chain.record.members {
            member.state = PublicState::LastServing;
        }
        let members = chain.record.members.iter().rev();
        let store = chain.record.last_serving[0].store;
        chain.record.last_serving =
            members.map(|m| LastServer { target: m.target, store }).collect::<Vec<_>>();
    }
    chain
}

/// A member as the state table sees it.
pub(crate) fn view(cluster: &Cluster, member: &Member, view: View) -> View {
    let chain = &cluster.chains[&cluster.targets[&member.target].record.chain].record;
    match cluster.rules.planted {
        Some(Planted::OldUpToDate) if member.state == PublicState::Syncing => {
            View { version: chain.version, incarnation: member.incarnation, ..view }
        }
        Some(Planted::RestartAnybody) if chain.serving().next().is_none() => {
            View { store: chain.last_serving[0].store, ..view }
        }
        _ => view,
    }
}
