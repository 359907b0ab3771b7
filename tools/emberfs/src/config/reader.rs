//! Reads TOML that a person wrote, key by key, and collects everything that is wrong with it.
//!
//! A section states its keys; any other is refused with the nearest one it might have been. Every
//! complaint has its line and column, what was found and what was expected. A later role adds a
//! struct that reads its own [`Section`], and nothing here.

use core::cell::RefCell;
use core::fmt;
use core::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

#[cfg(test)]
mod tests;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Complaint {
    line: usize,
    column: usize,
    text: String,
}

/// A file that is not as it should be: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    path: PathBuf,
    complaints: Vec<Complaint>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        if let [one] = &*self.complaints {
            return write!(f, "{path}:{}:{}: {}", one.line, one.column, one.text);
        }
        write!(f, "{path} has {} mistakes", self.complaints.len())?;
        self.complaints.iter().try_for_each(|Complaint { line, column, text }| {
            write!(f, "\n  {path}:{line}:{column}: {text}")
        })
    }
}

impl core::error::Error for ConfigError {}

/// A file under way.
pub(crate) struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    root: DeTable<'a>,
    complaints: RefCell<Vec<Complaint>>,
}

impl<'a> Reader<'a> {
    /// Parses `text`, the content of the file `path`.
    pub(crate) fn new(path: &'a Path, text: &'a str) -> Result<Self, ConfigError> {
        let reader = Self { path, text, root: DeTable::new(), complaints: RefCell::default() };
        match DeTable::parse(text) {
            Ok(root) => Ok(Self { root: root.into_inner(), ..reader }),
            Err(error) => {
                // Its message, not its display, which would show the line: that may be a secret.
                reader.complain(error.span().unwrap_or_default(), error.message().to_owned());
                reader.finish(())?;
                unreachable!("there is a complaint")
            }
        }
    }

    /// The whole file as one section, with these keys.
    pub(crate) fn root(&self, keys: &'static [&'static str]) -> Section<'_> {
        Section::new(self, String::new(), &self.root, 0..0, keys)
    }

    /// `value`, if nothing was wrong.
    pub(crate) fn finish<T>(&self, value: T) -> Result<T, ConfigError> {
        let mut complaints = self.complaints.take();
        if complaints.is_empty() {
            return Ok(value);
        }
        complaints.sort_by_key(|complaint| (complaint.line, complaint.column));
        Err(ConfigError { path: self.path.to_path_buf(), complaints })
    }

    fn complain(&self, at: Range<usize>, text: String) {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        self.complaints.borrow_mut().push(Complaint { line, column, text });
    }
}

/// A table of a file.
pub(crate) struct Section<'a> {
    reader: &'a Reader<'a>,
    /// As people name it: `[kv]`; nothing for the whole file.
    name: String,
    table: &'a DeTable<'a>,
    at: Range<usize>,
}

/// A value of a key.
pub(crate) trait Value: Sized {
    /// What belongs there, with an example.
    const EXPECTED: &'static str;

    /// The value of a text; the error says why it is none.
    fn from_text(text: &str) -> Result<Self, String>;

    /// The value of a number.
    fn from_integer(_: u64) -> Option<Self> {
        None
    }

    /// The value of `true` or `false`.
    fn from_truth(_: bool) -> Option<Self> {
        None
    }

    /// Whether what was found may be repeated.
    const SECRET: bool = false;
}

impl<'a> Section<'a> {
    fn new(
        reader: &'a Reader<'a>,
        name: String,
        table: &'a DeTable<'a>,
        at: Range<usize>,
        keys: &'static [&'static str],
    ) -> Self {
        let section = Self { reader, name, table, at };
        for key in section.table.keys() {
            if !keys.contains(&&**key.get_ref()) {
                reader.complain(key.span(), section.unknown(key.get_ref(), keys));
            }
        }
        section
    }

    fn unknown(&self, found: &str, keys: &[&str]) -> String {
        let place = if self.name.is_empty() { "" } else { " in " };
        let unknown = format!("unknown key {found:?}{place}{}", self.name);
        match nearest(found, keys) {
            Some(near) => format!("{unknown}; did you mean {near:?}?"),
            None => format!("{unknown}; expected one of {}", keys.join(", ")),
        }
    }

    /// A table in it, if it is there.
    pub(crate) fn section(&self, key: &str, keys: &'static [&'static str]) -> Option<Section<'a>> {
        let value = self.find(key)?;
        let Some(table) = value.get_ref().as_table() else {
            let text = format!("{key}: found {}, expected a section [{key}]", shown(value));
            self.reader.complain(value.span(), text);
            return None;
        };
        Some(Section::new(self.reader, format!("[{key}]"), table, value.span(), keys))
    }

    /// The value of a key, if it is there and right.
    pub(crate) fn get<T: Value>(&self, key: &str) -> Option<T> {
        self.value(key, self.find(key)?)
    }

    /// The values of a key, if it is there and all of them are right: a list, or one without
    /// brackets.
    pub(crate) fn list<T: Value>(&self, key: &str) -> Option<Vec<T>> {
        let value = self.find(key)?;
        let Some(list) = value.get_ref().as_array() else {
            return Some(vec![self.value(key, value)?]);
        };
        // All of them are looked at, so that all that is wrong is told.
        let read: Vec<Option<T>> = list.iter().map(|value| self.value(key, value)).collect();
        read.into_iter().collect()
    }

    /// The tables of a list, if it is there and holds nothing else.
    pub(crate) fn tables(&self, key: &str, keys: &'static [&'static str]) -> Vec<Section<'a>> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let name = self.named(key);
        let Some(list) = value.get_ref().as_array() else {
            let text = format!("{name}: found {}, expected a list of tables", shown(value));
            self.reader.complain(value.span(), text);
            return Vec::new();
        };
        let table = |(at, value): (usize, &'a Spanned<DeValue<'a>>)| {
            let Some(table) = value.get_ref().as_table() else {
                let text = format!("{name}: found {}, expected a table in braces", shown(value));
                self.reader.complain(value.span(), text);
                return None;
            };
            let name = format!("{name}[{at}]");
            Some(Section::new(self.reader, name, table, value.span(), keys))
        };
        list.iter().enumerate().filter_map(table).collect()
    }

    /// Whether the key is there, right or wrong.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Says that a value which is right by itself does not go with others.
    pub(crate) fn refuse(&self, key: &str, why: &str) {
        let at = self.find(key).map_or_else(|| self.at.clone(), Spanned::span);
        self.reader.complain(at, format!("{}: {why}", self.named(key)));
    }

    fn value<T: Value>(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<T> {
        let (found, why) = match value.get_ref() {
            DeValue::String(text) => match T::from_text(text) {
                Ok(read) => return Some(read),
                Err(why) => (format!("{text:?}"), format!(" ({why})")),
            },
            DeValue::Integer(number) => {
                let read = u64::from_str_radix(number.as_str(), number.radix()).ok();
                match read.and_then(T::from_integer) {
                    Some(read) => return Some(read),
                    None => (shown(value), String::new()),
                }
            }
            DeValue::Boolean(truth) => match T::from_truth(*truth) {
                Some(read) => return Some(read),
                None => (shown(value), String::new()),
            },
            _ => (shown(value), String::new()),
        };
        let found = if T::SECRET { "something else" } else { &*found };
        let text = format!("{}: found {found}, expected {}{why}", self.named(key), T::EXPECTED);
        self.reader.complain(value.span(), text);
        None
    }

    /// The value of a key that must be there.
    pub(crate) fn need<T: Value>(&self, key: &str) -> Option<T> {
        if self.find(key).is_none() {
            let text = format!("{} is missing, expected {}", self.named(key), T::EXPECTED);
            self.reader.complain(self.at.clone(), text);
        }
        self.get(key)
    }

    fn named(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{} {key}", self.name) }
    }

    fn find(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.iter().find(|(name, _)| **name.get_ref() == *key).map(|(_, value)| value)
    }
}

fn shown(value: &Spanned<DeValue<'_>>) -> String {
    match value.get_ref() {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a section".to_owned(),
    }
}

/// The key that was meant: a third of its letters may be wrong.
fn nearest<'k>(found: &str, keys: &[&'k str]) -> Option<&'k str> {
    let near = keys.iter().map(|key| (distance(found, key), *key)).min()?;
    (near.0 <= near.1.len().div_ceil(3)).then_some(near.1)
}

/// Letters to insert, remove or change (Levenshtein); an exchange of two neighbours is two.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
