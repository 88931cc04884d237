//! In-kernel tests of memory management.

use super::kstack::{KSTACK_SIZE, depth::PAINT};
use super::*;
use crate::cpu;
use crate::ktest::ktest;
use crate::task::yield_now;
use crate::user::mem as user;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

const RW: PageFlags = PageFlags::READ.union(PageFlags::WRITE);
const BASE: Vaddr = 0x40_0000;

/// Frames that are free or kept, but for the heap, which grows and shrinks with whatever else goes on. What earlier tests
/// left to end by itself on other CPUs does so first.
fn settled() -> usize {
    while cpu::all().any(|other| other != cpu::current() && !cpu::is_idle(other)) {
        yield_now();
    }
    drain_caches();
    let stats = stats();
    stats.free + stats.kernel_heap
}

fn frame_of(byte: u8) -> Frame {
    let frame = Frame::zeroed(AllocClass::User).unwrap();
    frame.write(0, &[byte; PAGE_SIZE]);
    frame
}

fn first_byte(frame: &Frame) -> u8 {
    let mut byte = [0];
    frame.read(0, &mut byte);
    byte[0]
}

/// An address space with `count` pages from `BASE` on, page `i` filled with byte `i`.
fn space_with(count: usize) -> Arc<AddrSpace> {
    let space = AddrSpace::new().unwrap();
    let mut mapper = space.lock();
    for i in 0..count {
        mapper.map(BASE + i * PAGE_SIZE, frame_of(i as u8), RW).unwrap();
    }
    drop(mapper);
    space
}

/// Runs `f` with the address space loaded, and leaves it afterwards.
fn with_loaded(space: &Arc<AddrSpace>, f: impl FnOnce()) {
    crate::irq::without(|| space.activate());
    f();
    crate::irq::without(AddrSpace::deactivate);
}

#[ktest]
fn frames_come_back_to_the_baseline() {
    let before = settled();
    let frames: Vec<Frame> = (0..3000).map(|_| Frame::zeroed(AllocClass::User).unwrap()).collect();
    assert!(stats().free + 3000 <= before);
    drop(frames);
    assert_eq!(settled(), before);
}

#[ktest]
fn new_frames_are_zero_whatever_was_there() {
    for _ in 0..200 {
        let frame = Frame::zeroed(AllocClass::User).unwrap();
        let mut bytes = [1; PAGE_SIZE];
        frame.read(0, &mut bytes);
        assert!(bytes.iter().all(|&byte| byte == 0));
        frame.write(0, &[0xff; PAGE_SIZE]);
    }
}

#[ktest]
fn frame_references_are_counted() {
    let frame = frame_of(7);
    assert!(frame.is_unique());
    let other = frame.clone();
    assert_eq!(frame.refcount(), 2);
    assert_eq!(other, frame);
    drop(other);
    assert!(frame.is_unique());
    let copy = Frame::copy_of(&frame, AllocClass::Kernel).unwrap();
    assert_ne!(copy, frame);
    assert_eq!(first_byte(&copy), 7);
}

#[ktest]
fn frame_writer_clears_the_rest() {
    // Leave a dirty frame on top of the list.
    drop(frame_of(0xee));
    let frame = Frame::new_with(AllocClass::User, |writer| {
        assert_eq!(writer.write(&[1; 4000]), 4000);
        assert_eq!(writer.remaining(), 96);
        assert_eq!(writer.write(&[2; 50]), 50);
    })
    .unwrap();
    let mut bytes = [9; PAGE_SIZE];
    frame.read(0, &mut bytes);
    assert!(bytes[..4000].iter().all(|&byte| byte == 1));
    assert!(bytes[4000..4050].iter().all(|&byte| byte == 2));
    assert!(bytes[4050..].iter().all(|&byte| byte == 0));
}

/// Every length takes some path through the copy code: words, vectors, the overlapping last one.
#[ktest]
fn frame_copies_are_exact_for_all_lengths() {
    let pattern: Vec<u8> = (0..PAGE_SIZE).map(|i| (i * 7 + i / 256) as u8).collect();
    for len in (0..600).chain([1023, 1024, 2047, 4000, 4095, 4096]) {
        for offset in [0, 1, 9] {
            if offset + len > PAGE_SIZE {
                continue;
            }
            let frame = Frame::zeroed(AllocClass::User).unwrap();
            frame.write(offset, &pattern[..len]);
            let mut all = vec![0xaa; PAGE_SIZE];
            frame.read(0, &mut all);
            assert!(all[..offset].iter().all(|&byte| byte == 0));
            assert_eq!(all[offset..offset + len], pattern[..len]);
            assert!(all[offset + len..].iter().all(|&byte| byte == 0));
            frame.write(0, &[0x55; PAGE_SIZE]);
            frame.fill_zero(offset, len);
            frame.read(0, &mut all);
            assert!(all[..offset].iter().all(|&byte| byte == 0x55));
            assert!(all[offset..offset + len].iter().all(|&byte| byte == 0));
            assert!(all[offset + len..].iter().all(|&byte| byte == 0x55));
        }
    }
}

#[ktest]
fn user_frames_run_out_before_the_kernels_reserve() {
    let before = settled();
    let mut frames = Vec::with_capacity(before);
    while let Ok(frame) = Frame::zeroed(AllocClass::User) {
        frames.push(frame);
    }
    assert!(!kernel_reserve_ok(stats().total / 8));
    // The kernel still gets some, and the heap works.
    for _ in 0..64 {
        assert!(Frame::zeroed(AllocClass::Kernel).is_ok());
    }
    let heap: Vec<Vec<u8>> = (0..64).map(|_| vec![1; 1000]).collect();
    assert_eq!(heap.iter().map(Vec::len).sum::<usize>(), 64_000);
    drop((heap, frames));
    assert_eq!(settled(), before);
    assert!(Frame::zeroed(AllocClass::User).is_ok());
}

#[ktest]
fn heap_survives_all_sizes_and_alignments() {
    use core::alloc::Layout;
    let before = settled();
    let mut live = Vec::new();
    for round in 0..3 {
        for size in (1..300).chain([511, 512, 513, 1000, 1024, 2000, 2048, 2049, 4096, 5000, 70_000]) {
            for align in [1, 8, 16, 64, 256, 4096] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the size is not zero; the bytes are ours until they are freed below, with the same layout.
                let ptr = unsafe {
                    let ptr = alloc::alloc::alloc(layout);
                    assert!(!ptr.is_null() && (ptr as usize).is_multiple_of(align));
                    ptr.write_bytes(size as u8, size);
                    ptr
                };
                live.push((ptr, layout));
            }
        }
        // Every other one goes, so that lists and slabs get holes.
        let mut keep = round % 2 == 0;
        live.retain(|&(ptr, layout)| {
            keep = !keep;
            if !keep {
                free_checked(ptr, layout);
            }
            keep
        });
    }
    for (ptr, layout) in live.drain(..) {
        free_checked(ptr, layout);
    }
    drop(live);
    assert_eq!(settled(), before);
}

/// Frees what `heap_survives_all_sizes_and_alignments` allocated, if it still holds what was written.
fn free_checked(ptr: *mut u8, layout: core::alloc::Layout) {
    // SAFETY: allocated with this layout, all bytes written, and nobody else has it.
    unsafe {
        let bytes = core::slice::from_raw_parts(ptr, layout.size());
        assert!(bytes.iter().all(|&byte| byte == layout.size() as u8), "overwritten: {layout:?}");
        alloc::alloc::dealloc(ptr, layout);
    }
}

#[ktest]
fn growing_vectors_keep_their_contents() {
    let mut numbers = Vec::new();
    for i in 0..100_000u32 {
        numbers.push(i);
    }
    assert!(numbers.iter().enumerate().all(|(i, &n)| i as u32 == n));
}

#[ktest]
fn mapping_owns_its_frame() {
    let before = settled();
    let space = AddrSpace::new().unwrap();
    let frame = frame_of(1);
    space.lock().map(BASE, frame.clone(), RW).unwrap();
    assert_eq!(frame.refcount(), 2);
    let (found, flags) = space.lock().query(BASE).unwrap();
    assert_eq!((&found, flags), (&frame, RW));
    assert_eq!(space.lock().query_refcount(BASE), Some((RW, 3)));
    drop(found);
    // Another frame in its place.
    space.lock().map(BASE, frame_of(2), PageFlags::READ).unwrap();
    assert_eq!(frame.refcount(), 1);
    assert_eq!(space.lock().query_flags(BASE), Some(PageFlags::READ));
    assert!(space.lock().query(BASE + PAGE_SIZE).is_none());
    drop((space, frame));
    assert_eq!(settled(), before);
}

#[ktest]
fn unmap_frees_frames_and_tables() {
    let before = settled();
    let space = AddrSpace::new().unwrap();
    let mut mapper = space.lock();
    // Far apart, so that each has tables of its own; and one right below the end.
    let places = [BASE, 0x1234_5678_9000, 0x7fff_ffff_e000];
    for va in places {
        mapper.map(va, frame_of(3), RW).unwrap();
    }
    assert_eq!(space.page_table_frames(), 10);
    assert_eq!(mapper.unmap(BASE + PAGE_SIZE..0x1234_5678_9000), 0);
    assert_eq!(mapper.unmap(0..USER_END), 3);
    assert!(places.iter().all(|&va| mapper.query_flags(va).is_none()));
    assert_eq!(space.page_table_frames(), 1);
    drop(mapper);
    drop(space);
    assert_eq!(settled(), before);
}

#[ktest]
fn unmap_leaves_the_neighbours() {
    let space = space_with(1200);
    let mut mapper = space.lock();
    assert_eq!(mapper.unmap(BASE + 5 * PAGE_SIZE..BASE + 1100 * PAGE_SIZE), 1095);
    let mut left = Vec::new();
    mapper.for_each_present(0..USER_END, |va, _, _| left.push((va - BASE) / PAGE_SIZE));
    assert_eq!(left, (0..5).chain(1100..1200).collect::<Vec<_>>());
}

#[ktest]
fn protect_changes_flags_and_keeps_frames() {
    let space = space_with(600);
    let mut mapper = space.lock();
    let range = BASE + 10 * PAGE_SIZE..BASE + 590 * PAGE_SIZE;
    assert_eq!(mapper.protect(range, |flags| flags - RW), 580);
    assert_eq!(mapper.query_flags(BASE + 9 * PAGE_SIZE), Some(RW));
    // No rights at all, and the page is still there.
    let (frame, flags) = mapper.query(BASE + 300 * PAGE_SIZE).unwrap();
    assert_eq!((first_byte(&frame), flags), (300usize as u8, PageFlags::empty()));
    drop(frame);
    assert!(mapper.set_flags(BASE + 300 * PAGE_SIZE, PageFlags::READ | PageFlags::EXEC | PageFlags::SOFT1));
    assert_eq!(
        mapper.query_flags(BASE + 300 * PAGE_SIZE),
        Some(PageFlags::READ | PageFlags::EXEC | PageFlags::SOFT1)
    );
    assert!(!mapper.set_flags(BASE - PAGE_SIZE, RW));
}

#[ktest]
fn fork_shares_frames_and_takes_the_right_to_write() {
    let before = settled();
    let parent = space_with(700);
    parent.lock().set_flags(BASE + PAGE_SIZE, PageFlags::READ | PageFlags::EXEC);
    let child = AddrSpace::new().unwrap();
    {
        let (mut from, mut to) = (parent.lock(), child.lock_nested());
        let range = BASE..BASE + 650 * PAGE_SIZE;
        assert_eq!(AddrSpace::fork_range(&mut from, &mut to, range), Ok(650));
        for mapper in [&from, &to] {
            assert_eq!(mapper.query_refcount(BASE), Some((PageFlags::READ | PageFlags::COW, 2)));
            assert_eq!(mapper.query_refcount(BASE + PAGE_SIZE), Some((PageFlags::READ | PageFlags::EXEC, 2)));
        }
        assert_eq!(from.query_refcount(BASE + 650 * PAGE_SIZE), Some((RW, 1)));
        assert!(to.query_flags(BASE + 650 * PAGE_SIZE).is_none());
        // Shared mappings stay writable.
        let range = BASE + 650 * PAGE_SIZE..BASE + 700 * PAGE_SIZE;
        assert_eq!(AddrSpace::share_range(&mut from, &mut to, range), Ok(50));
        assert_eq!(to.query_refcount(BASE + 650 * PAGE_SIZE), Some((RW, 2)));
    }
    drop(parent);
    assert_eq!(child.lock().query_refcount(BASE), Some((PageFlags::READ | PageFlags::COW, 1)));
    drop(child);
    assert_eq!(settled(), before);
}

#[ktest]
fn fork_of_a_hole_makes_no_tables() {
    let parent = space_with(1);
    let child = AddrSpace::new().unwrap();
    let (mut from, mut to) = (parent.lock(), child.lock_nested());
    assert_eq!(AddrSpace::fork_range(&mut from, &mut to, 0x10_0000_0000..0x7000_0000_0000), Ok(0));
    // A table in the parent, but none of the range's pages.
    assert_eq!(AddrSpace::fork_range(&mut from, &mut to, BASE + PAGE_SIZE..BASE + 8 * PAGE_SIZE), Ok(0));
    assert_eq!(child.page_table_frames(), 1);
}

#[ktest]
fn move_keeps_frames_and_holes() {
    let before = settled();
    let space = space_with(20);
    let to = 0x7000_0000_0000 - 10 * PAGE_SIZE;
    let mut mapper = space.lock();
    mapper.unmap(BASE + 3 * PAGE_SIZE..BASE + 4 * PAGE_SIZE);
    mapper.map(to, frame_of(99), RW).unwrap();
    assert_eq!(mapper.move_range(BASE, to, 20 * PAGE_SIZE), Ok(19));
    for i in 0..20 {
        assert!(mapper.query_flags(BASE + i * PAGE_SIZE).is_none());
        let moved = mapper.query(to + i * PAGE_SIZE).map(|(frame, _)| first_byte(&frame));
        assert_eq!(moved, (i != 3).then_some(i as u8));
    }
    drop(mapper);
    drop(space);
    assert_eq!(settled(), before);
}

#[ktest]
fn user_copies_reach_the_pages() {
    let space = space_with(3);
    with_loaded(&space, || {
        let mut bytes = [0; 300];
        // Across a page boundary, in both directions.
        user::copy_from_user(&mut bytes, BASE + PAGE_SIZE - 100).unwrap();
        assert!(bytes[..100].iter().all(|&b| b == 0) && bytes[100..].iter().all(|&b| b == 1));
        user::copy_to_user(BASE + 2 * PAGE_SIZE - 5, b"0123456789").unwrap();
        assert_eq!(user::read::<[u8; 10]>(BASE + 2 * PAGE_SIZE - 5).as_ref(), Ok(b"0123456789"));
        assert_eq!(user::write(BASE + 1, &0x1122_3344_5566_7788u64), Ok(()));
        assert_eq!(user::read::<u32>(BASE + 5), Ok(0x1122_3344));
        assert_eq!(user::clear_user(BASE, 2 * PAGE_SIZE), Ok(()));
        assert_eq!(user::read::<u64>(BASE + 1), Ok(0));
        assert_eq!(user::read::<u8>(BASE + 2 * PAGE_SIZE), Ok(b'5'));
    });
}

#[ktest]
fn user_copies_stop_at_the_very_byte_that_faults() {
    let space = space_with(1);
    let end = BASE + PAGE_SIZE;
    with_loaded(&space, || {
        for len in (0..64).chain([100, 191, 192, 193, 255, 256, 400, 1000, 4096]) {
            let mut bytes = vec![0xcc; len + 700];
            assert_eq!(user::copy_from_user_partial(&mut bytes, end - len), len);
            assert!(bytes[..len].iter().all(|&b| b == 0));
            assert_eq!(user::copy_to_user_partial(end - len, &vec![0; len + 700]), len);
            assert!(user::copy_from_user(&mut bytes[..len + 1], end - len).is_err());
            assert_eq!(user::copy_from_user(&mut bytes[..len], end - len), Ok(()));
            assert!(user::clear_user(end - len, len + 1).is_err());
            assert_eq!(user::clear_user(end - len, len), Ok(()));
        }
        let frame = frame_of(4);
        assert_eq!(frame.copy_to_user(0, 4096, end - 1500), Ok(1500));
        assert_eq!(frame.copy_from_user(10, 500, end), Err(user::UserFault));
        assert_eq!(user::read::<u8>(end - 1), Ok(4));
        assert!(user::read::<u16>(end - 1).is_err());
        assert!(user::read::<u32>(end - 3).is_err());
        assert!(user::write(end - 7, &0u64).is_err());
    });
}

#[ktest]
fn user_copies_refuse_what_is_not_user_memory() {
    let space = space_with(1);
    let kernel = &raw const space as Vaddr;
    with_loaded(&space, || {
        let mut bytes = [0; 16];
        for addr in [kernel, USER_END, USER_END - 8, usize::MAX - 7, 0xffff_8000_0000_0000, 0x8000_0000_0000]
        {
            assert!(user::copy_from_user(&mut bytes, addr).is_err());
            assert!(user::copy_to_user(addr, &bytes).is_err());
            assert!(user::read::<u128>(addr).is_err());
            assert!(user::atomic_cmpxchg_u32(addr & !3, 0, 1).is_err() || addr == USER_END - 8);
            assert!(user::strncpy_from_user(&mut bytes, addr).is_err());
        }
        // As on Linux, nothing is fine anywhere.
        assert_eq!(user::copy_from_user(&mut [], usize::MAX), Ok(()));
        assert!(user::clear_user(BASE, usize::MAX).is_err());
        // Read-only pages are not written.
        space.lock().set_flags(BASE, PageFlags::READ);
        assert!(user::copy_to_user(BASE, &bytes).is_err());
        assert!(user::copy_from_user(&mut bytes, BASE).is_ok());
        // PROT_NONE pages are not even read.
        space.lock().set_flags(BASE, PageFlags::empty());
        assert!(user::copy_from_user(&mut bytes, BASE).is_err());
    });
}

#[ktest]
fn user_strings_end_at_nul_limit_or_fault() {
    let space = space_with(1);
    let end = BASE + PAGE_SIZE;
    with_loaded(&space, || {
        user::copy_to_user(BASE, &[b'x'; PAGE_SIZE]).unwrap();
        for len in 0..40 {
            user::write(BASE + 3 + len, &0u8).unwrap();
            let mut buf = [0xff; 64];
            assert_eq!(user::strncpy_from_user(&mut buf, BASE + 3), Ok(Some(len)));
            assert!(buf[..len].iter().all(|&b| b == b'x') && buf[len] == 0);
            // Exactly enough room, and one too few.
            assert_eq!(user::strncpy_from_user(&mut buf[..len + 1], BASE + 3), Ok(Some(len)));
            assert_eq!(user::strncpy_from_user(&mut buf[..len], BASE + 3), Ok(None));
            user::write(BASE + 3 + len, &b'x').unwrap();
            // The NUL is the last byte before the fault; and there is none.
            user::write(end - 1, &0u8).unwrap();
            assert_eq!(user::strncpy_from_user(&mut buf, end - 1 - len), Ok(Some(len)));
            user::write(end - 1, &b'x').unwrap();
            assert!(user::strncpy_from_user(&mut buf, end - 1 - len).is_err());
        }
    });
}

#[ktest]
fn user_atomics_exchange_only_what_is_expected() {
    let space = space_with(1);
    with_loaded(&space, || {
        user::write(BASE + 8, &5u32).unwrap();
        assert_eq!(user::atomic_cmpxchg_u32(BASE + 8, 4, 9), Ok(5));
        assert_eq!(user::atomic_load_u32(BASE + 8), Ok(5));
        assert_eq!(user::atomic_cmpxchg_u32(BASE + 8, 5, 9), Ok(5));
        assert_eq!(user::atomic_rmw_u32(BASE + 8, |n| n + 1), Ok(9));
        assert_eq!(user::atomic_load_u32(BASE + 8), Ok(10));
        assert!(user::atomic_load_u32(BASE + 9).is_err());
        assert!(user::atomic_load_u32(BASE + PAGE_SIZE).is_err());
    });
}

#[ktest]
fn loaded_space_sees_changes_at_once() {
    let space = space_with(40);
    with_loaded(&space, || {
        for i in 0..40 {
            assert_eq!(user::read::<u8>(BASE + i * PAGE_SIZE), Ok(i as u8));
        }
        // Few pages (flushed one by one), then many.
        space.lock().unmap(BASE..BASE + 2 * PAGE_SIZE);
        assert!(user::read::<u8>(BASE).is_err());
        let frame = frame_of(77);
        space.lock().map(BASE + 2 * PAGE_SIZE, frame, PageFlags::READ).unwrap();
        assert_eq!(user::read::<u8>(BASE + 2 * PAGE_SIZE), Ok(77));
        space.lock().protect(BASE..BASE + 40 * PAGE_SIZE, |flags| flags - PageFlags::WRITE);
        assert!(user::write(BASE + 30 * PAGE_SIZE, &1u8).is_err());
        space.lock().unmap(0..USER_END);
        assert!(user::read::<u8>(BASE + 30 * PAGE_SIZE).is_err());
    });
}

#[ktest]
fn stacks_are_reused_and_given_back() {
    drain_caches();
    let before = (settled(), stats().kernel_stacks);
    let stacks: Vec<KStack> = (0..200).map(|_| KStack::new().unwrap()).collect();
    for stack in &stacks {
        assert!(stack.top() - stack.bottom() == KSTACK_SIZE && stack.top() % 16 == 0);
        assert!(is_stack_guard(stack.bottom() - 8) && !is_stack_guard(stack.bottom()));
        // SAFETY: the stack is ours and not in use.
        unsafe { core::ptr::write_bytes(stack.bottom() as *mut u8, PAINT, KSTACK_SIZE) };
    }
    assert_eq!(stats().kernel_stacks, before.1 + 200 * KSTACK_SIZE / PAGE_SIZE);
    drop(stacks);
    drain_caches();
    assert!(stats().kernel_stacks <= before.1);
    // What is lost are page tables of the stack area and the list of slots, once.
    assert!(before.0.saturating_sub(settled()) < 16);
}

#[ktest]
fn string_functions_work_for_all_lengths_and_overlaps() {
    let pattern: Vec<u8> = (0..1500).map(|i| (i * 31 + i / 7) as u8).collect();
    let lengths = || (0..130).chain([255, 256, 257, 511, 512, 513, 600]);
    for len in lengths() {
        for shift in [0usize, 1, 3, 8, 15, 40, 700] {
            for (from, to) in [(10, 10 + shift), (10 + shift, 10)] {
                let mut bytes = pattern.clone();
                bytes.copy_within(from..from + len, to);
                assert_eq!(bytes[to..to + len], pattern[from..from + len]);
                assert_eq!(bytes[..to], pattern[..to]);
                assert_eq!(bytes[to + len..], pattern[to + len..]);
            }
        }
        let mut target = vec![0xee; 1500];
        target[5..5 + len].copy_from_slice(&pattern[3..3 + len]);
        assert!(target[5..5 + len] == pattern[3..3 + len] && target[4] == 0xee && target[5 + len] == 0xee);
        target[5..5 + len].fill(0x11);
        assert!(
            target[5..5 + len].iter().all(|&b| b == 0x11) && target[4] == 0xee && target[5 + len] == 0xee
        );
        for at in (0..len).step_by(7) {
            let mut other = pattern[..len].to_vec();
            other[at] = pattern[at].wrapping_add(1);
            assert_ne!(other[..], pattern[..len]);
            assert_eq!(other[..].cmp(&pattern[..len]), other[at].cmp(&pattern[at]));
        }
    }
}
