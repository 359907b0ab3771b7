//! Tags of nodes and targets: short `key=value` pairs that operators give and rules select by.
//!
//! The cluster itself reads none. They are few and small, so that they travel with every record
//! they belong to, and of characters that need no quoting on a command line.
//!
//! ```text
//!   0  version u8 = 1, body length u32          the frame of `fields`
//!   5  count u8, then in order of keys: key (length u32, bytes), value (length u32, bytes)
//! ```
//! Invariants
//!   E298  keys and values held are of the allowed characters and lengths, and few enough

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::fields::{DecodeError, Reader, Writer};

/// Tags of one node or target: more are a database, and belong elsewhere.
pub const TAGS_MAX: usize = 32;
/// Longest key: what a DNS label can have.
pub const TAG_KEY_BYTES_MAX: usize = 63;
/// Longest value: a full set stays below 6 KiB, so a page of nodes fits a message.
pub const TAG_VALUE_BYTES_MAX: usize = 127;

const VERSION: u8 = 1;
const RECORD: &str = "tags";

/// A tag is refused; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// Without a key, or with one that is too long.
    #[error("tag key {key:?}: found {found} characters, expected 1 to {limit}")]
    KeyLength {
        /// The key.
        key: String,
        /// Its length.
        found: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// A character that a key may not have there.
    #[error("tag key {key:?}: found {found:?}, expected a-z, 0-9, '.', '_', '-' or '/', first a-z")]
    KeyCharacter {
        /// The key.
        key: String,
        /// The first bad character.
        found: char,
    },
    /// A value that is too long.
    #[error("tag {key}: the value has {found} bytes, at most {limit}")]
    ValueLength {
        /// The key.
        key: String,
        /// Bytes of the value.
        found: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// A character that a value may not have.
    #[error("tag {key}: the value contains {found:?}, expected printable ASCII without blanks")]
    ValueCharacter {
        /// The key.
        key: String,
        /// The first bad character.
        found: char,
    },
    /// No room for another key.
    #[error("{found} tags, at most {limit}")]
    TooMany {
        /// Tags that there would be.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Nothing to remove.
    #[error("there is no tag {key:?}")]
    Missing {
        /// The key.
        key: String,
    },
    /// A text that is no tag.
    #[error("found {found:?}, expected key=value")]
    NotAPair {
        /// The text.
        found: String,
    },
}

/// The tags of one node or target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// No tags.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a tag or changes its value. Gives the value it had.
    ///
    /// # Errors
    /// When the tag breaks a limit.
    pub fn set(&mut self, key: &str, value: &str) -> Result<Option<String>, TagError> {
        change(&mut self.0, key, Some(value))
    }

    /// Adds or changes all of `tags`, or nothing.
    ///
    /// # Errors
    /// The first tag that breaks a limit.
    pub fn set_all<'a>(
        &mut self,
        tags: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), TagError> {
        let mut changed = self.clone();
        for (key, value) in tags {
            changed.set(key, value)?;
        }
        *self = changed;
        Ok(())
    }

    /// Removes a tag. Gives its value.
    ///
    /// # Errors
    /// When there is none of that key.
    pub fn remove(&mut self, key: &str) -> Result<String, TagError> {
        self.0.remove(key).ok_or_else(|| TagError::Missing { key: key.into() })
    }

    /// The value of a tag.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All tags in order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For the KV.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        out.u8(u8::try_from(self.0.len()).expect("E298: few tags"));
        for (key, value) in &self.0 {
            out.text(key);
            out.text(value);
        }
        out.finish()
    }

    /// From the KV.
    ///
    /// # Errors
    /// The first field that does not fit.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(RECORD, bytes)?;
        let count = reader.u8("count")?;
        if TAGS_MAX < usize::from(count) {
            return Err(reader.bad_number("count", count.into(), "at most 32"));
        }
        let mut tags = Self::new();
        for _ in 0..count {
            let key = reader.text("key", TAG_KEY_BYTES_MAX)?;
            let value = reader.text("value", TAG_VALUE_BYTES_MAX)?;
            let last = tags.0.last_key_value();
            if last.is_some_and(|(last, _)| key <= *last) {
                return Err(reader.bad_text("key", format!("{key:?} is out of order")));
            }
            tags.set(&key, &value).map_err(|why| reader.bad_text("tag", format!("{why}")))?;
        }
        Ok(tags)
    }
}

/// Adds a tag, changes its value, or removes it if there is no `value`. Gives the value it had.
/// Every command that tags something goes through here, so that there is one set of limits (E298);
/// removing what is not there changes nothing.
///
/// # Errors
/// When the tag breaks a limit; a tag that is to be removed may be of former limits.
pub fn change(
    tags: &mut BTreeMap<String, String>,
    key: &str,
    value: Option<&str>,
) -> Result<Option<String>, TagError> {
    let Some(value) = value else { return Ok(tags.remove(key)) };
    check_key(key)?;
    check_value(key, value)?;
    let (found, limit) = (tags.len() + 1, TAGS_MAX);
    if limit < found && !tags.contains_key(key) {
        return Err(TagError::TooMany { found, limit });
    }
    Ok(tags.insert(key.into(), value.into()))
}

/// Splits `key=value` at the first `=`.
///
/// # Errors
/// When there is none.
pub fn parse_pair(text: &str) -> Result<(&str, &str), TagError> {
    text.split_once('=').ok_or_else(|| TagError::NotAPair { found: text.into() })
}

fn check_key(key: &str) -> Result<(), TagError> {
    let (found, limit) = (key.chars().count(), TAG_KEY_BYTES_MAX);
    if key.is_empty() || limit < found {
        return Err(TagError::KeyLength { key: key.into(), found, limit });
    }
    let bad = |&(index, found): &(usize, char)| {
        let inner = found.is_ascii_digit() || "._-/".contains(found);
        !(found.is_ascii_lowercase() || 0 < index && inner)
    };
    match key.chars().enumerate().find(bad) {
        Some((_, found)) => Err(TagError::KeyCharacter { key: key.into(), found }),
        None => Ok(()),
    }
}

fn check_value(key: &str, value: &str) -> Result<(), TagError> {
    let (found, limit) = (value.len(), TAG_VALUE_BYTES_MAX);
    if limit < found {
        return Err(TagError::ValueLength { key: key.into(), found, limit });
    }
    match value.chars().find(|found| !found.is_ascii_graphic()) {
        Some(found) => Err(TagError::ValueCharacter { key: key.into(), found }),
        None => Ok(()),
    }
}

const _: () = assert!(TAGS_MAX == 32);

#[cfg(test)]
mod tests;
