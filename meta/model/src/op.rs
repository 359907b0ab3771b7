//! The operations, written from POSIX.1-2017 and Linux' man pages.

pub(crate) mod attr;
pub(crate) mod create;
pub(crate) mod file;
pub(crate) mod list;
pub(crate) mod lock;
pub(crate) mod remove;
pub(crate) mod rename;
pub(crate) mod walk;
pub(crate) mod xattr;
