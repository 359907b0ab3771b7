//! Starts children that end with this program, however it ends.
//!
//! The kernel kills a child when the *thread* that started it ends (PR_SET_PDEATHSIG). So one
//! thread starts them all and lives as long as its [`Starter`], whoever asks.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::system::bind_to_parent;

/// A child to start, and where to tell what came of it.
struct Order {
    command: Command,
    tell: Sender<io::Result<Child>>,
}

/// The thread that starts children. They are killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Starter {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Starter {
    pub(crate) fn new() -> io::Result<Self> {
        let (orders, ordered) = channel();
        let thread = std::thread::Builder::new().name("cluster-starter".to_owned());
        let thread = thread.spawn(move || serve(&ordered))?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    /// Starts a child in a session of its own.
    pub(crate) fn start(&self, command: Command) -> io::Result<Child> {
        let (tell, told) = channel();
        let gone = || io::Error::other("the thread that starts processes has ended");
        let orders = self.orders.as_ref().ok_or_else(gone)?;
        orders.send(Order { command, tell }).map_err(|_| gone())?;
        told.recv().map_err(|_| gone())?
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic in there has been printed already
        }
    }
}

fn serve(ordered: &Receiver<Order>) {
    while let Ok(Order { mut command, tell }) = ordered.recv() {
        bind_to_parent(&mut command);
        if let Err(lost) = tell.send(command.spawn())
            && let Ok(mut child) = lost.0
        {
            // Nobody would ever end it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn children_end_with_their_starter() {
        let starter = Starter::new().unwrap();
        let mut command = Command::new("sleep");
        command.arg("60");
        let mut child = starter.start(command).unwrap();
        assert!(child.try_wait().unwrap().is_none());
        drop(starter);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn a_program_that_is_not_there_is_told() {
        let starter = Starter::new().unwrap();
        let error = starter.start(Command::new("/no such program")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
