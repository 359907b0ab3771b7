//! A KV that came back from a backup (R20): stores may have installed chain versions that it does
//! not know, and data that was acknowledged in them.
//!
//! The first report of such a version freezes its chain: no lease is granted for it and its record
//! does not change, neither by itself nor by a command, until the operator has raised the timeline.
//! Otherwise a member that was left behind would serve stale data, and the manager would write its
//! own history over versions that exist already. What is reported stays known while the reporting
//! node is silent or dead, but not across its next start or a takeover: raise the timeline when all
//! stores have been heard.
//!
//! A raised timeline lifts each chain above every version that was reported (`chain`), and whoever
//! installed less than another leaves the last serving set for good: from then on only an operator
//! who accepts the loss makes it serve (`Command::GiveUpTo`).

use engine_types::{ChainId, ChainVersion, TargetId};

use crate::cluster::Cluster;
use crate::registry::{Report, Target};

/// Chain versions above it are not believed, nor is a chain lifted above them, unless its record is
/// there already: one faulty store would use up the numbers (E266). It is a quarter of them.
pub const CHAIN_VERSION_MAX: ChainVersion = ChainVersion::new(1 << 30);

impl Cluster {
    /// True if a store knows more than the KV: until the timeline is raised it refuses whatever
    /// this manager says.
    pub(crate) fn is_ahead(&self, chain: ChainId, report: &Report) -> bool {
        let version = self.chains.get(&chain).map(|chain| chain.record.version);
        self.record.timeline < report.timeline
            || (self.record.timeline == report.timeline && version < Some(report.version))
    }

    /// True if a store may have installed what it says.
    pub(crate) fn is_credible(&self, chain: ChainId, report: &Report) -> bool {
        let known = self.chains.get(&chain).map(|chain| chain.record.version);
        report.version <= CHAIN_VERSION_MAX.max(known.unwrap_or(CHAIN_VERSION_MAX))
    }

    /// What the store of the target itself says, if it can be.
    pub(crate) fn credible_report<'a>(&self, target: &'a Target) -> Option<&'a Report> {
        let record = &target.record;
        let report = target.report.as_ref().filter(|report| report.store == record.store);
        report.filter(|report| self.is_credible(record.chain, report))
    }

    /// The member whose store knows more of its chain than the KV, if there is one.
    pub(crate) fn frozen_by(&self, id: ChainId) -> Option<TargetId> {
        let members = &self.chains.get(&id)?.record.members;
        members.iter().map(|member| member.target).find(|target| {
            let report = self.targets.get(target).and_then(|target| self.credible_report(target));
            report.is_some_and(|report| self.is_ahead(id, report))
        })
    }
}

#[cfg(test)]
mod tests;
