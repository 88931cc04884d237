//! kcmp(2): whether two tasks share something, for those who take processes apart to put them together again elsewhere (CRIU).

use ostd::{pod_struct, user::mem};
use spin::Once;

use super::{Args, Context};
use crate::{
    fs::{File, event::epoll::Epoll},
    prelude::*,
    process::{Remains, Thread, pid},
};

/// `enum kcmp_type`.
mod kind {
    pub const FILE: i32 = 0;
    pub const VM: i32 = 1;
    pub const FILES: i32 = 2;
    pub const FS: i32 = 3;
    pub const SIGHAND: i32 = 4;
    pub const IO: i32 = 5;
    pub const SYSVSEM: i32 = 6;
    pub const EPOLL_TFD: i32 = 7;

    pub const COUNT: usize = 8;
}

pod_struct! {
    /// `struct kcmp_epoll_slot`: the `offset`th file that the epoll `epoll` watches as descriptor `target`.
    struct AbiSlot {
        epoll: u32,
        target: u32,
        offset: u32,
    }
}

/// A task to compare: a thread, or nothing that a zombie still had.
type Task = Option<Arc<Thread>>;

/// Returns 0 if both are the same, else 1 or 2, which order the things of a kind; 3 is never needed.
///
/// # Errors
/// ESRCH if there is no such task, EPERM unless the caller may look into both, EINVAL for an unknown kind; EBADF for a descriptor that
/// is not open, ENOENT for a file that the epoll does not watch.
pub fn sys_kcmp(ctx: &mut Context, [first, second, kind, a, b, _]: Args) -> Result<usize> {
    let tasks = [Found::new(first)?, Found::new(second)?];
    if !tasks.iter().all(|task| task.may_be_seen_by(ctx.thread)) {
        return Err(EPERM);
    }
    let tasks = tasks.map(|task| task.thread);
    let kind = kind as i32;
    let values = match kind {
        kind::FILE => [address(&file(&tasks[0], a)?), address(&file(&tasks[1], b)?)],
        kind::EPOLL_TFD => {
            let slot = mem::read::<AbiSlot>(b)?;
            [address(&file(&tasks[0], a)?), address(&watched(&tasks[1], &slot)?)]
        }
        kind::VM => each(&tasks, |thread| thread.try_vm().as_ref().map(address)),
        kind::FILES => each(&tasks, |thread| thread.try_files().as_ref().map(address)),
        kind::FS => each(&tasks, |thread| thread.try_fs().as_ref().map(address)),
        // A zombie's dispositions are still its own.
        kind::SIGHAND => match &tasks {
            [None, None] => [first as u32 as usize, second as u32 as usize],
            tasks => each(tasks, |thread| Some(address(&thread.process.signals.sighand()))),
        },
        kind::IO => each(&tasks, |thread| thread.io.id()),
        kind::SYSVSEM => each(&tasks, |thread| thread.sem_undo.id()),
        _ => return Err(EINVAL),
    };
    let kind = if kind == kind::EPOLL_TFD { kind::FILE } else { kind };
    Ok(match hide(kind as usize, values[0]).cmp(&hide(kind as usize, values[1])) {
        core::cmp::Ordering::Equal => 0,
        core::cmp::Ordering::Less => 1,
        core::cmp::Ordering::Greater => 2,
    })
}

/// A task by its number, and what is left of it if it is a zombie.
struct Found {
    thread: Task,
    remains: Option<Remains>,
}

impl Found {
    fn new(pid: usize) -> Result<Found> {
        let nr = u32::try_from(pid as i32).map_err(|_| ESRCH)?;
        let thread = match pid::find(nr).ok_or(ESRCH)? {
            pid::Target::Thread(thread) => Some(thread),
            pid::Target::Zombie(_) => None,
        };
        let remains = match &thread {
            Some(_) => None,
            None => Some(pid::remains(Thread::current().process.ns(), nr).ok_or(ESRCH)?),
        };
        Ok(Found { thread, remains })
    }

    fn may_be_seen_by(&self, thread: &Thread) -> bool {
        match (&self.thread, &self.remains) {
            (Some(target), _) => thread.may_inspect_really(target),
            (None, remains) => {
                remains.as_ref().is_some_and(|remains| thread.may_inspect_remains_really(remains))
            }
        }
    }
}

/// What both have of a kind; 0 for who has none.
fn each(tasks: &[Task; 2], value: impl Fn(&Arc<Thread>) -> Option<usize>) -> [usize; 2] {
    tasks.each_ref().map(|task| task.as_ref().and_then(&value).unwrap_or(0))
}

fn address<T: ?Sized>(value: &Arc<T>) -> usize {
    Arc::as_ptr(value).cast::<()>() as usize
}

fn file(task: &Task, fd: usize) -> Result<Arc<File>> {
    let files = task.as_ref().and_then(|thread| thread.try_files()).ok_or(EBADF)?;
    files.get_any(fd as i32)
}

fn watched(task: &Task, slot: &AbiSlot) -> Result<Arc<File>> {
    let epoll = file(task, slot.epoll as usize)?;
    let epoll = epoll.downcast::<Epoll>().ok_or(EINVAL)?;
    epoll.watched(slot.target as i32, slot.offset as usize).ok_or(ENOENT)
}

/// The order of two things says nothing about where they are.
fn hide(kind: usize, value: usize) -> usize {
    static KEYS: Once<[[usize; 2]; kind::COUNT]> = Once::new();
    let keys = KEYS.call_once(|| {
        let random = || {
            let mut bytes = [0; size_of::<usize>()];
            ostd::random::fill(&mut bytes);
            usize::from_ne_bytes(bytes)
        };
        // An odd factor keeps different values apart.
        core::array::from_fn(|_| [random(), random() | 1])
    });
    let [mask, factor] = keys[kind];
    (value ^ mask).wrapping_mul(factor)
}
