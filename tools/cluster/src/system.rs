//! What std does not ask the kernel for: signals beside SIGKILL, and children that end with this
//! program.
#![expect(unsafe_code, reason = "system calls, also between fork and exec")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

/// Signals that processes get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Terminate,
    Kill,
    Stop,
    Continue,
}

impl Signal {
    const fn number(self) -> libc::c_int {
        match self {
            Self::Terminate => libc::SIGTERM,
            Self::Kill => libc::SIGKILL,
            Self::Stop => libc::SIGSTOP,
            Self::Continue => libc::SIGCONT,
        }
    }
}

/// Sends a signal to a child that has not been waited for; SIGKILL to its whole group, too, which
/// it leads (`bind_to_parent`).
pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = libc::pid_t::try_from(child.id()).expect("the system gave this number");
    let whom = if signal == Signal::Kill { -pid } else { pid };
    // SAFETY: a system call without memory. The child has not been waited for, so the number is its
    // own; that it may have ended meanwhile makes no difference to it.
    let _ = unsafe { libc::kill(whom, signal.number()) };
}

/// A child of `command` has a session of its own, so that Ctrl-C in a terminal is not meant for
/// it, and is killed when this thread ends.
pub(crate) fn bind_to_parent(command: &mut Command) {
    let parent = std::process::id();
    let before = move || {
        // SAFETY: plain system calls without memory of ours, allowed between fork and exec.
        let (session, bound, seen) = unsafe {
            let session = libc::setsid();
            let bound = libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
            (session, bound, libc::getppid())
        };
        if session == -1 || bound == -1 {
            return Err(io::Error::last_os_error());
        }
        // Who died before the kernel was asked is not told of: such a child must not run.
        if u32::try_from(seen) != Ok(parent) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: `before` makes system calls only; it neither allocates nor takes locks.
    unsafe { command.pre_exec(before) };
}
