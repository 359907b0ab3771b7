//! Why something is not done.

use alloc::string::String;

use meta_schema::{Errno, fields, numbered, records};

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// POSIX says so: the program is told.
    Posix,
    /// A later request of the channel was done already: whoever asked has had its answer.
    OldRequest,
    /// The session is fenced, or has ended: the client opens another one.
    Fenced,
}

numbered! {
    Cause {
        1 = Posix,
        2 = OldRequest,
        3 = Fenced,
    }
}

/// Why something is not done. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{errno}: {text}")]
pub struct Refusal {
    /// What a program is told.
    pub errno: Errno,
    /// What kind of refusal it is.
    pub cause: Cause,
    /// For people: what was wrong, with ids and both values. At most [`Self::TEXT_BYTES_MAX`].
    pub text: String,
}

/// Longest text.
const TEXT_BYTES_MAX: usize = 1024;

fields! {
    Refusal { errno, cause, text: text(TEXT_BYTES_MAX) }
}

records! {
    Refusal = "refusal";
}

impl Refusal {
    /// Longest text; longer ones are cut when they are sent.
    pub const TEXT_BYTES_MAX: usize = TEXT_BYTES_MAX;

    /// What POSIX says.
    pub fn new(errno: Errno, text: impl Into<String>) -> Self {
        Self { errno, cause: Cause::Posix, text: text.into() }
    }

    /// A request of a channel that is further.
    pub fn old_request(text: impl Into<String>) -> Self {
        Self { errno: Errno::EIO, cause: Cause::OldRequest, text: text.into() }
    }

    /// A request of a session that has ended.
    pub fn fenced(text: impl Into<String>) -> Self {
        Self { errno: Errno::ESTALE, cause: Cause::Fenced, text: text.into() }
    }
}
