//! Bytes of messages: what numbers, ids, options and lists look like, wherever they stand.
//!
//! A message is a frame of `mgmt_cluster::fields`; its fields stand in the order of the functions
//! that write them. What they consist of:
//! ```text
//!   id, number       as many bytes as its type has
//!   bool             u8: 0 or 1
//!   duration         u64 nanoseconds; longer ones are written as the longest, 584 years
//!   point in time    u64 nanoseconds on its owner's clock
//!   text, record     u32 length, bytes; a record has a frame and a version of its own
//!   option           u8: 0 or 1; then, if 1, the value
//!   list             u32 count, elements; of a map: keys ascending, each with its value
//!   row              u16 length, fields
//!   choice           u8 tag, then the fields of that choice
//! ```
//! Whatever has several fields and does not stand at the end of its message is a row, so a later
//! version can append fields to it, too. Each row has a length of its own, instead of one for all
//! rows of a list: that takes two bytes a row, and rows with and without lists and texts in them
//! are the same thing. Numbers and ids in lists stand bare and never grow.
//!
//! Tags never change their meaning. A tag of a later version is an error that names it.
//!
//! A count is compared with the limit of its list and with the bytes that are left before memory
//! is taken for it (E330).

mod answer;
mod beat;
mod chain;
mod command;
mod info;
mod manager;
mod node;
mod operation;
mod question;
mod refusal;
mod routing;
mod session;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use engine_types::{
    ChainId, ChainTableId, ChainTableVersion, ChainVersion, ClusterId, CoreId, Incarnation,
    Instant, NodeId, RoutingVersion, SessionId, StoreId, TargetId, Timeline, reached,
};
use mgmt_cluster::config::ConfigVersion;
use mgmt_cluster::fields::{DecodeError, Reader, Writer};

/// The format that is written.
const VERSION: u8 = 1;

/// What stands in a message by itself.
trait Field: Sized {
    /// The fewest bytes it takes, in every version.
    const BYTES_MIN: usize;

    fn write(&self, out: &mut Writer);

    /// `field` is its name, for errors.
    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// What a message or a row holds.
trait Fields: Sized {
    /// The fewest bytes that the fields take, in every version.
    const FIELDS_BYTES_MIN: usize;

    fn write_fields(&self, out: &mut Writer);

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// A row: inside of a message, several fields are always one.
impl<T: Fields> Field for T {
    const BYTES_MIN: usize = 2 + T::FIELDS_BYTES_MIN;

    fn write(&self, out: &mut Writer) {
        out.row(|row| self.write_fields(row));
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::read_fields(&mut from.row(field)?)
    }
}

/// Makes messages of what has fields.
macro_rules! messages {
    ($($message:ty = $name:literal;)*) => {
        $(impl crate::call::Message for $message {
            const NAME: &'static str = $name;

            fn encode(&self) -> alloc::vec::Vec<u8> {
                let mut out = mgmt_cluster::fields::Writer::new(crate::codec::VERSION);
                crate::codec::Fields::write_fields(self, &mut out);
                out.finish()
            }

            fn decode(bytes: &[u8]) -> Result<Self, mgmt_cluster::fields::DecodeError> {
                let mut from = mgmt_cluster::fields::Reader::new(Self::NAME, bytes)?;
                crate::codec::Fields::read_fields(&mut from)
            }
        })*
    };
}
use messages;

/// Enums without fields, by their numbers.
macro_rules! numbered {
    ($($name:ty { $($variant:ident = $code:literal,)* } $expected:literal;)*) => {
        $(impl crate::codec::Field for $name {
            const BYTES_MIN: usize = 1;

            fn write(&self, out: &mut mgmt_cluster::fields::Writer) {
                out.u8(match self {
                    $(Self::$variant => $code,)*
                });
            }

            fn read(
                field: &'static str,
                from: &mut mgmt_cluster::fields::Reader<'_>,
            ) -> Result<Self, mgmt_cluster::fields::DecodeError> {
                Ok(match from.u8(field)? {
                    $($code => Self::$variant,)*
                    found => return Err(from.bad_number(field, found.into(), $expected)),
                })
            }
        })*
    };
}
use numbered;

engine_types::plain_fields! {
    numbers {
        u16, 2;
        u32, 4;
        u64, 8;
    }
    ids {
        ClusterId, u128, 16;
        StoreId, u128, 16;
        NodeId, u32, 4;
        CoreId, u16, 2;
        TargetId, u64, 8;
        SessionId, u64, 8;
        ChainTableId, u32, 4;
        ChainVersion, u32, 4;
        ChainTableVersion, u32, 4;
        RoutingVersion, u64, 8;
        ConfigVersion, u64, 8;
        Incarnation, u64, 8;
        Timeline, u32, 4;
    }
}

impl Field for ChainId {
    const BYTES_MIN: usize = 4;

    fn write(&self, out: &mut Writer) {
        out.u32(self.get());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(from.u32(field)?).ok_or_else(|| from.bad_number(field, 0, "1 or more"))
    }
}

/// Two's complement.
impl Field for i64 {
    const BYTES_MIN: usize = 8;

    fn write(&self, out: &mut Writer) {
        out.u64(self.cast_unsigned());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.u64(field).map(u64::cast_signed)
    }
}

/// Eight bytes on every machine.
impl Field for usize {
    const BYTES_MIN: usize = 8;

    fn write(&self, out: &mut Writer) {
        out.u64(u64::try_from(*self).expect("no machine counts further than 2^64"));
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let found = from.u64(field)?;
        found.try_into().map_err(|_| from.bad_number(field, found, "what this machine can count"))
    }
}

impl Field for Duration {
    const BYTES_MIN: usize = 8;

    fn write(&self, out: &mut Writer) {
        out.u64(u64::try_from(self.as_nanos()).unwrap_or(u64::MAX));
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.u64(field).map(Self::from_nanos)
    }
}

impl Field for Instant {
    const BYTES_MIN: usize = 8;

    fn write(&self, out: &mut Writer) {
        out.u64(self.nanos());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.u64(field).map(Self::from_nanos)
    }
}

/// An entry of a map.
impl<K: Field, V: Field> Field for (K, V) {
    const BYTES_MIN: usize = K::BYTES_MIN + V::BYTES_MIN;

    fn write(&self, out: &mut Writer) {
        self.0.write(out);
        self.1.write(out);
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok((K::read(field, from)?, V::read(field, from)?))
    }
}

/// The number of elements that follow, of `bytes_min` bytes each at least (E330).
fn read_count(
    field: &'static str,
    max: usize,
    bytes_min: usize,
    from: &mut Reader<'_>,
) -> Result<usize, DecodeError> {
    let count = from.count(field, max, bytes_min);
    count.inspect_err(|_| reached!("E330: a list longer than its limit, or than its message"))
}

fn write_list<T: Field>(list: &[T], out: &mut Writer) {
    out.count(list.len());
    list.iter().for_each(|element| element.write(out));
}

fn read_list<T: Field>(
    field: &'static str,
    max: usize,
    from: &mut Reader<'_>,
) -> Result<Vec<T>, DecodeError> {
    let count = read_count(field, max, T::BYTES_MIN, from)?;
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push(T::read(field, from)?);
    }
    Ok(list)
}

fn write_texts(texts: &[String], out: &mut Writer) {
    out.count(texts.len());
    texts.iter().for_each(|text| out.text(text));
}

/// At most `max` texts of `bytes_max` bytes each.
fn read_texts(
    field: &'static str,
    max: usize,
    bytes_max: usize,
    from: &mut Reader<'_>,
) -> Result<Vec<String>, DecodeError> {
    /// Of its length.
    const TEXT_BYTES_MIN: usize = 4;
    let count = read_count(field, max, TEXT_BYTES_MIN, from)?;
    let mut texts = Vec::with_capacity(count);
    for _ in 0..count {
        texts.push(from.text(field, bytes_max)?);
    }
    Ok(texts)
}

/// An option of a text, which needs a limit when it is read.
fn write_text_option(text: Option<&String>, out: &mut Writer) {
    text.is_some().write(out);
    if let Some(text) = text {
        out.text(text);
    }
}

fn read_text_option(
    field: &'static str,
    bytes_max: usize,
    from: &mut Reader<'_>,
) -> Result<Option<String>, DecodeError> {
    bool::read(field, from)?.then(|| from.text(field, bytes_max)).transpose()
}

fn write_map<K: Field, V: Field>(map: &BTreeMap<K, V>, out: &mut Writer) {
    out.count(map.len());
    for (key, value) in map {
        key.write(out);
        value.write(out);
    }
}

/// Keys must ascend, so that a map has one encoding and building it takes linear time.
fn read_map<K: Field + Ord, V: Field>(
    field: &'static str,
    max: usize,
    from: &mut Reader<'_>,
) -> Result<BTreeMap<K, V>, DecodeError> {
    let entries = read_list::<(K, V)>(field, max, from)?;
    if !entries.is_sorted_by(|one, other| one.0 < other.0) {
        return Err(from.bad_text(field, "ids do not ascend".into()));
    }
    Ok(BTreeMap::from_iter(entries))
}

fn write_set<K: Field>(set: &BTreeSet<K>, out: &mut Writer) {
    out.count(set.len());
    set.iter().for_each(|key| key.write(out));
}

/// Keys must ascend, as those of a map.
fn read_set<K: Field + Ord>(
    field: &'static str,
    max: usize,
    from: &mut Reader<'_>,
) -> Result<BTreeSet<K>, DecodeError> {
    let keys = read_list::<K>(field, max, from)?;
    if !keys.is_sorted_by(|one, other| one < other) {
        return Err(from.bad_text(field, "ids do not ascend".into()));
    }
    Ok(BTreeSet::from_iter(keys))
}

/// As much of a text for people as has room.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests;
