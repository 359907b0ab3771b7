//! What processes of a cluster are called.

use core::fmt;

/// A process of a cluster. Its name is that of its folder, and of its failure domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// The key-value store.
    Kv,
    /// A manager, from 1.
    Manager(usize),
    /// A storage node, from 1.
    Storage(usize),
    /// A metadata service, from 1.
    Meta(usize),
}

impl Name {
    /// The noun of `emberfs` that serves it.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Kv => "kv",
            Self::Manager(_) => "mgmt",
            Self::Storage(_) => "storage",
            Self::Meta(_) => "meta",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kv => f.write_str("kv"),
            Self::Manager(number) => write!(f, "mgmt-{number}"),
            Self::Storage(number) => write!(f, "storage-{number}"),
            Self::Meta(number) => write!(f, "meta-{number}"),
        }
    }
}
