//! Bytes of keys and records.
//!
//! A key is `MGMT`, one letter for the kind, and ids in big-endian order, so that a range read of
//! `MGMT` gives everything that `Cluster::load` needs, and one of a table gives its versions in
//! order. A value is a frame (`fields`): a later version appends fields that are skipped here.
//!
//! Decoding never panics. What decodes is well-formed by itself (counts within limits, known
//! states); whether records fit together is for `Cluster::load`.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use engine_types::limits::{CHAIN_MEMBERS_MAX, NODE_ADDRESSES_MAX};
use engine_types::{
    ChainId, ChainTableId, ChainTableVersion, ChainVersion, ClusterId, CoreId, Incarnation, Member,
    NodeId, NodeRole, PublicState, RoutingVersion, StoreId, TargetId, Timeline,
};

use super::{
    ChainRecord, ClusterRecord, Departed, LastServer, Leaving, NodeRecord, Record, RecordKey,
    RoutingRecord, TABLE_PART_CHAINS, TableRecord, TargetRecord,
};
use crate::fields::{DecodeError, Reader, Writer};
use crate::tags::{TAG_KEY_BYTES_MAX, TAG_VALUE_BYTES_MAX, TAGS_MAX};

/// What every key begins with.
pub const KEY_PREFIX: &[u8] = b"MGMT";
/// Bytes of an address: a DNS name of 253 and a port.
pub const ADDRESS_BYTES_MAX: usize = 260;
/// Bytes of the name of a cluster or of a failure domain, for people.
pub const NAME_BYTES_MAX: usize = 256;
/// The format that is written.
const VERSION: u8 = 1;

/// Bytes are no key of a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key of a record: {found:?}")]
pub struct KeyError {
    /// The bytes.
    pub found: Vec<u8>,
}

#[expect(clippy::big_endian_bytes, reason = "keys are ordered bytewise, and ids by number")]
mod order {
    pub(super) const fn u32(id: u32) -> [u8; 4] {
        id.to_be_bytes()
    }

    pub(super) const fn u64(id: u64) -> [u8; 8] {
        id.to_be_bytes()
    }

    pub(super) const fn from_u32(bytes: [u8; 4]) -> u32 {
        u32::from_be_bytes(bytes)
    }

    pub(super) const fn from_u64(bytes: [u8; 8]) -> u64 {
        u64::from_be_bytes(bytes)
    }
}

impl RecordKey {
    /// The key in the KV.
    pub fn encode(&self) -> Vec<u8> {
        let mut key = KEY_PREFIX.to_vec();
        match self {
            Self::Cluster => key.push(b'!'),
            Self::Routing => key.push(b'#'),
            Self::Node(id) => {
                key.push(b'n');
                key.extend(order::u32(id.get()));
            }
            Self::Target(id) => {
                key.push(b't');
                key.extend(order::u64(id.get()));
            }
            Self::Chain(id) => {
                key.push(b'c');
                key.extend(order::u32(id.get()));
            }
            Self::Table(id, version, part) => {
                key.push(b'l');
                key.extend(order::u32(id.get()));
                key.extend(order::u32(version.get()));
                key.extend(order::u32(*part));
            }
        }
        key
    }

    /// The inverse of `encode`.
    ///
    /// # Errors
    /// Bytes that `encode` never gives.
    pub fn decode(key: &[u8]) -> Result<Self, KeyError> {
        let parsed = key.strip_prefix(KEY_PREFIX).and_then(|rest| {
            let (&kind, id) = rest.split_first()?;
            let number = || Some(order::from_u32(*id.as_array()?));
            match kind {
                b'!' => id.is_empty().then_some(Self::Cluster),
                b'#' => id.is_empty().then_some(Self::Routing),
                b'n' => number().map(NodeId::new).map(Self::Node),
                b't' => {
                    let id = order::from_u64(*id.as_array()?);
                    Some(Self::Target(TargetId::new(id)))
                }
                b'c' => number().and_then(ChainId::new).map(Self::Chain),
                b'l' => {
                    let (table, rest) = id.split_at_checked(4)?;
                    let (version, part) = rest.split_at_checked(4)?;
                    let table = ChainTableId::new(order::from_u32(*table.as_array()?));
                    let version = order::from_u32(*version.as_array()?);
                    let part = order::from_u32(*part.as_array()?);
                    Some(Self::Table(table, ChainTableVersion::new(version), part))
                }
                _ => None,
            }
        });
        parsed.ok_or_else(|| KeyError { found: key.to_vec() })
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Routing => "routing",
            Self::Node(_) => "node",
            Self::Target(_) => "target",
            Self::Chain(_) => "chain",
            Self::Table(..) => "chain table",
        }
    }
}

impl Record {
    /// The value in the KV.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        match self {
            Self::Cluster(record) => encode_cluster(record, &mut out),
            Self::Routing(record) => out.u64(record.reserved.get()),
            Self::Node(record) => encode_node(record, &mut out),
            Self::Target(record) => encode_target(record, &mut out),
            Self::Chain(record) => encode_chain(record, &mut out),
            Self::Table(record) => {
                write_count(record.chains.len(), &mut out);
                record.chains.iter().for_each(|chain| out.u32(chain.get()));
            }
        }
        out.finish()
    }

    /// The record under `key`.
    ///
    /// # Errors
    /// What is wrong with the bytes, with the kind of record and the field.
    pub fn decode(key: &RecordKey, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(key.kind(), bytes)?;
        Ok(match key {
            RecordKey::Cluster => Self::Cluster(decode_cluster(&mut from)?),
            RecordKey::Routing => {
                let reserved = RoutingVersion::new(from.u64("reserved")?);
                Self::Routing(RoutingRecord { reserved })
            }
            RecordKey::Node(_) => Self::Node(decode_node(&mut from)?),
            RecordKey::Target(_) => Self::Target(decode_target(&mut from)?),
            RecordKey::Chain(_) => Self::Chain(decode_chain(&mut from)?),
            RecordKey::Table(..) => {
                let chains = read_list("chains", TABLE_PART_CHAINS, &mut from, read_chain_id)?;
                Self::Table(TableRecord { chains })
            }
        })
    }
}

fn encode_cluster(record: &ClusterRecord, out: &mut Writer) {
    out.u128(record.id.get());
    out.u32(record.timeline.get());
    out.u8(record.stopped.into());
    out.u32(record.next_node);
    out.u64(record.next_target);
    out.u32(record.next_chain);
    out.text(&record.name);
}

fn decode_cluster(from: &mut Reader<'_>) -> Result<ClusterRecord, DecodeError> {
    Ok(ClusterRecord {
        id: ClusterId::new(from.u128("id")?),
        timeline: Timeline::new(from.u32("timeline")?),
        stopped: read_bool("stopped", from)?,
        next_node: from.u32("next node")?,
        next_target: from.u64("next target")?,
        next_chain: from.u32("next chain")?,
        name: from.text("name", NAME_BYTES_MAX)?,
    })
}

fn encode_node(record: &NodeRecord, out: &mut Writer) {
    out.u128(record.uuid.get());
    out.u8(record.role.code());
    out.u8(record.enabled.into());
    out.u8(record.draining.into());
    out.u64(record.incarnation.get());
    out.text(&record.domain);
    write_count(record.addresses.len(), out);
    record.addresses.iter().for_each(|address| out.text(address));
    write_count(record.tags.len(), out);
    for (tag, value) in &record.tags {
        out.text(tag);
        out.text(value);
    }
}

fn decode_node(from: &mut Reader<'_>) -> Result<NodeRecord, DecodeError> {
    let uuid = StoreId::new(from.u128("uuid")?);
    if uuid == StoreId::new(0) {
        return Err(from.bad_number("uuid", 0, "another number than 0"));
    }
    let code = from.u8("role")?;
    let role = NodeRole::from_code(code);
    let role = role.ok_or_else(|| from.bad_number("role", code.into(), "a known role"))?;
    let enabled = read_bool("enabled", from)?;
    let draining = read_bool("draining", from)?;
    let incarnation = Incarnation::new(from.u64("incarnation")?);
    let domain = from.text("domain", NAME_BYTES_MAX)?;
    let text = |from: &mut Reader<'_>| from.text("address", ADDRESS_BYTES_MAX);
    let addresses = read_list("addresses", NODE_ADDRESSES_MAX, from, text)?;
    let tag = |from: &mut Reader<'_>| {
        let tag = from.text("tag", TAG_KEY_BYTES_MAX)?;
        Ok((tag, from.text("value of a tag", TAG_VALUE_BYTES_MAX)?))
    };
    let tags: Vec<(String, String)> = read_list("tags", TAGS_MAX, from, tag)?;
    let tags = BTreeMap::from_iter(tags);
    Ok(NodeRecord { uuid, role, addresses, incarnation, enabled, draining, domain, tags })
}

fn encode_target(record: &TargetRecord, out: &mut Writer) {
    out.u32(record.node.get());
    out.u32(record.core.get().into());
    out.u128(record.store.get());
    out.u32(record.chain.get());
    out.u32(record.disk.into());
    out.u32(record.created.get());
    let (leaving, new) = match record.leaving {
        Leaving::No => (0, 0),
        Leaving::Drained => (1, 0),
        Leaving::ReplacedBy(new) => (2, new.get()),
    };
    out.u8(leaving);
    out.u64(new);
}

fn decode_target(from: &mut Reader<'_>) -> Result<TargetRecord, DecodeError> {
    Ok(TargetRecord {
        node: NodeId::new(from.u32("node")?),
        core: CoreId::new(read_u16("core", from)?),
        store: StoreId::new(from.u128("store")?),
        chain: read_chain_id(from)?,
        disk: read_u16("disk", from)?,
        created: Timeline::new(from.u32("created")?),
        leaving: match (from.u8("leaving")?, from.u64("replaced by")?) {
            (0, _) => Leaving::No,
            (1, _) => Leaving::Drained,
            (2, new) => Leaving::ReplacedBy(TargetId::new(new)),
            (found, _) => return Err(from.bad_number("leaving", found.into(), "0, 1 or 2")),
        },
    })
}

fn encode_chain(record: &ChainRecord, out: &mut Writer) {
    out.u32(record.version.get());
    write_count(record.members.len(), out);
    for member in &record.members {
        out.u64(member.target.get());
        out.u8(state_code(member.state));
        out.u64(member.incarnation.get());
    }
    write_count(record.last_serving.len(), out);
    for last in &record.last_serving {
        out.u64(last.target.get());
        out.u128(last.store.get());
    }
    write_count(record.preferred.len(), out);
    record.preferred.iter().for_each(|target| out.u64(target.get()));
    write_count(record.departed.len(), out);
    for departed in &record.departed {
        out.u64(departed.target.get());
        out.u64(departed.incarnation.get());
    }
}

fn decode_chain(from: &mut Reader<'_>) -> Result<ChainRecord, DecodeError> {
    let version = ChainVersion::new(from.u32("version")?);
    let members = read_list("members", CHAIN_MEMBERS_MAX, from, |from| {
        let target = TargetId::new(from.u64("member")?);
        let state = read_state(from)?;
        let incarnation = Incarnation::new(from.u64("incarnation")?);
        Ok(Member { target, state, incarnation })
    })?;
    let last_serving = read_list("last serving set", CHAIN_MEMBERS_MAX, from, |from| {
        let target = TargetId::new(from.u64("last server")?);
        Ok(LastServer { target, store: StoreId::new(from.u128("its store")?) })
    })?;
    let preferred = read_list("preferred order", CHAIN_MEMBERS_MAX, from, |from| {
        Ok(TargetId::new(from.u64("preferred")?))
    })?;
    let departed = read_list("departed", CHAIN_MEMBERS_MAX, from, |from| {
        let target = TargetId::new(from.u64("departed")?);
        Ok(Departed { target, incarnation: Incarnation::new(from.u64("its incarnation")?) })
    })?;
    Ok(ChainRecord { version, members, last_serving, preferred, departed })
}

/// The number of a state in records.
const fn state_code(state: PublicState) -> u8 {
    match state {
        PublicState::Serving => 1,
        PublicState::Syncing => 2,
        PublicState::Waiting => 3,
        PublicState::LastServing => 4,
        PublicState::Offline => 5,
    }
}

fn read_state(from: &mut Reader<'_>) -> Result<PublicState, DecodeError> {
    Ok(match from.u8("state")? {
        1 => PublicState::Serving,
        2 => PublicState::Syncing,
        3 => PublicState::Waiting,
        4 => PublicState::LastServing,
        5 => PublicState::Offline,
        found => return Err(from.bad_number("state", found.into(), "1 to 5")),
    })
}

fn read_chain_id(from: &mut Reader<'_>) -> Result<ChainId, DecodeError> {
    let id = ChainId::new(from.u32("chain")?);
    id.ok_or_else(|| from.bad_number("chain", 0, "1 or more"))
}

fn read_u16(field: &'static str, from: &mut Reader<'_>) -> Result<u16, DecodeError> {
    let found = from.u32(field)?;
    u16::try_from(found).map_err(|_| from.bad_number(field, found.into(), "at most 65535"))
}

fn read_bool(field: &'static str, from: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match from.u8(field)? {
        0 => Ok(false),
        1 => Ok(true),
        found => Err(from.bad_number(field, found.into(), "0 or 1")),
    }
}

fn write_count(count: usize, out: &mut Writer) {
    out.u32(u32::try_from(count).expect("lists are bounded far below 2^32"));
}

/// A count and as many elements. Memory is taken as they come, not as the count says.
fn read_list<T>(
    field: &'static str,
    max: usize,
    from: &mut Reader<'_>,
    read: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = from.u32(field)?;
    if max < usize::try_from(count).unwrap_or(usize::MAX) {
        return Err(from.bad_number(field, count.into(), "no more than the limit of the list"));
    }
    (0..count).map(|_| read(from)).collect()
}

#[cfg(test)]
mod tests;
