//! The point of no return of execve(2).

use core::sync::atomic::Ordering::Relaxed;

use ostd::user::{UserContext, fpu};

use super::program::Program;
use crate::{
    prelude::*,
    process::{
        replace,
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
    program.vm.set_dumpable(dumpable(&program));
    let Program { vm, entry, sp, name, creds, doomed, .. } = program;
    replace::commit(ctx.thread, vm, &name, creds);
    ctx.thread.robust_list.store(0, Relaxed);
    fpu::reset();
    let mut user = UserContext::new();
    user.set_rip(entry);
    user.set_rsp(sp);
    *ctx.user = user;
    if doomed {
        signal::force(ctx.thread, SigInfo::kernel(SIGSEGV));
    }
    Ok(())
}

/// Rule 1.35: 1, but 0 (fs.suid_dumpable) when ids changed or differ, or the file can't be read by the caller.
fn dumpable(program: &Program) -> u8 {
    let creds = &program.creds;
    let same_ids = creds.uid == creds.euid && creds.gid == creds.egid;
    if same_ids && !program.secure && !program.unreadable { 1 } else { crate::mm::SUID_DUMPABLE }
}
