//! seccomp(2).

use bpf::{Insn, Program};
use ostd::user::mem;

use super::{Args, Context};
use crate::{
    prelude::*,
    process::seccomp::{
        self, Action, FilterFlags,
        notify::{self, Listener, Notifier},
    },
};

const SET_MODE_STRICT: u32 = 0;
const SET_MODE_FILTER: u32 = 1;
const GET_ACTION_AVAIL: u32 = 2;
const GET_NOTIF_SIZES: u32 = 3;

pub fn sys_seccomp(ctx: &mut Context, [operation, flags, addr, ..]: Args) -> Result<usize> {
    let flags = flags as u32 as usize;
    let no_flags = if flags == 0 { Ok(()) } else { Err(EINVAL) };
    match operation as u32 {
        SET_MODE_STRICT => {
            no_flags?;
            if addr != 0 {
                return Err(EINVAL);
            }
            seccomp::set_strict(ctx.thread)?;
            Ok(0)
        }
        SET_MODE_FILTER => set_filter(ctx, flags, addr),
        GET_ACTION_AVAIL => {
            no_flags?;
            let number = mem::read::<u32>(addr)?;
            Action::from_number(number).ok_or(EOPNOTSUPP)?;
            Ok(0)
        }
        GET_NOTIF_SIZES => {
            no_flags?;
            mem::write(addr, &notify::SIZES)?;
            Ok(0)
        }
        _ => Err(EINVAL),
    }
}

/// Installs the filter that the `struct sock_fprog` at `addr` names. With NEW_LISTENER, returns the listener's descriptor.
///
/// # Errors
/// EINVAL (flags, or a filter that the checker refuses), EFAULT, EACCES, and what [`seccomp::install`] says.
pub fn set_filter(ctx: &mut Context, flags: usize, addr: Vaddr) -> Result<usize> {
    let flags = FilterFlags::from_bits(flags).ok_or(EINVAL)?;
    let listens = flags.contains(FilterFlags::NEW_LISTENER);
    // A result that is a descriptor could not be told from that of a thread.
    let ambiguous =
        listens && flags.contains(FilterFlags::TSYNC) && !flags.contains(FilterFlags::TSYNC_ESRCH);
    if ambiguous || flags.contains(FilterFlags::WAIT_KILLABLE_RECV) && !listens {
        return Err(EINVAL);
    }
    let [len, insns] = mem::read::<[u64; 2]>(addr)?;
    // Behind the length is padding.
    let len = usize::from(len as u16);
    if len == 0 || len > bpf::MAX_LEN {
        return Err(EINVAL);
    }
    seccomp::check_privilege(ctx.thread)?;
    // The instructions as they come, and as they are kept.
    if !ostd::mm::kernel_reserve_ok(1 + len * 32 / PAGE_SIZE) {
        return Err(ENOMEM);
    }
    let program = Program::check(&read_insns(insns as usize, len)?).map_err(|_| EINVAL)?;
    if !listens {
        return seccomp::install(ctx.thread, program, flags, None);
    }
    let notifier = Notifier::new(flags.contains(FilterFlags::WAIT_KILLABLE_RECV));
    let listener = Listener::new_file(notifier.clone())?;
    let files = ctx.thread.files();
    let fd = files.install(listener.clone(), true, 0)?;
    match seccomp::install(ctx.thread, program, flags, Some(notifier)) {
        Ok(_) => Ok(fd as usize),
        Err(error) => {
            files.close_if(fd, &listener);
            Err(error)
        }
    }
}

fn read_insns(addr: Vaddr, len: usize) -> Result<Vec<Insn>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len * 8).map_err(|_| ENOMEM)?;
    bytes.resize(len * 8, 0);
    mem::copy_from_user(&mut bytes, addr)?;
    Ok(bytes.as_chunks::<8>().0.iter().copied().map(Insn::from_bytes).collect())
}
