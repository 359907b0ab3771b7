//! Memory handed to the kernel through monoio, and how much of it is out.
//!
//! monoio keeps what an operation was given until its completion, also when the operation's future
//! is dropped. A buffer in here therefore returns to its pool when the kernel is done with it, and
//! no earlier (E32, S5).

use core::cell::{Cell, RefCell};
use core::ops::Range;
use core::task::Waker;
use std::rc::Rc;

use monoio::buf::{IoBuf, IoBufMut, IoVecBuf};

use crate::buffer::{Aligned, Buf, Bytes};

/// The memory of this backend.
pub type Memory = Aligned<false>;

/// Most parts of one system call (UIO_MAXIOV of the kernel).
const IOVECS_MAX: usize = 1024;

/// Counts operations whose memory the kernel may still touch.
#[derive(Clone, Default)]
pub(super) struct InFlight(Rc<Counter>);

#[derive(Default)]
struct Counter {
    count: Cell<usize>,
    /// Who waits for the last one. Nobody else hears of an operation whose future was dropped.
    waiting: RefCell<Option<Waker>>,
}

impl InFlight {
    /// Operations in flight.
    pub(super) fn count(&self) -> usize {
        self.0.count.get()
    }

    /// Counts one more, until the answer is dropped.
    pub(super) fn one(&self) -> Operation {
        self.0.count.set(self.count() + 1);
        Operation(self.clone())
    }

    /// Wakes `waker` when the last operation completes.
    pub(super) fn wake_when_none(&self, waker: &Waker) {
        *self.0.waiting.borrow_mut() = Some(waker.clone());
    }
}

/// One operation in flight.
pub(super) struct Operation(InFlight);

impl Drop for Operation {
    fn drop(&mut self) {
        let counter = &self.0.0;
        counter.count.set(counter.count.get() - 1);
        if counter.count.get() == 0
            && let Some(waker) = counter.waiting.take()
        {
            waker.wake();
        }
    }
}

/// A range of a buffer that the kernel fills.
pub(super) struct Fill {
    /// The buffer.
    pub(super) buf: Buf<Memory>,
    range: Range<usize>,
    _operation: Operation,
}

impl Fill {
    /// `range` lies inside the capacity of `buf`.
    pub(super) fn new(buf: Buf<Memory>, range: Range<usize>, operation: Operation) -> Self {
        assert!(
            !range.is_empty() && range.end <= buf.capacity(),
            "range {range:?} of a buffer of {}",
            buf.capacity()
        );
        Self { buf, range, _operation: operation }
    }
}

// SAFETY: the buffer's memory does not move when the value does, and is exclusive (E31); the range
// was checked to lie inside.
unsafe impl IoBufMut for Fill {
    fn write_ptr(&mut self) -> *mut u8 {
        // SAFETY: the start lies inside the memory.
        unsafe { self.buf.as_ptr().add(self.range.start) }
    }

    fn bytes_total(&mut self) -> usize {
        self.range.len()
    }

    unsafe fn set_init(&mut self, _: usize) {
        // Pool memory is always initialised; the length of the buffer is its owner's business.
    }
}

/// Bytes that the kernel reads, from `start`.
pub(super) struct Drain {
    /// The bytes.
    pub(super) bytes: Bytes<Memory>,
    start: usize,
    _operation: Operation,
}

impl Drain {
    /// `start` lies inside `bytes`.
    pub(super) fn new(bytes: Bytes<Memory>, start: usize, operation: Operation) -> Self {
        assert!(start <= bytes.len(), "byte {start} of {}", bytes.len());
        Self { bytes, start, _operation: operation }
    }
}

// SAFETY: shared memory neither moves nor changes (E31).
unsafe impl IoBuf for Drain {
    fn read_ptr(&self) -> *const u8 {
        self.bytes[self.start..].as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.bytes.len() - self.start
    }
}

/// Parts that are sent in order; its memory is reused from call to call.
#[derive(Default)]
pub(super) struct Parts {
    parts: Vec<Bytes<Memory>>,
    iovecs: Vec<libc::iovec>,
    /// Parts that have been sent.
    sent: usize,
    operation: Option<Operation>,
}

impl Parts {
    /// Takes references to all parts that are not empty.
    pub(super) fn load(&mut self, parts: &[Bytes<Memory>], operation: Operation) {
        assert!(self.parts.is_empty(), "cleared after every use");
        self.parts.extend(parts.iter().filter(|part| !part.is_empty()).cloned());
        self.iovecs.extend(self.parts.iter().map(|part| libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        }));
        self.operation = Some(operation);
    }

    /// Whether everything has been sent.
    pub(super) fn is_sent(&self) -> bool {
        self.sent == self.iovecs.len()
    }

    /// Notes that the kernel took `count` bytes.
    pub(super) fn advance(&mut self, mut count: usize) {
        while 0 < count {
            let part = &mut self.iovecs[self.sent];
            let taken = count.min(part.iov_len);
            // SAFETY: at most one past the end of the part.
            part.iov_base = unsafe { part.iov_base.byte_add(taken) };
            part.iov_len -= taken;
            count -= taken;
            if part.iov_len == 0 {
                self.sent += 1;
            }
        }
    }

    /// Gives the parts back and keeps the vectors.
    pub(super) fn clear(&mut self) {
        self.parts.clear();
        self.iovecs.clear();
        self.sent = 0;
        self.operation = None;
    }
}

// SAFETY: the vector of parts is not touched while the kernel has it, so that neither the iovecs
// nor what they point to move or change (E31).
unsafe impl IoVecBuf for Parts {
    fn read_iovec_ptr(&self) -> *const libc::iovec {
        self.iovecs[self.sent..].as_ptr()
    }

    fn read_iovec_len(&self) -> usize {
        (self.iovecs.len() - self.sent).min(IOVECS_MAX)
    }
}

/// Memory lent to a blocking call on another thread.
pub(super) struct Lent {
    start: *mut u8,
    len: usize,
}

// SAFETY: the lender keeps the memory alive and does not touch it until the call has answered.
unsafe impl Send for Lent {}

impl Lent {
    /// The memory, to be filled.
    ///
    /// # Safety
    /// The lender is alive, has exclusive memory and waits for the answer.
    pub(super) unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: the caller's promise.
        unsafe { core::slice::from_raw_parts_mut(self.start, self.len) }
    }

    /// The memory, to be read.
    ///
    /// # Safety
    /// The lender is alive and waits for the answer; nobody writes.
    pub(super) unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: the caller's promise.
        unsafe { core::slice::from_raw_parts(self.start, self.len) }
    }
}

impl Fill {
    /// The range, for a blocking call. This value must outlive the call.
    pub(super) fn lend(&mut self) -> Lent {
        Lent { start: self.write_ptr(), len: self.bytes_total() }
    }
}

impl Drain {
    /// The bytes, for a blocking call. This value must outlive the call.
    pub(super) fn lend(&self) -> Lent {
        Lent { start: self.read_ptr().cast_mut(), len: self.bytes_init() }
    }
}
