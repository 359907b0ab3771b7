//! Answers to questions.
//!
//! ```text
//! tag u8:  1 nodes            more bool, list of rows of `node`
//!          2 chains           more bool, list of rows of `chain`
//!          3 table            version u32, more bool, chains list of u32
//!          4 sessions         more bool, list of rows of `session`
//!          5 config           entry (option) record
//!          6 config history   list of records
//!          7 drain            targets u64, serving u64, last servers u64,
//!                             waiting for leases u64
//! ```

use engine_types::limits::{CHAINS_MAX, NODES_MAX};
use mgmt_cluster::config::{
    CONFIG_HISTORY_MAX, CONFIG_NOTE_BYTES_MAX, CONFIG_TEXT_BYTES_MAX, ConfigEntry,
};
use mgmt_cluster::explain::DrainProgress;
use mgmt_cluster::fields::{DecodeError, Reader, Writer};
use mgmt_cluster::session::SESSIONS_MAX;

use super::{Field, Fields, messages, read_list, write_list};
use crate::message::Answer;

/// Largest record of a version of settings, twice what they take: later versions grow.
const CONFIG_RECORD_BYTES_MAX: usize = 2 * (CONFIG_TEXT_BYTES_MAX + CONFIG_NOTE_BYTES_MAX);

messages! {
    Answer = "answer to a question";
}

impl Fields for Answer {
    const FIELDS_BYTES_MIN: usize = 2;

    fn write_fields(&self, out: &mut Writer) {
        match self {
            Self::Nodes { rows, more } => write_page(1, rows, *more, out),
            Self::Chains { rows, more } => write_page(2, rows, *more, out),
            Self::Table { version, chains, more } => {
                out.u8(3);
                version.write(out);
                more.write(out);
                write_list(chains, out);
            }
            Self::Sessions { rows, more } => write_page(4, rows, *more, out),
            Self::Config(entry) => {
                out.u8(5);
                entry.write(out);
            }
            Self::ConfigHistory(entries) => {
                out.u8(6);
                write_list(entries, out);
            }
            Self::Drain(progress) => {
                out.u8(7);
                write_drain(progress, out);
            }
        }
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8("answer")? {
            1 => {
                let more = Field::read("more", from)?;
                Self::Nodes { rows: read_list("nodes", NODES_MAX, from)?, more }
            }
            2 => {
                let more = Field::read("more", from)?;
                Self::Chains { rows: read_list("chains", CHAINS_MAX, from)?, more }
            }
            3 => {
                let version = Field::read("version", from)?;
                let more = Field::read("more", from)?;
                Self::Table { version, chains: read_list("chains", CHAINS_MAX, from)?, more }
            }
            4 => {
                let more = Field::read("more", from)?;
                Self::Sessions { rows: read_list("sessions", SESSIONS_MAX, from)?, more }
            }
            5 => Self::Config(Field::read("config", from)?),
            6 => Self::ConfigHistory(read_list("config", CONFIG_HISTORY_MAX, from)?),
            7 => Self::Drain(read_drain(from)?),
            found => return Err(from.bad_number("answer", found.into(), "1 to 7")),
        })
    }
}

fn write_page<T: Field>(tag: u8, rows: &[T], more: bool, out: &mut Writer) {
    out.u8(tag);
    more.write(out);
    write_list(rows, out);
}

/// A record with the frame that it has in the KV.
impl Field for ConfigEntry {
    /// Its length and its head.
    const BYTES_MIN: usize = 9;

    fn write(&self, out: &mut Writer) {
        out.bytes(&self.encode());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode(from.bytes(field, CONFIG_RECORD_BYTES_MAX)?)
    }
}

fn write_drain(progress: &DrainProgress, out: &mut Writer) {
    let DrainProgress { targets, serving, last_servers, waiting_for_leases } = progress;
    targets.write(out);
    serving.write(out);
    last_servers.write(out);
    waiting_for_leases.write(out);
}

fn read_drain(from: &mut Reader<'_>) -> Result<DrainProgress, DecodeError> {
    Ok(DrainProgress {
        targets: Field::read("targets", from)?,
        serving: Field::read("serving", from)?,
        last_servers: Field::read("last servers", from)?,
        waiting_for_leases: Field::read("waiting for leases", from)?,
    })
}
