//! Process signals, fanned out into mailboxes by one thread.
//!
//! The first subscriber takes over the default actions of SIGTERM, SIGINT and SIGHUP for the whole
//! process; they stay taken over, so a process without receivers no longer dies of them.

use std::io;
use std::sync::{Mutex, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::place::roam;
use crate::env::Signal;
use crate::mailbox::{Receiver, Refused, Sender, bounded};

/// Repeats beyond this are dropped: whoever has not looked at one request needs no fifth.
const SIGNALS_WAITING_MAX: usize = 4;

struct Hub {
    started: bool,
    receivers: Vec<Sender<Signal>>,
}

static HUB: Mutex<Hub> = Mutex::new(Hub { started: false, receivers: Vec::new() });

/// A receiver of every signal from now on.
///
/// # Errors
/// When handlers or the thread cannot be had; the next call tries again.
pub(crate) fn signals() -> io::Result<Receiver<Signal>> {
    let mut hub = HUB.lock().unwrap_or_else(PoisonError::into_inner);
    if !hub.started {
        start()?;
        hub.started = true;
    }
    let (sender, receiver) = bounded(SIGNALS_WAITING_MAX, None);
    hub.receivers.push(sender);
    Ok(receiver)
}

fn start() -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let fan_out = move || {
        roam();
        for number in signals.forever() {
            let signal = match number {
                SIGTERM => Signal::Terminate,
                SIGINT => Signal::Interrupt,
                _ => Signal::Reload,
            };
            let mut hub = HUB.lock().unwrap_or_else(PoisonError::into_inner);
            hub.receivers.retain(|to| !matches!(to.try_send(signal), Err(Refused::Closed(_))));
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(fan_out)?;
    Ok(())
}
