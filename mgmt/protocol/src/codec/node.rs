//! Nodes: how they register, how managers are reached, their records.
//!
//! ```text
//! Register     uuid u128, node (option) u32, role u8, incarnation u64, domain text,
//!              addresses list of texts
//! Registered   node u32, beat duration
//! contact      node u32, incarnation u64, addresses list of texts                        row
//! NodeRow      node u32, record of the node, state u8, silent duration,
//!              clock away (option) i64, targets u32, serving u32                         row
//! ```

use engine_types::limits::NODE_ADDRESSES_MAX;
use engine_types::{Incarnation, NodeId, NodeRole, NodeState, StoreId};
use mgmt_cluster::fields::{DecodeError, Reader, Writer};
use mgmt_cluster::lease::{ADDRESS_BYTES_MAX, Contact};
use mgmt_cluster::record::codec::NAME_BYTES_MAX;
use mgmt_cluster::record::{NodeRecord, Record, RecordKey};
use mgmt_cluster::registry::Registration;

use super::{Field, Fields, messages, numbered, read_texts, write_texts};
use crate::message::{NodeRow, Register, Registered};

/// Largest record of a node: 8 addresses, 32 tags and a domain take 9 KB; later versions grow.
const NODE_RECORD_BYTES_MAX: usize = 32 << 10;

messages! {
    Register = "registration";
    Registered = "answer to a registration";
}

numbered! {
    NodeState { Alive = 1, Draining = 2, Dead = 3, } "1 to 3";
}

impl Field for NodeRole {
    const BYTES_MIN: usize = 1;

    fn write(&self, out: &mut Writer) {
        out.u8(self.code());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = from.u8(field)?;
        Self::from_code(code).ok_or_else(|| from.bad_number(field, code.into(), "a known role"))
    }
}

/// A record with the frame that it has in the KV.
impl Field for NodeRecord {
    /// Its length and its head.
    const BYTES_MIN: usize = 9;

    fn write(&self, out: &mut Writer) {
        out.bytes(&Record::Node(self.clone()).encode());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = from.bytes(field, NODE_RECORD_BYTES_MAX)?;
        // The key says the kind of record; which node it is of is not in the record.
        match Record::decode(&RecordKey::Node(NodeId::new(0)), bytes)? {
            Record::Node(record) => Ok(record),
            other => unreachable!("E299: decoded under the key of a node: {other:?}"),
        }
    }
}

impl Fields for Contact {
    const FIELDS_BYTES_MIN: usize = 16;

    fn write_fields(&self, out: &mut Writer) {
        self.node.write(out);
        self.incarnation.write(out);
        write_texts(&self.addresses, out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node: Field::read("node", from)?,
            incarnation: Field::read("incarnation", from)?,
            addresses: read_texts("addresses", NODE_ADDRESSES_MAX, ADDRESS_BYTES_MAX, from)?,
        })
    }
}

impl Fields for Register {
    const FIELDS_BYTES_MIN: usize = 34;

    fn write_fields(&self, out: &mut Writer) {
        let Registration { node, uuid, role, addresses, incarnation, domain } = &self.wanted;
        uuid.write(out);
        node.write(out);
        role.write(out);
        incarnation.write(out);
        out.text(domain);
        write_texts(addresses, out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let uuid = StoreId::read("uuid", from)?;
        let node = Option::<NodeId>::read("node", from)?;
        let role = NodeRole::read("role", from)?;
        let incarnation = Incarnation::read("incarnation", from)?;
        let domain = from.text("domain", NAME_BYTES_MAX)?;
        let addresses = read_texts("addresses", NODE_ADDRESSES_MAX, ADDRESS_BYTES_MAX, from)?;
        let wanted = Registration { node, uuid, role, addresses, incarnation, domain };
        Ok(Self { wanted })
    }
}

impl Fields for Registered {
    const FIELDS_BYTES_MIN: usize = 12;

    fn write_fields(&self, out: &mut Writer) {
        let Self { node, beat } = self;
        node.write(out);
        beat.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { node: Field::read("node", from)?, beat: Field::read("beat", from)? })
    }
}

impl Fields for NodeRow {
    const FIELDS_BYTES_MIN: usize = 31;

    fn write_fields(&self, out: &mut Writer) {
        let Self { node, record, state, silent, clock_away, targets, serving } = self;
        node.write(out);
        record.write(out);
        state.write(out);
        silent.write(out);
        clock_away.write(out);
        targets.write(out);
        serving.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node: Field::read("node", from)?,
            record: Field::read("record", from)?,
            state: Field::read("state", from)?,
            silent: Field::read("silent", from)?,
            clock_away: Field::read("clock away", from)?,
            targets: Field::read("targets", from)?,
            serving: Field::read("serving", from)?,
        })
    }
}
