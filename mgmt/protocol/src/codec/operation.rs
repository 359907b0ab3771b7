//! What an operator wants done, and that it is done.
//!
//! ```text
//! Operation   tag u8: 1 cluster           command of `command`
//!                     2 revoke sessions   sessions list of u64
//!                     3 set config        role u8, based on (option) u64, note text,
//!                                         changes list of: name text, value (option) text
//!                     4 replace config    role u8, based on u64, note text, settings text
//!                     5 hand over         nothing
//! Done        changed bool, config u64, chains list of u32, targets list of u64
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use engine_types::limits::{CHAINS_MAX, TARGETS_MAX};
use mgmt_cluster::config::{CONFIG_NOTE_BYTES_MAX, CONFIG_TEXT_BYTES_MAX, SETTING_NAME_BYTES_MAX};
use mgmt_cluster::fields::{DecodeError, Reader, Writer};
use mgmt_cluster::session::SESSION_ROWS_PER_CHANGE_MAX;

use super::command::{read_command, write_command};
use super::{
    Field, Fields, messages, read_count, read_list, read_text_option, write_list, write_text_option,
};
use crate::message::{Done, Operation};

/// Settings that one operation changes: more than a role has.
const CHANGES_MAX: usize = 1024;
/// A name of no bytes and no value.
const CHANGE_BYTES_MIN: usize = 5;

messages! {
    Operation = "operation";
    Done = "answer to an operation";
}

impl Fields for Operation {
    const FIELDS_BYTES_MIN: usize = 1;

    fn write_fields(&self, out: &mut Writer) {
        match self {
            Self::Cluster(command) => {
                out.u8(1);
                write_command(command, out);
            }
            Self::RevokeSessions(sessions) => {
                out.u8(2);
                write_list(sessions, out);
            }
            Self::SetConfig { role, based_on, changes, note } => {
                out.u8(3);
                role.write(out);
                based_on.write(out);
                out.text(note);
                out.count(changes.len());
                for (name, value) in changes {
                    out.text(name);
                    write_text_option(value.as_ref(), out);
                }
            }
            Self::ReplaceConfig { role, based_on, text, note } => {
                out.u8(4);
                role.write(out);
                based_on.write(out);
                out.text(note);
                out.text(text);
            }
            Self::HandOver => out.u8(5),
        }
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8("operation")? {
            1 => Self::Cluster(read_command(from)?),
            2 => {
                let sessions = read_list("sessions", SESSION_ROWS_PER_CHANGE_MAX, from)?;
                Self::RevokeSessions(sessions)
            }
            3 => Self::SetConfig {
                role: Field::read("role", from)?,
                based_on: Field::read("based on", from)?,
                note: from.text("note", CONFIG_NOTE_BYTES_MAX)?,
                changes: read_changes(from)?,
            },
            4 => Self::ReplaceConfig {
                role: Field::read("role", from)?,
                based_on: Field::read("based on", from)?,
                note: from.text("note", CONFIG_NOTE_BYTES_MAX)?,
                text: from.text("settings", CONFIG_TEXT_BYTES_MAX)?,
            },
            5 => Self::HandOver,
            found => return Err(from.bad_number("operation", found.into(), "1 to 5")),
        })
    }
}

fn read_changes(from: &mut Reader<'_>) -> Result<Vec<(String, Option<String>)>, DecodeError> {
    let count = read_count("changes", CHANGES_MAX, CHANGE_BYTES_MIN, from)?;
    let mut changes = Vec::with_capacity(count);
    for _ in 0..count {
        let name = from.text("name of a setting", SETTING_NAME_BYTES_MAX)?;
        changes.push((name, read_text_option("value", CONFIG_TEXT_BYTES_MAX, from)?));
    }
    Ok(changes)
}

impl Fields for Done {
    const FIELDS_BYTES_MIN: usize = 17;

    fn write_fields(&self, out: &mut Writer) {
        let Self { changed, chains, targets, config } = self;
        changed.write(out);
        config.write(out);
        write_list(chains, out);
        write_list(targets, out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            changed: Field::read("changed", from)?,
            config: Field::read("config", from)?,
            chains: read_list("chains", CHAINS_MAX, from)?,
            targets: read_list("targets", TARGETS_MAX, from)?,
        })
    }
}
