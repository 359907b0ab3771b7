//! Managers and their cluster in numbers.
//!
//! ```text
//! StatusAsk       summary bool
//! ManagerStatus   me contact, cluster u128, standing u8, lease (option) record, since duration,
//!                 summary (option) row, trouble text
//! summary         name text, timeline u32, stopped bool, routing u64, nodes u32, nodes alive u32,
//!                 targets u32, targets serving u32, targets syncing u32, chains u32,
//!                 chains whole u32, chains unserved u32, sessions u32, changes u64,
//!                 grace duration                                                         row
//! ```

use mgmt_cluster::fields::{DecodeError, Reader, Writer};
use mgmt_cluster::lease::PrimaryLease;
use mgmt_cluster::record::codec::NAME_BYTES_MAX;

use super::{Field, Fields, cut, messages, numbered};
use crate::message::{ClusterSummary, ManagerStatus, StandingSaid, StatusAsk};
use crate::refusal::Refusal;

/// Largest record of the primary's lease: 8 addresses take 2.2 KB; later versions grow.
const LEASE_RECORD_BYTES_MAX: usize = 16 << 10;

messages! {
    StatusAsk = "question for the status";
    ManagerStatus = "status of a manager";
}

numbered! {
    StandingSaid { Standby = 1, TakingOver = 2, Primary = 3, } "1 to 3";
}

impl Fields for StatusAsk {
    const FIELDS_BYTES_MIN: usize = 1;

    fn write_fields(&self, out: &mut Writer) {
        self.summary.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { summary: Field::read("summary", from)? })
    }
}

/// A record with the frame that it has in the KV.
impl Field for PrimaryLease {
    /// Its length and its head.
    const BYTES_MIN: usize = 9;

    fn write(&self, out: &mut Writer) {
        out.bytes(&self.encode());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode(from.bytes(field, LEASE_RECORD_BYTES_MAX)?)
    }
}

impl Fields for ManagerStatus {
    const FIELDS_BYTES_MIN: usize = 49;

    fn write_fields(&self, out: &mut Writer) {
        let Self { me, cluster, standing, lease, since, summary, trouble } = self;
        me.write(out);
        cluster.write(out);
        standing.write(out);
        lease.write(out);
        since.write(out);
        summary.write(out);
        out.text(cut(trouble, Refusal::MESSAGE_BYTES_MAX));
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            me: Field::read("me", from)?,
            cluster: Field::read("cluster", from)?,
            standing: Field::read("standing", from)?,
            lease: Field::read("lease", from)?,
            since: Field::read("since", from)?,
            summary: Field::read("summary", from)?,
            trouble: from.text("trouble", Refusal::MESSAGE_BYTES_MAX)?,
        })
    }
}

impl Fields for ClusterSummary {
    const FIELDS_BYTES_MIN: usize = 69;

    fn write_fields(&self, out: &mut Writer) {
        out.text(&self.name);
        self.timeline.write(out);
        self.stopped.write(out);
        self.routing.write(out);
        self.nodes.write(out);
        self.nodes_alive.write(out);
        self.targets.write(out);
        self.targets_serving.write(out);
        self.targets_syncing.write(out);
        self.chains.write(out);
        self.chains_whole.write(out);
        self.chains_unserved.write(out);
        self.sessions.write(out);
        self.changes.write(out);
        self.grace.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: from.text("name", NAME_BYTES_MAX)?,
            timeline: Field::read("timeline", from)?,
            stopped: Field::read("stopped", from)?,
            routing: Field::read("routing", from)?,
            nodes: Field::read("nodes", from)?,
            nodes_alive: Field::read("nodes alive", from)?,
            targets: Field::read("targets", from)?,
            targets_serving: Field::read("targets serving", from)?,
            targets_syncing: Field::read("targets syncing", from)?,
            chains: Field::read("chains", from)?,
            chains_whole: Field::read("chains whole", from)?,
            chains_unserved: Field::read("chains unserved", from)?,
            sessions: Field::read("sessions", from)?,
            changes: Field::read("changes", from)?,
            grace: Field::read("grace", from)?,
        })
    }
}
