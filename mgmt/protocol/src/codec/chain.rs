//! Chains as the primary knows them, for people.
//!
//! ```text
//! ChainRow      chain u32, chain of `info`, members list of rows, last serving list of rows,
//!               preferred list of u64, reasons list of texts                             row
//! ChainMember   node u32, store u128, disk u16, leaving, local (option) u8               row
//! last server   target u64, store u128                                                   row
//! leaving       tag u8: 0 no, 1 drained, 2 replaced by: target u64
//! ```
//! Reasons beyond `REASONS_MAX` are left out and long ones are cut, so that the row has room.

use engine_types::limits::CHAIN_MEMBERS_MAX;
use mgmt_cluster::fields::{DecodeError, Reader, Writer};
use mgmt_cluster::record::{LastServer, Leaving};

use super::{Field, Fields, cut, read_list, read_texts, write_list};
use crate::message::{ChainMember, ChainRow};

/// Reasons of one chain: some for each of five members; the most important ones come first.
const REASONS_MAX: usize = 32;
/// Longest reason: a sentence or two.
const REASON_BYTES_MAX: usize = 1024;

impl Fields for ChainRow {
    const FIELDS_BYTES_MIN: usize = 30;

    fn write_fields(&self, out: &mut Writer) {
        let Self { chain, info, members, last_serving, preferred, reasons } = self;
        chain.write(out);
        info.write(out);
        write_list(members, out);
        write_list(last_serving, out);
        write_list(preferred, out);
        let reasons = &reasons[..reasons.len().min(REASONS_MAX)];
        out.count(reasons.len());
        reasons.iter().for_each(|reason| out.text(cut(reason, REASON_BYTES_MAX)));
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            chain: Field::read("chain", from)?,
            info: Field::read("info", from)?,
            members: read_list("members", CHAIN_MEMBERS_MAX, from)?,
            last_serving: read_list("last serving set", CHAIN_MEMBERS_MAX, from)?,
            preferred: read_list("preferred order", CHAIN_MEMBERS_MAX, from)?,
            reasons: read_texts("reasons", REASONS_MAX, REASON_BYTES_MAX, from)?,
        })
    }
}

impl Fields for ChainMember {
    const FIELDS_BYTES_MIN: usize = 24;

    fn write_fields(&self, out: &mut Writer) {
        let Self { node, store, disk, leaving, local } = self;
        node.write(out);
        store.write(out);
        disk.write(out);
        leaving.write(out);
        local.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node: Field::read("node", from)?,
            store: Field::read("store", from)?,
            disk: Field::read("disk", from)?,
            leaving: Field::read("leaving", from)?,
            local: Field::read("local state", from)?,
        })
    }
}

impl Fields for LastServer {
    const FIELDS_BYTES_MIN: usize = 24;

    fn write_fields(&self, out: &mut Writer) {
        let Self { target, store } = self;
        target.write(out);
        store.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { target: Field::read("last server", from)?, store: Field::read("store", from)? })
    }
}

impl Field for Leaving {
    const BYTES_MIN: usize = 1;

    fn write(&self, out: &mut Writer) {
        match self {
            Self::No => out.u8(0),
            Self::Drained => out.u8(1),
            Self::ReplacedBy(target) => {
                out.u8(2);
                target.write(out);
            }
        }
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8(field)? {
            0 => Self::No,
            1 => Self::Drained,
            2 => Self::ReplacedBy(Field::read(field, from)?),
            found => return Err(from.bad_number(field, found.into(), "0 to 2")),
        })
    }
}
