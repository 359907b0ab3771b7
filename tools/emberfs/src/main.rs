//! The one binary of EmberFS: `emberfs NOUN VERB`.
//!
//! Arguments become a checked request, the request becomes one library call, its answer becomes a
//! table or JSON. A noun is a module (`store`), a verb a file below it; whatever has no face for
//! an operator lives in the crates below.
//!
//! Promises to scripts
//!   exit codes are those of [`exit::Exit`]; results go to standard output, everything else to
//!   standard error; with `--json` a failure is a document on standard output as well; nothing is
//!   asked interactively, but by `fsck --repair` on a terminal; colours and progress appear on
//!   terminals only

mod chain;
mod chain_table;
mod cli;
mod cluster;
mod config;
mod exit;
mod fsck;
mod ids;
mod kv;
mod log;
mod manager;
mod meta;
mod mgmt;
mod node;
mod output;
mod place;
mod progress;
mod reach;
mod routing;
mod run;
mod serve;
mod session;
mod settings;
mod size;
mod storage;
mod store;
mod table;
mod target;
#[cfg(test)]
mod testing;
mod text;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
