use core::cell::Cell;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::rc::Rc;

use super::{Aligned, BUFFER_ALIGN, Memory, Pool, PoolExhausted, Region};

const PAGE: usize = BUFFER_ALIGN;

fn pool(pages: usize) -> Pool<Aligned<true>> {
    Pool::new(9, (), pages * PAGE)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Memory that counts what exists, runs out, and can be shared with somebody else.
struct Counted {
    inner: Aligned<false>,
    arena: Arena,
}

#[derive(Clone, Default)]
struct Arena {
    pages: Rc<Cell<usize>>,
    pages_max: Rc<Cell<usize>>,
    shared: Rc<Cell<bool>>,
}

// SAFETY: as `Aligned`, which it wraps.
unsafe impl Memory for Counted {
    type Source = Arena;

    fn allocate(arena: &Arena, len: usize) -> Option<Self> {
        let pages = arena.pages.get() + len / PAGE;
        if arena.pages_max.get() < pages {
            return None;
        }
        arena.pages.set(pages);
        Some(Self { inner: Aligned::allocate(&(), len)?, arena: arena.clone() })
    }

    fn as_ptr(&self) -> *mut u8 {
        self.inner.as_ptr()
    }

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn is_unshared(&self) -> bool {
        !self.arena.shared.get()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.arena.pages.set(self.arena.pages.get() - self.inner.len() / PAGE);
    }
}

fn counted(limit_pages: usize) -> (Pool<Counted>, Arena) {
    let arena = Arena::default();
    arena.pages_max.set(usize::MAX);
    (Pool::new(0, arena.clone(), limit_pages * PAGE), arena)
}

#[test]
fn e30_lengths_are_rounded_up_and_counted() {
    let pool = pool(4);
    #[rustfmt::skip]
    let rows = [
        // asked       capacity
        (0,            PAGE),
        (1,            PAGE),
        (PAGE,         PAGE),
        (PAGE + 1,     2 * PAGE),
        (4 * PAGE,     4 * PAGE),
    ];
    for (asked, capacity) in rows {
        let buf = pool.alloc(asked).unwrap();
        assert_eq!((buf.capacity(), buf.len(), pool.held()), (capacity, 0, capacity), "{asked}");
        assert!(buf.as_ptr().addr().is_multiple_of(PAGE));
    }
    assert_eq!((pool.held(), pool.held_peak()), (0, 4 * PAGE));
    let refused = PoolExhausted { requested: 5 * PAGE, held: 0, limit: 4 * PAGE };
    assert_eq!(pool.alloc(5 * PAGE).unwrap_err(), refused);
    assert_eq!(
        poll(Box::pin(pool.alloc_wait(5 * PAGE)).as_mut()).map(Result::err),
        Poll::Ready(Some(refused)),
        "would wait for ever"
    );
}

#[test]
fn e30_held_and_cached_bytes_stay_below_the_limit() {
    let (pool, arena) = counted(8);
    let mut state = 1_u64;
    let mut taken = Vec::new();
    for _ in 0..10_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let pages = usize::try_from(state >> 62).unwrap() + 1;
        if state & 1 << 40 == 0 {
            taken.extend(pool.alloc(pages * PAGE));
        } else if !taken.is_empty() {
            taken.swap_remove(usize::try_from(state >> 33).unwrap() % taken.len());
        }
        let held: usize = taken.iter().map(|buf| buf.capacity()).sum();
        assert_eq!(pool.held(), held);
        assert!(arena.pages.get() <= 8, "{} pages exist", arena.pages.get());
        assert!(held <= arena.pages.get() * PAGE);
    }
    drop(taken);
    drop(pool);
    assert_eq!(arena.pages.get(), 0, "nothing leaks");
}

#[test]
fn e31_a_buffer_is_shared_only_when_frozen() {
    let pool = pool(2);
    let mut buf = pool.alloc(10).unwrap();
    buf.extend_from_slice(b"header");
    buf.extend_from_slice(b"body");
    assert_eq!((&*buf, buf.spare()), (&b"headerbody"[..], PAGE - 10));
    let bytes = buf.freeze();
    let body = bytes.slice(6..10);
    assert_eq!(&*body, b"body");
    assert_eq!(body.slice(1..3).region(), Region { pool: 9, buffer: 0, offset: 7, len: 2 });
    let bytes = bytes.try_into_buf().expect_err("the slice refers to it");
    drop(bytes);
    let buf = body.try_into_buf().unwrap();
    assert_eq!(&*buf, b"headerbody", "up to the end of the slice");
    assert_eq!(buf.region(), Region { pool: 9, buffer: 0, offset: 0, len: 4096 });
}

#[test]
fn e32_memory_returns_with_the_last_reference_and_is_recycled() {
    let pool = pool(2);
    let mut buf = pool.alloc(PAGE).unwrap();
    let address = buf.as_ptr();
    buf.whole_mut().fill(7);
    buf.set_len(PAGE);
    let bytes = buf.freeze();
    let (copy, slice) = (bytes.clone(), bytes.slice(5..6));
    drop(bytes);
    drop(copy);
    assert_eq!(pool.held(), PAGE);
    drop(slice);
    assert_eq!(pool.held(), 0);
    let mut again = pool.alloc(1).unwrap();
    assert_eq!(again.as_ptr(), address, "reused");
    assert!(again.whole_mut().iter().all(|&byte| byte == super::POISON_BYTE), "and poisoned");
    assert!(again.is_empty());
}

#[test]
fn memory_that_the_kernel_shares_is_not_recycled() {
    let (pool, arena) = counted(4);
    arena.shared.set(true);
    let buf = pool.alloc(PAGE).unwrap();
    assert!(buf.freeze().try_into_buf().is_err());
    assert_eq!((pool.held(), arena.pages.get()), (0, 0), "freed instead");
    arena.shared.set(false);
    drop(pool.alloc(PAGE).unwrap());
    assert_eq!((pool.held(), arena.pages.get()), (0, 1), "kept");
}

#[test]
fn a_source_without_memory_is_an_error_and_loses_no_room() {
    let (pool, arena) = counted(8);
    arena.pages_max.set(2);
    drop(pool.alloc(2 * PAGE).unwrap());
    let one = pool.alloc(PAGE).expect("the cache makes way for another size");
    assert!(pool.alloc(2 * PAGE).is_err());
    assert_eq!(pool.held(), PAGE);
    drop(one);
    assert_eq!(pool.held(), 0);
}

#[test]
fn e33_waiters_are_served_in_order() {
    let pool = pool(4);
    let (a, b) = (pool.alloc(2 * PAGE).unwrap(), pool.alloc(2 * PAGE).unwrap());
    let mut large = Box::pin(pool.alloc_wait(3 * PAGE));
    let mut small = Box::pin(pool.alloc_wait(PAGE));
    assert!(poll(large.as_mut()).is_pending());
    assert!(poll(small.as_mut()).is_pending());
    drop(a);
    assert!(poll(small.as_mut()).is_pending(), "there is room, but not its turn");
    assert!(pool.alloc(PAGE).is_err(), "nor that of whoever does not wait");
    assert!(poll(large.as_mut()).is_pending());
    drop(b);
    let Poll::Ready(large) = poll(large.as_mut()) else { panic!("its turn") };
    let Poll::Ready(small) = poll(small.as_mut()) else { panic!("its turn") };
    assert_eq!(pool.held(), 4 * PAGE);
    drop((large, small));
    assert_eq!(pool.held(), 0);
}

#[test]
fn e33_a_waiter_that_gives_up_lets_the_next_one_in() {
    let pool = pool(2);
    let one = pool.alloc(PAGE).unwrap();
    let mut large = Box::pin(pool.alloc_wait(2 * PAGE));
    let mut small = Box::pin(pool.alloc_wait(PAGE));
    assert!(poll(large.as_mut()).is_pending());
    assert!(poll(small.as_mut()).is_pending());
    drop(large);
    assert!(poll(small.as_mut()).is_ready());
    drop((one, small));
    assert_eq!(pool.held(), 0);
}

#[test]
fn memory_brought_by_a_backend_counts_as_reserved_and_is_not_kept() {
    let (pool, arena) = counted(4);
    let Poll::Ready(Ok(reserved)) = poll(Box::pin(pool.reserve(2 * PAGE)).as_mut()) else {
        panic!("there is room")
    };
    assert_eq!(pool.held(), 2 * PAGE);
    let smaller = Counted::allocate(&arena, PAGE).unwrap();
    let buf = pool.adopt(smaller, reserved);
    assert_eq!((buf.capacity(), pool.held()), (PAGE, 2 * PAGE));
    drop(buf.freeze());
    assert_eq!((pool.held(), arena.pages.get()), (0, 0));
    drop(poll(Box::pin(pool.reserve(PAGE)).as_mut()));
    assert_eq!(pool.held(), 0, "an unused reservation returns");
}

#[test]
fn buffers_outlive_the_handle_of_their_pool() {
    let (pool, arena) = counted(2);
    let bytes = pool.alloc(PAGE).unwrap().freeze();
    drop(pool);
    assert_eq!(arena.pages.get(), 1);
    drop(bytes);
    assert_eq!(arena.pages.get(), 0);
}

#[test]
#[should_panic(expected = "length 4097 of a buffer of 4096")]
fn no_byte_beyond_the_memory_is_meaningful() {
    pool(1).alloc(1).unwrap().set_len(PAGE + 1);
}

#[test]
#[should_panic(expected = "slice 3..12 of 10 bytes")]
fn a_slice_lies_inside() {
    let mut buf = pool(1).alloc(1).unwrap();
    buf.set_len(10);
    drop(buf.freeze().slice(3..12));
}
