//! The cluster secret.

use core::fmt;
use core::str::FromStr;

/// Bytes of a secret: the output of the hash it keys.
const SECRET_BYTES: usize = 32;

/// What every process and mount of a cluster knows. It is never printed and never sent.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret([u8; SECRET_BYTES]);

/// Why a text is not a secret. No variant repeats any part of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Too short or too long.
    #[error("cluster secret: found {found} characters, expected {}", SECRET_BYTES * 2)]
    Length {
        /// Characters found.
        found: usize,
    },
    /// Not a hexadecimal digit.
    #[error("cluster secret: the character at position {position} is no hexadecimal digit")]
    Character {
        /// Counted from 0.
        position: usize,
    },
    /// A forgotten initialisation, not a secret.
    #[error("cluster secret: all bytes are zero")]
    Zero,
}

impl ClusterSecret {
    /// Wraps random bytes.
    ///
    /// # Errors
    /// If all of them are zero.
    pub fn new(bytes: [u8; SECRET_BYTES]) -> Result<Self, SecretError> {
        if bytes == [0; SECRET_BYTES] { Err(SecretError::Zero) } else { Ok(Self(bytes)) }
    }

    pub(super) const fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }
}

/// From 64 hexadecimal digits.
impl FromStr for ClusterSecret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let found = text.chars().count();
        if found != SECRET_BYTES * 2 {
            return Err(SecretError::Length { found });
        }
        let mut bytes = [0u8; SECRET_BYTES];
        for (position, digit) in text.chars().enumerate() {
            let value = digit.to_digit(16).and_then(|value| u8::try_from(value).ok());
            let value = value.ok_or(SecretError::Character { position })?;
            bytes[position / 2] = bytes[position / 2] << 4 | value;
        }
        Self::new(bytes)
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(..)")
    }
}
