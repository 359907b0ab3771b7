//! Versions of every role's settings.
//!
//! ```text
//! row, by role and version
//!   0  version u8 = 1, body length u32          the frame of `fields`
//!   5  role u8  config version u64
//!  14  note: length u32, bytes; text: length u32, bytes
//! ```

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use engine_types::{NodeRole, reached};

use super::text::{self, CONFIG_TEXT_BYTES_MAX};
use super::{Apply, ConfigError, Schema, SchemaError, Settings, Value};
use crate::fields::{DecodeError, Reader, Writer};
use crate::words;

/// Versions of a role that are kept: enough to see who changed what this month, and at most 2 MiB.
pub const CONFIG_HISTORY_MAX: usize = 64;
/// Longest note on a change: a sentence or two.
pub const CONFIG_NOTE_BYTES_MAX: usize = 256;

const VERSION: u8 = 1;
const RECORD: &str = "config";

/// Version of one role's settings; 0 means that nothing was ever set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigVersion(u64);

impl ConfigVersion {
    /// Wraps the raw number.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The raw number, for encoding.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one after it.
    ///
    /// # Panics
    /// After 2^64 changes.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("E297: a change takes milliseconds"))
    }
}

impl fmt::Display for ConfigVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "config-{}", self.0)
    }
}

/// One version, as it is in the KV and sent to processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Whose settings.
    pub role: NodeRole,
    /// Its number.
    pub version: ConfigVersion,
    /// What the operator said about it.
    pub note: String,
    /// What was set, as [`Settings::print`] writes it.
    pub text: String,
}

impl ConfigEntry {
    /// For the KV.
    ///
    /// # Panics
    /// If a text is too long.
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.note.len() <= CONFIG_NOTE_BYTES_MAX, "E299: {} is short", self.version);
        assert!(self.text.len() <= CONFIG_TEXT_BYTES_MAX, "E299: {} is short", self.version);
        let mut out = Writer::new(VERSION);
        out.u8(self.role.code());
        out.u64(self.version.get());
        out.text(&self.note);
        out.text(&self.text);
        out.finish()
    }

    /// From the KV. The text is judged when the entry is loaded.
    ///
    /// # Errors
    /// The first field that does not fit.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(RECORD, bytes)?;
        let code = reader.u8("role")?;
        let role = NodeRole::from_code(code);
        let role = role.ok_or_else(|| reader.bad_number("role", code.into(), "1 to 6"))?;
        let version = ConfigVersion::new(reader.u64("config version")?);
        let note = reader.text("note", CONFIG_NOTE_BYTES_MAX)?;
        let text = reader.text("text", CONFIG_TEXT_BYTES_MAX)?;
        Ok(Self { role, version, note, text })
    }
}

/// What one KV transaction writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// The new version.
    pub put: ConfigEntry,
    /// The version that leaves the history.
    pub remove: Option<ConfigVersion>,
}

/// Entries that do not belong together were loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigLoadError {
    /// Versions are loaded in ascending order without a gap.
    #[error("{}: {found} follows {last}", words::role(*.role))]
    Order {
        /// The role.
        role: NodeRole,
        /// Loaded now.
        found: ConfigVersion,
        /// Loaded before.
        last: ConfigVersion,
    },
    /// A text that no manager could have written.
    #[error("{} {version}: {why}", words::role(*.role))]
    Text {
        /// The role.
        role: NodeRole,
        /// The entry.
        version: ConfigVersion,
        /// What is wrong.
        why: ConfigError,
    },
    /// Nobody brought a schema for the role.
    #[error("{} has entries but no schema", words::role(*.role))]
    NoSchema {
        /// The role.
        role: NodeRole,
    },
}

/// A setting that differs between two versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The setting.
    pub name: &'static str,
    /// In force in the first version.
    pub before: Value,
    /// In force in the second.
    pub after: Value,
    /// When the change takes effect.
    pub apply: Apply,
}

#[derive(Clone, Debug)]
struct RoleConfig {
    current: Settings,
    history: VecDeque<ConfigEntry>,
}

impl RoleConfig {
    fn version(&self) -> ConfigVersion {
        self.history.back().map_or(ConfigVersion::default(), |entry| entry.version)
    }

    fn oldest(&self) -> ConfigVersion {
        self.history.front().map_or(ConfigVersion::default(), |entry| entry.version)
    }
}

/// The settings of all roles.
#[derive(Clone, Debug, Default)]
pub struct ClusterConfig(BTreeMap<NodeRole, RoleConfig>);

impl ClusterConfig {
    /// No role has a schema.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// A role brings its schema, before anything of it is loaded.
    ///
    /// # Errors
    /// When it has one already.
    pub fn register(&mut self, schema: Schema) -> Result<(), SchemaError> {
        let role = schema.role();
        if self.0.contains_key(&role) {
            return Err(SchemaError::Registered { role });
        }
        let config = RoleConfig { current: schema.defaults(), history: VecDeque::new() };
        self.0.insert(role, config);
        Ok(())
    }

    /// An entry of the KV, in ascending order of versions of its role.
    ///
    /// # Errors
    /// When there is a gap, the text is damaged or the role is unknown.
    pub fn load(&mut self, entry: ConfigEntry) -> Result<(), ConfigLoadError> {
        let (role, found) = (entry.role, entry.version);
        let Some(config) = self.0.get_mut(&role) else {
            return Err(ConfigLoadError::NoSchema { role });
        };
        let last = config.version();
        let first = config.history.is_empty() && last < found;
        if !first && found != last.next() {
            return Err(ConfigLoadError::Order { role, found, last });
        }
        let settings = config.current.schema().parse_stored(&entry.text);
        let wrong = |why| ConfigLoadError::Text { role, version: found, why };
        config.current = settings.map_err(wrong)?;
        config.history.push_back(entry);
        if CONFIG_HISTORY_MAX < config.history.len() {
            config.history.pop_front();
        }
        Ok(())
    }

    fn role(&self, role: NodeRole) -> Result<&RoleConfig, ConfigError> {
        self.0.get(&role).ok_or(ConfigError::NoSchema { role })
    }

    /// The settings in force and their version.
    ///
    /// # Errors
    /// When the role has no schema.
    pub fn current(&self, role: NodeRole) -> Result<(ConfigVersion, &Settings), ConfigError> {
        let config = self.role(role)?;
        Ok((config.version(), &config.current))
    }

    /// The entry in force, for processes of the role; nothing if only defaults are.
    pub fn newest(&self, role: NodeRole) -> Option<&ConfigEntry> {
        self.0.get(&role)?.history.back()
    }

    /// The versions that are kept, oldest first.
    pub fn history(&self, role: NodeRole) -> impl Iterator<Item = &ConfigEntry> {
        self.0.get(&role).into_iter().flat_map(|config| config.history.iter())
    }

    /// Replaces all settings of a role by those of `text`. `based_on` is the version that the
    /// operator saw.
    ///
    /// # Errors
    /// When another one is in force by now, or the first thing that is wrong with the text.
    pub fn plan_replace(
        &self,
        role: NodeRole,
        based_on: ConfigVersion,
        text: &str,
        note: &str,
    ) -> Result<ConfigChange, ConfigError> {
        let config = self.based_on(role, based_on, note)?;
        let current = &config.current;
        let settings = current.schema().parse_beside(text, &current.ignored)?;
        Self::change(config, &settings, note)
    }

    /// Changes single settings: to a value as a text writes it, or to the default.
    ///
    /// # Errors
    /// When another version than `based_on` is in force by now, or the first thing that is wrong.
    pub fn plan_set(
        &self,
        role: NodeRole,
        based_on: ConfigVersion,
        changes: &[(&str, Option<&str>)],
        note: &str,
    ) -> Result<ConfigChange, ConfigError> {
        let config = self.based_on(role, based_on, note)?;
        let mut settings = config.current.clone();
        for &(name, value) in changes {
            let was_ignored = settings.ignored.remove(name).is_some();
            let Some(value) = value else {
                let was_set = settings.values.remove(name).is_some();
                if !was_set && !was_ignored && settings.schema().find(name).is_none() {
                    let nearest = settings.schema().nearest(name);
                    return Err(ConfigError::Unknown { role, key: name.into(), nearest });
                }
                continue;
            };
            let raw = text::raw(value.trim()).map_err(|expected| {
                let found = value.to_string();
                ConfigError::Syntax { line: 1, found, expected }
            })?;
            settings.set(name, &raw)?;
        }
        settings.check()?;
        Self::change(config, &settings, note)
    }

    fn based_on(
        &self,
        role: NodeRole,
        based_on: ConfigVersion,
        note: &str,
    ) -> Result<&RoleConfig, ConfigError> {
        let config = self.role(role)?;
        let current = config.version();
        if based_on != current {
            reached!("E297: two operators changed the settings at once");
            return Err(ConfigError::Conflict { role, based_on, current });
        }
        let (found, limit) = (note.len(), CONFIG_NOTE_BYTES_MAX);
        if limit < found {
            return Err(ConfigError::TooLong { what: "the note", found, limit });
        }
        Ok(config)
    }

    fn change(
        config: &RoleConfig,
        settings: &Settings,
        note: &str,
    ) -> Result<ConfigChange, ConfigError> {
        let (role, version) = (settings.schema().role(), config.version().next());
        let text = settings.print();
        let (found, limit) = (text.len(), CONFIG_TEXT_BYTES_MAX);
        if limit < found {
            return Err(ConfigError::TooLong { what: "the settings", found, limit });
        }
        let put = ConfigEntry { role, version, note: note.into(), text };
        let full = config.history.len() == CONFIG_HISTORY_MAX;
        Ok(ConfigChange { put, remove: full.then(|| config.oldest()) })
    }

    /// The change is in the KV.
    ///
    /// # Panics
    /// If it was not planned on the version in force.
    pub fn committed(&mut self, change: ConfigChange) {
        let ConfigChange { put, remove } = change;
        let role = put.role;
        self.load(put).expect("E297: a change follows the version that it was planned on");
        let oldest = self.0[&role].oldest();
        assert!(remove.is_none_or(|gone| gone < oldest), "E297: {remove:?} left, {oldest} stays");
    }

    /// The settings of a version that is kept; 0 means the defaults.
    ///
    /// # Errors
    /// When it is not kept or the role has no schema.
    pub fn at(&self, role: NodeRole, found: ConfigVersion) -> Result<Settings, ConfigError> {
        let config = self.role(role)?;
        let schema = config.current.schema();
        if found == ConfigVersion::default() {
            return Ok(schema.defaults());
        }
        match config.history.iter().find(|entry| entry.version == found) {
            Some(entry) => schema.parse_stored(&entry.text),
            None => {
                let (oldest, newest) = (config.oldest(), config.version());
                Err(ConfigError::NoSuchVersion { role, found, oldest, newest })
            }
        }
    }

    /// What differs in effect between two versions that are kept, in the order of the schema.
    ///
    /// # Errors
    /// When one is not kept or the role has no schema.
    pub fn diff(
        &self,
        role: NodeRole,
        before: ConfigVersion,
        after: ConfigVersion,
    ) -> Result<Vec<Difference>, ConfigError> {
        let (before, after) = (self.at(role, before)?, self.at(role, after)?);
        let differ = |setting: &super::Setting| {
            let (before, after) = before.get(setting.name).zip(after.get(setting.name))?;
            let (name, apply) = (setting.name, setting.apply);
            (before != after).then_some(Difference { name, before, after, apply })
        };
        Ok(before.schema().settings().iter().filter_map(differ).collect())
    }
}

#[cfg(test)]
mod tests;
