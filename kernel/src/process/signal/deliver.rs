//! Delivery: what a thread does with its signals on the way back to user mode (rules 7.13, 7.17, 7.20, 7.38).

use core::sync::atomic::Ordering::Relaxed;

use super::{
    Group,
    action::{SIG_IGN, SaFlags, SigAction},
    frame,
    info::SigInfo,
    restore_temporary_mask,
    set::*,
    set_blocked, signal_pending, stop, work,
};
use crate::{
    prelude::*,
    process::{Thread, coredump, rseq, tree},
    syscall::Context,
};

/// What the next signal asks for.
enum Step {
    /// Nothing is left to do.
    Done,
    /// Locks had to be dropped: look again.
    Again,
    Notice(stop::Notice),
    Stop,
    /// A terminal's stop signal: acted on only if the process group isn't orphaned.
    StopUnlessOrphaned(Signo),
    Handle(SigInfo, SigAction),
    Die(i32),
    /// By a signal whose default action is a core dump.
    DieWithCore(SigInfo),
}

/// Does all that stands between the calling thread and user mode: reports of a continued stop, stops,
/// handlers, death. Finishes an interrupted syscall, by a restart or with EINTR.
///
/// If the thread dies it has exited when this returns.
pub fn handle_work(ctx: &mut Context) {
    loop {
        // Looked at where it is: a signal is large.
        match &next_step(ctx.thread) {
            Step::Done => break,
            Step::Again => {}
            Step::Notice(notice) => tree::report_continued(&ctx.thread.process, *notice),
            Step::Stop => stop::stop_here(ctx.thread),
            Step::StopUnlessOrphaned(signo) => {
                if !tree::in_orphaned_pgrp(&ctx.thread.process) {
                    ctx.thread.process.signals.lock().begin_stop(*signo, ctx.thread);
                    stop::stop_here(ctx.thread);
                }
            }
            Step::Die(status) => return coredump::leave(ctx, *status),
            Step::DieWithCore(info) => return coredump::die(ctx, info),
            Step::Handle(info, action) => {
                finish_syscall(ctx, Some(action));
                enter_handler(ctx, info, action);
                // The change of the mask has looked whether there is more to do; what comes now sets the flag again, which is
                // asked for once more before user mode.
                if !signal_pending(ctx.thread) {
                    break;
                }
            }
        }
    }
    finish_syscall(ctx, None);
    restore_temporary_mask(ctx.thread);
}

// Not inlined, so that the signal is moved to its last place at once.
#[inline(never)]
fn next_step(thread: &Arc<Thread>) -> Step {
    let mut group = thread.process.signals.lock();
    if group.must_die(thread) {
        // It is obeyed, though nobody takes it; what else is pending stays so, for /proc to show.
        thread.signals.pending.lock().flush(SigSet::of(&[SIGKILL]));
        if let Some(status) = group.exit_status {
            return Step::Die(status);
        }
        // Killed by a sibling's execve: who has a pidfd of this thread finds the status 0, as on Linux.
        return Step::Die(0);
    }
    if let Some(notice) = group.stop.take_notice() {
        return Step::Notice(notice);
    }
    if thread.signals.stop.load(Relaxed) & (stop::STOP_PENDING | stop::STOPPED) != 0 {
        return Step::Stop;
    }
    let Some(info) = group.dequeue(thread) else {
        group.recalculate(thread);
        return Step::Done;
    };
    let Some(timer) = info.sender_timer().cloned() else {
        return group.act(thread, info);
    };
    let step = group.act(thread, info);
    drop(group);
    // The timer goes on now, and says what it missed.
    match step {
        Step::Handle(info, action) => info.taken().map_or(Step::Again, |info| Step::Handle(info, action)),
        step => {
            timer.taken();
            step
        }
    }
}

impl Group {
    /// Takes the next signal that `thread` doesn't block: private before shared, but synchronous first.
    fn dequeue(&mut self, thread: &Thread) -> Option<SigInfo> {
        self.dequeue_from(thread, thread.signals.blocked())
    }

    /// As `dequeue`, for the signals outside `mask`.
    #[inline]
    pub(super) fn dequeue_from(&mut self, thread: &Thread, mask: SigSet) -> Option<SigInfo> {
        loop {
            let info = self.dequeue_any(thread, mask)?;
            // A timer that was set or deleted since takes its signal back.
            if info.sender_timer().is_none_or(|timer| !timer.is_stale()) {
                return Some(info);
            }
        }
    }

    #[inline(always)]
    fn dequeue_any(&mut self, thread: &Thread, mask: SigSet) -> Option<SigInfo> {
        let mut private = thread.signals.pending.lock();
        if let Some(signo) = private.next(mask) {
            return Some(private.take(signo));
        }
        let signo = self.shared.next(mask)?;
        Some(self.shared.take(signo))
    }

    /// Decides what a signal just taken does.
    #[inline(always)]
    fn act(&mut self, thread: &Thread, info: SigInfo) -> Step {
        let signo = info.signo;
        let action = self.sighand.get(signo);
        if action.handler == SIG_IGN {
            return Step::Again;
        }
        if action.is_caught() {
            if action.flags.contains(SaFlags::RESETHAND) {
                self.sighand.reset(signo);
            }
            return Step::Handle(info, action);
        }
        match default_action(signo) {
            DefaultAction::Ignore => Step::Again,
            _ if self.unkillable && !UNBLOCKABLE.contains(signo) => Step::Again,
            DefaultAction::Stop if signo != SIGSTOP => Step::StopUnlessOrphaned(signo),
            DefaultAction::Stop => {
                self.begin_stop(signo, thread);
                Step::Stop
            }
            DefaultAction::Terminate => Step::Die(self.start_exit(signo as i32)),
            DefaultAction::CoreDump => Step::DieWithCore(info),
        }
    }
}

/// Turns a restart code in `rax` into a restart or EINTR, depending on the handler about to run (rule 7.38).
/// Safe to call again: once done there is no code left.
fn finish_syscall(ctx: &mut Context, handler: Option<&SigAction>) {
    if ctx.user.orig_rax() < 0 {
        return;
    }
    let Some(code) = restart_code(ctx.user.regs.rax) else {
        return;
    };
    let restarts = match (code, handler) {
        (ERESTARTNOINTR, _) | (_, None) => true,
        (ERESTARTSYS, Some(action)) => action.flags.contains(SaFlags::RESTART),
        _ => false,
    };
    if !restarts {
        ctx.user.regs.rax = -(EINTR as i64) as u64;
        return;
    }
    const RESTART_SYSCALL: u64 = 219;
    let resume = code == ERESTART_RESTARTBLOCK && handler.is_none();
    ctx.user.regs.rax = if resume { RESTART_SYSCALL } else { ctx.user.orig_rax() as u64 };
    // Back over the two bytes of `syscall`.
    ctx.user.set_rip(ctx.user.rip().wrapping_sub(2));
    ctx.user.set_orig_rax(-1);
}

fn restart_code(rax: u64) -> Option<Errno> {
    match -(rax as i64) {
        512 => Some(ERESTARTSYS),
        513 => Some(ERESTARTNOINTR),
        514 => Some(ERESTARTNOHAND),
        516 => Some(ERESTART_RESTARTBLOCK),
        _ => None,
    }
}

/// Builds the handler's frame and sets its mask. A frame that can't be written is a SIGSEGV, fatal if it was
/// SIGSEGV's own frame (rule 7.40).
fn enter_handler(ctx: &mut Context, info: &SigInfo, action: &SigAction) {
    let signo = info.signo;
    if ctx.thread.rseq.is_registered() && rseq::before_handler(ctx).is_err() {
        frame::bad_frame(ctx.thread, signo);
        return;
    }
    // The mask that sigreturn brings back: the one before a sigsuspend, if that is what was interrupted.
    let restore = ctx.thread.work.fetch_and(!work::RESTORE_MASK, Relaxed) & work::RESTORE_MASK != 0;
    let blocked = ctx.thread.signals.blocked();
    let saved = match restore {
        true => SigSet(ctx.thread.signals.saved_mask.load(Relaxed)),
        false => blocked,
    };
    if frame::push(ctx, info, action, saved).is_err() {
        frame::bad_frame(ctx.thread, signo);
        return;
    }
    let mut mask = blocked | action.mask;
    if !action.flags.contains(SaFlags::NODEFER) {
        mask.insert(signo);
    }
    set_blocked(ctx.thread, mask);
}
