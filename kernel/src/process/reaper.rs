//! Reaper control: what a reaper can ask and do beyond Linux (docs/reaper.md), in the manner of FreeBSD's procctl(2).
//!
//! A supervisor that adopts the orphans below it has to know who they are, to end them as a whole, to tell them from its own
//! children, to be spared those that nobody asks for, and to hand them on. Linux has none of it. Here it is reached by a range
//! of prctl(2) options that Linux refuses, by two option bits of wait4(2) and waitid(2) (see [`wait`](super::wait)), by
//! `/proc/pid/reaper` and by the parameter `kernel.subreaper_scope`; a program that asks for none of them notices nothing.
//!
//! # Who may
//! What a process may learn of others it may learn of its descendants, and of whom it could look into as a debugger. It may
//! kill descendants only, each with the permission that kill(2) asks for. Numbers are those of the caller's pid namespace:
//! descendants are always in it or below, and nothing above it has one.
//!
//! # Locks
//! One hold of the process table's lock per request, so what is listed was true at one moment, and a subtree is killed as a
//! whole: a fork under way in it is noted by the signal code, and the child gets the signal when it is linked (rules 6.16,
//! 13.13). The hold is as long as there are descendants; memory for the answer is made before.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use ostd::{pod_struct, user::mem};
use proctree::{Autoreap, Descendant, NsId, PidId, ProcId, ReaperStatus};

use super::{
    Cap, Process, Thread, group, pid,
    signal::{Signo, valid_signo},
    tree::{self, Effects, Table},
};
use crate::{
    prelude::*,
    syscall::{Args, Context, signal::signal_member},
};

/// Options of prctl(2): "Fos", and a number.
pub mod option {
    pub const REAP_STATUS: i32 = 0x466f_7301;
    pub const REAP_GETPIDS: i32 = 0x466f_7302;
    pub const REAP_KILL: i32 = 0x466f_7303;
    pub const REAP_RELEASE: i32 = 0x466f_7304;
    pub const REAP_SET_AUTOREAP: i32 = 0x466f_7305;
    pub const REAP_GET_AUTOREAP: i32 = 0x466f_7306;
}

/// `reap_status::flags`.
mod status_flag {
    pub const SUBREAPER: u32 = 1;
    pub const INIT: u32 = 2;
    pub const ADOPTED: u32 = 4;
    pub const ZOMBIE: u32 = 8;
}

/// `reap_pid::flags`.
mod pid_flag {
    pub const CHILD: u32 = 1;
    pub const ADOPTED: u32 = 2;
    pub const REAPER: u32 = 4;
    pub const ZOMBIE: u32 = 8;
    pub const EXITING: u32 = 16;
    pub const STOPPED: u32 = 32;
}

/// `reap_kill::flags`.
mod kill_flag {
    pub const CHILDREN: u32 = 1;
    pub const SUBTREE: u32 = 2;
}

pod_struct! {
    /// `struct reap_status`.
    struct AbiStatus {
        id: u64,
        flags: u32,
        pid: u32,
        reaper: u32,
        above: u32,
        children: u32,
        adopted: u32,
        zombies: u32,
        descendants: u32,
        dead: u32,
        reapers: u32,
        autoreap: u32,
        reserved: u32,
    }

    /// `struct reap_pid`.
    struct AbiPid {
        id: u64,
        pid: u32,
        parent: u32,
        subtree: u32,
        flags: u32,
    }

    /// `struct reap_kill`.
    struct AbiKill {
        signal: i32,
        flags: u32,
        subtree: u32,
        killed: u32,
        failed: u32,
        reserved: u32,
    }
}

/// The options of prctl(2) that Linux does not have.
///
/// # Errors
/// `EINVAL` for an unknown option, as Linux says, and for arguments that are to be 0 and are not.
pub fn prctl(ctx: &mut Context, args: Args) -> Result<usize> {
    use option::*;
    let [number, arg2, arg3, arg4, arg5, _] = args;
    let zero = |unused: &[usize]| if unused.iter().all(|&arg| arg == 0) { Ok(()) } else { Err(EINVAL) };
    match number as i32 {
        REAP_STATUS => zero(&[arg5]).and_then(|()| status(ctx.thread, arg2 as i32, arg3, arg4)),
        REAP_GETPIDS => zero(&[arg5]).and_then(|()| get_pids(ctx.thread, arg2 as i32, arg3, arg4)),
        REAP_KILL => zero(&[arg4, arg5]).and_then(|()| kill(ctx, arg2 as i32, arg3)),
        REAP_RELEASE => zero(&[arg2, arg3, arg4, arg5]).and_then(|()| release(ctx.process())),
        REAP_SET_AUTOREAP => zero(&[arg3, arg4, arg5]).and_then(|()| set_autoreap(ctx.process(), arg2)),
        REAP_GET_AUTOREAP => zero(&[arg2, arg3, arg4, arg5])
            .map(|()| autoreap_number(tree::lock().autoreap(ctx.process().id())) as usize),
        _ => Err(EINVAL),
    }
}

// ---- whom a request is about --------------------------------------------------------------------------------------

/// The process that a request is about: 0 is the caller's.
fn subject(caller: &Process, nr: i32) -> Result<Option<PidId>> {
    match nr {
        0 => Ok(None),
        1.. if nr as u32 == caller.pid() => Ok(None),
        1.. => pid::lookup(caller.ns(), nr as u32).map(Some).ok_or(ESRCH),
        _ => Err(ESRCH),
    }
}

/// What a subject is to the caller.
fn process_of(table: &Table, caller: &Process, subject: Option<PidId>) -> Result<ProcId> {
    match subject {
        None => Ok(caller.id()),
        Some(pid) => group::process_of(table, pid).ok_or(ESRCH),
    }
}

/// Locks the table to ask about a process: the caller's own, a descendant, or one that it may look into.
fn look<R>(caller: &Thread, nr: i32, ask: impl FnOnce(&Table, ProcId) -> R) -> Result<R> {
    let mine = &caller.process;
    let subject = subject(mine, nr)?;
    let may_inspect = subject.is_none()
        || pid::thread(mine.ns(), nr as u32).is_some_and(|thread| caller.may_inspect(&thread));
    let table = tree::lock();
    let process = process_of(&table, mine, subject)?;
    if !may_inspect && !table.is_descendant(process, mine.id()) {
        return Err(EPERM);
    }
    Ok(ask(&table, process))
}

/// The number of a process in a namespace, 0 if it has none there.
fn number(table: &Table, process: ProcId, ns: NsId) -> u32 {
    table.process_nr(process, ns)
}

// ---- status and list ----------------------------------------------------------------------------------------------

/// A process as a reaper, with the numbers of a namespace.
pub struct Status {
    pub pid: u32,
    pub reaper: u32,
    pub above: u32,
    pub of: ReaperStatus,
}

/// What there is to say of `process`, as seen from `ns`. `None` if it is gone.
pub fn status_of(table: &Table, process: ProcId, ns: NsId) -> Option<Status> {
    let of = table.reaper_status(process)?;
    let nr = |pid: Option<PidId>| pid.map_or(0, |pid| table.nr(pid, ns));
    Some(Status { pid: number(table, process, ns), reaper: nr(of.reaper), above: nr(of.above), of })
}

/// PR_REAP_STATUS: `size` bytes at `addr`, or as many as there are. Returns how many there are.
fn status(caller: &Thread, nr: i32, addr: usize, size: usize) -> Result<usize> {
    const SIZE: usize = size_of::<AbiStatus>();
    if size < SIZE {
        return Err(EINVAL);
    }
    let ns = caller.process.ns();
    let (process, status) = look(caller, nr, |table, process| (process, status_of(table, process, ns)))?;
    let Status { pid, reaper, above, of } = status.ok_or(ESRCH)?;
    let flags = [
        (of.is_subreaper, status_flag::SUBREAPER),
        (of.is_init, status_flag::INIT),
        (of.is_adopted, status_flag::ADOPTED),
        (of.is_zombie, status_flag::ZOMBIE),
    ];
    let abi = AbiStatus {
        id: process.to_bits(),
        flags: union(&flags),
        pid,
        reaper,
        above,
        children: of.children,
        adopted: of.adopted,
        zombies: of.zombies,
        descendants: of.descendants,
        dead: of.dead,
        reapers: of.reapers,
        autoreap: autoreap_number(of.autoreap),
        reserved: 0,
    };
    mem::write(addr, &abi)?;
    Ok(SIZE)
}

fn union(flags: &[(bool, u32)]) -> u32 {
    flags.iter().filter(|(on, _)| *on).fold(0, |all, (_, flag)| all | flag)
}

/// PR_REAP_GETPIDS: the descendants, at most `capacity` of them, to `addr`. Returns how many there are.
fn get_pids(caller: &Thread, nr: i32, addr: usize, capacity: usize) -> Result<usize> {
    let ns = caller.process.ns();
    let room = tree::lock().max_descendants().min(capacity);
    let mut list: Vec<AbiPid> = Vec::new();
    list.try_reserve_exact(room).map_err(|_| ENOMEM)?;
    let total = look(caller, nr, |table, process| {
        let mut total = 0;
        for one in table.subtree(process) {
            total += 1;
            // Those that were forked since the room was measured are counted, and the caller comes again.
            if list.len() < room {
                list.push(abi_pid(table, &one, ns));
            }
        }
        total
    })?;
    write_list(addr, &list)?;
    Ok(total)
}

/// Writes the entries one behind the other, many at a time.
fn write_list(addr: usize, list: &[AbiPid]) -> Result<()> {
    const MANY: usize = 32;
    let (many, rest) = list.as_chunks::<MANY>();
    let mut at = addr;
    for chunk in many {
        mem::write(at, chunk)?;
        at = at.checked_add(size_of_val(chunk)).ok_or(EFAULT)?;
    }
    for one in rest {
        mem::write(at, one)?;
        at = at.checked_add(size_of_val(one)).ok_or(EFAULT)?;
    }
    Ok(())
}

fn abi_pid(table: &Table, one: &Descendant, ns: NsId) -> AbiPid {
    let flags = [
        (one.is_child, pid_flag::CHILD),
        (one.is_adopted, pid_flag::ADOPTED),
        (one.is_reaper, pid_flag::REAPER),
        (one.is_zombie, pid_flag::ZOMBIE),
        (one.is_exiting && !one.is_zombie, pid_flag::EXITING),
        (one.is_stopped, pid_flag::STOPPED),
    ];
    AbiPid {
        id: one.process.to_bits(),
        pid: table.nr(one.pid, ns),
        parent: number(table, one.parent, ns),
        subtree: number(table, one.subtree, ns),
        flags: union(&flags),
    }
}

// ---- kill ---------------------------------------------------------------------------------------------------------

/// Which of the descendants a signal is for.
enum Victims {
    All,
    Children,
    Subtree(PidId),
}

/// What became of a signal to many.
#[derive(Default)]
struct Killed {
    /// Who was signalled.
    count: u32,
    /// The first that could not be.
    failed: u32,
}

/// PR_REAP_KILL: the request is read from `addr`, and what came of it is written there, whatever the result.
///
/// # Errors
/// `ESRCH` if there is nobody to signal, `EPERM` if there are some and none could be signalled or if the process is neither
/// the caller's nor a descendant, `EINVAL` for flags and signals that there are not.
fn kill(ctx: &Context, nr: i32, addr: usize) -> Result<usize> {
    let mut request: AbiKill = mem::read(addr)?;
    let signo = valid_signo(usize::try_from(request.signal).map_err(|_| EINVAL)?)?;
    if request.reserved != 0 || request.flags != kill_flag::SUBTREE && request.subtree != 0 {
        return Err(EINVAL);
    }
    let mine = ctx.process();
    let victims = match request.flags {
        0 => Victims::All,
        kill_flag::CHILDREN => Victims::Children,
        kill_flag::SUBTREE => Victims::Subtree(pid::lookup(mine.ns(), request.subtree).ok_or(ESRCH)?),
        _ => return Err(EINVAL),
    };
    let subject = subject(mine, nr)?;
    let mut room: Vec<(ProcId, Arc<Process>)> = Vec::new();
    let expected = tree::lock().max_descendants();
    room.try_reserve_exact(expected).map_err(|_| ENOMEM)?;
    let killed = kill_in(ctx, subject, &victims, signo, &mut room);
    // The processes are let go of here, with the table unlocked.
    drop(room);
    let killed = killed?;
    (request.killed, request.failed) = (killed.count, killed.failed);
    mem::write(addr, &request)?;
    match killed {
        Killed { count: 1.., .. } => Ok(0),
        Killed { failed: 0, .. } => Err(ESRCH),
        _ => Err(EPERM),
    }
}

/// Signals all victims under one hold of the table's lock.
fn kill_in(
    ctx: &Context,
    subject: Option<PidId>,
    victims: &Victims,
    signo: Signo,
    found: &mut Vec<(ProcId, Arc<Process>)>,
) -> Result<Killed> {
    let mine = ctx.process();
    let mut table = tree::lock();
    let root = process_of(&table, mine, subject)?;
    if root != mine.id() && !table.is_descendant(root, mine.id()) {
        return Err(EPERM);
    }
    let subtree = match victims {
        Victims::Subtree(pid) => {
            let child = table.pid_process(*pid).ok_or(ESRCH)?;
            let parent = table.parent(child).map(|ids| ids.process);
            Some(child).filter(|_| parent == Some(root)).map(Some).ok_or(ESRCH)?
        }
        _ => None,
    };
    let wanted = |one: &Descendant| match victims {
        Victims::Children => one.is_child,
        _ => subtree.is_none_or(|subtree| one.subtree == subtree),
    };
    for one in table.subtree(root).filter(wanted) {
        if let Some(process) = table.payload(one.process) {
            found.push((one.process, process.clone()));
        }
    }
    let mut killed = Killed::default();
    for (id, process) in found.iter() {
        match signal_member(ctx, &mut table, process, Some(signo), None) {
            Ok(()) => killed.count += 1,
            Err(_) if killed.failed == 0 => killed.failed = number(&table, *id, mine.ns()),
            Err(_) => {}
        }
    }
    Ok(killed)
}

// ---- release, automatic reaping -----------------------------------------------------------------------------------

/// PR_REAP_RELEASE: returns how many children went to the reaper above.
fn release(process: &Process) -> Result<usize> {
    let mut effects = Effects::new();
    let mut table = tree::lock();
    let released = table.release_reaper(process.id(), &mut effects)?;
    drop(table);
    // Another thread may wait for a child, of which there is none any more.
    process.child_wait.wake_all();
    Ok(released as usize)
}

fn autoreap_number(autoreap: Autoreap) -> u32 {
    match autoreap {
        Autoreap::Off => 0,
        Autoreap::Quiet => 1,
        Autoreap::Signal => 2,
    }
}

/// PR_REAP_SET_AUTOREAP.
fn set_autoreap(process: &Process, mode: usize) -> Result<usize> {
    let autoreap = match mode {
        0 => Autoreap::Off,
        1 => Autoreap::Quiet,
        2 => Autoreap::Signal,
        _ => return Err(EINVAL),
    };
    tree::lock().set_autoreap(process.id(), autoreap);
    Ok(0)
}

// ---- kernel.subreaper_scope ---------------------------------------------------------------------------------------

/// Who may become a subreaper: 0 anybody, 1 with CAP_SYS_ADMIN, 2 nobody.
static SUBREAPER_SCOPE: AtomicU32 = AtomicU32::new(0);

pub fn subreaper_scope() -> u32 {
    SUBREAPER_SCOPE.load(Relaxed)
}

/// Those that are subreapers stay so.
///
/// # Errors
/// `EINVAL` for anything but 0, 1 and 2.
pub fn set_subreaper_scope(scope: u32) -> Result<()> {
    if scope > 2 {
        return Err(EINVAL);
    }
    SUBREAPER_SCOPE.store(scope, Relaxed);
    Ok(())
}

/// Whether `thread` may make its process a subreaper, which it is not yet.
///
/// # Errors
/// `EPERM`.
pub fn may_become_subreaper(thread: &Thread) -> Result<()> {
    match subreaper_scope() {
        0 => Ok(()),
        1 => thread.creds().require(Cap::SysAdmin),
        _ => Err(EPERM),
    }
}
