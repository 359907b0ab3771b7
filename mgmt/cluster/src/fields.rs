//! The frame of every record in the KV and its fields: `engine_types::fields`, by the name under
//! which the records of the manager know it.

#[cfg(test)]
pub(crate) use engine_types::fields::check_decoder;
pub use engine_types::fields::{DecodeError, Reader, Writer};
