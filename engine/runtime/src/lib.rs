//! The environment that everything else runs in, and its three backends.
//!
//! [`Env`] is the seam: clock, timers, tasks, memory, files, connections, other cores. Roles are
//! written once against it. glommio and monoio are named in this crate only, so that replacing one
//! is one folder's work; the third backend is the deterministic simulator, whose semantics are the
//! weakest of the three (V3). One conformance suite runs on all of them, and on [`traced`], which
//! is any of them with a record of its file operations, for tests.

#![expect(unsafe_code, reason = "edge crate: memory, rings and descriptors end here")]

pub mod buffer;
pub mod core_spec;
pub mod env;
pub mod file;
pub mod gate;
pub mod mailbox;
pub mod stream;
pub mod traced;
pub mod wait;

#[cfg(feature = "glommio")]
pub mod glommio;
#[cfg(feature = "monoio")]
pub mod monoio;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(any(feature = "glommio", feature = "monoio"))]
mod system;

pub use buffer::{BUFFER_ALIGN, Buf, Bytes, Memory, Pool, PoolExhausted, Region, Reserved};
pub use core_spec::{CoreEnd, CoreSpec};
pub use env::{Env, Signal, Watch};
pub use file::{File, FileError, FileKind, FileOperation, Geometry, OpenOptions};
pub use gate::{Closed, Gate};
pub use mailbox::{Receiver, Refused, Sender};
pub use stream::{Closer, Listener, Reader, Stream, Writer};
#[cfg(any(feature = "glommio", feature = "monoio"))]
pub use system::RunError;
pub use traced::{FileLog, Traced};
pub use wait::{CancelToken, Elapsed, First, Notify, all, first, until, yield_now};
