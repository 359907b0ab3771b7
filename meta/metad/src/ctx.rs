//! What an operation knows beside its arguments and the namespace. All that differs between runs,
//! so that an operation is a function: clock and random numbers come in from outside.

use std::collections::BTreeMap;

use engine_types::checksum::mix64;
use engine_types::{ChainTableId, ChainTableVersion, InodeId, SessionId};
use meta_schema::{Caller, Errno, Layout, LayoutTemplate, Timestamp};

use crate::halt::{Stop, refused};

/// One attempt of one operation.
pub(crate) struct Ctx<'a> {
    /// On whose behalf.
    pub(crate) caller: &'a Caller,
    /// Of which client.
    pub(crate) session: SessionId,
    /// One stamp for everything that the attempt changes.
    pub(crate) now: Timestamp,
    /// The number of the inode that it may create; the same in every attempt.
    pub(crate) fresh: Option<InodeId>,
    /// Random.
    pub(crate) random: u64,
    /// Chain tables of the newest routing info.
    pub(crate) tables: &'a Tables,
    /// How far it looks.
    pub(crate) limits: Limits,
}

/// How far operations look whose work hangs on what others have made. They are what an operation
/// may read in its transaction of 5 s; tests lower them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Directories of a tree that RemoveTree looks at: what 3FS looks at, too; some 50 ms.
    pub(crate) tree_directories: usize,
    /// Entries of a tree that RemoveTree looks at: 16 pages.
    pub(crate) tree_entries: usize,
    /// Owners that the search for deadlocks follows. Linux follows 10 and takes longer chains for
    /// none (`MAX_DEADLK_ITERATIONS`).
    pub(crate) search_owners: usize,
}

impl Limits {
    /// What services have.
    pub(crate) const DEFAULT: Self =
        Self { tree_directories: 1024, tree_entries: 65_536, search_owners: 64 };
}

/// What layouts need of a chain table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its version.
    pub version: ChainTableVersion,
    /// Its chains.
    pub chains: u32,
}

/// Chain tables of the newest routing info.
pub type Tables = BTreeMap<ChainTableId, Table>;

impl Ctx<'_> {
    /// The number of the inode that this operation creates.
    ///
    /// # Panics
    /// If the operation is none of those that create one.
    pub(crate) fn fresh(&self) -> InodeId {
        self.fresh.expect("E425: operations that create an inode are given a number for it")
    }

    /// Checks a layout that a caller wants against the chain tables that there are.
    pub(crate) fn check_template(&self, wanted: &LayoutTemplate) -> Result<Table, Stop> {
        let Some(table) = self.tables.get(&wanted.table) else {
            let why = format_args!("the cluster has no chain {}", wanted.table);
            return Err(refused(Errno::EINVAL, why));
        };
        let fits = wanted.check_in(table.chains);
        fits.map(|()| *table).map_err(|error| refused(error.errno(), error))
    }

    /// The layout of a file that is created now. `asked` is the caller's own, and has to fit; a
    /// stripe that comes from a directory is cut to what its table has.
    pub(crate) fn layout(
        &self,
        asked: Option<&LayoutTemplate>,
        inherited: &LayoutTemplate,
    ) -> Result<Layout, Stop> {
        let mut template = *asked.unwrap_or(inherited);
        if let (None, Some(table)) = (asked, self.tables.get(&template.table)) {
            template.stripe = template.stripe.min(table.chains);
        }
        let table = self.check_template(&template)?;
        let base = u32::try_from(self.random >> 32).expect("32 bits are left");
        Ok(template.layout(table.version, base, mix64(self.random)))
    }
}
