//! Signal system calls: kill(2), tgkill(2), sigaction(2), sigprocmask(2), sigpending(2), sigsuspend(2),
//! sigtimedwait(2), sigqueue(3), sigaltstack(2), pause(2), rt_sigreturn(2), signalfd comes with epoll.

use ostd::{sync::WaitQueue, time, user::mem};

use super::{Args, Context};
use crate::{
    prelude::*,
    process::{
        Process, Thread, pid,
        signal::{self, *},
        tree, wait_event,
    },
    time::{read_timespec, timespec_to_ns},
};

/// Every `sigset_t` of the kernel ABI has this size (rule 7.16).
const SIGSET_SIZE: usize = 8;

fn check_size(size: usize) -> Result<()> {
    if size == SIGSET_SIZE { Ok(()) } else { Err(EINVAL) }
}

fn read_set(addr: usize) -> Result<SigSet> {
    Ok(SigSet(mem::read::<u64>(addr)?))
}

/// A signal number for sending: 0 only checks permission.
pub(super) fn sendable(raw: usize) -> Result<Option<Signo>> {
    if raw as u32 == 0 { Ok(None) } else { valid_signo(raw).map(Some) }
}

/// The sender's part of `siginfo_t`: its own pid, or 0 if the receiver is in a namespace that does not know it (rule 7.10). One
/// that sends upwards (to its process group) is not translated, as on Linux.
fn sender(ctx: &Context, target: &Process) -> (u32, u32) {
    let process = ctx.process();
    let pid = if knows(target, process) { process.pid() } else { 0 };
    (pid, ctx.thread.with_creds(|creds| creds.uid))
}

/// Whether `sender` has a number in the namespace of `target`.
fn knows(target: &Process, sender: &Process) -> bool {
    sender.pid_in(target.ns()) != 0
}

/// Whether the caller may send `signo` to `target` (rule 7.5).
fn may_signal(ctx: &Context, target: &Process, signo: Option<Signo>) -> Result<()> {
    may_signal_or(ctx, target, signo, || tree::same_session(ctx.process(), target))
}

/// As [`may_signal`], for one that was named by the number of `target`: its own credentials count, which need not be its
/// leader's.
pub(super) fn may_signal_thread(ctx: &Context, target: &Thread, signo: Option<Signo>) -> Result<()> {
    let allowed = Arc::ptr_eq(&target.process, ctx.process())
        || ctx.thread.creds().may_signal(&target.creds())
        || signo == Some(SIGCONT) && tree::same_session(ctx.process(), &target.process);
    if allowed { Ok(()) } else { Err(EPERM) }
}

/// As [`may_signal`], with the caller's way to learn whether the two are in one session, which is asked for SIGCONT
/// only.
fn may_signal_or(
    ctx: &Context,
    target: &Process,
    signo: Option<Signo>,
    same_session: impl FnOnce() -> bool,
) -> Result<()> {
    let allowed = core::ptr::eq(target, &**ctx.process())
        || ctx.thread.creds().may_signal(&target.creds())
        || signo == Some(SIGCONT) && same_session();
    if allowed { Ok(()) } else { Err(EPERM) }
}

/// As [`may_signal`], for one that is dead but not waited for.
pub(super) fn may_signal_corpse(
    ctx: &Context,
    table: &tree::Table,
    corpse: &tree::Corpse,
    signo: Option<Signo>,
) -> Result<()> {
    let allowed = ctx.thread.creds().may_signal_ids(corpse.uid, corpse.suid)
        || signo == Some(SIGCONT) && corpse.session == table.session(ctx.process().id());
    if allowed { Ok(()) } else { Err(EPERM) }
}

pub(super) fn signal_process(
    ctx: &Context,
    target: &Arc<Process>,
    prefer: Option<&Arc<Thread>>,
    raw: usize,
) -> Result<()> {
    let signo = sendable(raw)?;
    match prefer {
        Some(thread) => may_signal_thread(ctx, thread, signo)?,
        None => may_signal(ctx, target, signo)?,
    }
    if let Some(signo) = signo {
        let (pid, uid) = sender(ctx, target);
        signal::send_process(target, prefer, SigInfo::kill(signo, pid, uid));
    }
    Ok(())
}

pub fn sys_kill(ctx: &mut Context, args: Args) -> Result<usize> {
    let (pid, raw) = (args[0] as i32, args[1]);
    match pid {
        1.. => kill_one(ctx, pid as u32, raw)?,
        0 => kill_group(ctx, tree::Group::Own, raw, None)?,
        -1 => kill_all(ctx, raw)?,
        i32::MIN => return Err(ESRCH),
        _ => kill_group(ctx, tree::Group::Number(-pid as u32), raw, None)?,
    }
    Ok(0)
}

fn kill_one(ctx: &Context, pid: u32, raw: usize) -> Result<()> {
    // Whom a number names is known without a search if it is the caller.
    if pid == ctx.thread.tid() {
        return signal_process(ctx, ctx.process(), Some(ctx.thread), raw);
    }
    match pid::find(pid) {
        Some(pid::Target::Thread(thread)) => signal_process(ctx, &thread.process, Some(&thread), raw),
        // A zombie takes any signal, and nothing happens (rule 3.12).
        Some(pid::Target::Zombie(corpse)) => {
            let signo = sendable(raw)?;
            may_signal_corpse(ctx, &tree::lock(), &corpse, signo)
        }
        None => Err(ESRCH),
    }
}

/// Signals one of many, with the table locked: no member can fork a child that escapes, since a fork enters the
/// table too and looks there for what was sent to its group meanwhile (rules 6.16, 13.13).
pub fn signal_member(
    ctx: &Context,
    table: &mut tree::Table,
    target: &Arc<Process>,
    signo: Option<Signo>,
    info: Option<&SigInfo>,
) -> Result<()> {
    may_signal_or(ctx, target, signo, || tree::same_session_in(table, ctx.process(), target))?;
    if let Some(signo) = signo {
        let (pid, uid) = sender(ctx, target);
        let info = info.cloned().unwrap_or_else(|| SigInfo::kill(signo, pid, uid));
        signal::send_member_in_table(table, target, info);
    }
    Ok(())
}

/// Success if one member could be signalled, else the last error (rule 7.3). `info` is what pidfd_send_signal was given.
pub(super) fn kill_group(
    ctx: &Context,
    group: tree::Group,
    raw: usize,
    info: Option<&SigInfo>,
) -> Result<()> {
    let mut table = tree::lock();
    let tree::Members { live, dead } = tree::group_members(&table, ctx.process(), group);
    if live.is_empty() && dead.is_empty() {
        return Err(ESRCH);
    }
    // A number out of range is found only where there is somebody (rule 7.2).
    let mut result = sendable(raw).map(|_| ());
    if let Ok(signo) = sendable(raw) {
        let mut delivered = false;
        for member in &live {
            let sent = signal_member(ctx, &mut table, member, signo, info);
            delivered |= sent.is_ok();
            result = sent;
        }
        for corpse in &dead {
            let sent = may_signal_corpse(ctx, &table, corpse, signo);
            delivered |= sent.is_ok();
            result = sent;
        }
        if delivered {
            result = Ok(());
        }
    }
    drop(table);
    result
}

/// Everybody in the caller's namespace but its init and the caller's own process; that some may not be signalled is no error (rule 7.4).
fn kill_all(ctx: &Context, raw: usize) -> Result<()> {
    let mut table = tree::lock();
    let ns = ctx.process().ns();
    let tree::Members { live: targets, dead } = tree::everybody_in(&table, ns);
    let spared = |target: &Arc<Process>| target.pid_in(ns) == 1 || Arc::ptr_eq(target, ctx.process());
    let found = !dead.is_empty() || targets.iter().any(|target| !spared(target));
    let signo = sendable(raw);
    if let Ok(signo) = signo {
        for target in targets.iter().filter(|target| !spared(target)) {
            // EPERM, and there is no other.
            let _ = signal_member(ctx, &mut table, target, signo, None);
        }
    }
    drop(table);
    match signo {
        _ if !found => Err(ESRCH),
        result => result.map(|_| ()),
    }
}

pub fn sys_tkill(ctx: &mut Context, args: Args) -> Result<usize> {
    let tid = args[0] as i32;
    if tid <= 0 {
        return Err(EINVAL);
    }
    thread_kill(ctx, None, tid as u32, args[1])
}

pub fn sys_tgkill(ctx: &mut Context, args: Args) -> Result<usize> {
    let (tgid, tid) = (args[0] as i32, args[1] as i32);
    if tgid <= 0 || tid <= 0 {
        return Err(EINVAL);
    }
    thread_kill(ctx, Some(tgid as u32), tid as u32, args[2])
}

fn thread_kill(ctx: &Context, tgid: Option<u32>, tid: u32, raw: usize) -> Result<usize> {
    // raise(3) needs no search for its target.
    if tid == ctx.thread.tid() && tgid.is_none_or(|tgid| tgid == ctx.process().pid()) {
        signal_thread(ctx, ctx.thread, raw)?;
        return Ok(0);
    }
    let ns = ctx.process().ns();
    let thread = match pid::find(tid) {
        Some(pid::Target::Thread(thread)) if tgid.is_none_or(|tgid| thread.process.pid_in(ns) == tgid) => {
            thread
        }
        Some(pid::Target::Zombie(corpse)) if tgid.is_none_or(|tgid| tgid == tid) => {
            let signo = sendable(raw)?;
            return may_signal_corpse(ctx, &tree::lock(), &corpse, signo).map(|()| 0);
        }
        _ => return Err(ESRCH),
    };
    signal_thread(ctx, &thread, raw)?;
    Ok(0)
}

pub(super) fn signal_thread(ctx: &Context, thread: &Arc<Thread>, raw: usize) -> Result<()> {
    let signo = sendable(raw)?;
    may_signal_thread(ctx, thread, signo)?;
    if let Some(signo) = signo {
        let (pid, uid) = sender(ctx, &thread.process);
        signal::send_thread(thread, SigInfo::tkill(signo, pid, uid));
    }
    Ok(())
}

/// A `siginfo_t` from user mode.
fn read_raw_siginfo(addr: usize, number: usize) -> Result<[u8; SIGINFO_SIZE]> {
    let mut raw = [0; SIGINFO_SIZE];
    mem::copy_from_user(&mut raw, addr)?;
    SigInfo::check_user(number as i32, &raw)?;
    Ok(raw)
}

/// What is to be queued; only to itself may a process claim to be the kernel or kill(2) (rule 7.7).
fn siginfo_of(raw: &[u8; SIGINFO_SIZE], number: usize, to_self: bool) -> Result<Option<SigInfo>> {
    // A bad number is found only where there is a target.
    let signo = sendable(number).unwrap_or(None);
    let code = i32::from_ne_bytes([raw[8], raw[9], raw[10], raw[11]]);
    if (code >= 0 || code == SI_TKILL) && !to_self {
        return Err(EPERM);
    }
    Ok(signo.map(|signo| SigInfo::from_user(signo, raw)))
}

/// What the caller queues for `target`, as that one will see it.
fn seen_by(ctx: &Context, target: &Process, info: SigInfo) -> SigInfo {
    if knows(target, ctx.process()) { info } else { info.without_sender() }
}

pub fn sys_rt_sigqueueinfo(ctx: &mut Context, args: Args) -> Result<usize> {
    let pid = args[0] as i32;
    // The thread itself, not its process: a thread may not forge what its siblings get through the leader (rule 7.7).
    let to_self = pid == ctx.thread.tid() as i32;
    let info = siginfo_of(&read_raw_siginfo(args[2], args[1])?, args[1], to_self)?;
    let signo = sendable(args[1]);
    if pid <= 0 {
        return Err(ESRCH);
    }
    match pid::find(pid as u32).ok_or(ESRCH)? {
        pid::Target::Thread(thread) => {
            may_signal_thread(ctx, &thread, signo?)?;
            if let Some(info) = info {
                signal::queue(&thread, true, seen_by(ctx, &thread.process, info))?;
            }
        }
        pid::Target::Zombie(corpse) => may_signal_corpse(ctx, &tree::lock(), &corpse, signo?)?,
    }
    Ok(0)
}

pub fn sys_rt_tgsigqueueinfo(ctx: &mut Context, args: Args) -> Result<usize> {
    let (tgid, tid) = (args[0] as i32, args[1] as i32);
    let to_self = tid == ctx.thread.tid() as i32;
    let raw = read_raw_siginfo(args[3], args[2])?;
    if tgid <= 0 || tid <= 0 {
        return Err(EINVAL);
    }
    let info = siginfo_of(&raw, args[2], to_self)?;
    let signo = sendable(args[2]);
    match pid::find(tid as u32).ok_or(ESRCH)? {
        pid::Target::Thread(thread) if thread.process.pid_in(ctx.process().ns()) == tgid as u32 => {
            may_signal_thread(ctx, &thread, signo?)?;
            if let Some(info) = info {
                signal::queue(&thread, false, seen_by(ctx, &thread.process, info))?;
            }
            Ok(0)
        }
        pid::Target::Zombie(corpse) if tgid == tid => {
            may_signal_corpse(ctx, &tree::lock(), &corpse, signo?).map(|()| 0)
        }
        _ => Err(ESRCH),
    }
}

pub fn sys_rt_sigaction(ctx: &mut Context, args: Args) -> Result<usize> {
    let [raw, new, old, size, ..] = args;
    check_size(size)?;
    // The action is read before the number is looked at.
    let words = if new == 0 { None } else { Some(mem::read::<[u64; 4]>(new)?) };
    let signo = valid_signo(raw)?;
    let previous = if let Some(words) = words {
        let action = SigAction {
            handler: words[0],
            flags: SaFlags::from_bits_retain(words[1]) & !SaFlags::UNSUPPORTED,
            restorer: words[2],
            mask: SigSet(words[3]),
        };
        signal::set_action(ctx.process(), signo, action)?
    } else {
        ctx.process().signals.sighand().get(signo)
    };
    if old != 0 {
        let words = [previous.handler, previous.flags.bits(), previous.restorer, previous.mask.0];
        mem::write(old, &words)?;
    }
    Ok(0)
}

pub fn sys_rt_sigprocmask(ctx: &mut Context, args: Args) -> Result<usize> {
    let [how, new, old, size, ..] = args;
    check_size(size)?;
    let current = ctx.thread.signals.blocked();
    if new != 0 {
        let set = read_set(new)?;
        let mask = match how as u32 {
            0 => current | set,
            1 => current & !set,
            2 => set,
            _ => return Err(EINVAL),
        };
        signal::set_blocked(ctx.thread, mask);
    }
    if old != 0 {
        mem::write(old, &current.0)?;
    }
    Ok(0)
}

pub fn sys_rt_sigpending(ctx: &mut Context, args: Args) -> Result<usize> {
    let [set, size, ..] = args;
    if size > SIGSET_SIZE {
        return Err(EINVAL);
    }
    let pending = signal::pending_set(ctx.thread).0.to_ne_bytes();
    mem::copy_to_user(set, &pending[..size])?;
    Ok(0)
}

/// Sleeps until a signal with a handler came or the thread dies.
fn sleep_until_signal() -> Result<usize> {
    let nobody = WaitQueue::new();
    let woken: Result<()> = wait_event::wait_interruptible(&nobody, || None);
    woken.map_err(|_| ERESTARTNOHAND)?;
    Err(ERESTARTNOHAND)
}

pub fn sys_pause(_: &mut Context, _: Args) -> Result<usize> {
    sleep_until_signal()
}

pub fn sys_rt_sigsuspend(ctx: &mut Context, args: Args) -> Result<usize> {
    check_size(args[1])?;
    let mask = read_set(args[0])?;
    signal::set_temporary_mask(ctx.thread, mask);
    sleep_until_signal()
}

pub fn sys_rt_sigtimedwait(ctx: &mut Context, args: Args) -> Result<usize> {
    let [set, info, timeout, size, ..] = args;
    check_size(size)?;
    let wanted = read_set(set)?.maskable();
    let deadline = match timeout {
        0 => None,
        addr => Some(time::now_ns().saturating_add(timespec_to_ns(read_timespec(addr)?)?)),
    };
    let taken = signal::wait_for(ctx.thread, wanted, deadline)?;
    if info != 0 {
        mem::copy_to_user(info, &taken.encode())?;
    }
    Ok(taken.signo as usize)
}

pub fn sys_sigaltstack(ctx: &mut Context, args: Args) -> Result<usize> {
    let [new, old, ..] = args;
    let sp = ctx.user.rsp() as u64;
    let current = ctx.thread.signals.altstack();
    let wanted = match new {
        0 => None,
        addr => Some(mem::read::<[u64; 3]>(addr)?),
    };
    if let Some([base, flags, size]) = wanted {
        if current.contains(sp) {
            return Err(EPERM);
        }
        // What is there already is accepted whatever its size.
        if (base, flags as u32, size) != (current.base, current.flags, current.size) {
            ctx.thread.signals.set_altstack(AltStack::from_user(base, flags as u32, size)?);
        }
    }
    if old != 0 {
        mem::write(old, &[current.base, current.flags_at(sp) as u64, current.size])?;
    }
    Ok(0)
}

pub fn sys_rt_sigreturn(ctx: &mut Context, _: Args) -> Result<usize> {
    Ok(signal::sigreturn(ctx))
}

/// restart_syscall(2): goes on with a sleep that a stop interrupted.
pub fn sys_restart_syscall(ctx: &mut Context, _: Args) -> Result<usize> {
    match ctx.thread.signals.take_restart() {
        Some(block) => block(ctx),
        None => Err(EINTR),
    }
}
