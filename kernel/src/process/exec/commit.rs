//! The point of no return of execve(2).

use core::sync::atomic::Ordering::Relaxed;

use ostd::user::{UserContext, fpu};

use super::program::Program;
use crate::{
    mm,
    prelude::*,
    process::{
        Credentials, Thread, replace,
        rlimit::Resource,
        signal::{self, SIGSEGV, SigInfo},
    },
    syscall::Context,
};

/// Puts `program` in the place of the caller's. On success the context's registers start it.
///
/// # Errors
/// When the process is dying or another thread's execve was faster: the caller is about to be killed.
pub fn commit(ctx: &mut Context, program: Program) -> Result<()> {
    // The others die; the caller becomes the leader with its pid (rules 10.12 - 10.14).
    replace::de_thread(ctx.thread)?;
    program.vm.set_dumpable(dumpable(&program, &ctx.thread.creds()));
    if let Some(old) = ctx.thread.try_vm() {
        program.vm.keep_settings(&old);
    }
    clear_for_secure(ctx.thread, &program);
    let Program { vm, entry, sp, name, creds, doomed, .. } = program;
    replace::commit(ctx.thread, vm, &name, creds);
    ctx.thread.robust_list.store(0, Relaxed);
    ctx.thread.rseq.forget();
    ctx.thread.user_dispatch.end();
    fpu::reset();
    ostd::user::clear_selectors();
    let mut user = UserContext::new();
    user.set_rip(entry);
    user.set_rsp(sp);
    *ctx.user = user;
    if doomed {
        signal::force(ctx.thread, SigInfo::kernel(SIGSEGV));
    }
    Ok(())
}

/// Rule 1.35: 1, but fs.suid_dumpable when ids or capabilities change in a way that makes the program a stranger to its user, when
/// ids differed already, or when the file can't be read by the caller.
fn dumpable(program: &Program, old: &Credentials) -> u8 {
    let same_ids = old.uid == old.euid && old.gid == old.egid;
    let plain = same_ids && !program.unreadable && !program.creds.is_sensitive_change(old);
    if plain { 1 } else { mm::suid_dumpable() }
}

/// What a program that may know secrets, or do what its user may not, does not inherit.
fn clear_for_secure(thread: &Thread, program: &Program) {
    const DEFAULT_STACK: u64 = 8 << 20;
    if program.clear_personality {
        thread.personality.fetch_and(!PER_CLEAR_ON_SETID, Relaxed);
    }
    if program.secure {
        thread.clear_pdeath();
        let limits = thread.process.rlimits();
        if limits.soft(Resource::Stack) > DEFAULT_STACK {
            thread.process.set_rlimits(limits.with_soft(Resource::Stack, DEFAULT_STACK));
        }
    }
}

/// READ_IMPLIES_EXEC, ADDR_COMPAT_LAYOUT, ADDR_NO_RANDOMIZE, MMAP_PAGE_ZERO.
const PER_CLEAR_ON_SETID: u32 = 0x40_0000 | 0x20_0000 | 0x4_0000 | 0x10_0000;
