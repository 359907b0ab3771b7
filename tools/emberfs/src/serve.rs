//! What all roles that serve in the foreground have in common: a free address, signals, and what
//! it means when they cannot serve.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, ErrorKind};
use std::net::TcpListener;

use anyhow::anyhow;
use engine_runtime::{CancelToken, Env, Receiver, Signal};

use crate::exit::{Exit, Failure};

/// How long somebody else may still listen at the address: the kernel ends the operations of a
/// killed process within that.
const LISTEN_TIME_MAX: Duration = Duration::from_secs(2);
/// Pause between looks whether the address is free.
const LISTEN_PAUSE: Duration = Duration::from_millis(10);

/// Waits until nobody else listens there, before anything is begun for nothing: the sockets of a
/// process that was killed are closed a moment after its end.
pub(crate) async fn free<E: Env>(env: &E, address: SocketAddr) -> Result<(), Failure> {
    let late = env.now() + LISTEN_TIME_MAX;
    loop {
        match TcpListener::bind(address) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::AddrInUse && env.now() < late => {
                env.sleep_until(env.now() + LISTEN_PAUSE).await;
            }
            Err(error) => return Err(refused(&error, address)),
        }
    }
}

/// Stops at the first signal, ends at the second. `role` is its noun, `cut` what that end means.
pub(crate) async fn obey(
    role: &'static str,
    cut: &'static str,
    signals: Receiver<Signal>,
    stop: CancelToken,
) {
    while let Some(signal) = signals.recv().await {
        if signal == Signal::Reload {
            eprintln!("emberfs {role}: SIGHUP: nothing can be changed while it runs");
            continue;
        }
        if stop.is_cancelled() {
            eprintln!("emberfs {role}: ended at once; {cut}");
            std::process::exit(Exit::Environment as i32);
        }
        eprintln!("emberfs {role}: stopping; once more ends it at once");
        stop.cancel();
    }
}

/// Why it does not serve, or no longer.
pub(crate) fn refused(error: &io::Error, listen: SocketAddr) -> Failure {
    let failure = Failure::environment(anyhow!("cannot serve on {listen}: {error}"));
    match error.kind() {
        ErrorKind::AddrInUse => failure.hint(format!(
            "another process has it (ss -ltnp 'sport = :{}'); stop it or choose another with \
             --listen",
            listen.port()
        )),
        ErrorKind::AddrNotAvailable => {
            failure.hint("it is no address of this machine (ip address shows them)")
        }
        ErrorKind::PermissionDenied => failure.hint("ports below 1024 need root"),
        ErrorKind::Other => Failure::environment(anyhow!("{error}")),
        _ => failure,
    }
}
