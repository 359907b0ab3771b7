//! Readiness of descriptors, through the ring or epoll.

use std::io;
use std::net::TcpStream as Descriptor;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, fstat};

use crate::env;

/// A watched descriptor; closes with this value.
///
/// monoio polls nothing but its own types. Its `TcpStream` asks nothing of the descriptor it is
/// given, so it serves as a wrapper for any (measured: eventfd, `/dev/fuse`, another ring).
pub struct Watch {
    descriptor: monoio::net::TcpStream,
}

impl Watch {
    /// Watches `descriptor`.
    ///
    /// # Errors
    /// `InvalidInput` for files and directories, which are always readable.
    pub(super) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let mode = fstat(descriptor.as_fd())?.st_mode;
        let kind = FileType::from_raw_mode(mode);
        if matches!(kind, FileType::RegularFile | FileType::Directory) {
            let message = format!("the descriptor cannot be polled: it is a {kind:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let descriptor = monoio::net::TcpStream::from_std(Descriptor::from(descriptor))?;
        Ok(Self { descriptor })
    }
}

impl env::Watch for Watch {
    async fn readable(&mut self) -> io::Result<()> {
        // Not relaxed: epoll's edge is checked against the descriptor, as POLL_ADD does.
        self.descriptor.readable(false).await
    }
}
