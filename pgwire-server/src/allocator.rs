//! An allocator that knows what each thread holds.
//!
//! A query has a thread of its own, so this is how what it holds is counted whole ([`sql::install_meter`]).

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

thread_local! {
    static HELD_BYTES: Cell<i64> = const { Cell::new(0) };
}

/// Bytes that the calling thread has allocated and not freed; less than zero where it has freed what others allocated. Always zero in
/// a program whose allocator is not a [`Counting`] one.
pub fn held_bytes() -> i64 {
    HELD_BYTES.get()
}

fn count(bytes: i64) {
    // A thread that ends may still free; nobody asks any more what it holds.
    let _ = HELD_BYTES.try_with(|held| held.set(held.get() + bytes));
}

/// Another allocator, with what it gives and takes counted by thread.
#[derive(Debug)]
pub struct Counting<A>(pub A);

// SAFETY: everything is left to the other allocator; counting neither allocates nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are handed on.
        let block = unsafe { self.0.alloc(layout) };
        if !block.is_null() {
            count(layout.size() as i64);
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are handed on.
        let block = unsafe { self.0.alloc_zeroed(layout) };
        if !block.is_null() {
            count(layout.size() as i64);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { self.0.dealloc(block, layout) };
        count(-(layout.size() as i64));
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promises are handed on.
        let moved = unsafe { self.0.realloc(block, layout, new_size) };
        if !moved.is_null() {
            count(new_size as i64 - layout.size() as i64);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::System;

    use super::*;

    #[test]
    fn a_thread_holds_what_it_has_allocated_and_not_freed() {
        let allocator = Counting(System);
        let before = held_bytes();
        let (small, large) = (Layout::from_size_align(100, 8).unwrap(), Layout::from_size_align(300, 8).unwrap());
        // SAFETY: each block is used with the layout it has at that time, and freed once.
        unsafe {
            let block = allocator.alloc(small);
            assert_eq!(held_bytes() - before, 100);
            let block = allocator.realloc(block, small, 300);
            assert_eq!(held_bytes() - before, 300);
            allocator.dealloc(block, large);
        }
        assert_eq!(held_bytes(), before);
    }
}
