//! Tests in the booted kernel: address spaces that no task runs in, driven through the fault handler.

use ktest::ktest;
use ostd::mm::{AllocClass, Frame};

use super::*;

const PAGE: usize = PAGE_SIZE;
const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);
const BASE: Vaddr = 0x7000_0000_0000;
const NONE: MemoryLimits = MemoryLimits::NONE;

/// Pages with known contents: each begins with its number.
struct Pages(Vec<Frame>);

impl Pages {
    fn new(count: usize) -> Arc<Pages> {
        let page = |index: usize| {
            Frame::new_with(AllocClass::User, |frame| {
                frame.write(&[index as u8 + 1]);
            })
        };
        Arc::new(Pages((0..count).map(|index| page(index).unwrap()).collect()))
    }

    fn byte(&self, index: usize) -> u8 {
        let mut byte = [0];
        self.0[index].read(0, &mut byte);
        byte[0]
    }
}

impl MemoryObject for Pages {
    fn frame(&self, index: u64, _: bool) -> Result<Frame, FaultError> {
        self.0.get(index as usize).cloned().ok_or(FaultError::Bus)
    }

    fn with_run(&self, index: u64, max: usize, look: &mut dyn FnMut(&[Option<Frame>])) {
        let run: Vec<_> = self.0.iter().skip(index as usize).take(max).cloned().map(Some).collect();
        look(&run);
    }

    fn size(&self) -> u64 {
        (self.0.len() * PAGE) as u64
    }

    fn id(&self) -> ObjectId {
        ObjectId(core::ptr::from_ref(self) as usize)
    }

    fn name(&self) -> ObjectName {
        ObjectName { dev: 0, ino: 7, path: b"/test".to_vec() }
    }
}

fn anonymous(vm: &Arc<Vm>, pages: usize) -> Vaddr {
    vm.mmap(MapRequest::anonymous(Placement::Hint(0), pages * PAGE, RW), &NONE).unwrap()
}

fn object(vm: &Arc<Vm>, object: &Arc<Pages>, access: VmFlags, shared: bool) -> Vaddr {
    let mut flags = access | VmFlags::MAY_ACCESS;
    if shared {
        flags |= VmFlags::SHARED | VmFlags::MAP_SHARED;
    }
    let request = MapRequest {
        placement: Placement::Hint(0),
        len: object.0.len() * PAGE,
        flags,
        object: Some((object.clone(), 0)),
        populate: false,
    };
    vm.mmap(request, &NONE).unwrap()
}

fn peek(vm: &Vm, addr: Vaddr) -> Option<u8> {
    let mut byte = [0];
    (vm.read_remote(addr, &mut byte) == 1).then_some(byte[0])
}

fn poke(vm: &Vm, addr: Vaddr, byte: u8) -> bool {
    vm.write_remote(addr, &[byte]) == 1
}

fn paddr(vm: &Vm, addr: Vaddr) -> Option<usize> {
    vm.space.lock().query(addr).map(|(frame, _)| frame.paddr())
}

#[ktest]
fn anonymous_memory_reads_zero_and_keeps_what_is_written() {
    let vm = Vm::new(BASE, None).unwrap();
    let addr = anonymous(&vm, 3);
    assert_eq!(peek(&vm, addr + PAGE), Some(0));
    assert!(poke(&vm, addr + PAGE + 5, 9));
    assert_eq!(peek(&vm, addr + PAGE + 5), Some(9));
    assert_eq!(peek(&vm, addr + 3 * PAGE), None);
    assert_eq!(vm.handle_fault(addr + 3 * PAGE, Access::Read), Err(FaultError::NotMapped));
}

#[ktest]
fn a_large_area_shows_one_zero_page_until_it_is_written() {
    let vm = Vm::new(BASE, None).unwrap();
    let addr = anonymous(&vm, 8 << 10);
    assert_eq!((peek(&vm, addr), peek(&vm, addr + (4 << 20))), (Some(0), Some(0)));
    assert_eq!(paddr(&vm, addr), paddr(&vm, addr + (4 << 20)));
    assert!(poke(&vm, addr, 1));
    assert_ne!(paddr(&vm, addr), paddr(&vm, addr + (4 << 20)));
    assert_eq!((peek(&vm, addr), peek(&vm, addr + (4 << 20))), (Some(1), Some(0)));
}

#[ktest]
fn what_was_only_read_can_not_be_written_without_the_right() {
    let vm = Vm::new(BASE, None).unwrap();
    let addr = vm.mmap(MapRequest::anonymous(Placement::Hint(0), PAGE, VmFlags::READ), &NONE).unwrap();
    assert_eq!(peek(&vm, addr), Some(0));
    let flags = vm.space.lock().query_flags(addr).unwrap();
    assert!(!flags.contains(PageFlags::WRITE));
    assert_eq!(vm.handle_fault(addr, Access::Write), Err(FaultError::Denied));
}

#[ktest]
fn parent_and_child_do_not_see_each_others_writes() {
    let parent = Vm::new(BASE, None).unwrap();
    let addr = anonymous(&parent, 2);
    assert!(poke(&parent, addr, 1));
    let child = parent.fork(ForkHints::default()).unwrap();
    assert_eq!(peek(&child, addr), Some(1));
    assert!(poke(&parent, addr, 2) && poke(&child, addr, 3));
    assert!(poke(&child, addr + PAGE, 4));
    assert_eq!((peek(&parent, addr), peek(&child, addr)), (Some(2), Some(3)));
    assert_eq!((peek(&parent, addr + PAGE), peek(&child, addr + PAGE)), (Some(0), Some(4)));
}

#[ktest]
fn the_last_owner_of_a_page_goes_on_with_it() {
    let parent = Vm::new(BASE, None).unwrap();
    let addr = anonymous(&parent, 1);
    assert!(poke(&parent, addr, 1));
    let before = paddr(&parent, addr);
    let child = parent.fork(ForkHints::default()).unwrap();
    assert!(poke(&child, addr, 2));
    assert_ne!(paddr(&child, addr), before);
    assert!(poke(&parent, addr, 3));
    assert_eq!(paddr(&parent, addr), before);
    drop(child);
    let child = parent.fork(ForkHints::default()).unwrap();
    drop(child);
    assert!(poke(&parent, addr, 4));
    assert_eq!(paddr(&parent, addr), before);
}

#[ktest]
fn what_both_will_write_is_copied_at_once() {
    let parent = Vm::new(BASE, None).unwrap();
    let addr = anonymous(&parent, 3);
    assert!(poke(&parent, addr, 1) && poke(&parent, addr + PAGE, 2));
    let before = paddr(&parent, addr + PAGE);
    let hints = ForkHints { code: 0, writes: [addr + PAGE + 8, addr + 2 * PAGE] };
    let child = parent.fork(hints).unwrap();
    for (vm, page) in [(&*child, addr + PAGE), (&parent, addr + PAGE)] {
        assert!(vm.space.lock().query_flags(page).unwrap().contains(PageFlags::WRITE));
    }
    assert!(!parent.space.lock().query_flags(addr).unwrap().contains(PageFlags::WRITE));
    assert_eq!(paddr(&parent, addr + PAGE), before);
    assert!(poke(&child, addr + PAGE, 3));
    assert_eq!((peek(&parent, addr + PAGE), peek(&child, addr + PAGE)), (Some(2), Some(3)));
    // A page that a third process shares stays shared.
    let third = child.fork(ForkHints::default()).unwrap();
    let fourth = child.fork(hints).unwrap();
    assert!(poke(&child, addr + PAGE, 4));
    assert_eq!((peek(&third, addr + PAGE), peek(&fourth, addr + PAGE)), (Some(3), Some(3)));
}

#[ktest]
fn shared_memory_stays_shared_over_fork() {
    let parent = Vm::new(BASE, None).unwrap();
    let mut request = MapRequest::anonymous(Placement::Hint(0), 4 * PAGE, RW);
    request.flags |= VmFlags::SHARED | VmFlags::MAP_SHARED;
    let addr = parent.mmap(request, &NONE).unwrap();
    assert!(poke(&parent, addr, 1));
    let child = parent.fork(ForkHints::default()).unwrap();
    assert!(poke(&child, addr, 2) && poke(&child, addr + 2 * PAGE, 3));
    assert_eq!((peek(&parent, addr), peek(&parent, addr + 2 * PAGE)), (Some(2), Some(3)));
    assert_eq!(parent.shared_word(addr + 4).unwrap(), child.shared_word(addr + 4).unwrap());
}

#[ktest]
fn private_writes_do_not_reach_the_object() {
    let vm = Vm::new(BASE, None).unwrap();
    let pages = Pages::new(3);
    let addr = object(&vm, &pages, RW, false);
    assert_eq!(peek(&vm, addr + 2 * PAGE), Some(3));
    assert!(poke(&vm, addr + 2 * PAGE, 77));
    assert_eq!((peek(&vm, addr + 2 * PAGE), pages.byte(2)), (Some(77), 3));
    let child = vm.fork(ForkHints::default()).unwrap();
    assert_eq!((peek(&child, addr + 2 * PAGE), peek(&child, addr)), (Some(77), Some(1)));
    vm.madvise(addr, 3 * PAGE, Advice::DontNeed).unwrap();
    assert_eq!(peek(&vm, addr + 2 * PAGE), Some(3));
}

#[ktest]
fn shared_writes_reach_the_object() {
    let vm = Vm::new(BASE, None).unwrap();
    let pages = Pages::new(2);
    let addr = object(&vm, &pages, RW, true);
    assert!(poke(&vm, addr + PAGE, 50));
    assert_eq!(pages.byte(1), 50);
}

#[ktest]
fn one_fault_brings_in_the_neighbouring_pages_of_an_object() {
    let vm = Vm::new(BASE, None).unwrap();
    let pages = Pages::new(4);
    let addr = object(&vm, &pages, VmFlags::READ, false);
    assert_eq!(vm.handle_fault(addr + PAGE, Access::Read), Ok(()));
    let in_window = (0..4)
        .filter(|i| (addr + i * PAGE) / fault::EXEC_WINDOW == (addr + PAGE) / fault::EXEC_WINDOW)
        .count();
    assert_eq!(vm.rss(), in_window);
    assert_eq!(paddr(&vm, addr + PAGE), Some(pages.0[1].paddr()));
}

#[ktest]
fn a_walk_upwards_faults_less_than_once_per_page() {
    let vm = Vm::new(BASE, None).unwrap();
    let addr = vm.mmap(MapRequest::anonymous(Placement::Fixed(BASE), 256 * PAGE, RW), &NONE).unwrap();
    let mut faults = 0;
    for page in (addr..addr + 128 * PAGE).step_by(PAGE) {
        if paddr(&vm, page).is_none() {
            vm.handle_fault(page, Access::Write).unwrap();
            faults += 1;
        }
    }
    assert!(faults < 20, "{faults} faults");
    assert!(vm.rss() <= 128 + 16);
    // Scattered accesses get what they touch and no more.
    let vm = Vm::new(BASE, None).unwrap();
    let addr = anonymous(&vm, 256);
    for page in (addr..addr + 256 * PAGE).step_by(8 * PAGE) {
        vm.handle_fault(page, Access::Write).unwrap();
    }
    assert_eq!(vm.rss(), 32);
}

#[ktest]
fn beyond_the_end_of_an_object_is_a_bus_error() {
    let vm = Vm::new(BASE, None).unwrap();
    let pages = Pages::new(1);
    let request = MapRequest {
        placement: Placement::Hint(0),
        len: 2 * PAGE,
        flags: RW | VmFlags::MAY_ACCESS,
        object: Some((pages, 0)),
        populate: false,
    };
    let addr = vm.mmap(request, &NONE).unwrap();
    assert_eq!(vm.handle_fault(addr + PAGE, Access::Read), Err(FaultError::Bus));
    assert_eq!(vm.handle_fault(addr + PAGE, Access::Write), Err(FaultError::Bus));
    assert_eq!(vm.handle_fault(addr, Access::Exec), Err(FaultError::Denied));
}

#[ktest]
fn rights_are_taken_and_given_back_without_losing_data() {
    let vm = Vm::new(BASE, None).unwrap();
    let addr = anonymous(&vm, 4);
    assert!(poke(&vm, addr + PAGE, 5));
    vm.mprotect(addr + PAGE, PAGE, VmFlags::empty(), &NONE).unwrap();
    assert_eq!(vm.handle_fault(addr + PAGE, Access::Read), Err(FaultError::Denied));
    vm.mprotect(addr + PAGE, PAGE, VmFlags::READ, &NONE).unwrap();
    assert_eq!(peek(&vm, addr + PAGE), Some(5));
    assert_eq!(vm.handle_fault(addr + PAGE, Access::Write), Err(FaultError::Denied));
    assert_eq!(vm.layout.read().vmas.len(), 3);
    vm.mprotect(addr, 4 * PAGE, RW, &NONE).unwrap();
    assert!(poke(&vm, addr + PAGE, 6));
    assert_eq!(vm.layout.read().vmas.len(), 1);
    assert_eq!(vm.mprotect(addr, 5 * PAGE, VmFlags::READ, &NONE), Err(ENOMEM));
    assert_eq!(vm.mprotect(addr + 1, PAGE, VmFlags::READ, &NONE), Err(EINVAL));
}

#[ktest]
fn write_rights_given_after_a_fork_do_not_join_the_pages_again() {
    let parent = Vm::new(BASE, None).unwrap();
    let addr = anonymous(&parent, 1);
    assert!(poke(&parent, addr, 1));
    parent.mprotect(addr, PAGE, VmFlags::READ, &NONE).unwrap();
    let child = parent.fork(ForkHints::default()).unwrap();
    child.mprotect(addr, PAGE, RW, &NONE).unwrap();
    assert!(poke(&child, addr, 2));
    assert_eq!((peek(&parent, addr), peek(&child, addr)), (Some(1), Some(2)));
}

#[ktest]
fn an_unmapped_hole_is_gone_and_its_neighbours_stay() {
    let vm = Vm::new(BASE, None).unwrap();
    let addr = anonymous(&vm, 5);
    for page in 0..5 {
        assert!(poke(&vm, addr + page * PAGE, page as u8));
    }
    vm.munmap(addr + PAGE, 2 * PAGE).unwrap();
    let seen: Vec<_> = (0..5).map(|page| peek(&vm, addr + page * PAGE)).collect();
    assert_eq!(seen, [Some(0), None, None, Some(3), Some(4)]);
    assert_eq!(vm.rss(), 3);
    assert_eq!(vm.munmap(addr, 0), Err(EINVAL));
    assert_eq!(vm.munmap(usize::MAX & !(PAGE - 1), PAGE), Err(EINVAL));
}

#[ktest]
fn a_stack_grows_until_it_comes_near_its_neighbour() {
    let vm = Vm::new(BASE, None).unwrap();
    let top = 0x6000_0000_0000;
    let mut stack = MapRequest::anonymous(Placement::Fixed(top - PAGE), PAGE, RW);
    stack.flags |= VmFlags::GROWS_DOWN;
    vm.mmap(stack, &NONE).unwrap();
    assert_eq!(vm.handle_fault(top - 10 * PAGE, Access::Write), Ok(()));
    assert_eq!(vm.layout.read().vmas.find(top - 1).unwrap().start, top - 10 * PAGE);
    let neighbour = top - (4 << 20);
    vm.mmap(MapRequest::anonymous(Placement::Fixed(neighbour), PAGE, RW), &NONE).unwrap();
    let first_allowed = neighbour + PAGE + STACK_GUARD;
    assert_eq!(vm.handle_fault(first_allowed - PAGE, Access::Write), Err(FaultError::NotMapped));
    assert_eq!(vm.handle_fault(first_allowed, Access::Write), Ok(()));
}

#[ktest]
fn the_heap_grows_shrinks_and_forgets() {
    let vm = Vm::new(BASE, None).unwrap();
    vm.layout.write().brk_start = 0x10_0000;
    vm.layout.write().brk = 0x10_0000;
    assert_eq!(vm.brk(0, &NONE), 0x10_0000);
    assert_eq!(vm.brk(0x10_2001, &NONE), 0x10_2001);
    assert!(poke(&vm, 0x10_2fff, 7));
    assert_eq!(vm.brk(0x10_1000, &NONE), 0x10_1000);
    assert_eq!(peek(&vm, 0x10_2fff), None);
    assert_eq!(vm.brk(0x10_3000, &NONE), 0x10_3000);
    assert_eq!(peek(&vm, 0x10_2fff), Some(0));
    let limits = MemoryLimits { data: PAGE, ..NONE };
    assert_eq!(vm.brk(0x20_0000, &limits), 0x10_3000);
}

#[ktest]
fn a_moved_mapping_takes_its_pages_along() {
    let vm = Vm::new(BASE, None).unwrap();
    // Something above it, so that it can't grow in place.
    vm.mmap(MapRequest::anonymous(Placement::Hint(0), PAGE, VmFlags::READ), &NONE).unwrap();
    let addr = anonymous(&vm, 2);
    assert!(poke(&vm, addr, 1) && poke(&vm, addr + PAGE, 2));
    let frame = paddr(&vm, addr + PAGE);
    assert_eq!(vm.mremap(addr, 2 * PAGE, 4 * PAGE, Move::Never, false, &NONE), Err(ENOMEM));
    let target = BASE - (1 << 30);
    assert_eq!(vm.mremap(addr, 2 * PAGE, 4 * PAGE, Move::To(target), false, &NONE), Ok(target));
    assert_eq!(paddr(&vm, target + PAGE), frame);
    assert_eq!((peek(&vm, target), peek(&vm, target + 3 * PAGE), peek(&vm, addr)), (Some(1), Some(0), None));
    assert_eq!(vm.mremap(target, 4 * PAGE, PAGE, Move::Never, false, &NONE), Ok(target));
    assert_eq!(peek(&vm, target + PAGE), None);
    assert_eq!(vm.mremap(target, PAGE, 3 * PAGE, Move::Never, false, &NONE), Ok(target));
    assert_eq!(vm.mremap(target + 10 * PAGE, PAGE, PAGE, Move::Anywhere, false, &NONE), Err(EFAULT));
}

#[ktest]
fn absurd_sizes_and_places_are_refused() {
    let vm = Vm::new(BASE, None).unwrap();
    let map = |placement, len| vm.mmap(MapRequest::anonymous(placement, len, RW), &NONE);
    assert_eq!(map(Placement::Hint(0), 0), Err(EINVAL));
    assert_eq!(map(Placement::Hint(0), usize::MAX), Err(ENOMEM));
    assert_eq!(map(Placement::Hint(0), 1 << 60), Err(ENOMEM));
    assert_eq!(map(Placement::Hint(0), 1 << 45), Err(ENOMEM));
    assert_eq!(map(Placement::Fixed(USER_END), PAGE), Err(ENOMEM));
    assert_eq!(map(Placement::Fixed(USER_END - PAGE), 2 * PAGE), Err(ENOMEM));
    assert_eq!(map(Placement::Fixed(0x1234_5678), PAGE), Err(EINVAL));
    let poor = MemoryLimits { low_addresses: false, ..NONE };
    assert_eq!(vm.mmap(MapRequest::anonymous(Placement::Fixed(0), PAGE, RW), &poor), Err(EPERM));
    // Promises without reserve may exceed memory: they are address space only.
    let mut request = MapRequest::anonymous(Placement::Hint(0), 1 << 40, VmFlags::empty());
    request.flags |= VmFlags::NO_RESERVE;
    assert!(vm.mmap(request, &NONE).is_ok());
    let small = MemoryLimits { address_space: (1 << 40) + 2 * PAGE, ..NONE };
    assert_eq!(vm.mmap(MapRequest::anonymous(Placement::Hint(0), 3 * PAGE, RW), &small), Err(ENOMEM));
    assert!(vm.mmap(MapRequest::anonymous(Placement::Hint(0), 2 * PAGE, RW), &small).is_ok());
}

#[ktest]
fn placement_follows_hints_and_fixed_addresses() {
    let vm = Vm::new(BASE, None).unwrap();
    let map = |placement| vm.mmap(MapRequest::anonymous(placement, PAGE, RW), &NONE);
    assert_eq!(map(Placement::Hint(0)), Ok(BASE - PAGE));
    assert_eq!(map(Placement::Hint(0x5000_0001)), Ok(0x5000_1000));
    assert_eq!(map(Placement::Hint(0x5000_1000)), Ok(BASE - 2 * PAGE));
    assert_eq!(map(Placement::FixedNoReplace(0x5000_1000)), Err(EEXIST));
    assert!(poke(&vm, 0x5000_1000, 1));
    assert_eq!(map(Placement::Fixed(0x5000_1000)), Ok(0x5000_1000));
    assert_eq!(peek(&vm, 0x5000_1000), Some(0));
    let low = map(Placement::Low(0)).unwrap();
    assert!((1 << 30..1 << 31).contains(&low));
}

#[ktest]
fn a_child_does_not_inherit_what_is_marked() {
    let parent = Vm::new(BASE, None).unwrap();
    let addr = anonymous(&parent, 3);
    for page in 0..3 {
        assert!(poke(&parent, addr + page * PAGE, 9));
    }
    parent.madvise(addr, PAGE, Advice::SetFlags(VmFlags::DONT_FORK)).unwrap();
    parent.madvise(addr + PAGE, PAGE, Advice::SetFlags(VmFlags::WIPE_ON_FORK)).unwrap();
    parent.mlock(addr + 2 * PAGE, PAGE, true, false, &NONE).unwrap();
    let child = parent.fork(ForkHints::default()).unwrap();
    let seen: Vec<_> = (0..3).map(|page| peek(&child, addr + page * PAGE)).collect();
    assert_eq!(seen, [None, Some(0), Some(9)]);
    assert_eq!((parent.memory_use().locked, child.memory_use().locked), (PAGE, 0));
}

#[ktest]
fn locked_memory_is_counted_and_limited() {
    let vm = Vm::new(BASE, None).unwrap();
    let addr = anonymous(&vm, 4);
    let limits = MemoryLimits { locked: 2 * PAGE, ..NONE };
    assert_eq!(vm.mlock(addr, 3 * PAGE, true, false, &limits), Err(ENOMEM));
    assert_eq!(vm.mlock(addr, 2 * PAGE, true, false, &limits), Ok(()));
    assert_eq!(vm.mlock(addr, 2 * PAGE, true, false, &limits), Ok(()));
    assert_eq!(vm.rss(), 2);
    vm.munmap(addr, PAGE).unwrap();
    assert_eq!(vm.memory_use().locked, PAGE);
}

#[ktest]
fn maps_lines_look_as_on_linux() {
    let vm = Vm::new(BASE, None).unwrap();
    let pages = Pages::new(1);
    let addr = object(&vm, &pages, VmFlags::READ | VmFlags::EXEC, false);
    let line = alloc::format!("{:08x}-{:08x} r-xp 00000000 00:00 7 ", addr, addr + PAGE);
    let expected = alloc::format!("{line:<73}/test\n");
    assert_eq!(String::from_utf8_lossy(&vm.maps().unwrap()), expected);
}

#[ktest]
fn counts_agree_with_the_page_tables() {
    let vm = Vm::new(BASE, None).unwrap();
    let pages = Pages::new(20);
    let text = object(&vm, &pages, VmFlags::READ, false);
    let data = object(&vm, &pages, RW, false);
    let heap = anonymous(&vm, 50);
    for page in 0..20 {
        peek(&vm, text + page * PAGE);
        poke(&vm, data + page * PAGE, 1);
        poke(&vm, heap + page * 2 * PAGE, 1);
    }
    vm.munmap(heap + 5 * PAGE, 10 * PAGE).unwrap();
    vm.madvise(data, 4 * PAGE, Advice::DontNeed).unwrap();
    let child = vm.fork(ForkHints::default()).unwrap();
    for vm in [&vm, &*child] {
        assert_eq!(vm.rss() * PAGE, vm.memory_use().resident);
    }
    assert!(vm.max_rss() > vm.rss());
}

#[ktest]
fn no_frame_is_lost() {
    let work = || {
        let vm = Vm::new(BASE, None).unwrap();
        let pages = Pages::new(40);
        let data = object(&vm, &pages, RW, false);
        let heap = anonymous(&vm, 600);
        for page in 0..40 {
            assert!(poke(&vm, data + page * PAGE, 1));
            assert!(poke(&vm, heap + page * 11 * PAGE, 1));
        }
        let children: Vec<_> = (0..3).map(|_| vm.fork(ForkHints::default()).unwrap()).collect();
        for child in &children {
            assert!(poke(child, heap, 2) && poke(child, data, 2));
            child.munmap(heap + 100 * PAGE, 300 * PAGE).unwrap();
        }
        assert!(poke(&vm, heap, 3));
        vm.mremap(heap, 600 * PAGE, 700 * PAGE, Move::Anywhere, false, &NONE).unwrap();
    };
    // Once to fill the caches.
    work();
    let before = memory_in_use();
    work();
    assert_eq!(memory_in_use(), before);
}

/// Bytes of memory that somebody has, without what CPUs and the heap keep for reuse. What earlier tests left to end by
/// itself does so first.
pub(crate) fn memory_in_use() -> usize {
    while ostd::cpu::all().any(|cpu| cpu != ostd::cpu::current() && !ostd::cpu::is_idle(cpu)) {
        ostd::task::yield_now();
    }
    let stats = ostd::mm::stats();
    let (mut objects, mut slabs) = (0, 0);
    for class in ostd::mm::heap_classes() {
        objects += class.used * class.size;
        slabs += class.slabs * class.frames_per_slab;
    }
    objects + (stats.total - stats.free - ostd::mm::kept_frames() - slabs) * PAGE_SIZE
}
