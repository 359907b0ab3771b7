//! Memory for I/O: bounded pools of sector-aligned buffers, exclusive while written, shared after.
//!
//! Owner: one pool per core, reached through [`Env::pool`](crate::Env::pool). A buffer never
//! crosses to another core. The kind of memory belongs to the environment ([`Memory`]): plain
//! aligned memory, glommio's DMA buffers, later memory registered with an RDMA device.
//!
//! Invariants
//!   E30  bytes held by buffers plus bytes cached for reuse never exceed the pool's limit
//!   E31  a [`Buf`] is the only reference to its memory; a [`Bytes`] is never written through
//!   E32  memory returns to its pool when the last reference ends; the kernel's references are
//!        held by the task that waits for the completion, never by a future that can be dropped
//!        (V2, S5)
//!   E33  waiters for memory are served in the order in which they began to wait
//!
//! Recycled memory is not cleared: a reader of bytes it did not write is a bug. Simulation fills
//! it with a pattern so that such a bug shows.

use core::alloc::Layout;
use core::cell::{Cell, RefCell, UnsafeCell};
use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut, Range};
use core::ptr::NonNull;
use std::rc::Rc;

use engine_types::Map;

use crate::gate::Gate;

#[cfg(test)]
mod tests;

/// Alignment and granularity of every buffer: the sector, which is also the page.
pub const BUFFER_ALIGN: usize = 4096;

/// One piece of memory that the kernel may read and write.
///
/// # Safety
/// `as_ptr` must stay valid and unmoved for `len` bytes, aligned to [`BUFFER_ALIGN`], for the life
/// of the value; nothing else may write to it while [`Memory::is_unshared`] answers true.
#[expect(clippy::len_without_is_empty, reason = "whoever asks needs the count")]
pub unsafe trait Memory: Sized + 'static {
    /// What memory is made from: an arena, an allocator, a protection domain.
    type Source: 'static;

    /// `len` bytes, a multiple of [`BUFFER_ALIGN`]; `None` when the source has none left.
    fn allocate(source: &Self::Source, len: usize) -> Option<Self>;

    /// Start of the memory.
    fn as_ptr(&self) -> *mut u8;

    /// Bytes of the memory.
    fn len(&self) -> usize;

    /// Whether nobody but the pool refers to the memory, so that it may be handed out again.
    fn is_unshared(&self) -> bool {
        true
    }

    /// Called before cached memory is handed out again. Simulation overwrites it.
    fn recycle(&mut self) {}
}

/// Names bytes of a pool without a pointer, so that a transport can move them one-sided: the RDMA
/// transport maps (pool, buffer) to a registered region and adds the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region {
    /// The pool, unique within the process.
    pub pool: u32,
    /// The buffer within the pool.
    pub buffer: u32,
    /// First byte within the buffer.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
}

/// The pool's limit is reached; what is held returns when its I/O completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no buffer of {requested} bytes: {held} of {limit} bytes are in use")]
pub struct PoolExhausted {
    /// Bytes asked for, rounded up to [`BUFFER_ALIGN`].
    pub requested: usize,
    /// Bytes held by buffers now.
    pub held: usize,
    /// Most bytes that the pool may hand out.
    pub limit: usize,
}

struct Inner<M: Memory> {
    source: M::Source,
    id: u32,
    limit: usize,
    /// Room that is left below the limit.
    room: Gate,
    cached: Cell<usize>,
    held_peak: Cell<usize>,
    next_index: Cell<u32>,
    free: RefCell<Map<usize, Vec<Rc<Chunk<M>>>>>,
}

/// A bounded supply of buffers for one core.
pub struct Pool<M: Memory> {
    inner: Rc<Inner<M>>,
}

impl<M: Memory> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<M: Memory> Pool<M> {
    /// A pool that hands out at most `limit` bytes; `id` is unique within the process.
    pub fn new(id: u32, source: M::Source, limit: usize) -> Self {
        let inner = Inner {
            source,
            id,
            limit,
            room: Gate::new(limit as u64),
            cached: Cell::new(0),
            held_peak: Cell::new(0),
            next_index: Cell::new(0),
            free: RefCell::new(Map::default()),
        };
        Self { inner: Rc::new(inner) }
    }

    /// Most bytes that buffers may hold at once.
    pub fn limit(&self) -> usize {
        self.inner.limit
    }

    /// Bytes that buffers hold now.
    pub fn held(&self) -> usize {
        self.inner.held()
    }

    /// Most bytes that buffers ever held at once.
    pub fn held_peak(&self) -> usize {
        self.inner.held_peak.get()
    }

    /// An empty buffer with room for at least `len` bytes, rounded up to [`BUFFER_ALIGN`].
    ///
    /// # Errors
    /// [`PoolExhausted`] when the limit is reached or tasks already wait for room (E33).
    pub fn alloc(&self, len: usize) -> Result<Buf<M>, PoolExhausted> {
        let rounded = round_up(len);
        if self.inner.room.try_take(rounded as u64) {
            self.take(rounded)
        } else {
            Err(self.inner.exhausted(rounded))
        }
    }

    /// Like [`alloc`](Self::alloc), but waits in line for room. Dropping the future leaves the
    /// line.
    ///
    /// # Errors
    /// [`PoolExhausted`] at once when `len` exceeds the limit of the whole pool, or when the
    /// source itself has no memory left.
    pub async fn alloc_wait(&self, len: usize) -> Result<Buf<M>, PoolExhausted> {
        let rounded = round_up(len);
        self.room(rounded).await?;
        self.take(rounded)
    }

    /// Sets at least `len` bytes aside without taking memory yet.
    ///
    /// # Errors
    /// [`PoolExhausted`] when the limit is reached or tasks already wait for room (E33).
    pub fn try_reserve(&self, len: usize) -> Result<Reserved<M>, PoolExhausted> {
        let rounded = round_up(len);
        if !self.inner.room.try_take(rounded as u64) {
            return Err(self.inner.exhausted(rounded));
        }
        self.inner.made_room(rounded);
        Ok(Reserved { pool: self.clone(), len: rounded })
    }

    /// Like [`try_reserve`](Self::try_reserve), but waits in line for room.
    ///
    /// # Errors
    /// [`PoolExhausted`] at once when `len` exceeds the limit of the whole pool.
    pub async fn reserve(&self, len: usize) -> Result<Reserved<M>, PoolExhausted> {
        let rounded = round_up(len);
        self.room(rounded).await?;
        self.inner.made_room(rounded);
        Ok(Reserved { pool: self.clone(), len: rounded })
    }

    /// Wraps memory that the kernel filled into a buffer that counts for `reserved`.
    pub(crate) fn adopt(&self, memory: M, reserved: Reserved<M>) -> Buf<M> {
        assert!(memory.len() <= reserved.len, "E30: {} adopted of {}", memory.len(), reserved.len);
        let held = reserved.len;
        let chunk = self.inner.chunk(memory, held, false);
        let buf = Buf::new(chunk, self.inner.clone());
        reserved.dissolve(); // its bytes are now the buffer's
        buf
    }

    /// Waits in line for `len` bytes of room and takes them.
    async fn room(&self, len: usize) -> Result<(), PoolExhausted> {
        if self.inner.limit < len {
            return Err(self.inner.exhausted(len));
        }
        self.inner.room.take(len as u64).await.expect("a pool never closes its gate");
        Ok(())
    }

    /// Cached or new memory of exactly `len` bytes, for which room has been taken.
    fn take(&self, len: usize) -> Result<Buf<M>, PoolExhausted> {
        let inner = &self.inner;
        let cached = inner.free.borrow_mut().get_mut(&len).and_then(Vec::pop);
        if cached.is_some() {
            inner.cached.set(inner.cached.get() - len);
        }
        inner.made_room(len);
        let chunk = match cached {
            Some(chunk) => chunk,
            None => match inner.fresh(len) {
                Ok(memory) => inner.chunk(memory, len, true),
                Err(error) => {
                    inner.room.give(len as u64);
                    return Err(error);
                }
            },
        };
        Ok(Buf::new(chunk, inner.clone()))
    }
}

/// Bytes set aside in a pool; given back when dropped.
pub struct Reserved<M: Memory> {
    pool: Pool<M>,
    len: usize,
}

impl<M: Memory> Reserved<M> {
    /// An empty buffer of the reserved size: memory that was used last, and is warm.
    ///
    /// # Errors
    /// [`PoolExhausted`] when the source itself has no memory left.
    pub fn into_buf(self) -> Result<Buf<M>, PoolExhausted> {
        let (pool, len) = (self.pool.clone(), self.len);
        self.dissolve();
        pool.take(len)
    }

    /// Bytes set aside.
    #[expect(clippy::len_without_is_empty, reason = "nobody sets nothing aside")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Gives back what exceeds `len` bytes, rounded up as an allocation is.
    pub fn shrink(&mut self, len: usize) {
        let kept = round_up(len).min(self.len);
        self.pool.inner.room.give((self.len - kept) as u64);
        self.len = kept;
    }

    /// Ends the reservation without giving its bytes back.
    fn dissolve(mut self) {
        self.len = 0;
    }
}

impl<M: Memory> Drop for Reserved<M> {
    fn drop(&mut self) {
        self.pool.inner.room.give(self.len as u64);
    }
}

impl<M: Memory> Inner<M> {
    fn held(&self) -> usize {
        let room = usize::try_from(self.room.free()).expect("room never exceeds the limit");
        self.limit.checked_sub(room).expect("E30: no more comes back than was taken")
    }

    fn exhausted(&self, requested: usize) -> PoolExhausted {
        PoolExhausted { requested, held: self.held(), limit: self.limit }
    }

    fn fresh(&self, len: usize) -> Result<M, PoolExhausted> {
        let memory = M::allocate(&self.source, len).or_else(|| {
            self.drop_cache();
            M::allocate(&self.source, len)
        });
        memory.ok_or_else(|| self.exhausted(len))
    }

    fn drop_cache(&self) {
        self.free.borrow_mut().clear();
        self.cached.set(0);
    }

    /// After room was taken: keeps the cache out of its way (E30).
    fn made_room(&self, len: usize) {
        let held = self.held();
        assert!(len <= held, "E30: {len} bytes taken, {held} held");
        self.held_peak.set(self.held_peak.get().max(held));
        if self.limit < held + self.cached.get() {
            self.drop_cache();
        }
    }

    fn chunk(&self, memory: M, held: usize, reusable: bool) -> Rc<Chunk<M>> {
        let index = self.next_index.get();
        self.next_index.set(index.wrapping_add(1));
        Rc::new(Chunk { memory: UnsafeCell::new(memory), held, reusable, index })
    }

    /// Takes back the last reference to `chunk`.
    fn give_back(&self, mut chunk: Rc<Chunk<M>>) {
        let held = chunk.held;
        if let Some(inner) = Rc::get_mut(&mut chunk)
            && inner.reusable
            && inner.memory.get_mut().is_unshared()
            && self.cached.get() + self.held() <= self.limit
        {
            inner.memory.get_mut().recycle();
            self.free.borrow_mut().entry(held).or_default().push(chunk);
            self.cached.set(self.cached.get() + held);
        }
        self.room.give(held as u64);
    }
}

struct Chunk<M: Memory> {
    memory: UnsafeCell<M>,
    /// Bytes counted for this chunk while it is out.
    held: usize,
    /// Whether the pool may hand it out again; memory brought by a read is not the pool's.
    reusable: bool,
    index: u32,
}

/// A counted reference to a chunk that gives it back to its pool when it is the last.
struct Handle<M: Memory> {
    chunk: ManuallyDrop<Rc<Chunk<M>>>,
    pool: Rc<Inner<M>>,
}

impl<M: Memory> Handle<M> {
    fn memory(&self) -> &M {
        // SAFETY: `&mut M` is only made in `give_back`, from a chunk without other references.
        unsafe { &*self.chunk.memory.get() }
    }

    fn region(&self, offset: usize, len: usize) -> Region {
        let fits = "a buffer is far smaller than 4 GiB: PAYLOAD_BYTES_MAX";
        Region {
            pool: self.pool.id,
            buffer: self.chunk.index,
            offset: u32::try_from(offset).expect(fits),
            len: u32::try_from(len).expect(fits),
        }
    }
}

impl<M: Memory> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { chunk: self.chunk.clone(), pool: self.pool.clone() }
    }
}

impl<M: Memory> Drop for Handle<M> {
    fn drop(&mut self) {
        // SAFETY: taken once, here, and `self` is not used afterwards.
        let chunk = unsafe { ManuallyDrop::take(&mut self.chunk) };
        if Rc::strong_count(&chunk) == 1 {
            self.pool.give_back(chunk); // E32
        }
    }
}

/// A buffer that one owner fills: `capacity` bytes of memory, of which `len` are meaningful.
pub struct Buf<M: Memory> {
    handle: Handle<M>,
    len: usize,
}

impl<M: Memory> Buf<M> {
    fn new(chunk: Rc<Chunk<M>>, pool: Rc<Inner<M>>) -> Self {
        assert!(Rc::strong_count(&chunk) == 1, "E31: a new buffer is the only reference");
        Self { handle: Handle { chunk: ManuallyDrop::new(chunk), pool }, len: 0 }
    }

    /// Bytes that are meaningful.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no byte is meaningful.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory, a multiple of [`BUFFER_ALIGN`].
    pub fn capacity(&self) -> usize {
        self.handle.memory().len()
    }

    /// Bytes that can still be appended.
    pub fn spare(&self) -> usize {
        self.capacity() - self.len
    }

    /// Declares the first `len` bytes meaningful. What was not written since the buffer was handed
    /// out holds bytes of its former use.
    ///
    /// # Panics
    /// When `len` exceeds the capacity.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity(), "length {len} of a buffer of {}", self.capacity());
        self.len = len;
    }

    /// Forgets the content, keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends `bytes`.
    ///
    /// # Panics
    /// When they do not fit: callers look at [`spare`](Self::spare) first.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let start = self.len;
        self.set_len(start + bytes.len());
        self.whole_mut()[start..start + bytes.len()].copy_from_slice(bytes);
    }

    /// The whole memory, meaningful or not.
    pub fn whole_mut(&mut self) -> &mut [u8] {
        let memory = self.handle.memory();
        // SAFETY: E31, this handle is the only reference, and it is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(memory.as_ptr(), memory.len()) }
    }

    /// Address of the memory, for system calls that fill it.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.handle.memory().as_ptr()
    }

    /// The name of the whole memory for one-sided transports.
    pub fn region(&self) -> Region {
        self.handle.region(0, self.capacity())
    }

    /// Makes the meaningful bytes shared and unchangeable.
    pub fn freeze(self) -> Bytes<M> {
        Bytes { start: 0, len: self.len, handle: self.handle }
    }
}

impl<M: Memory> Deref for Buf<M> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let memory = self.handle.memory();
        // SAFETY: valid for `capacity` bytes, `len` is at most that, nobody writes (E31).
        unsafe { core::slice::from_raw_parts(memory.as_ptr(), self.len) }
    }
}

impl<M: Memory> DerefMut for Buf<M> {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        &mut self.whole_mut()[..len]
    }
}

impl<M: Memory> fmt::Debug for Buf<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({} of {} bytes)", self.len, self.capacity())
    }
}

/// A shared view of bytes that no longer change. Cloning and slicing copy nothing.
pub struct Bytes<M: Memory> {
    handle: Handle<M>,
    start: usize,
    len: usize,
}

impl<M: Memory> Clone for Bytes<M> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), start: self.start, len: self.len }
    }
}

impl<M: Memory> Bytes<M> {
    /// A part of these bytes.
    ///
    /// # Panics
    /// When the range does not lie inside.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "slice {range:?} of {} bytes",
            self.len
        );
        let start = self.start + range.start;
        Self { handle: self.handle.clone(), start, len: range.end - range.start }
    }

    /// The buffer for reuse, when these bytes are its only reference; else the bytes again.
    ///
    /// # Errors
    /// The bytes themselves, while others still refer to their memory.
    pub fn try_into_buf(self) -> Result<Buf<M>, Self> {
        if Rc::strong_count(&self.handle.chunk) == 1 && self.handle.memory().is_unshared() {
            Ok(Buf { len: self.start + self.len, handle: self.handle })
        } else {
            Err(self)
        }
    }

    /// The name of these bytes for one-sided transports.
    pub fn region(&self) -> Region {
        self.handle.region(self.start, self.len)
    }

    /// The memory, when these bytes are all of it: what a direct write needs.
    pub(crate) fn whole_memory(&self) -> Option<&M> {
        let memory = self.handle.memory();
        (self.start == 0 && self.len == memory.len()).then_some(memory)
    }
}

impl<M: Memory> Deref for Bytes<M> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: start + len lie inside the memory, and shared memory is not written (E31).
        unsafe {
            core::slice::from_raw_parts(self.handle.memory().as_ptr().add(self.start), self.len)
        }
    }
}

impl<M: Memory> fmt::Debug for Bytes<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.len)
    }
}

fn round_up(len: usize) -> usize {
    len.max(1).next_multiple_of(BUFFER_ALIGN)
}

/// Plain memory from the allocator, aligned to [`BUFFER_ALIGN`]: monoio and simulation.
#[derive(Debug)]
pub struct Aligned<const POISON: bool> {
    start: NonNull<u8>,
    len: usize,
}

/// What simulation writes over memory that comes back, to expose readers of stale bytes.
const POISON_BYTE: u8 = 0xA5;
/// How much of it: the largest chunk that worlds write. Larger buffers are for answers of managers,
/// which fill a thousandth of them; to overwrite those whole was a tenth of a world's time.
const POISON_BYTES_MAX: usize = 256 << 10;

// SAFETY: the allocation lives as long as the value, never moves, and is aligned by its layout.
#[expect(unsafe_code, reason = "memory that outlives the futures which use it")]
unsafe impl<const POISON: bool> Memory for Aligned<POISON> {
    type Source = ();

    fn allocate((): &(), len: usize) -> Option<Self> {
        assert!(0 < len && len.is_multiple_of(BUFFER_ALIGN), "pools round up: {len}");
        let layout = Layout::from_size_align(len, BUFFER_ALIGN).ok()?;
        if !POISON {
            // SAFETY: the layout is not empty. Zeroed, so that every byte is initialised.
            let start = unsafe { std::alloc::alloc_zeroed(layout) };
            return NonNull::new(start).map(|start| Self { start, len });
        }
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { std::alloc::alloc(layout) })?;
        // SAFETY: just allocated with this length. Fresh bytes are as stale as used ones.
        unsafe { start.as_ptr().write_bytes(POISON_BYTE, len) };
        Some(Self { start, len })
    }

    fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    fn len(&self) -> usize {
        self.len
    }

    fn recycle(&mut self) {
        if POISON {
            let len = self.len.min(POISON_BYTES_MAX);
            // SAFETY: the pool calls this on memory that nobody else refers to.
            unsafe { self.start.as_ptr().write_bytes(POISON_BYTE, len) };
        }
    }
}

impl<const POISON: bool> Drop for Aligned<POISON> {
    fn drop(&mut self) {
        let layout = Layout::from_size_align(self.len, BUFFER_ALIGN)
            .expect("the same layout was valid when it was allocated");
        // SAFETY: allocated with this layout in `allocate`, freed once.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), layout) };
    }
}
