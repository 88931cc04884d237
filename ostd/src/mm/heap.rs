//! The kernel heap.

use core::alloc::{GlobalAlloc, Layout};

/// The global allocator.
struct KernelHeap;

#[global_allocator]
static HEAP: KernelHeap = KernelHeap;

// SAFETY: it never returns memory yet.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, _layout: Layout) -> *mut u8 {
        todo!()
    }

    unsafe fn dealloc(&self, _ptr: *mut u8, _layout: Layout) {
        todo!()
    }
}
