//! Counts what the decoder allocates: nothing, whatever it is given (E3).
//!
//! A binary of its own, because its allocator counts for the whole process; it counts per thread,
//! so that what the test harness does beside the test is left out.
#![expect(unsafe_code, reason = "the only way to count allocations is to be the allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use engine_wire::{Decoder, Item, Limits, WireError, fuzz};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counted.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: each call goes to the system's allocator unchanged; the count beside it is a plain
// number, whose thread-local place needs neither memory nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

/// Items before the stream ends or an error closes it, and the allocations of all that.
fn decode(stream: &[u8]) -> (u64, u64, Option<WireError>) {
    let before = ALLOCATIONS.get();
    let mut decoder = Decoder::new(Limits::session(1));
    let (mut rest, mut items, mut failed) = (stream, 0, None);
    while let Some((bytes, tail)) = rest.split_at_checked(decoder.need()) {
        rest = tail;
        match decoder.advance(bytes) {
            Ok(Item::Head) => {}
            Ok(_) => items += 1,
            Err(error) => {
                let closes = error.closes();
                failed = Some(error);
                if closes {
                    break;
                }
            }
        }
    }
    (ALLOCATIONS.get() - before, items, failed)
}

#[test]
fn the_decoder_allocates_nothing() {
    let before = ALLOCATIONS.get();
    let streams = fuzz::golden_streams();
    assert!(before < ALLOCATIONS.get(), "the count counts");
    let (mut items, mut failures) = (0, 0);
    for mut stream in streams {
        let (allocations, found, failed) = decode(&stream);
        assert_eq!((allocations, failed), (0, None), "E3");
        items += found;
        for at in 0..stream.len().min(512) {
            stream[at] ^= 0x41;
            let (allocations, _, failed) = decode(&stream);
            assert_eq!(allocations, 0, "E3: byte {at} damaged, {failed:?}");
            failures += u64::from(failed.is_some());
            stream[at] ^= 0x41;
        }
    }
    assert_eq!(items, 38, "each frame has two items, each segment one or two");
    assert!(1000 < failures, "{failures} damaged streams were found out");
}
