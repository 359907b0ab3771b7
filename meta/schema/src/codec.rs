//! Bytes of values and messages: what numbers, ids, options and lists look like, wherever they
//! stand.
//!
//! A value of the KV and a message are each a frame of `engine_types::fields`; their fields stand
//! in the order in which the macros below list them. What they consist of:
//! ```text
//!   id, number       as many bytes as its type has, little-endian
//!   bool             u8: 0 or 1
//!   time             u64: nanoseconds since 1970, two's complement
//!   bytes, text      u32 length, bytes
//!   record           u32 length, bytes: a frame with a version of its own
//!   option           u8: 0 or 1; then, if 1, the value
//!   list             u32 count, elements
//!   row              u16 length, fields
//!   choice           u8 tag, then the fields of that choice
//! ```
//! Whatever has several fields and does not stand at the end of its frame is a row, so a later
//! version can append fields to it, too. Tags and numbers never change their meaning; one of a
//! later version is an error that names it.
//!
//! A count is compared with the limit of its list and with the bytes that are left before memory
//! is taken for it (E400).

use alloc::vec::Vec;

use engine_types::fields::{DecodeError, Reader, Writer};
use engine_types::{
    ChainTableId, ChainTableVersion, ChannelId, ChunkSize, InodeId, SessionId, reached,
};

use crate::errno::Errno;
use crate::id::{Gid, TruncateEpoch, Uid};
use crate::mode::{AccessMask, FileType, Mode};
use crate::slot::Slot;
use crate::time::Timestamp;

/// The format that is written.
pub const VERSION: u8 = 1;

/// What stands in a value by itself.
pub trait Field: Sized {
    /// The fewest bytes it takes, in every version.
    const BYTES_MIN: usize;

    /// Appends it.
    fn write(&self, out: &mut Writer);

    /// Takes it; `field` is its name, for errors.
    ///
    /// # Errors
    /// If the bytes end before, or say what it cannot be.
    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Bytes that it takes.
    fn encoded_bytes(&self) -> usize {
        let mut out = Writer::new(VERSION);
        let head = out.finish().len();
        out = Writer::new(VERSION);
        self.write(&mut out);
        out.finish().len() - head
    }
}

/// What a value or a row holds.
pub trait Fields: Sized {
    /// The fewest bytes that the fields take, in every version.
    const FIELDS_BYTES_MIN: usize;

    /// Appends them.
    fn write_fields(&self, out: &mut Writer);

    /// Takes them; what is left belongs to later versions.
    ///
    /// # Errors
    /// If the bytes end before, or say what they cannot be.
    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// A value of the KV, or a message.
pub trait Record: Sized {
    /// What it is, for errors.
    const NAME: &'static str;

    /// Its bytes.
    fn encode(&self) -> Vec<u8>;

    /// From bytes (E400).
    ///
    /// # Errors
    /// The first field that does not fit.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError>;
}

/// A row: inside of a value, several fields are always one.
impl<T: Fields> Field for T {
    const BYTES_MIN: usize = 2 + T::FIELDS_BYTES_MIN;

    fn write(&self, out: &mut Writer) {
        out.row(|row| self.write_fields(row));
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::read_fields(&mut from.row(field)?)
    }
}

/// `BYTES_MIN` of the field that a function takes out of a whole; for the macros.
pub const fn min_of<S, T: Field>(_: fn(&S) -> &T) -> usize {
    T::BYTES_MIN
}

/// Says which fields a type has, in the order in which they stand.
///
/// A field is anything that is a `Field`, or `bytes(MAX)` (a `Vec<u8>`), `list(MAX)` (a `Vec` of
/// fields), `text(MAX)` (a `String` for people, cut where it is longer), `record(MAX)` (a
/// `Record`, with a frame of its own).
#[macro_export]
macro_rules! fields {
    (@min $of:ty, $field:ident) => { $crate::codec::min_of(|whole: &$of| &whole.$field) };
    // Each begins with a length or a count.
    (@min $of:ty, $field:ident, $how:ident) => { 4 };
    (@write $field:ident, $out:ident) => { $crate::codec::Field::write($field, $out) };
    (@write $field:ident, $out:ident, bytes, $max:expr) => { $out.bytes($field) };
    (@write $field:ident, $out:ident, list, $max:expr) => {
        $crate::codec::write_list($field, $out)
    };
    (@write $field:ident, $out:ident, text, $max:expr) => {
        $out.text($crate::codec::cut($field, $max))
    };
    (@write $field:ident, $out:ident, record, $max:expr) => {
        $out.bytes(&$crate::codec::Record::encode($field))
    };
    (@read $field:ident, $from:ident) => {
        $crate::codec::Field::read(stringify!($field), $from)?
    };
    (@read $field:ident, $from:ident, bytes, $max:expr) => {
        $from.bytes(stringify!($field), $max)?.to_vec()
    };
    (@read $field:ident, $from:ident, list, $max:expr) => {
        $crate::codec::read_list(stringify!($field), $max, $from)?
    };
    (@read $field:ident, $from:ident, text, $max:expr) => {
        $from.text(stringify!($field), $max)?
    };
    (@read $field:ident, $from:ident, record, $max:expr) => {
        $crate::codec::Record::decode($from.bytes(stringify!($field), $max)?)?
    };
    ($($of:ty { $($field:ident $(: $how:ident($max:expr))?),* $(,)? })*) => { $(
        impl $crate::codec::Fields for $of {
            const FIELDS_BYTES_MIN: usize =
                0 $(+ $crate::fields!(@min $of, $field $(, $how)?))*;

            #[allow(unused_variables, reason = "of a type without fields")]
            fn write_fields(&self, out: &mut $crate::codec::fields::Writer) {
                let Self { $($field),* } = self;
                $($crate::fields!(@write $field, out $(, $how, $max)?);)*
            }

            #[allow(unused_variables, reason = "of a type without fields")]
            fn read_fields(
                from: &mut $crate::codec::fields::Reader<'_>,
            ) -> Result<Self, $crate::codec::fields::DecodeError> {
                Ok(Self { $($field: $crate::fields!(@read $field, from $(, $how, $max)?)),* })
            }
        }
    )* };
}

/// Says which tag each variant of an enum has. A variant is bare, has named fields as those of
/// `fields!`, or holds one value: a type with fields, or what `fields!` says in words.
#[macro_export]
macro_rules! choices {
    (@write $inner:ident, $out:ident) => { $crate::codec::Fields::write_fields($inner, $out) };
    (@write $inner:ident, $out:ident, $how:ident, $max:expr) => {
        $crate::fields!(@write $inner, $out, $how, $max)
    };
    (@read $inner:ident, $from:ident) => { $crate::codec::Fields::read_fields($from)? };
    (@read $inner:ident, $from:ident, $how:ident, $max:expr) => {
        $crate::fields!(@read $inner, $from, $how, $max)
    };
    ($($of:ty, $name:literal { $(
        $code:literal = $variant:ident
            $(($inner:ident $(: $inner_how:ident($inner_max:expr))?))?
            $({ $($field:ident $(: $how:ident($max:expr))?),* })?,
    )* })*) => { $(
        impl $crate::codec::Fields for $of {
            const FIELDS_BYTES_MIN: usize = 1;

            fn write_fields(&self, out: &mut $crate::codec::fields::Writer) {
                match self {
                    $(Self::$variant $(($inner))? $({ $($field),* })? => {
                        out.u8($code);
                        $($crate::choices!(@write $inner, out $(, $inner_how, $inner_max)?);)?
                        $($($crate::fields!(@write $field, out $(, $how, $max)?);)*)?
                    })*
                }
            }

            fn read_fields(
                from: &mut $crate::codec::fields::Reader<'_>,
            ) -> Result<Self, $crate::codec::fields::DecodeError> {
                Ok(match from.u8($name)? {
                    $($code => Self::$variant
                        $(($crate::choices!(@read $inner, from $(, $inner_how, $inner_max)?)))?
                        $({ $($field: $crate::fields!(@read $field, from $(, $how, $max)?)),* })?,
                    )*
                    found => return Err(from.bad_number($name, found.into(), "a known tag")),
                })
            }
        }
    )* };
}

/// Says which byte each variant of an enum without fields is.
#[macro_export]
macro_rules! numbered {
    ($($of:ty { $($code:literal = $variant:ident,)* })*) => { $(
        impl $crate::codec::Field for $of {
            const BYTES_MIN: usize = 1;

            fn write(&self, out: &mut $crate::codec::fields::Writer) {
                out.u8(match self {
                    $(Self::$variant => $code,)*
                });
            }

            fn read(
                field: &'static str,
                from: &mut $crate::codec::fields::Reader<'_>,
            ) -> Result<Self, $crate::codec::fields::DecodeError> {
                Ok(match from.u8(field)? {
                    $($code => Self::$variant,)*
                    found => return Err(from.bad_number(field, found.into(), "a known number")),
                })
            }
        }
    )* };
}

/// Makes values of what has fields.
#[macro_export]
macro_rules! records {
    ($($of:ty = $name:literal;)*) => { $(
        impl $crate::codec::Record for $of {
            const NAME: &'static str = $name;

            fn encode(&self) -> alloc::vec::Vec<u8> {
                let mut out = $crate::codec::fields::Writer::new($crate::codec::VERSION);
                $crate::codec::Fields::write_fields(self, &mut out);
                out.finish()
            }

            fn decode(bytes: &[u8]) -> Result<Self, $crate::codec::fields::DecodeError> {
                let mut from = $crate::codec::fields::Reader::new(Self::NAME, bytes)?;
                $crate::codec::Fields::read_fields(&mut from)
            }
        }
    )* };
}

/// For the macros, which are used where `engine_types` may have another name.
#[doc(hidden)]
pub use engine_types::fields;

engine_types::plain_fields! {
    numbers {
        u16, 2;
        u32, 4;
        u64, 8;
        u128, 16;
    }
    ids {
        InodeId, u64, 8;
        SessionId, u64, 8;
        ChannelId, u32, 4;
        ChainTableId, u32, 4;
        ChainTableVersion, u32, 4;
        Uid, u32, 4;
        Gid, u32, 4;
        TruncateEpoch, u32, 4;
    }
}

impl Field for Timestamp {
    const BYTES_MIN: usize = 8;

    fn write(&self, out: &mut Writer) {
        out.u64(self.nanos().cast_unsigned());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.u64(field).map(|raw| Self::from_nanos(raw.cast_signed()))
    }
}

impl Field for Mode {
    const BYTES_MIN: usize = 2;

    fn write(&self, out: &mut Writer) {
        out.u16(self.bits());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bits = from.u16(field)?;
        let mode = Self::new(bits.into());
        if mode.bits() != bits {
            return Err(from.bad_number(field, bits.into(), "at most 0o7777"));
        }
        Ok(mode)
    }
}

impl Field for AccessMask {
    const BYTES_MIN: usize = 1;

    fn write(&self, out: &mut Writer) {
        out.u8(self.bits());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bits = from.u8(field)?;
        Self::new(bits).ok_or_else(|| from.bad_number(field, bits.into(), "at most 7"))
    }
}

impl Field for FileType {
    const BYTES_MIN: usize = 1;

    fn write(&self, out: &mut Writer) {
        out.u8(self.code());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = from.u8(field)?;
        Self::from_code(code).ok_or_else(|| from.bad_number(field, code.into(), "a file type"))
    }
}

/// An error of a newer service is EIO here: something went wrong, and the text beside it says what.
impl Field for Errno {
    const BYTES_MIN: usize = 2;

    fn write(&self, out: &mut Writer) {
        out.u16(self.code());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self::from_code(from.u16(field)?).unwrap_or(Self::EIO))
    }
}

impl Field for Slot {
    const BYTES_MIN: usize = 8;

    fn write(&self, out: &mut Writer) {
        out.u64(self.get());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let raw = from.u64(field)?;
        Self::new(raw).ok_or_else(|| from.bad_number(field, raw, "8 to 2^63 - 1"))
    }
}

impl Field for ChunkSize {
    const BYTES_MIN: usize = 4;

    fn write(&self, out: &mut Writer) {
        out.u32(self.bytes());
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = from.u32(field)?;
        let expected = "a power of two of 4 KiB to 64 MiB";
        Self::new(bytes).ok_or_else(|| from.bad_number(field, bytes.into(), expected))
    }
}

/// Something, or why not.
impl<T: Field> Field for Result<T, Errno> {
    const BYTES_MIN: usize = 3;

    fn write(&self, out: &mut Writer) {
        self.is_ok().write(out);
        match self {
            Ok(value) => value.write(out),
            Err(errno) => errno.write(out),
        }
    }

    fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(if bool::read(field, from)? {
            Ok(T::read(field, from)?)
        } else {
            Err(Errno::read(field, from)?)
        })
    }
}

/// Appends a list.
///
/// # Panics
/// From 2^32 elements on.
pub fn write_list<T: Field>(list: &[T], out: &mut Writer) {
    out.count(list.len());
    list.iter().for_each(|element| element.write(out));
}

/// Takes a list of at most `max` elements.
///
/// # Errors
/// If it has more, or the bytes end before.
pub fn read_list<T: Field>(
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

/// The number of elements that follow, of `bytes_min` bytes each at least (E400).
///
/// # Errors
/// If it is above `max`, or there are fewer bytes.
pub fn read_count(
    field: &'static str,
    max: usize,
    bytes_min: usize,
    from: &mut Reader<'_>,
) -> Result<usize, DecodeError> {
    let count = from.count(field, max, bytes_min);
    count.inspect_err(|_| reached!("E400: a list longer than its limit, or than its value"))
}

/// As much of a text for people as has room.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests;
