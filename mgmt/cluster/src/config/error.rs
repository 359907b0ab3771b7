//! What can be wrong with settings, for the operator who wrote them.

use alloc::format;
use alloc::string::String;

use engine_types::NodeRole;

use super::ConfigVersion;
use crate::words;

/// A schema that contradicts itself: a mistake of the role that brings it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Not lower-case words with dots.
    #[error("{}: {name:?} is no name of a setting", words::role(*.role))]
    Name {
        /// The role.
        role: NodeRole,
        /// The name.
        name: &'static str,
    },
    /// Two settings of one name.
    #[error("{}: {name} is there twice", words::role(*.role))]
    Double {
        /// The role.
        role: NodeRole,
        /// The name.
        name: &'static str,
    },
    /// A default outside its bounds.
    #[error(
        "{}: {name}: the default {default} is not allowed, expected {allowed}",
        words::role(*.role)
    )]
    Default {
        /// The role.
        role: NodeRole,
        /// The name.
        name: &'static str,
        /// The default.
        default: String,
        /// The bounds.
        allowed: String,
    },
    /// Defaults that do not fit together.
    #[error("{}: the defaults do not fit together: {why}", words::role(*.role))]
    Defaults {
        /// The role.
        role: NodeRole,
        /// What the check says.
        why: String,
    },
    /// The role has a schema already.
    #[error("{} has a schema already", words::role(*.role))]
    Registered {
        /// The role.
        role: NodeRole,
    },
}

/// Settings are refused; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A line that is no `name = value`.
    #[error("line {line}: found {found:?}, expected {expected}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What stands there.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// The text is too long.
    #[error("{what}: found {found} bytes, at most {limit}")]
    TooLong {
        /// Which text.
        what: &'static str,
        /// Its bytes.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A setting that the role does not have.
    #[error("{} has no setting {key:?}{}", words::role(*.role), hint(.nearest))]
    Unknown {
        /// The role.
        role: NodeRole,
        /// As written.
        key: String,
        /// What may have been meant.
        nearest: Option<&'static str>,
    },
    /// A setting is there twice.
    #[error("{key} is set twice, in lines {first} and {second}")]
    Double {
        /// The setting.
        key: String,
        /// One line.
        first: usize,
        /// The other.
        second: usize,
    },
    /// A value of another type.
    #[error("{key}: found {found}, expected {expected}")]
    Type {
        /// The setting.
        key: &'static str,
        /// As written.
        found: String,
        /// What it may look like.
        expected: &'static str,
    },
    /// A value out of bounds.
    #[error("{key}: found {found}, expected {allowed}")]
    Bounds {
        /// The setting.
        key: &'static str,
        /// As written.
        found: String,
        /// The bounds.
        allowed: String,
    },
    /// Values that do not fit together.
    #[error("the settings do not fit together: {why}")]
    Together {
        /// What does not fit.
        why: String,
    },
    /// Somebody else was faster.
    #[error("{}: the change is based on {based_on}, in force is {current}", words::role(*.role))]
    Conflict {
        /// The role.
        role: NodeRole,
        /// What the change names.
        based_on: ConfigVersion,
        /// What it would replace.
        current: ConfigVersion,
    },
    /// A version that does not exist or has left the history.
    #[error("{} has no {found}, expected {oldest} to {newest}", words::role(*.role))]
    NoSuchVersion {
        /// The role.
        role: NodeRole,
        /// Asked for.
        found: ConfigVersion,
        /// The oldest that is kept.
        oldest: ConfigVersion,
        /// The one in force.
        newest: ConfigVersion,
    },
    /// A role without a schema.
    #[error("{} has no settings", words::role(*.role))]
    NoSchema {
        /// The role.
        role: NodeRole,
    },
}

fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}
