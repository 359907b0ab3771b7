//! How glommio's rings enter the kernel.
//!
//! glommio 0.9 sets up its rings through a bundled liburing 2.0 and asks for none of the kernel's
//! newer modes. Without `IORING_SETUP_COOP_TASKRUN` the kernel interrupts the core for every
//! completion that another CPU reports, to run a function that the next system call would have run
//! anyway: 10 to 15 % of the CPU time of small reads. No flag passes through glommio. Therefore the
//! four functions with which liburing calls the kernel are defined here: the linker takes them
//! instead of the bundled ones, and says so when it cannot (the bundled four are one object: either
//! none of it is linked, or the symbols exist twice, which is an error).
//!
//! A completion may then be seen a little later, with the next entry into the kernel, the latest by
//! the preemption timer's interrupt; a core that sleeps is in the kernel.

use core::ffi::{c_int, c_long, c_uint, c_void};
use core::sync::atomic::{AtomicUsize, Ordering};

/// `IORING_SETUP_IOPOLL`: its completions are looked for by the caller.
const IOPOLL: u32 = 1 << 0;
/// `IORING_SETUP_COOP_TASKRUN`, since Linux 5.19.
const COOP_TASKRUN: u32 = 1 << 8;
/// Bytes of the mask of signals: that of the kernel has 64 bits.
const SIGNALS_BYTES: c_int = 8;

/// Rings that were set up here; 0 would mean that the bundled functions were linked.
static RINGS: AtomicUsize = AtomicUsize::new(0);

/// The beginning of `struct io_uring_params`.
#[repr(C)]
pub(super) struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
}

/// Rings of this process that were set up here. Whoever asks has the functions linked: it names
/// them, so that the linker takes the object that holds them before it comes to liburing.
pub(super) fn rings() -> usize {
    let functions = [
        __sys_io_uring_setup as *const (),
        __sys_io_uring_enter as *const (),
        __sys_io_uring_enter2 as *const (),
        __sys_io_uring_register as *const (),
    ];
    core::hint::black_box(functions);
    RINGS.load(Ordering::Relaxed)
}

/// What liburing returns of a system call: its answer, or -1 with the reason in `errno`.
fn answer(result: c_long) -> c_int {
    c_int::try_from(result).expect("io_uring answers descriptors and counts")
}

/// # Safety
/// `params` is a `struct io_uring_params`, alive and not aliased through the call.
// SAFETY: liburing's own function of this name is not linked, see the module.
#[unsafe(no_mangle)]
unsafe extern "C" fn __sys_io_uring_setup(entries: c_uint, params: *mut Params) -> c_int {
    RINGS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: as the caller promises.
    let flags = unsafe { &raw mut (*params).flags };
    // SAFETY: as above; plain integers.
    let asked = unsafe { flags.read() };
    if asked & IOPOLL == 0 {
        // SAFETY: as above.
        unsafe { flags.write(asked | COOP_TASKRUN) };
    }
    // SAFETY: the arguments are the caller's.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, params) };
    if 0 <= ring || asked & IOPOLL != 0 {
        return answer(ring);
    }
    // SAFETY: as above. An older kernel does not know the flag; any other reason comes again.
    unsafe { flags.write(asked) };
    // SAFETY: as above.
    answer(unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, params) })
}

/// # Safety
/// As io_uring_enter(2).
// SAFETY: as `__sys_io_uring_setup`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __sys_io_uring_enter2(
    ring: c_int,
    to_submit: c_uint,
    min_complete: c_uint,
    flags: c_uint,
    argument: *mut c_void,
    argument_bytes: c_int,
) -> c_int {
    let bytes = c_long::from(argument_bytes);
    // SAFETY: the arguments are the caller's.
    let result = unsafe {
        let call = libc::SYS_io_uring_enter;
        libc::syscall(call, ring, to_submit, min_complete, flags, argument, bytes)
    };
    answer(result)
}

/// # Safety
/// As io_uring_enter(2).
// SAFETY: as `__sys_io_uring_setup`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __sys_io_uring_enter(
    ring: c_int,
    to_submit: c_uint,
    min_complete: c_uint,
    flags: c_uint,
    signals: *mut c_void,
) -> c_int {
    // SAFETY: the arguments are the caller's.
    unsafe { __sys_io_uring_enter2(ring, to_submit, min_complete, flags, signals, SIGNALS_BYTES) }
}

/// # Safety
/// As io_uring_register(2).
// SAFETY: as `__sys_io_uring_setup`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __sys_io_uring_register(
    ring: c_int,
    operation: c_uint,
    argument: *const c_void,
    count: c_uint,
) -> c_int {
    // SAFETY: the arguments are the caller's.
    let result =
        unsafe { libc::syscall(libc::SYS_io_uring_register, ring, operation, argument, count) };
    answer(result)
}
