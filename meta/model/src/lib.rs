//! Reference model of the namespace, and random operations to compare with it.
//!
//! The model says what POSIX.1-2017 and Linux' man pages say, in plain maps, and shares no rule
//! with the service: of `meta_schema` it uses names and units alone. What the standards leave open
//! is left open: several errors may be right, times and counters are bounds, numbers of inodes and
//! cookies are learnt when they are first seen.
//!
//! ```text
//!   generate --> Step -- Binding --> Request --> system under test --> answer
//!                                       |                                |
//!   shrink <-- Divergence <-- judge <-- Model::check: op::* on World <---+
//! ```
//! Several clients at a time are judged in the order of the store (`history`). Results that nobody
//! knows make several worlds of one, until an answer tells (`Model::unknown`).
//!
//! Invariants
//!   E460  one number is one inode: a number that was seen names the same inode for ever
//!   E461  a directory has one name, which is in another directory; the root has none
//!   E462, E463  times and change counters: `moment`
//!   E464  mode and access list say the same: `acl`
//!   E465  an entry is on exactly one page, at one place: `op::list`
//!   E466  at least one history of what may have happened explains every answer
//!   E467  locks exclude, and who waits is granted in the order of arrival: `lock`
//!   E468  what `shrink` returns fails, and is no longer than what was given
//!   E469  a step without those that it needs is still a request: `step`
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod acl;
mod dispatch;
mod expect;
mod generate;
mod history;
mod judge;
mod lock;
mod model;
mod moment;
mod op;
mod run;
mod shrink;
mod step;
mod text;
#[cfg(test)]
mod twin;
mod who;
mod world;

pub use generate::{Weights, generate, simpler};
pub use history::{Event, Left, Place, Unexplained, judge};
pub use model::{Divergence, Model, TooManyWorlds, WORLDS_MAX};
pub use moment::When;
pub use shrink::{SHRINK_TRIALS_MAX, shrink};
pub use step::{Binding, COOKIE_ON, EPOCH_BEFORE, EPOCH_KNOWN, EPOCH_LATER, Step};
pub use world::Root;
