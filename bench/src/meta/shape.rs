//! What is measured: operations, where they meet, how many services do them, and their goals.

use crate::stats::Heading;

/// Goal of creates beside the served store with the same transactions.
const CREATE_GOAL: f64 = 0.7;
/// Goal of stats beside a service that does nothing but read.
const STAT_GOAL: f64 = 0.8;
/// Most requests in flight.
pub(super) const TASKS: u32 = 64;
/// Entries that are there when something is done to existing ones, all tasks together: many times
/// the requests in flight, and a directory of several pages.
const ENTRIES: u32 = 4096;
/// Entries of a page of readdir: those of one task, so that both kinds of directories have them.
pub(super) const PAGE_ENTRIES: u32 = ENTRIES / TASKS;

/// One operation of mdtest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// A new file, not opened.
    Create,
    /// Attributes of a file, by its number.
    Stat,
    /// A page of names.
    Readdir,
    /// Another name for a file in its directory.
    Rename,
    /// The only name of a file goes.
    Unlink,
    /// A new directory.
    Mkdir,
    /// Attributes of a directory.
    StatDir,
    /// Another name for a directory in the same parent.
    RenameDir,
    /// An empty directory goes.
    Rmdir,
}

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) work: Work,
    /// All tasks work in one directory; else each in its own.
    pub(super) shared: bool,
    /// Requests in flight.
    pub(super) tasks: u32,
}

/// What is measured in turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// The client and its services.
    Subject,
    /// The transactions of these services, by themselves.
    Replay,
    /// The commits of these transactions, without what was read before them.
    Commits,
    /// A service that reads what is asked for, and answers so many bytes.
    Null,
}

impl Work {
    /// All of them, in the order of the table.
    pub(super) const ALL: [Self; 9] = [
        Self::Create,
        Self::Stat,
        Self::Readdir,
        Self::Rename,
        Self::Unlink,
        Self::Mkdir,
        Self::StatDir,
        Self::RenameDir,
        Self::Rmdir,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Stat => "stat",
            Self::Readdir => "readdir",
            Self::Rename => "rename",
            Self::Unlink => "unlink",
            Self::Mkdir => "mkdir",
            Self::StatDir => "stat-dir",
            Self::RenameDir => "rename-dir",
            Self::Rmdir => "rmdir",
        }
    }

    /// Whether it changes anything.
    pub(super) fn is_change(self) -> bool {
        !matches!(self, Self::Stat | Self::StatDir | Self::Readdir)
    }

    /// Whether it is about directories.
    pub(super) fn is_of_directories(self) -> bool {
        matches!(self, Self::Mkdir | Self::StatDir | Self::RenameDir | Self::Rmdir)
    }

    /// Whether every operation needs an entry that nobody has removed.
    pub(super) fn consumes(self) -> bool {
        matches!(self, Self::Unlink | Self::Rmdir)
    }

    fn creates(self) -> bool {
        matches!(self, Self::Create | Self::Mkdir)
    }
}

impl Side {
    /// Its name where layers are told.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Subject => "service",
            Self::Replay => "kv",
            Self::Commits => "kv commits alone",
            Self::Null => "null service",
        }
    }

    /// Whether the services' cores do it by themselves.
    pub(super) fn is_of_services(self) -> bool {
        matches!(self, Self::Replay | Self::Commits)
    }
}

impl Shape {
    /// All loads on so many services, in the order of the table.
    pub(super) fn all(services: u32) -> Vec<Self> {
        let full = [true, false].into_iter().flat_map(|shared| {
            Work::ALL.into_iter().map(move |work| Self { work, shared, tasks: TASKS })
        });
        // What one request takes that meets no other.
        let lone = [Work::Create, Work::Stat].map(|work| Self { work, shared: true, tasks: 1 });
        let lone = lone.into_iter().filter(|_| services == 1);
        full.chain(lone).collect()
    }

    /// What it is measured beside; the first is its limit.
    pub(super) fn layers(self) -> &'static [Side] {
        match self.work {
            Work::Stat | Work::StatDir => &[Side::Null, Side::Replay],
            Work::Readdir => &[Side::Replay],
            _ => &[Side::Replay, Side::Commits],
        }
    }

    /// Entries of each task before anything is measured.
    pub(super) fn entries(self) -> u32 {
        if self.work.creates() { 0 } else { ENTRIES / self.tasks }
    }

    /// Name, unit and goal of its row.
    pub(super) fn heading(self, services: u32) -> Heading {
        let directory = if self.shared { "shared" } else { "unique" };
        let name = format!("meta/{}/{directory}/s{services}/q{}", self.work.name(), self.tasks);
        let unit = if self.work == Work::Readdir { "page/s" } else { "op/s" };
        let goal = match self.work {
            Work::Create => Some(CREATE_GOAL),
            Work::Stat => Some(STAT_GOAL),
            _ => None,
        };
        Heading { name, unit, scale: 1.0, goal }
    }
}
