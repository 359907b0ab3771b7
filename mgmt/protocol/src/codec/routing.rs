//! Routing info: all of it, what changed, and pieces of all of it.
//!
//! ```text
//! RoutingInfo   cluster u128, version u64, timeline u32, revoked below u64, revoked list of u64,
//!               nodes map of u32, targets map of u64, chains map of u32, tables map of u32
//! RoutingAsk    timeline u32, since u64, wait duration, image (option) version u64, offset u64
//! RoutingTold   tag u8: 1 current
//!                       2 cluster u128, from u64, to u64, timeline u32, nodes, targets, chains and
//!                         tables maps of options, revoked (option): tag u8 (1 whole, 2 added),
//!                         below u64, sessions list of u64
//!                       3 version u64, total u64, offset u64, bytes as a text
//! ```
//! Entries are those of `info`. All chains of the largest cluster, with five members each, make an
//! image of 76 MB; 20,000 with three make one of 3.6 MB. It is written and read in linear time.
//!
//! Who decodes an image gets routing info that may be installed, or an error: the rules of
//! `RoutingInfo::validate` are checked here. A delta is judged when it is applied.

use alloc::string::ToString;

use engine_types::limits::{
    CHAIN_TABLES_MAX, CHAINS_MAX, NODES_MAX, PAYLOAD_BYTES_MAX, TARGETS_MAX,
};
use engine_types::{RoutingInfo, reached};
use mgmt_cluster::delta::{Delta, HISTORY_KEYS_MAX, Revoked, RevokedChange};
use mgmt_cluster::fields::{DecodeError, Reader, Writer};
use mgmt_cluster::session::SESSIONS_MAX;

use super::{Field, Fields, messages, read_map, read_set, write_map, write_set};
use crate::message::{RoutingAsk, RoutingTold};

/// Largest piece of an image: it travels as payload of one frame.
const PIECE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX as usize;

messages! {
    RoutingInfo = "routing info";
    RoutingAsk = "question for routing info";
    RoutingTold = "answer with routing info";
}

impl Fields for RoutingInfo {
    const FIELDS_BYTES_MIN: usize = 56;

    fn write_fields(&self, out: &mut Writer) {
        let Self { cluster, version, timeline, nodes, targets, chains, tables, .. } = self;
        cluster.write(out);
        version.write(out);
        timeline.write(out);
        self.revoked_below.write(out);
        write_set(&self.revoked, out);
        write_map(nodes, out);
        write_map(targets, out);
        write_map(chains, out);
        write_map(tables, out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let info = Self {
            cluster: Field::read("cluster", from)?,
            version: Field::read("version", from)?,
            timeline: Field::read("timeline", from)?,
            revoked_below: Field::read("revoked below", from)?,
            revoked: read_set("revoked sessions", SESSIONS_MAX, from)?,
            nodes: read_map("nodes", NODES_MAX, from)?,
            targets: read_map("targets", TARGETS_MAX, from)?,
            chains: read_map("chains", CHAINS_MAX, from)?,
            tables: read_map("tables", CHAIN_TABLES_MAX, from)?,
        };
        info.validate().map_err(|error| {
            reached!("E330: an image of routing info that must not be installed");
            from.bad_text("contents", error.to_string())
        })?;
        Ok(info)
    }
}

impl Fields for RoutingAsk {
    const FIELDS_BYTES_MIN: usize = 21;

    fn write_fields(&self, out: &mut Writer) {
        let Self { timeline, since, wait, image } = self;
        timeline.write(out);
        since.write(out);
        wait.write(out);
        image.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            timeline: Field::read("timeline", from)?,
            since: Field::read("since", from)?,
            wait: Field::read("wait", from)?,
            image: Field::read("image", from)?,
        })
    }
}

impl Fields for RoutingTold {
    const FIELDS_BYTES_MIN: usize = 1;

    fn write_fields(&self, out: &mut Writer) {
        match self {
            Self::Current => out.u8(1),
            Self::Delta(delta) => {
                out.u8(2);
                write_delta(delta, out);
            }
            Self::Image { version, total, offset, bytes } => {
                out.u8(3);
                version.write(out);
                total.write(out);
                offset.write(out);
                out.bytes(bytes);
            }
        }
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8("tag")? {
            1 => Self::Current,
            2 => Self::Delta(read_delta(from)?),
            3 => Self::Image {
                version: Field::read("version", from)?,
                total: Field::read("total", from)?,
                offset: Field::read("offset", from)?,
                bytes: from.bytes("piece", PIECE_BYTES_MAX)?.to_vec(),
            },
            found => return Err(from.bad_number("tag", found.into(), "1 to 3")),
        })
    }
}

fn write_delta(delta: &Delta, out: &mut Writer) {
    let Delta { cluster, from, to, timeline, nodes, targets, chains, tables, revoked } = delta;
    cluster.write(out);
    from.write(out);
    to.write(out);
    timeline.write(out);
    write_map(nodes, out);
    write_map(targets, out);
    write_map(chains, out);
    write_map(tables, out);
    revoked.is_some().write(out);
    if let Some(revoked) = revoked {
        let (tag, Revoked { below, sessions }) = match revoked {
            RevokedChange::Whole(revoked) => (1, revoked),
            RevokedChange::Added(revoked) => (2, revoked),
        };
        out.u8(tag);
        below.write(out);
        write_set(sessions, out);
    }
}

/// Its maps name removed entries too, and all together what the history remembers (E268).
fn read_delta(from: &mut Reader<'_>) -> Result<Delta, DecodeError> {
    Ok(Delta {
        cluster: Field::read("cluster", from)?,
        from: Field::read("from", from)?,
        to: Field::read("to", from)?,
        timeline: Field::read("timeline", from)?,
        nodes: read_map("nodes", HISTORY_KEYS_MAX, from)?,
        targets: read_map("targets", HISTORY_KEYS_MAX, from)?,
        chains: read_map("chains", HISTORY_KEYS_MAX, from)?,
        tables: read_map("tables", HISTORY_KEYS_MAX, from)?,
        revoked: bool::read("revoked", from)?.then(|| read_revoked(from)).transpose()?,
    })
}

fn read_revoked(from: &mut Reader<'_>) -> Result<RevokedChange, DecodeError> {
    let tag = from.u8("revoked")?;
    let below = Field::read("revoked below", from)?;
    let sessions = read_set("revoked sessions", SESSIONS_MAX, from)?;
    let revoked = Revoked { below, sessions };
    match tag {
        1 => Ok(RevokedChange::Whole(revoked)),
        2 => Ok(RevokedChange::Added(revoked)),
        found => Err(from.bad_number("revoked", found.into(), "1 or 2")),
    }
}

const _: () = assert!(HISTORY_KEYS_MAX <= SESSIONS_MAX);
