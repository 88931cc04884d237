//! Operations: semop(2), semtimedop(2).
//!
//! All operations of a call happen at once or none does. Who can't go on joins the set's queue with them; whoever changes
//! the set carries out the operations *of those who wait* before it gives the lock back, and wakes them with the result. So
//! nobody comes in between, and a sleeper that finds a result has nothing left to do.
//!
//! **Order.** Those who wait for zeros go on first, since they change nothing; of those who take, the oldest whose operations are
//! possible. A call that is possible at once does not queue behind others.
//!
//! A wait ends with a signal, always with EINTR: a handler's SA_RESTART and a stop make no difference (rules 7.23, 7.36).

use super::{LIMIT_OPS, MAX_VALUE, REGISTRY, Set, limit, undo};
use crate::{
    ipc::{
        sysv::{LastPid, READ, WRITE, now_seconds},
        waiter::Waiter,
    },
    prelude::*,
    process::Thread,
};

/// `struct sembuf`.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub number: u16,
    pub change: i16,
    pub flags: i16,
}

impl Operation {
    const NOWAIT: i16 = 0o4000;
    const UNDO: i16 = 0x1000;

    fn undoes(&self) -> bool {
        self.flags & Operation::UNDO != 0
    }
}

/// A call that waits.
pub(super) struct Pending {
    waiter: Arc<Waiter<()>>,
    ops: Vec<Operation>,
    /// The caller's list of undos, if an operation is to be undone.
    undo: Option<u64>,
    last: LastPid,
    /// The operation that is not possible.
    blocked: usize,
}

impl Pending {
    /// Whether it is semaphore `number` that it waits for: to be zero, or to grow.
    pub(super) fn waits_for(&self, number: usize, zero: bool) -> bool {
        let op = &self.ops[self.blocked];
        usize::from(op.number) == number && (op.change == 0) == zero
    }

    fn alters(&self) -> bool {
        alters(&self.ops)
    }

    /// Ends the wait. Called with the registry locked, for one that is taken out of its queue.
    pub(super) fn wake(&self, result: Result<()>) {
        self.waiter.finish(result);
    }
}

fn alters(ops: &[Operation]) -> bool {
    ops.iter().any(|op| op.change != 0)
}

/// What came of an attempt.
enum Attempt {
    Done,
    /// This operation is not possible now.
    Blocked(usize),
    Failed(Errno),
}

impl Set {
    /// Carries out all of `ops`, or nothing.
    fn attempt(&mut self, ops: &[Operation], undo: Option<u64>, last: LastPid) -> Attempt {
        for (at, op) in ops.iter().enumerate() {
            let refused = match self.step(op, undo) {
                Ok(true) => continue,
                Ok(false) => Attempt::Blocked(at),
                Err(error) => Attempt::Failed(error),
            };
            for op in ops[..at].iter().rev() {
                self.take_back(op, undo);
            }
            return refused;
        }
        for op in ops {
            self.sems[usize::from(op.number)].last = Some(last);
        }
        Attempt::Done
    }

    /// One operation; false if it is not possible now.
    fn step(&mut self, op: &Operation, undo: Option<u64>) -> Result<bool> {
        let sem = &mut self.sems[usize::from(op.number)];
        let value = sem.value + i32::from(op.change);
        if value < 0 || op.change == 0 && sem.value != 0 {
            return Ok(false);
        }
        if value > MAX_VALUE {
            return Err(ERANGE);
        }
        if op.undoes()
            && let Some(adjust) = undo.and_then(|list| self.undos.get_mut(&list))
        {
            let slot = &mut adjust[usize::from(op.number)];
            *slot = slot.checked_sub(op.change).ok_or(ERANGE)?;
        }
        sem.value = value;
        Ok(true)
    }

    fn take_back(&mut self, op: &Operation, undo: Option<u64>) {
        self.sems[usize::from(op.number)].value -= i32::from(op.change);
        if op.undoes()
            && let Some(adjust) = undo.and_then(|list| self.undos.get_mut(&list))
        {
            // It was in range before.
            let slot = &mut adjust[usize::from(op.number)];
            *slot = slot.wrapping_add(op.change);
        }
    }

    /// Carries out what has become possible of the operations that wait.
    pub(super) fn wake(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let mut queue = core::mem::take(&mut self.queue);
        let mut any = self.wake_in(&mut queue, 0, false, usize::MAX).is_some();
        let mut from = 0;
        while let Some((at, gave)) = self.wake_in(&mut queue, from, true, 1) {
            any = true;
            let zeros = self.wake_in(&mut queue, 0, false, usize::MAX).is_some();
            // One that only took, and left no zero, is of no use to those who could not go on before.
            from = if gave || zeros { 0 } else { at };
        }
        self.queue = queue;
        if any {
            self.operated = now_seconds();
        }
    }

    /// Lets up to `most` calls of `queue` from `from` on have their way, those that alter or those that don't. Returns where the
    /// search may go on after the last of them, and whether others may profit from it.
    fn wake_in(
        &mut self,
        queue: &mut Vec<Pending>,
        from: usize,
        altering: bool,
        most: usize,
    ) -> Option<(usize, bool)> {
        let (mut woken, mut profit, mut last) = (0, false, None);
        let mut at = from;
        while at < queue.len() && woken < most {
            let pending = &mut queue[at];
            if pending.alters() != altering {
                at += 1;
                continue;
            }
            let result = match self.attempt(&pending.ops, pending.undo, pending.last) {
                Attempt::Blocked(op) => {
                    pending.blocked = op;
                    at += 1;
                    continue;
                }
                Attempt::Done => Ok(()),
                Attempt::Failed(error) => Err(error),
            };
            let pending = queue.remove(at);
            profit |= result.is_ok() && self.may_help(&pending.ops);
            pending.wake(result);
            woken += 1;
            last = Some(at);
        }
        last.map(|at| (at, profit))
    }

    /// Whether `ops`, which were carried out, may let others go on that wait for longer.
    fn may_help(&self, ops: &[Operation]) -> bool {
        ops.iter().any(|op| op.change > 0 || op.change < 0 && self.sems[usize::from(op.number)].value == 0)
    }
}

/// Carries out `ops` on the set `id`, waiting until `deadline` (ns of the monotonic clock) at most.
///
/// # Errors
/// As semop(2) has them.
pub fn operate(thread: &Thread, id: i32, ops: Vec<Operation>, deadline: Option<u64>) -> Result<()> {
    if ops.is_empty() || id < 0 {
        return Err(EINVAL);
    }
    if ops.len() > limit(LIMIT_OPS) {
        return Err(E2BIG);
    }
    let undo = ops.iter().any(Operation::undoes).then(|| undo::list_of(thread));
    let last = LastPid::of(&thread.process);
    let wanted = if alters(&ops) { WRITE } else { READ };
    let highest = ops.iter().map(|op| usize::from(op.number)).max().unwrap_or(0);
    let creds = thread.creds();

    let mut registry = REGISTRY.lock();
    let set = registry.ids.get(id).ok_or(EINVAL)?;
    if highest >= set.sems.len() {
        return Err(EFBIG);
    }
    set.perm.check(&creds, wanted)?;
    if let Some(list) = undo {
        registry.prepare_undo(list, id)?;
    }
    let set = registry.ids.get_mut(id).ok_or(EIDRM)?;
    let blocked = match set.attempt(&ops, undo, last) {
        Attempt::Done => {
            set.operated = now_seconds();
            if wanted == WRITE {
                set.wake();
            }
            return Ok(());
        }
        Attempt::Failed(error) => return Err(error),
        Attempt::Blocked(at) if ops[at].flags & Operation::NOWAIT != 0 => return Err(EAGAIN),
        Attempt::Blocked(at) => at,
    };
    let waiter = Waiter::new();
    set.queue.push(Pending { waiter: waiter.clone(), ops, undo, last, blocked });
    drop(registry);
    waiter.wait(thread, deadline, EINTR, || drop(leave(id, &waiter))).map_err(|error| match error {
        // No operation fails so: the time is up.
        ETIMEDOUT => EAGAIN,
        error => error,
    })
}

/// Takes a waiter out of its queue, if it is still in it. What it leaves is dropped without the lock.
fn leave(id: i32, waiter: &Arc<Waiter<()>>) -> Option<Pending> {
    let mut registry = REGISTRY.lock();
    let queue = &mut registry.ids.get_mut(id)?.queue;
    let at = queue.iter().position(|pending| Arc::ptr_eq(&pending.waiter, waiter))?;
    Some(queue.remove(at))
}
