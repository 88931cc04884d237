//! brk(2): the heap.

use super::{Backing, MemoryLimits, STACK_GUARD, Vm, VmFlags, VmaAttr, page_ceil};
use crate::prelude::*;
use ostd::mm::USER_END;

const HEAP: VmFlags = VmFlags::READ.union(VmFlags::WRITE).union(VmFlags::MAY_ACCESS);

impl Vm {
    /// Sets the end of the heap to `wanted`, if that is possible, and returns the end as it is then.
    pub fn brk(&self, wanted: Vaddr, limits: &MemoryLimits) -> Vaddr {
        let mut layout = self.layout.write();
        let old = layout.brk;
        if wanted < layout.brk_start || wanted > USER_END {
            return old;
        }
        let data = layout.ranges.end_data.saturating_sub(layout.ranges.start_data);
        if (wanted - layout.brk_start).saturating_add(data) > limits.data {
            return old;
        }
        let (Some(old_end), Some(new_end)) = (page_ceil(old), page_ceil(wanted)) else { return old };
        if new_end < old_end {
            layout.forget(new_end, old_end);
            self.unmap_pages(new_end..old_end);
        } else if new_end > old_end {
            let guard = layout
                .vmas
                .find_at_or_above(new_end)
                .map_or(0, |vma| if vma.attr.flags.contains(VmFlags::GROWS_DOWN) { STACK_GUARD } else { 0 });
            let mut flags = HEAP;
            if layout.lock_future {
                flags |= VmFlags::LOCKED;
            }
            let room = layout.vmas.is_free(old_end, new_end.saturating_add(guard));
            if !room || layout.may_expand(new_end - old_end, 0, flags, limits).is_err() {
                return old;
            }
            if layout.enter(old_end, new_end, VmaAttr { flags, backing: Backing::Anonymous }).is_err() {
                return old;
            }
        }
        layout.brk = wanted;
        let populate = layout.lock_future && new_end > old_end;
        drop(layout);
        if populate {
            let _ = self.populate(old_end, new_end);
        }
        wanted
    }

    /// The heap: where it starts and ends now.
    pub fn heap(&self) -> (Vaddr, Vaddr) {
        let layout = self.layout.read();
        (layout.brk_start, layout.brk)
    }
}
