//! Copying between one's own memory and another process's: process_vm_readv(2), process_vm_writev(2).
//!
//! Nothing is forced: what the other program may not read or write itself is not read or written.

use ostd::mm::Frame;

use super::{Args, Context};
use crate::{
    fs::io::{IoVec, ReadBuf, WriteBuf, read_iovecs},
    mm::{Access, Vm},
    prelude::*,
    process::pid,
};

pub fn sys_process_vm_readv(ctx: &mut Context, args: Args) -> Result<usize> {
    let call = Call::decode(args)?;
    let mut buf = ReadBuf::user_list(&call.local);
    let left = buf.left();
    call.run(ctx, Access::Read, left, |frame, offset, len| buf.put_frame(frame, offset, len))
}

pub fn sys_process_vm_writev(ctx: &mut Context, args: Args) -> Result<usize> {
    let call = Call::decode(args)?;
    let mut buf = WriteBuf::user_list(&call.local);
    let left = buf.left();
    call.run(ctx, Access::Write, left, |frame, offset, len| buf.take_frame(frame, offset, len))
}

struct Call {
    nr: i32,
    local: Vec<IoVec>,
    /// Where the other's buffers are, and how many there are.
    remote: (usize, usize),
}

impl Call {
    /// EINVAL for flags, or a list that is too long or has a negative length; EFAULT.
    fn decode([nr, local, locals, remote, remotes, flags]: Args) -> Result<Call> {
        if flags != 0 {
            return Err(EINVAL);
        }
        Ok(Call { nr: nr as i32, local: read_iovecs(local, locals)?, remote: (remote, remotes) })
    }

    /// Carries out at most `left` bytes by `step`, which moves a part of a page of the other's.
    ///
    /// # Errors
    /// ESRCH (no such task, or without memory), EPERM (without a debugger's rights), EFAULT, if nothing was moved.
    fn run(
        &self,
        ctx: &Context,
        access: Access,
        left: usize,
        mut step: impl FnMut(&Frame, usize, usize) -> Result<usize>,
    ) -> Result<usize> {
        if left == 0 {
            return Ok(0);
        }
        let remote = read_iovecs(self.remote.0, self.remote.1)?;
        if remote.iter().all(|iov| iov.len == 0) {
            return Ok(0);
        }
        let vm = self.vm(ctx)?;
        let mut done = 0;
        for iov in &remote {
            let len = iov.len.min(left - done);
            let (moved, result) = copy(&vm, iov.base, len, access, &mut step);
            done += moved;
            match result {
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
                Ok(()) => {}
            }
        }
        Ok(done)
    }

    fn vm(&self, ctx: &Context) -> Result<Arc<Vm>> {
        let nr = u32::try_from(self.nr).map_err(|_| ESRCH)?;
        let target = pid::thread(ctx.process().ns(), nr).ok_or(ESRCH)?;
        let vm = target.try_vm().ok_or(ESRCH)?;
        let allowed = Arc::ptr_eq(&vm, &ctx.thread.vm()) || ctx.thread.may_inspect_really(&target);
        if allowed { Ok(vm) } else { Err(EPERM) }
    }
}

/// Moves what it can of `len` bytes at `addr`, page by page.
fn copy(
    vm: &Vm,
    addr: usize,
    len: usize,
    access: Access,
    step: &mut impl FnMut(&Frame, usize, usize) -> Result<usize>,
) -> (usize, Result<()>) {
    let mut done = 0;
    while done < len {
        let Some(at) = addr.checked_add(done) else { return (done, Err(EFAULT)) };
        let offset = at % PAGE_SIZE;
        let part = (PAGE_SIZE - offset).min(len - done);
        let moved = match vm.foreign_frame(at, access, false) {
            Ok(frame) => step(&frame, offset, part),
            Err(e) => Err(e.into()),
        };
        match moved {
            Ok(moved) => done += moved,
            Err(e) => return (done, Err(e)),
        }
        if done < len && at / PAGE_SIZE == (addr + done) / PAGE_SIZE {
            // A fault within the page, on the caller's side.
            return (done, Err(EFAULT));
        }
    }
    (done, Ok(()))
}
