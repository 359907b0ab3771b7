//! What fields of numbers look like, in whatever record or message they stand.
//!
//! Each family of messages has a trait `Field` of its own: most of its types come from other
//! crates, and nobody may implement another crate's trait for them. What is the same in all of
//! them is said here once.
//!
//! ```text
//!   id, number   as many bytes as its type has, little-endian
//!   bool         u8: 0 or 1
//!   option       u8: 0 or 1; then, if 1, the value
//! ```

/// Implements the `Field` that is in scope, with `Reader`, `Writer` and `DecodeError` of
/// [`crate::fields`], for numbers (by the function of `Writer` that appends them), for ids (by
/// that of what `get` gives), and for truth and options of fields.
#[macro_export]
macro_rules! plain_fields {
    (
        numbers { $($number:ident, $bytes:literal;)* }
        ids { $($id:ty, $raw:ident, $wide:literal;)* }
    ) => {
        $(impl Field for $number {
            const BYTES_MIN: usize = $bytes;

            fn write(&self, out: &mut Writer) {
                out.$number(*self);
            }

            fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                from.$number(field)
            }
        })*
        $(impl Field for $id {
            const BYTES_MIN: usize = $wide;

            fn write(&self, out: &mut Writer) {
                out.$raw(self.get());
            }

            fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                from.$raw(field).map(Self::new)
            }
        })*

        impl Field for bool {
            const BYTES_MIN: usize = 1;

            fn write(&self, out: &mut Writer) {
                out.u8(u8::from(*self));
            }

            fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                from.bool(field)
            }
        }

        impl<T: Field> Field for Option<T> {
            const BYTES_MIN: usize = 1;

            fn write(&self, out: &mut Writer) {
                self.is_some().write(out);
                if let Some(value) = self {
                    value.write(out);
                }
            }

            fn read(field: &'static str, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                from.bool(field)?.then(|| T::read(field, from)).transpose()
            }
        }
    };
}
