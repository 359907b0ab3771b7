//! Whether io_uring can be used here, and what a person changes when it cannot (V7).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::process::{Resource, getrlimit};

use super::start::RunError;

/// Size of `struct io_uring_params`.
const PARAMS_BYTES: usize = 120;
/// Where the kernel says who may use io_uring: 0 everybody, 1 a group, 2 nobody.
const DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";

/// Sets a ring up and throws it away. `memlock_bytes` is the locked memory that the backend
/// insists on.
///
/// # Errors
/// [`RunError::Ring`] with the reason and its remedy.
pub(crate) fn check_uring(core: &str, memlock_bytes: u64) -> Result<(), RunError> {
    let refuse = |reason| Err(RunError::Ring { core: core.to_owned(), reason });
    if let Err(error) = try_ring() {
        return refuse(remedy(&error, std::fs::read_to_string(DISABLED).ok().as_deref()));
    }
    match getrlimit(Resource::Memlock).current {
        Some(limit) if limit < memlock_bytes => refuse(memlock_remedy(limit, memlock_bytes)),
        _ => Ok(()),
    }
}

fn try_ring() -> io::Result<()> {
    let mut params = [0_u64; PARAMS_BYTES / 8];
    // SAFETY: `params` has the size of io_uring_params, zeroed as the call demands, and lives
    // through the call.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1_u32, params.as_mut_ptr()) };
    match i32::try_from(fd) {
        // SAFETY: the kernel just returned this descriptor and nobody else knows it.
        Ok(fd) if 0 <= fd => drop(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => return Err(io::Error::last_os_error()),
    }
    Ok(())
}

/// What to do about `error` when `disabled` is the content of the kernel's switch.
pub(super) fn remedy(error: &io::Error, disabled: Option<&str>) -> String {
    let advice = match (error.raw_os_error(), disabled.map(str::trim)) {
        (Some(libc::EPERM), Some("2")) => {
            "it is switched off: sysctl -w kernel.io_uring_disabled=0"
        }
        (Some(libc::EPERM), Some("1")) => {
            "only a group may use it: sysctl -w kernel.io_uring_disabled=0, or put this user \
             into the group of kernel.io_uring_group"
        }
        (Some(libc::EPERM | libc::EACCES), _) => {
            "a seccomp filter or security module forbids it: in a container allow io_uring_setup, \
             io_uring_enter and io_uring_register (docker run --security-opt seccomp=FILE)"
        }
        (Some(libc::ENOSYS), _) => {
            "the kernel was built without it, is older than 5.6, or a container's seccomp filter \
             hides it"
        }
        (Some(libc::ENOMEM), _) => {
            "the limit of locked memory is too low: ulimit -l unlimited, or LimitMEMLOCK=infinity \
             in the systemd unit"
        }
        (Some(libc::EMFILE | libc::ENFILE), _) => {
            "too many open files: ulimit -n, or LimitNOFILE= in the systemd unit"
        }
        _ => "unexpected answer of io_uring_setup",
    };
    format!("{error}: {advice}")
}

/// What to do when less memory may be locked than a backend needs.
pub(super) fn memlock_remedy(limit: u64, needed: u64) -> String {
    format!(
        "{limit} bytes may be locked in memory, {needed} are needed: ulimit -l {}, or \
         LimitMEMLOCK=infinity in the systemd unit",
        needed.div_ceil(1024)
    )
}
