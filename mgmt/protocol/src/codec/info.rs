//! Entries of the routing info: nodes, targets, chains, tables.
//!
//! ```text
//! node      role u8, state u8, incarnation u64, addresses list of texts                  row
//! target    node u32, core u16, store u128, chain u32                                    row
//! chain     version u32, members list of rows                                            row
//! member    target u64, state u8, incarnation u64                                        row
//! table     version u32, chains list of u32                                              record
//! ```
//! A table is a record, as a row has no room for its chains.

use engine_types::limits::{CHAIN_MEMBERS_MAX, CHAINS_MAX, NODE_ADDRESSES_MAX};
use engine_types::{ChainInfo, ChainTable, Member, NodeInfo, PublicState, TargetInfo};
use mgmt_cluster::fields::{DecodeError, Reader, Writer};
use mgmt_cluster::lease::ADDRESS_BYTES_MAX;

use super::{Field, Fields, VERSION, numbered, read_list, read_texts, write_list, write_texts};

const TABLE: &str = "chain table";
/// Largest table: all chains, and room for later versions.
const TABLE_BYTES_MAX: usize = 2 * 4 * CHAINS_MAX;

numbered! {
    PublicState {
        Serving = 1,
        Syncing = 2,
        Waiting = 3,
        LastServing = 4,
        Offline = 5,
    } "1 to 5";
}

impl Fields for NodeInfo {
    const FIELDS_BYTES_MIN: usize = 14;

    fn write_fields(&self, out: &mut Writer) {
        let Self { role, addresses, incarnation, state } = self;
        role.write(out);
        state.write(out);
        incarnation.write(out);
        write_texts(addresses, out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            role: Field::read("role", from)?,
            state: Field::read("state", from)?,
            incarnation: Field::read("incarnation", from)?,
            addresses: read_texts("addresses", NODE_ADDRESSES_MAX, ADDRESS_BYTES_MAX, from)?,
        })
    }
}

impl Fields for TargetInfo {
    const FIELDS_BYTES_MIN: usize = 26;

    fn write_fields(&self, out: &mut Writer) {
        let Self { node, core, store, chain } = self;
        node.write(out);
        core.write(out);
        store.write(out);
        chain.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node: Field::read("node", from)?,
            core: Field::read("core", from)?,
            store: Field::read("store", from)?,
            chain: Field::read("chain", from)?,
        })
    }
}

impl Fields for ChainInfo {
    const FIELDS_BYTES_MIN: usize = 8;

    fn write_fields(&self, out: &mut Writer) {
        let Self { version, members } = self;
        version.write(out);
        write_list(members, out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = Field::read("chain version", from)?;
        Ok(Self { version, members: read_list("members", CHAIN_MEMBERS_MAX, from)? })
    }
}

impl Fields for Member {
    const FIELDS_BYTES_MIN: usize = 17;

    fn write_fields(&self, out: &mut Writer) {
        let Self { target, state, incarnation } = self;
        target.write(out);
        state.write(out);
        incarnation.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            target: Field::read("member", from)?,
            state: Field::read("state", from)?,
            incarnation: Field::read("incarnation", from)?,
        })
    }
}

impl Field for ChainTable {
    /// Length and head of the record, its version and a count.
    const BYTES_MIN: usize = 17;

    fn write(&self, out: &mut Writer) {
        let Self { version, chains } = self;
        let mut table = Writer::new(VERSION);
        version.write(&mut table);
        write_list(chains, &mut table);
        out.bytes(&table.finish());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut table = Reader::new(TABLE, from.bytes(field, TABLE_BYTES_MAX)?)?;
        let version = Field::read("version", &mut table)?;
        Ok(Self { version, chains: read_list("chains", CHAINS_MAX, &mut table)? })
    }
}
