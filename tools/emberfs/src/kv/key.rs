//! Keys and values as people write and read them: text, other bytes as `\xNN`.

use core::str::FromStr;

/// A key, or its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key(pub(super) Vec<u8>);

impl FromStr for Key {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        parse(text).map(Self)
    }
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParseKeyError {
    /// After `\x` stands something else than two digits.
    #[error("after \\x come two hexadecimal digits")]
    Digits,
    /// After `\` stands what has no meaning.
    #[error("after \\ comes xNN, n, r, t, 0, \\, \" or '")]
    Escape,
}

/// `bytes` for people. [`parse`] reads it back.
pub(super) fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The bytes that a text stands for.
fn parse(text: &str) -> Result<Vec<u8>, ParseKeyError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'x') => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next()), digit(rest.next()));
                let value =
                    high.zip(low).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
                value.ok_or(ParseKeyError::Digits)?
            }
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(same @ (b'\\' | b'"' | b'\'')) => same,
            _ => return Err(ParseKeyError::Escape),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_shown() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(parse(&shown(&all)), Ok(all));
        for (text, expected) in [
            ("", &b""[..]),
            ("inode/7", b"inode/7"),
            (r"i\x00\xff\0", b"i\x00\xff\x00"),
            (r"a\\b\n", b"a\\b\n"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(expected), "{text}");
        }
        for text in [r"\", r"\x", r"\x4", r"\xg0", r"\q"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
