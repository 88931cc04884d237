//! mmap(2), munmap(2), mprotect(2), mremap(2), madvise(2), brk(2), msync(2), mincore(2) and the mlock(2) family.

use ostd::user::mem;

use super::{Args, Context};
use crate::{
    mm::{Advice, FileMapping, MapRequest, MemoryObject, Move, Placement, VmFlags, page_ceil},
    prelude::*,
};

const PROT_SEM: usize = 8;
const PROT_GROWSDOWN: usize = 0x0100_0000;
const PROT_GROWSUP: usize = 0x0200_0000;

const MAP_TYPE: usize = 0xf;
const MAP_SHARED: usize = 1;
const MAP_PRIVATE: usize = 2;
const MAP_SHARED_VALIDATE: usize = 3;
const MAP_FIXED: usize = 0x10;
const MAP_ANONYMOUS: usize = 0x20;
const MAP_32BIT: usize = 0x40;
const MAP_GROWSDOWN: usize = 0x100;
const MAP_LOCKED: usize = 0x2000;
const MAP_NORESERVE: usize = 0x4000;
const MAP_POPULATE: usize = 0x8000;
const MAP_NONBLOCK: usize = 0x1_0000;
const MAP_HUGETLB: usize = 0x4_0000;
const MAP_FIXED_NOREPLACE: usize = 0x10_0000;
/// What MAP_SHARED_VALIDATE accepts: everything older than itself.
const MAP_LEGACY: usize = 0xff_ffff & !0x10_0000 & !0x8_0000;

/// The rights of a `prot` argument; unknown bits are ignored, as mmap does.
fn access(prot: usize) -> VmFlags {
    VmFlags::from_bits_truncate(prot as u32) & VmFlags::ACCESS
}

pub fn sys_mmap(ctx: &mut Context, args: Args) -> Result<usize> {
    let [addr, len, prot, flags, fd, offset] = args;
    if !offset.is_multiple_of(PAGE_SIZE) {
        return Err(EINVAL);
    }
    let file = match flags & MAP_ANONYMOUS {
        0 => Some(ctx.thread.files().get(fd as i32)?),
        // There are no huge pages to be had.
        _ if flags & MAP_HUGETLB != 0 => return Err(ENOMEM),
        _ => None,
    };
    if len == 0 {
        return Err(EINVAL);
    }
    page_ceil(len).ok_or(ENOMEM)?;
    let request = MapRequest {
        placement: placement(addr, flags),
        len,
        flags: vm_flags(prot, flags),
        object: None,
        populate: flags & (MAP_POPULATE | MAP_NONBLOCK) == MAP_POPULATE,
    };
    let request = match file {
        None => anonymous(request, flags)?,
        Some(file) => {
            let mapping = FileMapping::new(file)?;
            file_mapping(request, flags, mapping, offset as u64)?
        }
    };
    let limits = ctx.process().memory_limits();
    ctx.thread.vm().mmap(request, &limits)
}

fn placement(addr: Vaddr, flags: usize) -> Placement {
    if flags & MAP_FIXED_NOREPLACE != 0 {
        Placement::FixedNoReplace(addr)
    } else if flags & MAP_FIXED != 0 {
        Placement::Fixed(addr)
    } else if flags & MAP_32BIT != 0 {
        Placement::Low(addr)
    } else {
        Placement::Hint(addr)
    }
}

fn vm_flags(prot: usize, flags: usize) -> VmFlags {
    let mut vm_flags = access(prot) | VmFlags::MAY_ACCESS;
    let pairs = [
        (MAP_GROWSDOWN, VmFlags::GROWS_DOWN),
        (MAP_LOCKED, VmFlags::LOCKED),
        (MAP_NORESERVE, VmFlags::NO_RESERVE),
    ];
    for (bit, flag) in pairs {
        vm_flags.set(flag, flags & bit != 0);
    }
    vm_flags
}

fn anonymous(mut request: MapRequest, flags: usize) -> Result<MapRequest> {
    match flags & MAP_TYPE {
        MAP_PRIVATE => {}
        MAP_SHARED | MAP_SHARED_VALIDATE if flags & MAP_GROWSDOWN == 0 => {
            request.flags |= VmFlags::SHARED | VmFlags::MAP_SHARED;
        }
        _ => return Err(EINVAL),
    }
    Ok(request)
}

fn file_mapping(mut request: MapRequest, flags: usize, file: FileMapping, offset: u64) -> Result<MapRequest> {
    let wants_write = request.flags.contains(VmFlags::WRITE);
    match flags & MAP_TYPE {
        MAP_SHARED | MAP_SHARED_VALIDATE => {
            if flags & MAP_TYPE == MAP_SHARED_VALIDATE && flags & !MAP_LEGACY != 0 {
                return Err(EOPNOTSUPP);
            }
            if wants_write && !file.writable() {
                return Err(EACCES);
            }
            request.flags |= VmFlags::MAP_SHARED;
            if file.writable() {
                request.flags |= VmFlags::SHARED;
            } else {
                request.flags.remove(VmFlags::MAY_WRITE);
            }
        }
        MAP_PRIVATE => {}
        _ => return Err(EINVAL),
    }
    if !file.readable() {
        return Err(EACCES);
    }
    if file.no_exec() {
        if request.flags.contains(VmFlags::EXEC) {
            return Err(EPERM);
        }
        request.flags.remove(VmFlags::MAY_EXEC);
    }
    if !file.can_map() {
        return Err(ENODEV);
    }
    if flags & MAP_GROWSDOWN != 0 {
        return Err(EINVAL);
    }
    request.object = file.into_object().map(|object: Arc<dyn MemoryObject>| (object, offset));
    if request.object.is_none() && request.flags.contains(VmFlags::MAP_SHARED) {
        // A shared mapping of /dev/zero is shared anonymous memory.
        request.flags |= VmFlags::SHARED | VmFlags::MAY_WRITE;
    }
    Ok(request)
}

pub fn sys_munmap(ctx: &mut Context, args: Args) -> Result<usize> {
    ctx.thread.vm().munmap(args[0], args[1])?;
    Ok(0)
}

pub fn sys_mprotect(ctx: &mut Context, args: Args) -> Result<usize> {
    let [addr, len, prot, ..] = args;
    let grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
    if grows == PROT_GROWSDOWN | PROT_GROWSUP {
        return Err(EINVAL);
    }
    if !addr.is_multiple_of(PAGE_SIZE) {
        return Err(EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    let end = page_ceil(len).and_then(|len| addr.checked_add(len)).filter(|&end| end > addr).ok_or(ENOMEM)?;
    if prot & !(7 | PROT_SEM | PROT_GROWSDOWN | PROT_GROWSUP) != 0 || grows == PROT_GROWSUP {
        return Err(EINVAL);
    }
    let limits = ctx.process().memory_limits();
    let vm = ctx.thread.vm();
    let start = if grows == PROT_GROWSDOWN { vm.stack_start(addr, end)? } else { addr };
    vm.mprotect(start, end - start, access(prot), &limits)?;
    Ok(0)
}

const MREMAP_MAYMOVE: usize = 1;
const MREMAP_FIXED: usize = 2;
const MREMAP_DONTUNMAP: usize = 4;

pub fn sys_mremap(ctx: &mut Context, args: Args) -> Result<usize> {
    let [old, old_len, new_len, flags, new, _] = args;
    if flags & !(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) != 0 {
        return Err(EINVAL);
    }
    let movement = match flags & (MREMAP_MAYMOVE | MREMAP_FIXED) {
        0 if flags & MREMAP_DONTUNMAP == 0 => Move::Never,
        MREMAP_MAYMOVE => Move::Anywhere,
        f if f == MREMAP_MAYMOVE | MREMAP_FIXED => Move::To(new),
        _ => return Err(EINVAL),
    };
    let limits = ctx.process().memory_limits();
    ctx.thread.vm().mremap(old, old_len, new_len, movement, flags & MREMAP_DONTUNMAP != 0, &limits)
}

pub fn sys_madvise(ctx: &mut Context, args: Args) -> Result<usize> {
    let [addr, len, advice, ..] = args;
    ctx.thread.vm().madvise(addr, len, Advice::decode(advice)?)?;
    Ok(0)
}

pub fn sys_brk(ctx: &mut Context, args: Args) -> Result<usize> {
    let limits = ctx.process().memory_limits();
    Ok(ctx.thread.vm().brk(args[0], &limits))
}

const MS_ASYNC: usize = 1;
const MS_INVALIDATE: usize = 2;
const MS_SYNC: usize = 4;

pub fn sys_msync(ctx: &mut Context, args: Args) -> Result<usize> {
    let [addr, len, flags, ..] = args;
    let both = MS_ASYNC | MS_SYNC;
    if flags & !(both | MS_INVALIDATE) != 0 || flags & both == both {
        return Err(EINVAL);
    }
    ctx.thread.vm().msync(addr, len, flags & MS_INVALIDATE != 0)?;
    Ok(0)
}

pub fn sys_mincore(ctx: &mut Context, args: Args) -> Result<usize> {
    let [addr, len, vector, ..] = args;
    ctx.thread.vm().mincore(addr, len, |index, present| {
        Ok(mem::write(vector.wrapping_add(index), &u8::from(present))?)
    })?;
    Ok(0)
}

pub fn sys_mlock(ctx: &mut Context, args: Args) -> Result<usize> {
    lock(ctx, args, true, false)
}

pub fn sys_munlock(ctx: &mut Context, args: Args) -> Result<usize> {
    lock(ctx, args, false, false)
}

const MLOCK_ONFAULT: usize = 1;

pub fn sys_mlock2(ctx: &mut Context, args: Args) -> Result<usize> {
    if args[2] & !MLOCK_ONFAULT != 0 {
        return Err(EINVAL);
    }
    lock(ctx, args, true, args[2] == MLOCK_ONFAULT)
}

fn lock(ctx: &mut Context, args: Args, lock: bool, on_fault: bool) -> Result<usize> {
    let limits = ctx.process().memory_limits();
    ctx.thread.vm().mlock(args[0], args[1], lock, on_fault, &limits)?;
    Ok(0)
}

const MCL_CURRENT: usize = 1;
const MCL_FUTURE: usize = 2;
const MCL_ONFAULT: usize = 4;

pub fn sys_mlockall(ctx: &mut Context, args: Args) -> Result<usize> {
    let flags = args[0];
    if flags == 0 || flags & !(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0 || flags == MCL_ONFAULT {
        return Err(EINVAL);
    }
    let limits = ctx.process().memory_limits();
    if limits.locked == 0 {
        return Err(EPERM);
    }
    let (current, future) = (flags & MCL_CURRENT != 0, flags & MCL_FUTURE != 0);
    ctx.thread.vm().mlockall(current, future, flags & MCL_ONFAULT != 0, &limits)?;
    Ok(0)
}

pub fn sys_munlockall(ctx: &mut Context, _: Args) -> Result<usize> {
    let limits = ctx.process().memory_limits();
    ctx.thread.vm().mlockall(false, false, false, &limits)?;
    Ok(0)
}
