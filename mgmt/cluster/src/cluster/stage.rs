//! Changes: what is to be written, and who loses the right to serve by it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use engine_types::{ChainId, Instant, NodeId, RoutingVersion, TargetId};

use super::Cluster;
use crate::record::{ChainRecord, Departed, Record, RecordKey, RoutingRecord, UNADOPTED};

/// Routing versions reserved at a time. At a hundred publications a second they last ten minutes,
/// and the numbers last for ever.
pub(super) const RESERVED_STEP: u64 = 65_536;

/// Everything that one KV transaction has to do. The transaction also reads the primary's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Tells changes apart.
    pub number: u64,
    /// Records to be written, or removed where there is none; each key at most once.
    pub writes: Vec<(RecordKey, Option<Record>)>,
    /// Nodes that lose a serving target: where standbys grant leases (L5), the transaction reads
    /// the grant records of these with conflict.
    pub demoted: BTreeSet<NodeId>,
}

/// The change in flight.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    pub(crate) change: Change,
    /// Targets that it stops from serving: they get no lease from the moment it was made (R4).
    pub(crate) demoted: BTreeSet<TargetId>,
    /// Chains it changes, to be looked at again.
    pub(crate) chains: Vec<ChainId>,
}

impl Cluster {
    /// Makes a change of `writes`: says who departs, reserves routing versions, and is in flight.
    pub(crate) fn stage(
        &mut self,
        mut writes: Vec<(RecordKey, Option<Record>)>,
        now: Instant,
    ) -> Change {
        assert!(!self.is_busy(), "E270: one change at a time");
        let keys: BTreeSet<RecordKey> = writes.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys.len(), writes.len(), "E270: each record once");
        let mut demoted = BTreeSet::new();
        let mut chains = Vec::new();
        for (key, record) in &mut writes {
            let (RecordKey::Chain(id), Some(Record::Chain(record))) = (key, record) else {
                continue;
            };
            chains.push(*id);
            let lost = self.lost_servers(*id, record);
            demoted.extend(lost.iter().map(|departed| departed.target));
            let version = self.chains.get(id).map(|chain| chain.record.version);
            if version != Some(record.version) {
                let holds = |d: &Departed| self.holds_until(*d, now).is_some();
                record.departed = lost.into_iter().filter(holds).collect();
            }
        }
        let next = self.publisher.info.version.get() + RESERVED_STEP;
        if self.publisher.wants_reservation(RESERVED_STEP / 2) {
            let reserved = RoutingVersion::new(next);
            let record = Record::Routing(RoutingRecord { reserved });
            writes.push((RecordKey::Routing, Some(record)));
        }
        for (key, record) in &writes {
            // What cannot be read would keep every later manager from loading.
            let read = record.as_ref().map(|record| Record::decode(key, &record.encode()));
            assert_eq!(read.transpose().as_ref(), Ok(record), "E299: {key:?}");
        }
        self.changes += 1;
        let nodes = demoted.iter().map(|target| self.targets[target].record.node).collect();
        let change = Change { number: self.changes, writes, demoted: nodes };
        self.in_flight = Some(InFlight { change: change.clone(), demoted, chains });
        change
    }

    /// Who serves in the committed version of a chain and not in `next`, as the same start.
    fn lost_servers(&self, id: ChainId, next: &ChainRecord) -> Vec<Departed> {
        let Some(chain) = self.chains.get(&id) else { return Vec::new() };
        let lost = chain.record.serving().filter(|m| !next.serves(m.target, m.incarnation));
        // Who was never adopted was never granted a lease.
        let lost = lost.filter(|m| m.incarnation != UNADOPTED);
        lost.map(|m| Departed { target: m.target, incarnation: m.incarnation }).collect()
    }
}
