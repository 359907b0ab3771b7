//! Sessions of clients.
//!
//! ```text
//! SessionAsk    tag u8: 1 open      uuid u128, epoch u32, process u32, name text, host text
//!                       2 extend    session u64
//!                       3 close     session u64
//!                       4 fenced    session u64
//!                       5 ended     list of u64
//! SessionTold   tag u8: 1 opened    session u64, timeout duration, timeline u32
//!                       2 extended  timeout duration
//!                       3 closed    nothing
//!                       4 fenced    fenced bool, waits for list of u32
//!                       5 ended     list of u64
//! SessionRow    session u64, record of the session, silent (option) duration, fenced bool    row
//! ```

use engine_types::{SessionId, StoreId};
use mgmt_cluster::fields::{DecodeError, Reader, Writer};
use mgmt_cluster::session::{Client, NAME_BYTES_MAX, SessionRecord};

use super::{Field, Fields, messages, read_list, write_list};
use crate::message::{SESSIONS_ASKED_MAX, SessionAsk, SessionRow, SessionTold};

/// Largest record of a session: two names take 560 bytes; later versions grow.
const SESSION_RECORD_BYTES_MAX: usize = 8 << 10;

/// Nodes that an answer names: a person reads them, and the answer has 16 KiB of room.
const WAITS_FOR_MAX: usize = 1024;

messages! {
    SessionAsk = "request of a session";
    SessionTold = "answer about a session";
}

impl Fields for SessionAsk {
    const FIELDS_BYTES_MIN: usize = 5;

    fn write_fields(&self, out: &mut Writer) {
        let (tag, session) = match self {
            Self::Open(client) => {
                out.u8(1);
                return write_client(client, out);
            }
            Self::Extend(session) => (2, session),
            Self::Close(session) => (3, session),
            Self::Fenced(session) => (4, session),
            Self::Ended(sessions) => {
                out.u8(5);
                return write_sessions(sessions, out);
            }
        };
        out.u8(tag);
        session.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8("tag")? {
            1 => Self::Open(read_client(from)?),
            2 => Self::Extend(Field::read("session", from)?),
            3 => Self::Close(Field::read("session", from)?),
            4 => Self::Fenced(Field::read("session", from)?),
            5 => Self::Ended(read_list("sessions", SESSIONS_ASKED_MAX, from)?),
            found => return Err(from.bad_number("tag", found.into(), "1 to 5")),
        })
    }
}

fn write_sessions(sessions: &[SessionId], out: &mut Writer) {
    write_list(&sessions[..sessions.len().min(SESSIONS_ASKED_MAX)], out);
}

fn write_client(client: &Client, out: &mut Writer) {
    let Client { uuid, epoch, process, name, host } = client;
    uuid.write(out);
    epoch.write(out);
    process.write(out);
    out.text(name);
    out.text(host);
}

fn read_client(from: &mut Reader<'_>) -> Result<Client, DecodeError> {
    Ok(Client {
        uuid: StoreId::read("client", from)?,
        epoch: Field::read("epoch", from)?,
        process: Field::read("process", from)?,
        name: from.text("name", NAME_BYTES_MAX)?,
        host: from.text("host", NAME_BYTES_MAX)?,
    })
}

impl Fields for SessionTold {
    const FIELDS_BYTES_MIN: usize = 1;

    fn write_fields(&self, out: &mut Writer) {
        match self {
            Self::Opened { session, timeout, timeline } => {
                out.u8(1);
                session.write(out);
                timeout.write(out);
                timeline.write(out);
            }
            Self::Extended { timeout } => {
                out.u8(2);
                timeout.write(out);
            }
            Self::Closed => out.u8(3),
            Self::Fenced { fenced, waits_for } => {
                out.u8(4);
                fenced.write(out);
                write_list(&waits_for[..waits_for.len().min(WAITS_FOR_MAX)], out);
            }
            Self::Ended(sessions) => {
                out.u8(5);
                write_sessions(sessions, out);
            }
        }
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8("tag")? {
            1 => Self::Opened {
                session: Field::read("session", from)?,
                timeout: Field::read("timeout", from)?,
                timeline: Field::read("timeline", from)?,
            },
            2 => Self::Extended { timeout: Field::read("timeout", from)? },
            3 => Self::Closed,
            4 => Self::Fenced {
                fenced: Field::read("fenced", from)?,
                waits_for: read_list("waits for", WAITS_FOR_MAX, from)?,
            },
            5 => Self::Ended(read_list("sessions", SESSIONS_ASKED_MAX, from)?),
            found => return Err(from.bad_number("tag", found.into(), "1 to 5")),
        })
    }
}

/// A record with the frame that it has in the KV.
impl Field for SessionRecord {
    /// Its length and its head.
    const BYTES_MIN: usize = 9;

    fn write(&self, out: &mut Writer) {
        out.bytes(&self.encode());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode(from.bytes(field, SESSION_RECORD_BYTES_MAX)?)
    }
}

impl Fields for SessionRow {
    const FIELDS_BYTES_MIN: usize = 19;

    fn write_fields(&self, out: &mut Writer) {
        let Self { session, record, silent, fenced } = self;
        session.write(out);
        record.write(out);
        silent.write(out);
        fenced.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            session: Field::read("session", from)?,
            record: Field::read("record", from)?,
            silent: Field::read("silent", from)?,
            fenced: Field::read("fenced", from)?,
        })
    }
}
