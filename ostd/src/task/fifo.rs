//! The policy until the kernel registers its own: one queue, first come, first served, with a fixed time slice.

use super::{EnqueueReason, Scheduler, Task};
use crate::{
    cpu::{self, CpuId},
    sync::{IrqSpinLock, LockRank},
};
use alloc::{collections::VecDeque, sync::Arc};

const RANK: LockRank = LockRank::new(700, "run queue");
const SLICE_NS: u64 = 4_000_000;

pub(super) struct Fifo {
    queue: IrqSpinLock<VecDeque<Arc<Task>>>,
}

pub(super) static FIFO: Fifo = Fifo { queue: IrqSpinLock::new(RANK, VecDeque::new()) };

impl Scheduler for Fifo {
    fn enqueue(&self, task: Arc<Task>, reason: EnqueueReason) -> Option<CpuId> {
        self.queue.lock().push_back(task);
        match reason {
            EnqueueReason::New | EnqueueReason::Wake => cpu::all().find(|cpu| cpu::is_idle(*cpu)),
            EnqueueReason::Yield | EnqueueReason::Preempted => None,
        }
    }

    fn pick_next(&self, _cpu: CpuId, _current: Option<(&Task, EnqueueReason)>) -> Option<Arc<Task>> {
        self.queue.lock().pop_front()
    }

    fn account(&self, _cpu: CpuId, _task: &Task, _ran_ns: u64) {}

    fn tick(&self, _cpu: CpuId, _task: &Task) -> bool {
        !self.queue.lock().is_empty()
    }

    fn tick_ns(&self, _cpu: CpuId) -> u64 {
        SLICE_NS
    }
}
