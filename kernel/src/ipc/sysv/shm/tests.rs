//! Tests in the booted kernel: segments in address spaces that no task runs in.

use ktest::ktest;

use super::{super::IPC_PRIVATE, *};
use crate::{
    mm::{ForkHints, MemoryLimits, Vm},
    process::{Credentials, tree},
};

const PAGE: usize = PAGE_SIZE;
const BASE: Vaddr = 0x7000_0000_0000;

/// A segment of `pages`, made by nobody.
fn new_segment(pages: usize) -> (i32, Arc<Segment>) {
    let segment = Segment::new(pages * PAGE, IPC_PRIVATE).unwrap();
    let entry = Entry {
        perm: Perm::new(IPC_PRIVATE, 0o600, &Credentials::root()),
        segment: segment.clone(),
        bytes: (pages * PAGE) as u64,
        creator: LastPid::nobody(tree::root_ns()),
        last: None,
        attached: 0,
        detached: 0,
        changed: 0,
        removed: false,
        locked_by: None,
        made_by: None,
    };
    let mut registry = REGISTRY.lock();
    let id = registry.ids.add(IPC_PRIVATE, entry, usize::MAX).unwrap();
    registry.pages += pages as u64;
    segment.set_id(id);
    (id, segment)
}

/// The reference that the test has itself counts as one.
fn attachments(id: i32) -> Option<usize> {
    REGISTRY.lock().ids.get(id).map(Entry::attachments)
}

fn map(vm: &Arc<Vm>, segment: &Arc<Segment>, pages: usize) -> Vaddr {
    let access = VmFlags::READ | VmFlags::WRITE | VmFlags::MAY_ACCESS;
    let request = MapRequest {
        placement: Placement::Hint(0),
        len: pages * PAGE,
        flags: access | VmFlags::SHARED | VmFlags::MAP_SHARED | VmFlags::SEGMENT,
        object: Some((segment.clone(), 0)),
        populate: false,
    };
    vm.mmap(request, &MemoryLimits::NONE).unwrap()
}

fn end(segment: Arc<Segment>) {
    let gone = REGISTRY.lock().release(segment);
    drop(gone);
}

#[ktest]
fn every_vma_of_a_segment_is_an_attachment() {
    let (id, segment) = new_segment(4);
    let vm = Vm::new(BASE, None).unwrap();
    let addr = map(&vm, &segment, 4);
    assert_eq!(attachments(id), Some(2));
    let child = vm.fork(ForkHints::default()).unwrap();
    assert_eq!(attachments(id), Some(3));
    child.munmap(addr + PAGE, PAGE).unwrap();
    assert_eq!(attachments(id), Some(4));
    assert_eq!(child.detach_segment(addr + 2 * PAGE), Err(EINVAL));
    child.detach_segment(addr).unwrap();
    assert_eq!(attachments(id), Some(2));
    drop((vm, child));
    assert_eq!(attachments(id), Some(1));
    control::remove(&Credentials::root(), id).unwrap();
    end(segment);
    assert_eq!(attachments(id), None);
}

#[ktest]
fn a_removed_segment_goes_with_its_last_attachment_and_its_frames() {
    ostd::mm::drain_caches();
    let (id, segment) = new_segment(8);
    let before = (crate::mm::shared_pages(), REGISTRY.lock().pages);
    let vm = Vm::new(BASE, None).unwrap();
    let addr = map(&vm, &segment, 8);
    for page in 0..8 {
        assert_eq!(vm.write_remote(addr + page * PAGE, &[1]), 1);
    }
    assert_eq!((segment.resident(), crate::mm::shared_pages()), (8, before.0 + 8));
    control::remove(&Credentials::root(), id).unwrap();
    end(segment);
    assert_eq!(attachments(id), Some(1));
    let child = vm.fork(ForkHints::default()).unwrap();
    drop(vm);
    assert_eq!(attachments(id), Some(1));
    drop(child);
    assert_eq!(attachments(id), None);
    assert_eq!((crate::mm::shared_pages(), REGISTRY.lock().pages), (before.0, before.1 - 8));
}

#[ktest]
fn attachments_side_by_side_stay_two() {
    let (id, segment) = new_segment(1);
    let vm = Vm::new(BASE, None).unwrap();
    let (a, b) = (map(&vm, &segment, 1), map(&vm, &segment, 1));
    assert_eq!(a, b + PAGE);
    assert_eq!(attachments(id), Some(3));
    vm.detach_segment(b).unwrap();
    assert_eq!(attachments(id), Some(2));
    assert_eq!(vm.write_remote(a, &[1]), 1);
    vm.detach_segment(a).unwrap();
    control::remove(&Credentials::root(), id).unwrap();
    end(segment);
    assert_eq!(attachments(id), None);
}
