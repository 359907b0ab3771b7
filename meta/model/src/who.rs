//! The caller of an operation, as the rules of POSIX see it.

use meta_schema::Gid;

/// Credentials. uid 0 has all privileges ("appropriate privileges"), nobody else has any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who<'a> {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: &'a [Gid],
}

impl Who<'_> {
    pub(crate) const fn is_root(&self) -> bool {
        self.uid == 0
    }

    pub(crate) fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&Gid::new(gid))
    }
}
