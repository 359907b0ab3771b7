//! What somebody wants to know.
//!
//! ```text
//! tag u8:  1 nodes            after u32
//!          2 chains           after (option) u32, unwhole bool
//!          3 chain            chain u32
//!          4 table            table u32, version (option) u32, from u32
//!          5 sessions         after (option) u64
//!          6 config           role u8
//!          7 config history   role u8
//!          8 drain            node u32
//! ```

use mgmt_cluster::fields::{DecodeError, Reader, Writer};

use super::{Field, Fields, messages};
use crate::message::Question;

messages! {
    Question = "question";
}

impl Fields for Question {
    const FIELDS_BYTES_MIN: usize = 2;

    fn write_fields(&self, out: &mut Writer) {
        match self {
            Self::Nodes(after) => {
                out.u8(1);
                after.write(out);
            }
            Self::Chains { after, unwhole } => {
                out.u8(2);
                after.write(out);
                unwhole.write(out);
            }
            Self::Chain(chain) => {
                out.u8(3);
                chain.write(out);
            }
            Self::Table { table, version, from } => {
                out.u8(4);
                table.write(out);
                version.write(out);
                from.write(out);
            }
            Self::Sessions(after) => {
                out.u8(5);
                after.write(out);
            }
            Self::Config(role) => {
                out.u8(6);
                role.write(out);
            }
            Self::ConfigHistory(role) => {
                out.u8(7);
                role.write(out);
            }
            Self::Drain(node) => {
                out.u8(8);
                node.write(out);
            }
        }
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8("question")? {
            1 => Self::Nodes(Field::read("after", from)?),
            2 => Self::Chains {
                after: Field::read("after", from)?,
                unwhole: Field::read("unwhole", from)?,
            },
            3 => Self::Chain(Field::read("chain", from)?),
            4 => Self::Table {
                table: Field::read("table", from)?,
                version: Field::read("version", from)?,
                from: Field::read("from", from)?,
            },
            5 => Self::Sessions(Field::read("after", from)?),
            6 => Self::Config(Field::read("role", from)?),
            7 => Self::ConfigHistory(Field::read("role", from)?),
            8 => Self::Drain(Field::read("node", from)?),
            found => return Err(from.bad_number("question", found.into(), "1 to 8")),
        })
    }
}
