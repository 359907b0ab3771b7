//! Heartbeats and what becomes of them.
//!
//! ```text
//! Beat          node u32, incarnation u64, sequence u64, sent time, drained u64, timeline u32,
//!               shards list of rows, targets list of rows
//! shard         core u16, progress u64                                                   row
//! target        target u64, incarnation u64, store u128, chain (option) u32, core u16, local u8,
//!               damaged bool, version u32, timeline u32                                  row
//! BeatAnswer    beat duration, config u64, by standby bool, sequence u64, sent time,
//!               lease duration, routing u64, timeline u32, fenced (option) row,
//!               leases list of rows, moves list of rows, unknown list of u64
//! lease         target u64, incarnation u64, chain u32, version u32                      row
//! move          target u64, chain u32, chain of `info`                                   row
//! fenced        tag u8: 1 node u32, found u64, published u64                             row
//!                       2 node u32, found u64, known u64
//!                       3 node u32, incarnation u64, found u64, needed u64
//! ```

use engine_types::limits::TARGETS_MAX;
use mgmt_cluster::chain::LocalState;
use mgmt_cluster::fields::{DecodeError, Reader, Writer};
use mgmt_cluster::heartbeat::{Heartbeat, HeartbeatAnswer, Lease, Move, ShardReport, TargetReport};
use mgmt_cluster::session::FenceError;

use super::{Field, Fields, messages, numbered, read_list, write_list};
use crate::message::{Beat, BeatAnswer};

/// Shards of a node: as many as there are numbers of cores.
const SHARDS_MAX: usize = 1 << 16;

messages! {
    Beat = "heartbeat";
    BeatAnswer = "answer to a heartbeat";
}

numbered! {
    LocalState { UpToDate = 1, Online = 2, Offline = 3, } "1 to 3";
}

impl Fields for Beat {
    const FIELDS_BYTES_MIN: usize = 48;

    fn write_fields(&self, out: &mut Writer) {
        let Heartbeat { node, incarnation, sequence, sent, .. } = &self.heartbeat;
        let Heartbeat { drained, timeline, shards, targets, .. } = &self.heartbeat;
        node.write(out);
        incarnation.write(out);
        sequence.write(out);
        sent.write(out);
        drained.write(out);
        timeline.write(out);
        write_list(shards, out);
        write_list(targets, out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let heartbeat = Heartbeat {
            node: Field::read("node", from)?,
            incarnation: Field::read("incarnation", from)?,
            sequence: Field::read("sequence", from)?,
            sent: Field::read("sent", from)?,
            drained: Field::read("drained", from)?,
            timeline: Field::read("timeline", from)?,
            shards: read_list("shards", SHARDS_MAX, from)?,
            targets: read_list("targets", TARGETS_MAX, from)?,
        };
        Ok(Self { heartbeat })
    }
}

impl Fields for ShardReport {
    const FIELDS_BYTES_MIN: usize = 10;

    fn write_fields(&self, out: &mut Writer) {
        let Self { core, progress } = self;
        core.write(out);
        progress.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { core: Field::read("core", from)?, progress: Field::read("progress", from)? })
    }
}

impl Fields for TargetReport {
    const FIELDS_BYTES_MIN: usize = 45;

    fn write_fields(&self, out: &mut Writer) {
        let Self { target, incarnation, store, chain, core, local, damaged, .. } = self;
        target.write(out);
        incarnation.write(out);
        store.write(out);
        chain.write(out);
        core.write(out);
        local.write(out);
        damaged.write(out);
        self.version.write(out);
        self.timeline.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            target: Field::read("target", from)?,
            incarnation: Field::read("incarnation", from)?,
            store: Field::read("store", from)?,
            chain: Field::read("chain", from)?,
            core: Field::read("core", from)?,
            local: Field::read("local state", from)?,
            damaged: Field::read("damaged", from)?,
            version: Field::read("version", from)?,
            timeline: Field::read("timeline", from)?,
        })
    }
}

impl Fields for BeatAnswer {
    const FIELDS_BYTES_MIN: usize = 66;

    fn write_fields(&self, out: &mut Writer) {
        let Self { answer, beat, config, by_standby } = self;
        let HeartbeatAnswer { sequence, sent, lease, routing, timeline, .. } = answer;
        let HeartbeatAnswer { leases, moves, unknown, fenced, .. } = answer;
        beat.write(out);
        config.write(out);
        by_standby.write(out);
        sequence.write(out);
        sent.write(out);
        lease.write(out);
        routing.write(out);
        timeline.write(out);
        fenced.write(out);
        write_list(leases, out);
        write_list(moves, out);
        write_list(unknown, out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let beat = Field::read("beat", from)?;
        let config = Field::read("config", from)?;
        let by_standby = Field::read("by standby", from)?;
        let answer = HeartbeatAnswer {
            sequence: Field::read("sequence", from)?,
            sent: Field::read("sent", from)?,
            lease: Field::read("lease", from)?,
            routing: Field::read("routing", from)?,
            timeline: Field::read("timeline", from)?,
            fenced: Field::read("fenced", from)?,
            leases: read_list("leases", TARGETS_MAX, from)?,
            moves: read_list("moves", TARGETS_MAX, from)?,
            unknown: read_list("unknown targets", TARGETS_MAX, from)?,
        };
        Ok(Self { answer, beat, config, by_standby })
    }
}

impl Fields for Lease {
    const FIELDS_BYTES_MIN: usize = 24;

    fn write_fields(&self, out: &mut Writer) {
        let Self { target, incarnation, chain, version } = self;
        target.write(out);
        incarnation.write(out);
        chain.write(out);
        version.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            target: Field::read("target", from)?,
            incarnation: Field::read("incarnation", from)?,
            chain: Field::read("chain", from)?,
            version: Field::read("version", from)?,
        })
    }
}

impl Fields for Move {
    const FIELDS_BYTES_MIN: usize = 22;

    fn write_fields(&self, out: &mut Writer) {
        let Self { target, chain, info } = self;
        target.write(out);
        chain.write(out);
        info.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            target: Field::read("target", from)?,
            chain: Field::read("chain", from)?,
            info: Field::read("info", from)?,
        })
    }
}

impl Fields for FenceError {
    const FIELDS_BYTES_MIN: usize = 21;

    fn write_fields(&self, out: &mut Writer) {
        match self {
            Self::Beyond { node, found, published } => {
                out.u8(1);
                node.write(out);
                found.write(out);
                published.write(out);
            }
            Self::FormerStart { node, found, known } => {
                out.u8(2);
                node.write(out);
                found.write(out);
                known.write(out);
            }
            Self::NotDrained { node, incarnation, found, needed } => {
                out.u8(3);
                node.write(out);
                incarnation.write(out);
                found.write(out);
                needed.write(out);
            }
        }
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8("fenced")? {
            1 => Self::Beyond {
                node: Field::read("node", from)?,
                found: Field::read("found", from)?,
                published: Field::read("published", from)?,
            },
            2 => Self::FormerStart {
                node: Field::read("node", from)?,
                found: Field::read("found", from)?,
                known: Field::read("known", from)?,
            },
            3 => Self::NotDrained {
                node: Field::read("node", from)?,
                incarnation: Field::read("incarnation", from)?,
                found: Field::read("found", from)?,
                needed: Field::read("needed", from)?,
            },
            found => return Err(from.bad_number("fenced", found.into(), "1 to 3")),
        })
    }
}
