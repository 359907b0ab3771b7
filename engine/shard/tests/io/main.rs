//! The driver on the runtimes that ship: its I/O in order, and its files after the process was
//! killed.
//!
//! [`trace`]: for every acknowledgement a flush has ended that began after the data and the record
//! of what is acknowledged had been written (S11, E150); with flushes left out, or not waited for,
//! the same check fails.
//! [`kill`]: a process that writes is killed at any moment; everything that it had acknowledged is
//! there, whole, when the file is opened again.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a step that fails is a test that fails")]

mod common;
mod kill;
mod trace;
