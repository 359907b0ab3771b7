//! One binary for every measurement of this project: `bench SUITE`.
//!
//! Every row stands beside the limit that was measured in the same run, in turns with it (B1, B2);
//! DESIGN.md beside this crate holds the numbered rules. A suite is one entry of
//! [`suite::SUITES`]; what is common to all of them (pairs, medians, table, JSON) lives here.
//!
//! Failure: a row that cannot be measured is named with its reason, the others go on, and the exit
//! code says so. A measurement that hangs ends the process, because its threads cannot be ended.

mod cli;
mod cores;
mod cpu;
mod json;
mod kv;
mod loopback;
mod machine;
mod meta;
mod meter;
mod open;
mod progress;
mod rpc;
mod runtime;
mod stats;
mod storage;
mod store;
mod suite;
mod table;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
