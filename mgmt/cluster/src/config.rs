//! Settings that hold for the whole cluster and change while it runs.
//!
//! Each role brings a [`Schema`]: a table of settings with type, default, bounds, help and whether
//! a change takes effect at once. The manager keeps a text of `name = value` lines per role, checks
//! it against the schema, numbers the versions and hands the newest to every process of the role.
//! What a process needs to find the cluster at all is in its own file, not here.
//!
//! A version that was accepted once may have been accepted by a newer binary with more settings or
//! wider bounds. A stored line that the schema does not admit is therefore kept and ignored (the
//! default holds), and reported; a *new* text with such a line is refused.
//!
//! Invariants
//!   E296  settings that are read satisfy type and bounds of their schema
//!   E297  versions of a role ascend by one; the history has no gap
//!
//! Crash: every version is one row in the KV, written in one transaction with the deletion of the
//! one that leaves the history.

mod error;
mod history;
pub mod manager;
mod text;

pub use error::{ConfigError, SchemaError};
pub use history::{
    CONFIG_HISTORY_MAX, CONFIG_NOTE_BYTES_MAX, ClusterConfig, ConfigChange, ConfigEntry,
    ConfigLoadError, ConfigVersion, Difference,
};
pub use text::CONFIG_TEXT_BYTES_MAX;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use engine_types::NodeRole;

/// Longest name of a setting.
pub const SETTING_NAME_BYTES_MAX: usize = 64;

/// A value with its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Whole microseconds.
    Duration(Duration),
    /// An amount of data.
    Bytes(u64),
    /// A number of things.
    Count(u64),
    /// Thousandths.
    Permille(u32),
    /// Yes or no.
    Bool(bool),
    /// Words.
    Text(String),
}

/// Type, default and bounds (both allowed) of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are default and bounds, as said above")]
pub enum Range {
    /// Written with a unit: `"1500 ms"`, `"2 s"`, `"5 min"`.
    Duration { default: Duration, min: Duration, max: Duration },
    /// Written as a number or with a unit: `4096`, `"64 MiB"`.
    Bytes { default: u64, min: u64, max: u64 },
    /// Written as a number.
    Count { default: u64, min: u64, max: u64 },
    /// Written as a number of thousandths.
    Permille { default: u32, min: u32, max: u32 },
    /// `true` or `false`.
    Bool { default: bool },
    /// Written in quotes.
    Text { default: &'static str, bytes_max: usize },
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apply {
    /// As soon as a process has it.
    Hot,
    /// When the process starts the next time.
    Restart,
}

/// One row of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Lower-case words with dots, as `lease.storage`.
    pub name: &'static str,
    /// Type, default, bounds.
    pub range: Range,
    /// When a change takes effect.
    pub apply: Apply,
    /// One or two sentences for the operator.
    pub help: &'static str,
}

/// What a role lets itself be told.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    role: NodeRole,
    settings: &'static [Setting],
    check: fn(&Settings) -> Result<(), String>,
}

/// Values of one role: what was set, and defaults for the rest.
#[derive(Clone, Debug)]
pub struct Settings {
    schema: Schema,
    values: BTreeMap<&'static str, Value>,
    /// Lines of a stored text that the schema does not admit, by name, with the value as written.
    ignored: BTreeMap<String, String>,
}

impl Range {
    /// The default as a value.
    pub fn default_value(&self) -> Value {
        match *self {
            Self::Duration { default, .. } => Value::Duration(default),
            Self::Bytes { default, .. } => Value::Bytes(default),
            Self::Count { default, .. } => Value::Count(default),
            Self::Permille { default, .. } => Value::Permille(default),
            Self::Bool { default } => Value::Bool(default),
            Self::Text { default, .. } => Value::Text(default.into()),
        }
    }

    /// What is allowed, for people.
    pub fn describe(&self) -> String {
        let between = |min: Value, max: Value| format!("{min} to {max}");
        match *self {
            Self::Duration { min, max, .. } => between(Value::Duration(min), Value::Duration(max)),
            Self::Bytes { min, max, .. } => between(Value::Bytes(min), Value::Bytes(max)),
            Self::Count { min, max, .. } => between(Value::Count(min), Value::Count(max)),
            Self::Permille { min, max, .. } => {
                between(Value::Permille(min), Value::Permille(max)) + " thousandths"
            }
            Self::Bool { .. } => "true or false".into(),
            Self::Text { bytes_max, .. } => format!("a text of at most {bytes_max} bytes"),
        }
    }

    /// Whether a value has the type and keeps the bounds.
    pub fn admits(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Duration { min, max, .. }, Value::Duration(value)) => {
                (min..=max).contains(&value)
            }
            (Self::Bytes { min, max, .. }, Value::Bytes(value))
            | (Self::Count { min, max, .. }, Value::Count(value)) => (min..=max).contains(&value),
            (Self::Permille { min, max, .. }, Value::Permille(value)) => {
                (min..=max).contains(&value)
            }
            (Self::Bool { .. }, Value::Bool(_)) => true,
            (Self::Text { bytes_max, .. }, Value::Text(value)) => value.len() <= *bytes_max,
            _ => false,
        }
    }
}

impl Schema {
    /// The settings of a role; `check` judges values together, with a sentence that names them.
    ///
    /// # Errors
    /// When a name is odd or double, or a default is not allowed by its own schema.
    pub fn new(
        role: NodeRole,
        settings: &'static [Setting],
        check: fn(&Settings) -> Result<(), String>,
    ) -> Result<Self, SchemaError> {
        for (index, setting) in settings.iter().enumerate() {
            let name = setting.name;
            if !is_name(name) {
                return Err(SchemaError::Name { role, name });
            }
            if settings[..index].iter().any(|other| other.name == name) {
                return Err(SchemaError::Double { role, name });
            }
            let default = setting.range.default_value();
            if !setting.range.admits(&default) {
                let (default, allowed) = (default.to_string(), setting.range.describe());
                return Err(SchemaError::Default { role, name, default, allowed });
            }
        }
        let schema = Self { role, settings, check };
        let why = check(&schema.defaults());
        why.map(|()| schema).map_err(|why| SchemaError::Defaults { role, why })
    }

    /// Whose settings they are.
    pub const fn role(&self) -> NodeRole {
        self.role
    }

    /// All of them, in the order in which they are printed.
    pub const fn settings(&self) -> &'static [Setting] {
        self.settings
    }

    /// Nothing is set.
    pub const fn defaults(&self) -> Settings {
        Settings { schema: *self, values: BTreeMap::new(), ignored: BTreeMap::new() }
    }

    fn find(&self, name: &str) -> Option<&'static Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }

    /// The name that somebody who wrote `name` may have meant.
    fn nearest(&self, name: &str) -> Option<&'static str> {
        let names = || self.settings.iter().map(|setting| setting.name);
        let ends = |full: &str| full.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
        if let Some(full) = names().find(|full| ends(full)) {
            return Some(full);
        }
        let nearest = names().map(|full| (distance(full, name), full)).min()?;
        Some(nearest.1).filter(|full| nearest.0 <= 2.max(full.len() / 3))
    }

    /// Reads a text strictly: every line must be admitted.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(&self, text: &str) -> Result<Settings, ConfigError> {
        self.parse_beside(text, &BTreeMap::new())
    }

    /// The same; lines that are `known` to be ignored already may stay as they are.
    fn parse_beside(
        &self,
        text: &str,
        known: &BTreeMap<String, String>,
    ) -> Result<Settings, ConfigError> {
        let mut settings = self.defaults();
        for line in text::lines(text)? {
            let raw = line.raw.to_string();
            if known.get(&line.name) == Some(&raw) {
                settings.ignored.insert(line.name, raw);
            } else {
                settings.set(&line.name, &line.raw)?;
            }
        }
        settings.check()?;
        Ok(settings)
    }

    /// Reads a text that was accepted once: what is not admitted is ignored and kept.
    fn parse_stored(&self, text: &str) -> Result<Settings, ConfigError> {
        let mut settings = self.defaults();
        for line in text::lines(text)? {
            if settings.set(&line.name, &line.raw).is_err() {
                engine_types::reached!("E296: a stored setting is not admitted any more");
                settings.ignored.insert(line.name, line.raw.to_string());
            }
        }
        if settings.check().is_err() {
            // Each value is allowed, together they are not any more: none of them holds.
            let values = core::mem::take(&mut settings.values).into_iter();
            settings.ignored.extend(values.map(|(name, value)| (name.into(), value.to_string())));
        }
        Ok(settings)
    }
}

impl Settings {
    /// The schema they belong to.
    pub const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The value in force; nothing if the schema has no such setting.
    pub fn get(&self, name: &str) -> Option<Value> {
        let setting = self.schema.find(name)?;
        Some(self.values.get(name).cloned().unwrap_or_else(|| setting.range.default_value()))
    }

    /// Whether it was set, rather than left at its default.
    pub fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Lines of the stored text that have no effect: name and value as written.
    pub fn ignored(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ignored.iter().map(|(name, raw)| (name.as_str(), raw.as_str()))
    }

    /// A duration.
    ///
    /// # Panics
    /// If the schema has no duration of that name.
    pub fn duration(&self, name: &str) -> Duration {
        match self.get(name) {
            Some(Value::Duration(value)) => value,
            other => panic!("E296: {name} is read as a duration, found {other:?}"),
        }
    }

    /// A number: a count, bytes or thousandths.
    ///
    /// # Panics
    /// If the schema has no number of that name.
    pub fn number(&self, name: &str) -> u64 {
        match self.get(name) {
            Some(Value::Count(value) | Value::Bytes(value)) => value,
            Some(Value::Permille(value)) => value.into(),
            other => panic!("E296: {name} is read as a number, found {other:?}"),
        }
    }

    /// Yes or no.
    ///
    /// # Panics
    /// If the schema has no such setting.
    pub fn flag(&self, name: &str) -> bool {
        match self.get(name) {
            Some(Value::Bool(value)) => value,
            other => panic!("E296: {name} is read as true or false, found {other:?}"),
        }
    }

    /// Words.
    ///
    /// # Panics
    /// If the schema has no text of that name.
    pub fn text(&self, name: &str) -> String {
        match self.get(name) {
            Some(Value::Text(value)) => value,
            other => panic!("E296: {name} is read as a text, found {other:?}"),
        }
    }

    /// What was set, one line each, in the order of the schema; then what is ignored.
    pub fn print(&self) -> String {
        let mut out = String::new();
        for setting in self.schema.settings {
            if let Some(value) = self.values.get(setting.name) {
                out += &format!("{} = {value}\n", setting.name);
            }
        }
        for (name, raw) in &self.ignored {
            out += &format!("{name} = {raw}\n");
        }
        out
    }

    /// Everything with help; what has its default is a comment.
    pub fn print_all(&self) -> String {
        let mut out = String::new();
        for Setting { name, range, apply, help } in self.schema.settings {
            let effect = match apply {
                Apply::Hot => "at once",
                Apply::Restart => "when a process starts",
            };
            let default = range.default_value();
            out += &format!("# {help}\n# {}; default {default}; takes effect ", range.describe());
            out += &match self.values.get(name) {
                Some(value) => format!("{effect}.\n{name} = {value}\n\n"),
                None => format!("{effect}.\n# {name} = {default}\n\n"),
            };
        }
        for (name, raw) in &self.ignored {
            out += &format!("# Not known here, without effect.\n{name} = {raw}\n\n");
        }
        out
    }

    fn set(&mut self, name: &str, raw: &text::Raw) -> Result<(), ConfigError> {
        let Some(setting) = self.schema.find(name) else {
            let nearest = self.schema.nearest(name);
            return Err(ConfigError::Unknown { role: self.schema.role, key: name.into(), nearest });
        };
        let value = text::value(setting, raw)?;
        if !setting.range.admits(&value) {
            let (found, allowed) = (value.to_string(), setting.range.describe());
            return Err(ConfigError::Bounds { key: setting.name, found, allowed });
        }
        self.values.insert(setting.name, value);
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        (self.schema.check)(self).map_err(|why| ConfigError::Together { why })
    }
}

/// Words of lower-case letters, digits and `_`, with dots between them.
fn is_name(name: &str) -> bool {
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    name.len() <= SETTING_NAME_BYTES_MAX && name.split('.').all(word)
}

/// Insertions, deletions and changes of characters that make one name of another (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (index, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (at, b) in other.chars().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests;
