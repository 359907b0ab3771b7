//! Refusals.
//!
//! ```text
//! Refusal   code u16, message text, primary (option) contact of `node`
//! ```
//! The body of the reply repeats the code as its outcome.

use mgmt_cluster::fields::{DecodeError, Reader, Writer};

use super::{Field, Fields, cut, messages};
use crate::refusal::{Refusal, RefusalCode};

messages! {
    Refusal = "refusal";
}

impl Field for RefusalCode {
    const BYTES_MIN: usize = 2;

    fn write(&self, out: &mut Writer) {
        out.u16(self.code());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match from.u16(field)? {
            0 => Err(from.bad_number(field, 0, "1 or more")),
            code => Ok(Self::from_code(code)),
        }
    }
}

impl Fields for Refusal {
    const FIELDS_BYTES_MIN: usize = 7;

    fn write_fields(&self, out: &mut Writer) {
        let Self { code, message, primary } = self;
        code.write(out);
        out.text(cut(message, Self::MESSAGE_BYTES_MAX));
        primary.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            code: Field::read("code", from)?,
            message: from.text("message", Self::MESSAGE_BYTES_MAX)?,
            primary: Field::read("primary", from)?,
        })
    }
}
