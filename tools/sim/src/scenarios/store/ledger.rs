//! What survives the process: the reference, where its life stands, and what was found broken.

use core::cell::RefCell;
use std::rc::Rc;

use engine_runtime::Notify;
use engine_store::{ChunkKey, Slot};
use engine_types::ChunkSize;

use super::model::Model;
use super::request::Sessions;
use crate::check::CheckFailure;

/// How far a life of the process has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing runs.
    #[default]
    Off,
    /// The store is formatted or opened.
    Opening,
    /// What was found is compared with the reference.
    Checking,
    /// Requests are made.
    Working,
    /// No request is made any more, those under way have ended.
    Resting,
    /// The store could not be opened, or has left service, and said so.
    Failed,
    /// The process has ended in order.
    Ended,
}

/// What may happen that a healthy device does not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tolerance {
    /// Reads may fail: of callers, of merges, of recovery.
    pub read_errors: bool,
    /// Writes and flushes may fail: the store leaves service.
    pub write_errors: bool,
    /// There may be no space.
    pub no_space: bool,
    /// Bytes may change by themselves: what was acknowledged may be gone, but nothing wrong is
    /// ever returned.
    pub damage: bool,
}

/// Kinds of ends that a life is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// Go on.
    #[default]
    Work,
    /// Begin nothing more.
    Rest,
    /// Look at everything, then rest.
    Inspect,
    /// Then close the store and end.
    Close,
    /// Then end without closing.
    Leave,
}

/// See the module.
#[derive(Default)]
pub struct Ledger {
    /// The reference.
    pub model: Model,
    /// Who asks.
    pub sessions: Sessions,
    /// Whether the store was ever formatted.
    pub formatted: bool,
    /// Whether it was closed in order before this life.
    pub closed: bool,
    /// Where the process stands.
    pub phase: Phase,
    /// What it shall do.
    pub wish: Wish,
    /// What is allowed to go wrong.
    pub tolerance: Tolerance,
    /// Whether every chunk finds room, whatever the others do.
    pub room: bool,
    /// Whether the device changes bytes by itself in this world: what was acknowledged may be gone.
    pub damages: bool,
    /// Whether a superblock has a bad bit: the store may say that it is damaged, or refuse to open.
    pub rotten: bool,
    /// Requests of this life that were begun.
    pub begun: u64,
    /// Requests under way.
    pub in_flight: usize,
    /// Requests of all lives.
    pub operations: u64,
    /// Recoveries that found their store.
    pub recoveries: u64,
    /// Why the store failed, when it did.
    pub failure: Option<String>,
    /// The first check that failed.
    pub broken: Option<CheckFailure>,
    /// Something of the above has changed.
    pub changed: Notify,
}

/// The ledger of one world.
pub type Shared = Rc<RefCell<Ledger>>;

impl Ledger {
    /// A reference for these chunks, on slots `0..slots`.
    pub fn new(chunks: Vec<(ChunkKey, ChunkSize)>) -> Self {
        Self { model: Model::new(chunks), ..Self::default() }
    }

    /// Notes a check that failed; the first stays.
    pub fn broken(&mut self, check: &'static str, what: impl Into<String>) {
        if self.broken.is_none() {
            self.broken = Some(CheckFailure { check, what: what.into() });
        }
        self.changed.notify();
    }

    /// The process goes on to another phase.
    pub fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.changed.notify();
    }

    /// Slots that have chunks.
    pub fn slots(&self) -> Vec<Slot> {
        let mut slots: Vec<Slot> = self.model.chunks.keys().map(|key| key.slot).collect();
        slots.dedup();
        slots
    }
}
