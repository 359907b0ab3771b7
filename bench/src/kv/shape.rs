//! What is measured on which layer: the rows of the suite and their goals.

use super::keys::{ENTRY_BYTES, KEYS_PER_COMMIT, PAGE_ENTRIES, Where};
use crate::runtime::Runtime;
use crate::stats::Heading;
use crate::suite::Keys;

/// Bytes of the flushed append that stands for itself: a page.
pub(super) const APPEND_BYTES: usize = 4 << 10;

/// Durable transactions of three keys a second that one small machine has to reach with 64 tasks.
const COMMITS_GOAL: f64 = 15_000.0;
/// Tasks at which [`COMMITS_GOAL`] is asked for, at least.
const GOAL_TASKS: u64 = 64;

/// What keeps the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    /// The one that ships.
    Redb,
    /// The one it is compared with.
    Fjall,
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// A file that is appended to and flushed.
    Flush,
    /// An engine alone, without transactions.
    Bare,
    /// Transactions in this process.
    Embedded(Runtime),
    /// Transactions over loopback TCP: runtimes of server and client.
    Served(Runtime, Runtime),
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// A flushed append.
    Append,
    /// A durable transaction that sets three keys.
    Set(Where),
    /// The same, one of them read before with conflict.
    ReadSet(Where),
    /// The value of a random key.
    Get,
    /// A page of neighbours from a random key on.
    Page,
}

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) work: Work,
    /// Tasks at the same time; of a bare engine transactions in one batch.
    pub(super) tasks: u64,
}

/// The rows that one core measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) engine: Engine,
    pub(super) layer: Layer,
}

impl Engine {
    /// Those that this build has, what ships first.
    pub(super) fn built() -> &'static [Self] {
        if cfg!(feature = "fjall") { &[Self::Redb, Self::Fjall] } else { &[Self::Redb] }
    }

    /// Its name in rows.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Redb => "redb",
            Self::Fjall => "fjall",
        }
    }
}

impl Work {
    /// Bytes that one operation moves.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Append => APPEND_BYTES,
            Self::Set(_) | Self::ReadSet(_) => KEYS_PER_COMMIT * ENTRY_BYTES,
            Self::Get => ENTRY_BYTES,
            Self::Page => PAGE_ENTRIES * ENTRY_BYTES,
        }
    }

    /// Whether it changes anything.
    pub(super) fn is_write(self) -> bool {
        !matches!(self, Self::Get | Self::Page)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Append => "append-4k",
            Self::Set(Where::Near) => "set3-near",
            Self::Set(Where::Spread) => "set3-spread",
            Self::ReadSet(Where::Near) => "get1-set3-near",
            Self::ReadSet(Where::Spread) => "get1-set3-spread",
            Self::Get => "get",
            Self::Page => "page100",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Append => "flush/s",
            Self::Set(_) | Self::ReadSet(_) => "txn/s",
            Self::Get => "read/s",
            Self::Page => "page/s",
        }
    }
}

impl Setting {
    /// Every setting of an engine, in the order of the table.
    pub(super) fn all_of(engine: Engine) -> Vec<Self> {
        use Runtime::{Glommio, Monoio};
        let layers: &[Layer] = match engine {
            Engine::Redb => &[
                Layer::Flush,
                Layer::Bare,
                Layer::Embedded(Glommio),
                Layer::Embedded(Monoio),
                Layer::Served(Glommio, Glommio),
                Layer::Served(Monoio, Monoio),
            ],
            Engine::Fjall => &[Layer::Bare, Layer::Embedded(Monoio)],
        };
        layers.iter().map(|&layer| Self { engine, layer }).collect()
    }

    /// Its loads, in the order of the table.
    pub(super) fn shapes(self, keys: &Keys) -> Vec<Shape> {
        use Where::{Near, Spread};
        let of = |work, tasks: &[u64]| tasks.iter().map(|&tasks| Shape { work, tasks }).collect();
        let most = keys.tasks;
        let mut few: Vec<u64> = [1, 8].into_iter().filter(|&few| few < most).collect();
        few.push(most);
        let loads: Vec<Vec<Shape>> = match self.layer {
            Layer::Flush => vec![of(Work::Append, &[1])],
            Layer::Bare => {
                let batches = [1, 16, 64];
                vec![of(Work::Set(Near), &batches), of(Work::Set(Spread), &batches)]
            }
            Layer::Embedded(_) | Layer::Served(..) => vec![
                of(Work::Set(Near), &few),
                of(Work::Set(Spread), &few),
                of(Work::ReadSet(Near), &few),
                of(Work::ReadSet(Spread), &[most]),
                of(Work::Get, &[most]),
                of(Work::Page, &[most]),
            ],
        };
        loads.concat()
    }

    /// What its rows have in common.
    pub(super) fn name(self) -> String {
        let engine = self.engine.name();
        match self.layer {
            Layer::Flush => "flush".to_owned(),
            Layer::Bare => format!("{engine}/bare"),
            Layer::Embedded(runtime) => format!("{engine}/embedded-{}", runtime.name()),
            Layer::Served(server, client) => {
                format!("{engine}/served-{}-{}", server.name(), client.name())
            }
        }
    }

    /// Name and unit of one of its rows.
    pub(super) fn heading(self, shape: Shape) -> Heading {
        let (setting, work) = (self.name(), shape.work.name());
        let name = match self.layer {
            Layer::Flush => format!("{setting}/{work}"),
            Layer::Bare => format!("{setting}/{work}/b{}", shape.tasks),
            Layer::Embedded(_) | Layer::Served(..) => format!("{setting}/{work}/q{}", shape.tasks),
        };
        Heading { name, unit: shape.work.unit(), scale: 1.0, goal: None }
    }

    /// What is asked for, in the unit of the row.
    pub(super) fn value_goal(self, shape: Shape) -> Option<f64> {
        let asked = self.engine == Engine::Redb
            && matches!(self.layer, Layer::Embedded(_))
            && matches!(shape.work, Work::Set(_))
            && GOAL_TASKS <= shape.tasks;
        asked.then_some(COMMITS_GOAL)
    }
}
