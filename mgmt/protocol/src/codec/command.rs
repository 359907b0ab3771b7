//! Commands of operators. They stand at the end of an `Operation`.
//!
//! ```text
//! tag u8:  1 create chains          list of lists of new targets
//!          2 set table              table u32, chains list of u32
//!          3 add target             chain u32, new target
//!          4 remove target          target u64
//!          5 replace                target u64, new target
//!          6 drain target           target u64, bool
//!          7 adopt store            target u64, store u128
//!          8 set preferred order    chain u32, targets list of u64
//!          9 rotate                 chain u32
//!         10 give up to             target u64, accept data loss bool
//!         11 enable node            node u32, bool
//!         12 drain node             node u32, bool
//!         13 unregister node        node u32
//!         14 tag node               node u32, tag text, value (option) text
//!         15 stop chains            bool
//!         16 raise timeline         nothing
//! new target   node u32, core u16, store u128, disk u16                                  row
//! ```

use alloc::vec::Vec;

use engine_types::limits::{CHAIN_MEMBERS_MAX, CHAINS_MAX};
use mgmt_cluster::command::{Command, NewTarget};
use mgmt_cluster::fields::{DecodeError, Reader, Writer};
use mgmt_cluster::tags::{TAG_KEY_BYTES_MAX, TAG_VALUE_BYTES_MAX};

use super::{
    Field, Fields, read_count, read_list, read_text_option, write_list, write_text_option,
};

/// Bytes of an empty list.
const LIST_BYTES_MIN: usize = 4;

impl Fields for NewTarget {
    const FIELDS_BYTES_MIN: usize = 24;

    fn write_fields(&self, out: &mut Writer) {
        let Self { node, core, store, disk } = self;
        node.write(out);
        core.write(out);
        store.write(out);
        disk.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node: Field::read("node", from)?,
            core: Field::read("core", from)?,
            store: Field::read("store", from)?,
            disk: Field::read("disk", from)?,
        })
    }
}

pub(super) fn write_command(command: &Command, out: &mut Writer) {
    match command {
        Command::CreateChains(chains) => {
            out.u8(1);
            out.count(chains.len());
            chains.iter().for_each(|chain| write_list(chain, out));
        }
        Command::SetTable(table, chains) => {
            put(2, table, out);
            write_list(chains, out);
        }
        Command::AddTarget(chain, new) => put_two(3, chain, new, out),
        Command::RemoveTarget(target) => put(4, target, out),
        Command::Replace(target, new) => put_two(5, target, new, out),
        Command::DrainTarget(target, drain) => put_two(6, target, drain, out),
        Command::AdoptStore(target, store) => put_two(7, target, store, out),
        Command::SetPreferredOrder(chain, order) => {
            put(8, chain, out);
            write_list(order, out);
        }
        Command::Rotate(chain) => put(9, chain, out),
        Command::GiveUpTo { target, accept_data_loss } => {
            put_two(10, target, accept_data_loss, out);
        }
        Command::EnableNode(node, enable) => put_two(11, node, enable, out),
        Command::DrainNode(node, drain) => put_two(12, node, drain, out),
        Command::UnregisterNode(node) => put(13, node, out),
        Command::TagNode(node, tag, value) => {
            put(14, node, out);
            out.text(tag);
            write_text_option(value.as_ref(), out);
        }
        Command::StopChains(stop) => put(15, stop, out),
        Command::RaiseTimeline => out.u8(16),
    }
}

fn put(tag: u8, field: &impl Field, out: &mut Writer) {
    out.u8(tag);
    field.write(out);
}

fn put_two(tag: u8, one: &impl Field, other: &impl Field, out: &mut Writer) {
    put(tag, one, out);
    other.write(out);
}

pub(super) fn read_command(from: &mut Reader<'_>) -> Result<Command, DecodeError> {
    Ok(match from.u8("command")? {
        1 => Command::CreateChains(read_chains(from)?),
        2 => {
            let table = Field::read("table", from)?;
            Command::SetTable(table, read_list("chains", CHAINS_MAX, from)?)
        }
        3 => {
            let chain = Field::read("chain", from)?;
            Command::AddTarget(chain, Field::read("new target", from)?)
        }
        4 => Command::RemoveTarget(Field::read("target", from)?),
        5 => {
            let target = Field::read("target", from)?;
            Command::Replace(target, Field::read("new target", from)?)
        }
        6 => {
            let target = Field::read("target", from)?;
            Command::DrainTarget(target, Field::read("drain", from)?)
        }
        7 => {
            let target = Field::read("target", from)?;
            Command::AdoptStore(target, Field::read("store", from)?)
        }
        8 => {
            let chain = Field::read("chain", from)?;
            let order = read_list("preferred order", CHAIN_MEMBERS_MAX, from)?;
            Command::SetPreferredOrder(chain, order)
        }
        9 => Command::Rotate(Field::read("chain", from)?),
        10 => Command::GiveUpTo {
            target: Field::read("target", from)?,
            accept_data_loss: Field::read("accept data loss", from)?,
        },
        tag => return read_node_command(tag, from),
    })
}

fn read_node_command(tag: u8, from: &mut Reader<'_>) -> Result<Command, DecodeError> {
    Ok(match tag {
        11 => {
            let node = Field::read("node", from)?;
            Command::EnableNode(node, Field::read("enable", from)?)
        }
        12 => {
            let node = Field::read("node", from)?;
            Command::DrainNode(node, Field::read("drain", from)?)
        }
        13 => Command::UnregisterNode(Field::read("node", from)?),
        14 => {
            let node = Field::read("node", from)?;
            let tag = from.text("tag", TAG_KEY_BYTES_MAX)?;
            let value = read_text_option("value of a tag", TAG_VALUE_BYTES_MAX, from)?;
            Command::TagNode(node, tag, value)
        }
        15 => Command::StopChains(Field::read("stop", from)?),
        16 => Command::RaiseTimeline,
        found => return Err(from.bad_number("command", found.into(), "1 to 16")),
    })
}

fn read_chains(from: &mut Reader<'_>) -> Result<Vec<Vec<NewTarget>>, DecodeError> {
    let count = read_count("chains", CHAINS_MAX, LIST_BYTES_MIN, from)?;
    let mut chains = Vec::with_capacity(count);
    for _ in 0..count {
        chains.push(read_list("targets of a chain", CHAIN_MEMBERS_MAX, from)?);
    }
    Ok(chains)
}
