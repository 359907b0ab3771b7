//! The cases, by part of the seam.

pub(crate) mod clock;
pub(crate) mod connect;
pub(crate) mod cores;
pub(crate) mod devices;
pub(crate) mod files;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod streams;
pub(crate) mod tasks;
