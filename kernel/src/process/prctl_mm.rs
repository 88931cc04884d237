//! prctl(PR_SET_MM), rule 1.45: the arguments; what they do is [`Vm::relabel`](crate::mm::Vm::relabel)'s.

use ostd::{mm::USER_END, user::mem};

use super::{Cap, Thread, exec, rlimit::Resource};
use crate::{
    fs::open::ExecFile,
    mm::{MMAP_MIN_ADDR, ProgramMap},
    prelude::*,
};

mod operation {
    pub const START_CODE: usize = 1;
    pub const END_CODE: usize = 2;
    pub const START_DATA: usize = 3;
    pub const END_DATA: usize = 4;
    pub const START_STACK: usize = 5;
    pub const START_BRK: usize = 6;
    pub const BRK: usize = 7;
    pub const ARG_START: usize = 8;
    pub const ARG_END: usize = 9;
    pub const ENV_START: usize = 10;
    pub const ENV_END: usize = 11;
    pub const AUXV: usize = 12;
    pub const EXE_FILE: usize = 13;
    pub const MAP: usize = 14;
    pub const MAP_SIZE: usize = 15;
}

/// Words of `struct prctl_mm_map`: eleven addresses, the auxiliary vector, and its size beside a descriptor.
const MAP_WORDS: usize = 13;

/// PR_SET_MM.
///
/// # Errors
/// As rule 1.45 says.
pub(super) fn set_mm(thread: &Thread, op: usize, addr: usize, arg4: usize, arg5: usize) -> Result<usize> {
    use operation::*;
    if arg5 != 0 || arg4 != 0 && !matches!(op, AUXV | MAP | MAP_SIZE) {
        return Err(EINVAL);
    }
    match op {
        MAP => return set_map(thread, addr, arg4),
        MAP_SIZE => {
            mem::write(addr, &((MAP_WORDS * 8) as u32))?;
            return Ok(0);
        }
        _ => thread.creds().require(Cap::SysResource)?,
    }
    match op {
        EXE_FILE => return set_exe(thread, addr as i32),
        AUXV => {
            thread.vm().set_auxv(read_auxv(addr, arg4)?);
            return Ok(0);
        }
        _ => {}
    }
    if !(MMAP_MIN_ADDR..USER_END).contains(&addr) {
        return Err(EINVAL);
    }
    let field: fn(&mut ProgramMap) -> &mut Vaddr = match op {
        START_CODE => |map| &mut map.ranges.start_code,
        END_CODE => |map| &mut map.ranges.end_code,
        START_DATA => |map| &mut map.ranges.start_data,
        END_DATA => |map| &mut map.ranges.end_data,
        START_STACK => |map| &mut map.ranges.start_stack,
        START_BRK => |map| &mut map.brk_start,
        BRK => |map| &mut map.brk,
        ARG_START => |map| &mut map.ranges.arg_start,
        ARG_END => |map| &mut map.ranges.arg_end,
        ENV_START => |map| &mut map.ranges.env_start,
        ENV_END => |map| &mut map.ranges.env_end,
        _ => return Err(EINVAL),
    };
    let must_exist = matches!(op, START_STACK | ARG_START | ARG_END | ENV_START | ENV_END).then_some(addr);
    thread.vm().relabel(data_limit(thread), must_exist, |map| *field(map) = addr)?;
    Ok(0)
}

fn data_limit(thread: &Thread) -> usize {
    usize::try_from(thread.process.rlimit(Resource::Data)).unwrap_or(usize::MAX)
}

/// PR_SET_MM_MAP: all at once. Needs no privilege, but for the file.
fn set_map(thread: &Thread, addr: Vaddr, size: usize) -> Result<usize> {
    if size != MAP_WORDS * 8 {
        return Err(EINVAL);
    }
    let words = mem::read::<[usize; MAP_WORDS]>(addr)?;
    let [addresses @ .., auxv, last] = words;
    let (auxv_size, exe_fd) = (last as u32 as usize, (last >> 32) as i32);
    let limit = data_limit(thread);
    let vm = thread.vm();
    let put = |map: &mut ProgramMap| {
        let r = &mut map.ranges;
        [
            r.start_code,
            r.end_code,
            r.start_data,
            r.end_data,
            map.brk_start,
            map.brk,
            r.start_stack,
            r.arg_start,
            r.arg_end,
            r.env_start,
            r.env_end,
        ] = addresses;
    };
    let auxv = match auxv_size {
        0 => None,
        _ if auxv == 0 => return Err(EINVAL),
        _ => Some(read_auxv(auxv, auxv_size)?),
    };
    if exe_fd != -1 {
        let creds = thread.creds();
        if !creds.capable(Cap::CheckpointRestore) && !creds.capable(Cap::SysAdmin) {
            return Err(EPERM);
        }
        set_exe(thread, exe_fd)?;
    }
    vm.relabel(limit, None, put)?;
    if let Some(auxv) = auxv {
        vm.set_auxv(auxv);
    }
    Ok(0)
}

/// Reads an auxiliary vector of `size` bytes. It ends with AT_NULL, whatever the program wrote there.
fn read_auxv(addr: Vaddr, size: usize) -> Result<Arc<[u64]>> {
    const MAX: usize = exec::AUXV_WORDS * 8;
    if size > MAX {
        return Err(EINVAL);
    }
    let mut bytes = [0u8; MAX];
    mem::copy_from_user(&mut bytes[..size], addr)?;
    let mut words = [0u64; exec::AUXV_WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    words[exec::AUXV_WORDS - 2..].fill(0);
    Ok(Arc::new(words))
}

fn set_exe(thread: &Thread, fd: i32) -> Result<usize> {
    let file = thread.files().get_any(fd)?;
    let place = file.path().cloned().ok_or(EACCES)?;
    let exe = ExecFile::open(&thread.creds(), place)?;
    thread.vm().set_exe(Arc::new(exe))?;
    Ok(0)
}
