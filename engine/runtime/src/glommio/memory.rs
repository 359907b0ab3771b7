//! Memory that glommio's rings read and write.
//!
//! glommio cannot use foreign memory: buffers of the pool are its own, shared by count so that a
//! write takes them without a copy, and what a read returns is glommio's too and is adopted.

use std::rc::Rc;

use ::glommio::allocate_dma_buffer;
use ::glommio::io::{DmaBuffer, ReadResult};

use crate::buffer::{BUFFER_ALIGN, Memory};

/// Memory of one buffer.
pub struct GlommioMemory(pub(super) Kind);

pub(super) enum Kind {
    /// From the arena of the executor, or from the allocator when that is full. Never trimmed:
    /// trimming cannot be undone.
    Pooled(Rc<DmaBuffer>),
    /// Filled by a read. glommio hands it out for reading only, so it never becomes a buffer to
    /// write again.
    Read(ReadResult),
}

impl GlommioMemory {
    /// Memory that a read has filled.
    pub(super) fn filled(bytes: ReadResult) -> Self {
        let aligned = bytes.is_empty() || bytes.as_ptr().addr().is_multiple_of(BUFFER_ALIGN);
        assert!(aligned, "glommio aligns what it reads into");
        Self(Kind::Read(bytes))
    }
}

/// The executor of this thread; memory exists only while it runs.
pub struct GlommioSource;

// SAFETY: a `DmaBuffer` owns an allocation that does not move and is freed with it, and so does a
// non-empty `ReadResult`; both are page aligned (asserted). An empty one has length 0 and a
// pointer that is aligned and never dereferenced. Nobody else has the `Rc` while `is_unshared`.
unsafe impl Memory for GlommioMemory {
    type Source = GlommioSource;

    fn allocate(_: &GlommioSource, len: usize) -> Option<Self> {
        Some(Self(Kind::Pooled(Rc::new(zeroed(len)))))
    }

    fn as_ptr(&self) -> *mut u8 {
        match &self.0 {
            Kind::Pooled(buffer) => buffer.as_ptr().cast_mut(),
            Kind::Read(bytes) if bytes.is_empty() => {
                core::ptr::without_provenance_mut(BUFFER_ALIGN)
            }
            Kind::Read(bytes) => bytes.as_ptr().cast_mut(),
        }
    }

    fn len(&self) -> usize {
        match &self.0 {
            Kind::Pooled(buffer) => buffer.len(),
            Kind::Read(bytes) => bytes.len(),
        }
    }

    fn is_unshared(&self) -> bool {
        match &self.0 {
            Kind::Pooled(buffer) => Rc::strong_count(buffer) == 1,
            Kind::Read(_) => false,
        }
    }
}

/// A new buffer, every byte of it initialised.
pub(super) fn zeroed(len: usize) -> DmaBuffer {
    let mut buffer = allocate_dma_buffer(len);
    let start = buffer.as_mut_ptr();
    assert!(buffer.len() == len && start.addr().is_multiple_of(BUFFER_ALIGN), "glommio aligns");
    // SAFETY: the buffer is valid for `len` bytes and nobody else has it.
    unsafe { start.write_bytes(0, len) };
    buffer
}
